//! Calls on memory in the region of addresses that scenarios have for themselves.

use std::ffi::{c_int, c_ulong, c_void};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr;

use linux_raw_sys::general as raw;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};
use rustix::process::Pid;

use super::{errno, result};

/// The addresses of scenarios: one GiB, so that one upper table serves it all.
pub(crate) const REGION: Range<usize> = 0x20_0000_0000..0x20_4000_0000;

/// The request of a `pagemap` for pages of certain sorts. (Linux: from 6.7)
const PAGEMAP_SCAN: Opcode = opcode::read_write::<raw::pm_scan_arg>(b'f', 16);

/// The size of a small page.
pub(crate) const PAGE: usize = 4096;

/// The size of a huge page, and of what one table maps.
pub(crate) const HUGE: usize = 512 * PAGE;

/// A page that each process has at the end of the region, so that the upper tables stay.
const ANCHOR: usize = REGION.end - HUGE;

/// An address in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(usize);

impl Address {
    /// So many bytes into the region; before the anchor.
    pub(crate) fn new(offset: usize) -> Self {
        assert!(offset < ANCHOR - REGION.start, "beyond the region");
        Self(REGION.start + offset)
    }

    /// So many bytes further.
    pub(crate) fn add(self, bytes: usize) -> Self {
        Self::new(self.0 - REGION.start + bytes)
    }

    /// The number.
    pub(crate) fn get(self) -> usize {
        self.0
    }

    pub(crate) fn pointer(self) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.0)
    }
}

/// Pages one after the other in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages {
    /// The first byte.
    pub(crate) start: Address,
    /// How many bytes.
    pub(crate) bytes: usize,
}

impl Pages {
    /// From a page to before another.
    pub(crate) fn new(start: Address, bytes: usize) -> Self {
        if bytes > 0 {
            let _ = start.add(bytes - 1);
        }
        Self { start, bytes }
    }

    /// The page at an address.
    pub(crate) fn one(start: Address) -> Self {
        Self::new(start, PAGE)
    }

    /// Everything in the region but the anchor.
    pub(crate) fn all() -> Self {
        Self::new(Address::new(0), ANCHOR - REGION.start)
    }
}

/// Makes sure that the region is free, and puts the anchor into it.
pub(crate) fn claim_region() -> Result<(), Errno> {
    let bytes = REGION.end - REGION.start;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let map = |start: usize, bytes: usize, protection: c_int, fixed: c_int| {
        let at = ptr::with_exposed_provenance_mut(start);
        // SAFETY: the flags of the first call, below, let it succeed only where nothing is mapped; the second call replaces
        // what the first one made.
        let mapped = unsafe { libc::mmap(at, bytes, protection, flags | fixed, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(errno());
        }
        // An old kernel takes the address for a hint.
        if mapped == at {
            Ok(())
        } else {
            Err(Errno::EXIST)
        }
    };
    map(
        REGION.start,
        bytes,
        libc::PROT_NONE,
        libc::MAP_FIXED_NOREPLACE,
    )?;
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    map(ANCHOR, PAGE, writable, libc::MAP_FIXED)?;
    // SAFETY: this is the page that was just mapped, and nobody else's.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(ANCHOR).write_volatile(1) };
    munmap(Pages::all())
}

/// What is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// A file from its beginning, shared.
    Shared(&'a File),
    /// A file that is not open for writing, from its beginning, shared.
    ReadOnly(&'a File),
    /// A file from its beginning, private.
    Private(&'a File),
    /// Anonymous memory.
    Anonymous,
}

/// Maps pages, for reading and, as far as that may be, for writing, where nothing is.
pub(crate) fn mmap(pages: Pages, source: Source<'_>) -> Result<(), Errno> {
    let protection = match source {
        Source::ReadOnly(_) => libc::PROT_READ,
        _ => libc::PROT_READ | libc::PROT_WRITE,
    };
    let (flags, fd) = match source {
        Source::Shared(file) | Source::ReadOnly(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        Source::Private(file) => (libc::MAP_PRIVATE, file.as_raw_fd()),
        Source::Anonymous => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: the pages are in the region, where nothing of Rust lies.
    let mapped = unsafe {
        libc::mmap(
            pages.start.pointer(),
            pages.bytes,
            protection,
            flags | libc::MAP_FIXED_NOREPLACE,
            fd,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        Err(errno())
    } else {
        Ok(())
    }
}

/// Takes pages away.
pub(crate) fn munmap(pages: Pages) -> Result<(), Errno> {
    // SAFETY: as in `mmap`.
    result(unsafe { libc::munmap(pages.start.pointer(), pages.bytes) })
}

/// `madvise`.
pub(crate) fn madvise(pages: Pages, advice: u32) -> Result<(), Errno> {
    // SAFETY: as in `mmap`; no advice does anything to other addresses.
    result(unsafe { libc::madvise(pages.start.pointer(), pages.bytes, advice as c_int) })
}

/// Has every CPU put the pages that it holds for the LRU lists on them (`lru_add_drain_all`), as `MADV_COLLAPSE` does before it looks for
/// huge pages; here there is none to find. `madvise` is that of the process whose memory `pages` are.
///
/// `MADV_COLD` and `MADV_PAGEOUT` do so for their own CPU only, and pass by what others hold.
pub(crate) fn lru_add_drain_all(pages: Pages, madvise: impl Fn(Pages, u32) -> Result<(), Errno>) {
    // If the kernel makes no huge pages here, what others hold stays where it is.
    let _ = madvise(Pages::one(pages.start), raw::MADV_COLLAPSE);
}

/// `mprotect`; with reading, with writing.
pub(crate) fn mprotect(pages: Pages, read: bool, write: bool) -> Result<(), Errno> {
    let read = if read {
        libc::PROT_READ
    } else {
        libc::PROT_NONE
    };
    let write = if write {
        libc::PROT_WRITE
    } else {
        libc::PROT_NONE
    };
    // SAFETY: as in `mmap`.
    result(unsafe { libc::mprotect(pages.start.pointer(), pages.bytes, read | write) })
}

/// Moves pages to another place of the region, where what is there goes away. Behind what finds no room there, nothing is mapped any more; what there is
/// more room for is mapped as well.
pub(crate) fn mremap(from: Pages, to: Pages) -> Result<(), Errno> {
    // SAFETY: both places are in the region, where nothing of Rust lies.
    let moved = unsafe {
        libc::mremap(
            from.start.pointer(),
            from.bytes,
            to.bytes,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            to.start.pointer(),
        )
    };
    if moved == libc::MAP_FAILED {
        Err(errno())
    } else {
        Ok(())
    }
}

/// Whether the page at an address is in the page cache.
pub(crate) fn mincore(page: Address) -> Result<bool, Errno> {
    let mut present = 0;
    // SAFETY: one byte is written for one page.
    result(unsafe { libc::mincore(page.pointer(), PAGE, &raw mut present) })?;
    Ok(present & 1 != 0)
}

/// Finds out what of the region of a process is mapped by huge pages, by its `pagemap`.
pub(crate) fn scan_huge<'r>(
    pagemap: &File,
    regions: &'r mut [raw::page_region],
) -> Result<&'r [raw::page_region], Errno> {
    let huge = u64::from(raw::PAGE_IS_HUGE);
    let mut argument = raw::pm_scan_arg {
        size: size_of::<raw::pm_scan_arg>() as u64,
        flags: 0,
        start: REGION.start as u64,
        end: REGION.end as u64,
        walk_end: 0,
        vec: regions.as_mut_ptr().expose_provenance() as u64,
        vec_len: regions.len() as u64,
        max_pages: 0,
        category_inverted: 0,
        category_mask: huge,
        category_anyof_mask: 0,
        return_mask: huge,
    };
    // SAFETY: the request is called with the structure that it is defined with, which names memory for as many regions as it says.
    let found = unsafe {
        libc::ioctl(
            pagemap.as_raw_fd(),
            c_ulong::from(PAGEMAP_SCAN) as _,
            &raw mut argument,
        )
    };
    match usize::try_from(found) {
        Ok(found) => Ok(&regions[..found]),
        Err(_) => Err(errno()),
    }
}

/// Reads a word of a process by a pin of its page.
pub(crate) fn read_pinned(of: Pid, address: Address) -> Result<u64, Errno> {
    let mut word = 0_u64;
    let local = slice(ptr::from_mut(&mut word).cast());
    let remote = slice(address.pointer());
    // SAFETY: the local slice is the word, and the remote one is only read.
    let bytes = unsafe {
        libc::process_vm_readv(
            of.as_raw_pid(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    if bytes == -1 { Err(errno()) } else { Ok(word) }
}

/// Writes a word of this process by a pin of its page.
pub(crate) fn write_pinned(address: Address, word: u64) -> Result<(), Errno> {
    let mut word = word;
    let local = slice(ptr::from_mut(&mut word).cast());
    let remote = slice(address.pointer());
    // SAFETY: the local slice is only read, and the remote one is in the region, where nothing of Rust lies.
    let bytes = unsafe {
        libc::process_vm_writev(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
    };
    if bytes == -1 { Err(errno()) } else { Ok(()) }
}

fn slice(base: *mut c_void) -> libc::iovec {
    libc::iovec {
        iov_base: base,
        iov_len: size_of::<u64>(),
    }
}
