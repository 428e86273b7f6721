//! Faults on pages of an object.
//!
//! Guarantee: a page of an object is mapped only with its folio locked and found to be the one that the object has; so nobody
//! maps a page of a folio that collapse has locked.
//!
//! Locks, in order: those of [`fault`](super), folio lock, pmd lock or lock of the table.

use super::huge::add_object_page;
use super::{Fault, FaultError, Vmf, prepare_private, set_anon_pte};
use crate::accounting::PageKind;
use crate::addr::{AddrRange, PageIndex, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::filemap::read_folio;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{CacheError, Found, Mapping};
use crate::page_table::{PmdRef, PteLocked, pte_alloc, pte_offset_map_lock};
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::add_mapping;
use crate::userfault::{Event, handle_userfault};
use crate::vma::Vma;

/// A fault where nothing is mapped, in a mapping of an object.
pub(super) fn do_fault<P: Platform>(
    vmf: &Vmf<P>,
    mapping: Ref<P, Mapping<P>>,
    pmd: PmdRef<P>,
) -> Fault<P> {
    if (vmf.write || vmf.unshare) && !vmf.vma.is_shared() {
        return do_cow_fault(vmf, mapping, pmd);
    }
    // No fault-around where each page may have a marker of its own, or is an event of its own.
    // (Linux: `uffd_disable_fault_around`)
    let each_its_own = vmf.vma.is_uffd_wp_protected()
        || vmf.vma.is_uffd_minor_protected() && P::enforces(Safeguard::MinorNoFaultAround);
    if !vmf.write && !each_its_own && do_fault_around(vmf, mapping, pmd)? {
        return Ok(());
    }
    let Some(folio) = object_fault(vmf, mapping)? else {
        return Ok(());
    };
    if vmf.write && vmf.vma.wants_writenotify() {
        page_mkwrite::<P>(folio);
    }
    let result = finish_fault(vmf, pmd, folio, false);
    folio.unlock::<P>();
    result
}

/// Pages that a read fault maps at once, at most (Linux: `fault_around_pages`, 64 KiB); of a huge folio it maps all, if
/// the VMA has room for that (Linux: from 6.18), and the fault is not behind the end, where others would raise SIGBUS.
const FAULT_AROUND: usize = 16;

/// Maps the pages around the fault that are in the cache and can be had without waiting. Whether the faulting page is
/// among them. (Linux: `do_fault_around`, `filemap_map_pages`)
fn do_fault_around<P: Platform>(
    vmf: &Vmf<P>,
    mapping: Ref<P, Mapping<P>>,
    pmd: PmdRef<P>,
) -> Result<bool, FaultError<P>> {
    let vma = vmf.vma;
    let whole = P::PTRS_PER_TABLE > FAULT_AROUND
        && vma.allowed_huge_range(vmf.addr).is_some()
        && vmf.index().0 < mapping.i_size()
        && is_huge_at(&*mapping, vmf.index());
    let window = if whole {
        P::PTRS_PER_TABLE
    } else {
        FAULT_AROUND.min(P::PTRS_PER_TABLE)
    };
    let mut addr = vmf.addr.huge_start(window).max(vma.range.start);
    let table_end = AddrRange::pages(
        vmf.addr.huge_start(P::PTRS_PER_TABLE),
        P::PTRS_PER_TABLE as u64,
    )
    .end;
    // A VMA that begins in the window moves it.
    let end = addr
        .add_pages(window as u64)
        .min(table_end)
        .min(vma.range.end);
    let mut mapped = false;
    while addr < end {
        let index = vma.index_of(addr);
        if let Some(folio) = next_uptodate_folio(&*mapping, index) {
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

/// Whether a huge folio caches `index`, as far as can be told without its lock.
fn is_huge_at<P: Platform>(mapping: &Mapping<P>, index: PageIndex) -> bool {
    let folio = mapping.peek_folio(index).ok().flatten();
    folio.is_some_and(|folio| {
        let huge = folio.is_huge::<P>();
        folio.put::<P>(1);
        huge
    })
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
        && do_set_pmd(vmf.vma, pmd, folio, false)
    {
        return Around::HugeMapped;
    }
    if !pte_alloc(pmd) {
        return Around::NoMemory;
    }
    let Some(table) = pte_offset_map_lock(pmd) else {
        return Around::TableGone;
    };
    if !table.get(addr).is_none() || lost_private(vmf.vma) {
        return Around::Occupied;
    }
    set_file_pte(vmf.vma, &table, addr, folio, false);
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
/// event for userfaultfd; pages of a file are read. `None`: the page came by other means, try the access again.
/// (Linux: `shmem_fault`, `filemap_fault`)
fn object_fault<P: Platform>(
    vmf: &Vmf<P>,
    mapping: Ref<P, Mapping<P>>,
) -> Result<Option<Folio>, FaultError<P>> {
    let index = vmf.index();
    loop {
        if index.0 >= mapping.i_size() {
            return Err(FaultError::SigBus);
        }
        if mapping.is_file() {
            return read_folio(mapping, index).map(Some).map_err(fault_error);
        }
        let found = mapping.find(index);
        if found != Found::Hole && vmf.vma.is_uffd_minor_protected() {
            // Also one that is not up to date: somebody is bringing it back.
            found.put::<P>();
            handle_userfault(vmf.vma, vmf.addr, Event::Minor)?;
            return Ok(None);
        }
        if let Some(folio) = Mapping::lock_found(mapping, index, found).map_err(fault_error)? {
            // A small one that was cut off is not in the cache any more. A huge one that somebody uses reaches behind the end.
            if folio.is_huge::<P>()
                && P::enforces(Safeguard::RecheckSize)
                && index.0 >= mapping.i_size()
            {
                folio.unlock::<P>();
                folio.put::<P>(1);
                return Err(FaultError::SigBus);
            }
            if !folio.is_uptodate::<P>() {
                // Allocated, never written: Linux takes it for a page of fallocate and clears it.
                P::clear_page(folio.page::<P>(index));
                folio.mark_uptodate::<P>();
            }
            return Ok(Some(folio));
        }
        if found != Found::Hole {
            continue;
        }
        if vmf.vma.is_uffd_missing_protected() {
            handle_userfault(vmf.vma, vmf.addr, Event::Missing)?;
            return Ok(None);
        }
        if let Some(folio) = add_object_page(vmf, mapping) {
            return Ok(Some(folio));
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
                if error != CacheError::Occupied {
                    return Err(fault_error(error));
                }
            }
        }
    }
}

/// Makes a page of a file ready to be written through an entry, which the caller makes with the folio locked, as it is by now: who
/// writes it back comes later, and finds the entry. (Linux: `filemap_page_mkwrite`)
pub(super) fn page_mkwrite<P: Platform>(folio: Folio) {
    folio.mark_dirty::<P>();
}

/// What becomes of a fault whose page the cache could not take.
fn fault_error<P: Platform>(error: CacheError) -> FaultError<P> {
    match error {
        CacheError::BeyondEnd => FaultError::SigBus,
        CacheError::NoMemory | CacheError::Occupied => FaultError::OutOfMemory,
    }
}

/// A write to a private mapping where nothing is mapped: copies the page of the object. The lock of the
/// page is held until the copy is mapped, so that the table is not taken away in between.
fn do_cow_fault<P: Platform>(
    vmf: &Vmf<P>,
    mapping: Ref<P, Mapping<P>>,
    pmd: PmdRef<P>,
) -> Fault<P> {
    prepare_private(vmf)?;
    let copy = Folio::alloc::<P>(Order::Small, true).ok_or(FaultError::OutOfMemory)?;
    let source = match object_fault(vmf, mapping) {
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

/// Maps the page of a fault. The reference goes to the entry, or is given back if the entry is not as the
/// fault found it. (Linux: `finish_fault`)
fn finish_fault<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>, folio: Folio, cow: bool) -> Fault<P> {
    let vma = vmf.vma;
    if !cow
        && folio.is_huge::<P>()
        && pmd.read_once("read pmd").is_none()
        && do_set_pmd(vma, pmd, folio, vmf.write)
    {
        return Ok(());
    }
    if !pte_alloc(pmd) {
        folio.put::<P>(1);
        return Err(FaultError::OutOfMemory);
    }
    let mut result = Ok(());
    let mapped = match pte_offset_map_lock(pmd) {
        Some(_) if lost_private(vma) => {
            result = Err(FaultError::SigBus);
            false
        }
        Some(table) if !vmf.changed(&table) => {
            if cow {
                set_anon_pte(vmf, &table, folio);
            } else {
                set_file_ptes(vmf, &table, folio);
            }
            true
        }
        _ => false,
    };
    if !mapped {
        folio.put::<P>(1);
    }
    result
}

/// Whether a private copy may have been where nothing is now. The caller has the lock of the table.
fn lost_private<P: Platform>(vma: Ref<P, Vma<P>>) -> bool {
    !vma.is_shared() && vma.mm.is_unstable()
}

/// Whether a huge folio of a file has pages behind its end, as a truncation found it in use and could not split it. The caller has its lock,
/// for which truncation waits after it has changed the size. Of memory such a folio is mapped whole, in Linux too.
fn reaches_over_end<P: Platform>(vma: Ref<P, Vma<P>>, folio: Folio) -> bool {
    let end = folio.index::<P>().0 + folio.pages::<P>() as u64;
    P::enforces(Safeguard::HugeWithinSize)
        && vma
            .mapping
            .is_some_and(|mapping| mapping.is_file() && end > mapping.i_size())
}

/// Maps a huge folio of the object by one entry, if nothing is there and the VMA allows it; the reference goes to
/// the entry. Whether it did. (Linux: `do_set_pmd`)
pub(crate) fn do_set_pmd<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    folio: Folio,
    write: bool,
) -> bool {
    // A huge page of a file is read: the page that is written is mapped singly, to be made ready by itself.
    let written = write && vma.wants_writenotify();
    if written || vma.allowed_huge_range(pmd.addr).is_none() || reaches_over_end(vma, folio) {
        return false;
    }
    let _pml = pmd.lock();
    if !pmd.load_protected().is_none() {
        return false;
    }
    add_mapping(folio, vma, P::PTRS_PER_TABLE, PageKind::Shmem);
    // Where writes may have to be heard of, only one that is under way is allowed. (Linux: `vma_wants_writenotify`)
    let quiet = write || !vma.is_uffd_wp_protected();
    let writable = vma.is_shared() && !vma.wants_writenotify() && quiet;
    let mut entry = Pte::huge(folio.pfn(), writable);
    if write {
        entry = entry.mk_dirty();
    }
    pmd.set("set_pmd", vma.protect(entry));
    true
}

/// Maps the page of a fault, whose folio is locked; of a huge one all that is before the end, if nothing is in the table yet. One
/// reference goes to the entry of the page; the others have their own. (Linux: `finish_fault`; that maps what is behind the end, too)
fn set_file_ptes<P: Platform>(vmf: &Vmf<P>, table: &PteLocked<P>, folio: Folio) {
    let vma = vmf.vma;
    for addr in whole_folio(vmf, table, folio).into_iter().flatten() {
        folio.get::<P>(1);
        set_file_pte(vma, table, addr, folio, vmf.write);
    }
    set_file_pte(vma, table, vmf.addr, folio, vmf.write);
}

/// The other pages that a fault on a page of a huge folio maps, if it does: not where each page is an event of its own, and all or
/// none.
fn whole_folio<P: Platform>(
    vmf: &Vmf<P>,
    table: &PteLocked<P>,
    folio: Folio,
) -> Option<impl Iterator<Item = VirtAddr>> {
    let vma = vmf.vma;
    let mapping = vma.mapping.filter(|mapping| !mapping.is_file())?;
    if !P::protocol().maps_whole_folios || !folio.is_huge::<P>() || vma.is_uffd_armed_protected() {
        return None;
    }
    let start = vma.huge_range(vmf.addr)?.start;
    let pages = move || (0..P::PTRS_PER_TABLE as u64).map(move |page| start.add_pages(page));
    if !pages().all(|addr| table.get(addr).is_none()) {
        return None;
    }
    let (fault, size) = (vmf.addr, mapping.i_size());
    Some(pages().filter(move |&addr| addr != fault && vma.index_of(addr).0 < size))
}

fn set_file_pte<P: Platform>(
    vma: Ref<P, Vma<P>>,
    table: &PteLocked<P>,
    addr: VirtAddr,
    folio: Folio,
    write: bool,
) {
    let writable = vma.is_shared() && (write || !vma.wants_writenotify());
    let mut pte = Pte::page(folio.page::<P>(vma.index_of(addr)), writable);
    if write {
        // The store that faulted is about to be done: hardware finds nothing to note then.
        pte = pte.mk_dirty();
    }
    if table.get(addr).as_marker() == Some(Marker::UffdWp) {
        pte = pte.mk_uffd_wp();
    }
    add_mapping(folio, vma, 1, PageKind::Shmem);
    table.set(addr, vma.protect(pte));
}
