//! A value that is computed once, by whoever needs it first.
//!
//! Double-checked locking: look at a flag without the lock; if it is not set, take the lock, look
//! again, compute, set the flag. The order of the last two steps is easy to get wrong, and a test
//! with real threads hardly ever shows it.
//!
//! `cargo run --example publication`

use pagefold_explore::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use pagefold_explore::sync::{Arc, Mutex};
use pagefold_explore::{Config, Report, explore, thread};

/// A lazily computed number.
struct Lazy {
    ready: AtomicBool,
    value: AtomicU32,
    lock: Mutex<()>,
    /// The planted bug: say so before it is true.
    hasty: bool,
}

impl Lazy {
    fn get(&self, compute: impl FnOnce() -> u32) -> u32 {
        if !self.ready.load(Ordering::Acquire) {
            let _guard = self.lock.lock().unwrap();
            if !self.ready.load(Ordering::Relaxed) {
                if self.hasty {
                    self.ready.store(true, Ordering::Release);
                    self.value.store(compute(), Ordering::Relaxed);
                } else {
                    self.value.store(compute(), Ordering::Relaxed);
                    self.ready.store(true, Ordering::Release);
                }
            }
        }
        self.value.load(Ordering::Relaxed)
    }
}

/// Three threads want the value, which may be computed only once.
fn program(config: &Config, hasty: bool) -> Report {
    explore(config, || {
        let lazy = Arc::new(Lazy {
            ready: AtomicBool::new(false),
            value: AtomicU32::new(0),
            lock: Mutex::new(()),
            hasty,
        });
        let computed = Arc::new(AtomicU32::new(0));
        for name in ["first", "second", "third"] {
            let (lazy, computed) = (Arc::clone(&lazy), Arc::clone(&computed));
            thread::spawn_named(name, move || {
                let value = lazy.get(|| 42 + computed.fetch_add(1, Ordering::Relaxed));
                assert_eq!(value, 42);
            });
        }
    })
}

fn main() {
    println!(
        "the flag set first:\n{}\n",
        program(&Config::default(), true)
    );
    println!(
        "the value set first:\n{}",
        program(&Config::default(), false)
    );
}

#[cfg(test)]
mod tests {
    use pagefold_explore::{Config, Search, Verdict, kind};

    use super::program;

    #[test]
    fn the_bug_is_found() {
        let Verdict::Broken(violation) = program(&Config::default(), true).verdict else {
            panic!("not found")
        };
        assert_eq!(violation.kind, kind::PANIC);
        assert_eq!(violation.preemptions, 1, "{violation}");
    }

    #[test]
    fn the_right_order_holds() {
        let report = program(&Config::default(), false);
        assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    }

    #[test]
    fn a_hundred_samples_find_it() {
        for seed in 0..10 {
            let search = Search::Pos { seed };
            let config = Config::default().search(search).max_executions(100);
            let report = program(&config, true);
            assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
        }
    }
}
