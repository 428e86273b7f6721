//! A model checker for real concurrent Rust code.
//!
//! Write a test with the types of this crate in place of those of the standard library, and
//! [`check`] runs it under *every* interleaving that can make a difference. If one of them panics,
//! deadlocks, races for plain memory, or breaks a rule about locks, it shows the simplest one that does.
//!
//! ```
//! use pagefold_explore::sync::{Arc, Condvar, Mutex};
//! use pagefold_explore::{check, thread};
//!
//! check(|| {
//!     let ready = Arc::new((Mutex::new(false), Condvar::new()));
//!     let other = Arc::clone(&ready);
//!     thread::spawn(move || {
//!         *other.0.lock().unwrap() = true;
//!         other.1.notify_one();
//!     });
//!     let guard = ready.0.lock().unwrap();
//!     let guard = ready.1.wait_while(guard, |ready| !*ready).unwrap();
//!     assert!(*guard);
//! });
//! ```
//!
//! Limits and other ways to search are set in a [`Config`], and [`Config::check`] takes the place of [`check`]. To see what was
//! found instead of panicking, [`explore`]:
//!
//! ```
//! use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
//! use pagefold_explore::sync::Arc;
//! use pagefold_explore::{Config, Verdict, explore, thread};
//!
//! let report = explore(&Config::default(), || {
//!     let count = Arc::new(AtomicU32::new(0));
//!     let adders = [1, 2].map(|_| {
//!         let count = Arc::clone(&count);
//!         thread::spawn_named("adder", move || {
//!             let seen = count.load(SeqCst);
//!             count.store(seen + 1, SeqCst);
//!         })
//!     });
//!     for adder in adders {
//!         adder.join().unwrap();
//!     }
//!     assert_eq!(count.load(SeqCst), 2);
//! });
//!
//! let Verdict::Broken(violation) = report.verdict else { panic!("an update gets lost") };
//! assert_eq!(violation.kind, "panic");
//! assert_eq!(violation.preemptions, 1);
//! println!("{violation}");
//! ```
//!
//! prints
//!
//! ```text
//! panic: main panicked: assertion `left == right` failed
//!   left: 1
//!  right: 2, at src/lib.rs:20:5
//! after 10 events, 4 context switches, 1 preemptions:
//!    0  main   start
//!    1  adder  start
//!    2         load a1 -> 0
//!    3  adder  start
//!    4         load a1 -> 0
//!    5         store a1 = 1
//!    6  adder  store a1 = 1
//!    7  main   join adder
//!    8         join adder
//!    9         load a1 -> 1
//! ```
//!
//! Fix the code, and the same test says that it holds in every interleaving.
//!
//! # For users of loom and shuttle
//!
//! The program is run many times, as there, and its modules, types and functions are called the same; [`migration`] has
//! tables of names. What is different:
//!
//! * **Few executions.** The reduction (source sets and sleep sets) starts one complete execution
//!   for each class of equivalent interleavings. Three threads that increment under one mutex are
//!   6 executions.
//! * **Blocking is not an event.** Waiting for a lock is no retry; attempts ([`try_lock`]) never
//!   block and see both outcomes. Retry loops end their rounds with [`hint::relax`].
//! * **More to synchronize with**: [`rcu`] with grace periods, [`interrupt`]s, counters whose
//!   additions commute ([`sync::Counter`]), waiting for a value ([`wait_until`]), memory
//!   being freed ([`write_range`]).
//! * **More is found**: data races, recursive locks, lock order against [ranks](LockClass) or against itself,
//!   sleeping where it is forbidden, locks that are never released, livelocks: see [`kind`].
//! * **Traces are named steps**, minimized to few context switches and preemptions, stored as JSON
//!   and [replayed](replay), also in a program that was edited since: steps that matter to one thread
//!   only may come and go, and where a step is missing that matters to others, the replay says so.
//! * Operations outside an exploration work as plain values of one thread.
//!
//! [`try_lock`]: sync::RawLock::try_lock
//! [`wait_until`]: sync::atomic::AtomicU32::wait_until
//!
//! # What is explored, and what is not
//!
//! * **Memory.** By default every atomic access is executed as `SeqCst`, whatever it asks for, and
//!   a missing barrier is not found. [`Config::memory`] chooses another [memory model](#memory-models).
//! * **Determinism.** The program must depend on nothing but the schedule: no time, no random
//!   numbers, no hash maps with random seeds, no state that survives from one execution to the
//!   next (or restore it, see [`object_mark`]). If a difference is noticed, it is
//!   [reported](kind::NONDETERMINISM).
//! * **Plain memory** is invisible: what is not accessed through this crate is not interleaved.
//!   Protect it with a lock of this crate, as in any race-free program, or put it into a
//!   [cell](cell::UnsafeCell), which sees whether it is protected. (A lock of the standard
//!   library would block the OS thread, and with it the whole exploration.)
//! * **Finite executions.** Loops must end; a retry loop ends its rounds with [`hint::relax`].
//!   Executions are cut off at [`Config::max_steps`], and the verdict then says so.
//! * **Unfair locks.** Any waiting thread may be next, and be the one that a [`Condvar`](sync::Condvar) wakes. Nobody wakes without
//!   reason, and no [`compare_exchange_weak`](sync::atomic::AtomicU32::compare_exchange_weak) fails without.
//! * **Grace periods** ([`rcu`]) wait for every read section that does not start after the call by
//!   happens-before. A real grace period may be shorter: it need not wait for a section that merely
//!   happened to start later, unrelated to the call. What is then explored is the callback before
//!   the section and after it, but not in its middle.
//! * **Interrupts** are threads that run when the CPU's interrupts are enabled; they are not
//!   tied to the thread they interrupt.
//! * At most [`MAX_THREADS`] threads in an execution, or half as many with store buffers.
//!
//! [`Verdict::Holds`] means: within these limits, no interleaving breaks the program.
//!
//! # Sampling
//!
//! Where there are too many classes to explore, [`Search::Pos`], [`Search::Pct`] and [`Search::RandomWalk`] look at
//! [`Config::max_executions`] executions picked by chance, and say so: the verdict is never [`Verdict::Holds`]. Each
//! execution is picked anew, so a violation which one of them shows with probability `p` is missed by `n` with
//! `(1 - p)^n`.
//!
//! * PCT: `p` is at least `1 / (t k^(d - 1))` for a violation that needs `d` ordered events, with `t` threads and `k` steps.
//! * POS: each class of interleavings can be picked. An operation that waits to be picked is overtaken by `k` operations of another thread
//!   that do not concern it with a probability of `1 / (k + 1)`.
//! * A random walk: with one of about `2^-k`.
//!
//! # Memory models
//!
//! [`Memory::Sc`], the default, is sequential consistency. The others explore more executions of the
//! same program:
//!
//! * [`Memory::Tso`] is that of x86. A store, the release of a spin lock included, waits in a buffer of
//!   its thread before it reaches memory, and the thread goes on; what it does in the meantime can only be
//!   loads and stores. Whatever x86 does by a locked instruction or a fence waits until the buffer is
//!   empty: read-modify-writes, `SeqCst` stores and fences, taking a lock, and so on (all of them are listed in
//!   `engine/memory/tso.rs`). That a store reaches memory is a step of its own in traces.
//! * [`Memory::Ra`] is that of C11, as far as threads run in order: `Relaxed`, `Acquire`, `Release` and
//!   fences mean what they say, by the rules of RC11. A load may see any write that is not older than what its
//!   thread knows of, and a store may be overtaken. Locks, joins, grace periods and counters hand over what is
//!   known (listed in `engine/memory/ra/mod.rs`).
//!
//! ```
//! use pagefold_explore::sync::Arc;
//! use pagefold_explore::sync::atomic::{AtomicBool, AtomicU32, Ordering};
//! use pagefold_explore::{Config, Memory, Verdict, explore, thread};
//!
//! let publish = |order| {
//!     move || {
//!         let shared = Arc::new((AtomicU32::new(0), AtomicBool::new(false)));
//!         let writer = Arc::clone(&shared);
//!         thread::spawn_named("writer", move || {
//!             writer.0.store(42, Ordering::Relaxed);
//!             writer.1.store(true, order);
//!         });
//!         if shared.1.load(Ordering::Acquire) {
//!             assert_eq!(shared.0.load(Ordering::Relaxed), 42);
//!         }
//!     }
//! };
//! let config = Config::default().memory(Memory::Ra);
//! assert!(matches!(explore(&config, publish(Ordering::Relaxed)).verdict, Verdict::Broken(_)));
//! assert!(matches!(explore(&config, publish(Ordering::Release)).verdict, Verdict::Holds));
//! ```
//!
//! What these models leave out:
//!
//! * *Load buffering*: a load never sees a store that comes later in time. (x86 has none.)
//! * *Plain memory*, such as the content of a [`Mutex`](sync::Mutex), has one value, the newest. A thread that gets at it
//!   without knowing of the last change sees the change all the same.
//! * [`Memory::Ra`]: `SeqCst` *accesses* are a little stronger than in RC11, where the same program also has weaker
//!   ones. Counters and reference counts have one value.
//! * [`Memory::Ra`]: a wait ([`wait_until`]) goes on if there is a value for it that the thread may see, be it an
//!   old one. That it misses this value, and then waits for ever, is found only if it could be so without
//!   seeing old values.
//! * [`Memory::Tso`]: some things wait for the buffer that need not on hardware, such as a failed attempt at
//!   a lock. An interrupt handler has a buffer of its own: it may miss what the thread has stored that runs
//!   on its CPU with interrupts enabled.
//! * [`Config::cache`] is switched off.
//!
//! `tests/memory_models` compares with litmus tests, and random programs with the axioms of each
//! model.
//!
//! # Contention
//!
//! Where threads contend for locks, there are many classes of interleavings and few states. With
//! [`Config::cache`], states are remembered and not explored twice, if the program keeps the promise
//! given there. To have states meet, use shared objects once before the threads race, inside
//! [`quiet`] (or restore a world with an [`object_mark`]), and tell by [`hint::checkpoint`] where
//! a thread starts afresh. [`Config::validate_checkpoints`] looks for checkpoints that forget too
//! much, and for programs that break the promise.
//!
//! # Several workers
//!
//! [`explore_parallel`] has several OS threads explore one program. All figures of the report are the same as with one,
//! and so are the verdict and the trace: what is explored, and in which order it counts, does not depend on who explores it.
//!
//! # Large programs
//!
//! Most errors need few preemptions (switches away from a thread that could have gone on). A search that is not done after
//! [`Config::hunt_after`] executions looks at these first. [`Config::max_preemptions`] looks at nothing else, and then
//! the verdict says so. An [`Observer`] is told how far a search is, by an estimate of the size of the tree, and on demand
//! every step of the search: races, choices, ways back.
//!
//! # How it works
//!
//! Threads are coroutines on one OS thread (several OS threads may explore at the same time). Each
//! announces its next operation before executing it; the search picks who goes on. When an
//! execution ends, the search goes back to the last choice with an alternative left, and runs the
//! program again from its start: nothing needs to be copied or undone. Abandoned threads are
//! unwound; those that own nothing can be forgotten instead, which is faster ([`thread::spawn_forgettable`],
//! [`explore_forgetting`]). And a program whose memory is one block, a [`World`], goes on from a copy
//! made on the way ([`explore_rewinding_parallel`]): long executions have most of their events in common with the one before.
//!
//! The arguments for what is pruned stand at the head of the modules that prune: `engine/search.rs`
//! (source sets, sleep sets), `engine/tree.rs` (why it does not matter who explores a subtree), `engine/preempt.rs` (what a
//! bound on preemptions takes), `engine/snapshot.rs` (why executions may begin in the middle), `engine/race.rs` (which pairs of operations are races),
//! `engine/op.rs` (which pairs commute), `engine/grace.rs` (read sections), `engine/cache/` (states
//! explored before), `engine/memory/` (memory models). That nothing gets lost is
//! tested by `tests/differential`, which compares random programs with the enumeration of all their
//! interleavings.
//!
//! Where the time goes, in a search of short executions (three threads that take three locks in turn; 40 events an
//! execution, 16 of them new; `perf` on an x86-64 server): finding races and keeping vector clocks a third, choosing who goes
//! on a fifth, announcing operations a tenth, coroutines (starting, switching, abandoning) a tenth, the program
//! itself with its primitives a tenth; the rest is spread. Executing the prefix again is the greater part of
//! long executions, unless there is a [`World`]; then copying takes an eighth. Nothing is allocated and no lock is taken per event. `cargo bench -p pagefold-explore`
//! measures it.

mod annotate;
pub mod cell;
mod class;
mod config;
mod differences;
mod engine;
mod explorer;
mod fiber;
pub mod hint;
pub mod interrupt;
pub mod migration;
mod minimize;
mod observer;
mod panic_hook;
pub mod rcu;
mod report;
mod subtree;
pub mod sync;
mod team;
pub mod thread;
mod trace;
mod worker;
mod world;

pub use self::annotate::{
    fail, is_exploring, is_quiet, label, note, object_mark, quiet, reset_objects_to, run_out,
    unknown_use, write_range,
};
pub use self::class::{LockClass, LockKind};
pub use self::config::{Bound, Config, MAX_THREADS, Memory, Search};
pub use self::engine::guide::Divergence;
pub use self::explorer::{
    Replay, check, explore, explore_forgetting, explore_forgetting_observed,
    explore_forgetting_parallel, explore_observed, explore_parallel, explore_rewinding_parallel,
    replay, replay_forgetting,
};
pub use self::observer::{Ended, Observer, Progress, SearchStep};
pub use self::report::{CacheUse, Report, Verdict, Violation, kind};
pub use self::trace::{Trace, TraceError, TraceStep};
pub use self::world::World;
