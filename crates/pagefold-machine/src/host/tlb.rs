//! A translation cache in software, as each CPU has one.
//!
//! Two direct-mapped tables: leaf entries (virtual page to frame), and upper entries that name tables of small-page
//! entries (the paging-structure cache of the hardware). They are private to the thread. An entry is valid if it
//! carries the number of the present generation, so that everything is forgotten by beginning a new one.
//!
//! What it keeps and forgets is what hardware may (Intel SDM volume 3, 5.10): huge pages are kept in pieces of small
//! ones; an access that faults forgets what led to it.

use pagefold::addr::{AddrRange, VirtAddr};
use pagefold::platform::FlushKind;

use super::memory::{Memory, Page};
use super::{HostFormat, PTRS_PER_TABLE};

/// Bits of the number of a virtual page.
pub(super) const VIRT_PAGE_BITS: u32 = HostFormat::LEVELS * PTRS_PER_TABLE.ilog2();

const LEAVES: usize = 1024;
const TABLES: usize = 64;
/// From how many pages on a range is not forgotten page by page.
const FEW: u64 = 64;

/// What an entry is for: the generation, the number of a page or huge page, and in the lowest bit whether it may be
/// written to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    /// No generation has the number 0.
    const INVALID: Self = Self(0);

    #[inline(always)]
    fn new(generation: u64, number: u64, writable: bool) -> Self {
        Self((generation << VIRT_PAGE_BITS | number) << 1 | u64::from(writable))
    }
}

#[derive(Clone, Copy)]
struct Entry {
    tag: Tag,
    page: &'static Page,
}

/// Entries for things with numbers.
struct Cache<const N: usize> {
    entries: Box<[Entry; N]>,
    generation: u64,
}

impl<const N: usize> Cache<N> {
    fn new() -> Self {
        let nothing = Entry {
            tag: Tag::INVALID,
            page: Memory::get().page(pagefold::addr::Pfn(0)),
        };
        Self {
            entries: Box::new([nothing; N]),
            generation: 1,
        }
    }

    #[inline(always)]
    fn find(&self, number: u64, write: bool) -> Option<&'static Page> {
        let entry = &self.entries[number as usize % N];
        let fits = entry.tag == Tag::new(self.generation, number, true)
            || (!write && entry.tag == Tag::new(self.generation, number, false));
        fits.then_some(entry.page)
    }

    fn keep(&mut self, number: u64, writable: bool, page: &'static Page) {
        self.entries[number as usize % N] = Entry {
            tag: Tag::new(self.generation, number, writable),
            page,
        };
    }

    fn forget(&mut self, number: u64) {
        self.entries[number as usize % N].tag = Tag::INVALID;
    }

    fn forget_range(&mut self, first: u64, last: u64) {
        if last - first < FEW {
            (first..=last).for_each(|number| self.forget(number));
        } else {
            self.forget_everything();
        }
    }

    fn forget_everything(&mut self) {
        self.generation += 1;
    }
}

/// The translation caches of one CPU.
pub(super) struct Tlb {
    leaves: Cache<LEAVES>,
    tables: Cache<TABLES>,
}

impl Tlb {
    pub(super) fn new() -> Self {
        Self {
            leaves: Cache::new(),
            tables: Cache::new(),
        }
    }

    /// The frame of a virtual page, if it is cached and may be accessed so.
    #[inline(always)]
    pub(super) fn leaf(&self, page: u64, write: bool) -> Option<&'static Page> {
        self.leaves.find(page, write)
    }

    /// The table of small-page entries for a virtual page, if it is cached.
    #[inline(always)]
    pub(super) fn table(&self, page: u64) -> Option<&'static Page> {
        self.tables.find(huge_number(page), false)
    }

    pub(super) fn keep_leaf(&mut self, page: u64, writable: bool, frame: &'static Page) {
        self.leaves.keep(page, writable, frame);
    }

    pub(super) fn keep_table(&mut self, page: u64, table: &'static Page) {
        self.tables.keep(huge_number(page), false, table);
    }

    /// Forgets what led to a fault at a page.
    pub(super) fn forget_fault(&mut self, page: u64) {
        self.leaves.forget(page);
        self.tables.forget(huge_number(page));
    }

    /// Forgets a range.
    pub(super) fn forget(&mut self, range: AddrRange, kind: FlushKind) {
        if range.start >= range.end {
            return;
        }
        let first = range.start.page();
        let last = VirtAddr(range.end.0 - 1).page();
        self.leaves.forget_range(first, last);
        if kind == FlushKind::LeavesAndTables {
            self.tables
                .forget_range(huge_number(first), huge_number(last));
        }
    }

    /// Forgets all addresses.
    pub(super) fn forget_everything(&mut self, kind: FlushKind) {
        self.leaves.forget_everything();
        if kind == FlushKind::LeavesAndTables {
            self.tables.forget_everything();
        }
    }
}

#[inline(always)]
fn huge_number(page: u64) -> u64 {
    page / PTRS_PER_TABLE as u64
}

#[cfg(test)]
mod tests {
    use pagefold::addr::Pfn;

    use super::*;
    use crate::host::requests::Requests;

    fn frame(number: u64) -> &'static Page {
        Memory::get().page(Pfn(number))
    }

    fn holds(tlb: &Tlb, page: u64) -> bool {
        tlb.leaf(page, false).is_some()
    }

    #[test]
    fn an_entry_is_found_by_its_page_and_what_it_allows() {
        let mut tlb = Tlb::new();
        tlb.keep_leaf(5, false, frame(1));
        tlb.keep_leaf(6, true, frame(2));
        assert!(std::ptr::eq(tlb.leaf(5, false).unwrap(), frame(1)));
        assert!(tlb.leaf(5, true).is_none());
        assert!(std::ptr::eq(tlb.leaf(6, true).unwrap(), frame(2)));
        assert!(tlb.leaf(6, false).is_some());
        assert!(tlb.leaf(5 + LEAVES as u64, false).is_none());
    }

    #[test]
    fn a_range_is_forgotten_whatever_its_size_and_tables_only_if_asked() {
        for pages in [1, 2, FEW, 10 * FEW] {
            let mut tlb = Tlb::new();
            tlb.keep_leaf(100, true, frame(1));
            tlb.keep_leaf(100 + pages - 1, true, frame(1));
            tlb.keep_table(100, frame(2));
            let range = AddrRange::pages(VirtAddr::of_page(100), pages);
            tlb.forget(range, FlushKind::Leaves);
            assert!(!holds(&tlb, 100) && !holds(&tlb, 100 + pages - 1));
            assert!(tlb.table(100).is_some());
            tlb.forget(range, FlushKind::LeavesAndTables);
            assert!(tlb.table(100).is_none());
        }
    }

    #[test]
    fn neighbours_of_a_small_range_stay() {
        let mut tlb = Tlb::new();
        for page in 9..=11 {
            tlb.keep_leaf(page, true, frame(1));
        }
        tlb.forget(
            AddrRange::pages(VirtAddr::of_page(10), 1),
            FlushKind::Leaves,
        );
        assert!(holds(&tlb, 9) && !holds(&tlb, 10) && holds(&tlb, 11));
    }

    #[test]
    fn too_many_requests_become_one_for_everything() {
        let mut tlb = Tlb::new();
        let mut requests = Requests::NONE;
        for page in 0..20 {
            tlb.keep_leaf(page, true, frame(1));
            tlb.keep_table(page, frame(2));
            let kind = if page == 3 {
                FlushKind::LeavesAndTables
            } else {
                FlushKind::Leaves
            };
            requests.add(AddrRange::pages(VirtAddr::of_page(page), 1), kind);
        }
        requests.apply(&mut tlb);
        assert!((0..20).all(|page| !holds(&tlb, page)));
        assert!(tlb.table(0).is_none());
    }
}
