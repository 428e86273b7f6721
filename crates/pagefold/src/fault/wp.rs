//! Writes to pages that are mapped read-only.
//!
//! Guarantee: a private page is written only by the process that it belongs to. The page of an object that is mapped privately, the
//! page of zeros, and a page that fork has shared with other processes are copied first. A page of a file is marked as dirty before it
//! can be written through an entry.
//!
//! A shared page that nobody else has any more is kept: no other reference to it exists. How many entries map it is not enough
//! to know: who pinned it and then unmapped it still reads it (CVE-2020-29374).
//!
//! Locks: those of [`fault`](super), lock of the table; it is given up while a page is copied, so the entry is looked at again.

use super::file::page_mkwrite;
use super::huge::{Outcome, do_huge_zero_wp_page};
use super::{Fault, FaultError, Vmf, prepare_private, set_anon_pte};
use crate::accounting::Fact;
use crate::addr::{AddrRange, Pfn};
use crate::arch::Pte;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::notifier::NotifierRange;
use crate::page_cache::Mapping;
use crate::page_table::{PmdRef, pte_offset_map_lock};
use crate::platform::{FlushKind, Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::remove_mapping;
use crate::tlb::flush_tlb_range_notify;
use crate::userfault::{Event, handle_userfault};
use crate::zap::split_huge_pmd;
use crate::zero::{is_huge_zero, is_zero_page};

/// A write to a page that is mapped read-only, or the wish to have it as one's own. (Linux: `do_wp_page`)
pub(super) fn do_wp_page<P: Platform>(vmf: &mut Vmf<P>, pmd: PmdRef<P>) -> Fault<P> {
    let Some(table) = pte_offset_map_lock(pmd) else {
        return Ok(());
    };
    if vmf.changed(&table) {
        return Ok(());
    }
    if vmf.orig.is_uffd_wp() && !vmf.unshare {
        let asynchronous = vmf
            .vma
            .userfaultfd()
            .is_some_and(|userfaultfd| userfaultfd.features().wp_async);
        if !asynchronous {
            drop(table);
            return handle_userfault(vmf.vma, vmf.addr, Event::WriteProtected);
        }
        // The missing protection is what tells of the write. Nothing is flushed, as no access becomes impossible.
        P::observe(Fact::Unprotected(vmf.vma.mm.id, vmf.addr));
        vmf.orig = vmf.orig.clear_uffd_wp();
        table.set(vmf.addr, vmf.orig);
    }
    if let Some(mapping) = vmf.vma.mapping.filter(|_| vmf.vma.wants_writenotify()) {
        let folio = Folio::of::<P>(vmf.orig.pfn());
        // The entry has a reference.
        folio.get::<P>(1);
        drop(table);
        wp_page_shared(vmf, mapping, pmd, folio);
        return Ok(());
    }
    if vmf.vma.is_shared() {
        table.set(vmf.addr, vmf.orig.mk_writable().mk_young().mk_dirty());
        return Ok(());
    }
    if is_zero_page::<P>(vmf.orig.pfn()) {
        drop(table);
        return wp_page_copy(vmf, pmd, None);
    }
    let folio = Folio::of::<P>(vmf.orig.pfn());
    if folio.is_anon::<P>() && can_reuse::<P>(folio, vmf.orig.pfn()) {
        if vmf.unshare {
            return Ok(());
        }
        let entry = vmf.orig.mk_writable().mk_young().mk_dirty();
        table.set(vmf.addr, vmf.vma.protect(entry));
        return Ok(());
    }
    // The entry has a reference, so the folio can be had while the table's lock is held.
    folio.get::<P>(1);
    drop(table);
    let result = wp_page_copy(vmf, pmd, Some(folio));
    folio.put::<P>(1);
    result
}

/// A write to a page of a file that is clean, or was when it was mapped. The caller's reference to the folio is given back.
///
/// Who writes the page back takes the permission to write from its entries with the folio locked, and then says that it is clean. So
/// it is locked here until the entry allows writing.
fn wp_page_shared<P: Platform>(
    vmf: &Vmf<P>,
    mapping: Ref<P, Mapping<P>>,
    pmd: PmdRef<P>,
    folio: Folio,
) {
    folio.lock::<P>();
    // It may have been given up meanwhile.
    if mapping.owns(folio) {
        page_mkwrite::<P>(folio);
        let locked = P::enforces(Safeguard::MkwriteLocked);
        if !locked {
            folio.unlock::<P>();
        }
        if let Some(table) = pte_offset_map_lock(pmd).filter(|table| !vmf.changed(table)) {
            table.set(vmf.addr, vmf.orig.mk_writable().mk_young().mk_dirty());
        }
        if locked {
            folio.unlock::<P>();
        }
    } else {
        folio.unlock::<P>();
    }
    folio.put::<P>(1);
}

/// A write to a huge page that is mapped read-only. If it belongs to somebody else too, or is that of zeros and no other is to be had, a copy of the one page is made once it is
/// mapped singly. (Linux: `do_huge_pmd_wp_page`)
pub(super) fn do_huge_pmd_wp_page<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>, value: Pte) {
    if is_huge_zero::<P>(value) {
        if do_huge_zero_wp_page(vmf, pmd, value) == Outcome::Done {
            return;
        }
    } else {
        let _pml = pmd.lock();
        if pmd.load_protected() != value {
            return;
        }
        let folio = Folio::of::<P>(value.pfn());
        if folio.is_anon::<P>() && can_reuse::<P>(folio, value.pfn()) {
            if vmf.unshare {
                return;
            }
            let entry = value.mk_writable().mk_young().mk_dirty();
            pmd.set("set_pmd", vmf.vma.protect(entry));
            return;
        }
    }
    split_huge_pmd(vmf.vma, pmd);
}

/// Whether a private page that an entry maps, the lock of whose table the caller has, belongs to this process alone.
/// (Linux: `wp_can_reuse_anon_folio`)
///
/// A page of a huge one that has no mark is copied as long as other pages of it are mapped, which have references as well.
///
/// Others can only get a reference through an entry, of which this is the only one, or from somebody who has one. So once
/// the one of the entry is the only one, it stays so while the lock is held; but for walks that are late and give theirs back.
fn can_reuse<P: Platform>(folio: Folio, page: Pfn) -> bool {
    if Folio::is_exclusive::<P>(page) {
        return true;
    }
    if !P::enforces(Safeguard::CowRefcount) {
        return folio.mapcount::<P>() == 1;
    }
    if folio.refcount::<P>() != 1 {
        return false;
    }
    Folio::set_exclusive::<P>(page, true);
    true
}

/// Copies a page for a private mapping; without `old`, it is the page of zeros. The table's lock is not held meanwhile, so
/// the entry is looked at again; the old translation is flushed before the copy is mapped. (Linux: `wp_page_copy`)
fn wp_page_copy<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>, old: Option<Folio>) -> Fault<P> {
    prepare_private(vmf)?;
    let copy = Folio::alloc::<P>(Order::Small, true).ok_or(FaultError::OutOfMemory)?;
    if old.is_some() {
        P::copy_page(copy.pfn(), vmf.orig.pfn());
    } else {
        P::clear_page(copy.pfn());
    }
    copy.mark_uptodate::<P>();
    let range = AddrRange::pages(vmf.addr, 1);
    let _notifier = NotifierRange::<P>::start(vmf.vma.mm, range);
    let table = pte_offset_map_lock(pmd)
        .filter(|table| !P::enforces(Safeguard::RecheckCowEntry) || !vmf.changed(table));
    let Some(table) = table else {
        copy.put::<P>(1);
        return Ok(());
    };
    let entry = table.take(vmf.addr);
    if P::enforces(Safeguard::FlushOnCow) {
        flush_tlb_range_notify(vmf.vma.mm, range, FlushKind::Leaves);
    }
    if let Some(old) = old {
        old.keep_dirty::<P>(entry);
        remove_mapping(old, vmf.vma, 1, old.kind::<P>());
    }
    set_anon_pte(vmf, &table, copy);
    drop(table);
    if let Some(old) = old {
        old.put::<P>(1);
    }
    Ok(())
}
