//! Addresses, page indices and frame numbers: never a bare integer in an interface.

use core::fmt;

/// Bits of an address inside a page.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a small page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// The number of a page frame: physical address divided by [`PAGE_SIZE`]. Frame 0 is never handed out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pfn(pub u64);

impl Pfn {
    /// The frame `n` frames further.
    #[must_use]
    pub const fn add(self, n: usize) -> Self {
        Self(self.0 + n as u64)
    }
}

/// A virtual address of a process, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtAddr(pub u64);

impl VirtAddr {
    /// The address of a virtual page.
    #[must_use]
    pub const fn of_page(number: u64) -> Self {
        Self(number << PAGE_SHIFT)
    }
    /// The number of the virtual page that the address lies in.
    #[must_use]
    pub const fn page(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }
    /// The address `n` pages further.
    #[must_use]
    pub const fn add_pages(self, n: u64) -> Self {
        Self(self.0 + (n << PAGE_SHIFT))
    }
    /// The beginning of the huge page that the address lies in, where a huge page has `pages` small ones.
    #[must_use]
    pub const fn huge_start(self, pages: usize) -> Self {
        let page = self.page();
        Self::of_page(page - page % pages as u64)
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Virtual addresses from `start` up to, not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddrRange {
    /// First address.
    pub start: VirtAddr,
    /// First address behind the range.
    pub end: VirtAddr,
}

impl AddrRange {
    /// `pages` pages from `start`.
    #[must_use]
    pub const fn pages(start: VirtAddr, pages: u64) -> Self {
        Self {
            start,
            end: start.add_pages(pages),
        }
    }
    /// The addresses of its pages.
    pub fn each_page(self) -> impl Iterator<Item = VirtAddr> {
        core::iter::successors(Some(self.start), |addr| Some(addr.add_pages(1)))
            .take_while(move |addr| self.contains(*addr))
    }
    /// Whether the page of `addr` lies in the range.
    #[must_use]
    pub const fn contains(self, addr: VirtAddr) -> bool {
        self.start.0 <= addr.0 && addr.0 < self.end.0
    }
    /// Whether every address of `other` lies in the range.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }
    /// Whether the two ranges share an address.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }
}

/// The index of a page in a file or shmem object (Linux: `pgoff_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageIndex(pub u64);

impl PageIndex {
    /// The first index of the huge page that the index lies in.
    #[must_use]
    pub const fn huge_start(self, pages: usize) -> Self {
        Self(self.0 - self.0 % pages as u64)
    }
    /// The index `n` pages further.
    #[must_use]
    pub const fn add(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}
