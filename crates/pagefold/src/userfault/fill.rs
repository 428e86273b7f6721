//! Filling missing pages: UFFDIO_COPY, UFFDIO_ZEROPAGE, UFFDIO_POISON.
//!
//! Guarantee: a page appears, or an error says why not and nothing has changed.
//!
//! Locks, in order: `mmap_lock` for reading, folio lock (of a new page of the object), lock of the table.

use crate::accounting::{Fact, PageKind};
use crate::addr::{Pfn, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_cache::{CacheError, Mapping};
use crate::page_table::{PteLocked, pmd_alloc, pte_alloc, pte_offset_map_lock};
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::{add_mapping, anon_vma_prepare};
use crate::userfault::UffdError;
use crate::vma::Vma;

/// Fills the missing page at `addr`; `fill` writes its content into a new frame. (Linux: `UFFDIO_COPY`)
///
/// In a private VMA the page is a private one, whatever the object holds; in a shared one it goes into the object.
///
/// # Errors
/// See [`UffdError`]; nothing has changed then, but that a page table may have been made.
pub fn copy<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    fill: impl FnOnce(Pfn),
) -> Result<(), UffdError> {
    fill_page(mm, addr, |vma| {
        if let Some(mapping) = vma.mapping.filter(|_| vma.is_shared()) {
            return fill_shared(vma, mapping, addr, fill);
        }
        if P::enforces(Safeguard::CopyAnonVmaFirst) {
            anon_vma_prepare(vma);
        }
        let folio = Folio::alloc::<P>(Order::Small, true).ok_or(UffdError::NoMemory)?;
        fill(folio.pfn());
        folio.mark_uptodate::<P>();
        let result = install(vma, addr, folio, PageKind::Anon);
        if result.is_err() {
            folio.put::<P>(1);
        } else if !P::enforces(Safeguard::CopyAnonVmaFirst) {
            anon_vma_prepare(vma);
        }
        result
    })
}

/// Fills the missing page at `addr` with zeros. (Linux: `UFFDIO_ZEROPAGE`)
///
/// # Errors
/// As [`copy`].
pub fn zeropage<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    copy(mm, addr, P::clear_page)
}

/// Marks the page at `addr` as failed memory: an access raises SIGBUS. (Linux: `UFFDIO_POISON`)
///
/// # Errors
/// As [`copy`].
pub fn poison<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    fill_page(mm, addr, |vma| {
        let table = writable_table(vma, addr, Room::None)?;
        P::observe(Fact::Poisoned(vma.mm.id, addr));
        table.set_marker(addr, Marker::Poison);
        Ok(())
    })
}

/// The frame of the three fillers (Linux: `mfill_atomic`): finds the VMA, makes the table, wakes waiters.
fn fill_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    fill: impl FnOnce(Ref<P, Vma<P>>) -> Result<(), UffdError>,
) -> Result<(), UffdError> {
    mm.mmap_read_lock();
    let result = match mm
        .find_vma(addr)
        .filter(|vma| vma.is_uffd_armed_protected())
    {
        Some(vma) => fill(vma).inspect(|()| {
            if let Some(userfaultfd) = vma.userfaultfd() {
                userfaultfd.wake();
            }
        }),
        None => Err(UffdError::NoEntry),
    };
    mm.mmap_read_unlock();
    result
}

/// The table for `addr`, made if need be, locked, with room for an entry at `addr`.
///
/// Between making and locking the table, retraction may take it away again: user space is told to try again.
fn writable_table<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    room: Room,
) -> Result<PteLocked<P>, UffdError> {
    let pmd = pmd_alloc(vma.mm, addr).ok_or(UffdError::NoMemory)?;
    if pmd.read_once("read pmd").is_huge() {
        return Err(UffdError::Exists);
    }
    if !pte_alloc(pmd) {
        return Err(UffdError::NoMemory);
    }
    let table = pte_offset_map_lock(pmd).ok_or(UffdError::Again)?;
    if vma
        .mapping
        .is_some_and(|mapping| vma.index_of(addr).0 >= mapping.i_size())
    {
        return Err(UffdError::Fault);
    }
    let old = table.get(addr);
    let protected = old.as_marker() == Some(Marker::UffdWp);
    if old.is_none() || (protected && room == Room::NoneOrProtected) {
        Ok(table)
    } else {
        Err(UffdError::Exists)
    }
}

/// What an entry may hold where something is filled in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Nothing.
    None,
    /// Nothing, or the protection that the new page will have.
    NoneOrProtected,
}

/// Maps a folio, whose reference goes to the entry, where nothing or a marker is.
/// (Linux: `mfill_atomic_install_pte`)
fn install<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    folio: Folio,
    kind: PageKind,
) -> Result<(), UffdError> {
    let table = writable_table(vma, addr, Room::NoneOrProtected)?;
    let mut pte = Pte::page(folio.pfn(), true).mk_dirty();
    if table.get(addr).as_marker() == Some(Marker::UffdWp) {
        pte = pte.mk_uffd_wp();
    }
    add_mapping(folio, vma, 1, kind);
    if kind == PageKind::Anon {
        folio.set_anon::<P>(vma.anon_vma_of_page(), vma.index_of(addr));
        P::observe(Fact::PrivatePage(vma.mm.id, addr, folio.pfn()));
    }
    table.set(addr, pte);
    Ok(())
}

/// Fills a page of the object itself.
fn fill_shared<P: Platform>(
    vma: Ref<P, Vma<P>>,
    mapping: Ref<P, Mapping<P>>,
    addr: VirtAddr,
    fill: impl FnOnce(Pfn),
) -> Result<(), UffdError> {
    let folio = Folio::alloc::<P>(Order::Small, false).ok_or(UffdError::NoMemory)?;
    fill(folio.pfn());
    folio.mark_uptodate::<P>();
    folio.lock_new::<P>();
    let index = vma.index_of(addr);
    let result = match Mapping::add_folio(mapping, folio, index) {
        Ok(()) => {
            P::observe(Fact::Filled(mapping.id, index, folio.pfn()));
            install(vma, addr, folio, PageKind::Shmem)
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
