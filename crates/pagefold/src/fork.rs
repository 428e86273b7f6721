//! fork: a copy of an address space (Linux: `dup_mmap`, `copy_page_range`).
//!
//! Guarantee: the child begins with the memory that the parent has when fork returns, and from then on neither sees what the other
//! writes to private pages. Who has pinned a private page of the parent keeps the parent's page.
//!
//! Private pages are shared until one of the two writes: their entries become read-only on both sides, and the pages lose the mark
//! that they belong to one process alone. Pages of objects need no entries in the child, since faults bring them back; so only
//! tables of VMAs with private pages are copied.
//!
//! Locks, in order: `mmap_lock` of the parent, then of the child, both for writing; the VMA locks of the parent, until its
//! `mmap_lock` is released; semaphores of the family and of the object, one at a time, while a VMA is linked; lock of a table of the
//! child, then of the parent.
//!
//! Why that is enough:
//!
//! * Faults of the parent are kept out until its translation caches are flushed. Otherwise one thread's write could make a copy
//!   of a page that another thread still writes through a cached translation.
//! * GUP-fast takes no lock. While entries are being write-protected, `write_protect_seq` is odd, and afterwards it is another
//!   number: a pin that was taken meanwhile is given back. A pin that was taken before is seen, and its page is copied at once.
//!   Fork writes the number, then reads the references; GUP-fast pins, then reads the number. With a full barrier in each, one
//!   of them sees the other.
//! * A userfaultfd that follows forks gets one for the child, to which the child's VMAs are registered before others can find
//!   them; its monitor hears of that before fork returns. Else the child is not registered, and protections are left out.
//! * Collapse and reclaim find the VMA of the child as soon as it is linked. It has its `anon_vma` by then, so that retraction
//!   leaves its tables alone, as it does with those of the parent.

use crate::accounting::{self, Fact, PageKind};
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::{Marker, Migration, Pte, Swap};
use crate::collapse::khugepaged::khugepaged_fork;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::huge::{NotCopied, copy_huge_pmd, share_migration};
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_table::{
    PteMap, pmd_alloc, pmd_offset, pte_alloc, pte_offset_map_lock, pte_offset_map_nolock,
};
use crate::platform::{FlushKind, Link, Order, Platform, Word};
use crate::protocol::Safeguard;
use crate::rmap::{add_mapping, anon_vma_clone, anon_vma_clone_behind, link_vma, link_vma_behind};
use crate::step::Step;
use crate::swap;
use crate::tlb::{EVERYTHING, flush_tlb_range};
use crate::userfault::change::Forks;
use crate::vma::{VM_MAYBE_GUARD, Vma};
use crate::zap::split_huge_pmd;
use crate::zero::is_zero_page;

/// There was no frame for a page or table of the child (ENOMEM).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

/// Copies the address space of `parent` to `child`, which is new and empty.
///
/// # Errors
/// [`OutOfMemory`]; the child then has a part of the memory, and is to be taken apart with [`exit_mm`](crate::mmap::exit_mm).
pub fn dup_mmap<P: Platform>(
    parent: Ref<P, Mm<P>>,
    child: Ref<P, Mm<P>>,
) -> Result<(), OutOfMemory> {
    parent.mmap_write_lock();
    child.mmap_write_lock_nested();
    khugepaged_fork(parent, child);
    let mut result = Ok(());
    let mut forks = Forks::new();
    let mut next = parent.vmas.load_protected();
    while let Some(vma) = next.filter(|_| result.is_ok()) {
        result = dup_vma(vma, child, &mut forks);
        next = vma.next.load_protected();
    }
    child.mmap_write_unlock();
    if P::enforces(Safeguard::FlushOnFork) {
        flush_tlb_range(parent, EVERYTHING, FlushKind::Leaves);
    }
    P::observe(Fact::Forked(parent.id, child.id));
    parent.mmap_write_unlock();
    forks.finish(result.is_ok());
    result
}

fn dup_vma<P: Platform>(
    old: Ref<P, Vma<P>>,
    child: Ref<P, Mm<P>>,
    forks: &mut Forks<P>,
) -> Result<(), OutOfMemory> {
    if P::enforces(Safeguard::ForkVmaLock) {
        old.start_write();
    }
    let new = old.for_child(child);
    forks.inherit(new, old);
    if P::enforces(Safeguard::ForkAnonVmaFirst) {
        join_family(new, old);
    }
    P::observe(Fact::ForkedRange(old.mm.id, child.id, old.range));
    P::observe(Fact::Permitted(child.id, old.range, old.protection()));
    if P::enforces(Safeguard::ChildVmaBehind) {
        link_vma_behind(old, new);
    } else {
        link_vma(new);
    }
    child.insert_vma(new);
    let result = if vma_needs_copy(new, old) {
        copy_page_range(new, old)
    } else {
        Ok(())
    };
    if !P::enforces(Safeguard::ForkAnonVmaFirst) {
        join_family(new, old);
    }
    result
}

/// Who walks the family comes to the parent first: what it changes there before that is copied is copied as it is then, and what was copied
/// before is come to later.
fn join_family<P: Platform>(new: Ref<P, Vma<P>>, old: Ref<P, Vma<P>>) {
    if P::enforces(Safeguard::ChildVmaBehind) {
        anon_vma_clone_behind(new, old);
    } else {
        anon_vma_clone(new, old);
    }
}

/// Whether the tables of a VMA hold anything that faults of the child would not bring back.
///
/// If not, retraction may be taking them away. If so, it leaves them alone: so it does not matter to the copy that an upper entry may
/// be empty, or a lower table be detached, by the time it is looked at.
fn vma_needs_copy<P: Platform>(new: Ref<P, Vma<P>>, old: Ref<P, Vma<P>>) -> bool {
    !P::enforces(Safeguard::VmaNeedsCopy)
        || new.is_uffd_wp_protected()
        || old.flags_protected() & VM_MAYBE_GUARD != 0
        || old.anon_vma_protected().is_some()
}

/// Copies the entries of a VMA. Those of pages that are private become read-only on both sides.
fn copy_page_range<P: Platform>(
    new: Ref<P, Vma<P>>,
    old: Ref<P, Vma<P>>,
) -> Result<(), OutOfMemory> {
    if old.is_shared() {
        return copy_tables(new, old);
    }
    let _notifier = NotifierRange::<P>::start(old.mm, old.range);
    let seq = &old.mm.write_protect_seq;
    let before = seq.load_protected();
    if P::enforces(Safeguard::WriteProtectSeq) {
        P::step(Step::Mm("write_protect_seq begins", old.mm.id));
        seq.write_once(before + 1);
        // Before the references are looked at: see above.
        P::smp_mb();
    }
    let result = copy_tables(new, old);
    if P::enforces(Safeguard::WriteProtectSeq) {
        P::step(Step::Mm("write_protect_seq ends", old.mm.id));
        // After all entries were changed: who pins with this number finds them read-only.
        seq.store_release(before + 2);
    }
    result
}

fn copy_tables<P: Platform>(new: Ref<P, Vma<P>>, old: Ref<P, Vma<P>>) -> Result<(), OutOfMemory> {
    let mut addr = old.range.start;
    while old.range.contains(addr) {
        let pages = P::PTRS_PER_TABLE;
        let end = addr.huge_start(pages).add_pages(pages as u64);
        let part = AddrRange {
            start: addr,
            end: end.min(old.range.end),
        };
        copy_table(new, old, part)?;
        addr = part.end;
    }
    Ok(())
}

/// The part that one upper entry serves. A huge page of an object is not copied.
fn copy_table<P: Platform>(
    new: Ref<P, Vma<P>>,
    old: Ref<P, Vma<P>>,
    part: AddrRange,
) -> Result<(), OutOfMemory> {
    let Some(source_pmd) = pmd_offset(old.mm, part.start) else {
        return Ok(());
    };
    let value = source_pmd.read_once("read pmd");
    if value.is_leaf() {
        match copy_huge_pmd(new, old, source_pmd) {
            Ok(()) | Err(NotCopied::NotPrivate) => return Ok(()),
            Err(NotCopied::NoMemory) => return Err(OutOfMemory),
            Err(NotCopied::Pinned) => split_huge_pmd(old, source_pmd),
        }
    } else if !value.is_table() {
        return Ok(());
    }
    let pmd = pmd_alloc(new.mm, part.start).ok_or(OutOfMemory)?;
    if !pte_alloc(pmd) {
        return Err(OutOfMemory);
    }
    let table = pte_offset_map_lock(pmd).ok_or(OutOfMemory)?;
    let Some(source) = pte_offset_map_nolock(source_pmd) else {
        return Ok(());
    };
    // Of two locks of one class: nobody else takes that of a child and that of its parent, and fork of this parent runs once.
    let _source_lock = source
        .lockptr()
        .lock_nested(Step::Pte("ptl", old.mm.id, part.start));
    let mut addr = part.start;
    while part.contains(addr) {
        copy_pte(new, &table, old, &source, addr)?;
        addr = addr.add_pages(1);
    }
    Ok(())
}

/// Copies one entry. The caller has the locks of both tables.
fn copy_pte<P: Platform>(
    new: Ref<P, Vma<P>>,
    table: &PteMap<P>,
    old: Ref<P, Vma<P>>,
    source: &PteMap<P>,
    addr: VirtAddr,
) -> Result<(), OutOfMemory> {
    let mut pte = source.get(addr);
    let keep_wp = new.is_uffd_wp_protected() || !P::enforces(Safeguard::ForkDropMarkers);
    if let Some(swap) = pte.as_swap() {
        copy_swap(new, table, old, source, addr, swap, keep_wp);
        return Ok(());
    }
    if let Some(migration) = pte.as_migration() {
        copy_migration(new, table, old, source, addr, migration, keep_wp);
        return Ok(());
    }
    if !pte.is_present() {
        match pte.as_marker() {
            Some(Marker::Poison) => {
                P::observe(Fact::Poisoned(new.mm.id, addr));
                table.set_marker(addr, Marker::Poison);
            }
            Some(Marker::Guard) => {
                P::observe(Fact::Guarded(new.mm.id, addr));
                table.set_marker(addr, Marker::Guard);
            }
            Some(Marker::UffdWp) if keep_wp => {
                observe_protected(new, addr);
                table.set_marker(addr, Marker::UffdWp);
            }
            Some(Marker::UffdWp) | None => {}
        }
        return Ok(());
    }
    if is_zero_page::<P>(pte.pfn()) {
        if !new.is_anonymous() {
            P::observe(Fact::ForkedPage(old.mm.id, new.mm.id, addr, pte.pfn()));
        }
        table.set(addr, inherited(new, addr, pte, keep_wp));
        return Ok(());
    }
    let folio = Folio::of::<P>(pte.pfn());
    if folio.is_anon::<P>() {
        if P::enforces(Safeguard::ForkCopyPinned) && folio.maybe_pinned::<P>() {
            return copy_pinned(new, table, pte, addr);
        }
        if Folio::is_exclusive::<P>(pte.pfn()) {
            Folio::set_exclusive::<P>(pte.pfn(), false);
        }
        P::observe(Fact::ForkedPage(old.mm.id, new.mm.id, addr, pte.pfn()));
    }
    folio.get::<P>(1);
    add_mapping(folio, new, 1, folio.kind::<P>());
    if pte.is_writable() && !old.is_shared() {
        if P::enforces(Safeguard::ForkWriteProtect) {
            source.change(addr, Pte::wrprotect);
        }
        pte = pte.wrprotect();
    }
    table.set(addr, inherited(new, addr, pte, keep_wp));
    Ok(())
}

/// Copies the entry of a page that is in swap: it is shared from now on. (Linux: `copy_nonpresent_pte`)
fn copy_swap<P: Platform>(
    new: Ref<P, Vma<P>>,
    table: &PteMap<P>,
    old: Ref<P, Vma<P>>,
    source: &PteMap<P>,
    addr: VirtAddr,
    swap: Swap,
    keep_wp: bool,
) {
    let shared = Swap {
        exclusive: false,
        ..swap
    };
    swap::get::<P>(swap.slot);
    if swap.exclusive && P::enforces(Safeguard::ForkSwapShared) {
        source.set_swap(addr, shared);
    }
    accounting::add_swap_entries(&*new.mm, 1);
    P::observe(Fact::ForkedAbsent(old.mm.id, new.mm.id, addr));
    let uffd_wp = swap.uffd_wp && keep_wp;
    if uffd_wp {
        observe_protected(new, addr);
    }
    table.set_swap(addr, Swap { uffd_wp, ..shared });
}

/// Copies the entry of a page that is on its way to another frame. (Linux: `copy_nonpresent_pte`)
fn copy_migration<P: Platform>(
    new: Ref<P, Vma<P>>,
    table: &PteMap<P>,
    old: Ref<P, Vma<P>>,
    source: &PteMap<P>,
    addr: VirtAddr,
    migration: Migration,
    keep_wp: bool,
) {
    let shared = share_migration::<P>(migration);
    if shared != migration {
        source.set_migration(addr, shared);
    }
    accounting::add_mm_counter(&*new.mm, PageKind::Anon, 1);
    P::observe(Fact::ForkedAbsent(old.mm.id, new.mm.id, addr));
    let uffd_wp = migration.uffd_wp && keep_wp;
    if uffd_wp {
        observe_protected(new, addr);
    }
    table.set_migration(addr, Migration { uffd_wp, ..shared });
}

/// The entry for a child; what it says of userfaultfd goes unless the child is registered too.
fn inherited<P: Platform>(new: Ref<P, Vma<P>>, addr: VirtAddr, pte: Pte, keep_wp: bool) -> Pte {
    if !keep_wp {
        return pte.clear_uffd_wp();
    }
    if pte.is_uffd_wp() {
        observe_protected(new, addr);
    }
    pte
}

/// A protection by userfaultfd is now there in the child as well, which asked for that if it is registered.
fn observe_protected<P: Platform>(new: Ref<P, Vma<P>>, addr: VirtAddr) {
    if new.is_uffd_wp_protected() {
        P::observe(Fact::Protected(new.mm.id, addr));
    }
}

/// Gives the child a copy of a page that may be pinned: the parent, and who pinned it, keep the page.
/// (Linux: `copy_present_page`)
fn copy_pinned<P: Platform>(
    new: Ref<P, Vma<P>>,
    table: &PteMap<P>,
    page: Pte,
    addr: VirtAddr,
) -> Result<(), OutOfMemory> {
    let copy = Folio::alloc::<P>(Order::Small, true).ok_or(OutOfMemory)?;
    P::copy_page(copy.pfn(), page.pfn());
    copy.mark_uptodate::<P>();
    copy.set_anon::<P>(new.anon_vma_protected(), new.index_of(addr));
    add_mapping(copy, new, 1, copy.kind::<P>());
    P::observe(Fact::PrivatePage(new.mm.id, addr, copy.pfn()));
    // The pin may be older than an mprotect.
    let mut entry = new.protect(Pte::page(copy.pfn(), true).mk_dirty());
    if page.is_uffd_wp() && new.is_uffd_wp_protected() && P::enforces(Safeguard::ForkPinnedUffdWp) {
        entry = entry.mk_uffd_wp();
    }
    if page.is_uffd_wp() {
        observe_protected(new, addr);
    }
    table.set(addr, entry);
    Ok(())
}
