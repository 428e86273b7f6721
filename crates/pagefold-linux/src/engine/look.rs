//! What `final` looks at: the engine's page tables and its books.

use pagefold::accounting::PageKind;
use pagefold::addr::Pfn;
use pagefold::arch::{Format, Marker, PMD_LEVEL, PTE_LEVEL, Pte};
use pagefold::mm::Mm;
use pagefold::platform::{Counter, Platform, Word};
use pagefold::{Ref, is_zero_page};
use pagefold_litmus::{MappingId, MappingPage, MmId};
use pagefold_machine::host::{Host, HostFormat, PTRS_PER_TABLE};

use super::Engine;
use crate::report::Seen;

/// What the upper entry of an address says.
#[derive(Clone, Copy)]
pub(super) enum Upper {
    /// There is no table.
    Nothing,
    /// A table of small pages.
    Table(Pfn),
    /// A huge page.
    Huge(Pte),
}

impl Upper {
    pub(super) fn of(mm: Ref<Host, Mm<Host>>, page: usize) -> Self {
        let mut table = mm.root();
        for level in (PMD_LEVEL..HostFormat::levels()).rev() {
            let pte = read(table, page, level);
            if pte.is_huge() {
                return Self::Huge(pte);
            }
            if !pte.is_table() {
                return Self::Nothing;
            }
            table = pte.pfn();
        }
        Self::Table(table)
    }

    /// The entry of a page that it serves; that of a huge page as if it were of the small one.
    pub(super) fn entry(self, page: usize) -> Pte {
        match self {
            Self::Nothing => Pte::NONE,
            Self::Table(table) => read(table, page, PTE_LEVEL),
            Self::Huge(pte) => pte.piece(page % PTRS_PER_TABLE),
        }
    }
}

/// The entry for a page in a table of a level.
fn read(table: Pfn, page: usize, level: u32) -> Pte {
    let index = page / PTRS_PER_TABLE.pow(level) % PTRS_PER_TABLE;
    HostFormat::decode(Host::entry(table, index).read_once(), level)
}

/// Whether an entry maps a page that is counted.
fn is_counted(pte: Pte) -> bool {
    pte.is_present() && !is_zero_page::<Host>(pte.pfn())
}

impl Engine<'_> {
    fn upper(&self, page: MappingPage) -> Upper {
        let addr = self.representative(page);
        Upper::of(self.mm_of(page.mapping), addr.page() as usize)
    }

    pub(super) fn entry(&self, page: MappingPage) -> Pte {
        let addr = self.representative(page);
        self.upper(page).entry(addr.page() as usize)
    }

    pub(super) fn page_table(&self, mapping: MappingId) -> bool {
        let upper = self.upper(MappingPage { mapping, page: 0 });
        matches!(upper, Upper::Table(_))
    }

    pub(super) fn pmd_mapped(&self, mapping: MappingId) -> bool {
        let upper = self.upper(MappingPage { mapping, page: 0 });
        matches!(upper, Upper::Huge(pte) if pte.is_present())
    }

    pub(super) fn uffd_wp(&self, page: MappingPage) -> bool {
        let pte = self.entry(page);
        pte.is_uffd_wp()
            || pte.as_marker() == Some(Marker::UffdWp)
            || pte.as_swap().is_some_and(|swap| swap.uffd_wp)
    }

    pub(super) fn swapped(&self, page: MappingPage) -> bool {
        self.entry(page).as_swap().is_some()
    }

    /// The representatives that are mapped to something of their own; unless the books do not agree with the page tables.
    pub(super) fn rss(&self, id: MmId) -> Seen {
        let mm = self.mm(id);
        let (mut represented, mut mapped) = (0, 0);
        for (mapping, _) in self.scenario.mappings_of(id) {
            for page in 0..self.scenario.pages(mapping) {
                let page = MappingPage { mapping, page };
                represented += u64::from(is_counted(self.entry(page)));
                let group = self.group(page).each_page();
                mapped += group
                    .map(|addr| addr.page() as usize)
                    .filter(|page| is_counted(Upper::of(mm, *page).entry(*page)))
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
