//! Files on a disk: who writes them, and when that is on the disk.

use std::fs::File;
use std::os::fd::IntoRawFd;
use std::sync::atomic::Ordering::Relaxed;

use pagefold_litmus::{ObjectId, ObjectKind, ObjectPage};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::Who;
use crate::geometry::MAX_PAGES;
use crate::sys::disk;
use crate::sys::memory::PAGE;

impl Who<'_> {
    /// Opens a file for writing. Whoever writes to it later may be another process, so it is noted for all.
    pub(super) fn open_write(self, file: ObjectId) -> Result<(), Errno> {
        let opened = disk::reopen(self.object(file), OFlags::RDWR)?;
        self.context.writers[file.index()].put(opened.into_raw_fd());
        self.context.board.writers[file.index()].fetch_add(1, Relaxed);
        Ok(())
    }

    /// Closes a file that this process has opened.
    pub(super) fn close_write(self, file: ObjectId) -> Result<(), Errno> {
        if !self.context.writers[file.index()].close() {
            return Err(Errno::BADF);
        }
        self.context.board.writers[file.index()].fetch_sub(1, Relaxed);
        Ok(())
    }

    /// Writes the pages of a group, if somebody has the file open for that.
    pub(super) fn write(self, page: ObjectPage, word: u64) -> Result<(), Errno> {
        if self.context.board.writers[page.object.index()].load(Relaxed) == 0 {
            return Err(Errno::BADF);
        }
        let file = disk::reopen(self.object(page.object), OFlags::RDWR)?;
        let (start, bytes) = self.group_of_object(page);
        disk::write_pages(&file, start, bytes, word)
    }

    pub(super) fn fsync(self, file: ObjectId) -> Result<(), Errno> {
        rustix::fs::fsync(self.object(file))
    }

    pub(super) fn truncate(self, object: ObjectId, pages: u64) -> Result<(), Errno> {
        let pages = usize::try_from(pages).map_err(|_| Errno::INVAL)?;
        if pages > MAX_PAGES {
            return Err(Errno::INVAL);
        }
        let bytes = self.context.board.spread.bytes(pages) as u64;
        self.with_writable(object, |file| rustix::fs::ftruncate(file, bytes))
    }

    pub(super) fn punch(self, page: ObjectPage) -> Result<(), Errno> {
        let (start, bytes) = self.group_of_object(page);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.with_writable(page.object, |file| {
            rustix::fs::fallocate(file, flags, start as u64, bytes as u64)
        })
    }

    /// Memory files are open for writing anyway, others are for the time of a call.
    fn with_writable(
        self,
        object: ObjectId,
        call: impl FnOnce(&File) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        match self.context.program.scenario[object].kind {
            ObjectKind::Shmem => call(self.object(object)),
            ObjectKind::File => call(&disk::reopen(self.object(object), OFlags::RDWR)?),
        }
    }

    fn object(&self, object: ObjectId) -> &File {
        &self.context.files[object.index()]
    }

    /// Where the group of a page begins in its object, and how many bytes it has.
    fn group_of_object(self, page: ObjectPage) -> (usize, usize) {
        let spread = &self.context.board.spread;
        let start = spread.group_start(page.page) * PAGE;
        (start, spread.group_start(page.page + 1) * PAGE - start)
    }
}
