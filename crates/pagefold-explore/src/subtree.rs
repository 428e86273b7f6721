//! A part of the tree of schedules as a piece of work, and what comes of it.
//!
//! A [`Subtree`] is a few hundred bytes that say all: it can be explored by anyone who has the
//! program, any number of times, with the same [`Outcome`].

use crate::config::Bound;
use crate::engine::threads::{ThreadNumber, ThreadSet};
use crate::engine::tree::Choice;
use crate::minimize::Candidate;
use crate::report::Violation;

/// The executions that begin with a path, except for those that are explored elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Subtree {
    /// The choice for each event. The last one stands for all variants of its event.
    pub(crate) path: Vec<Choice>,
    /// The threads that sleep before the last event of the path.
    pub(crate) sleep: ThreadSet,
}

/// A reversal to be tried at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Wanted {
    /// How many events lie before the node.
    pub(crate) depth: usize,
    /// The threads any of which will do.
    pub(crate) initials: ThreadSet,
    /// The thread whose event is to come before another.
    pub(crate) racing: Option<ThreadNumber>,
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) executions: u64,
    pub(crate) complete: u64,
    pub(crate) blocked: u64,
    pub(crate) cut: u64,
    pub(crate) truncated: u64,
    pub(crate) states: u64,
    pub(crate) longest: u32,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.executions += other.executions;
        self.complete += other.complete;
        self.blocked += other.blocked;
        self.cut += other.cut;
        self.truncated += other.truncated;
        self.states += other.states;
        self.longest = self.longest.max(other.longest);
    }
}

/// What came of exploring a subtree.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    /// Violations, each simpler than all before, with the number of the execution, from 1.
    pub(crate) found: Vec<(u64, Candidate)>,
    /// A limit was met.
    pub(crate) bound: Option<Bound>,
    /// The search ended before the subtree was done.
    pub(crate) stopped: bool,
    /// All this is about interleavings with few preemptions only.
    pub(crate) hunted: bool,
    /// The program is not deterministic: nothing else here counts.
    pub(crate) nondeterminism: Option<Violation>,
    /// For the nodes above.
    pub(crate) wanted: Vec<Wanted>,
}
