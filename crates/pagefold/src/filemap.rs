//! Files: objects whose content is kept on a disk (Linux: `mm/filemap.c`, `do_dentry_open`).
//!
//! Guarantees: what is written to a file is in its cache, in a dirty folio, until it is on the disk. The cache of a file that is
//! open for writing has no huge folios, as file systems that know nothing of them could not write them back
//! (`CONFIG_READ_ONLY_THP_FOR_FS`): collapse refuses files that are open for writing, and who opens one for writing throws
//! the huge folios out, with all else that is cached.
//!
//! Through a shared mapping a file is read, and written if it was open for that when it was mapped; else a store raises SIGSEGV, and
//! mprotect does not allow it. Stores to a private mapping make private pages, as always. A file is open for writing as long as such
//! a mapping is there, as Linux keeps the descriptor open for it.
//!
//! *What is written through entries* makes the folio dirty, too: the first store faults, and marks it (`page_mkwrite`); who writes
//! it back takes the permission to write from all entries first, and flushes, so that the next store faults again. Both have the
//! folio locked.
//!
//! Locks, in order: `i_rwsem` (writers, and the count of who has it open for writing), `invalidate_lock` (for reading by who puts pages
//! into the cache, for writing by who throws them out), folio lock, `i_mmap_rwsem`, `xa_lock` (slots, and the count of huge folios).
//!
//! Why that is enough. *No huge folio and writer at once.* No lock is common to the two: [`open_write`] counts the writer, then
//! looks at the count of huge folios; collapse counts its huge folio, then looks at the count of writers. Each needs a full barrier in
//! between; so one of them sees the other. If the writer sees the huge folio that is still being made, it finds the pages of the range
//! locked, waits, and finds the huge one in their place. *Nothing is lost.* What the cache throws out may be dirty: a writer was
//! there earlier, and has closed the file. So collapse, which is why things are thrown out, writes all that is dirty to the disk
//! first. It has `invalidate_lock` meanwhile, so that a writer that has seen the count waits for that. The folios of its own range
//! are clean, or it gives up. A collapse that sees the writer counts its huge folio for a moment only, and writes nothing: so the writer
//! looks at the count again with `invalidate_lock`. Who throws out may not be the only one who opens the file. Nobody writes through a
//! descriptor before the open that makes it has returned (`descriptors`); and an open that does not find a huge folio any more because
//! another one has just thrown it out finds that one counted instead, and waits for it.
//!
//! *What is on its way to the disk.* A folio is locked when its writing begins, and not while it is written, which takes long. So
//! there is a state, under writeback, in which it keeps its place in the cache without anybody having a reference: who
//! has its lock and wants to take it from there waits until that is over (truncation), or leaves it (reclaim, collapse).
//!
//! Differences to Linux: both counts are words under locks, where Linux has atomic operations; who has a file written
//! writes it, where Linux has an interrupt that says when it is done; a write does not make the file longer; pages that collapse finds
//! dirty are not written by it in passing. Linux does not look at the count again, as far as is known of the fix of 2026, nor does
//! its open wait for another one that throws out: the page that is written in between is lost (`write-vs-two-opens`).

use core::ops::Range;

use crate::addr::{PageIndex, Pfn};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{CacheError, Entry, Mapping};
use crate::platform::{Order, Platform, Word};
use crate::protocol::Safeguard;
use crate::rmap::mkclean;
use crate::step::Step;
use crate::sync::{ReadGuard, WriteGuard};
use crate::truncate::{undo_range, unmap_mapping_range};
use crate::zap::Markers;

/// The object is no file, or nobody has it open for writing. (Linux: EINVAL, EBADF)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOpen;

/// Opens a file for writing: throws out what it has cached if a huge folio may be among it. (Linux: `do_dentry_open`)
///
/// # Errors
/// [`NotOpen`] for an object that is no file.
pub fn open_write<P: Platform>(mapping: Ref<P, Mapping<P>>) -> Result<(), NotOpen> {
    if !mapping.is_file() {
        return Err(NotOpen);
    }
    {
        P::step(Step::Named("i_rwsem"));
        let _inode = WriteGuard::write(&mapping.i_rwsem);
        mapping.count_writer(1);
    }
    // The writer is counted, then huge folios are looked at; `count_huge` does the reverse.
    P::smp_mb();
    P::step(Step::Named("read nr_thps"));
    if mapping.nr_thps.read_once() > 0 && P::enforces(Safeguard::TruncateOnOpen) {
        throw_out(mapping);
    }
    P::step(Step::Named("i_rwsem"));
    let _inode = WriteGuard::write(&mapping.i_rwsem);
    mapping.count_descriptor(1);
    Ok(())
}

/// Throws out all that a file has cached, if a huge folio is still among it.
fn throw_out<P: Platform>(mapping: Ref<P, Mapping<P>>) {
    P::step(Step::Named("invalidate_lock"));
    let _invalidate =
        P::enforces(Safeguard::ThrowOutAlone).then(|| WriteGuard::write(&mapping.invalidate_lock));
    // A collapse that then gave up has written nothing back.
    if mapping.nr_thps() == 0 && P::enforces(Safeguard::RecheckThps) {
        return;
    }
    let counted = P::enforces(Safeguard::CountWhileThrowingOut);
    if counted {
        mapping.add_nr_thps(1);
    }
    let all = 0..mapping.i_size().next_multiple_of(P::PTRS_PER_TABLE as u64);
    let markers = if P::enforces(Safeguard::OpenSparesPrivate) {
        Markers::KeepAndPrivate
    } else {
        Markers::Keep
    };
    unmap_mapping_range(mapping, all.clone(), markers);
    undo_range(mapping, all);
    if counted {
        mapping.add_nr_thps(-1);
    }
}

/// Ends what [`open_write`] began. (Linux: `put_write_access`)
///
/// # Errors
/// [`NotOpen`]; nothing has changed then.
pub fn close_write<P: Platform>(mapping: Ref<P, Mapping<P>>) -> Result<(), NotOpen> {
    P::step(Step::Named("i_rwsem"));
    let _inode = WriteGuard::write(&mapping.i_rwsem);
    if mapping.descriptors() == 0 {
        return Err(NotOpen);
    }
    mapping.count_descriptor(-1);
    mapping.count_writer(-1);
    Ok(())
}

/// Why a page of a file was not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// See [`NotOpen`].
    NotOpen,
    /// The cache could not take the page.
    Cache(CacheError),
}

/// Writes page `index` of a file, which the caller has [opened](open_write): `fill` writes the frame that caches it.
/// (Linux: `generic_perform_write`)
///
/// # Errors
/// [`WriteError`]; nothing was written then.
pub fn write<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    index: PageIndex,
    fill: impl FnOnce(Pfn),
) -> Result<(), WriteError> {
    P::step(Step::Named("i_rwsem"));
    let _inode = WriteGuard::write(&mapping.i_rwsem);
    if mapping.descriptors() == 0 {
        return Err(WriteError::NotOpen);
    }
    let folio = read_folio(mapping, index).map_err(WriteError::Cache)?;
    fill(folio.page::<P>(index));
    folio.mark_dirty::<P>();
    folio.unlock::<P>();
    folio.put::<P>(1);
    Ok(())
}

/// Has everything that was written to a file on the disk; memory has none, and stays dirty. (Linux: `fsync`, `noop_fsync`)
pub fn fsync<P: Platform>(mapping: Ref<P, Mapping<P>>) {
    if mapping.is_file() {
        write_and_wait(mapping, PageIndex(0)..PageIndex(u64::MAX));
    }
}

/// Has what was written to pages of a file on the disk. No lock is held. (Linux: `filemap_write_and_wait_range`)
pub(crate) fn write_and_wait<P: Platform>(mapping: Ref<P, Mapping<P>>, pages: Range<PageIndex>) {
    let mut index = pages.start;
    while index < pages.end && index.0 < mapping.i_size() {
        let Some(folio) = mapping.lock_folio(index) else {
            index = index.add(1);
            continue;
        };
        index = folio.index::<P>().add(folio.pages::<P>() as u64);
        write_back(mapping, folio);
    }
}

/// The folio that caches page `index` of a file, with a reference and its lock; it is read from the disk if it has to be.
/// (Linux: `filemap_fault`, `filemap_create_folio`)
pub(crate) fn read_folio<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    index: PageIndex,
) -> Result<Folio, CacheError> {
    loop {
        if let Some(folio) = mapping.lock_folio(index) {
            return Ok(folio);
        }
        P::step(Step::Named("invalidate_lock_shared"));
        let _invalidate = ReadGuard::read(&mapping.invalidate_lock);
        let folio = Folio::alloc::<P>(Order::Small, false).ok_or(CacheError::NoMemory)?;
        folio.lock_new::<P>();
        // First the place in the cache, then the content: who else wants the page waits for the lock, and nobody can have
        // changed what is on the disk since.
        match Mapping::add_folio(mapping, folio, index) {
            Ok(()) => {
                match mapping.disk_page(index) {
                    Some(page) => {
                        P::step(Step::Folio("read from disk", folio.pfn()));
                        P::copy_page(folio.pfn(), page);
                    }
                    None => P::clear_page(folio.pfn()),
                }
                folio.mark_uptodate::<P>();
                return Ok(folio);
            }
            Err(error) => {
                folio.unlock::<P>();
                folio.put::<P>(1);
                if error != CacheError::Occupied {
                    return Err(error);
                }
            }
        }
    }
}

/// Writes a folio of the cache to the disk if it is dirty. The caller has locked it, with a reference: both are given back, before it is
/// written. It is on the disk afterwards, whoever has written it. (Linux: `writepage`, and the end of the IO)
pub(crate) fn write_back<P: Platform>(mapping: Ref<P, Mapping<P>>, folio: Folio) {
    folio.wait_writeback::<P>();
    if !folio.is_dirty::<P>() {
        folio.unlock::<P>();
        folio.put::<P>(1);
        return;
    }
    if P::enforces(Safeguard::MkcleanOnWriteback) {
        mkclean(folio, mapping);
    }
    let (start, pages) = (folio.index::<P>(), folio.pages::<P>());
    let write = || {
        folio.start_writeback::<P>();
        folio.unlock::<P>();
        // The folio stays, as its place in the cache does until this is over.
        folio.put::<P>(1);
        for i in 0..pages {
            if let Some(page) = mapping.disk_page(start.add(i as u64)) {
                P::step(Step::Folio("write to disk", folio.pfn()));
                P::copy_page(page, folio.pfn().add(i));
            }
        }
    };
    folio.write_out::<P>(write);
    folio.end_writeback::<P>();
}

/// Why a file gets no huge folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoHuge {
    /// Somebody has it open for writing, or is about to.
    Written,
    /// Somebody has a page locked.
    Locked,
}

/// Counts the huge folio that collapse is about to put into the cache of a file at `start`, whose pages it has locked and found
/// clean; if that is allowed, all else that is dirty is on the disk afterwards.
///
/// All locks are tried only, as folios are locked. (Linux waits for `invalidate_lock` and for pages here.)
pub(crate) fn count_huge<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
) -> Result<(), NoHuge> {
    use crate::platform::RawRwSem;

    let shared = P::enforces(Safeguard::CleanUnderInvalidate);
    P::step(Step::Named("invalidate_trylock_shared"));
    if shared && !mapping.invalidate_lock.try_read() {
        return Err(NoHuge::Written);
    }
    mapping.add_nr_thps(1);
    // The huge folio is counted, then writers are looked at; `open_write` does the reverse.
    P::smp_mb();
    P::step(Step::Named("read i_writecount"));
    let opened = mapping.i_writecount.read_once() > 0 && P::enforces(Safeguard::RefuseWriters);
    let result =
        if opened || mapping.is_mapped_writable() && P::enforces(Safeguard::RefuseWritableMaps) {
            Err(NoHuge::Written)
        } else if P::enforces(Safeguard::WriteAllDirty) {
            write_back_around(mapping, start)
        } else {
            Ok(())
        };
    if result.is_err() {
        mapping.add_nr_thps(-1);
    }
    if shared {
        mapping.invalidate_lock.read_unlock();
    }
    result
}

/// Takes back what [`count_huge`] has counted: there will be no huge folio. The caller still has the pages locked.
pub(crate) fn uncount_huge<P: Platform>(mapping: Ref<P, Mapping<P>>) {
    mapping.add_nr_thps(-1);
}

/// Writes back what is cached outside of the huge range at `start`.
fn write_back_around<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
) -> Result<(), NoHuge> {
    let own = start.0..start.0 + P::PTRS_PER_TABLE as u64;
    for index in (0..mapping.i_size()).filter(|index| !own.contains(index)) {
        let folio = {
            let _xa = mapping.lock_pages();
            let Entry::Folio(folio) = mapping.load_protected(PageIndex(index)) else {
                continue;
            };
            if !folio.try_lock::<P>() {
                return Err(NoHuge::Locked);
            }
            folio.get::<P>(1);
            folio
        };
        write_back(mapping, folio);
    }
    Ok(())
}

impl<P: Platform> Mapping<P> {
    /// Who has the file open for writing now, or is about to. The caller has `i_rwsem`, or nobody changes it now.
    pub fn writers(&self) -> u64 {
        self.i_writecount.load_protected()
    }

    /// How many huge folios the cache of the file counts. The caller has `xa_lock`, or nobody changes it now; with `invalidate_lock`
    /// for writing it does not become more.
    pub fn nr_thps(&self) -> u64 {
        self.nr_thps.load_protected()
    }

    /// Whether a process may write the file through its entries. Who maps it so has it open for writing meanwhile.
    ///
    /// So who finds it not open, and then looks here, misses none: a mapping whose descriptor is closed by now is in the list.
    pub fn is_mapped_writable(&self) -> bool {
        P::step(Step::Named("i_mmap_lock_read"));
        let _i_mmap = ReadGuard::read(&self.i_mmap_rwsem);
        self.vmas_over(0, u64::MAX)
            .any(|(vma, _)| vma.may_write_file())
    }

    /// Who can write the file now: whose [`open_write`] has returned. The caller has `i_rwsem`.
    fn descriptors(&self) -> u64 {
        self.descriptors.load_protected()
    }

    /// The caller has `i_rwsem` for writing.
    fn count_writer(&self, change: i64) {
        let changed = self.writers().wrapping_add_signed(change);
        P::step(Step::Named("change i_writecount"));
        self.i_writecount.write_once(changed);
    }

    /// The caller has `i_rwsem` for writing.
    fn count_descriptor(&self, change: i64) {
        let changed = self.descriptors().wrapping_add_signed(change);
        self.descriptors.store_protected(changed);
    }

    fn add_nr_thps(&self, change: i64) {
        let _xa = self.lock_pages();
        self.add_nr_thps_locked(change);
    }

    /// Counts huge folios of a file more or less; of other objects they are not counted. The caller has `xa_lock`.
    pub(crate) fn add_nr_thps_locked(&self, change: i64) {
        if self.is_file() {
            let changed = self.nr_thps().wrapping_add_signed(change);
            P::step(Step::Named("change nr_thps"));
            self.nr_thps.write_once(changed);
        }
    }
}
