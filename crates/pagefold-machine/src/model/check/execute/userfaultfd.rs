//! What a process does with its userfaultfd.

use pagefold::handle::Ref;
use pagefold::mm::Mm;
use pagefold::mmap;
use pagefold::platform::Word;
use pagefold::userfault::{self, Modes, UffdError, Userfaultfd};
use pagefold_explore as explore;
use pagefold_litmus::{MappingId, MappingPage, Protection, Symbol, UffdModes, Value};

use super::{Session, Who, status};
use crate::model::Model;
use crate::model::world::World;

/// A request by who has the file and is no thread of the process: that may be going away.
pub(super) fn from_outside(mm: Ref<Model, Mm<Model>>, request: impl FnOnce() -> Value) -> Value {
    if !mmap::mmget_not_zero(mm) {
        return Symbol::ESRCH.into();
    }
    let value = request();
    mmap::exit_mm(mm);
    value
}

impl Session<'_> {
    pub(super) fn uffd_register(
        &self,
        who: Who<'_>,
        mapping: MappingId,
        modes: UffdModes,
    ) -> Value {
        let userfaultfd = Userfaultfd::new(modes.sigbus);
        let modes = Modes {
            missing: modes.missing,
            wp: modes.wp,
        };
        let addr = self.plan.layout.range(mapping).start;
        uffd(userfault::register(
            self.mm_of(who, mapping),
            addr,
            userfaultfd,
            modes,
        ))
    }

    pub(super) fn uffd_unregister(&self, who: Who<'_>, mapping: MappingId) -> Value {
        let addr = self.plan.layout.range(mapping).start;
        uffd(userfault::unregister(self.mm_of(who, mapping), addr))
    }

    pub(super) fn uffdio_copy(&self, who: Who<'_>, page: MappingPage, value: u64) -> Value {
        let fill = |pfn| {
            explore::label(|| format!("copy from user: {value}"));
            World::current().content(pfn).write_once(value);
        };
        uffd(userfault::copy(
            self.mm_of(who, page.mapping),
            self.addr(page),
            fill,
        ))
    }

    pub(super) fn uffdio_zeropage(&self, who: Who<'_>, page: MappingPage) -> Value {
        uffd(userfault::zeropage(
            self.mm_of(who, page.mapping),
            self.addr(page),
        ))
    }

    pub(super) fn uffdio_writeprotect(
        &self,
        who: Who<'_>,
        page: MappingPage,
        to: Protection,
    ) -> Value {
        uffd(userfault::writeprotect(
            self.mm_of(who, page.mapping),
            self.addr(page),
            to == Protection::Protect,
        ))
    }

    pub(super) fn uffdio_poison(&self, who: Who<'_>, page: MappingPage) -> Value {
        uffd(userfault::poison(
            self.mm_of(who, page.mapping),
            self.addr(page),
        ))
    }
}

fn uffd(result: Result<(), UffdError>) -> Value {
    status(result.map_err(UffdError::errno))
}
