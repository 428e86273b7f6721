//! What one process does to another: to its memory, and with its files.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::errno;
use super::memory::{Address, Pages};

/// Another process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// The process of a number.
    pub(crate) fn open(pid: i32) -> Result<Self, Errno> {
        let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        let fd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, fd })
    }

    /// `madvise`, of its memory.
    pub(crate) fn madvise(&self, pages: Pages, advice: u32) -> Result<(), Errno> {
        let range = libc::iovec {
            iov_base: pages.start.pointer(),
            iov_len: pages.bytes,
        };
        // SAFETY: the pages are in the region, where nothing of Rust lies in any process.
        let advised = unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                self.fd.as_raw_fd(),
                &raw const range,
                1_usize,
                advice as c_int,
                0_u32,
            )
        };
        if advised == -1 { Err(errno()) } else { Ok(()) }
    }

    /// A file of it, now also one of this process.
    pub(crate) fn file(&self, number: c_int) -> Result<c_int, Errno> {
        let file = pidfd_getfd(&self.fd, number, PidfdGetfdFlags::empty())?;
        Ok(file.into_raw_fd())
    }

    /// Reads a word of its memory.
    pub(crate) fn read(&self, address: Address) -> Result<u64, Errno> {
        super::memory::read_pinned(self.pid, address)
    }
}
