//! Where threads wait for each other: what [`Condvar`](super::Condvar), the channels and parking
//! are made of.
//!
//! The *word* is what the search knows of: whether a thread can go on must follow from it alone. The rest is
//! plain state that is only touched by the code right after an event on the object. Between two events a thread is
//! not interrupted, so that code belongs to its event; and as all these events write, the search takes each pair of
//! them for dependent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::object::{self, Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt::{self, Turn};

/// An object at which threads wait for each other, with its plain state.
#[derive(Debug)]
pub(crate) struct Meeting<S> {
    object: Object,
    sort: &'static object::Sort,
    /// Never contended: it is not held at any event. It is a lock so that one object used on two OS threads stays
    /// sound.
    state: Mutex<S>,
}

impl<S> Meeting<S> {
    pub(crate) const fn new(sort: &'static object::Sort, word: u64, state: S) -> Self {
        Self {
            object: Object::new(word),
            sort,
            state: Mutex::new(state),
        }
    }

    /// An event: `f` does what it does and says how the word is then, and what traces call it.
    pub(crate) fn update<R>(
        &self,
        f: impl FnOnce(Turn, u64, &mut S) -> (u64, R, &'static str),
    ) -> R {
        let turn = rt::visible(&self.object, Shape::Meeting(self.sort), Kind::Rmw, 0);
        self.apply(turn, f)
    }

    /// As [`update`](Self::update), but waits until `possible` holds for the word. `wait` is which of the object's
    /// waits it is. `None` only while things are destroyed, if it does not hold.
    pub(crate) fn claim<R>(
        &self,
        wait: u64,
        possible: impl Fn(u64) -> bool,
        f: impl FnOnce(Turn, u64, &mut S) -> (u64, R, &'static str),
    ) -> Option<R> {
        let shape = Shape::Meeting(self.sort);
        let turn = rt::wait(&self.object, shape, Kind::Claim, wait, &possible);
        if turn.is_direct() && !possible(self.object.get()) {
            turn.cannot_wait(|engine| engine.describe_wait(engine.current));
            return None;
        }
        Some(self.apply(turn, f))
    }

    fn apply<R>(
        &self,
        turn: Turn,
        f: impl FnOnce(Turn, u64, &mut S) -> (u64, R, &'static str),
    ) -> R {
        let (word, result, name) = f(turn, self.object.get(), &mut self.state());
        turn.set(&self.object, word);
        rt::with(|engine| engine.cache_content(&self.object, true));
        turn.outcome(|| format!(": {name}"));
        result
    }

    /// The plain state, without an event.
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
