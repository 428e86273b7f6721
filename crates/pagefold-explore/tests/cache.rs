//! The observation cache: what it saves, and what it must not take for the same.

use std::cell::Cell;
use std::rc::Rc;

use pagefold_explore::cell::UnsafeCell;
use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, Mutex, RawLock, RwLock};
use pagefold_explore::{Config, Report, Verdict, explore, hint, kind, quiet, rcu, thread};

static LOCK: LockClass = LockClass::spin("lock");

/// Explores with the cache, and validates.
fn cached(program: impl Fn()) -> Report {
    let report = plain(&program);
    validate(&program, &report);
    report
}

fn plain(program: impl Fn()) -> Report {
    let report = explore(&Config::default().cache(true), program);
    let all = report.complete + report.blocked + report.cut;
    match report.verdict {
        Verdict::Holds => assert_eq!(report.executions, all),
        Verdict::Broken(_) | Verdict::NotExhausted(_) => assert!(report.executions > all),
    }
    report
}

/// Explores with some of the cuts not made: the program must keep its promise, and the verdict must
/// be the same.
fn validate(program: impl Fn(), expected: &Report) {
    let config = Config::default().cache(true).validate_checkpoints(7);
    let report = explore(&config, program);
    assert_eq!(kind_of(&report), kind_of(expected), "{report}");
}

fn kind_of(report: &Report) -> Option<&str> {
    match &report.verdict {
        Verdict::Holds => None,
        Verdict::Broken(violation) => Some(&violation.kind),
        Verdict::NotExhausted(bound) => panic!("{bound}"),
    }
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
    let mark = Cell::new(None);
    let program = || {
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
    };
    let report = plain(program);
    mark.set(None);
    validate(program, &report);
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    assert!(report.cut > 10 * report.complete, "{report:?}");
}

/// A checkpoint that forgets a value which the thread still needs hides violations. Validation finds
/// it, and says where it is.
#[test]
fn wrong_checkpoints() {
    /// Copies the first word to the second once the third is set, and forgets what it has read
    /// on the way if `wrong`.
    fn program(wrong: bool, check: bool) -> impl Fn() {
        move || {
            let words: Arc<[AtomicU32; 3]> = Arc::default();
            quiet(|| words.iter().map(|word| word.load(SeqCst)).sum::<u32>());
            let copier = Arc::clone(&words);
            let copier = thread::spawn_named("copier", move || {
                let value = copier[0].load(SeqCst);
                hint::checkpoint(if wrong { 0 } else { value.into() });
                copier[2].wait_until(|go| go == 1);
                copier[1].store(value, SeqCst);
            });
            for value in [1, 0] {
                words[0].store(value, SeqCst);
            }
            words[2].store(1, SeqCst);
            copier.join().unwrap();
            assert!(!check || words[1].load(SeqCst) == 0);
        }
    }
    let config = Config::default().cache(true);
    let broken = explore(&config, program(false, true));
    assert_eq!(kind_of(&broken), Some(kind::PANIC));
    let missed = explore(&config, program(true, true));
    assert_eq!(kind_of(&missed), None, "{missed}");

    let config = config.validate_checkpoints(1);
    assert_eq!(kind_of(&explore(&config, program(false, false))), None);
    let report = explore(&config, program(true, false));
    let Verdict::Broken(violation) = &report.verdict else {
        panic!("{report}")
    };
    assert_eq!(violation.kind, kind::CHECKPOINT);
    assert!(violation.message.contains("tests/cache.rs:"), "{violation}");
    assert!(violation.message.starts_with("copier "), "{violation}");
    assert!(!violation.trace.steps.is_empty());
}

/// What a thread announces shows it, too, not only what it writes.
#[test]
fn wrong_checkpoints_steer() {
    let config = Config::default().cache(true).validate_checkpoints(1);
    let report = explore(&config, || {
        let words: Arc<[AtomicU32; 3]> = Arc::default();
        quiet(|| words.iter().map(|word| word.load(SeqCst)).sum::<u32>());
        let reader = Arc::clone(&words);
        thread::spawn_named("reader", move || {
            let value = reader[0].load(SeqCst) as usize;
            hint::checkpoint(0);
            reader[1 + value].load(SeqCst);
        });
        words[0].store(1, SeqCst);
    });
    assert_eq!(kind_of(&report), Some(kind::CHECKPOINT), "{report}");
}

/// Memory that threads share behind the explorer's back breaks the promise, without any checkpoint.
#[test]
fn plain_memory() {
    let config = Config::default().cache(true).validate_checkpoints(1);
    let report = explore(&config, || {
        let shared = Rc::new((RawLock::new(&LOCK), Cell::new(0), AtomicU32::new(0)));
        quiet(|| {
            shared.0.lock();
            shared.2.load(SeqCst);
            shared.0.unlock();
        });
        for i in 1..3 {
            let shared = Rc::clone(&shared);
            thread::spawn_named("t", move || {
                shared.0.lock();
                shared.1.set(shared.1.get() + i);
                let value = shared.1.get();
                shared.0.unlock();
                shared.2.store(value, SeqCst);
            });
        }
    });
    let Verdict::Broken(violation) = &report.verdict else {
        panic!("{report}")
    };
    assert_eq!(violation.kind, kind::CHECKPOINT);
    assert!(violation.message.contains("since its start"), "{violation}");
}

/// With little memory, states are dropped, and nothing but work is lost.
#[test]
fn bounded_memory() {
    let program = || {
        let words: Arc<[AtomicU32; 4]> = Arc::default();
        quiet(|| words.iter().map(|word| word.load(SeqCst)).sum::<u32>());
        for i in 0..3 {
            let words = Arc::clone(&words);
            thread::spawn_named("t", move || {
                for j in 0..3 {
                    words[(i + j) % 4].fetch_add(1, SeqCst);
                }
            });
        }
    };
    let config = Config::default().cache(true);
    let enough = explore(&config, program);
    let little = explore(&config.clone().cache_bytes(4_000), program);
    let none = explore(&config.cache_bytes(0), program);
    let [enough, little, none] = [enough, little, none].map(|report| {
        assert!(matches!(report.verdict, Verdict::Holds), "{report}");
        (report.states, report.cut, report.cache.unwrap().dropped)
    });
    assert!(enough.0 < little.0, "{enough:?} {little:?}");
    assert!(little.0 < none.0, "{little:?} {none:?}");
    assert!(enough.2 == 0 && little.2 > 0 && little.1 > 0, "{little:?}");
}

/// The report says how far the keys can be trusted.
#[test]
fn probability_of_a_miss() {
    let program = || {
        thread::spawn_named("t", || ());
    };
    let without = explore(&Config::default(), program);
    assert_eq!(without.cache, None);
    assert!(!without.to_string().contains("cache"));
    let with = explore(&Config::default().cache(true), program);
    let cache = with.cache.unwrap();
    assert!(cache.stored > 0 && cache.looked_up > 0);
    let chances = cache.stored * cache.looked_up * u64::from(with.longest);
    let expected = chances as f64 / 2f64.powi(128);
    assert!((cache.missed / expected - 1.0).abs() < 1e-9, "{cache:?}");
    let shown = with.to_string();
    assert!(shown.contains("with a probability below"), "{shown}");
}

/// Whether two accesses of plain memory race depends on who knows of what, and not on the state.
#[test]
fn data_races() {
    let report = explore(&Config::default().cache(true), || {
        let shared = Rc::new((AtomicU32::new(0), AtomicU32::new(0), UnsafeCell::new(0)));
        quiet(|| {
            shared.0.load(SeqCst);
            shared.1.load(SeqCst);
            shared.2.with(|_| ());
        });
        let writer = Rc::clone(&shared);
        thread::spawn_named("writer", move || {
            writer.0.store(5, SeqCst);
            writer.2.with_mut(|_| ());
            writer.1.store(5, SeqCst);
        });
        // Each of the two orders of the accesses can be had with and without knowing.
        let reader = Rc::clone(&shared);
        thread::spawn_named("reader", move || {
            reader.1.store(5, SeqCst);
            reader.2.with(|_| ());
            reader.0.store(5, SeqCst);
        });
    });
    assert_eq!(kind_of(&report), Some(kind::DATA_RACE), "{report}");
}
