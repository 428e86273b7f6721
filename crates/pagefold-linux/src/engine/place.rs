//! Where the pages of a scenario are in an address space of the engine: where they are in a real one.

use pagefold::Ref;
use pagefold::addr::{AddrRange, PageIndex, VirtAddr};
use pagefold::mm::Mm;
use pagefold::page_cache::Mapping;
use pagefold_litmus::{MappingId, MappingPage, MappingRange, MmId, ObjectId, ObjectPage};
use pagefold_machine::host::Host;

use super::Engine;
use crate::sys::memory::{PAGE, Pages};

fn range_of(pages: Pages) -> AddrRange {
    let start = VirtAddr(pages.start.get() as u64);
    AddrRange::pages(start, (pages.bytes / PAGE) as u64)
}

impl Engine<'_> {
    pub(super) fn mm(&self, id: MmId) -> Ref<Host, Mm<Host>> {
        self.processes[id.index()].mm
    }

    pub(super) fn mm_of(&self, mapping: MappingId) -> Ref<Host, Mm<Host>> {
        self.mm(self.scenario[mapping].mm)
    }

    pub(super) fn object(&self, id: ObjectId) -> Ref<Host, Mapping<Host>> {
        self.objects[id.index()]
    }

    fn groups(&self, mapping: MappingId, first: usize, pages: usize) -> AddrRange {
        let slot = self.slots[mapping.index()];
        range_of(self.spread.range(slot, first, pages))
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
        let slot = self.slots[page.mapping.index()];
        VirtAddr(self.spread.address(slot, page.page).get() as u64)
    }

    /// The others of its group.
    pub(super) fn others(&self, page: MappingPage) -> impl Iterator<Item = VirtAddr> + use<> {
        let representative = self.representative(page);
        let group = self.group(page);
        group
            .each_page()
            .filter(move |addr| *addr != representative)
    }

    /// The pages of an object that a page of the scenario stands for.
    pub(super) fn indices(&self, page: ObjectPage) -> impl Iterator<Item = PageIndex> + use<> {
        let range = self.spread.group_start(page.page)..self.spread.group_start(page.page + 1);
        range.map(|index| PageIndex(index as u64))
    }
}
