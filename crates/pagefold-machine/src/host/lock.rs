//! The platform's locks, by `parking_lot`: they spin for a moment, then sleep.
//!
//! That holds for the engine's spin locks as well: a thread of a process can be preempted while it has one, so who waits
//! for it has to give the processor away.

use pagefold::lock_order::LockClass;
use pagefold::platform::{RawLock, RawRwSem};
use parking_lot::lock_api::{RawMutex as _, RawRwLock as _, RawRwLockDowngrade as _};
use parking_lot::{RawMutex, RawRwLock};

/// A mutual exclusion lock.
#[repr(transparent)]
pub struct HostLock(RawMutex);

impl RawLock for HostLock {
    #[inline(always)]
    fn new(_: LockClass) -> Self {
        Self(RawMutex::INIT)
    }
    #[inline(always)]
    fn lock(&self) {
        self.0.lock();
    }
    #[inline(always)]
    fn lock_nested(&self) {
        self.0.lock();
    }
    #[inline(always)]
    fn try_lock(&self) -> bool {
        self.0.try_lock()
    }
    #[inline(always)]
    fn unlock(&self) {
        // SAFETY: the caller has the lock; that is what `RawLock::unlock` asks for.
        unsafe { self.0.unlock() };
    }
}

/// A reader-writer semaphore. It prefers writers, so that a stream of readers does not keep them out.
#[repr(transparent)]
pub struct HostRwSem(RawRwLock);

impl RawRwSem for HostRwSem {
    #[inline(always)]
    fn new(_: LockClass) -> Self {
        Self(RawRwLock::INIT)
    }
    #[inline(always)]
    fn read(&self) {
        self.0.lock_shared();
    }
    #[inline(always)]
    fn try_read(&self) -> bool {
        self.0.try_lock_shared()
    }
    #[inline(always)]
    fn read_unlock(&self) {
        // SAFETY: the caller has the semaphore for reading; that is what `RawRwSem::read_unlock` asks for.
        unsafe { self.0.unlock_shared() };
    }
    #[inline(always)]
    fn write(&self) {
        self.0.lock_exclusive();
    }
    #[inline(always)]
    fn write_nested(&self) {
        self.0.lock_exclusive();
    }
    #[inline(always)]
    fn try_write(&self) -> bool {
        self.0.try_lock_exclusive()
    }
    #[inline(always)]
    fn write_unlock(&self) {
        // SAFETY: the caller has the semaphore for writing; that is what `RawRwSem::write_unlock` asks for.
        unsafe { self.0.unlock_exclusive() };
    }
    #[inline(always)]
    fn downgrade(&self) {
        // SAFETY: the caller has the semaphore for writing; that is what `RawRwSem::downgrade` asks for.
        unsafe { self.0.downgrade() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_downgraded_semaphore_lets_readers_in_and_no_writer() {
        let sem = HostRwSem::new(LockClass::MmapLock);
        sem.write();
        assert!(!sem.try_read());
        sem.downgrade();
        assert!(sem.try_read() && !sem.try_write());
        sem.read_unlock();
        sem.read_unlock();
        assert!(sem.try_write());
        sem.write_unlock();
    }
}
