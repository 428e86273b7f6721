//! A stateless model checker for real concurrent Rust code.

mod annotate;
mod class;
mod config;
mod engine;
mod explorer;
mod fiber;
pub mod hint;
pub mod interrupt;
mod minimize;
mod panic_hook;
pub mod rcu;
mod report;
pub mod sync;
pub mod thread;
mod trace;

pub use self::annotate::{
    fail, is_exploring, is_quiet, label, note, object_mark, quiet, reset_objects_to, write_range,
};
pub use self::class::{LockClass, LockKind};
pub use self::config::{Bound, Config, MAX_THREADS, Search};
pub use self::engine::script::Divergence;
pub use self::explorer::{
    Ended, Replay, check, explore, explore_forgetting, explore_forgetting_observed,
    explore_observed, replay, replay_forgetting,
};
pub use self::report::{Report, Verdict, Violation, kind};
pub use self::trace::{Trace, TraceError, TraceStep};
