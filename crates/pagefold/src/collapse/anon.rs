//! `collapse_huge_page`: the private pages of a process are copied into one huge page, which takes their place in its page tables.
//!
//! Guarantee: at every moment each page has one content, the same for everybody who may use it. All or nothing: if it does not
//! succeed, the table is back where it was, with all that it maps.
//!
//! Locks, in order: `mmap_lock` and the VMA lock, both for writing; `anon_vma` for writing until the pages are found fit; locks of
//! the pages (tried); pmd lock; lock of the table.
//!
//! Why that is enough: the table is taken out of the upper entry *with* all that it maps, for which nobody else may be in it.
//!
//! * Faults, and whoever else has the VMA lock or `mmap_lock` for reading, are kept out by the first two. MADV_DONTNEED may have
//!   taken the table away before (6.14): so the VMA lock is taken before the upper entry is looked at (366a4532d96f).
//! * Walks from a page to its entries are kept out by `anon_vma`. When that is given back, the upper entry is empty.
//! * CPUs and IOMMUs that have the table's address are flushed.
//! * Walks with interrupts off are waited for. Only then are the references of the pages counted: whoever pinned a page through the
//!   table is counted, and nobody comes later. Walks that are not waited for would be in a table that is put in store, and may
//!   be freed from there at any time. (A walk that looks at the upper entry again after it has its reference gives it back,
//!   70cbc3cc78a9; 2ba99c5e0881 is the waiting.)
//!
//! What is copied cannot change then: a page that fork has shared with other processes is read-only to them as well.
//!
//! Pages that are in swap are brought back before, with `mmap_lock` for reading: as that was not held while the huge page was
//! looked for, the VMA is looked up again. (Linux takes this second look also where no page is in swap.)

use crate::accounting::{Fact, PageKind};
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::collapse::{Caller, Part, ScanResult, copy_page, find_pmd};
use crate::fault::{Force, Want, fault_in};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::huge::map_private;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_table::{
    PmdRef, PtLockGuard, PteMap, deposit_table, pte_offset_map, pte_offset_map_copy,
    pte_offset_map_lock,
};
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::remove_mapping;
use crate::step::Step;
use crate::sync::WriteGuard;
use crate::tlb::pmdp_collapse_flush;
use crate::vma::Vma;
use crate::zero::is_zero_page;

/// Makes one huge page of the private pages around `addr`. The caller has no lock.
pub(super) fn scan_and_collapse<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    caller: Caller,
) -> ScanResult {
    mm.mmap_read_lock();
    let seen = scan(mm, addr, caller);
    mm.mmap_read_unlock();
    let result = match seen {
        Ok(seen) => {
            let result = collapse_huge_page(mm, addr, caller, &seen);
            Part::CollapseHugePage.ended::<P>(result);
            result
        }
        Err(refusal) => refusal,
    };
    Part::ScanPmd.ended::<P>(result);
    result
}

/// What is done when the table was found fit. The caller has no lock: `mmap_lock` is not held while a huge page is looked for, and all
/// may be different afterwards.
fn collapse_huge_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    caller: Caller,
    seen: &Seen<P>,
) -> ScanResult {
    let Some(new) = Folio::alloc::<P>(Order::Huge, true) else {
        return ScanResult::AllocHugePageFail;
    };
    if seen.swapped {
        mm.mmap_read_lock();
        let brought = swap_in(mm, addr, seen);
        mm.mmap_read_unlock();
        if let Err(refusal) = brought {
            new.put::<P>(1);
            return refusal;
        }
    }
    mm.mmap_write_lock();
    let result = collapse_locked(mm, addr, caller, seen, new);
    mm.mmap_write_unlock();
    match result {
        Ok(()) => ScanResult::Succeed,
        Err(refusal) => {
            new.put::<P>(1);
            refusal
        }
    }
}

/// The VMA, if private pages of it may become a huge one. The caller has `mmap_lock`. (Linux: `hugepage_vma_revalidate`)
fn revalidate<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
) -> Result<(Ref<P, Vma<P>>, AddrRange), ScanResult> {
    let vma = mm.find_vma(addr).ok_or(ScanResult::VmaNull)?;
    let range = vma.allowed_huge_range(addr).ok_or(ScanResult::VmaCheck)?;
    if !vma.is_anonymous() || !vma.has_anon_vma("read anon_vma") {
        return Err(ScanResult::PageAnon);
    }
    Ok((vma, range))
}

/// What was found with `mmap_lock` for reading.
struct Seen<P: Platform> {
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    /// Some of the pages are in swap.
    swapped: bool,
}

/// Whether a collapse is worth trying. The caller has `mmap_lock` for reading. (Linux: `hpage_collapse_scan_pmd`)
fn scan<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    caller: Caller,
) -> Result<Seen<P>, ScanResult> {
    let vma = mm.find_vma(addr).ok_or(ScanResult::VmaNull)?;
    let range = vma.allowed_huge_range(addr).ok_or(ScanResult::VmaCheck)?;
    let pmd = find_pmd(mm, addr)?;
    let table = pte_offset_map_lock(pmd).ok_or(ScanResult::PmdNull)?;
    let mut tally = Tally::default();
    for page in range.each_page() {
        let pte = table.get(page);
        if let Some(swap) = pte.as_swap() {
            tally.check_swap(swap.uffd_wp, caller)?;
        } else if let Some(migration) = pte.as_migration() {
            // It is waited for as for one in swap.
            tally.check_swap(migration.uffd_wp, caller)?;
        } else if let Some(marker) = pte.as_marker() {
            // Linux takes it for a page in swap here, and finds out when it is to bring it back.
            tally.check_swap(marker == Marker::UffdWp, caller)?;
        } else if let Some(folio) = tally.check_entry(vma, pte, caller)? {
            has_other_references::<P>(folio)?;
        }
    }
    tally.check_all::<P>(caller)?;
    let swapped = tally.swapped > 0;
    Ok(Seen { vma, pmd, swapped })
}

/// Brings the pages back that are in swap, as a read of each would. The caller has `mmap_lock` for reading, which was not held for a
/// while. What is moved out again meanwhile is found missing later. (Linux: `__collapse_huge_page_swapin`)
fn swap_in<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    seen: &Seen<P>,
) -> Result<(), ScanResult> {
    let vma = if P::enforces(Safeguard::SwapInRevalidate) {
        revalidate(mm, addr)?.0
    } else {
        seen.vma
    };
    let range = vma.allowed_huge_range(addr).ok_or(ScanResult::VmaCheck)?;
    for page in range.each_page() {
        // Before each: while a page is brought back, the table may go.
        let table = pte_offset_map(find_pmd(mm, page)?).ok_or(ScanResult::PmdNull)?;
        let pte = table.read_once(page);
        drop(table);
        if pte.as_marker().is_some() {
            return Err(ScanResult::Fail);
        }
        if pte.as_swap().is_some() || pte.as_migration().is_some() {
            fault_in(vma, page, Want::Read, Force::No).map_err(|_| ScanResult::Fail)?;
        }
    }
    Ok(())
}

/// What the entries of a table hold, as far as they were looked at.
#[derive(Default)]
struct Tally {
    none: usize,
    shared: usize,
    swapped: usize,
    writable: bool,
    /// So many pages were used lately.
    referenced: usize,
}

impl Tally {
    /// Looks at one entry more: the folio that it maps, if any, or why there is to be no huge page.
    fn check_entry<P: Platform>(
        &mut self,
        vma: Ref<P, Vma<P>>,
        pte: Pte,
        caller: Caller,
    ) -> Result<Option<Folio>, ScanResult> {
        if pte.is_none() || (pte.is_present() && is_zero_page::<P>(pte.pfn())) {
            self.none += 1;
            // Where nothing is there may soon be something to read, without a fault: userfaultfd would not be asked.
            let watched = P::enforces(Safeguard::MissingVmaCheck) && vma.is_uffd_armed_protected();
            return if watched || self.none > caller.max_ptes_none() {
                Err(ScanResult::ExceedNonePte)
            } else {
                Ok(None)
            };
        }
        if !pte.is_present() {
            return Err(ScanResult::PteNonPresent);
        }
        if pte.is_uffd_wp() {
            return Err(ScanResult::PteUffdWp);
        }
        self.writable |= pte.is_writable();
        self.referenced += usize::from(pte.is_young());
        let folio = Folio::of::<P>(pte.pfn());
        if !folio.is_anon::<P>() {
            return Err(ScanResult::PageAnon);
        }
        // An estimate, for a huge page: several entries may be this process's own. (Linux: `folio_likely_mapped_shared`)
        let own = folio.is_huge::<P>() && Folio::is_exclusive::<P>(pte.pfn());
        if folio.mapcount::<P>() > 1 && !own {
            self.shared += 1;
            if self.shared > caller.max_ptes_shared() {
                return Err(ScanResult::ExceedSharedPte);
            }
        }
        Ok(Some(folio))
    }

    /// Looks at one entry more, whose page is in swap, perhaps protected.
    fn check_swap(&mut self, uffd_wp: bool, caller: Caller) -> Result<(), ScanResult> {
        self.swapped += 1;
        if self.swapped > caller.max_ptes_swap() {
            Err(ScanResult::ExceedSwapPte)
        } else if uffd_wp {
            Err(ScanResult::PteUffdWp)
        } else {
            Ok(())
        }
    }

    /// Whether all of the entries together are worth it. To bring pages back half of them are to be in use.
    fn check_all<P: Platform>(&self, caller: Caller) -> Result<(), ScanResult> {
        let wanted = if self.swapped > 0 {
            P::PTRS_PER_TABLE / 2
        } else {
            1
        };
        if !self.writable && !P::protocol().collapses_read_only_pages {
            Err(ScanResult::PageRo)
        } else if self.referenced < wanted && caller != Caller::Madvise {
            Err(ScanResult::LackReferencedPage)
        } else {
            Ok(())
        }
    }
}

/// Refuses a page that somebody has a reference to who is no entry.
fn has_other_references<P: Platform>(folio: Folio) -> Result<(), ScanResult> {
    if folio.refcount::<P>() == folio.mapcount::<P>().unsigned_abs() {
        Ok(())
    } else {
        Err(ScanResult::PageCount)
    }
}

/// The part with `mmap_lock` for writing.
fn collapse_locked<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    caller: Caller,
    seen: &Seen<P>,
    new: Folio,
) -> Result<(), ScanResult> {
    let Seen { mut vma, pmd, .. } = *seen;
    if P::enforces(Safeguard::CollapseRevalidate) {
        (vma, _) = revalidate(mm, addr)?;
    }
    let range = vma.allowed_huge_range(addr).ok_or(ScanResult::VmaCheck)?;
    let keeps_out = P::enforces(Safeguard::CollapseVmaLock);
    let early = P::enforces(Safeguard::VmaLockFirst);
    if keeps_out && early {
        vma.start_write();
    }
    if P::enforces(Safeguard::CollapsePmdCheck) {
        // The upper tables may be others.
        if !find_pmd(mm, addr)?.is_same_entry(pmd) {
            return Err(ScanResult::Fail);
        }
    }
    if keeps_out && !early {
        vma.start_write();
    }
    let anon_vma = vma
        .anon_vma_protected()
        .filter(|_| P::enforces(Safeguard::CollapseAnonVmaLock));
    let walks = anon_vma.as_ref().map(|anon_vma| {
        P::step(Step::Named("anon_vma_lock_write"));
        WriteGuard::write(&anon_vma.rwsem)
    });
    let taken = Taken::take(vma, pmd, range)?;
    let isolated = match taken.isolate(caller) {
        Ok(isolated) => isolated,
        Err(refusal) => {
            taken.put_back();
            return Err(refusal);
        }
    };
    // They find nothing from now on until the huge page is there.
    drop(walks);
    if let Err(refusal) = taken.copy_to(new) {
        // Before the pages are unlocked, for which walks from them wait.
        taken.put_back();
        isolated.unlock::<P>();
        return Err(refusal);
    }
    new.mark_uptodate::<P>();
    isolated.unlock::<P>();
    taken.unmap_pages();
    taken.install(new);
    Ok(())
}

/// A table that is not attached any more, with all that it maps.
struct Taken<P: Platform> {
    vma: Ref<P, Vma<P>>,
    range: AddrRange,
    table: PteMap<P>,
}

impl<P: Platform> Taken<P> {
    /// Takes the table out of the upper entry, and waits until nobody is in it.
    fn take(vma: Ref<P, Vma<P>>, pmd: PmdRef<P>, range: AddrRange) -> Result<Self, ScanResult> {
        let notifier = NotifierRange::<P>::start(vma.mm, range);
        let old = {
            let _pml = pmd.lock();
            pmdp_collapse_flush(pmd, range)
        };
        drop(notifier);
        if P::enforces(Safeguard::SyncWalkers) {
            P::step(Step::Named("tlb_remove_table_sync_one"));
            P::sync_walkers();
        }
        let Some(table) = pte_offset_map_copy(pmd, old) else {
            P::observe(Fact::MissingTable(vma.mm.id, range.start));
            return Err(ScanResult::PmdNull);
        };
        Ok(Self { vma, range, table })
    }

    fn lock(&self) -> PtLockGuard<P> {
        let step = Step::Pmd("ptl", self.vma.mm.id, self.range.start);
        self.table.lockptr().lock(step)
    }

    /// Locks the pages, and finds that nobody else uses them. (Linux: `__collapse_huge_page_isolate`)
    fn isolate(&self, caller: Caller) -> Result<Isolated, ScanResult> {
        let mut isolated = Isolated::default();
        let result = self.isolate_all(&mut isolated, caller);
        if result.is_err() {
            isolated.unlock::<P>();
        }
        Part::Isolate.ended::<P>(result.err().unwrap_or(ScanResult::Succeed));
        result.map(|()| isolated)
    }

    fn isolate_all(&self, isolated: &mut Isolated, caller: Caller) -> Result<(), ScanResult> {
        let _ptl = self.lock();
        let mut tally = Tally::default();
        for addr in self.range.each_page() {
            let mut pte = self.table.get(addr);
            if !P::enforces(Safeguard::IsolateUffdWp) {
                pte = pte.clear_uffd_wp();
            }
            if let Some(folio) = tally.check_entry(self.vma, pte, caller)?
                && !isolated.contains::<P>(folio)
            {
                if !folio.try_lock::<P>() {
                    return Err(ScanResult::PageLock);
                }
                isolated.push::<P>(folio);
                if P::enforces(Safeguard::RefcountCheck) {
                    has_other_references::<P>(folio)?;
                }
            }
        }
        tally.check_all::<P>(caller)
    }

    /// Attaches the table again. `anon_vma` is still locked, or all pages are.
    fn put_back(self) {
        if !P::enforces(Safeguard::PutBackTable) {
            return;
        }
        let pmd = self.table.pmd;
        let _pml = pmd.lock();
        pmd.set("pmd_populate", self.table.seen);
    }

    /// Copies the content; nobody can change it now.
    fn copy_to(&self, new: Folio) -> Result<(), ScanResult> {
        for (page, addr) in self.range.each_page().enumerate() {
            let to = new.pfn().add(page);
            let pte = self.table.get(addr);
            if pte.is_none() || is_zero_page::<P>(pte.pfn()) {
                if P::enforces(Safeguard::ClearHoles) {
                    P::clear_page(to);
                }
            } else {
                copy_page::<P>(to, pte.pfn())?;
            }
        }
        Ok(())
    }

    /// Empties the table, and gives the references of its entries back.
    fn unmap_pages(&self) {
        let _ptl = self.lock();
        for addr in self.range.each_page() {
            let old = self.table.get(addr);
            if old.is_none() {
                continue;
            }
            self.table.take(addr);
            if !is_zero_page::<P>(old.pfn()) {
                let folio = Folio::of::<P>(old.pfn());
                remove_mapping(folio, self.vma, 1, PageKind::Anon);
                folio.put::<P>(1);
            }
        }
    }

    /// Maps the huge page, whose reference goes to the entry, and puts the table in store.
    fn install(self, new: Folio) {
        let (vma, pmd) = (self.vma, self.table.pmd);
        let _pml = pmd.lock();
        deposit_table(pmd, self.table.seen.pfn());
        map_private(vma, pmd, self.range, new);
    }
}

/// Folios that are locked.
#[derive(Default)]
struct Isolated {
    first: Option<Folio>,
}

impl Isolated {
    fn folios<P: Platform>(&self) -> impl Iterator<Item = Folio> {
        core::iter::successors(self.first, |folio| folio.next_on_list::<P>())
    }

    /// Whether it is there already: several entries may map pages of one huge page.
    fn contains<P: Platform>(&self, folio: Folio) -> bool {
        self.folios::<P>().any(|other| other == folio)
    }

    fn push<P: Platform>(&mut self, folio: Folio) {
        folio.set_next_on_list::<P>(self.first);
        self.first = Some(folio);
    }

    /// The entries' references keep the folios until this is done.
    fn unlock<P: Platform>(&self) {
        let mut next = self.first;
        while let Some(folio) = next {
            next = folio.next_on_list::<P>();
            folio.unlock::<P>();
        }
    }
}
