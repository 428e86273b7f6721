//! Memory that processes have in common.

use std::ops::Deref;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// A value of a type for which all zeroes are a value, and that is used by reference only, like atomics.
///
/// # Safety
/// The type is such a type.
pub(crate) unsafe trait Shareable: Sync {}

/// A value that this process shares with all that it forks from now on.
#[derive(Debug)]
pub(crate) struct Shared<T: Shareable>(NonNull<T>);

impl<T: Shareable> Shared<T> {
    /// All zeroes.
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: a new mapping is nobody else's.
        let memory = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<T>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
            )?
        };
        let memory = NonNull::new(memory.cast()).expect("a mapping is not at 0");
        Ok(Self(memory))
    }
}

// SAFETY: it gives shared references, which `Shareable` allows.
unsafe impl<T: Shareable> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Shareable> Sync for Shared<T> {}

impl<T: Shareable> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping is as large as the type, aligned to a page, stays until this is dropped, and zeroes or what
        // was written through references is in it.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Shareable> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: nobody has a reference any more.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}
