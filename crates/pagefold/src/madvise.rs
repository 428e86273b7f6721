//! `madvise`: what a process says of its pages. (`MADV_COLLAPSE` is in [`collapse`](crate::collapse).)
//!
//! Locks: whoever asks keeps the VMA in place with its lock for reading, or with `mmap_lock` for reading; the rest is what
//! `zap.rs` takes. Only [`hugepage`] changes VMAs, and has both for writing.

use crate::accounting::Fact;
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::Marker;
use crate::collapse::huge_range_from;
use crate::collapse::khugepaged::khugepaged_enter;
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
use crate::rmap::anon_vma_prepare;
use crate::userfault::Event;
use crate::userfault::change::Change;
use crate::vma::{VM_HUGEPAGE, VM_NOHUGEPAGE, Vma, join_around, split_around};
use crate::zap::{Markers, discard_range, split_huge_pmd, zap_range};

/// Gives up the pages of a range; the mapping stays. (Linux: `madvise(MADV_DONTNEED)`)
///
/// # Errors
/// [`MmapError::NoMemory`] if nothing is mapped in a part of the range.
pub fn dontneed<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    each_vma(mm, range, Some(Event::Remove), |vma, part| {
        discard_range(vma, part);
        Ok(())
    })
}

/// Says that the pages of a range will not be used soon: reclaim may take them first. (Linux: `madvise(MADV_COLD)`)
///
/// # Errors
/// [`MmapError::NoMemory`] if nothing is mapped in a part of the range.
pub fn cold<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    each_vma(mm, range, None, |vma, part| {
        make_old(vma, part);
        Ok(())
    })
}

/// Says whether the process wants huge pages in a range. If it does, its next access to a part of it that maps nothing may bring one; if it
/// does not, none are made there. (Linux: `madvise(MADV_HUGEPAGE)`, `madvise(MADV_NOHUGEPAGE)`)
///
/// Those that are there stay; but one that only a part of is in the range is mapped singly.
///
/// # Errors
/// [`MmapError::NoMemory`] if nothing is mapped in a part of the range.
pub fn hugepage<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    wanted: bool,
) -> Result<(), MmapError> {
    let AddrRange { mut start, end } = range;
    let mut result = Ok(());
    mm.mmap_write_lock();
    while start < end
        && let Some(vma) = mm.find_first_vma(AddrRange { start, end })
    {
        if vma.range.start > start {
            result = Err(MmapError::NoMemory);
        }
        let part = AddrRange {
            start: start.max(vma.range.start),
            end: end.min(vma.range.end),
        };
        want_huge(vma, part, wanted);
        start = part.end;
    }
    mm.mmap_write_unlock();
    if start < end {
        result = Err(MmapError::NoMemory);
    }
    result
}

/// As [`hugepage`], for a part of a VMA. Faults are kept out while the flags change. The caller has `mmap_lock` for writing.
fn want_huge<P: Platform>(vma: Ref<P, Vma<P>>, part: AddrRange, wanted: bool) {
    let mm = vma.mm;
    let others = vma.flags_protected() & !(VM_HUGEPAGE | VM_NOHUGEPAGE);
    let flags = others | if wanted { VM_HUGEPAGE } else { VM_NOHUGEPAGE };
    if flags == vma.flags_protected() {
        return;
    }
    split_around(mm, part);
    let Some(vma) = mm.find_vma(part.start) else {
        return;
    };
    vma.start_write();
    for end in [part.start, part.end] {
        // An entry that a cut goes through.
        if end.huge_start(P::PTRS_PER_TABLE) != end
            && let Some(pmd) = pmd_offset(mm, end)
        {
            split_huge_pmd(vma, pmd);
        }
    }
    vma.set_flags(flags);
    if wanted && huge_range_from(vma, part.start).is_some() {
        khugepaged_enter(mm);
    }
    join_around(mm, part);
}

/// Makes each access to a range raise SIGSEGV, and gives up the pages that are there. The mapping stays.
/// (Linux: `madvise(MADV_GUARD_INSTALL)`)
///
/// # Errors
/// [`MmapError::NoMemory`] if nothing is mapped in a part of the range, or no frame is free; [`MmapError::Again`] if others map pages
/// there as fast as they are unmapped (Linux then makes the call again by itself). Some guards may be there then.
pub fn guard_install<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    // An `anon_vma` is attached with `mmap_lock`.
    let enough = |vma: Ref<P, Vma<P>>| !vma.is_anonymous() || vma.has_anon_vma("read anon_vma");
    each_vma_if(mm, range, None, enough, |vma, part| {
        // Before any guard: who finds the flag unset under the lock of a table finds no guard in the table.
        if P::enforces(Safeguard::GuardFlagFirst) {
            vma.set_maybe_guard();
        }
        if vma.is_anonymous() {
            anon_vma_prepare(vma);
        }
        let result = part
            .each_page()
            .try_for_each(|addr| install_guard(vma, addr));
        vma.set_maybe_guard();
        result
    })
}

/// Takes the guards of a range away. (Linux: `madvise(MADV_GUARD_REMOVE)`)
///
/// # Errors
/// [`MmapError::NoMemory`] if nothing is mapped in a part of the range.
pub fn guard_remove<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    each_vma(mm, range, None, |vma, part| {
        for addr in part.each_page() {
            let table = pmd_offset(mm, addr).and_then(pte_offset_map_lock);
            if let Some(table) = table
                && table.get(addr).as_marker() == Some(Marker::Guard)
            {
                P::observe(Fact::Unguarded(vma.mm.id, addr));
                table.take(addr);
            }
        }
        Ok(())
    })
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
        if pmd.read_once("read pmd").is_leaf() {
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

/// Has `advise` do its work for each VMA of `range`, with the part that the VMA has of it, up to the first error. They stay meanwhile.
/// Userfaultfd is told of `event` before. Where nothing is mapped, that is an error at the end. (Linux: `madvise_walk_vmas`)
///
/// Tries with the lock of the VMA alone, but not where there are several, or userfaultfd is to be told of it: for that
/// `mmap_lock` is needed.
fn each_vma<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    event: Option<Event>,
    advise: impl FnMut(Ref<P, Vma<P>>, AddrRange) -> Result<(), MmapError>,
) -> Result<(), MmapError> {
    each_vma_if(mm, range, event, |_| true, advise)
}

/// As [`each_vma`], where the lock of a VMA is `enough` for some only.
fn each_vma_if<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    event: Option<Event>,
    enough: impl FnOnce(Ref<P, Vma<P>>) -> bool,
    mut advise: impl FnMut(Ref<P, Vma<P>>, AddrRange) -> Result<(), MmapError>,
) -> Result<(), MmapError> {
    if P::protocol().madvise_under_vma_lock
        && let Some(vma) = mm.lock_vma_under_rcu(range.start)
    {
        if vma.range.covers(range) && !vma.is_uffd_armed_protected() && enough(vma) {
            let result = advise(vma, range);
            vma.end_read();
            return result;
        }
        vma.end_read();
    }
    let AddrRange { mut start, end } = range;
    let mut result = Ok(());
    mm.mmap_read_lock();
    while start < end {
        let Some(mut vma) = mm.find_first_vma(AddrRange { start, end }) else {
            result = Err(MmapError::NoMemory);
            break;
        };
        if vma.range.start > start {
            result = Err(MmapError::NoMemory);
            start = vma.range.start;
        }
        let mut part = AddrRange {
            start,
            end: end.min(vma.range.end),
        };
        if let Some(change) = event.and_then(|event| Change::begin(vma, event, part)) {
            mm.mmap_read_unlock();
            change.tell();
            mm.mmap_read_lock();
            // It may be gone by now, or shorter.
            let Some(now) = mm.find_vma(start) else {
                result = Err(MmapError::NoMemory);
                break;
            };
            vma = now;
            part.end = part.end.min(vma.range.end);
        }
        if let Err(error) = advise(vma, part) {
            result = Err(error);
            break;
        }
        start = part.end;
    }
    mm.mmap_read_unlock();
    result
}
