//! A place for an open file, which several threads may use.
//!
//! A number is no owner: who uses it while another thread closes it gets an error, or does something to another
//! file of the scenario, as programs that do so would.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// The place.
#[derive(Debug)]
pub(crate) struct Slot(AtomicI32);

impl Default for Slot {
    fn default() -> Self {
        Self(AtomicI32::new(-1))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.close();
    }
}

impl Slot {
    /// The number of the file, or -1.
    pub(crate) fn number(&self) -> c_int {
        self.0.load(Relaxed)
    }

    /// Puts a file here, which is this slot's from now on; what was here is closed.
    pub(crate) fn put(&self, fd: c_int) {
        self.close();
        self.0.store(fd, Relaxed);
    }

    /// Closes the file; whether there was one.
    pub(crate) fn close(&self) -> bool {
        let fd = self.0.swap(-1, Relaxed);
        if fd >= 0 {
            // SAFETY: the number was given to `put` and is given up here, by one thread only.
            unsafe { libc::close(fd) };
        }
        fd >= 0
    }
}
