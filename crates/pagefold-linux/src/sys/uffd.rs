//! userfaultfd by its requests.

use std::ffi::{c_int, c_ulong};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use linux_raw_sys::general as raw;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};

use super::memory::{PAGE, Pages};
use super::{errno, result};

/// The letter of userfaultfd's requests.
const UFFDIO: u8 = 0xAA;

const API: Opcode = opcode::read_write::<raw::uffdio_api>(UFFDIO, raw::_UFFDIO_API as u8);
const REGISTER: Opcode =
    opcode::read_write::<raw::uffdio_register>(UFFDIO, raw::_UFFDIO_REGISTER as u8);
const UNREGISTER: Opcode = opcode::read::<raw::uffdio_range>(UFFDIO, raw::_UFFDIO_UNREGISTER as u8);
const COPY: Opcode = opcode::read_write::<raw::uffdio_copy>(UFFDIO, raw::_UFFDIO_COPY as u8);
const ZEROPAGE: Opcode =
    opcode::read_write::<raw::uffdio_zeropage>(UFFDIO, raw::_UFFDIO_ZEROPAGE as u8);
const WRITEPROTECT: Opcode =
    opcode::read_write::<raw::uffdio_writeprotect>(UFFDIO, raw::_UFFDIO_WRITEPROTECT as u8);
const CONTINUE: Opcode =
    opcode::read_write::<raw::uffdio_continue>(UFFDIO, raw::_UFFDIO_CONTINUE as u8);
const POISON: Opcode = opcode::read_write::<raw::uffdio_poison>(UFFDIO, raw::_UFFDIO_POISON as u8);

/// What a range is registered for, and how the userfaultfd behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    /// Faults on pages that are not there.
    pub(crate) missing: bool,
    /// Writes to protected pages.
    pub(crate) wp: bool,
    /// Faults on pages of the object that are not mapped.
    pub(crate) minor: bool,
    /// Whoever faults gets SIGBUS.
    pub(crate) sigbus: bool,
    /// A write takes the protection away.
    pub(crate) wp_async: bool,
}

impl Modes {
    /// The features to ask for. Pages of objects are always included, as the model knows no other userfaultfd.
    fn features(self) -> u32 {
        let mut features = raw::UFFD_FEATURE_MISSING_SHMEM;
        if self.wp || self.wp_async {
            features |= raw::UFFD_FEATURE_PAGEFAULT_FLAG_WP
                | raw::UFFD_FEATURE_WP_HUGETLBFS_SHMEM
                | raw::UFFD_FEATURE_WP_UNPOPULATED;
        }
        if self.minor {
            features |= raw::UFFD_FEATURE_MINOR_SHMEM;
        }
        if self.sigbus {
            features |= raw::UFFD_FEATURE_SIGBUS;
        }
        if self.wp_async {
            features |= raw::UFFD_FEATURE_WP_ASYNC;
        }
        features
    }

    fn register_mode(self) -> u32 {
        let mut mode = 0;
        if self.missing {
            mode |= raw::UFFDIO_REGISTER_MODE_MISSING;
        }
        if self.wp || self.wp_async {
            mode |= raw::UFFDIO_REGISTER_MODE_WP;
        }
        if self.minor {
            mode |= raw::UFFDIO_REGISTER_MODE_MINOR;
        }
        mode
    }
}

/// A place for a userfaultfd, which several threads may use.
///
/// A number is no owner: who uses it while another thread closes it gets an error, or does something to another
/// userfaultfd of the scenario, as programs that do so would.
#[derive(Debug)]
pub(crate) struct Userfaultfd(AtomicI32);

impl Default for Userfaultfd {
    fn default() -> Self {
        Self(AtomicI32::new(-1))
    }
}

impl Drop for Userfaultfd {
    fn drop(&mut self) {
        self.close();
    }
}

impl Userfaultfd {
    /// Makes one with what these modes need; what was there is closed.
    pub(crate) fn open(&self, modes: Modes) -> Result<(), Errno> {
        // SAFETY: the call makes a file, and nothing else.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let Ok(fd @ 0..) = c_int::try_from(fd) else {
            return Err(errno());
        };
        self.close();
        self.0.store(fd, Relaxed);
        let mut api = raw::uffdio_api {
            api: u64::from(raw::UFFD_API),
            features: u64::from(modes.features()),
            ioctls: 0,
        };
        self.request(API, &mut api)
    }

    /// Whether there is one.
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Relaxed) >= 0
    }

    /// Registers a range with it.
    pub(crate) fn register(&self, pages: Pages, modes: Modes) -> Result<(), Errno> {
        let mut register = raw::uffdio_register {
            range: range(pages),
            mode: u64::from(modes.register_mode()),
            ioctls: 0,
        };
        self.request(REGISTER, &mut register)
    }

    /// Ends the registration of a range.
    pub(crate) fn unregister(&self, pages: Pages) -> Result<(), Errno> {
        self.request(UNREGISTER, &mut range(pages))
    }

    /// Fills missing pages with copies of one that begins with `value`. On failure tells how many bytes were filled.
    pub(crate) fn copy(&self, pages: Pages, value: u64) -> Result<(), (Errno, usize)> {
        let mut source = Page([0; PAGE / 8]);
        source.0[0] = value;
        let mut done = 0;
        // One request copies as many pages as it is given the source for.
        while done < pages.bytes {
            let mut copy = raw::uffdio_copy {
                dst: (pages.start.get() + done) as u64,
                src: std::ptr::from_ref(&source).expose_provenance() as u64,
                len: PAGE as u64,
                mode: 0,
                copy: 0,
            };
            self.request(COPY, &mut copy)
                .map_err(|error| (error, done))?;
            done += PAGE;
        }
        Ok(())
    }

    /// Fills missing pages with zeroes.
    pub(crate) fn zeropage(&self, pages: Pages) -> Result<(), (Errno, usize)> {
        let mut zeropage = raw::uffdio_zeropage {
            range: range(pages),
            mode: 0,
            zeropage: 0,
        };
        let result = self.request(ZEROPAGE, &mut zeropage);
        partial(result, zeropage.zeropage)
    }

    /// Maps pages that the object has.
    pub(crate) fn continue_pages(&self, pages: Pages) -> Result<(), (Errno, usize)> {
        let mut request = raw::uffdio_continue {
            range: range(pages),
            mode: 0,
            mapped: 0,
        };
        let result = self.request(CONTINUE, &mut request);
        partial(result, request.mapped)
    }

    /// Marks missing pages as broken.
    pub(crate) fn poison(&self, pages: Pages) -> Result<(), (Errno, usize)> {
        let mut poison = raw::uffdio_poison {
            range: range(pages),
            mode: 0,
            updated: 0,
        };
        let result = self.request(POISON, &mut poison);
        partial(result, poison.updated)
    }

    /// Protects pages from writes, or ends that.
    pub(crate) fn writeprotect(&self, pages: Pages, protect: bool) -> Result<(), Errno> {
        let mut request = raw::uffdio_writeprotect {
            range: range(pages),
            mode: u64::from(protect),
        };
        self.request(WRITEPROTECT, &mut request)
    }

    /// Closes it, if there is one.
    pub(crate) fn close(&self) {
        let fd = self.0.swap(-1, Relaxed);
        if fd >= 0 {
            // SAFETY: the number was made by `open` and is given up here, by one thread only.
            unsafe { libc::close(fd) };
        }
    }

    fn request<T>(&self, request: Opcode, argument: &mut T) -> Result<(), Errno> {
        // SAFETY: each request is called with the structure that it is defined with. Where it names memory, that is in the
        // region, where nothing of Rust lies, or a source that is only read.
        result(unsafe {
            libc::ioctl(
                self.0.load(Relaxed),
                c_ulong::from(request) as _,
                std::ptr::from_mut(argument),
            )
        })
    }
}

/// What a page is copied from: it must not straddle two.
#[repr(align(4096))]
struct Page([u64; PAGE / 8]);

fn range(pages: Pages) -> raw::uffdio_range {
    raw::uffdio_range {
        start: pages.start.get() as u64,
        len: pages.bytes as u64,
    }
}

/// With how far a request came that failed; the kernel writes an error there if it did not come anywhere.
fn partial(result: Result<(), Errno>, done: i64) -> Result<(), (Errno, usize)> {
    result.map_err(|error| (error, usize::try_from(done).unwrap_or(0)))
}
