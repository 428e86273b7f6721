//! A spin lock: test, and then test and set.
//!
//! The threads first only look at the flag, so as not to disturb its holder, and then try to set it. Whoever finds it set
//! after all goes back to looking. Done as two steps, a look and a store, two threads can both find it free.
//!
//! `cargo run --example spin_lock`

use pagefold_explore::cell::UnsafeCell;
use pagefold_explore::sync::Arc;
use pagefold_explore::sync::atomic::{AtomicBool, Ordering};
use pagefold_explore::{Config, Report, explore, hint, thread};

/// How the flag is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    /// The planted bug.
    IfSeenFree,
    AtOnce,
}

struct SpinLock {
    held: AtomicBool,
    content: UnsafeCell<u32>,
    set: Set,
}

// SAFETY: the content is only reached with the lock held, so by one thread at a time. (With the planted bug
// this is wrong, and the checker stops before the second one gets there.)
unsafe impl Sync for SpinLock {}

impl SpinLock {
    fn with<R>(&self, f: impl FnOnce(&mut u32) -> R) -> R {
        loop {
            if !self.held.load(Ordering::Relaxed) {
                match self.set {
                    Set::IfSeenFree => {
                        self.held.store(true, Ordering::Relaxed);
                        break;
                    }
                    Set::AtOnce if !self.held.swap(true, Ordering::Acquire) => break,
                    Set::AtOnce => {}
                }
            }
            hint::spin_loop();
        }
        let result = self.content.with_mut(|content| {
            // SAFETY: the lock is held. If it is not, the checker stops before this is reached.
            f(unsafe { &mut *content })
        });
        self.held.store(false, Ordering::Release);
        result
    }
}

/// Three threads add one.
fn program(config: &Config, set: Set) -> Report {
    explore(config, || {
        let lock = Arc::new(SpinLock {
            held: AtomicBool::new(false),
            content: UnsafeCell::new(0),
            set,
        });
        let adders = [1, 2, 3].map(|_| {
            let lock = Arc::clone(&lock);
            thread::spawn_named("adder", move || lock.with(|count| *count += 1))
        });
        for adder in adders {
            adder.join().unwrap();
        }
        lock.with(|count| assert_eq!(*count, 3));
    })
}

fn main() {
    println!(
        "set if it was seen free:\n{}\n",
        program(&Config::default(), Set::IfSeenFree)
    );
    println!(
        "seen and set at once:\n{}",
        program(&Config::default(), Set::AtOnce)
    );
}

#[cfg(test)]
mod tests {
    use pagefold_explore::{Config, Search, Verdict, kind};

    use super::{Set, program};

    #[test]
    fn the_bug_is_found() {
        let Verdict::Broken(violation) = program(&Config::default(), Set::IfSeenFree).verdict
        else {
            panic!("not found")
        };
        assert_eq!(violation.kind, kind::DATA_RACE);
    }

    #[test]
    fn setting_at_once_holds() {
        let report = program(&Config::default(), Set::AtOnce);
        assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    }

    #[test]
    fn a_hundred_samples_find_it() {
        for seed in 0..10 {
            let search = Search::Pos { seed };
            let config = Config::default().search(search).max_executions(100);
            let report = program(&config, Set::IfSeenFree);
            assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
        }
    }
}
