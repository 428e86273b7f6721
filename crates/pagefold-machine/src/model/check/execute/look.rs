//! Calls that change nothing: what is mapped, and how.

use pagefold::accounting::PageKind;
use pagefold::addr::PageIndex;
use pagefold::arch::{Marker, Pte};
use pagefold::rmap;
use pagefold_litmus::{MappingId, MappingPage, ObjectPage, Symbol, Value};

use super::{Session, Who, flag};
use crate::model::cpu;
use crate::model::oracle;
use crate::model::world::World;

impl Session<'_> {
    pub(super) fn prefetch(&self, who: Who<'_>, page: MappingPage) -> Value {
        if let Some(cpu) = who.cpu {
            let mm = self.mm_of(who, page.mapping);
            cpu::prefetch(&World::current().cpus[cpu], mm, self.addr(page));
        }
        Value::SUCCESS
    }

    pub(super) fn rmap_walk(&self, who: Who<'_>, page: ObjectPage) -> Value {
        let object = who.machine.object(page.object);
        Value::Number(rmap::rmap_walk(object, PageIndex(page.page as u64)) as u64)
    }

    pub(super) fn rmap_walk_anon(&self, who: Who<'_>, page: MappingPage) -> Value {
        let found = rmap::rmap_walk_anon(self.mm_of(who, page.mapping), self.addr(page));
        found.map_or(Symbol::ENOENT.into(), |found| Value::Number(found as u64))
    }

    pub(super) fn page_table(&self, who: Who<'_>, mapping: MappingId) -> Value {
        let (table, _) = self.entry(who, mapping, 0);
        flag(table)
    }

    pub(super) fn pmd_mapped(&self, who: Who<'_>, mapping: MappingId) -> Value {
        let (table, pte) = self.entry(who, mapping, 0);
        flag(!table && pte.is_present())
    }

    pub(super) fn uffd_wp(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (_, pte) = self.entry(who, page.mapping, page.page);
        flag(
            pte.is_uffd_wp()
                || pte.as_marker() == Some(Marker::UffdWp)
                || pte.as_swap().is_some_and(|swap| swap.uffd_wp),
        )
    }

    pub(super) fn swapped(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (_, pte) = self.entry(who, page.mapping, page.page);
        flag(pte.as_swap().is_some())
    }

    pub(super) fn rss(&self, who: Who<'_>) -> Value {
        let pages = who.actor.mm().map_or(0, |id| {
            let mm = who.machine.mm(id);
            mm.rss(PageKind::Shmem).peek() + mm.rss(PageKind::Anon).peek()
        });
        Value::Number(pages.unsigned_abs())
    }

    /// Whether there is a table of small-page entries, and the entry of a page.
    fn entry(&self, who: Who<'_>, mapping: MappingId, page: usize) -> (bool, Pte) {
        let addr = self.plan.layout.range(mapping).start.add_pages(page as u64);
        let (table, pte) = oracle::entry_of(self.mm_of(who, mapping), addr);
        (table.is_some(), pte)
    }
}
