//! A mutex with content, as in the standard library.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, TryLockError, TryLockResult};

use super::RawLock;
use crate::class::LockClass;

/// The class of mutexes that are given none. Such mutexes may be nested in any order.
static MUTEX: LockClass = LockClass::sleep("mutex");

/// As [`std::sync::Mutex`], but never poisoned: a panic breaks the program, and one that is caught is its own business.
#[derive(Debug)]
pub struct Mutex<T: ?Sized> {
    lock: RawLock,
    access: Access,
    value: UnsafeCell<T>,
}

/// Makes sure, independently of the checker, that the content is lent out once at a time.
///
/// The checker sees to that for the threads of one exploration. Nothing keeps safe code from using
/// one mutex in two explorations on two OS threads, or outside of any.
#[derive(Debug)]
pub(super) struct Access(AtomicBool);

impl Access {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(super) fn begin(&self) {
        let taken = self.0.swap(true, Ordering::Acquire);
        assert!(
            !taken,
            "a mutex is used by two explorations, or by a destructor of an abandoned one"
        );
    }

    pub(super) fn end(&self) {
        self.0.store(false, Ordering::Release);
    }
}

// SAFETY: the content is only reached through guards, of which there is one at a time, and it may
// be sent to where the guard is.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A free mutex.
    pub const fn new(value: T) -> Self {
        Self::with_class(value, &MUTEX)
    }

    /// A free mutex of a class.
    pub const fn with_class(value: T, class: &'static LockClass) -> Self {
        Self {
            lock: RawLock::new(class),
            access: Access::new(),
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

impl<T: ?Sized> Mutex<T> {
    /// Takes the mutex; waits for it.
    ///
    /// # Errors
    ///
    /// Never: nothing is poisoned.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        Ok(self.acquire())
    }

    /// Takes the mutex if it is free.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.lock.try_lock() {
            Ok(self.guard())
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

    pub(super) fn acquire(&self) -> MutexGuard<'_, T> {
        if std::ptr::eq(self.lock.class(), &MUTEX) {
            self.lock.lock_nested();
        } else {
            self.lock.lock();
        }
        self.guard()
    }

    fn guard(&self) -> MutexGuard<'_, T> {
        self.lock.make_way();
        self.access.begin();
        MutexGuard {
            mutex: self,
            _not_send: std::marker::PhantomData,
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Holds a [`Mutex`] until it is dropped.
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// What it holds.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this is the only guard, by `Access`.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the only guard, by `Access`, and it is borrowed exclusively.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.access.end();
        self.mutex.lock.content_changed();
        self.mutex.lock.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
