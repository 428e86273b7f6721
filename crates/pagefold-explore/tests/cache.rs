//! The observation cache: what it saves, and what it must not take for the same.

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, Mutex, RawLock, RwLock};
use pagefold_explore::{Config, Report, Verdict, explore, quiet, thread};

static LOCK: LockClass = LockClass::spin("lock");

fn cached(program: impl Fn()) -> Report {
    let report = explore(&Config::default().cache(true), &program);
    let all = report.complete + report.blocked + report.cut;
    match report.verdict {
        Verdict::Holds => assert_eq!(report.executions, all),
        Verdict::Broken(_) | Verdict::NotExhausted(_) => assert!(report.executions > all),
    }
    report
}

/// Threads that take a lock for nothing pass through few states.
#[test]
fn locks_taken_for_nothing() {
    let program = || {
        let lock = Arc::new(RawLock::new(&LOCK));
        quiet(|| {
            lock.lock();
            lock.unlock();
        });
        for _ in 0..5 {
            let lock = Arc::clone(&lock);
            thread::spawn("t", move || {
                lock.lock();
                lock.unlock();
            });
        }
    };
    let without = explore(&Config::default(), program);
    assert_eq!((without.complete, without.cut), (120, 0));
    let with = cached(program);
    assert!(matches!(with.verdict, Verdict::Holds));
    assert!(with.executions < 120 && with.complete < 20, "{with:?}");
}

/// Contents of locks are part of the state, although they are plain memory.
#[test]
fn contents_of_locks() {
    fn program(write: fn(&Mutex<u32>, &RwLock<u32>, u32)) -> impl Fn() {
        move || {
            let shared = Arc::new((Mutex::new(0), RwLock::new(0)));
            let threads = [1, 2, 3].map(|i| {
                let shared = Arc::clone(&shared);
                thread::spawn("t", move || write(&shared.0, &shared.1, i))
            });
            for thread in threads {
                thread.join().unwrap();
            }
            assert_ne!((*shared.0.lock(), *shared.1.read()), (213, 213));
        }
    }
    for write in [
        |mutex: &Mutex<u32>, lock: &RwLock<u32>, i| {
            let mut value = mutex.lock();
            *value = *value * 10 + i;
            *lock.write() = *value;
        },
        |mutex: &Mutex<u32>, lock: &RwLock<u32>, i| {
            let mut value = lock.write();
            *value = *value * 10 + i;
            *mutex.lock() = *value;
        },
    ] {
        let report = cached(program(write));
        assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
    }
}

/// What a thread returns is known to whoever joins it.
#[test]
fn results() {
    let report = cached(|| {
        let word = Arc::new(AtomicU32::new(0));
        let threads = [1, 2].map(|i| {
            let word = Arc::clone(&word);
            thread::spawn("t", move || {
                let before = word.swap(i, SeqCst);
                word.store(0, SeqCst);
                before
            })
        });
        let seen = threads.map(|thread| thread.join().unwrap());
        assert_ne!(seen, [2, 0]);
    });
    assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
}
