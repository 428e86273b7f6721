//! Pages that somebody has a reference to, by system calls that look for them without locks first.

use std::sync::atomic::Ordering::Relaxed;

use pagefold_litmus::MappingPage;
use rustix::io::Errno;

use super::Who;
use crate::sys::disk::{self, Sectors};

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
        disk::read_by_pipe(self.address(page))
    }

    /// A sector that nobody else uses in this iteration.
    fn sector(&self) -> Result<(&Sectors, u32), Errno> {
        let sectors = self.context.sectors.ok_or(Errno::OPNOTSUPP)?;
        Ok((sectors, self.context.board.sectors.fetch_add(1, Relaxed)))
    }
}
