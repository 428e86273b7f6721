//! UFFDIO_MOVE: private pages move to where they are missing, without being copied.
//!
//! Guarantee: a page is at its old address or at its new one, with its content, and accesses go through at no more than one of the
//! two. What is there when this fails is as it was, but that a part of the range may have moved.
//!
//! Locks, in order: `mmap_lock` for reading, folio lock, `anon_vma` of the page for writing, the locks of both tables.
//!
//! Both are private anonymous memory, and whoever has `mmap_lock` for reading may change either meanwhile. So a page is looked
//! at, what keeps it is locked, and with the locks of both tables everything is looked at again.
//!
//! * The folio moves to another family and another index. The folio lock keeps out who unmaps it, the lock of the old family those
//!   who walk from it to its entries: they find it where it was, or wait and see that it belongs to another family.
//! * The page must belong to this process alone, since entries of others would not be found any more.
//! * Who has it pinned uses it at the old address. The entry is emptied and flushed, then pins are looked for: GUP-fast pins, then
//!   looks at the entry again. With a full barrier in each, one of them sees the other.
//! * A page in swap may have a folio in the swap cache, which has to know its new place as well, or nobody would find its entry once
//!   it is mapped again. It may come and go, and the slot be used again for another page of the same entry: the cache is
//!   looked at again as well. (c50f8e6053b0, 0ea148a79919)
//! * The table at the new address may be taken away until its lock is held (MADV_DONTNEED). An entry is written where none was, and a
//!   table that was taken reads like an empty one: so its upper entry is looked at again.
//! * Two who move pages between the same two tables take their locks in the same order.
//!
//! Protections by userfaultfd do not go with the pages. (Linux keeps those of pages in swap.)

use crate::accounting::Fact;
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::{Pte, Swap};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::huge::split_folio;
use crate::migrate;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_table::{
    PmdRef, PteMap, deposit_table, pmd_alloc, pmd_offset, pte_alloc, pte_offset_map_lock,
    pte_offset_map_nolock, withdraw_table,
};
use crate::platform::{FlushKind, Platform};
use crate::protocol::Safeguard;
use crate::rmap::{FamilyGuard, anon_vma_prepare, lock_family};
use crate::step::Step;
use crate::swap;
use crate::tlb::flush_tlb_range_notify;
use crate::userfault::UffdError;
use crate::userfault::fill::{wake_range, with_mm};
use crate::vma::Vma;
use crate::zap::split_huge_pmd;
use crate::zero::{is_huge_zero, is_zero_page};

/// Moves the pages of `from` to `to`, where none are, in the order of their addresses; with `skip_holes`, those that are there.
/// (Linux: `UFFDIO_MOVE`, `UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES`)
///
/// # Errors
/// [`UffdError::NoEntry`] without a mapping, or where no page is to be moved and holes are not skipped; [`UffdError::Exists`] where something is already;
/// [`UffdError::Invalid`] unless both are writable anonymous memory, and `to` is registered; [`UffdError::Busy`] for pages that
/// are shared or pinned; [`UffdError::Fault`] for markers. [`UffdError::Again`] if that comes up once some pages have moved.
pub fn move_pages<P: Platform>(
    mm: Ref<P, Mm<P>>,
    to: VirtAddr,
    from: AddrRange,
    skip_holes: bool,
) -> Result<(), UffdError> {
    let pages = from.end.page() - from.start.page();
    with_mm(mm, || {
        let ends = Ends::find(mm, from, AddrRange::pages(to, pages), skip_holes)?;
        let mut moved = 0;
        let mut result = Ok(());
        while moved < pages && result.is_ok() {
            let target = to.add_pages(moved);
            match ends.move_next(from.start.add_pages(moved), target, pages - moved) {
                Ok(count) => moved += count,
                // What was found is not there any more: look again.
                Err(UffdError::Again) => {}
                Err(error) if moved == 0 => result = Err(error),
                Err(_) => result = Err(UffdError::Again),
            }
        }
        if moved > 0 {
            wake_range(ends.to, AddrRange::pages(to, moved));
        }
        result
    })
}

/// Between which VMAs pages are moved.
struct Ends<P: Platform> {
    from: Ref<P, Vma<P>>,
    to: Ref<P, Vma<P>>,
    /// Where nothing is to be moved, that is not an error.
    skip_holes: bool,
}

impl<P: Platform> Ends<P> {
    /// The caller has `mmap_lock` for reading. What is private and to be moved to gets its `anon_vma` first, even if it turns out that
    /// nothing can be moved there. (Linux: `find_vmas_mm_locked`, from 6.9; `validate_move_areas`)
    fn find(
        mm: Ref<P, Mm<P>>,
        from: AddrRange,
        to: AddrRange,
        skip_holes: bool,
    ) -> Result<Self, UffdError> {
        let target = mm.find_vma(to.start).ok_or(UffdError::NoEntry)?;
        if !target.is_shared() {
            anon_vma_prepare(target);
        }
        let ends = Self {
            skip_holes,
            to: target,
            from: mm.find_vma(from.start).ok_or(UffdError::NoEntry)?,
        };
        let covered = ends.from.range.covers(from) && ends.to.range.covers(to);
        let private = ends.from.is_anonymous() && ends.to.is_anonymous();
        let writable = [ends.from, ends.to]
            .iter()
            .all(|vma| vma.protection().permits(true));
        if !(covered && private && writable && ends.to.is_uffd_armed_protected()) {
            return Err(UffdError::Invalid);
        }
        Ok(ends)
    }

    /// Nothing is at the old address. How many pages were dealt with.
    fn skip_hole(&self) -> Result<u64, UffdError> {
        if self.skip_holes {
            Ok(1)
        } else {
            Err(UffdError::NoEntry)
        }
    }

    /// Moves the page at `from`, or the huge page that begins there if it is one of `rest` pages. How many pages were dealt with.
    fn move_next(&self, from: VirtAddr, to: VirtAddr, rest: u64) -> Result<u64, UffdError> {
        let source = if self.skip_holes {
            pmd_alloc(self.from.mm, from).ok_or(UffdError::NoMemory)?
        } else {
            pmd_offset(self.from.mm, from).ok_or(UffdError::NoEntry)?
        };
        let target = pmd_alloc(self.to.mm, to).ok_or(UffdError::NoMemory)?;
        let there = target.read_once("read pmd");
        if there.is_leaf() {
            return Err(UffdError::Exists);
        }
        let value = source.read_once("read pmd");
        if value.is_none() && !self.skip_holes {
            return Err(UffdError::NoEntry);
        }
        if value.as_migration().is_some() {
            migrate::wait(source, from);
            return Err(UffdError::Again);
        }
        if value.is_huge() {
            let pages = P::PTRS_PER_TABLE;
            let aligned = from.huge_start(pages) == from && to.huge_start(pages) == to;
            let folio = get_huge(source, value)?;
            if there.is_none() && aligned && rest >= pages as u64 {
                let held = folio.map(Held::lock_mapped).transpose()?;
                return self.move_huge(source, target, value, held.as_ref());
            }
            split_huge_pmd(self.from, source);
            if let Some(folio) = folio {
                folio.put::<P>(1);
            }
            return Err(UffdError::Again);
        }
        // To skip a hole, what is at the new address is looked at as well.
        if value.is_none() && !pte_alloc(source) || !pte_alloc(target) {
            return Err(UffdError::NoMemory);
        }
        self.move_page(source, target)
    }

    /// Linux: `move_pages_huge_pmd`.
    fn move_huge(
        &self,
        source: PmdRef<P>,
        target: PmdRef<P>,
        value: Pte,
        held: Option<&Held<P>>,
    ) -> Result<u64, UffdError> {
        let pages = P::PTRS_PER_TABLE as u64;
        let range = AddrRange::pages(source.addr, pages);
        let _notifier = NotifierRange::<P>::start(self.from.mm, range);
        let step = Step::Pmd("pmd_lock", self.from.mm.id, source.addr);
        let _pmls = source.lockptr().lock_two(target.lockptr(), step);
        let same = !P::enforces(Safeguard::RecheckMoveSource) || source.load_protected() == value;
        let room = !P::enforces(Safeguard::RecheckMoveHole) || target.load_protected().is_none();
        if !same || !room {
            return Err(UffdError::Again);
        }
        if held.is_some() && !is_own::<P>(value) {
            return Err(UffdError::Busy);
        }
        let old = source.take("pmdp_huge_clear_flush");
        self.flush(range);
        if held.is_some_and(|held| held.folio.is_pinned_elsewhere::<P>()) {
            source.set("set_pmd", old);
            return Err(UffdError::Busy);
        }
        if let Some(held) = held {
            self.adopt(held.folio, target.addr);
        }
        self.observe_moved(range, target.addr, false);
        let entry = match held {
            Some(held) => Pte::huge(held.folio.pfn(), true).mk_dirty(),
            None => Pte::huge(value.pfn(), false),
        };
        target.set("set_pmd", self.to.protect(entry));
        deposit_table(target, withdraw_table(source));
        Ok(pages)
    }

    /// Linux: `move_pages_pte`.
    fn move_page(&self, source: PmdRef<P>, target: PmdRef<P>) -> Result<u64, UffdError> {
        let (from, to) = (source.addr, target.addr);
        if !look(target)?.is_none() {
            return Err(UffdError::Exists);
        }
        let Some((orig, found)) = find(source)? else {
            return self.skip_hole();
        };
        let held = found.lock()?;
        let range = AddrRange::pages(from, 1);
        let _notifier = NotifierRange::<P>::start(self.from.mm, range);
        let old = pte_offset_map_nolock(source).ok_or(UffdError::Again)?;
        let new = pte_offset_map_nolock(target).ok_or(UffdError::Again)?;
        let step = Step::Pte("ptl", self.from.mm.id, from);
        let _ptls = old.lockptr().lock_two(new.lockptr(), step);
        let attached = !P::enforces(Safeguard::RecheckMoveTable)
            || target.read_once("recheck pmd") == new.seen;
        let same = !P::enforces(Safeguard::RecheckMoveSource) || old.get(from) == orig;
        let room = !P::enforces(Safeguard::RecheckMoveHole) || new.get(to).is_none();
        if !attached || !same || !room {
            return Err(UffdError::Again);
        }
        match orig.as_swap() {
            Some(swap) => self.move_swap(&old, &new, swap, held.as_ref())?,
            None => self.move_present(&old, &new, orig, held.as_ref())?,
        }
        Ok(1)
    }

    /// The caller has the locks of both tables. (Linux: `move_present_pte`, `move_zeropage_pte`)
    fn move_present(
        &self,
        source: &PteMap<P>,
        target: &PteMap<P>,
        orig: Pte,
        held: Option<&Held<P>>,
    ) -> Result<(), UffdError> {
        let (from, to) = (source.pmd.addr, target.pmd.addr);
        if held.is_some() && !is_own::<P>(orig) {
            return Err(UffdError::Busy);
        }
        let range = AddrRange::pages(from, 1);
        let old = source.take(from);
        self.flush(range);
        if held.is_some_and(|held| held.folio.is_pinned_elsewhere::<P>()) {
            source.set(from, old);
            return Err(UffdError::Busy);
        }
        if let Some(held) = held {
            self.adopt(held.folio, to);
        }
        self.observe_moved(range, to, orig.is_uffd_wp());
        let entry = if held.is_some() {
            Pte::page(orig.pfn(), true).mk_dirty()
        } else {
            Pte::page(orig.pfn(), false)
        };
        target.set(to, self.to.protect(entry));
        Ok(())
    }

    /// The caller has the locks of both tables. (Linux: `move_swap_pte`)
    fn move_swap(
        &self,
        source: &PteMap<P>,
        target: &PteMap<P>,
        swap: Swap,
        held: Option<&Held<P>>,
    ) -> Result<(), UffdError> {
        let (from, to) = (source.pmd.addr, target.pmd.addr);
        if P::enforces(Safeguard::MoveSwapCache) {
            let cached = held.map(|held| held.folio);
            let recheck = P::enforces(Safeguard::RecheckMoveSwapCache);
            if recheck && !swap::is_cached::<P>(swap.slot, cached) {
                return Err(UffdError::Again);
            }
            if let Some(folio) = cached {
                self.adopt(folio, to);
            }
        }
        source.take(from);
        self.observe_moved(AddrRange::pages(from, 1), to, swap.uffd_wp);
        let uffd_wp = false;
        target.set_swap(to, Swap { uffd_wp, ..swap });
        Ok(())
    }

    /// Makes a folio one of the new place. The caller has all locks.
    fn adopt(&self, folio: Folio, to: VirtAddr) {
        folio.move_anon::<P>(self.to.anon_vma_of_page(), self.to.index_of(to));
    }

    fn flush(&self, range: AddrRange) {
        if P::enforces(Safeguard::FlushOnUffdMove) {
            flush_tlb_range_notify(self.from.mm, range, FlushKind::LeavesAndTables);
        }
    }

    fn observe_moved(&self, range: AddrRange, to: VirtAddr, was_protected: bool) {
        let mm = self.from.mm.id;
        if was_protected {
            P::observe(Fact::Unprotected(mm, range.start));
        }
        P::observe(Fact::Moved(mm, range, to));
        P::observe(Fact::Forgotten(mm, range));
    }
}

/// Whether the page that an entry maps belongs to this process alone. The caller has the lock of the table.
fn is_own<P: Platform>(entry: Pte) -> bool {
    !P::enforces(Safeguard::MoveExclusive) || Folio::is_exclusive::<P>(entry.pfn())
}

/// The huge private page that `value` maps, with a reference; `None` for that of zeros.
fn get_huge<P: Platform>(source: PmdRef<P>, value: Pte) -> Result<Option<Folio>, UffdError> {
    let _pml = source.lock();
    if source.load_protected() != value {
        return Err(UffdError::Again);
    }
    if is_huge_zero::<P>(value) {
        return Ok(None);
    }
    if !is_own::<P>(value) {
        return Err(UffdError::Busy);
    }
    let folio = Folio::of::<P>(value.pfn());
    folio.get::<P>(1);
    Ok(Some(folio))
}

/// The entry for the address of an upper entry.
fn look<P: Platform>(pmd: PmdRef<P>) -> Result<Pte, UffdError> {
    let table = pte_offset_map_lock(pmd).ok_or(UffdError::Again)?;
    Ok(table.get(pmd.addr))
}

/// What is to be moved. A folio comes with a reference.
enum Found {
    /// A page that is mapped.
    Mapped(Folio),
    /// A page in swap that is also in the swap cache.
    Cached(Folio),
    /// The page of zeros, or a page in swap of which nothing is in memory.
    Nothing,
}

/// What the entry for the address of `source` names; `None` if there is nothing.
fn find<P: Platform>(source: PmdRef<P>) -> Result<Option<(Pte, Found)>, UffdError> {
    let table = pte_offset_map_lock(source).ok_or(UffdError::Again)?;
    let entry = table.get(source.addr);
    if entry.is_none() {
        return Ok(None);
    }
    if let Some(swap) = entry.as_swap() {
        if P::enforces(Safeguard::MoveExclusive) && !swap.exclusive {
            return Err(UffdError::Busy);
        }
        let cached = P::enforces(Safeguard::MoveSwapCache).then(|| swap::find::<P>(swap.slot));
        let found = cached.flatten().map_or(Found::Nothing, Found::Cached);
        return Ok(Some((entry, found)));
    }
    if entry.as_migration().is_some() {
        drop(table);
        migrate::wait(source, source.addr);
        return Err(UffdError::Again);
    }
    if !entry.is_present() {
        return Err(UffdError::Fault);
    }
    if is_zero_page::<P>(entry.pfn()) {
        return Ok(Some((entry, Found::Nothing)));
    }
    if !is_own::<P>(entry) {
        return Err(UffdError::Busy);
    }
    let folio = Folio::of::<P>(entry.pfn());
    folio.get::<P>(1);
    if folio.is_huge::<P>() {
        // A folio has one index.
        drop(table);
        let split = split_folio(source, source.addr, folio);
        folio.put::<P>(1);
        return Err(match split {
            Some(true) | None => UffdError::Again,
            Some(false) => UffdError::Busy,
        });
    }
    Ok(Some((entry, Found::Mapped(folio))))
}

impl Found {
    /// Locks it.
    fn lock<P: Platform>(self) -> Result<Option<Held<P>>, UffdError> {
        match self {
            Self::Mapped(folio) => Held::lock_mapped(folio).map(Some),
            // It has no entry that a walk could find.
            Self::Cached(folio) => Ok(Some(Held::lock(folio))),
            Self::Nothing => Ok(None),
        }
    }
}

/// A folio that nobody unmaps, with a reference.
struct Held<P: Platform> {
    // Before the folio lock is given back.
    family: Option<FamilyGuard<P>>,
    folio: Folio,
}

impl<P: Platform> Held<P> {
    /// The caller's reference becomes that of this.
    fn lock(folio: Folio) -> Self {
        if P::enforces(Safeguard::MoveFolioLock) {
            folio.lock::<P>();
        }
        let family = None;
        Self { family, folio }
    }

    /// As [`lock`](Self::lock), and keeps walks out.
    fn lock_mapped(folio: Folio) -> Result<Self, UffdError> {
        let mut held = Self::lock(folio);
        if P::enforces(Safeguard::MoveAnonVmaLock) {
            held.family = Some(lock_family(folio).ok_or(UffdError::Again)?);
        }
        Ok(held)
    }
}

impl<P: Platform> Drop for Held<P> {
    fn drop(&mut self) {
        self.family = None;
        if P::enforces(Safeguard::MoveFolioLock) {
            self.folio.unlock::<P>();
        }
        self.folio.put::<P>(1);
    }
}
