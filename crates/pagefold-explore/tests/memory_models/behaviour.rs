//! What memory models mean for the rest: locks, threads, grace periods, traces, freed memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use pagefold_explore::cell::UnsafeCell;
use pagefold_explore::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};
use pagefold_explore::sync::atomic::{AtomicPtr, AtomicU32, fence};
use pagefold_explore::sync::{LockClass, Once, RawLock, RawRwSem, RefCount, mpsc};
use pagefold_explore::{
    Bound, Config, Memory, Report, Verdict, Violation, explore, hint, kind, quiet, rcu, replay,
    thread, unknown_use,
};

static SPIN: LockClass = LockClass::spin("spin").ranked(1);
static SLEEP: LockClass = LockClass::sleep("sleep").ranked(1);

const ALL: [Memory; 3] = [Memory::Sc, Memory::Tso, Memory::Ra];

fn run(memory: Memory, program: impl FnMut()) -> Report {
    explore(&Config::default().memory(memory), program)
}

fn holds(memory: Memory, program: impl FnMut()) {
    let report = run(memory, program);
    assert!(
        matches!(report.verdict, Verdict::Holds),
        "{memory:?}: {report}"
    );
}

fn broken(memory: Memory, program: impl FnMut()) -> Violation {
    match run(memory, program).verdict {
        Verdict::Broken(violation) => *violation,
        verdict => panic!("{memory:?}: {verdict:?}"),
    }
}

/// Two threads that write one location and read the other, each write under a lock of its own: what
/// they read.
fn store_buffering(memory: Memory, class: &'static LockClass) -> BTreeSet<(u32, u32)> {
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    let all = Rc::clone(&seen);
    holds(memory, || {
        let world = Rc::new((
            [RawLock::new(class), RawLock::new(class)],
            [AtomicU32::new(0), AtomicU32::new(0)],
        ));
        let threads = [0, 1].map(|me: usize| {
            let world = Rc::clone(&world);
            thread::spawn_named("t", move || {
                let (locks, words) = &*world;
                locks[me].lock();
                words[me].store(1, Relaxed);
                locks[me].unlock();
                words[1 - me].load(Relaxed)
            })
        });
        let read = threads.map(|thread| thread.join().expect("a result"));
        all.borrow_mut().insert((read[0], read[1]));
    });
    seen.take()
}

#[test]
fn a_spin_lock_is_released_by_a_store() {
    let strong = BTreeSet::from([(0, 1), (1, 0), (1, 1)]);
    let weak = &strong | &BTreeSet::from([(0, 0)]);
    assert_eq!(store_buffering(Memory::Sc, &SPIN), strong);
    assert_eq!(store_buffering(Memory::Tso, &SPIN), weak);
    assert_eq!(store_buffering(Memory::Ra, &SPIN), weak);
    // A sleeping lock is released by a read-modify-write, which drains; in C11 that is no fence.
    assert_eq!(store_buffering(Memory::Tso, &SLEEP), strong);
    assert_eq!(store_buffering(Memory::Ra, &SLEEP), weak);
}

/// A retry depends on a lock, which others take and release after it in some executions, and on a word.
#[test]
fn a_retry_goes_on_in_the_same_way_when_it_is_replayed() {
    for memory in ALL {
        holds(memory, || {
            let world = Rc::new((RawLock::new(&SLEEP), AtomicU32::new(0)));
            for _ in 0..2 {
                let world = Rc::clone(&world);
                thread::spawn_named("holder", move || {
                    let (lock, word) = &*world;
                    lock.lock();
                    word.fetch_add(1, Relaxed);
                    lock.unlock();
                });
            }
            let (lock, word) = &*world;
            loop {
                word.load(Relaxed);
                if lock.try_lock() {
                    lock.unlock();
                    break;
                }
                hint::relax();
            }
        });
    }
}

#[test]
fn sections_of_one_lock_see_each_other() {
    for memory in ALL {
        for class in [&SPIN, &SLEEP] {
            holds(memory, || {
                let world = Rc::new((RawLock::new(class), [AtomicU32::new(0), AtomicU32::new(0)]));
                let threads = [0, 1, 2].map(|_| {
                    let world = Rc::clone(&world);
                    thread::spawn_named("t", move || {
                        let (lock, [x, y]) = &*world;
                        lock.lock();
                        let before = x.load(Relaxed);
                        assert_eq!(before, y.load(Relaxed));
                        x.store(before + 1, Relaxed);
                        y.store(before + 1, Relaxed);
                        lock.unlock();
                    })
                });
                for thread in threads {
                    thread.join().unwrap();
                }
                assert_eq!(world.1[0].load(Relaxed), 3);
            });
        }
    }
}

#[test]
fn shared_locks_order_readers_and_writers() {
    for memory in ALL {
        holds(memory, || {
            let world = Rc::new((
                RawRwSem::new(&SLEEP),
                [AtomicU32::new(0), AtomicU32::new(0)],
            ));
            let reader = |world: &(RawRwSem, [AtomicU32; 2])| {
                let (sem, [x, y]) = world;
                sem.read();
                let before = x.load(Relaxed);
                assert_eq!(before, y.load(Relaxed));
                sem.read_unlock();
            };
            for _ in 0..2 {
                let world = Rc::clone(&world);
                thread::spawn_named("reader", move || reader(&world));
            }
            let (sem, [x, y]) = &*world;
            sem.write();
            x.store(1, Relaxed);
            y.store(1, Relaxed);
            sem.downgrade();
            sem.read_unlock();
        });
    }
}

/// How two threads keep each other out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exclusion {
    /// As Dekker begins: whoever sees that the other wants to enter gives up.
    Dekker,
    /// Peterson's: the one who came last waits.
    Peterson,
    /// The same, where it is a read-modify-write that tells who came last.
    PetersonBySwap,
}

/// Two threads that enter a section, with a fence of this order after they said so.
fn enters(how: Exclusion, between: Option<Ordering>) -> impl Fn() {
    move || {
        let world = Rc::new((
            [AtomicU32::new(0), AtomicU32::new(0)],
            AtomicU32::new(0),
            AtomicU32::new(0),
        ));
        for (me, other) in [(0, 1), (1, 0)] {
            let world = Rc::clone(&world);
            thread::spawn_named("t", move || {
                let (wants, turn, inside) = &*world;
                wants[me as usize].store(1, Release);
                match how {
                    Exclusion::Dekker => {}
                    Exclusion::Peterson => turn.store(other, Release),
                    Exclusion::PetersonBySwap => {
                        turn.swap(other, AcqRel);
                    }
                }
                if let Some(order) = between {
                    fence(order);
                }
                while wants[other as usize].load(Acquire) == 1 {
                    if how == Exclusion::Dekker {
                        return;
                    }
                    if turn.load(Acquire) == me {
                        break;
                    }
                    hint::relax();
                }
                inside.store(inside.load(Relaxed) + 1, Relaxed);
                assert_eq!(inside.load(Relaxed), 1, "both are inside");
                inside.store(0, Release);
                wants[me as usize].store(0, Release);
            });
        }
    }
}

#[test]
fn mutual_exclusion_takes_more_than_stores() {
    use Exclusion::{Dekker, Peterson, PetersonBySwap};
    for how in [Dekker, Peterson] {
        holds(Memory::Sc, enters(how, None));
        for memory in [Memory::Tso, Memory::Ra] {
            assert_eq!(broken(memory, enters(how, None)).kind, "panic");
            assert_eq!(broken(memory, enters(how, Some(Release))).kind, "panic");
        }
        holds(Memory::Tso, enters(how, Some(SeqCst)));
    }
    holds(Memory::Ra, enters(Dekker, Some(SeqCst)));
    // C11 may place the store of the turn that comes last before the other one.
    assert_eq!(
        broken(Memory::Ra, enters(Peterson, Some(SeqCst))).kind,
        "panic"
    );
    for memory in ALL {
        holds(memory, enters(PetersonBySwap, None));
    }
}

#[test]
fn joined_threads_are_seen() {
    for memory in ALL {
        holds(memory, || {
            let x = Rc::new(AtomicU32::new(0));
            x.store(1, Relaxed);
            let other = Rc::clone(&x);
            let thread = thread::spawn_named("t", move || {
                assert_eq!(other.load(Relaxed), 1);
                other.store(2, Relaxed);
            });
            thread.join().unwrap();
            assert_eq!(x.load(Relaxed), 2);
        });
    }
}

#[test]
fn quiet_sections_see_drained_memory() {
    for memory in ALL {
        holds(memory, || {
            let x = Rc::new(AtomicU32::new(0));
            x.store(1, Relaxed);
            assert_eq!(x.load_quiet(), 1);
            quiet(|| x.store(2, Relaxed));
            assert_eq!(x.load(Relaxed), 2);
            x.store_quiet(3);
            assert_eq!(x.load(Relaxed), 3);
        });
    }
}

#[test]
fn stores_to_what_is_gone_go_nowhere() {
    for memory in ALL {
        holds(memory, || {
            let other = Rc::new(AtomicU32::new(0));
            let word = Box::new(AtomicU32::new(0));
            word.store(1, Relaxed);
            other.store(1, Relaxed);
            drop(word);
            // Very likely in the same place.
            let word = Box::new(AtomicU32::new(7));
            let reader = Rc::clone(&other);
            thread::spawn_named("t", move || reader.load(Relaxed));
            assert_eq!(word.load(Relaxed), 7);
            // Moved with a store under way.
            word.store(8, Relaxed);
            let moved = *word;
            assert_eq!(moved.load(Relaxed), 8);
            moved.store(9, Relaxed);
            assert_eq!(moved.into_inner(), 9);
        });
    }
}

#[test]
fn grace_periods_wait_for_stores_of_sections() {
    for memory in ALL {
        holds(memory, || {
            let world = Rc::new([AtomicU32::new(1), AtomicU32::new(0)]);
            let reader = Rc::clone(&world);
            thread::spawn_named("reader", move || {
                let _section = rcu::read();
                let [published, used] = &*reader;
                if published.load(Relaxed) == 1 {
                    used.store(1, Relaxed);
                    // Not freed yet.
                    assert_eq!(used.load(Relaxed), 1);
                }
            });
            let [published, used] = &*world;
            published.store(0, Relaxed);
            rcu::synchronize();
            let before = used.load(Relaxed);
            used.store(2, Relaxed);
            assert_eq!(used.load(Relaxed), 2, "{before} before");
        });
    }
}

#[test]
fn the_last_reference_knows_of_all() {
    for memory in ALL {
        holds(memory, || {
            let world = Rc::new((RefCount::new(2), [AtomicU32::new(0), AtomicU32::new(0)]));
            for me in [0, 1_usize] {
                let world = Rc::clone(&world);
                thread::spawn_named("t", move || {
                    let (references, used) = &*world;
                    used[me].store(1, Relaxed);
                    if references.put(1) {
                        assert_eq!(used[1 - me].load(Relaxed), 1);
                    }
                });
            }
        });
    }
}

/// Who gives the last reference back knows of all uses, unless they were given back in no order. That they were given back at all is
/// no use.
#[test]
fn an_unknown_use_is_told_of() {
    for memory in ALL {
        for (uses, order) in [(true, Relaxed), (true, AcqRel), (false, Relaxed)] {
            let unknown = Rc::new(Cell::new(false));
            let seen = Rc::clone(&unknown);
            run(memory, move || {
                let object = Rc::new((RefCount::new(2), AtomicU32::new(0)));
                for _ in 0..2 {
                    let (object, seen) = (Rc::clone(&object), Rc::clone(&seen));
                    thread::spawn_named("t", move || {
                        let (references, used) = &*object;
                        if uses {
                            used.load(Relaxed);
                        }
                        let place = std::ptr::from_ref(&*object);
                        if references.put_ordered(1, order)
                            && unknown_use(place.cast(), size_of_val(&*object)).is_some()
                        {
                            seen.set(true);
                        }
                    });
                }
            });
            let expected = memory == Memory::Ra && uses && order == Relaxed;
            assert_eq!(unknown.get(), expected, "{memory:?} {order:?}");
        }
    }
}

/// A reference to a new life of an object tells of the end of the earlier one if the new one began by a release.
#[test]
fn a_new_life_tells_of_the_earlier_one() {
    for memory in ALL {
        for order in [Relaxed, Release] {
            let stale = Rc::new(Cell::new(false));
            let seen = Rc::clone(&stale);
            run(memory, move || {
                // The first life has ended when nobody finds the object any more; the second one begins.
                let world = Rc::new((RefCount::new(1), AtomicU32::new(1), AtomicU32::new(0)));
                let owner = Rc::clone(&world);
                thread::spawn_named("owner", move || {
                    owner.1.store(0, Relaxed);
                    assert!(owner.0.put(1));
                    owner.2.store(1, Relaxed);
                    owner.0.set_ordered(1, order);
                });
                let (references, found, second) = &*world;
                if references.try_get_ordered(Acquire)
                    && second.load(Relaxed) == 1
                    && found.load(Relaxed) == 1
                {
                    seen.set(true);
                }
            });
            assert_eq!(stale.get(), memory == Memory::Ra && order == Relaxed);
        }
    }
}

/// Who reads a count in an order that acquires knows what was done before references were taken in an order that releases, whoever
/// took some since.
#[test]
fn a_reference_taken_tells_of_what_came_before() {
    for memory in ALL {
        for order in [Relaxed, Release] {
            let stale = Rc::new(Cell::new(false));
            let seen = Rc::clone(&stale);
            run(memory, move || {
                let world = Rc::new((RefCount::new(1), [AtomicU32::new(0), AtomicU32::new(0)]));
                for me in [0, 1_usize] {
                    let world = Rc::clone(&world);
                    thread::spawn_named("t", move || {
                        world.1[me].store(1, Relaxed);
                        world.0.get_ordered(1, order);
                    });
                }
                let (references, done) = &*world;
                if references.read_ordered(Acquire) == 3
                    && done.iter().any(|done| done.load(Relaxed) == 0)
                {
                    seen.set(true);
                }
            });
            assert_eq!(stale.get(), memory == Memory::Ra && order == Relaxed);
        }
    }
}

/// Whether a thread knows of a store that it has read of by another word.
#[test]
fn what_is_known_without_an_event() {
    for memory in ALL {
        for order in [Relaxed, Release] {
            let unknown = Rc::new(Cell::new(false));
            let seen = Rc::clone(&unknown);
            run(memory, move || {
                let world = Rc::new([AtomicU32::new(0), AtomicU32::new(0)]);
                let writer = Rc::clone(&world);
                thread::spawn_named("writer", move || {
                    writer[0].store(1, Relaxed);
                    assert!(writer[0].is_known_quiet());
                    writer[1].store(1, order);
                });
                if world[1].load(Acquire) == 1 && !world[0].is_known_quiet() {
                    seen.set(true);
                }
            });
            assert_eq!(unknown.get(), memory == Memory::Ra && order == Relaxed);
        }
    }
}

#[test]
fn waiting_ends_when_the_value_is_there() {
    for memory in ALL {
        holds(memory, || {
            let world = Rc::new([AtomicU32::new(0), AtomicU32::new(0)]);
            let writer = Rc::clone(&world);
            thread::spawn_named("writer", move || {
                writer[0].store(1, Relaxed);
                writer[1].store(1, Relaxed);
            });
            let retrying = Rc::clone(&world);
            thread::spawn_named("retries", move || {
                retrying[1].wait_until(|value| value == 1);
                while retrying[0].load(Relaxed) == 0 {
                    hint::relax();
                }
            });
            world[0].wait_until(|value| value == 1);
        });
    }
    // What an acquiring wait has seen is known.
    for memory in ALL {
        holds(memory, || {
            let world = Rc::new([AtomicU32::new(0), AtomicU32::new(0)]);
            let writer = Rc::clone(&world);
            thread::spawn_named("writer", move || {
                writer[0].store(1, Relaxed);
                writer[1].store(1, Release);
            });
            world[1].wait_until(|value| value == 1);
            assert_eq!(world[0].load(Relaxed), 1);
        });
    }
}

#[test]
fn a_missed_value_is_waited_for_in_vain() {
    for memory in ALL {
        let violation = broken(memory, || {
            let x = Rc::new(AtomicU32::new(0));
            let writer = Rc::clone(&x);
            thread::spawn_named("writer", move || {
                writer.store(1, Relaxed);
                writer.store(2, Relaxed);
            });
            x.wait_until(|value| value == 1);
        });
        assert_eq!(violation.kind, "deadlock", "{memory:?}");
    }
}

/// Message passing without an order, or with stores that pass loads.
fn weak_program(memory: Memory) -> impl Fn() {
    move || {
        let world = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let other = Arc::clone(&world);
        let thread = thread::spawn_named("other", move || {
            if memory == Memory::Tso {
                other[1].store(1, Relaxed);
                other[0].load(Relaxed)
            } else {
                other[0].store(1, Relaxed);
                other[1].store(1, Relaxed);
                0
            }
        });
        if memory == Memory::Tso {
            world[0].store(1, Relaxed);
            let mine = world[1].load(Relaxed);
            let theirs = thread.join().unwrap();
            assert_ne!((mine, theirs), (0, 0), "both missed the other");
        } else if world[1].load(Relaxed) == 1 {
            assert_eq!(world[0].load(Relaxed), 1, "the data is old");
        }
    }
}

#[test]
fn traces_show_what_memory_does_and_are_replayed() {
    for memory in [Memory::Tso, Memory::Ra] {
        let program = weak_program(memory);
        let violation = broken(memory, &program);
        let trace = &violation.trace;
        println!("{violation}");
        if memory == Memory::Tso {
            let labels = trace.steps.iter().map(|step| step.label.as_str());
            assert_eq!(
                labels
                    .filter(|label| label.ends_with(" = 1 reaches memory"))
                    .count(),
                2
            );
        } else {
            assert!(trace.steps.iter().any(|step| step.variant != 0));
        }
        let text = trace.to_json();
        let trace = pagefold_explore::Trace::from_json(&text).expect("a trace");
        let config = Config::default().memory(memory);
        let replayed = replay(&config, &trace, &program);
        assert_eq!(replayed.divergence, None);
        let again = replayed.violation.expect("the same violation");
        assert_eq!(again.message, violation.message);
        assert_eq!(again.trace, violation.trace);
        // Under another model it departs.
        let replayed = replay(&Config::default(), &trace, &program);
        assert!(replayed.divergence.is_some(), "{:?}", replayed.violation);
    }
}

#[test]
fn several_workers_find_the_same() {
    for memory in [Memory::Tso, Memory::Ra] {
        let config = Config::default().memory(memory);
        let program = || {
            let world = Rc::new([AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)]);
            for me in 0..3_usize {
                let world = Rc::clone(&world);
                thread::spawn_named("t", move || {
                    world[me].store(1, Relaxed);
                    let next = world[(me + 1) % 3].load(Relaxed);
                    world[(me + 2) % 3].store(2 + next, Relaxed);
                });
            }
        };
        let alone = explore(&config, program);
        let together = pagefold_explore::explore_parallel(&config, 3, || {
            (program, |_: pagefold_explore::Ended<'_>| {})
        });
        assert!(alone.executions > 50, "{alone}");
        assert_eq!(alone.executions, together.executions);
        assert_eq!(alone.complete, together.complete);
    }
}

#[test]
fn half_as_many_threads_with_buffers() {
    let crowd = || {
        for _ in 0..32 {
            thread::spawn_named("t", || {});
        }
    };
    holds(Memory::Sc, crowd);
    holds(Memory::Ra, crowd);
    let report = run(Memory::Tso, crowd);
    assert!(
        matches!(report.verdict, Verdict::NotExhausted(Bound::Threads(32))),
        "{report}"
    );
}

/// A box that is published by a pointer; whoever finds it reads what is in it.
fn publication(publish: Ordering, find: Ordering) -> impl Fn() {
    move || {
        let content = Rc::new(UnsafeCell::new(0));
        let place = Rc::new(AtomicPtr::<UnsafeCell<i32>>::default());
        let (shared, owned) = (Rc::clone(&place), Rc::clone(&content));
        thread::spawn(move || {
            // SAFETY: that nobody else reads or writes it meanwhile is what is checked.
            owned.with_mut(|value| unsafe { *value = 42 });
            shared.store(Rc::as_ptr(&owned).cast_mut(), publish);
        });
        let found = place.load(find);
        if !found.is_null() {
            assert_eq!(found.cast_const(), Rc::as_ptr(&content));
            // SAFETY: as above; it lives as long as `content`.
            let value = unsafe { (*found).with(|value| *value) };
            assert_eq!(value, 42);
        }
    }
}

#[test]
fn data_races_are_told_by_the_model() {
    holds(Memory::Sc, publication(Relaxed, Relaxed));
    // Stores reach memory in order.
    holds(Memory::Tso, publication(Relaxed, Relaxed));
    holds(Memory::Ra, publication(Release, Acquire));
    for (publish, find) in [(Relaxed, Acquire), (Release, Relaxed)] {
        let violation = broken(Memory::Ra, publication(publish, find));
        assert_eq!(violation.kind, kind::DATA_RACE);
    }
}

#[test]
fn pointers_have_histories() {
    for memory in ALL {
        let seen = Rc::new(RefCell::new(BTreeSet::new()));
        let all = Rc::clone(&seen);
        holds(memory, || {
            static VALUES: [u32; 3] = [0, 1, 2];
            let address = |n: usize| (&raw const VALUES[n]).cast_mut();
            let number = |pointer: *mut u32| {
                // SAFETY: all pointers stored here are to elements of the array.
                unsafe { *pointer }
            };
            let words = Rc::new([AtomicPtr::new(address(0)), AtomicPtr::new(address(0))]);
            let threads = [0, 1_usize].map(|me| {
                let words = Rc::clone(&words);
                thread::spawn(move || {
                    words[me].store(address(1 + me), Relaxed);
                    assert_eq!(number(words[me].load(Relaxed)), 1 + me as u32);
                    number(words[1 - me].load(Relaxed))
                })
            });
            let [a, b] = threads.map(|thread| thread.join().expect("a result"));
            assert_eq!(number(words[0].load_quiet()), 1);
            assert_eq!(number(words[1].swap(address(0), Relaxed)), 2);
            all.borrow_mut().insert((a, b));
        });
        let weak = seen.take().contains(&(0, 0));
        assert_eq!(weak, memory != Memory::Sc, "{memory:?}");
    }
}

#[test]
fn what_threads_meet_at_hands_over() {
    for memory in ALL {
        holds(memory, || {
            let world = Rc::new((Once::new(), AtomicU32::new(0)));
            for _ in 0..2 {
                let world = Rc::clone(&world);
                thread::spawn(move || {
                    world.0.call_once(|| world.1.store(1, Relaxed));
                    assert_eq!(world.1.load(Relaxed), 1);
                });
            }
        });
        holds(memory, || {
            let word = Rc::new(AtomicU32::new(0));
            let (sender, receiver) = mpsc::channel();
            let written = Rc::clone(&word);
            thread::spawn(move || {
                written.store(1, Relaxed);
                sender.send(()).unwrap();
            });
            receiver.recv().unwrap();
            assert_eq!(word.load(Relaxed), 1);
        });
    }
}
