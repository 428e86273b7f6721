//! Faults on anonymous memory where nothing is mapped.
//!
//! Guarantee: a page of zeros appears, unless a userfaultfd wants to fill it.
//!
//! Locks: those of [`fault`](super), lock of the table. Nothing but that lock decides who maps a page first.

use super::{Fault, FaultError, Vmf, prepare_private, set_anon_pte};
use crate::folio::Folio;
use crate::page_table::{PmdRef, pte_alloc, pte_offset_map_lock};
use crate::platform::{Order, Platform};
use crate::userfault::{Reason, handle_userfault};

/// Maps a new page. (Linux: `do_anonymous_page`)
pub(super) fn do_anonymous_page<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>) -> Fault<P> {
    if !pte_alloc(pmd) {
        return Err(FaultError::OutOfMemory);
    }
    prepare_private(vmf)?;
    let folio = Folio::alloc::<P>(Order::Small, true).ok_or(FaultError::OutOfMemory)?;
    P::clear_page(folio.pfn());
    folio.mark_uptodate::<P>();
    let Some(table) = pte_offset_map_lock(pmd).filter(|table| !vmf.changed(table)) else {
        folio.put::<P>(1);
        return Ok(());
    };
    if vmf.vma.is_uffd_missing_protected() {
        // Only now: before the lock was taken, the page that is missing could have come and gone.
        drop(table);
        folio.put::<P>(1);
        return handle_userfault(vmf.vma, vmf.addr, Reason::Missing);
    }
    set_anon_pte(vmf.vma, &table, vmf.addr, folio);
    Ok(())
}
