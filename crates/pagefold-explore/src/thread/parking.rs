//! Threads that stop themselves until somebody has them go on.

use std::rc::Rc;

use super::ThreadId;
use crate::engine::{object, rt};
use crate::sync::meeting::Meeting;

static TOKEN: object::Sort = object::Sort {
    name: "parking",
    waits: &["waits to be unparked from"],
};

/// Lets a thread through [`park`] once. The word is 1 if it is there.
pub(crate) type Token = Meeting<()>;

/// A thread of the current execution, as [`std::thread::Thread`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread(ThreadId);

impl Thread {
    pub(super) fn new(id: ThreadId) -> Self {
        Self(id)
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.0
    }

    /// What traces call it.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        rt::with(|engine| engine.slots[self.0.index()].name.to_string())
    }

    /// Has the thread go on if it is parked, or else not stop the next time that it [parks](park).
    pub fn unpark(&self) {
        if let Some(token) = token(self.0) {
            token.update(|_, _, ()| (1, (), "unpark"));
        }
    }
}

/// Stops until the thread is [unparked](Thread::unpark), or goes on at once if it was since it last went on. It never goes on
/// without.
///
/// # Panics
///
/// Outside an exploration.
pub fn park() {
    if let Some(token) = token(current().id()) {
        token.claim(0, |word| word == 1, |_, _, ()| (0, (), "go on"));
    }
}

/// The calling thread.
///
/// # Panics
///
/// Outside an exploration.
#[must_use]
pub fn current() -> Thread {
    let current = rt::with(|engine| engine.current);
    Thread(ThreadId::new(
        current.expect("`thread::current` is called inside an exploration"),
    ))
}

fn token(thread: ThreadId) -> Option<Rc<Token>> {
    rt::with(|engine| {
        let token = &mut engine.slots[thread.index()].token;
        Rc::clone(token.get_or_insert_with(|| Rc::new(Meeting::new(&TOKEN, 0, ()))))
    })
}
