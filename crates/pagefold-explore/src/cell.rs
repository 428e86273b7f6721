//! Plain memory of which the checker sees each access.

use std::fmt;

use crate::engine::object::{Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt;
use crate::report::kind;

/// As [`std::cell::UnsafeCell`], except that accesses take place inside of closures, and that two accesses which are not ordered by other
/// operations, one of them a write, are a [data race](kind::DATA_RACE).
///
/// Each access is an event. It is a race if the thread did not know, before it, of an access by another thread that conflicts
/// with it: then nothing keeps the two from taking place at the same time, in this interleaving or an equivalent one. As
/// every class of interleavings is explored, a program without a violation has no data race, if its atomics are sequentially
/// consistent; whether weaker ones would do is not asked.
///
/// An access counts as it begins. The closures should do nothing but the access.
pub struct UnsafeCell<T: ?Sized> {
    object: Object,
    value: std::cell::UnsafeCell<T>,
}

impl<T> UnsafeCell<T> {
    /// A new cell.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            object: Object::new(0),
            value: std::cell::UnsafeCell::new(value),
        }
    }

    /// The content.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    /// Reads: calls `f` with a pointer to the content.
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        self.access(Kind::Load);
        f(self.value.get())
    }

    /// Writes: calls `f` with a pointer to the content.
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.access(Kind::Store);
        f(self.value.get())
    }

    /// The content, of which the caller is the only user.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn access(&self, kind: Kind) {
        let turn = rt::visible(&self.object, Shape::Cell, kind, 0);
        if turn.is_direct() {
            return;
        }
        if let Some(race) = rt::with(|engine| engine.describe_data_race()).flatten() {
            rt::fail(kind::DATA_RACE.into(), race);
        }
        if kind == Kind::Store {
            rt::with(|engine| engine.cache_content(&self.object, true));
        }
    }
}

impl<T: Default> Default for UnsafeCell<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> fmt::Debug for UnsafeCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnsafeCell").finish_non_exhaustive()
    }
}
