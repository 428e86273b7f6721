//! What a process does with its userfaultfd.

use pagefold::platform::Word;
use pagefold::userfault::{self, Event, Features, Message, Modes, UffdError, Userfaultfd};
use pagefold_explore as explore;
use pagefold_litmus::{
    MappingId, MappingPage, MappingRange, Protection, Symbol, UffdMode, UffdModes, Value,
};

use super::{Session, Who, status};
use crate::model::world::World;

/// Tries of an answer, each of which somebody else may be in the way of, before it waits for somebody else.
const TRIES: u32 = 4;

/// The accesses that are events.
pub(in crate::model::check) fn events(modes: UffdModes) -> Modes {
    Modes {
        missing: modes.has(UffdMode::Missing),
        minor: modes.has(UffdMode::Minor),
        wp: modes.has(UffdMode::Wp),
    }
}

/// What else a userfaultfd with these modes does.
pub(in crate::model::check) fn features(modes: UffdModes) -> Features {
    Features {
        sigbus: modes.has(UffdMode::Sigbus),
        wp_async: modes.has(UffdMode::WpAsync),
        changes: modes.has(UffdMode::Changes),
    }
}

impl Session<'_> {
    pub(super) fn uffd_register(
        &self,
        who: Who<'_>,
        mapping: MappingId,
        modes: UffdModes,
    ) -> Value {
        let userfaultfd = Userfaultfd::new(features(modes));
        let modes = events(modes);
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

    pub(super) fn uffdio_continue(&self, who: Who<'_>, page: MappingPage) -> Value {
        uffd(userfault::continue_page(
            self.mm_of(who, page.mapping),
            self.addr(page),
        ))
    }

    pub(super) fn uffdio_move(&self, who: Who<'_>, to: MappingRange, from: MappingRange) -> Value {
        let (new, old) = (self.range(to), self.range(from));
        if new.end.page() - new.start.page() != old.end.page() - old.start.page() {
            return Symbol::EINVAL.into();
        }
        uffd(userfault::move_pages(
            self.mm_of(who, from.mapping),
            new.start,
            old,
        ))
    }

    /// The page of the next event.
    pub(super) fn uffd_read(&self, who: Who<'_>, mapping: MappingId) -> Value {
        let Some(userfaultfd) = who.machine.userfaultfds[mapping.index()] else {
            return Symbol::EINVAL.into();
        };
        match userfaultfd.read() {
            Some(message) => Value::Number(self.page_of(mapping, message)),
            None => Symbol::EINTR.into(),
        }
    }

    /// As [`uffd_read`](Self::uffd_read), and does what a monitor does then. A change of the layout needs no answer.
    pub(super) fn uffd_answer(&self, who: Who<'_>, mapping: MappingId, value: u64) -> Value {
        let Some(userfaultfd) = who.machine.userfaultfds[mapping.index()] else {
            return Symbol::EINVAL.into();
        };
        let Some(message) = userfaultfd.read() else {
            return Symbol::EINTR.into();
        };
        let page = MappingPage {
            mapping,
            page: self.page_of(mapping, message) as usize,
        };
        explore::note(|| format!("{:?} of page {}", message.event, page.page));
        let answer = || match message.event {
            Event::Missing => self.uffdio_copy(who, page, value),
            Event::Minor => self.uffdio_continue(who, page),
            Event::WriteProtected => self.uffdio_writeprotect(who, page, Protection::Unprotect),
            Event::Remove | Event::Unmap => Value::SUCCESS,
        };
        let mut tries = 0;
        while answer() == Symbol::EAGAIN.into() {
            tries += 1;
            if tries == TRIES {
                // Nothing comes of trying again before something has changed.
                explore::hint::relax();
                tries = 0;
            }
        }
        Value::Number(page.page as u64)
    }

    fn page_of(&self, mapping: MappingId, message: Message) -> u64 {
        message.range.start.page() - self.plan.layout.range(mapping).start.page()
    }

    pub(super) fn uffd_close(&self, who: Who<'_>, mapping: MappingId) -> Value {
        let Some(userfaultfd) = who.machine.userfaultfds[mapping.index()] else {
            return Symbol::EINVAL.into();
        };
        userfault::close(self.mm_of(who, mapping), userfaultfd);
        Value::SUCCESS
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
