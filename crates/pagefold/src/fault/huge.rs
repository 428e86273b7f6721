//! Faults that bring a huge page: the first access to a range that the process wants huge pages in, and the first write to the huge
//! page of zeros.
//!
//! Guarantee: a read of private memory maps the huge page of zeros, a write a huge page that belongs to this process alone. Either
//! comes with a table in store, so that it can be split at any time. A hole of an object becomes a huge page of zeros if all around it is a
//! hole. Where no huge page is to be had, the fault is one for a small page.
//!
//! Locks: those of [`fault`](super), pmd lock; for a page of an object the lock of the new folio, then `xa_lock`, under which all is
//! seen to be a hole still.
//!
//! Nothing but that lock decides who maps something first: another fault may have put a
//! table there, or a huge page, and MADV_DONTNEED may have taken it away again. Who registers a userfaultfd, forks, collapses or changes
//! the VMA waits for the lock of the VMA.
//!
//! That the range is registered is asked only once it is found empty: before that, the page may have come.

use super::{FaultError, Vmf, prepare_private};
use crate::accounting;
use crate::addr::{AddrRange, Pfn};
use crate::arch::Pte;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::huge::map_private;
use crate::notifier::NotifierRange;
use crate::page_cache::Mapping;
use crate::page_table::{PmdRef, deposit_table, free_table_now, new_table};
use crate::platform::{FlushKind, Order, Platform};
use crate::protocol::Safeguard;
use crate::tlb::flush_tlb_range_notify;
use crate::userfault::{Event, handle_userfault};

/// What a fault did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The access is to be tried again.
    Done,
    /// A small page will do.
    Fallback,
}

/// An access to anonymous memory where nothing is mapped. (Linux: `do_huge_pmd_anonymous_page`)
pub(super) fn do_huge_anonymous_page<P: Platform>(
    vmf: &Vmf<P>,
    pmd: PmdRef<P>,
) -> Result<Outcome, FaultError<P>> {
    let Some(range) = vmf.vma.wanted_huge_range(vmf.addr) else {
        return Ok(Outcome::Fallback);
    };
    prepare_private(vmf)?;
    let Some(new) = New::find::<P>(vmf.write) else {
        return Ok(Outcome::Fallback);
    };
    let Some(table) = new_table::<P>() else {
        new.give_up::<P>();
        return Err(FaultError::OutOfMemory);
    };
    let result = map_new(vmf, pmd, range, new, table);
    if !matches!(result, Ok(true)) {
        new.give_up::<P>();
        free_table_now::<P>(table);
    }
    result.map(|_| Outcome::Done)
}

/// What is to be mapped.
#[derive(Clone, Copy)]
enum New {
    /// The huge page of zeros.
    Zeros(Pfn),
    /// A page of the process's own.
    Own(Folio),
}

impl New {
    /// `None` if there is none.
    fn find<P: Platform>(write: bool) -> Option<Self> {
        if write {
            alloc_cleared::<P>(true).map(Self::Own)
        } else {
            P::huge_zero_page().map(Self::Zeros)
        }
    }

    /// It was not mapped.
    fn give_up<P: Platform>(self) {
        if let Self::Own(folio) = self {
            folio.put::<P>(1);
        }
    }
}

/// A huge page of zeros, private or not, that nobody else knows of.
fn alloc_cleared<P: Platform>(private: bool) -> Option<Folio> {
    let folio = Folio::alloc::<P>(Order::Huge, private)?;
    for page in 0..P::PTRS_PER_TABLE {
        P::clear_page(folio.pfn().add(page));
    }
    folio.mark_uptodate::<P>();
    Some(folio)
}

/// Whether it was mapped; the reference went to the entry then, and the table is in store.
fn map_new<P: Platform>(
    vmf: &Vmf<P>,
    pmd: PmdRef<P>,
    range: AddrRange,
    new: New,
    table: Pfn,
) -> Result<bool, FaultError<P>> {
    let vma = vmf.vma;
    let pml = pmd.lock();
    if P::enforces(Safeguard::RecheckHugeFault) && !pmd.load_protected().is_none() {
        return Ok(false);
    }
    if vma.mm.is_unstable() {
        return Err(FaultError::SigBus);
    }
    if vma.is_uffd_missing_protected() {
        drop(pml);
        return handle_userfault(vma, vmf.addr, Event::Missing).map(|()| false);
    }
    accounting::mm_inc_nr_ptes::<P>(&vma.mm);
    deposit_table(pmd, table);
    match new {
        New::Zeros(pfn) => pmd.set("set_pmd", vma.protect(Pte::huge(pfn, false))),
        New::Own(folio) => map_private(vma, pmd, range, folio),
    }
    Ok(true)
}

/// A write to the huge page of zeros, which `value` maps, or the wish to have one's own there: maps a huge page in its place, which
/// takes its table in store over. (Linux: `do_huge_zero_wp_pmd`, from 6.13)
///
/// The old translation is flushed before, as that of a small page is: another thread must not read zeros any more once this one
/// has read what it wrote.
pub(super) fn do_huge_zero_wp_page<P: Platform>(
    vmf: &Vmf<P>,
    pmd: PmdRef<P>,
    value: Pte,
) -> Outcome {
    let range = vmf.vma.huge_range(vmf.addr);
    let Some(range) = range.filter(|_| P::protocol().writes_huge_zero_page) else {
        return Outcome::Fallback;
    };
    let Some(folio) = alloc_cleared::<P>(true) else {
        return Outcome::Fallback;
    };
    let _notifier = NotifierRange::<P>::start(vmf.vma.mm, range);
    let pml = pmd.lock();
    let same = !P::enforces(Safeguard::RecheckHugeZero) || pmd.load_protected() == value;
    if same {
        pmd.take("pmdp_huge_clear_flush");
        if P::enforces(Safeguard::FlushOnCow) {
            flush_tlb_range_notify(vmf.vma.mm, range, FlushKind::LeavesAndTables);
        }
        map_private(vmf.vma, pmd, range, folio);
    }
    drop(pml);
    if !same {
        folio.put::<P>(1);
    }
    Outcome::Done
}

/// A new huge page of an object for the hole that a fault has found, with a reference and its lock. `None`: a small page will do.
/// (Linux: `shmem_alloc_and_add_folio`; there it may reach behind the end)
pub(super) fn add_object_page<P: Platform>(
    vmf: &Vmf<P>,
    mapping: Ref<P, Mapping<P>>,
) -> Option<Folio> {
    let range = vmf.vma.wanted_huge_range(vmf.addr)?;
    if P::shmem_huge_denied() {
        return None;
    }
    let folio = alloc_cleared::<P>(false)?;
    folio.lock_new::<P>();
    let added = Mapping::add_huge_folio(mapping, folio, vmf.vma.index_of(range.start));
    if added.is_err() {
        folio.unlock::<P>();
        folio.put::<P>(1);
        return None;
    }
    Some(folio)
}
