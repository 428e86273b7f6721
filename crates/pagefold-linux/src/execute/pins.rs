//! Pages that somebody has a reference to, by system calls that look for them without locks first: for the time of one, or until it is let go.

use std::sync::atomic::Ordering::Relaxed;

use pagefold_litmus::{Hold, MappingPage};
use rustix::io::Errno;

use super::Who;
use crate::sys::disk::Sectors;
use crate::sys::held::Held;
use crate::sys::pipe;

impl Who<'_> {
    /// Reads by a pin that a write past the page cache takes.
    pub(super) fn gup_fast(self, page: MappingPage) -> Result<u64, Errno> {
        let (sectors, sector) = self.sector()?;
        sectors.read_pinned(sector, self.address(page))
    }

    /// Writes by a pin that a read past the page cache takes.
    pub(super) fn gup_fast_write(self, page: MappingPage, word: u64) -> Result<(), Errno> {
        let (sectors, sector) = self.sector()?;
        sectors.write_pinned(sector, self.address(page), word)
    }

    pub(super) fn vmsplice(self, page: MappingPage) -> Result<u64, Errno> {
        pipe::read(pipe::hold(self.address(page))?)
    }

    pub(super) fn hold(self, page: MappingPage, how: Hold) -> Result<(), Errno> {
        let (held, address) = (self.held(page), self.address(page));
        match how {
            Hold::Reference => held.get(address),
            Hold::WritePin => held.pin(address),
            Hold::ReadPin => unreachable!("`Program` refuses it"),
        }
    }

    pub(super) fn read_held(self, page: MappingPage) -> Result<u64, Errno> {
        self.held(page).read(self.address(page))
    }

    pub(super) fn write_held(self, page: MappingPage, word: u64) -> Result<(), Errno> {
        self.held(page).write(self.address(page), word)
    }

    pub(super) fn let_go(self, page: MappingPage) -> Result<(), Errno> {
        self.held(page).let_go()
    }

    fn held(&self, page: MappingPage) -> &Held {
        self.context.held(page)
    }

    /// A sector that nobody else uses in this iteration.
    fn sector(&self) -> Result<(&Sectors, u32), Errno> {
        let sectors = self.context.sectors.ok_or(Errno::OPNOTSUPP)?;
        Ok((sectors, self.context.board.sectors.fetch_add(1, Relaxed)))
    }
}
