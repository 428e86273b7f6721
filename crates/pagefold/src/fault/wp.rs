//! Writes to pages that are mapped read-only.
//!
//! Guarantee: a private page is written only by the process that it belongs to; the page of an object that is mapped privately is
//! copied first.
//!
//! Locks: those of [`fault`](super), lock of the table; it is given up while a page is copied, so the entry is looked at again.

use super::{Fault, FaultError, Vmf, prepare_private, set_anon_pte};
use crate::accounting::PageKind;
use crate::addr::AddrRange;
use crate::folio::Folio;
use crate::notifier::NotifierRange;
use crate::page_table::{PmdRef, pte_offset_map_lock};
use crate::platform::{FlushKind, Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::remove_mapping;
use crate::tlb::flush_tlb_range_notify;
use crate::userfault::{Reason, handle_userfault};

/// A write to a page that is mapped read-only. (Linux: `do_wp_page`)
pub(super) fn do_wp_page<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>) -> Fault<P> {
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
