//! A page that is held from one call to another, by the address that it had. One thread at a time makes and uses it.

use std::os::fd::{BorrowedFd, IntoRawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;

use super::memory::Address;
use super::pipe;
use super::ring::Ring;
use super::slot::Slot;

/// Nothing is held.
const NOTHING: u8 = 0;
/// By a pipe.
const PIPE: u8 = 1;
/// By a ring.
const RING: u8 = 2;

/// Who holds the page.
#[derive(Debug, Default)]
pub(crate) struct Held {
    state: AtomicU8,
    pipe: Slot,
    ring: OnceLock<Ring>,
}

impl Held {
    /// Makes it possible to hold the page for writing. Rings are made before the race, as they need memory.
    pub(crate) fn make_ring(&self) -> Result<(), Errno> {
        // If there is one already, it does as well.
        let _ = self.ring.set(Ring::new()?);
        Ok(())
    }

    /// Holds the page at an address by a reference.
    pub(crate) fn get(&self, address: Address) -> Result<(), Errno> {
        let pipe = pipe::hold(address)?;
        let _ = self.let_go();
        self.pipe.put(pipe.into_raw_fd());
        self.state.store(PIPE, Ordering::Release);
        Ok(())
    }

    /// Holds the page at an address by a pin for reading and writing.
    pub(crate) fn pin(&self, address: Address) -> Result<(), Errno> {
        // A ring has one buffer, and so gives up the old one first.
        let _ = self.let_go();
        self.ring()?.hold(address)?;
        self.state.store(RING, Ordering::Release);
        Ok(())
    }

    /// What is in the page.
    pub(crate) fn read(&self, address: Address) -> Result<u64, Errno> {
        self.with(|state| match state {
            PIPE => {
                // SAFETY: the pipe is closed by who has found it here, as this caller has.
                let reader = unsafe { BorrowedFd::borrow_raw(self.pipe.number()) };
                pipe::peek(reader)
            }
            RING => self.ring()?.read(address),
            _ => Err(Errno::BADF),
        })
    }

    /// Writes to the page, if it is held for that.
    pub(crate) fn write(&self, address: Address, word: u64) -> Result<(), Errno> {
        self.with(|state| match state {
            RING => self.ring()?.write(address, word),
            _ => Err(Errno::BADF),
        })
    }

    /// Lets the page go.
    pub(crate) fn let_go(&self) -> Result<(), Errno> {
        match self.state.swap(NOTHING, Ordering::Acquire) {
            PIPE => {
                self.pipe.close();
                Ok(())
            }
            RING => self.ring()?.let_go(),
            _ => Err(Errno::BADF),
        }
    }

    /// Of a copy that fork made: what is held is the parent's.
    pub(crate) fn forget(&self) {
        self.state.store(NOTHING, Ordering::Relaxed);
        self.pipe.close();
    }

    fn ring(&self) -> Result<&Ring, Errno> {
        self.ring.get().ok_or(Errno::BADF)
    }

    /// Does something with what is held. Nobody else would find it meanwhile.
    fn with<T>(&self, use_it: impl FnOnce(u8) -> Result<T, Errno>) -> Result<T, Errno> {
        let state = self.state.swap(NOTHING, Ordering::Acquire);
        let result = use_it(state);
        self.state.store(state, Ordering::Release);
        result
    }
}
