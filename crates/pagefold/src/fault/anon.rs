//! Faults on anonymous memory where nothing is mapped.
//!
//! Guarantee: a page of zeros appears, unless a userfaultfd wants to fill it. A read maps the page of zeros that all share; the first
//! write copies it, as it would any page that belongs to somebody else.
//!
//! Locks: those of [`fault`](super), lock of the table. Nothing but that lock decides who maps a page first.

use super::{Fault, FaultError, Vmf, prepare_private, set_anon_pte};
use crate::arch::{Marker, Pte};
use crate::folio::Folio;
use crate::page_table::{PmdRef, PteLocked, pte_alloc, pte_offset_map_lock};
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::userfault::{Event, handle_userfault};

/// Maps the page of zeros or a new page. (Linux: `do_anonymous_page`)
pub(super) fn do_anonymous_page<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>) -> Fault<P> {
    if !pte_alloc(pmd) {
        return Err(FaultError::OutOfMemory);
    }
    let new = if vmf.write {
        prepare_private(vmf)?;
        let folio = Folio::alloc::<P>(Order::Small, true).ok_or(FaultError::OutOfMemory)?;
        P::clear_page(folio.pfn());
        folio.mark_uptodate::<P>();
        Some(folio)
    } else {
        None
    };
    let result = map_new(vmf, pmd, new);
    if let (Some(folio), false) = (new, matches!(result, Ok(true))) {
        folio.put::<P>(1);
    }
    result.map(|_| ())
}

/// Whether the page was mapped; its reference went to the entry then.
fn map_new<P: Platform>(
    vmf: &Vmf<P>,
    pmd: PmdRef<P>,
    new: Option<Folio>,
) -> Result<bool, FaultError<P>> {
    let Some(table) = pte_offset_map_lock(pmd) else {
        return Ok(false);
    };
    if P::enforces(Safeguard::RecheckAnonEntry) && vmf.changed(&table) {
        return Ok(false);
    }
    if vmf.vma.mm.is_unstable() {
        return Err(FaultError::SigBus);
    }
    if vmf.vma.is_uffd_missing_protected() {
        // Only now: before the lock was taken, the page may have come.
        drop(table);
        return handle_userfault(vmf.vma, vmf.addr, Event::Missing).map(|()| false);
    }
    match new {
        Some(folio) => set_anon_pte(vmf, &table, folio),
        None => set_zero_pte(vmf, &table),
    }
    Ok(true)
}

fn set_zero_pte<P: Platform>(vmf: &Vmf<P>, table: &PteLocked<P>) {
    let mut pte = Pte::page(P::zero_page(), false);
    if table.get(vmf.addr).as_marker() == Some(Marker::UffdWp) {
        pte = pte.mk_uffd_wp();
    }
    table.set(vmf.addr, vmf.vma.protect(pte));
}
