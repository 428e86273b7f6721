//! A turn: an operation that may be executed now.

use super::{fail, with};
use crate::engine::object::Object;
use crate::engine::race::as_number;
use crate::engine::threads::ThreadNumber;
use crate::engine::{Engine, state};
use crate::report::kind;

/// How an operation was let through, and for whom.
///
/// A number of two bytes, as it is returned from every operation: in a register, other than structs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum How {
    /// As an event.
    Event,
    /// As an event, in a recorded execution.
    Recorded,
    /// In a quiet section.
    Quiet,
    /// While an abandoned or panicked thread is destroyed.
    Inert,
    /// Outside an exploration.
    Outside,
}

/// Marks a turn about which the cache wants to know what is written.
const OBSERVED: u8 = 1 << 7;

/// Marks a turn of an execution in which the memory model has a say in what is read and written.
const WEAK: u8 = 1 << 6;

impl Turn {
    pub(super) const OUTSIDE: Self = Self::new(state::OUTSIDE, How::Outside);

    #[inline]
    pub(super) const fn new(thread: ThreadNumber, how: How) -> Self {
        Self(u16::from_be_bytes([how as u8, thread]))
    }

    #[inline]
    fn is_weak(self) -> bool {
        self.0.to_be_bytes()[0] & WEAK != 0
    }

    #[inline]
    fn weak_in(self, engine: &Engine) -> Self {
        let [how, thread] = self.0.to_be_bytes();
        let weak = if engine.memory.is_weak() { WEAK } else { 0 };
        Self(u16::from_be_bytes([how | weak, thread]))
    }

    /// Who executes it.
    #[inline]
    pub(crate) fn thread(self) -> ThreadNumber {
        self.0.to_be_bytes()[1]
    }

    /// Has the cache told what is written, if there is one that does not know yet.
    #[inline]
    pub(super) fn observed_by(self, engine: &Engine) -> Self {
        let [how, thread] = self.0.to_be_bytes();
        let observed = if engine.cache_observes() { OBSERVED } else { 0 };
        Self(u16::from_be_bytes([how | observed, thread]))
    }

    /// Writes to the object of the operation.
    #[inline]
    pub(crate) fn set(self, object: &Object, word: u64) {
        if !self.is_weak() || with(|engine| engine.weak_set(object, word)) != Some(false) {
            object.set(word);
        }
        if self.0.to_be_bytes()[0] & OBSERVED != 0 {
            with(|engine| engine.cache_word(object, word, true));
        }
    }

    #[inline]
    fn is(self, how: How) -> bool {
        self.0.to_be_bytes()[0] & !(OBSERVED | WEAK) == how as u8
    }

    /// Adds the outcome to the label of the event, if it was not given one by the program.
    #[inline]
    pub(crate) fn outcome(self, f: impl FnOnce() -> String) {
        if self.is(How::Recorded) {
            let outcome = f();
            with(|engine| engine.record_outcome(&outcome));
        }
    }

    /// What the operation reads from `object`.
    #[inline]
    pub(crate) fn get(self, object: &Object) -> u64 {
        if self.is_weak()
            && let Some(Some(word)) = with(|engine| engine.weak_get(object))
        {
            return word;
        }
        object.get()
    }

    /// Whether the operation was not an event, so that its condition may not hold.
    #[inline]
    pub(crate) fn is_direct(self) -> bool {
        !self.is(How::Event) && !self.is(How::Recorded)
    }

    /// Called if the operation should wait and was not an event, so that nobody can end the wait.
    /// Returns only when things are being destroyed.
    #[cold]
    pub(crate) fn cannot_wait(self, what: impl FnOnce(&mut Engine) -> String) {
        if self.is(How::Quiet) {
            let message = with(what).unwrap_or_default();
            fail(kind::BLOCKED_IN_QUIET.into(), message);
        }
        assert!(
            !self.is(How::Outside),
            "nothing can end this wait outside an exploration"
        );
    }
}

#[inline]
pub(super) fn turn(engine: &Engine) -> Turn {
    let how = if engine.recorded.is_some() {
        How::Recorded
    } else {
        How::Event
    };
    Turn::new(as_number(engine.current), how)
        .observed_by(engine)
        .weak_in(engine)
}
