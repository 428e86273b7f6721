//! Pages that come by a request of userfaultfd.

use std::sync::atomic::Ordering::Relaxed;

use pagefold_litmus::{MappingPage, MappingRange};
use rustix::io::Errno;

use super::Who;
use crate::sys::memory::{PAGE, Pages};
use crate::sys::uffd::Userfaultfd;
use crate::worker::Context;

impl<'c> Who<'c> {
    /// Something that fills a page: first the representative, which says how it went, then the rest of its group.
    pub(super) fn fill(
        self,
        page: MappingPage,
        request: impl Fn(&Userfaultfd, Pages) -> Result<(), (Errno, usize)>,
    ) -> Result<(), Errno> {
        let uffd = self.uffd(page.mapping.index());
        let address = self.address(page);
        request(uffd, Pages::one(address)).map_err(|(error, _)| error)?;
        self.fill_others(page, |pages| request(uffd, pages));
        Ok(())
    }

    /// The rest of the group of a page, as far as it goes.
    pub(super) fn fill_others(
        self,
        page: MappingPage,
        request: impl Fn(Pages) -> Result<(), (Errno, usize)>,
    ) {
        for part in self.others(page) {
            let mut done = 0;
            while done < part.bytes {
                let rest = Pages::new(part.start.add(done), part.bytes - done);
                match request(rest) {
                    Ok(()) => break,
                    // The page where it stopped has something in it, or somebody is in the way.
                    Err((_, bytes)) => done += bytes + PAGE,
                }
            }
        }
    }

    /// Moves pages. Those of one page of the scenario begin with the representative, which says how it went; more are moved by one
    /// request, so that huge pages stay whole.
    pub(super) fn move_pages(
        self,
        to: MappingRange,
        from: MappingRange,
        skip_holes: bool,
    ) -> Result<(), Errno> {
        let scenario = self.context.program.scenario;
        let uffd = self.uffd(to.mapping.index());
        let ((new, pages), (old, _)) = (scenario.pages_of(to), scenario.pages_of(from));
        if pages > 1 {
            let moved = uffd.move_pages(self.range(to), self.range(from), skip_holes);
            return moved.map_err(|(error, bytes)| {
                // Others came into the middle of a group, of which the model has one page.
                if !self.context.board.spread.is_border(new, pages, bytes) {
                    self.context.board.disturbed.store(1, Relaxed);
                }
                error
            });
        }
        let new = MappingPage {
            mapping: to.mapping,
            page: new,
        };
        let old = MappingPage {
            mapping: from.mapping,
            page: old,
        };
        let (start, source) = (self.group(new).start, self.group(old).start);
        let same_place = |pages: Pages| {
            let source = source.add(pages.start.get() - start.get());
            uffd.move_pages(pages, Pages::new(source, pages.bytes), skip_holes)
        };
        same_place(Pages::one(self.address(new))).map_err(|(error, _)| error)?;
        self.fill_others(new, same_place);
        Ok(())
    }

    /// A userfaultfd of the address space of a mapping: its own, another one, or else one of this process that nothing is registered
    /// with. Requests ask the mapping for its registration, and do not mind with which userfaultfd.
    pub(super) fn uffd(self, mapping: usize) -> &'c Userfaultfd {
        let Context { program, uffds, .. } = self.context;
        let mm = program.scenario.mappings[mapping].mm;
        let others = program.scenario.mappings_of(mm);
        let others = others.map(|(other, _)| other.index());
        [mapping]
            .into_iter()
            .chain(others)
            .map(|mapping| &uffds[mapping])
            .find(|uffd| uffd.is_open())
            .unwrap_or(&self.context.spare_uffd)
    }
}
