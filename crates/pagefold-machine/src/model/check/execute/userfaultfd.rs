//! What a process does with its userfaultfd.

use pagefold::Ref;
use pagefold::platform::Word;
use pagefold::userfault::{self, Event, Features, Message, Modes, UffdError, Userfaultfd};
use pagefold_explore as explore;
use pagefold_litmus::{
    Created, MappingId, MappingPage, MappingRange, MmId, ProtectNew, Protection, SkipHoles, Symbol,
    UffdMode, UffdModes, Value,
};

use super::{Session, Who, status};
use crate::model::Model;
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
        fork: modes.has(UffdMode::EventFork),
        remap: modes.has(UffdMode::EventRemap),
    }
}

impl Session<'_> {
    pub(super) fn uffd_register(
        &self,
        who: Who<'_>,
        mapping: MappingId,
        modes: UffdModes,
    ) -> Value {
        let mm = self.mm_of(who, mapping);
        let userfaultfd = Userfaultfd::new(mm, features(modes));
        let modes = events(modes);
        let range = self.plan.layout.range(mapping);
        uffd(userfault::register(mm, range, userfaultfd, modes))
    }

    pub(super) fn uffd_unregister(&self, who: Who<'_>, mapping: MappingId) -> Value {
        let range = self.plan.layout.range(mapping);
        uffd(userfault::unregister(self.mm_of(who, mapping), range))
    }

    pub(super) fn uffdio_copy(
        &self,
        who: Who<'_>,
        page: MappingPage,
        value: u64,
        mode: ProtectNew,
    ) -> Value {
        let fill = |pfn| {
            explore::label(|| format!("copy from user: {value}"));
            World::current().content(pfn).write_once(value);
        };
        uffd(userfault::copy(
            self.mm_of(who, page.mapping),
            self.addr(page),
            mode.0,
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

    pub(super) fn uffdio_continue(
        &self,
        who: Who<'_>,
        page: MappingPage,
        mode: ProtectNew,
    ) -> Value {
        uffd(userfault::continue_page(
            self.mm_of(who, page.mapping),
            self.addr(page),
            mode.0,
        ))
    }

    pub(super) fn uffdio_move(
        &self,
        who: Who<'_>,
        to: MappingRange,
        from: MappingRange,
        mode: SkipHoles,
    ) -> Value {
        let (new, old) = (self.range(to), self.range(from));
        if new.end.page() - new.start.page() != old.end.page() - old.start.page() {
            return Symbol::EINVAL.into();
        }
        uffd(userfault::move_pages(
            self.mm_of(who, from.mapping),
            new.start,
            old,
            mode.0,
        ))
    }

    /// The page of the next event.
    pub(super) fn uffd_read(&self, who: Who<'_>, mapping: MappingId) -> Value {
        match self.read_message(who, mapping) {
            Ok((_, page)) => Value::Number(page.page as u64),
            Err(symbol) => symbol.into(),
        }
    }

    /// The next event, and the page that it begins with, which may be one of another mapping by now.
    fn read_message(
        &self,
        who: Who<'_>,
        mapping: MappingId,
    ) -> Result<(Message<Model>, MappingPage), Symbol> {
        let userfaultfd = self.userfaultfd(who, mapping).ok_or(Symbol::EINVAL)?;
        let message = userfaultfd.read().ok_or(Symbol::EINTR)?;
        let page = self
            .plan
            .layout
            .page_at(self.plan.scenario, mapping, message.range.start);
        explore::note(|| {
            let name = &self.plan.scenario[page.mapping].name;
            format!("{:?} of {name}[{}]", message.event, page.page)
        });
        if let Some(child) = message.child {
            self.note_child(mapping, child);
        }
        Ok((message, page))
    }

    /// The userfaultfd that a mapping has from the start, or by a fork that its parent's monitor has read of.
    fn userfaultfd(
        &self,
        who: Who<'_>,
        mapping: MappingId,
    ) -> Option<Ref<Model, Userfaultfd<Model>>> {
        let forked = || World::current().forked_userfaultfds[mapping.index()].get();
        who.machine.userfaultfds[mapping.index()].or_else(forked)
    }

    /// A child has its own userfaultfd for what its parent calls `mapping`. Its threads begin after that.
    fn note_child(&self, mapping: MappingId, child: Ref<Model, Userfaultfd<Model>>) {
        let scenario = self.plan.scenario;
        let mut mappings = scenario.mappings_of(MmId::new(child.mm.id as usize));
        if let Some((copy, _)) = mappings.find(|(_, copy)| copy.created == Created::Fork(mapping)) {
            World::current().forked_userfaultfds[copy.index()].set(Some(child));
        }
    }

    /// As [`uffd_read`](Self::uffd_read), and does what a monitor does then. A change of the layout needs no answer.
    pub(super) fn uffd_answer(&self, who: Who<'_>, mapping: MappingId, value: u64) -> Value {
        let (message, page) = match self.read_message(who, mapping) {
            Ok(read) => read,
            Err(symbol) => return symbol.into(),
        };
        let answer = || match message.event {
            Event::Missing => self.uffdio_copy(who, page, value, ProtectNew(false)),
            Event::Minor => self.uffdio_continue(who, page, ProtectNew(false)),
            Event::WriteProtected => self.uffdio_writeprotect(who, page, Protection::Unprotect),
            Event::Remove | Event::Unmap | Event::Fork | Event::Remap(_) => Value::SUCCESS,
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

    pub(super) fn uffd_close(&self, who: Who<'_>, mapping: MappingId) -> Value {
        let Some(userfaultfd) = self.userfaultfd(who, mapping) else {
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
