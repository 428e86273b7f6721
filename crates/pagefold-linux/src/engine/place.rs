//! Where the pages of a scenario are in an address space of the engine.

use pagefold::addr::{AddrRange, VirtAddr};
use pagefold_litmus::{MappingId, MappingPage, MappingRange};

use super::Engine;
use crate::geometry::{HALVES, MAX_PAGES};
use pagefold_machine::host::PTRS_PER_TABLE;

/// Pages from the start of a mapping to the start of the next: the largest one, and as much again that is not mapped.
const STRIDE: usize = 2 * MAX_PAGES / HALVES * PTRS_PER_TABLE;

impl Engine<'_> {
    fn start(&self, mapping: MappingId) -> VirtAddr {
        VirtAddr::of_page((self.slots[mapping.index()] * STRIDE) as u64)
    }

    /// So many groups of a mapping, from that of `first`.
    fn groups(&self, mapping: MappingId, first: usize, pages: usize) -> AddrRange {
        let begin = self.spread.group_start(first);
        let end = self.spread.group_start(first + pages);
        let start = self.start(mapping).add_pages(begin as u64);
        AddrRange::pages(start, (end - begin) as u64)
    }

    /// All of a mapping.
    pub(super) fn whole(&self, mapping: MappingId) -> AddrRange {
        self.groups(mapping, 0, self.scenario.pages(mapping))
    }

    pub(super) fn range(&self, range: MappingRange) -> AddrRange {
        let (first, pages) = self.scenario.pages_of(range);
        self.groups(range.mapping, first, pages)
    }

    pub(super) fn group(&self, page: MappingPage) -> AddrRange {
        self.groups(page.mapping, page.page, 1)
    }

    /// The page that represents a group.
    pub(super) fn representative(&self, page: MappingPage) -> VirtAddr {
        let number = self.spread.representative(page.page);
        self.start(page.mapping).add_pages(number as u64)
    }
}
