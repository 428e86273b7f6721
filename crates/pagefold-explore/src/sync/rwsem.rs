//! Locks that can be shared.

use crate::class::LockClass;
use crate::engine::object::{Object, Shape};
use crate::engine::op::Kind;
use crate::engine::{rt, state};
use crate::fiber;

/// A reader-writer lock without content. Unfair: a waiting writer does not keep readers out.
#[derive(Debug)]
#[repr(C)]
pub struct RawRwSem {
    object: Object,
    class: &'static LockClass,
}

impl RawRwSem {
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

    fn shape(&self) -> Shape {
        Shape::Lock(self.class)
    }

    /// Shares the lock; waits for it.
    #[inline]
    pub fn read(&self) {
        self.acquire_shared(false);
    }

    /// As [`read`](Self::read), while holding another lock of its rank or class.
    #[inline]
    pub fn read_nested(&self) {
        self.acquire_shared(true);
    }

    #[inline]
    fn acquire_shared(&self, nested: bool) {
        let turn = rt::visible(
            &self.object,
            self.shape(),
            Kind::AcquireShared,
            nested.into(),
        );
        if !state::is_shareable(self.object.get()) {
            turn.cannot_wait(|engine| engine.describe_wait(engine.current));
        }
        turn.set(&self.object, state::sharers(self.object.get()) + 1);
    }

    /// Shares the lock if nobody holds it exclusively.
    #[inline]
    #[must_use]
    pub fn try_read(&self) -> bool {
        let turn = rt::visible(&self.object, self.shape(), Kind::TryShared, 0);
        let free = state::is_shareable(self.object.get());
        if free {
            turn.set(&self.object, state::sharers(self.object.get()) + 1);
        }
        turn.outcome(|| if free { ": taken" } else { ": held" }.to_owned());
        free
    }

    /// Ends sharing the lock, which the calling thread must do.
    #[inline]
    pub fn read_unlock(&self) {
        if !rt::holds_shared(&self.object) {
            rt::not_held(&self.object, self.shape());
        }
        let turn = rt::visible(&self.object, self.shape(), Kind::ReleaseShared, 0);
        let sharers = state::sharers(self.object.get());
        turn.set(&self.object, sharers.saturating_sub(1));
    }

    /// Takes the lock exclusively; waits for it.
    #[inline]
    pub fn write(&self) {
        self.acquire_exclusive(false);
    }

    /// As [`write`](Self::write), while holding another lock of its rank or class.
    #[inline]
    pub fn write_nested(&self) {
        self.acquire_exclusive(true);
    }

    /// As [`write`](Self::write), exempt from the lock order: the caller knows why this cannot deadlock.
    #[inline]
    pub fn write_out_of_order(&self) {
        self.acquire_with(2);
    }

    #[inline]
    fn acquire_exclusive(&self, nested: bool) {
        self.acquire_with(nested.into());
    }

    #[inline]
    fn acquire_with(&self, order: u64) {
        let turn = rt::visible(&self.object, self.shape(), Kind::AcquireExclusive, order);
        if !state::is_free(self.object.get()) {
            turn.cannot_wait(|engine| engine.describe_wait(engine.current));
        }
        turn.set(&self.object, state::exclusive(turn.thread()));
    }

    /// Takes the lock exclusively if nobody holds it.
    #[inline]
    #[must_use]
    pub fn try_write(&self) -> bool {
        let turn = rt::visible(&self.object, self.shape(), Kind::TryExclusive, 0);
        let free = state::is_free(self.object.get());
        if free {
            turn.set(&self.object, state::exclusive(turn.thread()));
        }
        turn.outcome(|| if free { ": taken" } else { ": held" }.to_owned());
        free
    }

    /// Releases the lock, which the calling thread must hold exclusively.
    #[inline]
    pub fn write_unlock(&self) {
        if !self.written_by_current_quiet() {
            rt::not_held(&self.object, self.shape());
        }
        let turn = rt::visible(&self.object, self.shape(), Kind::ReleaseExclusive, 0);
        turn.set(&self.object, 0);
    }

    /// Goes from holding the lock exclusively to sharing it, in one step.
    #[inline]
    pub fn downgrade(&self) {
        if !self.written_by_current_quiet() {
            rt::not_held(&self.object, self.shape());
        }
        let turn = rt::visible(&self.object, self.shape(), Kind::Downgrade, 0);
        turn.set(&self.object, 1);
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

    /// Whether anyone holds or shares the lock, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn is_locked_quiet(&self) -> bool {
        !state::is_free(self.object.view())
    }

    /// Whether anyone holds the lock exclusively, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn is_written_quiet(&self) -> bool {
        !state::is_shareable(self.object.view())
    }

    /// How many threads share the lock, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn readers_quiet(&self) -> u64 {
        state::sharers(self.object.view())
    }

    /// Whether the calling thread holds the lock exclusively, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn written_by_current_quiet(&self) -> bool {
        state::owner(self.object.view()) == Some(rt::current_number())
    }

    /// Whether the calling thread shares the lock, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn shared_by_current_quiet(&self) -> bool {
        rt::holds_shared(&self.object)
    }
}
