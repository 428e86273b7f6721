//! `retract_page_tables`: the emptied page tables are taken from every process that maps the object, while those
//! processes run.
//!
//! Guarantee: no entry is lost that the page cache cannot restore, and nobody uses a table that was taken.
//!
//! Locks, in order: the folio lock of the new huge folio and those of all old ones (the caller's), `i_mmap_rwsem` for reading,
//! pmd lock, lock of the table. No `mmap_lock`, no VMA lock: the processes' faults go on.
//!
//! Why that is enough (`linux-6.6`), by who could put something into the table:
//!
//! * A fault on a page of the object needs the folio, which is locked. A hole was closed.
//! * A write to a private mapping copies a page that is mapped (none is), or needs the locked folio.
//! * UFFDIO_COPY into a private VMA needs nothing of the object. But it attaches an `anon_vma` before it takes the lock of the
//!   table; so if it was first, the recheck under that lock sees it, and if it comes later, it finds the table gone.
//! * UFFDIO_WRITEPROTECT puts markers in, with nothing locked but the table. The VMA was registered before, so the recheck
//!   of the flag sees it in the same way.
//! * MADV_GUARD_INSTALL puts markers in, with the VMA lock for reading. The VMA was marked before, so the recheck of that
//!   flag sees it in the same way.
//! * UFFDIO_POISON puts a marker in and nothing tells of it: the one exception, which Linux accepts. A poisoned page that
//!   is present after all is user space's error.
//!
//! Since 6.14 somebody else may take the table first, MADV_DONTNEED that has emptied it; so whether there is one is looked at
//! under the pmd lock, which whoever takes one has.
//!
//! And by who could use the table after it is gone: walkers with a lock look again at the upper entry; walkers without
//! are RCU readers and see an empty table until the grace period ends; CPUs and IOMMUs that cached the
//! table's address are flushed before the grace period begins; KVM-like users are told by the notifier.
//!
//! Walking down to the table needs no lock of the process: its VMA is in the `i_mmap` list, and leaves it before
//! upper tables are freed.

use crate::accounting::{self, Fact};
use crate::addr::{AddrRange, PageIndex};
use crate::arch::Pte;
use crate::collapse::{ScanResult, Target, find_pmd};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_cache::Mapping;
use crate::page_table::{PmdRef, PteMap, pte_free_defer, pte_offset_map};
use crate::platform::{Platform, RawRwSem};
use crate::protocol::{Emptiness, Exclusion, Safeguard};
use crate::step::Step;
use crate::sync::ReadGuard;
use crate::tlb::pmdp_collapse_flush;
use crate::vma::{VM_MAYBE_GUARD, VM_UFFD_WP, Vma};

/// Takes the page tables away that map the huge range of the object at `start`. What comes of it for the `target`.
pub(super) fn retract_page_tables<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
    target: Option<&Target<P>>,
) -> ScanResult {
    if P::protocol().exclusion == Exclusion::MmapWrite {
        // It may map the object no more.
        let mut of_target = ScanResult::Fail;
        P::step(Step::Named("i_mmap_lock_write"));
        mapping.i_mmap_rwsem.write();
        for (vma, addr) in mapping.vmas_of(start) {
            if let Some(range) = vma.huge_range(addr).filter(|range| range.start == addr) {
                // The error is why this one process keeps its table for now.
                let result = retract_under_mmap_lock(vma, range, target);
                if target.is_some_and(|target| target.is_at(vma.mm, range.start)) {
                    of_target = result.err().unwrap_or(ScanResult::Succeed);
                }
            }
        }
        P::step(Step::Named("i_mmap_unlock_write"));
        mapping.i_mmap_rwsem.write_unlock();
        of_target
    } else {
        P::step(Step::Named("i_mmap_lock_read"));
        let _i_mmap = ReadGuard::read(&mapping.i_mmap_rwsem);
        for (vma, addr) in mapping.vmas_of(start) {
            if let Some(range) = vma.huge_range(addr).filter(|range| range.start == addr) {
                let _ = retract_one(vma, range);
            }
        }
        // It has its table taken like all others, and no huge entry yet.
        ScanResult::PteMappedHugepage
    }
}

/// One VMA, as it is done since 6.6.
fn retract_one<P: Platform>(vma: Ref<P, Vma<P>>, range: AddrRange) -> Result<(), ScanResult> {
    // These three are only to avoid work: nothing keeps them true.
    if vma.has_anon_vma("read anon_vma") {
        return Err(ScanResult::PageAnon);
    }
    let pmd = find_pmd(vma.mm, range.start)?;
    if P::enforces(Safeguard::ExitTest) && vma.mm.is_exiting() {
        return Err(ScanResult::AnyProcess);
    }
    let flags = vma.flags("check userfaultfd_wp and guards");
    if flags & VM_UFFD_WP != 0 {
        return Err(ScanResult::PteUffdWp);
    }
    if flags & VM_MAYBE_GUARD != 0 {
        return Err(ScanResult::PteNonPresent);
    }
    if P::protocol().exclusion == Exclusion::MmapRead {
        if !vma.mm.mmap_read_trylock() {
            return Err(ScanResult::Fail);
        }
        let result = if vma.is_uffd_wp_protected() {
            Err(ScanResult::PteUffdWp)
        } else {
            take_table(vma, pmd, range)
        };
        vma.mm.mmap_read_unlock();
        return result;
    }
    take_table(vma, pmd, range)
}

/// The part under the page-table locks.
fn take_table<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    range: AddrRange,
) -> Result<(), ScanResult> {
    let mm = vma.mm;
    let notifier =
        P::enforces(Safeguard::RetractNotifier).then(|| NotifierRange::<P>::start(mm, range));
    let old = {
        let pml = pmd.lockptr();
        let _pml = pmd.lock();
        // Retraction, which the folio lock keeps from running twice, cannot have emptied the entry; nor has an unmapping of
        // the VMA, which waits for i_mmap_rwsem. But MADV_DONTNEED can have (6.14). If there is another table since, it
        // is as good as the first: nothing can have been put into it either.
        let value = pmd.load_protected();
        if !value.is_table() {
            if !P::enforces(Safeguard::RetractRecheckTable) {
                P::observe(Fact::MissingTable(mm.id, range.start));
            }
            return Err(ScanResult::PmdNone);
        }
        let ptl = pmd.pte_lockptr(value);
        let _ptl = (ptl != pml || !P::enforces(Safeguard::CompareLocks))
            .then(|| ptl.lock(Step::Pmd("ptl", mm.id, range.start)));
        if !is_retractable(vma, pmd, range) {
            return Err(ScanResult::PageAnon);
        }
        pmdp_collapse_flush(pmd, range)
    };
    drop(notifier);
    book_removed_table(mm, old, range);
    pte_free_defer::<P>(old.pfn());
    Ok(())
}

/// Whether the table holds nothing that the page cache cannot restore. The caller has its lock.
///
/// The lock is all the order that the flags need: whoever put something into the table had set or seen them set before
/// it took the lock, so that they are seen here if what it put in would be.
fn is_retractable<P: Platform>(vma: Ref<P, Vma<P>>, pmd: PmdRef<P>, range: AddrRange) -> bool {
    if P::enforces(Safeguard::RecheckAnonVma) && vma.has_anon_vma("recheck anon_vma") {
        return false;
    }
    if P::enforces(Safeguard::RecheckUffdWp)
        && vma.flags("recheck userfaultfd_wp") & VM_UFFD_WP != 0
    {
        return false;
    }
    if P::enforces(Safeguard::RecheckGuard) && vma.flags("recheck guards") & VM_MAYBE_GUARD != 0 {
        return false;
    }
    match P::protocol().emptiness {
        Emptiness::VmaFlags => true,
        Emptiness::Scan => pte_offset_map(pmd).is_some_and(|table: PteMap<P>| {
            let mut addr = range.start;
            while range.contains(addr) {
                P::step(Step::Pte("scan pte_none", vma.mm.id, addr));
                if table.get(addr) != Pte::NONE {
                    return false;
                }
                addr = addr.add_pages(1);
            }
            true
        }),
    }
}

/// Books that a table was taken from an address space.
pub(super) fn book_removed_table<P: Platform>(mm: Ref<P, Mm<P>>, old: Pte, range: AddrRange) {
    P::observe(Fact::TableRemoved(old.pfn(), mm.id, range));
    accounting::mm_dec_nr_ptes(&*mm);
}

/// One VMA, as it was done until 6.5: with all locks of the process, or not at all.
///
/// The locks are asked for in the wrong order (under the folio lock and `i_mmap_rwsem`), and so can only be tried. `MADV_COLLAPSE`
/// tries those of its own process alone, where its `target` is, and leaves others to khugepaged, which has none.
fn retract_under_mmap_lock<P: Platform>(
    vma: Ref<P, Vma<P>>,
    range: AddrRange,
    target: Option<&Target<P>>,
) -> Result<(), ScanResult> {
    if vma.has_anon_vma("read anon_vma") {
        return Err(ScanResult::PageAnon);
    }
    let mm = vma.mm;
    let pmd = find_pmd(mm, range.start)?;
    let is_target = target.is_none_or(|target| target.is_at(mm, range.start));
    if !is_target || !mm.mmap_write_trylock() {
        // Whoever called for it takes it with the locks that it can wait for.
        return Err(ScanResult::PteMappedHugepage);
    }
    let result = retract_exclusively(vma, pmd, range);
    if result.is_ok()
        && target.is_some()
        && let Some(mapping) = vma.mapping
        && let Some(folio) = mapping.folio_protected(vma.index_of(range.start))
    {
        super::pte_mapped::set_huge_pmd(vma, pmd, folio);
    }
    mm.mmap_write_unlock();
    result
}

fn retract_exclusively<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    range: AddrRange,
) -> Result<(), ScanResult> {
    if !P::enforces(Safeguard::TryVmaLock) {
        vma.start_write();
    } else if !vma.try_start_write() {
        return Err(ScanResult::PteMappedHugepage);
    }
    if P::enforces(Safeguard::RecheckAnonVma) && vma.has_anon_vma("recheck anon_vma") {
        return Err(ScanResult::PageAnon);
    }
    if P::enforces(Safeguard::ExitTest) && vma.mm.is_exiting() {
        return Err(ScanResult::AnyProcess);
    }
    if P::enforces(Safeguard::RecheckUffdWp)
        && vma.flags("recheck userfaultfd_wp") & VM_UFFD_WP != 0
    {
        return Err(ScanResult::PteUffdWp);
    }
    if P::enforces(Safeguard::RecheckGuard) && vma.flags("recheck guards") & VM_MAYBE_GUARD != 0 {
        return Err(ScanResult::PteNonPresent);
    }
    collapse_and_free_pmd(vma, pmd, range);
    Ok(())
}

/// Takes a table from a process all of whose sleeping locks are held for writing. No page-table lock is needed: whoever
/// would take one needs one of those first; only the walks with interrupts off are left, and an IPI waits for them.
/// (Linux 6.4: `collapse_and_free_pmd`)
pub(super) fn collapse_and_free_pmd<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    range: AddrRange,
) {
    let mm = vma.mm;
    let notifier =
        P::enforces(Safeguard::RetractNotifier).then(|| NotifierRange::<P>::start(mm, range));
    let old = pmdp_collapse_flush(pmd, range);
    if P::enforces(Safeguard::DeferTableFree) {
        P::step(Step::Named("tlb_remove_table_sync_one"));
        P::sync_walkers();
    }
    drop(notifier);
    if old.is_table() {
        book_removed_table(mm, old, range);
        crate::page_table::free_table_now::<P>(old.pfn());
    }
}
