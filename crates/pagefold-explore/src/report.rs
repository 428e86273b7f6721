//! What an exploration found.

use std::borrow::Cow;
use std::fmt;

use crate::config::Bound;
use crate::trace::Trace;

/// The result of an exploration.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether the program is right.
    pub verdict: Verdict,
    /// Executions started: [`complete`](Self::complete), [`blocked`](Self::blocked),
    /// [`cut`](Self::cut), those that ended in a violation, and those cut off at [`Config::max_steps`](crate::Config::max_steps).
    pub executions: u64,
    /// The violation was found among interleavings with few preemptions
    /// ([`Config::hunt_after`](crate::Config::hunt_after)), and the figures are about these only.
    pub hunted: bool,
    /// Executions in which every thread ran to its end: one for each class of equivalent
    /// interleavings.
    pub complete: u64,
    /// Executions abandoned as soon as they were seen to repeat an earlier one (blocked by the
    /// sleep set).
    pub blocked: u64,
    /// Executions abandoned in a state that was explored before: see
    /// [`Config::cache`](crate::Config::cache).
    pub cut: u64,
    /// Events executed for the first time: the edges of the tree of schedules, replayed prefixes
    /// not counted.
    pub states: u64,
    /// Events of the longest execution.
    pub longest: u32,
    /// What the [cache](crate::Config::cache) did, if it was used.
    pub cache: Option<CacheUse>,
}

/// What the [cache](crate::Config::cache) did in an exploration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CacheUse {
    /// States stored.
    pub stored: u64,
    /// States looked up.
    pub looked_up: u64,
    /// States dropped because [`Config::cache_bytes`](crate::Config::cache_bytes) were used up.
    pub dropped: u64,
    /// Cuts that were not made, for the sake of
    /// [`Config::validate_checkpoints`](crate::Config::validate_checkpoints).
    pub validated: u64,
    /// How likely it is at most that a state was taken for another one because their keys, hashes of
    /// 128 bits, happen to be equal.
    ///
    /// Each state that was looked up is compared with at most all stored ones. Two different
    /// states get equal keys if two different histories or values end in the same hash; histories
    /// are chains, and once they differ they can meet at each further event. If the
    /// hash behaves like a random function, that is a chance of 2<sup>-128</sup> each time, so at most
    /// `looked_up * stored * longest / 2^128` in all. (That the program breaks its promise, or has
    /// wrong checkpoints, is another matter.)
    pub missed: f64,
}

impl CacheUse {
    pub(crate) fn new(
        stored: u64,
        looked_up: u64,
        dropped: u64,
        validated: u64,
        longest: u32,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let pairs = looked_up as f64 * stored as f64;
        Self {
            stored,
            looked_up,
            dropped,
            validated,
            missed: (pairs * f64::from(longest.max(1)) / 2f64.powi(128)).min(1.0),
        }
    }
}

impl fmt::Display for CacheUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cache: {} states stored, {} looked up; a state was missed with a probability below {:.1e}",
            self.stored, self.looked_up, self.missed
        )?;
        if self.dropped > 0 {
            write!(f, "; {} dropped for want of memory", self.dropped)?;
        }
        if self.validated > 0 {
            write!(f, "; {} cuts not made, to validate", self.validated)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Holds => writeln!(f, "holds in every interleaving")?,
            Verdict::Broken(violation) => write!(f, "{violation}")?,
            Verdict::NotExhausted(bound) => writeln!(f, "not exhausted: {bound}")?,
        }
        write!(
            f,
            "explored {} executions ({} complete, {} redundant), {} states, longest {} events",
            self.executions,
            self.complete,
            self.blocked + self.cut,
            self.states,
            self.longest
        )?;
        if self.hunted {
            write!(f, ", only with few preemptions")?;
        }
        match &self.cache {
            Some(cache) => write!(f, "\n{cache}"),
            None => Ok(()),
        }
    }
}

/// Whether a program is right.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// No interleaving breaks anything.
    Holds,
    /// Some interleaving does, and here it is.
    Broken(Box<Violation>),
    /// Nothing broke as far as was looked, but a limit was met first.
    NotExhausted(Bound),
}

/// One way in which the program breaks.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What sort of violation: one of the names in [`kind`], or the program's own name given to
    /// [`fail`](crate::fail).
    pub kind: Cow<'static, str>,
    /// What happened, in one or several lines.
    pub message: String,
    /// How it came to that: the simplest interleaving found.
    pub trace: Trace,
    /// How often the trace goes from one thread to another.
    pub context_switches: u32,
    /// How often it does so although the thread left behind could have gone on.
    pub preemptions: u32,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.kind, self.message)?;
        writeln!(
            f,
            "after {} events, {} context switches, {} preemptions:",
            self.trace.steps.len(),
            self.context_switches,
            self.preemptions
        )?;
        write!(f, "{}", self.trace)
    }
}

/// The names of the violations which the checker itself detects.
pub mod kind {
    /// Every thread is blocked.
    pub const DEADLOCK: &str = "deadlock";
    /// Every thread is blocked, and some of them in a retry loop which nothing will end.
    pub const LIVELOCK: &str = "livelock";
    /// A thread takes a lock which it holds.
    pub const RECURSIVE_LOCK: &str = "recursive-lock";
    /// Locks are taken in an order that contradicts their ranks or an order seen elsewhere.
    pub const LOCK_ORDER: &str = "lock-order";
    /// A thread releases a lock which it does not hold.
    pub const NOT_HELD: &str = "lock-not-held";
    /// A thread may sleep where it must not: under a spin lock, in a read section, with interrupts
    /// disabled.
    pub const SLEEP_IN_ATOMIC: &str = "sleep-in-atomic";
    /// A thread ends with a lock held, in a read section, or with interrupts disabled.
    pub const LEAK: &str = "leaked-lock";
    /// Two threads access a [cell](crate::cell::UnsafeCell), one of them to write, and nothing orders the two.
    pub const DATA_RACE: &str = "data-race";
    /// A thread panics.
    pub const PANIC: &str = "panic";
    /// An operation inside [`quiet`](crate::quiet) would have to wait.
    pub const BLOCKED_IN_QUIET: &str = "blocked-in-quiet";
    /// The program did something else when it was run again under the same schedule.
    pub const NONDETERMINISM: &str = "nondeterminism";
    /// A thread goes on in another way than it did when it had observed the same: a
    /// [checkpoint](crate::hint::checkpoint) forgets something that it still needs, or the promise
    /// at [`Config::cache`](crate::Config::cache) is broken. Looked for with
    /// [`Config::validate_checkpoints`](crate::Config::validate_checkpoints).
    pub const CHECKPOINT: &str = "unsound-checkpoint";

    /// All of them.
    pub const ALL: &[&str] = &[
        DEADLOCK,
        LIVELOCK,
        RECURSIVE_LOCK,
        LOCK_ORDER,
        NOT_HELD,
        SLEEP_IN_ATOMIC,
        LEAK,
        DATA_RACE,
        PANIC,
        BLOCKED_IN_QUIET,
        NONDETERMINISM,
        CHECKPOINT,
    ];
}
