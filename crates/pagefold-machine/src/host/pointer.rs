//! References to the engine's objects: plain pointers, without a count and without a check.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use pagefold::handle::Ref;
use pagefold::platform::{Handle, Link};

use super::Host;

/// A reference to an object.
pub struct HostPtr<T>(NonNull<T>);

// SAFETY: a reference gives no more than `&T`. The engine's objects, which are the only ones that references are made to,
// are made of atomics and locks and are meant to be used from all threads.
unsafe impl<T> Send for HostPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for HostPtr<T> {}

impl<T> HostPtr<T> {
    /// Makes an object.
    pub(super) fn new(value: T) -> Self {
        Self(NonNull::from(Box::leak(Box::new(value))))
    }

    /// Ends the life of the object.
    ///
    /// # Safety
    /// No reference to the object may be followed afterwards, by anyone; and this is done once.
    pub(super) unsafe fn free(self) {
        // SAFETY: the pointer is that of a box: `new` is the only source of references. The caller says that nobody looks
        // at the object any more and that it is freed once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }

    /// The address, to tell objects apart.
    pub(super) fn addr(self) -> usize {
        self.0.as_ptr().addr()
    }
}

impl<T> Deref for HostPtr<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the object was made by `new` and is not freed yet: who frees it (`Platform::free`) promises that no
        // reference is followed any more. It is only looked at through shared references.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Clone for HostPtr<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for HostPtr<T> {}

impl<T> PartialEq for HostPtr<T> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for HostPtr<T> {}

impl<T> fmt::Debug for HostPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}

impl<T: 'static> Handle<T> for HostPtr<T> {}

/// A place for a reference.
pub struct HostLink<T> {
    target: AtomicPtr<T>,
    _shared: PhantomData<HostPtr<T>>,
}

#[inline(always)]
fn pointer<T>(target: Option<Ref<Host, T>>) -> *mut T {
    target.map_or(ptr::null_mut(), |target| target.raw().0.as_ptr())
}

#[inline(always)]
fn reference<T>(pointer: *mut T) -> Option<Ref<Host, T>> {
    NonNull::new(pointer).map(|target| Ref::from_raw(HostPtr(target)))
}

impl<T: 'static> Link<Host, T> for HostLink<T> {
    #[inline(always)]
    fn new(target: Option<Ref<Host, T>>) -> Self {
        Self {
            target: AtomicPtr::new(pointer(target)),
            _shared: PhantomData,
        }
    }
    #[inline(always)]
    fn dereference(&self) -> Option<Ref<Host, T>> {
        reference(self.target.load(Acquire))
    }
    #[inline(always)]
    fn is_set(&self) -> bool {
        !self.target.load(Relaxed).is_null()
    }
    #[inline(always)]
    fn assign(&self, target: Option<Ref<Host, T>>) {
        self.target.store(pointer(target), Release);
    }
    #[inline(always)]
    fn load_protected(&self) -> Option<Ref<Host, T>> {
        reference(self.target.load(Relaxed))
    }
    #[inline(always)]
    fn store_protected(&self, target: Option<Ref<Host, T>>) {
        self.target.store(pointer(target), Relaxed);
    }
}
