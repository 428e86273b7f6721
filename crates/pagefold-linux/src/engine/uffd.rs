//! userfaultfd: registrations, and requests that fill pages.

use pagefold::Ref;
use pagefold::addr::VirtAddr;
use pagefold::mm::Mm;
use pagefold::userfault::{self, Features, Modes, UffdError, Userfaultfd};
use pagefold_litmus::{MappingId, MappingPage, MappingRange, Protection, UffdMode, UffdModes};
use pagefold_machine::host::Host;

use super::Engine;
use super::calls::status;
use super::memory::write_frame;
use crate::report::Seen;

fn uffd(result: Result<(), UffdError>) -> Seen {
    status(result.map_err(UffdError::errno))
}

impl Engine<'_> {
    /// Registers a mapping with a new userfaultfd; what it had before is closed.
    pub(super) fn register(&mut self, id: MappingId, modes: UffdModes) -> Seen {
        self.uffd_close(id);
        let features = Features {
            sigbus: modes.has(UffdMode::Sigbus),
            wp_async: modes.has(UffdMode::WpAsync),
            changes: modes.has(UffdMode::Changes),
            fork: modes.has(UffdMode::EventFork),
            remap: modes.has(UffdMode::EventRemap),
        };
        let events = Modes {
            missing: modes.has(UffdMode::Missing),
            minor: modes.has(UffdMode::Minor),
            wp: modes.has(UffdMode::Wp),
        };
        let mm = self.mm_of(id);
        let userfaultfd = Userfaultfd::new(mm, features);
        self.opened.push(userfaultfd);
        self.userfaultfds[id.index()] = Some(userfaultfd);
        uffd(userfault::register(mm, self.whole(id), userfaultfd, events))
    }

    pub(super) fn unregister(&self, id: MappingId) -> Seen {
        uffd(userfault::unregister(self.mm_of(id), self.whole(id)))
    }

    pub(super) fn uffd_close(&mut self, id: MappingId) -> Seen {
        if let Some(closed) = self.userfaultfds[id.index()].take() {
            userfault::close(self.mm_of(id), closed);
        }
        Seen::Number(0)
    }

    pub(super) fn uffd_copy(&mut self, page: MappingPage, value: u64, protect: bool) -> Seen {
        self.fill(page, |mm, addr| {
            userfault::copy(mm, addr, protect, |pfn| write_frame(pfn, value))
        })
    }

    /// Something that fills a page: first the representative, which says how it went, then the rest of its group.
    pub(super) fn fill(
        &mut self,
        page: MappingPage,
        request: impl Fn(Ref<Host, Mm<Host>>, VirtAddr) -> Result<(), UffdError>,
    ) -> Seen {
        let mm = self.mm_of(page.mapping);
        if let Err(error) = request(mm, self.representative(page)) {
            return uffd(Err(error));
        }
        for addr in self.others(page) {
            let other = uffd(request(mm, addr));
            self.compare(page, addr, &Seen::Number(0), &other);
        }
        Seen::Number(0)
    }

    /// One request for the whole group.
    pub(super) fn writeprotect(&self, page: MappingPage, to: Protection) -> Seen {
        let mm = self.mm_of(page.mapping);
        let protect = to == Protection::Protect;
        let mut pages = self.group(page).each_page();
        uffd(pages.try_for_each(|addr| userfault::writeprotect(mm, addr, protect)))
    }

    /// Moves pages. Those of one page of the scenario begin with the representative; more are moved by one request, so that huge
    /// pages stay whole.
    pub(super) fn move_pages(&mut self, to: MappingRange, from: MappingRange, holes: bool) -> Seen {
        let (new, old) = (self.range(to), self.range(from));
        let ((first, pages), mm) = (self.scenario.pages_of(to), self.mm_of(from.mapping));
        if pages > 1 {
            return uffd(userfault::move_pages(mm, new.start, old, holes));
        }
        let page = MappingPage {
            mapping: to.mapping,
            page: first,
        };
        self.fill(page, |mm, addr| {
            let source = old.start.add_pages(addr.page() - new.start.page());
            let source = pagefold::addr::AddrRange::pages(source, 1);
            userfault::move_pages(mm, addr, source, holes)
        })
    }
}
