//! From loom and shuttle to this crate: their names, and what is different.
//!
//! Modules, types and functions are called as in the standard library, as they are there, so most tests are ported by their
//! imports. Every type is made anew in each execution, inside of the closure, as there.
//!
//! # A test of loom
//!
//! A number that is stored by another thread, in a test that forgets it. With loom it begins with `loom::model(|| ...)`:
//!
//! ```should_panic
//! use pagefold_explore::sync::Arc;
//! use pagefold_explore::sync::atomic::{AtomicUsize, Ordering::{Acquire, Release}};
//! use pagefold_explore::{check, thread};
//!
//! check(|| {
//!     let first = Arc::new(AtomicUsize::new(0));
//!     let second = Arc::clone(&first);
//!     thread::spawn(move || first.store(1, Release));
//!     assert_eq!(second.load(Acquire), 0); // not if the other thread was faster
//! });
//! ```
//!
//! # A test of shuttle
//!
//! The same under a lock, with `shuttle::check_random(|| ..., 100)`:
//!
//! ```should_panic
//! use pagefold_explore::sync::{Arc, Mutex};
//! use pagefold_explore::{Config, Search, thread};
//!
//! let config = Config::default()
//!     .search(Search::RandomWalk { seed: 0 })
//!     .max_executions(100);
//! config.check(|| {
//!     let lock = Arc::new(Mutex::new(0));
//!     let other = Arc::clone(&lock);
//!     thread::spawn(move || *lock.lock().unwrap() = 1);
//!     assert_eq!(*other.lock().unwrap(), 0);
//! });
//! ```
//!
//! What the test meant to say holds, and not only in a hundred executions:
//!
//! ```
//! use pagefold_explore::sync::{Arc, Mutex};
//! use pagefold_explore::{check, thread};
//!
//! check(|| {
//!     let lock = Arc::new(Mutex::new(0));
//!     let other = Arc::clone(&lock);
//!     let thread = thread::spawn(move || *lock.lock().unwrap() = 1);
//!     assert!(*other.lock().unwrap() <= 1);
//!     thread.join().unwrap();
//!     assert_eq!(*other.lock().unwrap(), 1);
//! });
//! ```
//!
//! # loom
//!
//! | loom | here | |
//! |---|---|---|
//! | `model` | [`check`](crate::check) | The closure need be neither `Send` nor `Sync`. |
//! | `model::Builder`, `check` | [`Config`](crate::Config), [`Config::check`](crate::Config::check) | [`explore`](crate::explore) returns a report instead of panicking. |
//! | `preemption_bound` | [`Config::max_preemptions`](crate::Config::max_preemptions) | Small numbers are tried first in any case. |
//! | `max_branches` | [`Config::max_steps`](crate::Config::max_steps) | |
//! | `max_permutations` | [`Config::max_executions`](crate::Config::max_executions) | |
//! | `max_threads` | [`MAX_THREADS`](crate::MAX_THREADS) | |
//! | `LOOM_LOG`, `location` | | The trace of what breaks is always shown, and short: [`label`](crate::label) and [`note`](crate::note) name its steps. |
//! | `checkpoint_file` | [`replay`](crate::replay) | of the trace of a violation. |
//! | `stop_exploring`, `explore` | [`quiet`](crate::quiet) | |
//! | `thread::spawn`, `Builder`, `park`, `current`, `yield_now` | [`thread`](crate::thread) | [`spawn_named`](crate::thread::spawn_named) is for traces. |
//! | `thread_local!`, `lazy_static!` | | Make it in the closure and pass it on; what is in a `static` survives from one execution to the next. |
//! | `sync::Arc` | [`sync::Arc`](crate::sync::Arc) | is that of the standard library: taking references is no event, and leaks are not found. [`RefCount`](crate::sync::RefCount) is one whose events are seen. |
//! | `sync::Mutex`, `RwLock`, `Condvar`, `Barrier`, `mpsc` | [`sync`](crate::sync) | A [`Condvar`](crate::sync::Condvar) wakes anyone, not only who waits longest. |
//! | `sync::Notify` | [`park`](crate::thread::park) or [`wait_until`](crate::sync::atomic::AtomicBool::wait_until) | |
//! | `sync::atomic` | [`sync::atomic`](crate::sync::atomic) | `unsync_load` is `load_quiet`. What orderings mean here is said there. |
//! | `cell::UnsafeCell`, `Cell` | [`cell::UnsafeCell`](crate::cell::UnsafeCell) | An access counts as it begins. |
//! | `hint::spin_loop` | [`hint::spin_loop`](crate::hint::spin_loop) | Needed in each round of a retry loop; it waits until a retry makes sense. |
//! | `future` | | is not there. |
//!
//! # shuttle
//!
//! | shuttle | here | |
//! |---|---|---|
//! | `check_dfs` | [`check`](crate::check) | explores classes of equivalent interleavings instead of all. |
//! | `check_random`, `check_pct` | [`Config::search`](crate::Config::search) with [`RandomWalk`](crate::Search::RandomWalk), [`Pct`](crate::Search::Pct) or [`Pos`](crate::Search::Pos), [`Config::max_executions`](crate::Config::max_executions) | All choices come from the seed that is given. |
//! | `check_uncontrolled_nondeterminism` | | A program that does something else the second time is [told](crate::kind::NONDETERMINISM) in any exploration that notices. |
//! | `replay` | [`replay`](crate::replay) | A [`Trace`](crate::Trace) has names, and says where the program departs from it. |
//! | `Config`, `Runner` | [`Config`](crate::Config), [`explore`](crate::explore) | |
//! | `thread`, `thread::scope` | [`thread`](crate::thread) | `sleep` is not there: any thread may be slow. |
//! | `sync`, `sync::mpsc` | [`sync`](crate::sync), [`sync::mpsc`](crate::sync::mpsc) | No poisoning: a panic breaks the program. No channels without room. |
//! | `sync::atomic` | [`sync::atomic`](crate::sync::atomic) | |
//! | `rand` | | Have a thread decide: one stores to an atomic, another one looks. |
//! | `hint`, `thread::yield_now` | [`hint`](crate::hint) | |
//! | `future`, `tokio` | | are not there. |
