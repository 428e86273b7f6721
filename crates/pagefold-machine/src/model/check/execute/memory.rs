//! System calls that change an address space.

use pagefold::addr::AddrRange;
use pagefold::mprotect::{self, Protection};
use pagefold::{madvise, migrate, mmap, mremap, reclaim};
use pagefold_litmus::{Advice, MappingPage, MappingRange, Permission, Value};

use super::{Session, Who, collapse, flag, status, symbol};

impl Session<'_> {
    pub(super) fn madvise(&self, who: Who<'_>, pages: MappingRange, advice: Advice) -> Value {
        let mm = self.mm_of(who, pages.mapping);
        let range = self.range(pages);
        match advice {
            Advice::Collapse => collapse::madvise_collapse(mm, range),
            Advice::PageOut => {
                reclaim::pageout(mm, range);
                Value::SUCCESS
            }
            Advice::Cold => status(madvise::cold(mm, range).map_err(|error| error.errno())),
            Advice::DontNeed => status(madvise::dontneed(mm, range).map_err(|error| error.errno())),
            Advice::GuardInstall => {
                status(madvise::guard_install(mm, range).map_err(|error| error.errno()))
            }
            Advice::PopulateRead | Advice::PopulateWrite => {
                let write = advice == Advice::PopulateWrite;
                status(madvise::populate(mm, range, write).map_err(|error| error.errno()))
            }
            Advice::HugePage | Advice::NoHugePage => {
                let wanted = advice == Advice::HugePage;
                status(madvise::hugepage(mm, range, wanted).map_err(|error| error.errno()))
            }
            Advice::GuardRemove => {
                status(madvise::guard_remove(mm, range).map_err(|error| error.errno()))
            }
        }
    }

    pub(super) fn reclaim(&self, who: Who<'_>, page: MappingPage) -> Value {
        let range = AddrRange::pages(self.addr(page), 1);
        Value::Number(reclaim::pageout(self.mm_of(who, page.mapping), range) as u64)
    }

    pub(super) fn migrate(&self, who: Who<'_>, page: MappingPage) -> Value {
        flag(migrate::migrate(
            self.mm_of(who, page.mapping),
            self.addr(page),
        ))
    }

    pub(super) fn shrink(&self, who: Who<'_>, page: MappingPage) -> Value {
        let range = AddrRange::pages(self.addr(page), 1);
        Value::Number(reclaim::shrink(self.mm_of(who, page.mapping), range) as u64)
    }

    pub(super) fn munmap(&self, who: Who<'_>, range: MappingRange) -> Value {
        let result = mmap::munmap(self.mm_of(who, range.mapping), self.range(range));
        status(result.map_err(|error| error.errno()))
    }

    pub(super) fn mprotect(
        &self,
        who: Who<'_>,
        range: MappingRange,
        permission: Permission,
    ) -> Value {
        let protection = match permission {
            Permission::None => Protection::None,
            Permission::Read => Protection::Read,
            Permission::ReadWrite => Protection::ReadWrite,
        };
        let mm = self.mm_of(who, range.mapping);
        let result = mprotect::mprotect(mm, self.range(range), protection);
        status(result.map_err(|error| error.errno()))
    }

    pub(super) fn mremap(&self, who: Who<'_>, from: MappingRange, to: MappingRange) -> Value {
        let (old, new) = (self.range(from), self.range(to));
        let result = mremap::mremap(self.mm_of(who, from.mapping), old, new);
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
