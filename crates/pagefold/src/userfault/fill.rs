//! Filling missing pages: UFFDIO_COPY, UFFDIO_ZEROPAGE, UFFDIO_POISON; and what all fillers have in common.
//!
//! Guarantee: a page appears, or an error says why not and nothing has changed.
//!
//! Locks, in order: `mmap_lock` for reading, folio lock (of a new page of the object), lock of the table.
//!
//! The table is made first of all, and may be gone again when it is needed: user space is told to try again.

use crate::accounting::{Fact, PageKind};
use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::mmap::{exit_mm, mmget_not_zero};
use crate::page_cache::{CacheError, Mapping};
use crate::page_table::{PmdRef, PteLocked, pmd_alloc, pte_alloc, pte_offset_map_lock};
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::{add_mapping, anon_vma_prepare};
use crate::userfault::UffdError;
use crate::vma::Vma;

/// Fills the missing page at `addr`; `fill` writes its content into a new frame. (Linux: `UFFDIO_COPY`)
///
/// In a private VMA the page is a private one, whatever the object holds; in a shared one it goes into the object.
/// With `protect`, the page is write-protected from the start. (Linux: `UFFDIO_COPY_MODE_WP`)
///
/// # Errors
/// See [`UffdError`]; nothing has changed then, but that a page table may have been made.
pub fn copy<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    protect: bool,
    fill: impl FnOnce(Pfn),
) -> Result<(), UffdError> {
    let manner = |vma| Manner::new(vma, protect);
    fill_page(mm, addr, manner, |vma, pmd, manner| {
        fill_new(vma, pmd, addr, fill, manner)
    })
}

/// Fills the missing page at `addr` with zeros; in a private mapping that is the page of zeros that all share. (Linux:
/// `UFFDIO_ZEROPAGE`)
///
/// # Errors
/// As [`copy`].
pub fn zeropage<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    let manner = Manner {
        room: Room::None,
        protect: false,
    };
    fill_page(
        mm,
        addr,
        |_| Ok(manner),
        |vma, pmd, manner| {
            if vma.is_shared() {
                return fill_new(vma, pmd, addr, P::clear_page, manner);
            }
            let table = writable_table(vma, pmd, addr, manner.room)?;
            if !vma.is_anonymous() {
                // It is not what the object has.
                P::observe(Fact::PrivatePage(vma.mm.id, addr, P::zero_page()));
            }
            table.set(addr, vma.protect(Pte::page(P::zero_page(), false)));
            Ok(())
        },
    )
}

/// Fills a missing page with a new one; a private one where there is `room`, in a shared VMA also where a marker is.
fn fill_new<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    addr: VirtAddr,
    fill: impl FnOnce(Pfn),
    manner: Manner,
) -> Result<(), UffdError> {
    if let Some(mapping) = vma.mapping.filter(|_| vma.is_shared()) {
        let room = Room::NoneOrMarker;
        return fill_shared(vma, pmd, mapping, addr, fill, Manner { room, ..manner });
    }
    let folio = Folio::alloc::<P>(Order::Small, true).ok_or(UffdError::NoMemory)?;
    fill(folio.pfn());
    folio.mark_uptodate::<P>();
    let result = install(vma, pmd, addr, folio, folio.pfn(), manner);
    if result.is_err() {
        folio.put::<P>(1);
    }
    result
}

/// Marks the page at `addr` as failed memory: an access raises SIGBUS. (Linux: `UFFDIO_POISON`)
///
/// # Errors
/// As [`copy`].
pub fn poison<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    fill_page(
        mm,
        addr,
        |_| Ok(()),
        |vma, pmd, ()| {
            let table = writable_table(vma, pmd, addr, Room::None)?;
            P::observe(Fact::Poisoned(vma.mm.id, addr));
            table.set_marker(addr, Marker::Poison);
            Ok(())
        },
    )
}

/// The frame of all fillers (Linux: `mfill_atomic`): finds the VMA, asks `check` whether it is one for that, makes a table, has it filled,
/// wakes waiters.
///
/// What is private gets its `anon_vma` first, even if it turns out not to be registered.
pub(super) fn fill_page<P: Platform, C>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    check: impl FnOnce(Ref<P, Vma<P>>) -> Result<C, UffdError>,
    fill: impl FnOnce(Ref<P, Vma<P>>, PmdRef<P>, C) -> Result<(), UffdError>,
) -> Result<(), UffdError> {
    with_vma(mm, addr, |vma| {
        // What is put into a private mapping is nothing that the page cache could restore.
        let first = P::enforces(Safeguard::CopyAnonVmaFirst);
        if first && !vma.is_shared() {
            anon_vma_prepare(vma);
        }
        if !vma.is_uffd_armed_protected() {
            return Err(UffdError::NoEntry);
        }
        let checked = check(vma)?;
        fill(vma, upper_entry(mm, addr)?, checked)?;
        if !first && !vma.is_shared() {
            anon_vma_prepare(vma);
        }
        wake(vma, addr);
        Ok(())
    })
}

/// As [`with_mm`], to the VMA at `addr`.
///
/// Some versions look whether the layout is changing before they take a lock, and again once they have found a VMA. So a change that
/// begins in between, and takes the VMA away, is no reason for them to try again: there is nothing.
fn with_vma<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    action: impl FnOnce(Ref<P, Vma<P>>) -> Result<(), UffdError>,
) -> Result<(), UffdError> {
    let find = || mm.find_vma(addr).ok_or(UffdError::NoEntry);
    if !P::protocol().fills_find_vma_first {
        return with_mm(mm, || action(find()?));
    }
    unless_changing(mm)?;
    with_lock(mm, || {
        let vma = find()?;
        unless_changing(mm)?;
        action(vma)
    })
}

/// As [`with_mm`], to the VMA at `addr` if it is registered as asked for.
pub(super) fn with_registered<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    is_registered: fn(&Vma<P>) -> bool,
    action: impl FnOnce(Ref<P, Vma<P>>) -> Result<(), UffdError>,
) -> Result<(), UffdError> {
    with_mm(mm, || {
        let vma = mm
            .find_vma(addr)
            .filter(|vma| is_registered(vma))
            .ok_or(UffdError::NoEntry)?;
        action(vma)
    })
}

/// Does something to an address space that its caller need not be a thread of, with `mmap_lock` for reading and while the layout is
/// not changing. It does not go away meanwhile: its tables are not being freed already.
pub(super) fn with_mm<P: Platform>(
    mm: Ref<P, Mm<P>>,
    action: impl FnOnce() -> Result<(), UffdError>,
) -> Result<(), UffdError> {
    with_lock(mm, || {
        unless_changing(mm)?;
        action()
    })
}

/// The part of [`with_mm`] that does not ask whether the layout is changing.
fn with_lock<P: Platform>(
    mm: Ref<P, Mm<P>>,
    action: impl FnOnce() -> Result<(), UffdError>,
) -> Result<(), UffdError> {
    let user = P::enforces(Safeguard::UserfaultfdUser);
    if user && !mmget_not_zero(mm) {
        return Err(UffdError::NoProcess);
    }
    mm.mmap_read_lock();
    let result = action();
    mm.mmap_read_unlock();
    if user {
        exit_mm(mm);
    }
    result
}

/// Fillers are told to try again while the layout is changing.
fn unless_changing<P: Platform>(mm: Ref<P, Mm<P>>) -> Result<(), UffdError> {
    if P::enforces(Safeguard::LayoutChanging) && mm.is_changing() {
        Err(UffdError::Again)
    } else {
        Ok(())
    }
}

/// Wakes who waits for the page at `addr`.
pub(super) fn wake<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr) {
    wake_range(vma, AddrRange::pages(addr, 1));
}

/// Wakes who waits for a page of a range.
pub(super) fn wake_range<P: Platform>(vma: Ref<P, Vma<P>>, range: AddrRange) {
    if let Some(userfaultfd) = vma.userfaultfd() {
        userfaultfd.wake(range);
    }
}

/// The upper entry of `addr`, with a table, made if need be. One that is not there any more counts as a huge page, as in Linux.
fn upper_entry<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<PmdRef<P>, UffdError> {
    let pmd = pmd_alloc(mm, addr).ok_or(UffdError::NoMemory)?;
    if !pte_alloc(pmd) {
        return Err(UffdError::NoMemory);
    }
    if pmd.read_once("read pmd").is_table() {
        Ok(pmd)
    } else {
        Err(UffdError::Exists)
    }
}

/// The table of `pmd`, locked, with room for an entry at `addr`.
fn writable_table<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    addr: VirtAddr,
    room: Room,
) -> Result<PteLocked<P>, UffdError> {
    if !P::enforces(Safeguard::CopySizeUnderLock) {
        check_size(vma, addr)?;
    }
    let table = pte_offset_map_lock(pmd).ok_or(UffdError::Again)?;
    // Truncation changes the size, and then takes this lock to unmap.
    if P::enforces(Safeguard::CopySizeUnderLock) {
        check_size(vma, addr)?;
    }
    let old = table.get(addr);
    if old.is_none() || (old.as_marker().is_some() && room == Room::NoneOrMarker) {
        Ok(table)
    } else {
        Err(UffdError::Exists)
    }
}

/// Nothing is mapped behind the end of an object.
///
/// The table was made before the size is read. Truncation changes the size, then looks for tables; if it finds none, no lock
/// is common to the two.
fn check_size<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    let Some(mapping) = vma.mapping else {
        return Ok(());
    };
    P::smp_mb();
    if vma.index_of(addr).0 < mapping.i_size() {
        Ok(())
    } else {
        Err(UffdError::Fault)
    }
}

/// What an entry may hold where something is filled in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Nothing.
    None,
    /// Nothing, or a marker, which goes. (Linux: `pte_none_mostly`)
    NoneOrMarker,
}

/// How a new page is mapped.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Where.
    room: Room,
    /// Write-protected.
    protect: bool,
}

impl Manner {
    /// Where nothing or a marker is; write-protected only in a VMA that is registered for that.
    pub(super) fn new<P: Platform>(vma: Ref<P, Vma<P>>, protect: bool) -> Result<Self, UffdError> {
        let room = Room::NoneOrMarker;
        if protect && !vma.is_uffd_wp_protected() {
            return Err(UffdError::Invalid);
        }
        Ok(Self { room, protect })
    }
}

/// Maps the page of a folio in frame `pfn`; the reference goes to the entry. A private mapping may
/// not write to a page of the object. (Linux: `mfill_atomic_install_pte`)
pub(super) fn install<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    addr: VirtAddr,
    folio: Folio,
    pfn: Pfn,
    manner: Manner,
) -> Result<(), UffdError> {
    let table = writable_table(vma, pmd, addr, manner.room)?;
    let kind = if folio.is_anon::<P>() {
        PageKind::Anon
    } else {
        PageKind::Shmem
    };
    let mut pte = Pte::page(pfn, vma.is_shared() || kind == PageKind::Anon).mk_dirty();
    match table.get(addr).as_marker() {
        // It is the new page that is asked to be protected, or not.
        Some(Marker::UffdWp) => P::observe(Fact::Unprotected(vma.mm.id, addr)),
        Some(Marker::Poison) => P::observe(Fact::Unpoisoned(vma.mm.id, addr)),
        Some(Marker::Guard) => P::observe(Fact::Unguarded(vma.mm.id, addr)),
        None => {}
    }
    add_mapping(folio, vma, 1, kind);
    if kind == PageKind::Anon {
        folio.set_anon::<P>(vma.anon_vma_of_page(), vma.index_of(addr));
        P::observe(Fact::PrivatePage(vma.mm.id, addr, folio.pfn()));
    }
    if manner.protect {
        pte = pte.mk_uffd_wp();
        P::observe(Fact::Protected(vma.mm.id, addr));
    }
    table.set(addr, vma.protect(pte));
    Ok(())
}

/// Fills a page of the object itself.
fn fill_shared<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    mapping: Ref<P, Mapping<P>>,
    addr: VirtAddr,
    fill: impl FnOnce(Pfn),
    manner: Manner,
) -> Result<(), UffdError> {
    let folio = Folio::alloc::<P>(Order::Small, false).ok_or(UffdError::NoMemory)?;
    fill(folio.pfn());
    folio.mark_uptodate::<P>();
    folio.lock_new::<P>();
    let index = vma.index_of(addr);
    let result = match Mapping::add_folio(mapping, folio, index) {
        Ok(()) => {
            P::observe(Fact::Filled(mapping.id, index, folio.pfn()));
            let result = install(vma, pmd, addr, folio, folio.pfn(), manner);
            if result.is_err() {
                // Nobody has mapped it, as it is locked.
                mapping.remove_folio(folio);
            }
            result
        }
        Err(CacheError::Occupied) => Err(UffdError::Exists),
        Err(CacheError::BeyondEnd) => Err(UffdError::Fault),
        Err(CacheError::NoMemory) => Err(UffdError::NoMemory),
    };
    folio.unlock::<P>();
    if result.is_err() {
        folio.put::<P>(1);
    }
    result
}
