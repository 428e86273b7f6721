//! Barriers.

use crate::engine::object::{self, Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt;

static BARRIER: object::Sort = object::Sort {
    name: "barrier",
    waits: &["waits for the others at"],
};

/// As [`std::sync::Barrier`]. The last one that arrives is the leader.
#[derive(Debug)]
pub struct Barrier {
    /// How many rounds were completed (the upper half), how many have arrived in this one.
    object: Object,
    threads: u64,
}

const ROUND: u64 = 1 << 32;

/// Tells whether a thread was the last one at a [`Barrier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether it was.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// A barrier for `threads` threads. One for none is one for one.
    #[must_use]
    pub const fn new(threads: usize) -> Self {
        Self {
            object: Object::new(0),
            threads: if threads == 0 { 1 } else { threads as u64 },
        }
    }

    /// Waits until all have arrived.
    pub fn wait(&self) -> BarrierWaitResult {
        let shape = Shape::Meeting(&BARRIER);
        let turn = rt::visible(&self.object, shape, Kind::Rmw, 0);
        turn.outcome(|| ": arrive".to_owned());
        let before = self.object.get();
        let round = before / ROUND;
        if before % ROUND + 1 == self.threads {
            turn.set(&self.object, (round + 1) * ROUND);
            return BarrierWaitResult(true);
        }
        turn.set(&self.object, before + 1);
        let is_over = |word: u64| word / ROUND != round;
        let turn = rt::wait(&self.object, shape, Kind::Await, 0, &is_over);
        if turn.is_direct() && !is_over(self.object.get()) {
            turn.cannot_wait(|engine| engine.describe_wait(engine.current));
        }
        turn.outcome(|| ": pass".to_owned());
        BarrierWaitResult(false)
    }
}
