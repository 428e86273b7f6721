//! `collapse_pte_mapped_thp`: a process that maps the pages of a huge folio by small entries, or not at all, gets one huge
//! entry.
//!
//! Guarantee: each page stays reachable at its address with its content; private pages and markers stay.
//!
//! Locks, in order (`linux-6.6`): `mmap_lock` for reading, folio lock of the huge folio, (notifier), pmd lock, lock of the table.
//!
//! Why that is enough: `mmap_lock` keeps the VMA, which is looked up first, so that the upper tables are there. The folio
//! lock keeps the object's pages from being mapped. The entries are checked twice, the second time under the lock under
//! which they are then emptied. A table that was taken away before that has no entry to empty. Between emptying the entries
//! and clearing the upper entry the table's lock is given up, which is harmless where only the folio could fill
//! it; in a private VMA with userfaultfd anything could, so there the pmd lock is taken first and the table's lock
//! is kept (a98460494b16). An empty table may be taken away then by MADV_DONTNEED (6.14): so it stays mapped, that its
//! lock can be taken again, and whether the upper entry still names it is looked at with both locks held. So is
//! whether MADV_GUARD_INSTALL, which needs the VMA lock only, has put guards into it: entries are read again if the VMA
//! may have guards.

use crate::accounting::Fact;
use crate::accounting::{PageKind, add_mm_counter};
use crate::addr::{AddrRange, PageIndex, VirtAddr};
use crate::collapse::retract::{book_removed_table, collapse_and_free_pmd};
use crate::collapse::{ScanResult, find_pmd};
use crate::fault::do_set_pmd;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_cache::Mapping;
use crate::page_table::{
    PmdRef, PteMap, pte_free_defer, pte_offset_map_lock, pte_offset_map_nolock,
};
use crate::platform::{FlushKind, Platform};
use crate::protocol::{Exclusion, Safeguard};
use crate::step::Step;
use crate::sync::WriteGuard;
use crate::tlb::{flush_tlb_range, pmdp_collapse_flush};
use crate::vma::{VM_MAYBE_GUARD, Vma};

/// Maps the huge folio at `addr` by a huge entry; without `install`, only takes the small entries away.
pub(super) fn collapse_pte_mapped_thp<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    install: bool,
) -> ScanResult {
    let exclusive = P::protocol().exclusion == Exclusion::MmapWrite;
    if exclusive {
        mm.mmap_write_lock();
    } else {
        mm.mmap_read_lock();
    }
    let result = collapse_locked(mm, addr, install, exclusive);
    if exclusive {
        mm.mmap_write_unlock();
    } else {
        mm.mmap_read_unlock();
    }
    result.unwrap_or_else(|refusal| refusal)
}

fn collapse_locked<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    install: bool,
    exclusive: bool,
) -> Result<ScanResult, ScanResult> {
    if !install && mm.is_exiting() {
        // khugepaged is not a thread of the process; the process's own threads keep it from exiting.
        return Err(ScanResult::AnyProcess);
    }
    let lookup = || {
        let vma = mm.find_vma(addr).ok_or(ScanResult::VmaNull)?;
        let range = vma.allowed_huge_range(addr).ok_or(ScanResult::VmaCheck)?;
        Ok::<_, ScanResult>((vma, range))
    };
    let (vma, range) = if P::enforces(Safeguard::VmaLookupFirst) {
        let found = lookup()?;
        mapped_by_table(mm, addr)?;
        found
    } else {
        // munmap may have given mmap_lock up for writing and be freeing these tables.
        mapped_by_table(mm, addr)?;
        lookup()?
    };
    if vma.is_uffd_wp_protected() {
        return Err(ScanResult::PteUffdWp);
    }
    let mapping = vma.mapping.ok_or(ScanResult::VmaCheck)?;
    let folio = lock_huge_folio(mapping, vma.index_of(range.start))?;
    let locked = P::enforces(Safeguard::CollapseFolioLock);
    if !locked {
        folio.unlock::<P>();
    }
    let result = collapse_folio(vma, mapping, range, folio, install, exclusive);
    if locked {
        folio.unlock::<P>();
    }
    folio.put::<P>(1);
    result
}

/// The huge folio at `start`, with a reference and its lock. It may have been truncated or split since the collapse.
pub(super) fn lock_huge_folio<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
) -> Result<Folio, ScanResult> {
    let folio = mapping.lock_folio(start).ok_or(ScanResult::PageNull)?;
    if folio.is_huge::<P>() {
        return Ok(folio);
    }
    folio.unlock::<P>();
    folio.put::<P>(1);
    Err(ScanResult::PageCompound)
}

/// Nothing is to be done where a huge entry is; a table or nothing is worth going on.
fn mapped_by_table<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), ScanResult> {
    match find_pmd(mm, addr) {
        Ok(_) | Err(ScanResult::PmdNone | ScanResult::PmdNull) => Ok(()),
        Err(result) => Err(result),
    }
}

fn collapse_folio<P: Platform>(
    vma: Ref<P, Vma<P>>,
    mapping: Ref<P, Mapping<P>>,
    range: AddrRange,
    folio: Folio,
    install: bool,
    exclusive: bool,
) -> Result<ScanResult, ScanResult> {
    match find_pmd(vma.mm, range.start) {
        Ok(pmd) => {
            {
                let table = pte_offset_map_lock(pmd).ok_or(ScanResult::Fail)?;
                check_entries(&table, vma, range, folio)?;
            }
            if exclusive {
                take_table_exclusively(vma, mapping, pmd, range, folio)?;
            } else {
                take_table(vma, pmd, range, folio)?;
            }
        }
        Err(ScanResult::PmdNone | ScanResult::PmdNull) => {}
        Err(result) => return Err(result),
    }
    if !install {
        return Ok(ScanResult::Succeed);
    }
    let pmd = crate::page_table::pmd_alloc(vma.mm, range.start).ok_or(ScanResult::Fail)?;
    if set_huge_pmd(vma, pmd, folio) {
        Ok(ScanResult::Succeed)
    } else {
        Err(ScanResult::Fail)
    }
}

/// Maps the folio, which the caller has locked, by a huge entry, if nothing is there. Whether it did.
pub(super) fn set_huge_pmd<P: Platform>(vma: Ref<P, Vma<P>>, pmd: PmdRef<P>, folio: Folio) -> bool {
    folio.get::<P>(1);
    let done = do_set_pmd(vma, pmd, folio, false);
    if !done {
        folio.put::<P>(1);
    }
    done
}

/// Whether each entry is empty or maps the page of the folio that belongs there.
fn check_entries<P: Platform>(
    table: &PteMap<P>,
    vma: Ref<P, Vma<P>>,
    range: AddrRange,
    folio: Folio,
) -> Result<(), ScanResult> {
    let mut addr = range.start;
    while range.contains(addr) {
        let pte = table.get(addr);
        if !pte.is_none() {
            if !pte.is_present() {
                return Err(ScanResult::PteNonPresent);
            }
            if pte.pfn() != folio.page::<P>(vma.index_of(addr)) {
                return Err(ScanResult::Fail);
            }
        }
        addr = addr.add_pages(1);
    }
    Ok(())
}

/// Empties the entries that map the folio, up to the first that is something else. How many, and whether it got to
/// the end. The flush is the caller's.
fn clear_entries<P: Platform>(
    table: &PteMap<P>,
    range: AddrRange,
    vma: Ref<P, Vma<P>>,
    folio: Folio,
) -> (usize, Result<(), ScanResult>) {
    let mut cleared = 0;
    let mut addr = range.start;
    while range.contains(addr) {
        let pte = table.get(addr);
        let expected = pte.is_present() && pte.pfn() == folio.page::<P>(vma.index_of(addr));
        if expected || (!pte.is_none() && !P::enforces(Safeguard::RecheckEntries)) {
            folio.keep_dirty::<P>(table.take(addr));
            P::observe(Fact::Mapped(folio.pfn(), PageKind::Shmem, -1));
            folio.add_mapcount::<P>(-1);
            cleared += 1;
        } else if !pte.is_none() {
            return (cleared, Err(ScanResult::PteNonPresent));
        }
        addr = addr.add_pages(1);
    }
    (cleared, Ok(()))
}

/// Books that `cleared` entries do not map the folio any more.
fn give_back<P: Platform>(vma: Ref<P, Vma<P>>, folio: Folio, cleared: usize) {
    if cleared > 0 {
        folio.put::<P>(cleared);
        add_mm_counter(&*vma.mm, PageKind::Shmem, -(cleared as i64));
    }
}

/// With `mmap_lock` for reading (since 6.6).
fn take_table<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    range: AddrRange,
    folio: Folio,
) -> Result<(), ScanResult> {
    let mm = vma.mm;
    let notifier = NotifierRange::<P>::start(mm, range);
    let early =
        P::enforces(Safeguard::EarlyPmdLock) && vma.is_uffd_armed_protected() && !vma.is_shared();
    let pml = pmd.lockptr();
    let mut pml_guard = early.then(|| pmd.lock());
    let Some(table) = pte_offset_map_nolock(pmd) else {
        return Err(ScanResult::Fail);
    };
    let ptl = table.lockptr();
    let nested = |held: bool| ptl != pml || !held || !P::enforces(Safeguard::CompareLocks);
    let mut ptl_guard = nested(early).then(|| ptl.lock(Step::Pmd("ptl", mm.id, range.start)));
    let (cleared, result) = clear_entries(&table, range, vma, folio);
    if let Err(refusal) = result {
        drop(ptl_guard);
        drop(table);
        drop(pml_guard);
        if cleared > 0 {
            flush_tlb_range(mm, range, FlushKind::Leaves);
        }
        if P::enforces(Safeguard::GiveBackRefused) {
            give_back(vma, folio, cleared);
        }
        return Err(refusal);
    }
    let seen = table.seen;
    // Until the lock is taken again, the table may go, and its lock with it.
    let table = P::enforces(Safeguard::KeepTableMapped).then_some(table);
    if !early {
        drop(ptl_guard.take());
    }
    give_back(vma, folio, cleared);
    if !early {
        pml_guard = Some(pmd.lock());
        ptl_guard = nested(true).then(|| ptl.lock(Step::Pmd("ptl", mm.id, range.start)));
    }
    let is_same = pmd.load_protected() == seen || !P::enforces(Safeguard::CollapseRecheckTable);
    let has_guards = || {
        P::enforces(Safeguard::CollapseRecheckGuard)
            && vma.flags("recheck guards") & VM_MAYBE_GUARD != 0
            && table.as_ref().is_none_or(|table| !table.is_empty(range))
    };
    let taken = if is_same && !has_guards() {
        Some(pmdp_collapse_flush(pmd, range))
    } else {
        None
    };
    drop(ptl_guard);
    drop(table);
    drop(pml_guard);
    let Some(old) = taken else {
        // What is there now stays. The entries that were emptied are still cached.
        if cleared > 0 {
            flush_tlb_range(mm, range, FlushKind::Leaves);
        }
        return Err(ScanResult::Fail);
    };
    drop(notifier);
    if old.is_none() {
        P::observe(Fact::MissingTable(mm.id, range.start));
    }
    book_removed_table(mm, old, range);
    pte_free_defer::<P>(old.pfn());
    Ok(())
}

/// With all sleeping locks of the process for writing (until 6.5).
fn take_table_exclusively<P: Platform>(
    vma: Ref<P, Vma<P>>,
    mapping: Ref<P, Mapping<P>>,
    pmd: PmdRef<P>,
    range: AddrRange,
    folio: Folio,
) -> Result<(), ScanResult> {
    // Under the folio lock, against the lock order: in this protocol no fault waits for a folio with the VMA lock alone.
    vma.start_write_nested();
    P::step(Step::Named("i_mmap_lock_write"));
    let _i_mmap = WriteGuard::write(&mapping.i_mmap_rwsem);
    let (cleared, result) = {
        let table = pte_offset_map_lock(pmd).ok_or(ScanResult::Fail)?;
        clear_entries(&table, range, vma, folio)
    };
    if cleared > 0 && result.is_err() {
        flush_tlb_range(vma.mm, range, FlushKind::Leaves);
    }
    give_back(vma, folio, cleared);
    result?;
    // Set with `mmap_lock` for reading, which nobody has now.
    let anon_vma = vma.anon_vma_protected();
    let _anon_vma = anon_vma
        .as_ref()
        .map(|anon_vma| WriteGuard::write(&anon_vma.rwsem));
    collapse_and_free_pmd(vma, pmd, range);
    Ok(())
}
