//! References to the engine's objects.
//!
//! The engine's objects (address spaces, VMAs, page caches) are made by the machine ([`Platform::alloc`]) and found by
//! many CPUs at once, under locks, counts or RCU. A [`Ref`] is the name of such an object: it is copied freely
//! and keeps nothing alive. The module that frees a kind of object says why nobody follows a reference afterwards;
//! the model machine checks it at every use.

use core::fmt;
use core::ops::Deref;

use crate::platform::Platform;

/// A reference to an object of machine `P`.
pub struct Ref<P: Platform, T: 'static>(P::Ptr<T>);

impl<P: Platform, T: 'static> Ref<P, T> {
    /// Makes an object.
    pub(crate) fn new(value: T) -> Self {
        Self(P::alloc(value))
    }

    /// The reference that the machine's own one stands for.
    #[must_use]
    pub fn from_raw(raw: P::Ptr<T>) -> Self {
        Self(raw)
    }

    /// The machine's own reference.
    #[must_use]
    pub fn raw(self) -> P::Ptr<T> {
        self.0
    }

    /// Ends the life of the object.
    ///
    /// # Safety
    /// No reference to the object may be followed afterwards, by anyone.
    pub(crate) unsafe fn free(self) {
        // SAFETY: the caller's promise is the one that the platform asks for.
        unsafe { P::free(self.0) };
    }
}

impl<P: Platform, T: 'static> Clone for Ref<P, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform, T: 'static> Copy for Ref<P, T> {}

impl<P: Platform, T: 'static> PartialEq for Ref<P, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<P: Platform, T: 'static> Eq for Ref<P, T> {}

impl<P: Platform, T: 'static> Deref for Ref<P, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<P: Platform, T: 'static> fmt::Debug for Ref<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
