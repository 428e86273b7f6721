//! Page faults (Linux: `mm/memory.c`).
//!
//! Guarantees: when a fault returns `Ok`, the access is tried again, and either goes through or meets something that
//! changed meanwhile. A page of an object is mapped only with its folio locked and found to be the one
//! that the object has; so nobody maps a page of a folio that collapse has locked.
//!
//! Locks, in order: VMA lock or `mmap_lock` for reading, folio lock, pmd lock or lock of the table.
//! The table that a fault finds may be taken away at any time before its lock is held: `None` from
//! `pte_offset_map_lock` makes the fault start over.

use core::fmt;

use crate::accounting::{Fact, PageKind};
use crate::addr::{AddrRange, PageIndex, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_cache::{CacheError, Mapping};
use crate::page_table::{
    PmdRef, PteLocked, pmd_alloc, pte_alloc, pte_offset_map_lock, pte_offset_map_nolock,
};
use crate::platform::{FlushKind, Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::{add_mapping, anon_vma_prepare, remove_mapping};
use crate::tlb::flush_tlb_range_notify;
use crate::userfault::{Reason, Userfaultfd, handle_userfault};
use crate::vma::Vma;
use crate::zap::split_huge_pmd;

/// Why an access cannot go on.
pub enum FaultError<P: Platform> {
    /// No VMA there (SIGSEGV).
    SigSegv,
    /// Behind the end of the object, or a userfaultfd that asks for it (SIGBUS).
    SigBus,
    /// A poison marker (SIGBUS, `BUS_MCEERR_AR`).
    HwPoison,
    /// No frame is free.
    OutOfMemory,
    /// Waiting for user space to fill or unprotect the page.
    Userfault(Ref<P, Userfaultfd<P>>, u64),
    /// The VMA lock is not enough: try again with `mmap_lock`.
    NeedsMmapLock,
}

impl<P: Platform> fmt::Debug for FaultError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SigSegv => "SIGSEGV",
            Self::SigBus => "SIGBUS",
            Self::HwPoison => "HWPOISON",
            Self::OutOfMemory => "ENOMEM",
            Self::Userfault(..) => "waiting for userfaultfd",
            Self::NeedsMmapLock => "needs mmap_lock",
        })
    }
}

type Fault<P> = Result<(), FaultError<P>>;

/// Handles a fault of a thread of `mm` at `addr`. The thread then tries its access again.
///
/// Tries with the lock of the VMA alone, then with `mmap_lock`. Waits for userfaultfd with no lock held.
///
/// # Errors
/// The signal that the thread gets; never [`FaultError::Userfault`] nor [`FaultError::NeedsMmapLock`].
pub fn handle_user_fault<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr, write: bool) -> Fault<P> {
    let mut result = Err(FaultError::NeedsMmapLock);
    if P::protocol().file_faults_under_vma_lock
        && let Some(vma) = mm.lock_vma_under_rcu(addr)
    {
        result = handle_mm_fault(Vmf::new(vma, addr, write, true));
        vma.end_read();
    }
    if matches!(result, Err(FaultError::NeedsMmapLock)) {
        mm.mmap_read_lock();
        result = match mm.find_vma(addr) {
            Some(vma) => handle_mm_fault(Vmf::new(vma, addr, write, false)),
            None => Err(FaultError::SigSegv),
        };
        mm.mmap_read_unlock();
    }
    if let Err(FaultError::Userfault(userfaultfd, seen)) = result {
        userfaultfd.wait(seen);
        return Ok(());
    }
    result
}

/// One fault.
struct Vmf<P: Platform> {
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    write: bool,
    /// Only the VMA lock is held, not `mmap_lock`.
    vma_lock_only: bool,
    /// What the entry held when the fault began.
    orig: Pte,
}

impl<P: Platform> Vmf<P> {
    fn new(vma: Ref<P, Vma<P>>, addr: VirtAddr, write: bool, vma_lock_only: bool) -> Self {
        Self {
            vma,
            addr,
            write,
            vma_lock_only,
            orig: Pte::NONE,
        }
    }

    fn index(&self) -> PageIndex {
        self.vma.index_of(self.addr)
    }

    /// Whether the entry is not as it was when the fault began.
    fn changed(&self, table: &PteLocked<P>) -> bool {
        table.get(self.addr) != self.orig
    }
}

/// Linux: `handle_mm_fault`, `handle_pte_fault`.
fn handle_mm_fault<P: Platform>(mut vmf: Vmf<P>) -> Fault<P> {
    let pmd = pmd_alloc(vmf.vma.mm, vmf.addr).ok_or(FaultError::OutOfMemory)?;
    let value = pmd.read_once("read pmd");
    if value.is_huge() {
        if vmf.write && !value.is_writable() {
            // Private: a copy of the one page is made once it is mapped singly.
            split_huge_pmd(vmf.vma, pmd);
        }
        return Ok(());
    }
    if value.is_table() {
        let Some(table) = pte_offset_map_nolock(pmd) else {
            return Ok(());
        };
        // Whoever goes to the page that it names compares it under the lock first.
        vmf.orig = table.read_once(vmf.addr);
    }
    match vmf.orig.as_marker() {
        Some(Marker::Poison) => return Err(FaultError::HwPoison),
        Some(Marker::UffdWp) | None => {}
    }
    if !vmf.orig.is_present() {
        return do_fault(&vmf, pmd);
    }
    if vmf.write && !vmf.orig.is_writable() {
        return do_wp_page(&vmf, pmd);
    }
    // Somebody else has mapped it; or the entry is gone and was read too early to see that. Having held the lock, the next look
    // sees what this one may have missed. (Linux looks at the entry again under the lock as well.)
    drop(pte_offset_map_lock(pmd));
    Ok(())
}

fn do_fault<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>) -> Fault<P> {
    if vmf.write && !vmf.vma.is_shared() {
        return do_cow_fault(vmf, pmd);
    }
    // No fault-around where each page may have a marker of its own.
    if !vmf.write && !vmf.vma.is_uffd_wp_protected() && do_fault_around(vmf, pmd)? {
        return Ok(());
    }
    let Some(folio) = shmem_fault(vmf)? else {
        return Ok(());
    };
    let result = finish_fault(vmf, pmd, folio, false);
    folio.unlock::<P>();
    result
}

/// Pages that a read fault maps at once, at most (Linux: `fault_around_pages`, 64 KiB).
const FAULT_AROUND: usize = 16;

/// Maps the pages around the fault that are in the cache and can be had without waiting. Whether the faulting page is
/// among them. (Linux: `do_fault_around`, `filemap_map_pages`)
fn do_fault_around<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>) -> Result<bool, FaultError<P>> {
    let vma = vmf.vma;
    let window = FAULT_AROUND.min(P::PTRS_PER_TABLE);
    let start = vmf.addr.huge_start(window);
    let mut addr = start.max(vma.range.start);
    let end = start.add_pages(window as u64).min(vma.range.end);
    let mut mapped = false;
    while addr < end {
        let index = vma.index_of(addr);
        if let Some(folio) = next_uptodate_folio(&vma.mapping, index) {
            let outcome = map_around(vmf, pmd, folio, addr);
            folio.unlock::<P>();
            match outcome {
                Around::Mapped => mapped |= addr == vmf.addr,
                Around::HugeMapped => return Ok(true),
                Around::Occupied => folio.put::<P>(1),
                Around::TableGone => {
                    folio.put::<P>(1);
                    return Ok(false);
                }
                Around::NoMemory => {
                    folio.put::<P>(1);
                    return Err(FaultError::OutOfMemory);
                }
            }
        }
        addr = addr.add_pages(1);
    }
    Ok(mapped)
}

/// What became of a page that fault-around tried to map.
enum Around {
    /// It is mapped; the reference went to the entry.
    Mapped,
    /// All pages of the table's range are mapped by one huge entry.
    HugeMapped,
    /// Something is there already.
    Occupied,
    /// The table was taken away.
    TableGone,
    NoMemory,
}

fn map_around<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>, folio: Folio, addr: VirtAddr) -> Around {
    if folio.is_huge::<P>()
        && pmd.read_once("read pmd").is_none()
        && do_set_pmd(vmf.vma, pmd, folio)
    {
        return Around::HugeMapped;
    }
    if !pte_alloc(pmd) {
        return Around::NoMemory;
    }
    let Some(table) = pte_offset_map_lock(pmd) else {
        return Around::TableGone;
    };
    if !table.get(addr).is_none() {
        return Around::Occupied;
    }
    set_file_pte(vmf.vma, &table, addr, folio);
    Around::Mapped
}

/// The folio that caches `index`, with a reference and its lock, if that takes no waiting.
fn next_uptodate_folio<P: Platform>(mapping: &Mapping<P>, index: PageIndex) -> Option<Folio> {
    let folio = mapping.peek_folio(index).ok().flatten()?;
    if !folio.try_lock::<P>() {
        folio.put::<P>(1);
        return None;
    }
    if mapping.owns(folio) && folio.is_uptodate::<P>() && index.0 < mapping.i_size() {
        return Some(folio);
    }
    folio.unlock::<P>();
    folio.put::<P>(1);
    None
}

/// The folio of the faulting page, with a reference and its lock; a hole is filled with a new page of zeros, or is an
/// event for userfaultfd. `None`: the page came by other means, try the access again. (Linux: `shmem_fault`)
fn shmem_fault<P: Platform>(vmf: &Vmf<P>) -> Result<Option<Folio>, FaultError<P>> {
    let mapping = vmf.vma.mapping;
    let index = vmf.index();
    loop {
        if index.0 >= mapping.i_size() {
            return Err(FaultError::SigBus);
        }
        if let Some(folio) = mapping.lock_folio(index) {
            if !folio.is_uptodate::<P>() {
                // Allocated, never written: Linux takes it for a page of fallocate and clears it.
                P::clear_page(folio.page::<P>(index));
                folio.mark_uptodate::<P>();
            }
            return Ok(Some(folio));
        }
        if vmf.vma.is_uffd_missing_protected() {
            handle_userfault(vmf.vma, vmf.addr, Reason::Missing)?;
            return Ok(None);
        }
        let folio = Folio::alloc::<P>(Order::Small, false).ok_or(FaultError::OutOfMemory)?;
        P::clear_page(folio.pfn());
        folio.mark_uptodate::<P>();
        folio.lock_new::<P>();
        match Mapping::add_folio(mapping, folio, index) {
            Ok(()) => return Ok(Some(folio)),
            Err(error) => {
                folio.unlock::<P>();
                folio.put::<P>(1);
                match error {
                    CacheError::Occupied => {}
                    CacheError::BeyondEnd => return Err(FaultError::SigBus),
                    CacheError::NoMemory => return Err(FaultError::OutOfMemory),
                }
            }
        }
    }
}

/// A write to a private mapping where nothing is mapped: copies the page of the object. The lock of the
/// page is held until the copy is mapped, so that the table is not taken away in between.
fn do_cow_fault<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>) -> Fault<P> {
    prepare_private(vmf)?;
    let copy = Folio::alloc::<P>(Order::Small, true).ok_or(FaultError::OutOfMemory)?;
    let source = match shmem_fault(vmf) {
        Ok(Some(source)) => source,
        other => {
            copy.put::<P>(1);
            return other.map(|_| ());
        }
    };
    P::copy_page(copy.pfn(), source.page::<P>(vmf.index()));
    copy.mark_uptodate::<P>();
    let result = finish_fault(vmf, pmd, copy, true);
    source.unlock::<P>();
    source.put::<P>(1);
    result
}

/// Attaches an `anon_vma`, for which the VMA lock is not enough. (Linux: `vmf_anon_prepare`)
fn prepare_private<P: Platform>(vmf: &Vmf<P>) -> Fault<P> {
    if vmf.vma.has_anon_vma("read anon_vma") {
        return Ok(());
    }
    if vmf.vma_lock_only {
        return Err(FaultError::NeedsMmapLock);
    }
    anon_vma_prepare(vmf.vma);
    Ok(())
}

/// Maps the page of a fault. The reference goes to the entry, or is given back if the entry is not as the
/// fault found it. (Linux: `finish_fault`)
fn finish_fault<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>, folio: Folio, cow: bool) -> Fault<P> {
    let vma = vmf.vma;
    if !cow
        && folio.is_huge::<P>()
        && pmd.read_once("read pmd").is_none()
        && do_set_pmd(vma, pmd, folio)
    {
        return Ok(());
    }
    if !pte_alloc(pmd) {
        folio.put::<P>(1);
        return Err(FaultError::OutOfMemory);
    }
    let mapped = match pte_offset_map_lock(pmd) {
        Some(table) if !vmf.changed(&table) => {
            if cow {
                set_anon_pte(vma, &table, vmf.addr, folio);
            } else {
                set_file_pte(vma, &table, vmf.addr, folio);
            }
            true
        }
        _ => false,
    };
    if !mapped {
        folio.put::<P>(1);
    }
    Ok(())
}

/// Maps a huge folio of the object by one entry, if nothing is there and the VMA allows it; the reference goes to
/// the entry. Whether it did. (Linux: `do_set_pmd`)
pub(crate) fn do_set_pmd<P: Platform>(vma: Ref<P, Vma<P>>, pmd: PmdRef<P>, folio: Folio) -> bool {
    if vma.is_uffd_wp_protected() || vma.huge_range(pmd.addr).is_none() {
        return false;
    }
    let _pml = pmd.lock();
    if !pmd.load_protected().is_none() {
        return false;
    }
    add_mapping(folio, vma, P::PTRS_PER_TABLE, PageKind::Shmem);
    pmd.set("set_pmd", Pte::huge(folio.pfn(), vma.is_shared()));
    true
}

fn set_file_pte<P: Platform>(
    vma: Ref<P, Vma<P>>,
    table: &PteLocked<P>,
    addr: VirtAddr,
    folio: Folio,
) {
    let mut pte = Pte::page(folio.page::<P>(vma.index_of(addr)), vma.is_shared());
    if table.get(addr).as_marker() == Some(Marker::UffdWp) {
        pte = pte.mk_uffd_wp();
    }
    add_mapping(folio, vma, 1, PageKind::Shmem);
    table.set(addr, pte);
}

fn set_anon_pte<P: Platform>(
    vma: Ref<P, Vma<P>>,
    table: &PteLocked<P>,
    addr: VirtAddr,
    folio: Folio,
) {
    let mut pte = Pte::page(folio.pfn(), true);
    if table.get(addr).as_marker() == Some(Marker::UffdWp) {
        pte = pte.mk_uffd_wp();
    }
    add_mapping(folio, vma, 1, PageKind::Anon);
    P::observe(Fact::PrivatePage(vma.mm.id, addr, folio.pfn()));
    table.set(addr, pte);
}

/// A write to a page that is mapped read-only. (Linux: `do_wp_page`)
fn do_wp_page<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>) -> Fault<P> {
    let Some(table) = pte_offset_map_lock(pmd) else {
        return Ok(());
    };
    if vmf.changed(&table) {
        return Ok(());
    }
    if vmf.orig.is_uffd_wp() {
        drop(table);
        return handle_userfault(vmf.vma, vmf.addr, Reason::WriteProtected);
    }
    let folio = Folio::of::<P>(vmf.orig.pfn());
    if vmf.vma.is_shared() || folio.is_anon::<P>() {
        table.set(vmf.addr, vmf.orig.mk_writable());
        return Ok(());
    }
    // The entry has a reference, so the folio can be had while the table's lock is held.
    folio.get::<P>(1);
    drop(table);
    let result = wp_page_copy(vmf, pmd, folio);
    folio.put::<P>(1);
    result
}

/// Copies a page of the object for a private mapping. The table's lock is not held meanwhile, so the entry is
/// looked at again; the old translation is flushed before the copy is mapped. (Linux: `wp_page_copy`)
fn wp_page_copy<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>, old: Folio) -> Fault<P> {
    prepare_private(vmf)?;
    let copy = Folio::alloc::<P>(Order::Small, true).ok_or(FaultError::OutOfMemory)?;
    P::copy_page(copy.pfn(), vmf.orig.pfn());
    copy.mark_uptodate::<P>();
    let range = AddrRange::pages(vmf.addr, 1);
    let _notifier = NotifierRange::<P>::start(vmf.vma.mm, range);
    let table = pte_offset_map_lock(pmd)
        .filter(|table| !P::enforces(Safeguard::RecheckCowEntry) || !vmf.changed(table));
    let Some(table) = table else {
        copy.put::<P>(1);
        return Ok(());
    };
    table.take(vmf.addr);
    if P::enforces(Safeguard::FlushOnCow) {
        flush_tlb_range_notify(vmf.vma.mm, range, FlushKind::Leaves);
    }
    remove_mapping(old, vmf.vma, 1, PageKind::Shmem);
    set_anon_pte(vmf.vma, &table, vmf.addr, copy);
    drop(table);
    old.put::<P>(1);
    Ok(())
}
