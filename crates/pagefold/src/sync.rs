//! Locks that are released when they go out of scope, over the raw locks of the platform.

use crate::platform::{Platform, RawLock, RawRwSem};

/// A held lock.
pub(crate) struct LockGuard<'a, L: RawLock>(&'a L);

impl<'a, L: RawLock> LockGuard<'a, L> {
    pub(crate) fn lock(lock: &'a L) -> Self {
        lock.lock();
        Self(lock)
    }
}

impl<L: RawLock> Drop for LockGuard<'_, L> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

/// A semaphore held for reading.
pub(crate) struct ReadGuard<'a, S: RawRwSem>(&'a S);

impl<'a, S: RawRwSem> ReadGuard<'a, S> {
    pub(crate) fn read(sem: &'a S) -> Self {
        sem.read();
        Self(sem)
    }
}

impl<S: RawRwSem> Drop for ReadGuard<'_, S> {
    fn drop(&mut self) {
        self.0.read_unlock();
    }
}

/// A semaphore held for writing.
pub(crate) struct WriteGuard<'a, S: RawRwSem>(&'a S);

impl<'a, S: RawRwSem> WriteGuard<'a, S> {
    pub(crate) fn write(sem: &'a S) -> Self {
        sem.write();
        Self(sem)
    }
}

impl<S: RawRwSem> Drop for WriteGuard<'_, S> {
    fn drop(&mut self) {
        self.0.write_unlock();
    }
}

/// An RCU read section.
pub(crate) struct RcuGuard<P: Platform>(core::marker::PhantomData<fn() -> P>);

impl<P: Platform> RcuGuard<P> {
    pub(crate) fn read_lock() -> Self {
        P::rcu_read_lock();
        Self(core::marker::PhantomData)
    }
}

impl<P: Platform> Drop for RcuGuard<P> {
    fn drop(&mut self) {
        P::rcu_read_unlock();
    }
}

/// A section with interrupts off on this CPU.
pub(crate) struct IrqGuard<P: Platform>(core::marker::PhantomData<fn() -> P>);

impl<P: Platform> IrqGuard<P> {
    pub(crate) fn save() -> Self {
        P::irq_save();
        Self(core::marker::PhantomData)
    }
}

impl<P: Platform> Drop for IrqGuard<P> {
    fn drop(&mut self) {
        P::irq_restore();
    }
}
