//! `madvise`: what a process says of its pages. (`MADV_COLLAPSE` is in [`collapse`](crate::collapse).)
//!
//! Locks: whoever asks keeps the VMA in place with its lock for reading, or with `mmap_lock` for reading; the rest is what
//! `zap.rs` takes.

use crate::accounting::Fact;
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::Marker;
use crate::fault::FaultError;
use crate::gup;
use crate::gup::slow::GupError;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::mmap::MmapError;
use crate::page_table::{pmd_alloc, pmd_offset, pte_alloc, pte_offset_map_lock};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::reclaim::make_old;
use crate::userfault::Event;
use crate::userfault::change::Change;
use crate::vma::Vma;
use crate::zap::{Markers, discard_range, split_huge_pmd, zap_range};

/// Gives up the pages of a range; the mapping stays. (Linux: `madvise(MADV_DONTNEED)`)
///
/// # Errors
/// [`MmapError::Invalid`] if no VMA covers the range.
pub fn dontneed<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    with_vma(mm, range, Some(Event::Remove), |vma| {
        discard_range(vma, range)
    })
    .ok_or(MmapError::Invalid)
}

/// Says that the pages of a range will not be used soon: reclaim may take them first. (Linux: `madvise(MADV_COLD)`)
///
/// # Errors
/// [`MmapError::Invalid`] if no VMA covers the range.
pub fn cold<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    with_vma(mm, range, None, |vma| make_old(vma, range)).ok_or(MmapError::Invalid)
}

/// Makes each access to a range raise SIGSEGV, and gives up the pages that are there. The mapping stays.
/// (Linux: `madvise(MADV_GUARD_INSTALL)`)
///
/// # Errors
/// [`MmapError::Invalid`] if no VMA covers the range, [`MmapError::NoMemory`]; [`MmapError::Again`] if others map pages
/// there as fast as they are unmapped (Linux then makes the call again by itself). Some guards may be there then.
pub fn guard_install<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    with_vma(mm, range, None, |vma| {
        // Before any guard: who finds the flag unset under the lock of a table finds no guard in the table.
        if P::enforces(Safeguard::GuardFlagFirst) {
            vma.set_maybe_guard();
        }
        let result = range
            .each_page()
            .try_for_each(|addr| install_guard(vma, addr));
        vma.set_maybe_guard();
        result
    })
    .unwrap_or(Err(MmapError::Invalid))
}

/// Takes the guards of a range away. (Linux: `madvise(MADV_GUARD_REMOVE)`)
///
/// # Errors
/// [`MmapError::Invalid`] if no VMA covers the range.
pub fn guard_remove<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    with_vma(mm, range, None, |vma| {
        for addr in range.each_page() {
            let table = pmd_offset(mm, addr).and_then(pte_offset_map_lock);
            if let Some(table) = table
                && table.get(addr).as_marker() == Some(Marker::Guard)
            {
                P::observe(Fact::Unguarded(vma.mm.id, addr));
                table.take(addr);
            }
        }
    })
    .ok_or(MmapError::Invalid)
}

/// Has all pages of a range mapped, for reading or for writing. (Linux: `madvise(MADV_POPULATE_READ)`, `MADV_POPULATE_WRITE`)
///
/// # Errors
/// [`MmapError::NoMemory`] if nothing is mapped somewhere or no frame is free, [`MmapError::Invalid`] if the mapping does not allow
/// the access, [`MmapError::Fault`] where an access would raise SIGBUS or SIGSEGV, [`MmapError::HwPoison`] where a page is
/// poisoned. Pages before that one are mapped then.
pub fn populate<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    write: bool,
) -> Result<(), MmapError> {
    range.each_page().try_for_each(|addr| {
        gup::slow::populate(mm, addr, write).map_err(|error| match error {
            GupError::NoVma => MmapError::NoMemory,
            GupError::NotPermitted => MmapError::Invalid,
            GupError::Fault(FaultError::HwPoison) => MmapError::HwPoison,
            GupError::Fault(FaultError::OutOfMemory) => MmapError::NoMemory,
            GupError::Fault(_) => MmapError::Fault,
        })
    })
}

/// How often a guard makes room for itself (Linux: `MAX_MADVISE_GUARD_RETRIES`).
const GUARD_RETRIES: usize = 3;

/// Puts a guard at `addr`. A page that is there is unmapped first, and again if another one comes meanwhile.
fn install_guard<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr) -> Result<(), MmapError> {
    let page = AddrRange::pages(addr, 1);
    let pmd = pmd_alloc(vma.mm, addr).ok_or(MmapError::NoMemory)?;
    for _ in 0..=GUARD_RETRIES {
        if pmd.read_once("read pmd").is_huge() {
            split_huge_pmd(vma, pmd);
        }
        if !pte_alloc(pmd) {
            return Err(MmapError::NoMemory);
        }
        // The table may be gone again, or a huge page be there: start over.
        let Some(table) = pte_offset_map_lock(pmd) else {
            continue;
        };
        let old = table.get(addr);
        if old.is_none() || old.as_marker().is_some() {
            P::observe(Fact::Guarded(vma.mm.id, addr));
            table.set_marker(addr, Marker::Guard);
            return Ok(());
        }
        drop(table);
        zap_range(vma, page, Markers::Keep);
        if !P::enforces(Safeguard::GuardRecheckEntry)
            && let Some(table) = pte_offset_map_lock(pmd)
        {
            P::observe(Fact::Guarded(vma.mm.id, addr));
            table.set_marker(addr, Marker::Guard);
            return Ok(());
        }
    }
    Err(MmapError::Again)
}

/// What `advise` gives for the VMA that covers `range`, which stays meanwhile; `None` if there is none. Userfaultfd is told
/// of `event` before.
///
/// Tries with the lock of the VMA alone, but not where userfaultfd is to be told of it, for which `mmap_lock` is needed.
fn with_vma<P: Platform, R>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    event: Option<Event>,
    advise: impl FnOnce(Ref<P, Vma<P>>) -> R,
) -> Option<R> {
    if P::protocol().madvise_under_vma_lock
        && let Some(vma) = mm.lock_vma_under_rcu(range.start)
    {
        if vma.range.covers(range) && !vma.is_uffd_armed_protected() {
            let result = advise(vma);
            vma.end_read();
            return Some(result);
        }
        vma.end_read();
    }
    mm.mmap_read_lock();
    let covering = || {
        mm.find_vma(range.start)
            .filter(|vma| vma.range.covers(range))
    };
    let mut vma = covering();
    let change = vma
        .zip(event)
        .and_then(|(vma, event)| Change::begin(vma, event, range));
    if let Some(change) = change {
        mm.mmap_read_unlock();
        change.tell();
        mm.mmap_read_lock();
        // It may be gone by now.
        vma = covering();
    }
    let result = vma.map(advise);
    mm.mmap_read_unlock();
    result
}
