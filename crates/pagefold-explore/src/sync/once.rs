//! What happens once.

use std::fmt;

use crate::engine::object::{self, Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt;

static ONCE: object::Sort = object::Sort {
    name: "once",
    waits: &["waits for whoever initialises"],
};

const NEW: u64 = 0;
const RUNNING: u64 = 1;
const DONE: u64 = 2;

/// As [`std::sync::Once`], without poisoning: after a panic that was caught, the next one tries again.
///
/// In a `static` it is done in the first execution and stays so in all others, as nothing there is set up anew.
#[derive(Debug)]
pub struct Once {
    object: Object,
}

impl Once {
    /// Nothing has happened yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            object: Object::new(NEW),
        }
    }

    /// Calls `f`, or waits until whoever calls its own has done so.
    pub fn call_once(&self, f: impl FnOnce()) {
        while !self.is_mine_or_done() {
            let is_over = |word| word != RUNNING;
            let turn = rt::wait(&self.object, SHAPE, Kind::Await, 0, &is_over);
            if turn.is_direct() && !is_over(self.object.get()) {
                turn.cannot_wait(|engine| engine.describe_wait(engine.current));
                return;
            }
            turn.outcome(|| ": go on".to_owned());
        }
        if self.object.get() == DONE {
            return;
        }
        let attempt = Attempt(self);
        f();
        std::mem::forget(attempt);
        let turn = rt::visible(&self.object, SHAPE, Kind::Store, 0);
        turn.outcome(|| ": done".to_owned());
        turn.set(&self.object, DONE);
        rt::with(|engine| engine.cache_content(&self.object, true));
    }

    /// Whether it has happened.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        let turn = rt::visible(&self.object, SHAPE, Kind::Load, 0);
        let done = self.object.get() == DONE;
        turn.outcome(|| if done { ": done" } else { ": not done" }.to_owned());
        done
    }

    /// Has the current thread do it, if nobody does. `false` if somebody does and is not done.
    fn is_mine_or_done(&self) -> bool {
        let turn = rt::visible(&self.object, SHAPE, Kind::CompareExchange, NEW);
        let word = self.object.get();
        turn.outcome(|| {
            let seen = match word {
                NEW => ": begin",
                RUNNING => ": begun by another",
                _ => ": done",
            };
            seen.to_owned()
        });
        if word == NEW {
            turn.set(&self.object, RUNNING);
        }
        word != RUNNING
    }
}

const SHAPE: Shape = Shape::Meeting(&ONCE);

/// If this is dropped, the attempt failed.
struct Attempt<'a>(&'a Once);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let turn = rt::visible(&self.0.object, SHAPE, Kind::Store, 0);
        turn.set(&self.0.object, NEW);
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

/// As [`std::sync::OnceLock`].
///
/// In a `static` it keeps its value from the first execution on, as nothing there is set up anew.
pub struct OnceLock<T> {
    once: Once,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    /// Without a value.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            once: Once::new(),
            value: std::sync::OnceLock::new(),
        }
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<&T> {
        if self.once.is_completed() {
            self.value.get()
        } else {
            None
        }
    }

    /// The value, of which the caller is the only user.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Gives it a value.
    ///
    /// # Errors
    ///
    /// With `value`, if it has one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; computed by `f` if there is none.
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        let mut f = Some(f);
        let mut init = || {
            let value = f.take().map(|f| f());
            self.value.get_or_init(|| value.expect("called once"))
        };
        self.once.call_once(|| {
            init();
        });
        match self.value.get() {
            Some(value) => value,
            // While things are destroyed, nobody waits for another thread's value.
            None => init(),
        }
    }

    /// The value, if there is one.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.value.get()).finish()
    }
}
