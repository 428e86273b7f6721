//! The observation cache: what it saves, and what it must not take for the same.

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, Mutex, RawLock, RwLock};
use pagefold_explore::{Config, Report, Verdict, explore, hint, quiet, rcu, thread};

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
            thread::spawn_named("t", move || {
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
                thread::spawn_named("t", move || write(&shared.0, &shared.1, i))
            });
            for thread in threads {
                thread.join().unwrap();
            }
            assert_ne!(
                (*shared.0.lock().unwrap(), *shared.1.read().unwrap()),
                (213, 213)
            );
        }
    }
    for write in [
        |mutex: &Mutex<u32>, lock: &RwLock<u32>, i| {
            let mut value = mutex.lock().unwrap();
            *value = *value * 10 + i;
            *lock.write().unwrap() = *value;
        },
        |mutex: &Mutex<u32>, lock: &RwLock<u32>, i| {
            let mut value = lock.write().unwrap();
            *value = *value * 10 + i;
            *mutex.lock().unwrap() = *value;
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
            thread::spawn_named("t", move || {
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

/// A checkpoint keeps what the engine knows of a thread: here, the read section it is in, and what
/// its retry loop watches.
#[test]
fn checkpoints_keep_what_is_held() {
    let report = cached(|| {
        let words: Arc<[AtomicU32; 2]> = Arc::default();
        quiet(|| words.iter().map(|word| word.load(SeqCst)).sum::<u32>());
        let reader = Arc::clone(&words);
        thread::spawn_named("reader", move || {
            if reader[0].load(SeqCst) == 0 {
                rcu::read_lock();
                reader[1].load(SeqCst);
            }
            hint::checkpoint(0);
            reader[1].load(SeqCst);
            if rcu::is_reading() {
                rcu::read_unlock();
            }
        });
        let retry = Arc::clone(&words);
        thread::spawn_named("retry", move || {
            let word = retry[0].load(SeqCst);
            if word == 1 {
                retry[1].load(SeqCst);
            }
            hint::checkpoint(u64::from(word == 2));
            // Waits for the first word, or for any.
            hint::relax();
        });
        words[0].store(1, SeqCst);
        rcu::synchronize();
        words[1].store(1, SeqCst);
    });
    let Verdict::Broken(violation) = report.verdict else {
        panic!("{report}")
    };
    assert_eq!(violation.kind, "livelock");
}

/// Worlds that are kept from one execution to the next, with their objects.
#[test]
fn marks() {
    let words: &'static [AtomicU32; 3] = Box::leak(Box::default());
    let mark = std::cell::Cell::new(None);
    let report = cached(|| {
        for word in words {
            word.store_quiet(0);
        }
        match mark.get() {
            Some(mark) => pagefold_explore::reset_objects_to(mark),
            None => {
                quiet(|| words.iter().map(|word| word.load(SeqCst)).sum::<u32>());
                mark.set(Some(pagefold_explore::object_mark()));
            }
        }
        for _ in 0..4 {
            thread::spawn_named("t", || {
                let extra = AtomicU32::new(0);
                words[0].store(1, SeqCst);
                extra.store(words[0].load(SeqCst), SeqCst);
                words[1].fetch_add(extra.load(SeqCst), SeqCst);
                words[2].fetch_max(words[1].load(SeqCst), SeqCst);
            });
        }
    });
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    assert!(report.cut > 10 * report.complete, "{report:?}");
}
