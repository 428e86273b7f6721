//! Exclusive locks.

use crate::class::LockClass;
use crate::engine::object::{Object, Shape};
use crate::engine::op::Kind;
use crate::engine::{rt, state};
use crate::fiber;

/// An exclusive lock without content. Who gets it next is not decided by who came first.
#[derive(Debug)]
#[repr(C)]
pub struct RawLock {
    object: Object,
    class: &'static LockClass,
}

impl RawLock {
    /// A free lock.
    #[must_use]
    pub const fn new(class: &'static LockClass) -> Self {
        Self {
            object: Object::new(0),
            class,
        }
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> &'static LockClass {
        self.class
    }

    /// Takes the lock; waits for it.
    #[inline]
    pub fn lock(&self) {
        self.acquire(false);
    }

    /// Takes the lock while holding another one of its rank or class.
    #[inline]
    pub fn lock_nested(&self) {
        self.acquire(true);
    }

    #[inline]
    fn acquire(&self, nested: bool) {
        let shape = Shape::Lock(self.class);
        let turn = rt::visible(&self.object, shape, Kind::AcquireExclusive, nested.into());
        if !state::is_free(self.object.get()) {
            turn.cannot_wait(|engine| engine.describe_wait(engine.current));
        }
        turn.set(&self.object, state::exclusive(turn.thread()));
    }

    /// Takes the lock if it is free.
    #[inline]
    #[must_use]
    pub fn try_lock(&self) -> bool {
        let turn = rt::visible(&self.object, Shape::Lock(self.class), Kind::TryExclusive, 0);
        let free = state::is_free(self.object.get());
        if free {
            turn.set(&self.object, state::exclusive(turn.thread()));
        }
        turn.outcome(|| if free { ": taken" } else { ": held" }.to_owned());
        free
    }

    /// Releases the lock, which the calling thread must hold.
    #[inline]
    pub fn unlock(&self) {
        if !self.held_by_current_quiet() {
            rt::not_held(&self.object, Shape::Lock(self.class));
        }
        let turn = rt::visible(
            &self.object,
            Shape::Lock(self.class),
            Kind::ReleaseExclusive,
            0,
        );
        turn.set(&self.object, 0);
    }

    /// Called before content guarded by the lock is lent out. Destructors of abandoned threads do not
    /// wait for each other, so there the holders have to make way first.
    #[inline]
    pub(super) fn make_way(&self) {
        if rt::is_checked() {
            rt::with(|engine| engine.cache_content(&self.object, false));
        } else {
            fiber::evict_holders(&self.object);
        }
    }

    /// Called after content guarded by the lock was lent out exclusively.
    #[inline]
    pub(super) fn content_changed(&self) {
        rt::with(|engine| engine.cache_content(&self.object, true));
    }

    /// Makes the lock free, without an event, whoever held it: for setting up again what an
    /// abandoned execution left behind.
    #[inline]
    pub fn reset_quiet(&self) {
        rt::set_quiet(&self.object, 0);
    }

    /// Whether anyone holds the lock, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn is_locked_quiet(&self) -> bool {
        !state::is_free(self.object.view())
    }

    /// Whether the calling thread holds the lock, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn held_by_current_quiet(&self) -> bool {
        state::owner(self.object.view()) == Some(rt::current_number())
    }
}
