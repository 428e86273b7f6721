//! What the checker detects, and that it stays silent where nothing is wrong.

use std::cell::Cell;
use std::rc::Rc;

use pagefold_explore::interrupt::Cpu;
use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, Counter, LockClass, Mutex, RawLock, RawRwSem, RwLock};
use pagefold_explore::{
    Bound, Config, Report, Search, Verdict, Violation, check, explore, fail, hint, kind, label,
    note, object_mark, quiet, rcu, reset_objects_to, run_out, thread, write_range,
};

static SPIN: LockClass = LockClass::spin("spin");
static OUTER: LockClass = LockClass::spin("outer").ranked(1);
static INNER: LockClass = LockClass::spin("inner").ranked(2);
static SLEEP: LockClass = LockClass::sleep("sleep");
static OTHER: LockClass = LockClass::sleep("other");

fn run(program: impl FnMut()) -> Report {
    explore(&Config::default(), program)
}

#[track_caller]
fn broken(kind: &str, program: impl FnMut()) -> Violation {
    let report = run(program);
    let Verdict::Broken(violation) = report.verdict else {
        panic!("expected {kind}: {report}")
    };
    assert_eq!(violation.kind, kind, "{violation}");
    *violation
}

#[track_caller]
fn holds(program: impl FnMut()) -> Report {
    let report = run(program);
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    report
}

/// Two locks shared by the threads of a program.
fn locks(class: &'static LockClass) -> Arc<[RawLock; 2]> {
    Arc::new([RawLock::new(class), RawLock::new(class)])
}

#[test]
fn recursive_lock() {
    let violation = broken(kind::RECURSIVE_LOCK, || {
        let lock = RawLock::new(&SPIN);
        lock.lock();
        lock.lock();
    });
    assert!(violation.message.contains("taken at step"), "{violation}");
    broken(kind::RECURSIVE_LOCK, || {
        let sem = RawRwSem::new(&SLEEP);
        sem.write();
        sem.read();
    });
}

#[test]
fn lock_order_by_rank() {
    broken(kind::LOCK_ORDER, || {
        let (outer, inner) = (RawLock::new(&OUTER), RawLock::new(&INNER));
        inner.lock();
        outer.lock();
    });
    // An attempt cannot deadlock.
    holds(|| {
        let (outer, inner) = (RawLock::new(&OUTER), RawLock::new(&INNER));
        inner.lock();
        assert!(outer.try_lock());
        outer.unlock();
        inner.unlock();
    });
    // Equal ranks only if marked.
    broken(kind::LOCK_ORDER, || {
        let pair = locks(&OUTER);
        pair[0].lock();
        pair[1].lock();
    });
    holds(|| {
        let pair = locks(&OUTER);
        pair[0].lock();
        pair[1].lock_nested();
        pair[1].unlock();
        pair[0].unlock();
    });
}

#[test]
fn lock_order_by_observation() {
    let violation = broken(kind::LOCK_ORDER, || {
        let (a, b) = (RawLock::new(&SLEEP), RawLock::new(&OTHER));
        a.lock();
        b.lock();
        b.unlock();
        a.unlock();
        b.lock();
        a.lock();
    });
    assert!(
        violation.message.contains("the other way round"),
        "{violation}"
    );
}

#[test]
fn sleep_in_atomic() {
    broken(kind::SLEEP_IN_ATOMIC, || {
        let (spin, sleep) = (RawLock::new(&SPIN), RawLock::new(&SLEEP));
        spin.lock();
        sleep.lock();
    });
    let violation = broken(kind::SLEEP_IN_ATOMIC, || {
        let _section = rcu::read();
        RawRwSem::new(&SLEEP).read();
    });
    assert!(violation.message.contains("RCU"), "{violation}");
    broken(kind::SLEEP_IN_ATOMIC, || {
        let cpu = Cpu::new(0);
        cpu.disable();
        AtomicU32::new(1).wait_until(|value| value == 1);
    });
    broken(kind::SLEEP_IN_ATOMIC, || {
        let _section = rcu::read();
        rcu::synchronize();
    });
    broken(kind::SLEEP_IN_ATOMIC, || {
        let thread = thread::spawn_named("t", || {});
        let spin = RawLock::new(&SPIN);
        spin.lock();
        thread.join().unwrap();
    });
    // Spinning there is allowed, and so is trying.
    holds(|| {
        let _section = rcu::read();
        let (spin, sleep) = (RawLock::new(&SPIN), RawLock::new(&SLEEP));
        spin.lock();
        assert!(sleep.try_lock());
        sleep.unlock();
        spin.unlock();
    });
}

#[test]
fn leaks() {
    let violation = broken(kind::LEAK, || RawLock::new(&SPIN).lock());
    assert!(violation.message.contains("spin#1"), "{violation}");
    broken(kind::LEAK, || RawRwSem::new(&SLEEP).read());
    broken(kind::LEAK, rcu::read_lock);
    broken(kind::LEAK, || Cpu::new(0).disable());
}

#[test]
fn releasing_what_is_not_held() {
    broken(kind::NOT_HELD, || RawLock::new(&SPIN).unlock());
    broken(kind::NOT_HELD, || RawRwSem::new(&SLEEP).read_unlock());
    broken(kind::NOT_HELD, || RawRwSem::new(&SLEEP).downgrade());
    broken(kind::NOT_HELD, rcu::read_unlock);
    broken(kind::NOT_HELD, || Cpu::new(0).enable());
}

#[test]
fn panics_are_found_and_destructors_run() {
    let dropped = Rc::new(Cell::new(0_u32));
    struct Count(Rc<Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let made = Cell::new(0);
    let violation = broken(kind::PANIC, || {
        let word = Arc::new(AtomicU32::new(0));
        let lock = Arc::new(Mutex::new(()));
        for name in ["a", "b"] {
            made.set(made.get() + 1);
            let (word, lock, count) = (
                Arc::clone(&word),
                Arc::clone(&lock),
                Count(Rc::clone(&dropped)),
            );
            thread::spawn_named(name, move || {
                let _count = count;
                let _guard = lock.lock().unwrap();
                let value = word.load(SeqCst);
                word.store(value + 1, SeqCst);
                assert_eq!(value, 0, "somebody was here");
            });
        }
    });
    assert!(
        violation.message.contains("somebody was here"),
        "{violation}"
    );
    assert!(violation.message.contains("detectors.rs"), "{violation}");
    assert_eq!(dropped.get(), made.get());
}

#[test]
fn caught_panics_are_the_programs_own_business() {
    holds(|| {
        let caught = std::panic::catch_unwind(|| panic!("not seen"));
        assert!(caught.is_err());
        let word = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&word);
        thread::spawn_named("t", move || other.store(1, SeqCst));
        word.wait_until(|value| value == 1);
    });
}

#[test]
fn livelock() {
    let violation = broken(kind::LIVELOCK, || {
        let word = AtomicU32::new(0);
        while word.load(SeqCst) == 0 {
            hint::relax();
        }
    });
    assert!(
        violation.message.contains("until a1 changes"),
        "{violation}"
    );
    // A retry loop that somebody ends is finite.
    let report = holds(|| {
        let word = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&word);
        thread::spawn_named("t", move || other.store(1, SeqCst));
        while word.load(SeqCst) == 0 {
            hint::relax();
        }
    });
    assert_eq!(report.complete, 2);
}

#[test]
fn spin_lock_by_hand() {
    let report = holds(|| {
        let word = Arc::new(AtomicU32::new(0));
        for _ in 0..3 {
            let word = Arc::clone(&word);
            thread::spawn_named("t", move || {
                while word.compare_exchange(0, 1, SeqCst, SeqCst).is_err() {
                    hint::relax();
                }
                word.store(0, SeqCst);
            });
        }
    });
    assert!(report.complete >= 6, "{report}");
}

#[test]
fn bounds() {
    let many = || {
        let word = Arc::new(AtomicU32::new(0));
        for _ in 0..4 {
            let word = Arc::clone(&word);
            thread::spawn_named("t", move || word.fetch_add(1, SeqCst));
        }
    };
    let report = explore(&Config::default().max_executions(5), many);
    assert!(
        matches!(report.verdict, Verdict::NotExhausted(Bound::Executions(5))),
        "{report}"
    );
    assert_eq!(report.executions, 5);
    let endless = || loop {
        AtomicU32::new(0).load(SeqCst);
    };
    let report = explore(&Config::default().max_steps(50), endless);
    assert!(
        matches!(report.verdict, Verdict::NotExhausted(Bound::Steps(50))),
        "{report}"
    );
    let report = run(|| {
        for _ in 0..64 {
            thread::spawn_named("t", || {});
        }
    });
    assert!(
        matches!(report.verdict, Verdict::NotExhausted(Bound::Threads(64))),
        "{report}"
    );
}

/// Takes the last of something if `other` has taken the first.
fn takes_two(word: &AtomicU32) {
    if word.fetch_add(1, SeqCst) == 1 {
        run_out("things");
    }
}

#[test]
fn running_out_is_no_violation_and_no_proof() {
    let report = run(|| {
        let word = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&word);
        thread::spawn_named("t", move || takes_two(&other));
        takes_two(&word);
    });
    assert!(
        matches!(
            report.verdict,
            Verdict::NotExhausted(Bound::Program("things"))
        ),
        "{report}"
    );
    // Whether it is in time or not: what breaks elsewhere is found.
    let report = run(|| {
        let word = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&word);
        let thread = thread::spawn_named("t", move || other.store(1, SeqCst));
        if word.load(SeqCst) == 1 {
            run_out("things");
        }
        thread.join().unwrap();
        panic!("it was not there");
    });
    assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
}

/// Two ordered switches are needed to see it: a read between two writes, and another after them.
fn torn_read() {
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let writer = {
        let words = Arc::clone(&words);
        thread::spawn_named("writer", move || {
            words[0].store(1, SeqCst);
            words[1].store(1, SeqCst);
        })
    };
    let first = words[0].load(SeqCst);
    let second = words[1].load(SeqCst);
    assert!(first == second || first == 1, "torn: {first} {second}");
    writer.join().unwrap();
}

#[test]
fn sampling_finds_and_says_what_it_covers() {
    for search in [
        Search::RandomWalk { seed: 7 },
        Search::Pct { seed: 7, depth: 3 },
        Search::Pos { seed: 7 },
    ] {
        let config = Config::default().search(search).max_executions(2_000);
        let report = explore(&config, torn_read);
        let Verdict::Broken(violation) = &report.verdict else {
            panic!("{search:?} does not find it: {report}");
        };
        assert_eq!(violation.kind, "panic");
        let again = explore(&config, torn_read);
        assert_eq!(report.to_string(), again.to_string(), "the seed decides");

        let fine = explore(&config, || {
            thread::spawn_named("nothing", || ()).join().unwrap();
        });
        assert!(
            matches!(fine.verdict, Verdict::NotExhausted(Bound::Sample(2_000))),
            "sampling proves nothing: {fine}"
        );
    }
}

/// How often, of 2000 executions, a thread is overtaken by ten operations of another one that do not concern it.
fn overtaken(search: Search) -> u32 {
    let overtaken = Cell::new(0);
    let config = Config::default().search(search).max_executions(2_000);
    explore(&config, || {
        let word = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&word);
        let slow = thread::spawn_named("slow", move || other.load(SeqCst));
        thread::spawn_named("fast", move || {
            let own = AtomicU32::new(0);
            for _ in 0..8 {
                own.load(SeqCst);
            }
            word.store(1, SeqCst);
        });
        overtaken.set(overtaken.get() + slow.join().unwrap());
    });
    overtaken.get()
}

#[test]
fn partial_order_sampling_is_not_drowned_by_steps_that_make_no_difference() {
    for seed in 0..5 {
        let pos = overtaken(Search::Pos { seed });
        // The load is the last of eleven; its start may have been late as well.
        assert!((100..400).contains(&pos), "about one in eleven: {pos}");
        let walk = overtaken(Search::RandomWalk { seed });
        assert!(walk < pos, "about one in a thousand: {walk}");
    }
}

#[test]
fn a_violation_wins_over_a_bound() {
    // The first execution takes the threads as they come.
    let config = Config::default().max_executions(2).newest_first(false);
    let report = explore(&config, || {
        let word = Arc::new(AtomicU32::new(0));
        for i in 0..5 {
            let word = Arc::clone(&word);
            thread::spawn_named("t", move || assert_eq!(word.fetch_add(1, SeqCst), i));
        }
    });
    assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
    assert_eq!(report.executions, 2);
}

#[test]
fn quiet_sections() {
    let report = holds(|| {
        let counter = quiet(|| {
            let counter = Counter::new(0);
            counter.add(1);
            counter
        });
        assert_eq!(quiet(|| counter.get()), 1);
    });
    assert_eq!(
        report.longest, 1,
        "only the start of the main thread is an event"
    );
    let violation = broken(kind::BLOCKED_IN_QUIET, || {
        let shared = Arc::new((RawLock::new(&SLEEP), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        thread::spawn_named("t", move || {
            other.0.lock();
            other.1.store(1, SeqCst);
            other.1.wait_until(|value| value == 2);
        });
        shared.1.wait_until(|value| value == 1);
        quiet(|| shared.0.lock());
    });
    assert!(violation.message.contains("held by t"), "{violation}");
    // Nobody can end a retry loop there.
    broken(kind::BLOCKED_IN_QUIET, || quiet(hint::relax));
    // A lock taken quietly is held.
    broken(kind::LEAK, || quiet(|| RawLock::new(&SPIN).lock()));
}

#[test]
fn failing() {
    let violation = broken("lost page", || {
        let word = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&word);
        thread::spawn_named("writer", move || other.store(1, SeqCst));
        label(|| "look".to_owned());
        if word.load(SeqCst) == 1 {
            note(|| "it is gone".to_owned());
            fail("lost page", "page 3 is gone".to_owned());
        }
    });
    let labels: Vec<_> = violation
        .trace
        .steps
        .iter()
        .map(|step| step.label.as_str())
        .collect();
    assert_eq!(labels, ["start", "start", "store a1 = 1", "look"]);
    assert_eq!(violation.trace.steps[3].notes, ["it is gone"]);
    assert_eq!(violation.context_switches, 2);
}

#[test]
fn failing_after_a_wait() {
    // The wait is over when the thread fails, and what its predicate borrowed is gone. Nobody must ask
    // it again.
    broken("late", || {
        let word = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&word);
        thread::spawn_named("writer", move || other.store(1, SeqCst));
        {
            let wanted = Box::new(1);
            word.wait_until(|value| value == *wanted);
        }
        fail("late", String::new());
    });
}

#[test]
fn attempts_never_block_and_see_both_sides() {
    let (mut taken, mut refused) = (false, false);
    holds(|| {
        let lock = Arc::new(Mutex::new(0));
        let other = Arc::clone(&lock);
        thread::spawn_named("t", move || *other.lock().unwrap() += 1);
        match lock.try_lock() {
            Ok(_) => taken = true,
            Err(_) => refused = true,
        }
    });
    assert!(taken && refused);
}

#[test]
fn reader_writer_locks() {
    let mut seen = [false; 3];
    holds(|| {
        let lock = Arc::new(RwLock::new(0));
        let other = Arc::clone(&lock);
        let writer = thread::spawn_named("writer", move || {
            let mut guard = other.write().unwrap();
            *guard = 1;
            let guard = guard.downgrade();
            assert_eq!(*guard, 1);
        });
        seen[lock.try_read().map_or(2, |guard| *guard)] = true;
        writer.join().unwrap();
    });
    assert_eq!(seen, [true; 3]);
    // Between a downgrade and the end of reading, no writer comes in.
    holds(|| {
        let lock = Arc::new(RwLock::new(0));
        for id in 1..3 {
            let lock = Arc::clone(&lock);
            thread::spawn_named("writer", move || {
                let mut guard = lock.write().unwrap();
                *guard = id;
                assert_eq!(*guard.downgrade(), id);
            });
        }
    });
}

/// A reader, and a writer that takes an object away and has it freed by `free`.
fn unlink(free: fn(Box<dyn FnOnce()>)) -> impl FnMut() {
    move || {
        let published = Arc::new(AtomicU32::new(1));
        let object = Arc::new(AtomicU32::new(7));
        let freed = Arc::new(AtomicU32::new(0));
        let (p, o, f) = (
            Arc::clone(&published),
            Arc::clone(&object),
            Arc::clone(&freed),
        );
        thread::spawn_named("reader", move || {
            let _section = rcu::read();
            if p.load(SeqCst) == 1 {
                o.load(SeqCst);
                assert_eq!(f.load_quiet(), 0, "use after free");
            }
        });
        published.store(0, SeqCst);
        free(Box::new(move || {
            write_range(Arc::as_ptr(&object).cast(), size_of::<AtomicU32>());
            freed.store_quiet(1);
        }));
    }
}

#[test]
fn grace_periods_protect_readers() {
    holds(unlink(|free| {
        rcu::call(free);
    }));
    holds(unlink(|free| {
        rcu::synchronize();
        free();
    }));
    broken(kind::PANIC, unlink(|free| free()));
}

#[test]
fn use_after_the_section_is_found() {
    broken(kind::PANIC, || {
        let freed = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&freed);
        thread::spawn_named("reader", move || {
            rcu::read_lock();
            let seen = other.load(SeqCst);
            rcu::read_unlock();
            if seen == 0 {
                assert_eq!(other.load(SeqCst), 0, "used after the section");
            }
        });
        rcu::call(move || freed.store(1, SeqCst));
    });
}

#[test]
fn later_sections_are_not_waited_for() {
    // The reader enters its section after it has seen that the grace period was asked for. If it
    // were waited for, both orders of the callback and the second load could not be seen.
    let mut seen = [false; 2];
    holds(|| {
        let asked = Arc::new(AtomicU32::new(0));
        let done = Arc::new(AtomicU32::new(0));
        let (a, d) = (Arc::clone(&asked), Arc::clone(&done));
        let d2 = Arc::clone(&done);
        let reader = thread::spawn_named("reader", move || {
            a.wait_until(|value| value == 1);
            let _section = rcu::read();
            d.load(SeqCst);
            d.load(SeqCst)
        });
        rcu::call(move || d2.store(1, SeqCst));
        asked.store(1, SeqCst);
        let last = reader.join().unwrap();
        seen[last as usize] = true;
    });
    assert_eq!(seen, [true; 2]);
}

#[test]
fn interrupts_wait_until_they_are_enabled() {
    let report = holds(|| {
        let cpu = Rc::new(Cpu::new(0));
        let word = Arc::new(AtomicU32::new(0));
        let (c, w) = (Rc::clone(&cpu), Arc::clone(&word));
        thread::spawn_named("walker", move || {
            c.disable();
            let before = w.load(SeqCst);
            assert_eq!(w.load(SeqCst), before, "no handler ran in between");
            c.enable();
        });
        let w = Arc::clone(&word);
        cpu.ipi(move || w.store(1, SeqCst)).join();
        assert_eq!(word.load(SeqCst), 1);
    });
    assert_eq!(report.complete, 2);
}

#[test]
fn worlds_that_are_restored() {
    // As a program does that keeps its world in one place: registered once, restored later.
    let world = Box::leak(Box::new((RawLock::new(&SPIN), AtomicU32::new(0))));
    let world: &'static _ = world;
    let mark = Cell::new(None);
    let program = || {
        match mark.get() {
            None => {
                quiet(|| {
                    world.0.lock();
                    world.0.unlock();
                    world.1.store(0, SeqCst);
                });
                mark.set(Some(object_mark()));
            }
            Some(mark) => {
                world.0.reset_quiet();
                world.1.store_quiet(0);
                reset_objects_to(mark);
            }
        }
        for _ in 0..3 {
            let body = || {
                world.0.lock();
                world.1.fetch_add(1, SeqCst);
                world.0.unlock();
            };
            // SAFETY: the closure owns nothing.
            unsafe { thread::spawn_forgettable("t", body) };
        }
    };
    // SAFETY: the closure owns nothing.
    let report = unsafe { pagefold_explore::explore_forgetting(&Config::default(), program) };
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    assert_eq!(report.complete, 6);
}

#[test]
fn plain_values_outside_an_exploration() {
    let lock = Mutex::new(1);
    *lock.lock().unwrap() += 1;
    assert_eq!(lock.into_inner().unwrap(), 2);
    let word = AtomicU32::new(0);
    word.fetch_add(1, SeqCst);
    assert_eq!(word.wait_until(|value| value == 1), 1);
    let sem = RawRwSem::new(&SLEEP);
    sem.write();
    sem.downgrade();
    sem.read_unlock();
    hint::relax();
    rcu::read_lock();
    rcu::read_unlock();
    rcu::synchronize();
    assert!(!pagefold_explore::is_exploring());
}

#[test]
fn nondeterministic_programs_are_told() {
    let mut runs = 0;
    let violation = broken(kind::NONDETERMINISM, || {
        runs += 1;
        let word = Arc::new(AtomicU32::new(0));
        if runs % 2 == 0 {
            word.load(SeqCst);
        }
        for _ in 0..2 {
            let word = Arc::clone(&word);
            thread::spawn_named("t", move || word.fetch_add(1, SeqCst));
        }
    });
    assert!(
        violation.message.contains("the same schedule"),
        "{violation}"
    );
}

#[test]
fn threads_that_end_too_early_are_told() {
    // Whichever execution is the first with a shorter thread, and whoever finds that out.
    for changed in 2..60 {
        let mut runs = 0;
        let report = run(|| {
            runs += 1;
            let shortened = runs >= changed;
            let word = Arc::new(AtomicU32::new(0));
            for name in ["a", "b"] {
                let word = Arc::clone(&word);
                thread::spawn_named(name, move || {
                    for _ in 0..if shortened && name == "a" { 1 } else { 3 } {
                        word.fetch_add(1, SeqCst);
                    }
                });
            }
        });
        if let Verdict::Broken(violation) = report.verdict {
            assert_eq!(violation.kind, kind::NONDETERMINISM);
        }
    }
}

#[test]
fn explorations_on_several_os_threads() {
    let runs: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(|| {
                run(|| {
                    let lock = Arc::new(Mutex::new(0));
                    for _ in 0..4 {
                        let lock = Arc::clone(&lock);
                        thread::spawn_named("t", move || *lock.lock().unwrap() += 1);
                    }
                })
                .complete
            })
        })
        .collect();
    for run in runs {
        assert_eq!(run.join().unwrap(), 24);
    }
}

#[test]
fn checking() {
    check(|| {
        let counter = Arc::new(Counter::new(0));
        let other = Arc::clone(&counter);
        thread::spawn_named("t", move || other.add(1))
            .join()
            .unwrap();
        assert_eq!(counter.get(), 1);
    });
}

#[test]
fn destructors_of_abandoned_threads_may_lock() {
    struct Unlocks(Arc<Mutex<u32>>);
    impl Drop for Unlocks {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    broken(kind::DEADLOCK, || {
        let lock = Arc::new(Mutex::new(0));
        let word = Arc::new(AtomicU32::new(0));
        let (l, w) = (Arc::clone(&lock), Arc::clone(&word));
        thread::spawn_named("drops", move || {
            let _unlocks = Unlocks(l);
            w.wait_until(|value| value == 1);
        });
        thread::spawn_named("holds", move || {
            let _guard = lock.lock().unwrap();
            word.wait_until(|value| value == 1);
        });
    });
}
