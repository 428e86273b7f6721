//! Where the pages of a scenario are in an address space of the engine.

use pagefold::addr::{AddrRange, VirtAddr};
use pagefold_litmus::{Limit, MappingId, MappingPage, MappingRange};

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

    /// So many small pages that `pages` groups of a huge page are within the limit, and one more never is.
    pub(super) fn limit(&self, limit: Limit, usual: u64) -> usize {
        let pages =
            (0..self.scenario.mappings.len()).map(|id| self.scenario.pages(MappingId::new(id)));
        let used = pages.max().unwrap_or(0).next_multiple_of(HALVES);
        let sizes =
            (0..used).map(|page| self.spread.group_start(page + 1) - self.spread.group_start(page));
        match limit.0.unwrap_or(usual) {
            0 => sizes.min().map_or(0, |smallest| smallest - 1),
            1 => sizes.max().unwrap_or(0),
            _ => PTRS_PER_TABLE,
        }
    }
}
