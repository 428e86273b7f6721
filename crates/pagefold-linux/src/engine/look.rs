//! What `final` looks at: the engine's page tables and its books.

use pagefold::Ref;
use pagefold::accounting::PageKind;
use pagefold::addr::{Pfn, VirtAddr};
use pagefold::arch::{Format, Marker, PMD_LEVEL, PTE_LEVEL, Pte};
use pagefold::mm::Mm;
use pagefold::platform::{Counter, Platform, Word};
use pagefold_litmus::{MappingId, MappingPage, MmId};
use pagefold_machine::host::{Host, HostFormat, PTRS_PER_TABLE};

use super::Engine;
use crate::report::Seen;

/// The table of small pages that is there for an address, and the entry of the page; that of a huge page as if it were of the small one.
fn entry_at(mm: Ref<Host, Mm<Host>>, addr: VirtAddr) -> (Option<Pfn>, Pte) {
    let page = addr.page() as usize;
    let read = |table, level: u32| {
        let index = page / PTRS_PER_TABLE.pow(level) % PTRS_PER_TABLE;
        HostFormat::decode(Host::entry(table, index).read_once(), level)
    };
    let mut table = mm.root();
    for level in (PMD_LEVEL..HostFormat::levels()).rev() {
        let pte = read(table, level);
        if pte.is_huge() {
            return (None, pte.piece(page % PTRS_PER_TABLE));
        }
        if !pte.is_table() {
            return (None, Pte::NONE);
        }
        table = pte.pfn();
    }
    (Some(table), read(table, PTE_LEVEL))
}

/// Whether an entry maps a page that is counted.
fn is_counted(pte: Pte) -> bool {
    pte.is_present() && pte.pfn() != Host::zero_page()
}

impl Engine<'_> {
    fn entry(&self, page: MappingPage) -> (Option<Pfn>, Pte) {
        let mm = self.processes[self.scenario[page.mapping].mm.index()].mm;
        entry_at(mm, self.representative(page))
    }

    pub(super) fn page_table(&self, mapping: MappingId) -> bool {
        self.entry(MappingPage { mapping, page: 0 }).0.is_some()
    }

    pub(super) fn pmd_mapped(&self, mapping: MappingId) -> bool {
        let (table, pte) = self.entry(MappingPage { mapping, page: 0 });
        table.is_none() && pte.is_present()
    }

    pub(super) fn uffd_wp(&self, page: MappingPage) -> bool {
        let (_, pte) = self.entry(page);
        pte.is_uffd_wp()
            || pte.as_marker() == Some(Marker::UffdWp)
            || pte.as_swap().is_some_and(|swap| swap.uffd_wp)
    }

    pub(super) fn swapped(&self, page: MappingPage) -> bool {
        self.entry(page).1.as_swap().is_some()
    }

    /// The representatives that are mapped to something of their own; unless the books do not agree with the page tables.
    pub(super) fn rss(&self, id: MmId) -> Seen {
        let mm = self.processes[id.index()].mm;
        let (mut represented, mut mapped) = (0, 0);
        for (mapping, _) in self.scenario.mappings_of(id) {
            for page in 0..self.scenario.pages(mapping) {
                let page = MappingPage { mapping, page };
                represented += u64::from(is_counted(self.entry(page).1));
                let group = self.group(page).each_page();
                mapped += group
                    .filter(|addr| is_counted(entry_at(mm, *addr).1))
                    .count();
            }
        }
        let counted = mm.rss(PageKind::Shmem).get() + mm.rss(PageKind::Anon).get();
        if i64::try_from(mapped) == Ok(counted) {
            Seen::Number(represented)
        } else {
            Seen::Word(format!("{mapped} pages mapped, {counted} counted"))
        }
    }
}
