//! A reader-writer lock with content, as in the standard library.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LockResult, TryLockError, TryLockResult};

use super::RawRwSem;
use crate::class::LockClass;

/// The class of locks that are given none. Such locks may be nested in any order.
static RWLOCK: LockClass = LockClass::sleep("rwlock");

/// As [`std::sync::RwLock`], but never poisoned.
#[derive(Debug)]
pub struct RwLock<T: ?Sized> {
    lock: RawRwSem,
    access: Access,
    value: UnsafeCell<T>,
}

/// Makes sure, independently of the checker, that the content is lent out to one writer or to
/// readers; see the one of [`Mutex`](super::Mutex).
#[derive(Debug)]
struct Access(AtomicU32);

impl Access {
    const WRITTEN: u32 = u32::MAX;

    fn begin_read(&self) {
        let before = self
            .0
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |readers| {
                (readers < Self::WRITTEN - 1).then(|| readers + 1)
            });
        assert!(
            before.is_ok(),
            "a lock is used by two explorations, or by a destructor of an abandoned one"
        );
    }

    fn begin_write(&self) {
        let before =
            self.0
                .compare_exchange(0, Self::WRITTEN, Ordering::Acquire, Ordering::Relaxed);
        assert!(
            before.is_ok(),
            "a lock is used by two explorations, or by a destructor of an abandoned one"
        );
    }

    fn end_read(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    fn end_write(&self) {
        self.0.store(0, Ordering::Release);
    }
}

// SAFETY: the content is only reached through guards: by a shared reference through read guards,
// which `T: Sync` allows on several OS threads, exclusively through the one write guard, to where
// it may be sent.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self::with_class(value, &RWLOCK)
    }

    /// A free lock of a class.
    pub const fn with_class(value: T, class: &'static LockClass) -> Self {
        Self {
            lock: RawRwSem::new(class),
            access: Access(AtomicU32::new(0)),
            value: UnsafeCell::new(value),
        }
    }

    /// The content.
    ///
    /// # Errors
    ///
    /// Never: nothing is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        Ok(self.value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    fn is_classless(&self) -> bool {
        std::ptr::eq(self.lock.class(), &RWLOCK)
    }

    /// Shares the lock; waits for it.
    ///
    /// # Errors
    ///
    /// Never: nothing is poisoned.
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        if self.is_classless() {
            self.lock.read_nested();
        } else {
            self.lock.read();
        }
        Ok(self.read_guard())
    }

    /// Shares the lock if nobody writes.
    ///
    /// # Errors
    ///
    /// If somebody does.
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.lock.try_read() {
            Ok(self.read_guard())
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Takes the lock exclusively; waits for it.
    ///
    /// # Errors
    ///
    /// Never: nothing is poisoned.
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        if self.is_classless() {
            self.lock.write_nested();
        } else {
            self.lock.write();
        }
        Ok(self.write_guard())
    }

    /// Takes the lock exclusively if it is free.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.lock.try_write() {
            Ok(self.write_guard())
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// The content, of which the caller is the only user.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        Ok(self.value.get_mut())
    }

    fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        self.lock.make_way();
        self.access.begin_read();
        RwLockReadGuard {
            lock: self,
            _not_send: std::marker::PhantomData,
        }
    }

    fn write_guard(&self) -> RwLockWriteGuard<'_, T> {
        self.lock.make_way();
        self.access.begin_write();
        RwLockWriteGuard {
            lock: self,
            _not_send: std::marker::PhantomData,
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Shares an [`RwLock`] until it is dropped.
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: there is no write guard, by `Access`.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.access.end_read();
        self.lock.lock.read_unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Holds an [`RwLock`] exclusively until it is dropped or [downgraded](Self::downgrade).
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader, without letting a writer in between.
    #[must_use]
    pub fn downgrade(self) -> RwLockReadGuard<'a, T> {
        let lock = self.lock;
        // The lock is not released.
        std::mem::forget(self);
        lock.access.end_write();
        lock.lock.content_changed();
        lock.lock.downgrade();
        lock.read_guard()
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this is the only guard, by `Access`.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the only guard, by `Access`, and it is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.access.end_write();
        self.lock.lock.content_changed();
        self.lock.lock.write_unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
