//! Atomic pointers.

use std::sync::atomic::{AtomicPtr as Plain, Ordering};

use crate::engine::object::{Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt::{self, Turn};

/// As [`std::sync::atomic::AtomicPtr`].
#[derive(Debug)]
pub struct AtomicPtr<T> {
    /// Its word is the address of the pointer, brought up to date before each operation: a constant cannot know
    /// the address that it will have.
    object: Object,
    pointer: Plain<T>,
}

impl<T> AtomicPtr<T> {
    /// A new atomic.
    #[must_use]
    pub const fn new(pointer: *mut T) -> Self {
        Self {
            object: Object::new(0),
            pointer: Plain::new(pointer),
        }
    }

    /// Loads the pointer.
    #[inline]
    pub fn load(&self, order: Ordering) -> *mut T {
        let turn = self.visible(Kind::Load, order);
        let pointer = self.pointer_at(turn.get(&self.object));
        turn.outcome(|| format!(" -> {}", word(pointer)));
        pointer
    }

    /// Stores a pointer.
    #[inline]
    pub fn store(&self, pointer: *mut T, order: Ordering) {
        let turn = self.visible(Kind::Store, order);
        turn.outcome(|| format!(" = {}", word(pointer)));
        self.set(turn, pointer);
    }

    /// Stores a pointer and returns the one before.
    #[inline]
    pub fn swap(&self, pointer: *mut T, order: Ordering) -> *mut T {
        let turn = self.visible(Kind::Rmw, order);
        let before = self.pointer_at(turn.get(&self.object));
        self.set(turn, pointer);
        turn.outcome(|| format!(": {} -> {}", word(before), word(pointer)));
        before
    }

    /// Stores `new` if the pointer is `current`.
    ///
    /// # Errors
    ///
    /// With the pointer, if it is another one.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.note_address();
        let expected = current.addr() as u64;
        let turn = rt::compare_exchange(&self.object, expected, success, failure);
        let before = self.pointer_at(turn.get(&self.object));
        if before.addr() == current.addr() {
            self.set(turn, new);
            turn.outcome(|| format!(": {} -> {}", word(before), word(new)));
            Ok(before)
        } else {
            turn.outcome(|| format!(" failed: {}", word(before)));
            Err(before)
        }
    }

    /// As [`compare_exchange`](Self::compare_exchange); it never fails spuriously.
    ///
    /// # Errors
    ///
    /// With the pointer, if it is another one.
    #[inline]
    pub fn compare_exchange_weak(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.compare_exchange(current, new, success, failure)
    }

    /// Loads the pointer and stores what `f` makes of it, until nobody interferes.
    ///
    /// # Errors
    ///
    /// With the pointer, if `f` returns `None` for it.
    pub fn fetch_update(
        &self,
        set_order: Ordering,
        fetch_order: Ordering,
        mut f: impl FnMut(*mut T) -> Option<*mut T>,
    ) -> Result<*mut T, *mut T> {
        let mut before = self.load(fetch_order);
        while let Some(new) = f(before) {
            match self.compare_exchange(before, new, set_order, fetch_order) {
                Ok(before) => return Ok(before),
                Err(other) => before = other,
            }
        }
        Err(before)
    }

    /// The pointer, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn load_quiet(&self) -> *mut T {
        if self.object.is_shadowed() {
            self.pointer_at(self.object.view())
        } else {
            self.pointer.load(Ordering::Relaxed)
        }
    }

    /// Sets the pointer, without an event: for setting up.
    #[inline]
    pub fn store_quiet(&self, pointer: *mut T) {
        self.pointer.store(pointer, Ordering::Relaxed);
        rt::set_quiet(&self.object, pointer.addr() as u64);
    }

    /// The pointer, of which the caller is the only user.
    #[must_use]
    pub fn into_inner(self) -> *mut T {
        self.load_quiet()
    }

    fn visible(&self, kind: Kind, order: Ordering) -> Turn {
        self.note_address();
        rt::ordered(&self.object, Shape::Atomic, kind, 0, order)
    }

    /// It may have been restored behind our back. The cache looks when the operation is executed. Once
    /// a store was buffered, the word is all there is.
    fn note_address(&self) {
        if !self.object.is_shadowed() {
            let pointer = self.pointer.load(Ordering::Relaxed);
            self.object.set(pointer.addr() as u64);
        }
    }

    /// Has an operation write a pointer, which may not be the newest one then.
    fn set(&self, turn: Turn, pointer: *mut T) {
        let address = pointer.expose_provenance() as u64;
        turn.set(&self.object, address);
        if !self.object.is_shadowed() && self.object.get() == address {
            self.pointer.store(pointer, Ordering::Relaxed);
        }
    }

    /// The pointer with an address that was read: the newest one, or one that was stored some time.
    fn pointer_at(&self, address: u64) -> *mut T {
        let newest = self.pointer.load(Ordering::Relaxed);
        if newest.addr() as u64 == address {
            return newest;
        }
        let address = usize::try_from(address).expect("an address");
        std::ptr::with_exposed_provenance_mut(address)
    }
}

/// What traces say of a pointer: not its address, which differs from run to run.
fn word<T>(pointer: *mut T) -> &'static str {
    if pointer.is_null() { "null" } else { "pointer" }
}

impl<T> Default for AtomicPtr<T> {
    fn default() -> Self {
        Self::new(std::ptr::null_mut())
    }
}

impl<T> From<*mut T> for AtomicPtr<T> {
    fn from(pointer: *mut T) -> Self {
        Self::new(pointer)
    }
}
