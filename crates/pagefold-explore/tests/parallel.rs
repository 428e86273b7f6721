//! However many workers explore a program, the report is the same, to the last figure.

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, RawLock};
use pagefold_explore::{
    Config, Ended, Report, Verdict, explore, explore_parallel, fail, hint, thread,
};

static LOCK: LockClass = LockClass::spin("lock").ranked(1);

struct World {
    words: [AtomicU32; 3],
    locks: [RawLock; 3],
}

/// Two threads that collapse, fault and set a flag as in `benches/speed.rs`, and a check at the end of
/// each faulter which fails if `wrong`.
fn collapse(faulters: usize, rounds: usize, wrong: bool) -> impl Fn() + Copy {
    move || {
        let world = Arc::new(World {
            words: std::array::from_fn(|_| AtomicU32::new(0)),
            locks: std::array::from_fn(|_| RawLock::new(&LOCK)),
        });
        for number in 0..faulters + 2 {
            let world = Arc::clone(&world);
            thread::spawn_named(format!("t{number}"), move || {
                let [entry, flag, page] = &world.words;
                let [mapping, entry_lock, table_lock] = &world.locks;
                if number == 0 {
                    mapping.lock();
                    if entry.load(SeqCst) == 0 {
                        entry_lock.lock_nested();
                        table_lock.lock_nested();
                        if flag.load(SeqCst) == 0 {
                            entry.store(1, SeqCst);
                        }
                        table_lock.unlock();
                        entry_lock.unlock();
                    }
                    mapping.unlock();
                } else if number <= faulters {
                    for _ in 0..rounds {
                        if entry.load(SeqCst) == 1 {
                            entry_lock.lock();
                            if entry.load(SeqCst) == 1 {
                                entry.store(0, SeqCst);
                            }
                            entry_lock.unlock();
                        }
                        table_lock.lock();
                        if entry.load(SeqCst) == 0 {
                            page.store(1, SeqCst);
                        }
                        table_lock.unlock();
                    }
                    if wrong && entry.load(SeqCst) == 1 && flag.load(SeqCst) == 1 {
                        fail("lost", format!("t{number} sees both"));
                    }
                } else {
                    table_lock.lock();
                    flag.store(1, SeqCst);
                    table_lock.unlock();
                }
            });
        }
    }
}

/// A retry loop, and a thread that is spawned by another one.
fn retry() {
    let word = Arc::new(AtomicU32::new(0));
    for _ in 0..2 {
        let word = Arc::clone(&word);
        thread::spawn_named("parent", move || {
            let child = Arc::clone(&word);
            thread::spawn_named("child", move || child.fetch_add(1, SeqCst));
            while word.load(SeqCst) < 2 {
                hint::relax();
            }
            word.fetch_add(1, SeqCst);
        });
    }
}

/// A retry loop without `relax`: executions are cut off.
fn endless() {
    let word = Arc::new(AtomicU32::new(0));
    for _ in 0..2 {
        let word = Arc::clone(&word);
        thread::spawn_named("t", move || while word.fetch_add(1, SeqCst) < 100 {});
    }
}

/// Everything in a report, as text.
fn text(report: &Report) -> String {
    let details = match &report.verdict {
        Verdict::Broken(violation) => violation.trace.to_json(),
        Verdict::Holds | Verdict::NotExhausted(_) => String::new(),
    };
    format!(
        "{report} {} complete {} blocked\n{details}",
        report.complete, report.blocked
    )
}

fn same_for_any_number_of_workers(config: &Config, program: impl Fn() + Copy + Sync) -> Report {
    let alone = explore(config, program);
    for workers in [1, 2, 3, 8] {
        let together = explore_parallel(config, workers, || (program, |_: Ended<'_>| {}));
        assert_eq!(text(&together), text(&alone), "{workers} workers");
    }
    alone
}

#[test]
fn a_program_that_holds() {
    let config = Config::default();
    let report = same_for_any_number_of_workers(&config, collapse(2, 2, false));
    assert!(matches!(report.verdict, Verdict::Holds));
    assert!(report.executions > 500, "enough to be shared: {report}");
    same_for_any_number_of_workers(&config, collapse(3, 1, false));
    same_for_any_number_of_workers(&config, retry);
}

#[test]
fn a_program_that_breaks() {
    for minimize in [0, 10, 1_000, 20_000] {
        let config = Config::default().minimize_executions(minimize);
        let report = same_for_any_number_of_workers(&config, collapse(2, 2, true));
        assert!(matches!(report.verdict, Verdict::Broken(_)));
    }
}

/// Breaks with one preemption, but the search goes back from the end, and there is much to go back to.
fn late() {
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    for _ in 0..3 {
        let words = Arc::clone(&words);
        thread::spawn_named("t", move || {
            if words[0].load(SeqCst) == 0 && words[0].fetch_add(1, SeqCst) != 0 {
                fail("not alone", "two threads enter".to_owned());
            }
            for _ in 0..4 {
                words[1].fetch_add(1, SeqCst);
            }
        });
    }
}

#[test]
fn a_search_that_is_interrupted_to_look_at_few_preemptions() {
    for pause in [1, 100, 1_000, 7_000, 20_000, 100_000] {
        let config = Config::default().hunt_after(pause).minimize_executions(100);
        let report = same_for_any_number_of_workers(&config, late);
        assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
        // Two are enough to find nothing.
        same_for_any_number_of_workers(&config.hunt_executions(2), late);
    }
}

#[test]
fn limits_are_met_at_the_same_place() {
    for limit in [1, 7, 100, 333, 1_000] {
        let config = Config::default().max_executions(limit);
        let report = same_for_any_number_of_workers(&config, collapse(2, 3, false));
        assert!(matches!(report.verdict, Verdict::NotExhausted(_)));
        assert_eq!(report.executions, limit);
    }
    for limit in [1, 5, 60] {
        let config = Config::default().max_steps(30).max_truncated(limit);
        let report = same_for_any_number_of_workers(&config, endless);
        assert!(matches!(report.verdict, Verdict::NotExhausted(_)));
    }
}

#[test]
fn every_interleaving_is_explored_by_one_worker_only() {
    let config = Config::default()
        .search(pagefold_explore::Search::EveryInterleaving)
        .max_executions(2_000);
    same_for_any_number_of_workers(&config, collapse(1, 1, false));
}
