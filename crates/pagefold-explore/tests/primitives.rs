//! The primitives that are named as in the standard library do what it promises, and no less is explored.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use pagefold_explore::cell::UnsafeCell;
use pagefold_explore::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16,
    AtomicU32, Ordering::SeqCst,
};
use pagefold_explore::sync::mpsc::{self, RecvError, TryRecvError, TrySendError};
use pagefold_explore::sync::{Arc, Barrier, Condvar, Mutex, Once, OnceLock};
use pagefold_explore::{Config, Report, Search, Verdict, Violation, explore, kind, thread};

/// What a program ends with: each thing that it says, in any order.
type Said = Rc<RefCell<BTreeSet<String>>>;

/// Explores a program, and compares what it can say, and whether it breaks, with the enumeration of all interleavings.
#[track_caller]
fn outcomes(program: impl Fn() -> String) -> (BTreeSet<String>, Report) {
    let explored = |config: Config| {
        let config = config.max_executions(100_000).max_truncated(1);
        let said = Said::default();
        let report = explore(&config, || {
            let outcome = program();
            said.borrow_mut().insert(outcome);
        });
        assert!(
            !matches!(report.verdict, Verdict::NotExhausted(_)),
            "{report}"
        );
        let said = said.borrow().clone();
        (said, report)
    };
    let (every, all) = explored(Config::default().search(Search::EveryInterleaving));
    for config in [Config::default(), Config::default().newest_first(false)] {
        let (reduced, report) = explored(config);
        assert_eq!(reduced, every, "{report}\n{all}");
        assert_eq!(broken_kind(&report), broken_kind(&all), "{report}\n{all}");
    }
    let (_, cached) = explored(Config::default().cache(true));
    assert_eq!(broken_kind(&cached), broken_kind(&all), "{cached}\n{all}");
    explored(Config::default())
}

fn broken_kind(report: &Report) -> Option<&str> {
    match &report.verdict {
        Verdict::Broken(violation) => Some(&violation.kind),
        _ => None,
    }
}

#[track_caller]
fn holds(program: impl Fn() -> String) -> Vec<String> {
    let (said, report) = outcomes(program);
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    said.into_iter().collect()
}

#[track_caller]
fn deadlocks(program: impl Fn() -> String) -> Violation {
    let (_, report) = outcomes(program);
    let Verdict::Broken(violation) = report.verdict else {
        panic!("no deadlock: {report}")
    };
    assert_eq!(violation.kind, kind::DEADLOCK, "{violation}");
    *violation
}

/// A flag with its condition variable.
type Flag = Arc<(Mutex<u32>, Condvar)>;

#[test]
fn a_condition_is_waited_for() {
    let said = holds(|| {
        let flag = Flag::default();
        let other = Arc::clone(&flag);
        thread::spawn(move || {
            *other.0.lock().unwrap() = 1;
            other.1.notify_one();
        });
        let mut waits = 0;
        let mut guard = flag.0.lock().unwrap();
        while *guard == 0 {
            waits += 1;
            guard = flag.1.wait(guard).unwrap();
        }
        format!("{} after {waits} waits", *guard)
    });
    assert_eq!(said, ["1 after 0 waits", "1 after 1 waits"]);
}

#[test]
fn a_notification_without_a_waiter_is_lost() {
    let violation = deadlocks(|| {
        let flag = Flag::default();
        let other = Arc::clone(&flag);
        thread::spawn_named("waiter", move || {
            // The planted bug: between the look and the wait the mutex is free.
            if *other.0.lock().unwrap() == 0 {
                let guard = other.0.lock().unwrap();
                drop(other.1.wait(guard));
            }
        });
        *flag.0.lock().unwrap() = 1;
        flag.1.notify_one();
        String::new()
    });
    assert!(
        violation
            .message
            .contains("waiter waits to be notified through condvar#"),
        "{violation}"
    );
    assert!(!violation.message.contains("main"), "{violation}");
    let trace = violation.to_string();
    assert!(trace.contains(": begin to wait"), "{violation}");
    assert!(trace.contains(": notify one"), "{violation}");
}

/// Waiters that wait unconditionally, and a notifier that knows when they do. Returns who went on by then.
fn waiters(notify: fn(&Condvar)) -> String {
    let shared: Arc<(Mutex<String>, Condvar, AtomicU32)> = Arc::default();
    for name in ["a", "b"] {
        let shared = Arc::clone(&shared);
        thread::spawn_named(name, move || {
            let guard = shared.0.lock().unwrap();
            shared.2.fetch_add(1, SeqCst);
            shared.1.wait(guard).unwrap().push_str(name);
        });
    }
    shared.2.wait_until(|waiting| waiting == 2);
    // It is free when both wait.
    drop(shared.0.lock());
    notify(&shared.1);
    shared.0.lock().unwrap().clone()
}

#[test]
fn notify_one_wakes_any_one() {
    let waiter = |count| {
        let (shared, woken): (Flag, _) = (Flag::default(), Arc::new(AtomicU32::new(0)));
        let shared = (shared, woken);
        let waiters = ["a", "b"].map(|name| {
            let (shared, woken) = shared.clone();
            thread::spawn_named(name, move || {
                let mut guard = shared.0.lock().unwrap();
                *guard += 1;
                if *guard == 2 {
                    // The other one waits already; both wait until one of the notifications below.
                    shared.1.notify_all();
                }
                let (guard, out) = shared.1.wait_timeout(guard, Duration::ZERO).unwrap();
                drop(guard);
                if !out.timed_out() {
                    woken.fetch_add(1, SeqCst);
                }
            })
        });
        for _ in 0..count {
            shared.0.1.notify_one();
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
        shared.1.load(SeqCst).to_string()
    };
    // One is woken by the other one's `notify_all`, or none; and each of main's notifications wakes one at most.
    assert_eq!(holds(move || waiter(0)), ["0", "1"]);
    assert_eq!(holds(move || waiter(1)), ["0", "1", "2"]);
    let violation = deadlocks(|| waiters(Condvar::notify_one));
    assert!(violation.message.contains("condvar#"), "{violation}");
    let (said, _) = outcomes(|| waiters(Condvar::notify_one));
    assert_eq!(said.into_iter().collect::<Vec<_>>(), ["", "a", "b"]);
    assert_eq!(
        holds(|| waiters(Condvar::notify_all)),
        ["", "a", "ab", "b", "ba"]
    );
}

#[test]
fn who_comes_later_is_not_woken() {
    // The first waiter is woken by the only notification, whatever comes later.
    let said = outcomes(|| {
        let shared: Arc<(Mutex<u32>, Condvar)> = Arc::default();
        let other = Arc::clone(&shared);
        let first = thread::spawn_named("first", move || {
            let guard = other.0.lock().unwrap();
            drop(other.1.wait(guard));
        });
        let other = Arc::clone(&shared);
        thread::spawn_named("second", move || {
            // Notifies, and then waits itself: this is not for itself.
            let guard = other.0.lock().unwrap();
            other.1.notify_one();
            drop(other.1.wait(guard));
            panic!("nobody notifies the second one");
        });
        first.join().unwrap();
        "the first was woken".to_owned()
    });
    assert_eq!(broken_kind(&said.1), Some(kind::DEADLOCK), "{}", said.1);
}

#[test]
fn timeouts_pass_at_any_time() {
    let said = holds(|| {
        let flag = Flag::default();
        let other = Arc::clone(&flag);
        thread::spawn(move || other.1.notify_all());
        let guard = flag.0.lock().unwrap();
        let (_guard, result) = flag.1.wait_timeout(guard, Duration::from_secs(1)).unwrap();
        result.timed_out().to_string()
    });
    assert_eq!(said, ["false", "true"]);
}

#[test]
fn a_barrier_lets_all_through_and_has_one_leader() {
    let said = holds(|| {
        let shared = Arc::new((Barrier::new(2), AtomicU32::new(0), AtomicU32::new(0)));
        let run = |shared: &(Barrier, AtomicU32, AtomicU32), first: u32| {
            let mut leads = String::new();
            for round in 1..3 {
                shared.1.fetch_add(1, SeqCst);
                let result = shared.0.wait();
                assert!(shared.1.load(SeqCst) >= 2 * round, "somebody went too far");
                if result.is_leader() {
                    leads.push_str(&first.to_string());
                    shared.2.fetch_add(1, SeqCst);
                }
            }
            leads
        };
        let other = Arc::clone(&shared);
        let handle = thread::spawn(move || run(&other, 1));
        let mine = run(&shared, 0);
        let others = handle.join().unwrap();
        assert_eq!(shared.2.load(SeqCst), 2, "one leader in each round");
        format!("{mine}-{others}")
    });
    assert_eq!(said, ["-11", "0-1", "00-"]);

    let violation = deadlocks(|| {
        let barrier = Arc::new(Barrier::new(3));
        let other = Arc::clone(&barrier);
        thread::spawn_named("one", move || other.wait());
        barrier.wait();
        String::new()
    });
    assert!(
        violation
            .message
            .contains("one waits for the others at barrier#"),
        "{violation}"
    );
}

#[test]
fn messages_arrive_in_order_until_the_senders_are_gone() {
    let said = holds(|| {
        let (sender, receiver) = mpsc::channel();
        for i in [1, 3] {
            let sender = sender.clone();
            thread::spawn(move || {
                sender.send(i).unwrap();
                sender.send(i + 1).unwrap();
            });
        }
        drop(sender);
        let all: Vec<u32> = receiver.iter().collect();
        assert_eq!(receiver.recv(), Err(RecvError));
        format!("{all:?}")
    });
    // Every merge of 1 2 and 3 4.
    assert_eq!(said.len(), 6, "{said:?}");
}

#[test]
fn senders_wait_for_room() {
    let said = holds(|| {
        let (sender, receiver) = mpsc::sync_channel(1);
        let progress = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&progress);
        let handle = thread::spawn(move || {
            for i in 0..3 {
                sender.send(i).unwrap();
                other.store(i + 1, SeqCst);
            }
            match sender.try_send(3) {
                Ok(()) => "room",
                Err(TrySendError::Full(3)) => "full",
                Err(_) => "gone",
            }
        });
        let sent = progress.load(SeqCst);
        assert!(sent <= 1, "there is room for one");
        for i in 0..3 {
            assert_eq!(receiver.recv(), Ok(i));
        }
        drop(receiver);
        format!("{sent} {}", handle.join().unwrap())
    });
    assert_eq!(
        said,
        ["0 full", "0 gone", "0 room", "1 full", "1 gone", "1 room"]
    );
    let violation = deadlocks(|| {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (reply, answer) = mpsc::channel::<()>();
        thread::spawn_named("asker", move || {
            sender.send(1).unwrap();
            sender.send(2).unwrap();
            drop(receiver);
        });
        assert_eq!(answer.recv(), Err(RecvError));
        drop(reply);
        String::new()
    });
    assert!(
        violation
            .message
            .contains("asker waits for room in channel#"),
        "{violation}"
    );
    assert!(
        violation
            .message
            .contains("main waits for a message in channel#"),
        "{violation}"
    );
}

#[test]
fn what_is_sent_to_nobody_comes_back() {
    let said = holds(|| {
        let (sender, receiver) = mpsc::channel();
        let handle = thread::spawn(move || sender.send(5).map_err(|error| error.0));
        let seen = receiver.try_recv();
        drop(receiver);
        format!("{seen:?} {:?}", handle.join().unwrap())
    });
    assert_eq!(
        said,
        [
            "Err(Disconnected) Ok(())",
            "Err(Empty) Err(5)",
            "Err(Empty) Ok(())",
            "Ok(5) Ok(())"
        ]
        .into_iter()
        // The message is there before the sender is gone.
        .filter(|said| !said.contains("Disconnected"))
        .collect::<Vec<_>>()
    );
    let (sender, receiver) = mpsc::channel::<u32>();
    sender.send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn unparking_before_parking_counts_once() {
    let said = holds(|| {
        let word = Arc::new(AtomicU32::new(0));
        let (other, main) = (Arc::clone(&word), thread::current());
        thread::spawn(move || {
            other.store(1, SeqCst);
            main.unpark();
        });
        thread::park();
        word.load(SeqCst).to_string()
    });
    assert_eq!(said, ["1"]);
    let violation = deadlocks(|| {
        let sleeper = thread::spawn_named("sleeper", || {
            thread::park();
            thread::park();
        });
        sleeper.thread().unpark();
        sleeper.thread().unpark();
        String::new()
    });
    assert!(
        violation
            .message
            .contains("sleeper waits to be unparked from parking#"),
        "{violation}"
    );
}

#[test]
fn the_first_value_stays() {
    let said = holds(|| {
        let cell = Arc::new(OnceLock::new());
        let calls = Arc::new(AtomicU32::new(0));
        let threads = [1, 2].map(|i| {
            let (cell, calls) = (Arc::clone(&cell), Arc::clone(&calls));
            thread::spawn(move || {
                *cell.get_or_init(|| {
                    calls.fetch_add(1, SeqCst);
                    i
                })
            })
        });
        let early = cell.get().copied();
        let values = threads.map(|thread| thread.join().unwrap());
        assert_eq!(calls.load(SeqCst), 1);
        assert_eq!(values[0], values[1]);
        assert_eq!(cell.set(3), Err(3));
        assert!(early.is_none_or(|early| early == values[0]));
        format!("{early:?} {}", values[0])
    });
    assert_eq!(said, ["None 1", "None 2", "Some(1) 1", "Some(2) 2"]);
    let violation = deadlocks(|| {
        let once = Arc::new((Once::new(), Mutex::new(())));
        let other = Arc::clone(&once);
        thread::spawn_named("other", move || {
            let _guard = other.1.lock().unwrap();
            other.0.call_once(|| ());
        });
        once.0.call_once(|| drop(once.1.lock()));
        String::new()
    });
    assert!(
        violation
            .message
            .contains("it waits for whoever initialises once#"),
        "{violation}"
    );
}

#[test]
fn scoped_threads_borrow_and_are_waited_for() {
    let said = holds(|| {
        let mut values = [AtomicU32::new(0), AtomicU32::new(0)];
        let count = Mutex::new(0);
        let sum = thread::scope(|scope| {
            let first = scope.spawn(|| values[0].fetch_add(1, SeqCst));
            thread::Builder::new()
                .name("second".to_owned())
                .spawn_scoped(scope, || {
                    *count.lock().unwrap() += 1;
                    scope.spawn(|| values[1].store(7, SeqCst));
                })
                .unwrap();
            first.join().unwrap() + values[1].load(SeqCst)
        });
        assert_eq!(count.into_inner().unwrap(), 1);
        assert_eq!(values.each_mut().map(|value| value.load(SeqCst)), [1, 7]);
        sum.to_string()
    });
    assert_eq!(said, ["0", "7"]);
}

/// Where an execution is abandoned, the threads of a scope are unwound before what they borrow is gone.
#[test]
fn abandoned_scopes() {
    /// Looks at what it borrows when it is dropped, and takes a lock.
    struct Looks<'a>(&'a Cell<u32>, &'a Mutex<u32>);
    impl Drop for Looks<'_> {
        fn drop(&mut self) {
            assert_eq!(self.0.get(), 42, "what is borrowed is gone");
            *self.1.lock().unwrap() += 1;
        }
    }
    /// Spoils what was borrowed when it goes.
    struct Owned(Cell<u32>);
    impl Drop for Owned {
        fn drop(&mut self) {
            self.0.set(0);
        }
    }
    let dropped = Cell::new(0);
    let report = explore(&Config::default().minimize_executions(50), || {
        let owned = Owned(Cell::new(42));
        let lock = Mutex::new(0);
        let flag = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let _looks = Looks(&owned.0, &lock);
                    thread::scope(|inner| {
                        inner.spawn(|| {
                            let _looks = Looks(&owned.0, &lock);
                            assert!(!flag.load(SeqCst), "the planted violation");
                        });
                        dropped.set(dropped.get() + 1);
                        flag.load(SeqCst);
                    });
                });
            }
            flag.store(true, SeqCst);
        });
    });
    assert_eq!(broken_kind(&report), Some(kind::PANIC), "{report}");
    assert!(dropped.get() > 2);
}

#[test]
fn a_panic_in_a_scope_waits_for_its_threads() {
    let report = explore(&Config::default(), || {
        let word = AtomicU32::new(0);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            thread::scope(|scope| {
                scope.spawn(|| word.store(1, SeqCst));
                panic!("in the scope");
            });
        }));
        assert!(caught.is_err());
        assert_eq!(word.load(SeqCst), 1);
    });
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
}

#[test]
fn pointers() {
    let said = holds(|| {
        let (mut one, mut two) = (1, 2);
        let (one, two) = (&raw mut one, &raw mut two);
        let pointer = Arc::new(AtomicPtr::new(one));
        let other = Arc::clone(&pointer);
        let thread =
            thread::spawn(move || other.compare_exchange(one, two, SeqCst, SeqCst).is_ok());
        let before = pointer.swap(std::ptr::null_mut(), SeqCst);
        let swapped = thread.join().unwrap();
        assert_eq!(before == two, swapped);
        // SAFETY: it is one of the two above, which are alive.
        let before = unsafe { *before };
        format!("{before} {swapped} {}", pointer.load(SeqCst).is_null())
    });
    assert_eq!(said, ["1 false true", "2 true true"]);
}

/// Constants of each type, as in the standard library.
#[test]
fn statics() {
    static POINTER: AtomicPtr<u32> = AtomicPtr::new(std::ptr::null_mut());
    static LOCK: (Mutex<u8>, Condvar, OnceLock<u8>, Once) =
        (Mutex::new(1), Condvar::new(), OnceLock::new(), Once::new());
    assert!(POINTER.load(SeqCst).is_null());
    LOCK.1.notify_all();
    assert_eq!(LOCK.2.get_or_init(|| 3), &3);
    LOCK.3.call_once(|| ());
    assert!(LOCK.3.is_completed());
}

#[test]
fn numbers_wrap_around_at_their_width() {
    let small = AtomicU8::new(250);
    assert_eq!(small.fetch_add(10, SeqCst), 250);
    assert_eq!(small.load(SeqCst), 4);
    assert_eq!(small.fetch_nand(6, SeqCst), 4);
    assert_eq!(small.load(SeqCst), !4);
    let signed = AtomicI8::new(-128);
    assert_eq!(signed.fetch_sub(1, SeqCst), -128);
    assert_eq!(signed.load(SeqCst), 127);
    assert_eq!(signed.fetch_min(-5, SeqCst), 127);
    assert_eq!(signed.load(SeqCst), -5);
    assert_eq!(AtomicI16::new(i16::MIN).into_inner(), i16::MIN);
    assert_eq!(AtomicU16::new(u16::MAX).fetch_add(1, SeqCst), u16::MAX);
    assert_eq!(
        AtomicI32::new(-1).compare_exchange(-1, 5, SeqCst, SeqCst),
        Ok(-1)
    );
    assert_eq!(AtomicIsize::new(-3).fetch_max(2, SeqCst), -3);
}

/// Two threads that access a cell, ordered by `order` or not.
fn cell(write: bool, order: fn(&AtomicU32, &Mutex<()>, bool) -> bool) -> Report {
    let (_, report) = outcomes(move || {
        let shared = Rc::new((UnsafeCell::new(1), AtomicU32::new(0), Mutex::new(())));
        let other = Rc::clone(&shared);
        thread::spawn_named("writer", move || {
            let (cell, word, lock) = &*other;
            let guard = lock.lock();
            if write {
                // SAFETY: a race is found before it takes place.
                cell.with_mut(|value| unsafe { *value = 2 });
            } else {
                // SAFETY: as above.
                cell.with(|value| unsafe { *value });
            }
            drop(guard);
            order(word, lock, true);
        });
        let (cell, word, lock) = &*shared;
        if order(word, lock, false) {
            // SAFETY: as above.
            cell.with(|value| unsafe { *value }).to_string()
        } else {
            String::new()
        }
    });
    report
}

#[test]
fn data_races() {
    let unordered = cell(true, |_, _, _| true);
    assert_eq!(
        broken_kind(&unordered),
        Some(kind::DATA_RACE),
        "{unordered}"
    );
    assert!(
        unordered.to_string().contains("nothing orders the two"),
        "{unordered}"
    );
    // A lock that only one of them holds is no order.
    let one_sided = cell(true, |_, lock, writer| writer || lock.try_lock().is_ok());
    assert_eq!(
        broken_kind(&one_sided),
        Some(kind::DATA_RACE),
        "{one_sided}"
    );
    // Two reads are none, and neither is what was published.
    let reads = cell(false, |_, _, _| true);
    assert_eq!(broken_kind(&reads), None, "{reads}");
    let published = cell(true, |word, _, writer| {
        if writer {
            word.store(1, SeqCst);
        }
        word.load(SeqCst) == 1
    });
    assert_eq!(broken_kind(&published), None, "{published}");
    // Spawning and joining order.
    let report = explore(&Config::default(), || {
        let cell = UnsafeCell::new(0);
        // SAFETY: the threads are ordered.
        let add = || cell.with_mut(|value| unsafe { *value += 1 });
        add();
        for _ in 0..2 {
            thread::scope(|scope| drop(scope.spawn(add)));
        }
        add();
        assert_eq!(cell.into_inner(), 4);
    });
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
}

/// States are not taken for the same that differ in what was sent or set.
#[test]
fn remembered_states_tell_contents_apart() {
    #[track_caller]
    fn found(program: fn()) {
        let report = explore(&Config::default().cache(true), program);
        assert_eq!(broken_kind(&report), Some(kind::PANIC), "{report}");
    }
    for unwanted in [[1, 2], [2, 1]] {
        let order = explore(&Config::default().cache(true), || {
            let (sender, receiver) = mpsc::channel();
            for i in [1, 2] {
                let sender = sender.clone();
                thread::spawn(move || sender.send(i).unwrap());
            }
            let received = [(); 2].map(|()| receiver.recv().unwrap());
            assert_ne!(received, unwanted);
        });
        assert_eq!(broken_kind(&order), Some(kind::PANIC), "{order}");
    }
    fn first(unwanted: u32) {
        let cell = Arc::new(OnceLock::new());
        for i in [1, 2] {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.get_or_init(|| i);
            });
        }
        assert_ne!(cell.get_or_init(|| 0), &unwanted);
    }
    found(|| first(1));
    found(|| first(2));
    found(|| first(0));
}
