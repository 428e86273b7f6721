//! `collapse_file`: the pages of an object are copied into one huge folio, which takes their place in the page cache.
//!
//! Guarantee: at every moment each page of the object has one content, the same through every mapping. All or nothing:
//! if it does not succeed, every page is where it was (unmapped ones fault in again).
//!
//! Locks, in order: the lock of the new folio and those of all old ones (which are tried, never waited for), `i_mmap_rwsem` for
//! the check of mappings, `xa_lock`.
//!
//! Why that is enough: a page is replaced only when it is locked (so no fault maps it), unmapped and flushed (so no CPU
//! or device can write it any more), and has no references but the cache's and ours (so nobody has it pinned). The content
//! cannot change then, and is copied, all of it, before anything is replaced: the memory of a page may have gone bad. The new folio becomes visible whole, by one store, already up to date and still
//! locked; it stays locked until the old page tables are retracted, so that nobody maps a page of it into a table
//! that is about to go. (What a file asks for besides, see [`filemap`].) Who waits for an old page's lock finds that it belongs to no object any more, and looks again.

use crate::accounting::Fact;
use crate::addr::PageIndex;
use crate::collapse::{ScanResult, Target, copy_page, retract};
use crate::filemap::{self, NoHuge};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{CacheError, Entry, Mapping};
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::try_to_unmap;
use crate::step::Step;
use crate::sync::ReadGuard;
use crate::tlb::UnmapBatch;

/// Collapses the huge range of the object that starts at `start`, and retracts the page tables that mapped it.
pub(super) fn collapse_file<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
    target: Option<&Target<P>>,
) -> ScanResult {
    if mapping.is_file()
        && let Err(refusal) = read_range(mapping, start)
    {
        return refusal;
    }
    let Some(new) = Folio::alloc::<P>(Order::Huge, false) else {
        return ScanResult::AllocHugePageFail;
    };
    new.lock_new::<P>();
    new.set_mapping::<P>(Some(mapping), start);
    let mut gathered = Gathered::<P>::new(mapping, start);
    let result = gathered
        .gather()
        .and_then(|()| gathered.announce())
        .and_then(|()| gathered.replace_by(new));
    if let Err(refusal) = result {
        gathered.release(Release::Kept);
        new.set_mapping::<P>(None, start);
        new.unlock::<P>();
        new.put::<P>(1);
        return refusal;
    }
    let of_target;
    if P::enforces(Safeguard::LockNewFolio) {
        of_target = retract::retract_page_tables(mapping, start, target);
        new.unlock::<P>();
    } else {
        new.unlock::<P>();
        of_target = retract::retract_page_tables(mapping, start, target);
    }
    gathered.release(Release::Replaced);
    // The cache has its own references.
    new.put::<P>(1);
    if target.is_some() {
        of_target
    } else {
        ScanResult::Succeed
    }
}

/// Reads the pages of a file into the cache, with no lock held. (Linux does it page by page while it gathers them.)
fn read_range<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
) -> Result<(), ScanResult> {
    for i in 0..P::PTRS_PER_TABLE as u64 {
        let folio = filemap::read_folio(mapping, start.add(i)).map_err(|error| match error {
            CacheError::BeyondEnd => ScanResult::Truncated,
            CacheError::Occupied | CacheError::NoMemory => ScanResult::Fail,
        })?;
        folio.unlock::<P>();
        folio.put::<P>(1);
    }
    Ok(())
}

/// Why there is no huge page where a page of a file is dirty or being written.
fn not_clean<P: Platform>() -> ScanResult {
    if P::protocol().writes_back_before_collapse {
        ScanResult::PageDirtyOrWriteback
    } else {
        ScanResult::Fail
    }
}

/// The old folios, locked, referenced and unmapped.
struct Gathered<P: Platform> {
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
    first: Option<Folio>,
    last: Option<Folio>,
    holes: usize,
}

/// What became of the old folios.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    /// They are in the cache as before.
    Kept,
    /// The new folio took their place.
    Replaced,
}

impl<P: Platform> Gathered<P> {
    fn new(mapping: Ref<P, Mapping<P>>, start: PageIndex) -> Self {
        Self {
            mapping,
            start,
            first: None,
            last: None,
            holes: 0,
        }
    }

    fn indices(&self) -> impl Iterator<Item = PageIndex> + use<P> {
        let start = self.start;
        (0..P::PTRS_PER_TABLE as u64).map(move |i| start.add(i))
    }

    fn folios(&self) -> impl Iterator<Item = Folio> + use<P> {
        core::iter::successors(self.first, |folio| folio.next_on_list::<P>())
    }

    /// Locks, unmaps and counts the pages one by one; flushes at the end, whether it succeeded or not.
    fn gather(&mut self) -> Result<(), ScanResult> {
        {
            let _xa = self.mapping.lock_pages();
            self.mapping
                .create_range(self.start)
                .map_err(|error| match error {
                    CacheError::Occupied => ScanResult::PteMappedHugepage,
                    CacheError::BeyondEnd => ScanResult::Truncated,
                    CacheError::NoMemory => ScanResult::StoreFailed,
                })?;
        }
        let mut batch = UnmapBatch::<P>::new();
        let mut result = Ok(());
        for index in self.indices() {
            result = self.gather_page(index, &mut batch);
            if result.is_err() {
                break;
            }
        }
        if P::enforces(Safeguard::FlushBeforeCopy) {
            P::step(Step::Named("try_to_unmap_flush"));
            batch.flush();
        }
        if result.is_ok() && self.first.is_none() && P::enforces(Safeguard::RefuseEmpty) {
            // Truncated or punched since the scan: nothing is to be made out of nothing.
            return Err(ScanResult::Truncated);
        }
        result
    }

    fn gather_page(
        &mut self,
        index: PageIndex,
        batch: &mut UnmapBatch<P>,
    ) -> Result<(), ScanResult> {
        let mapping = self.mapping;
        let Some(folio) = self.lock_page(index)? else {
            self.holes += 1;
            return Ok(());
        };
        folio.set_next_on_list::<P>(None);
        match self.last {
            Some(last) => last.set_next_on_list::<P>(Some(folio)),
            None => self.first = Some(folio),
        }
        self.last = Some(folio);
        // The new folio will be clean, and who writes the old one back finds it replaced. Nobody makes it dirty while it is locked.
        if mapping.is_file() && folio.is_dirty::<P>() && P::enforces(Safeguard::RefuseDirty) {
            return Err(not_clean::<P>());
        }
        // It is being read, and nobody has a reference for that.
        if mapping.is_file() && P::enforces(Safeguard::RefuseWriteback) && folio.is_writeback::<P>()
        {
            return Err(not_clean::<P>());
        }
        try_to_unmap(folio, mapping, batch);
        // One reference is the cache's, one is ours. A locked folio cannot leave the cache.
        if P::enforces(Safeguard::RefcountCheck) && folio.refcount::<P>() != 2 {
            return Err(ScanResult::PageCount);
        }
        // Entries have told what was written through them; who wrote through a pin did so before giving it back.
        if mapping.is_file()
            && P::enforces(Safeguard::RecheckDirtyUnmapped)
            && folio.is_dirty::<P>()
        {
            return Err(not_clean::<P>());
        }
        Ok(())
    }

    /// The folio of a page, with a reference and its lock; `None` for a hole. A page that was moved out is brought back.
    fn lock_page(&self, index: PageIndex) -> Result<Option<Folio>, ScanResult> {
        let mapping = self.mapping;
        let xa = mapping.lock_pages();
        match mapping.load_protected(index) {
            Entry::None if !mapping.is_file() && !P::enforces(Safeguard::ChargeUnlocked) => {
                mapping.charge(1);
                Ok(None)
            }
            // Thrown out since it was read in.
            Entry::None if mapping.is_file() => Err(ScanResult::Truncated),
            Entry::None => Ok(None),
            Entry::Folio(folio) if folio.is_huge::<P>() => Err(ScanResult::PteMappedHugepage),
            Entry::Folio(folio) => {
                if !folio.try_lock::<P>() {
                    return Err(ScanResult::PageLock);
                }
                folio.get::<P>(1);
                Ok(Some(folio))
            }
            Entry::Swap(slot) => {
                drop(xa);
                match Mapping::swap_in(mapping, index, slot) {
                    Ok(Some(folio)) => Ok(Some(folio)),
                    // Somebody else has brought it back, and may have its lock, which is not waited for here.
                    Ok(None) => Err(ScanResult::PageLock),
                    Err(_) => Err(ScanResult::Fail),
                }
            }
            Entry::Retry | Entry::Node(_) => Err(ScanResult::Fail),
        }
    }

    /// Counts the huge folio of a file, which has to be allowed, or charges another object for the holes.
    fn announce(&self) -> Result<(), ScanResult> {
        if !self.mapping.is_file() {
            if P::enforces(Safeguard::ChargeUnlocked) {
                self.mapping.charge(self.holes);
            }
            return Ok(());
        }
        filemap::count_huge(self.mapping, self.start).map_err(|refusal| match refusal {
            NoHuge::Written => ScanResult::Fail,
            NoHuge::Locked => ScanResult::PageLock,
        })
    }

    /// Makes the new folio what the old ones are, and has it take their place. If that fails, it was never announced.
    fn replace_by(&self, new: Folio) -> Result<(), ScanResult> {
        let result = if P::enforces(Safeguard::CopyBeforeCommit) {
            self.copy_to(new).and_then(|()| self.commit(new))
        } else {
            // There is no way back then, whatever comes of the copy.
            self.commit(new).map(|()| _ = self.copy_to(new))
        };
        if result.is_err() {
            self.withdraw();
        }
        result
    }

    /// Takes back what was announced.
    fn withdraw(&self) {
        if !self.mapping.is_file() {
            if P::enforces(Safeguard::UnchargeHoles) {
                self.mapping.uncharge(self.holes);
            }
        } else if P::enforces(Safeguard::UncountFailedThp) {
            filemap::uncount_huge(self.mapping);
        }
    }

    /// Copies the content; nobody can change it now.
    fn copy_to(&self, new: Folio) -> Result<(), ScanResult> {
        if self.holes > 0 && P::enforces(Safeguard::ClearHoles) {
            for index in self.indices() {
                P::clear_page(new.page::<P>(index));
            }
        }
        for folio in self.folios() {
            copy_page::<P>(new.page::<P>(folio.index::<P>()), folio.pfn())?;
        }
        Ok(())
    }

    /// Puts the new folio into the cache.
    fn commit(&self, new: Folio) -> Result<(), ScanResult> {
        let mapping = self.mapping;
        // Before the insertion: a lookup takes a folio that is not up to date for one that was never written.
        if P::enforces(Safeguard::UptodateFirst) {
            new.mark_uptodate::<P>();
        }
        // Of the old pages some may be dirty, and there is no other copy of a hole. Those of a file are clean.
        if !mapping.is_file() {
            new.mark_dirty::<P>();
        }
        if self.holes > 0 {
            // i_mmap before xa_lock; the list is needed only for the check, xa_lock until the insertion.
            P::step(Step::Named("i_mmap_lock_read"));
            let i_mmap = ReadGuard::read(&mapping.i_mmap_rwsem);
            let _xa = mapping.lock_pages();
            let mut closed = 0;
            let mut result = self.close_holes(&mut closed);
            if result.is_ok() && P::enforces(Safeguard::MissingVmaCheck) {
                result = self.check_missing_vmas();
            }
            drop(i_mmap);
            if let Err(refusal) = result {
                self.reopen_holes(closed);
                return Err(refusal);
            }
            self.insert(new);
        } else {
            let _xa = mapping.lock_pages();
            self.insert(new);
        }
        Ok(())
    }

    fn insert(&self, new: Folio) {
        for index in self.indices() {
            if matches!(
                self.mapping.load_protected(index),
                Entry::None | Entry::Retry
            ) {
                P::observe(Fact::HoleFilled(self.mapping.id, index));
            }
        }
        new.get::<P>(P::PTRS_PER_TABLE);
        self.mapping.store_huge(self.start, new);
        if !P::enforces(Safeguard::UptodateFirst) {
            new.mark_uptodate::<P>();
        }
    }

    /// Marks the holes as changing, so that nobody sees a hole any more that will be filled without an event: from
    /// now on lookups wait until the new folio is there, or the hole is open again.
    fn close_holes(&self, closed: &mut usize) -> Result<(), ScanResult> {
        let mut holes = 0;
        for index in self.indices() {
            if self.mapping.load_protected(index) == Entry::None {
                holes += 1;
                if P::enforces(Safeguard::RetryEntries) {
                    self.mapping.close_hole(index);
                    *closed += 1;
                }
            }
        }
        if holes == self.holes {
            Ok(())
        } else {
            Err(ScanResult::PageFilled)
        }
    }

    fn reopen_holes(&self, closed: usize) {
        if closed > 0 {
            for index in self.indices() {
                if self.mapping.load_protected(index) == Entry::Retry {
                    self.mapping.reopen_hole(index);
                }
            }
        }
    }

    /// A hole that a process wants to hear about when it is first touched must not be filled behind its back. Whoever is registered for
    /// any page of the range counts, as in Linux, whether it maps a hole or not; so does who is for the page right behind it, as the
    /// interval that Linux asks for has its end in it.
    /// Registration does not take `i_mmap_rwsem`: a VMA that registers after this finds the holes closed.
    ///
    /// No lock is common to the two: this closes the hole, then looks at the flag; the process sets the flag
    /// ([`userfault::register`](crate::userfault::register())), then looks at the hole. Each needs a full barrier in between.
    fn check_missing_vmas(&self) -> Result<(), ScanResult> {
        P::smp_mb();
        let last = self.start.add(P::PTRS_PER_TABLE as u64);
        for (vma, _) in self.mapping.vmas_over(self.start.0, last.0 + 1) {
            if vma.flags("check userfaultfd_missing") & crate::vma::VM_UFFD_MISSING != 0 {
                return Err(ScanResult::ExceedNonePte);
            }
        }
        Ok(())
    }

    /// Unlocks the old folios and gives their references back.
    fn release(&self, what: Release) {
        for folio in self.folios() {
            let references = match what {
                Release::Kept => 1,
                Release::Replaced => {
                    folio.set_mapping::<P>(None, folio.index::<P>());
                    // The cache's reference as well.
                    2
                }
            };
            folio.unlock::<P>();
            folio.put::<P>(references);
        }
    }
}
