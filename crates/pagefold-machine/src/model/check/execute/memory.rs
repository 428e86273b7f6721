//! System calls that change an address space.

use pagefold::{madvise, mmap};
use pagefold_litmus::{Advice, MappingPage, MappingRange, Value};

use super::{Session, Who, collapse, flag, status, symbol};

impl Session<'_> {
    pub(super) fn madvise(&self, who: Who<'_>, pages: MappingRange, advice: Advice) -> Value {
        let mm = self.mm_of(who, pages.mapping);
        let range = self.range(pages);
        match advice {
            Advice::Collapse => collapse::madvise_collapse(mm, range),
            Advice::DontNeed => status(madvise::dontneed(mm, range).map_err(|error| error.errno())),
            Advice::GuardInstall => {
                status(madvise::guard_install(mm, range).map_err(|error| error.errno()))
            }
            Advice::GuardRemove => {
                status(madvise::guard_remove(mm, range).map_err(|error| error.errno()))
            }
        }
    }

    pub(super) fn munmap(&self, who: Who<'_>, pages: MappingRange) -> Value {
        let result = mmap::munmap(self.mm_of(who, pages.mapping), self.range(pages));
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
