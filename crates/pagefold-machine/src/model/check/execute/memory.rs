//! System calls that change an address space.

use pagefold::{madvise, mmap};
use pagefold_litmus::{Advice, MappingId, MappingPage, Value};

use super::{Session, Who, flag, status, symbol};

impl Session<'_> {
    pub(super) fn madvise(&self, who: Who<'_>, mapping: MappingId, advice: Advice) -> Value {
        let mm = self.mm_of(who, mapping);
        let range = self.plan.layout.range(mapping);
        match advice {
            Advice::Collapse => self.madvise_collapse(who, mapping),
            Advice::DontNeed => status(madvise::dontneed(mm, range).map_err(|error| error.errno())),
        }
    }

    pub(super) fn munmap(&self, who: Who<'_>, mapping: MappingId) -> Value {
        let result = mmap::munmap(self.mm_of(who, mapping), self.plan.layout.range(mapping));
        status(result.map_err(|error| error.errno()))
    }

    pub(super) fn mincore(&self, who: Who<'_>, page: MappingPage) -> Value {
        let mapping = &self.plan.scenario[page.mapping];
        let mm = who.machine.mm(mapping.mm);
        let addr = self.addr(page);
        match mmap::mincore(mm, addr) {
            Ok(cached) => flag(cached),
            Err(error) => symbol(error.errno()),
        }
    }
}
