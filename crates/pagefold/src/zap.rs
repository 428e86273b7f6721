//! Taking mappings away by address: munmap, MADV_DONTNEED, and the parts of exit.
//!
//! Guarantee: when these return, the range maps nothing, nobody can reach its pages through a cached translation, and
//! the pages that nobody else has are free.
//!
//! Locks: [`zap_range`] needs the VMA to stay (`mmap_lock` or the VMA lock, for reading), and takes the lock of each
//! table. It copes with tables that vanish. Others look under that lock for who still writes a page of an object, before
//! they write it back or move it out; so of pages that were written it flushes before it gives the lock up. [`discard_range`] also takes tables away that it emptied.
//! [`free_pgtables`] takes no page-table lock: the VMA is out of the address space and out of its object's list, so that
//! nobody can begin to walk its tables; who is in them already is an RCU reader.

use crate::accounting::{self, Fact, PageKind};
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::{Format, Marker, PMD_LEVEL, Pte};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::huge::{free_deposited_table, is_private, split_migration, split_private};
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_table::{
    PmdRef, PteMap, pmd_offset, pte_offset_map_lock, take_emptied_table, take_empty_table,
    take_upper_table,
};
use crate::platform::{FlushKind, Link, Platform};
use crate::protocol::Safeguard;
use crate::rmap::remove_mapping;
use crate::swap;
use crate::tlb::{
    Gather, PendingFlush, flush_before_make, flush_tlb_batched_pending, flush_tlb_range,
};
use crate::vma::Vma;
use crate::zero::{is_huge_zero, is_zero_page};

/// What happens to markers in a range that is zapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Markers {
    /// Write-protection set by userfaultfd stays, but in anonymous memory, and guards stay (MADV_DONTNEED).
    Keep,
    /// It stays, and so do private pages: only what the object has goes (hole punching). (Linux: `even_cows`)
    KeepAndPrivate,
    /// As that, and the page of zeros stays, which is none of the folio that is to be mapped no more (split).
    KeepAllButFolio,
    /// Nothing stays (munmap, exit).
    Drop,
}

impl Markers {
    /// Whether write-protection stays.
    fn keep_protection(self) -> bool {
        self != Self::Drop
    }

    /// Whether what is there stays as it is, as it is the process's own.
    fn spare<P: Platform>(self, old: Pte) -> bool {
        let private = match old.as_marker() {
            Some(marker) => marker == Marker::Poison,
            None if old.as_swap().is_some() || old.as_migration().is_some() => true,
            None => old.is_present() && Folio::of::<P>(old.pfn()).is_anon::<P>(),
        };
        match self {
            Self::KeepAndPrivate => private,
            Self::KeepAllButFolio => private || old.is_present() && is_zero_page::<P>(old.pfn()),
            Self::Keep | Self::Drop => false,
        }
    }
}

/// What happens to tables that a zap has emptied, all entries of which are in the range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EmptiedTables {
    /// They stay.
    Keep,
    /// They are freed.
    Reclaim,
}

/// Unmaps all pages of a range of a VMA. The caller keeps the VMA in place with `mmap_lock` or its lock, at least for
/// reading.
pub(crate) fn zap_range<P: Platform>(vma: Ref<P, Vma<P>>, range: AddrRange, markers: Markers) {
    zap(vma, range, markers, EmptiedTables::Keep);
}

/// As [`zap_range`], for pages that will not be missed soon: where the protocol has it so, tables that are empty then
/// go as well.
pub(crate) fn discard_range<P: Platform>(vma: Ref<P, Vma<P>>, range: AddrRange) {
    let tables = if P::protocol().reclaims_emptied_tables {
        EmptiedTables::Reclaim
    } else {
        EmptiedTables::Keep
    };
    zap(vma, range, Markers::Keep, tables);
}

/// Unmaps all pages of a VMA of an address space that is not coming to its end, but has lost its memory (the OOM reaper). The caller has
/// `mmap_lock` for reading.
pub(crate) fn reap_range<P: Platform>(vma: Ref<P, Vma<P>>) {
    let gather = if P::enforces(Safeguard::ReaperFlush) {
        Gather::new(vma.mm, vma.range)
    } else {
        Gather::without_users(vma.mm, vma.range)
    };
    zap_into(gather, vma, vma.range, Markers::Drop, EmptiedTables::Keep);
}

fn zap<P: Platform>(
    vma: Ref<P, Vma<P>>,
    range: AddrRange,
    markers: Markers,
    tables: EmptiedTables,
) {
    zap_into(Gather::new(vma.mm, range), vma, range, markers, tables);
}

fn zap_into<P: Platform>(
    mut gather: Gather<P>,
    vma: Ref<P, Vma<P>>,
    range: AddrRange,
    markers: Markers,
    tables: EmptiedTables,
) {
    let notifier = NotifierRange::<P>::start(vma.mm, range);
    let pending = PendingFlush::begin(vma.mm);
    let mut addr = range.start;
    while range.contains(addr) {
        let end = next_table::<P>(addr, range);
        let part = AddrRange { start: addr, end };
        zap_pmd(vma, part, markers, tables, &mut gather);
        addr = end;
    }
    // The entries are as they will be. What is left is to flush and to give pages back, which a secondary MMU need not wait for.
    drop(notifier);
    if pending.is_nested() {
        gather.note_change();
    }
    gather.flush();
}

/// The first address behind the table of small-page entries that serves `addr`, or the end of the range.
pub(crate) fn next_table<P: Platform>(addr: VirtAddr, range: AddrRange) -> VirtAddr {
    let pages = P::PTRS_PER_TABLE;
    addr.huge_start(pages)
        .add_pages(pages as u64)
        .min(range.end)
}

/// The part of a zap that one upper entry serves.
fn zap_pmd<P: Platform>(
    vma: Ref<P, Vma<P>>,
    part: AddrRange,
    markers: Markers,
    tables: EmptiedTables,
    gather: &mut Gather<P>,
) {
    let Some(pmd) = pmd_offset(vma.mm, part.start) else {
        return;
    };
    loop {
        let value = pmd.read_once("read pmd");
        if value.is_none() {
            return;
        }
        if value.is_leaf() {
            if is_whole_table::<P>(part) {
                zap_huge_pmd(vma, pmd, gather);
            } else {
                split_huge_pmd(vma, pmd);
            }
            // The entry was empty, if it names no table: what is there now came later.
            if !pmd.read_once("read pmd").is_table() {
                return;
            }
        }
        // A table that vanished meanwhile: look at the same entry again.
        if zap_ptes(vma, pmd, part, markers, tables, gather) {
            return;
        }
    }
}

fn is_whole_table<P: Platform>(part: AddrRange) -> bool {
    part.end.page() - part.start.page() == P::PTRS_PER_TABLE as u64
}

/// Takes a huge mapping away, if it is still there.
fn zap_huge_pmd<P: Platform>(vma: Ref<P, Vma<P>>, pmd: PmdRef<P>, gather: &mut Gather<P>) {
    if gather.is_full() {
        gather.flush();
    }
    let _pml = pmd.lock();
    if !pmd.load_protected().is_leaf() {
        return;
    }
    let old = pmd.take("pmdp_huge_get_and_clear");
    if old.as_migration().is_some() {
        forget_migrating(vma, huge_range_of(pmd));
        free_deposited_table(pmd);
        return;
    }
    flush_before_make(vma.mm, huge_range_of(pmd));
    if is_huge_zero::<P>(old) {
        observe_unmapped(pmd, old);
        free_deposited_table(pmd);
        gather.note_change();
        return;
    }
    let folio = Folio::of::<P>(old.pfn());
    folio.keep_dirty::<P>(old);
    if folio.is_anon::<P>() {
        P::observe(Fact::Discarded(vma.mm.id, huge_range_of(pmd)));
        free_deposited_table(pmd);
    } else {
        observe_unmapped(pmd, old);
    }
    remove_mapping(folio, vma, P::PTRS_PER_TABLE, folio.kind::<P>());
    // A huge page is not moved out or written back, nor is it split, while this has a reference.
    gather.add_page(folio, false);
}

/// The migration entries of a range are gone, whose translations were flushed before. Who moves their pages has references to them.
fn forget_migrating<P: Platform>(vma: Ref<P, Vma<P>>, range: AddrRange) {
    P::observe(Fact::Discarded(vma.mm.id, range));
    P::observe(Fact::Forgotten(vma.mm.id, range));
    let pages = range.end.page() - range.start.page();
    accounting::add_mm_counter(&*vma.mm, PageKind::Anon, -(pages as i64));
}

/// Pages that are not the process's own are not mapped by the upper entry any more.
fn observe_unmapped<P: Platform>(pmd: PmdRef<P>, old: Pte) {
    for (page, addr) in huge_range_of(pmd).each_page().enumerate() {
        P::observe(Fact::Unmapped(pmd.mm.id, addr, old.pfn().add(page)));
    }
}

/// Unmaps the small pages of a part. Whether it is done: not if the table vanished.
fn zap_ptes<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    part: AddrRange,
    markers: Markers,
    tables: EmptiedTables,
    gather: &mut Gather<P>,
) -> bool {
    // Whether the table is to go, as far as the entries are known.
    let mut goes = tables == EmptiedTables::Reclaim && is_whole_table::<P>(part);
    let mut addr = part.start;
    while part.contains(addr) {
        let Some(table) = pte_offset_map_lock(pmd) else {
            return false;
        };
        // Of pages that others have unmapped nothing is left here that would be flushed at the end.
        flush_tlb_batched_pending(vma.mm);
        let from = addr;
        while part.contains(addr) && !gather.is_full() {
            goes &= zap_pte(vma, &table, addr, markers, gather);
            addr = addr.add_pages(1);
        }
        let whole = from == part.start && !part.contains(addr);
        if goes && whole && take_emptied_table(&table, part, gather) {
            goes = false;
        }
        gather.flush_dirty();
        drop(table);
        if gather.is_full() {
            gather.flush();
        }
    }
    if goes {
        take_empty_table(pmd, part, gather);
    }
    true
}

/// Empties an entry, but for a marker that stays. Whether it is empty now.
fn zap_pte<P: Platform>(
    vma: Ref<P, Vma<P>>,
    table: &PteMap<P>,
    addr: VirtAddr,
    markers: Markers,
    gather: &mut Gather<P>,
) -> bool {
    let old = table.get(addr);
    let page = AddrRange::pages(addr, 1);
    let swap = old.as_swap();
    let protected = old.is_uffd_wp()
        || old.as_marker() == Some(Marker::UffdWp)
        || swap.is_some_and(|swap| swap.uffd_wp)
        || old
            .as_migration()
            .is_some_and(|migration| migration.uffd_wp);
    // Of anonymous memory the protection goes with the page. (Linux: `pte_install_uffd_wp_if_needed`)
    let kept = protected && !vma.is_anonymous() || old.as_marker() == Some(Marker::Guard);
    let stays = kept && markers.keep_protection();
    if old.is_none() || (old.as_marker().is_some() && stays) {
        return old.is_none();
    }
    if markers.spare::<P>(old) {
        return false;
    }
    P::observe(if stays {
        Fact::DiscardedPage(vma.mm.id, addr)
    } else {
        Fact::Discarded(vma.mm.id, page)
    });
    let old = table.take(addr);
    if stays {
        table.set_marker(addr, Marker::UffdWp);
    }
    let zeros = old.is_present() && is_zero_page::<P>(old.pfn());
    if old.is_present() && !zeros {
        let folio = Folio::of::<P>(old.pfn());
        let kind = folio.kind::<P>();
        if kind != PageKind::Anon {
            P::observe(Fact::Unmapped(vma.mm.id, addr, old.pfn()));
        }
        let written = kind != PageKind::Anon && old.is_dirty();
        if written {
            folio.keep_dirty::<P>(old);
        }
        remove_mapping(folio, vma, 1, kind);
        gather.add_page(folio, written);
    } else if let Some(swap) = swap {
        // Translations of the page are flushed: see `zap_ptes`.
        P::observe(Fact::Forgotten(vma.mm.id, page));
        accounting::add_swap_entries(&*vma.mm, -1);
        swap::put::<P>(swap.slot);
    } else if old.as_migration().is_some() {
        P::observe(Fact::Forgotten(vma.mm.id, page));
        accounting::add_mm_counter(&*vma.mm, PageKind::Anon, -1);
    } else {
        if zeros {
            P::observe(Fact::Unmapped(vma.mm.id, addr, old.pfn()));
        }
        gather.note_change();
    }
    !stays
}

/// Takes a huge mapping of an object away, so that its pages can be mapped singly when they are next used; maps the pages of
/// a huge private page singly. (Linux: `__split_huge_pmd`)
pub(crate) fn split_huge_pmd<P: Platform>(vma: Ref<P, Vma<P>>, pmd: PmdRef<P>) {
    let range = huge_range_of(pmd);
    let _notifier = NotifierRange::<P>::start(vma.mm, range);
    let folio = {
        let _pml = pmd.lock();
        let value = pmd.load_protected();
        if let Some(migration) = value.as_migration() {
            split_migration(pmd, migration, range);
            return;
        }
        if !value.is_huge() {
            return;
        }
        if is_private::<P>(value) {
            split_private(pmd, value, range);
            return;
        }
        let old = pmd.take("pmdp_huge_clear_flush");
        flush_tlb_range(vma.mm, range, FlushKind::LeavesAndTables);
        let folio = Folio::of::<P>(old.pfn());
        folio.keep_dirty::<P>(old);
        let book_first = P::enforces(Safeguard::BookBeforePut);
        if !book_first {
            folio.put::<P>(1);
        }
        remove_mapping(folio, vma, P::PTRS_PER_TABLE, PageKind::Shmem);
        book_first.then_some(folio)
    };
    if let Some(folio) = folio {
        folio.put::<P>(1);
    }
}

fn huge_range_of<P: Platform>(pmd: PmdRef<P>) -> AddrRange {
    let pages = P::PTRS_PER_TABLE;
    AddrRange::pages(pmd.addr.huge_start(pages), pages as u64)
}

/// Frees the page tables of a VMA that is not in the set of VMAs any more, and whose pages are unmapped. `next` is the one behind it
/// whose tables will be freed after that: an upper table that names some of them stays until then.
///
/// The VMA has left the lists of its family and of its object before, and so have all others that are unmapped with it and may share
/// a table with it: whoever walks the tables on behalf of a page holds that list's semaphore and has left then. Tables that
/// a VMA in the set needs stay.
pub(crate) fn free_pgtables<P: Platform>(
    mm: Ref<P, Mm<P>>,
    vma: Ref<P, Vma<P>>,
    next: Option<Ref<P, Vma<P>>>,
) {
    let mut gather = Gather::<P>::new(mm, vma.range);
    let mut addr = vma.range.start;
    while vma.range.contains(addr) {
        let part = AddrRange {
            start: addr,
            end: next_table::<P>(addr, vma.range),
        };
        if gather.is_full() {
            gather.flush();
        }
        if let Some(pmd) = pmd_offset(mm, addr).filter(|_| !is_shared_span(mm, addr, PMD_LEVEL)) {
            let old = pmd.read_once("read pmd");
            if old.is_table() {
                pmd.clear("pmd_clear");
                accounting::mm_dec_nr_ptes::<P>(&mm);
                gather.add_table(old.pfn(), part);
            }
        }
        for level in PMD_LEVEL + 1..P::Format::levels() {
            let last = !vma.range.contains(part.end) || !same_span::<P>(addr, part.end, level);
            let needed = next.is_some_and(|next| same_span::<P>(addr, next.range.start, level));
            if !last || needed || is_shared_span(mm, addr, level) {
                break;
            }
            if gather.is_full() {
                gather.flush();
            }
            if let Some(table) = take_upper_table(mm, addr, level) {
                gather.add_table(table, part);
            }
        }
        addr = part.end;
    }
    gather.flush();
}

fn span<P: Platform>(addr: VirtAddr, level: u32) -> u64 {
    addr.page() / (P::PTRS_PER_TABLE as u64).pow(level)
}

fn same_span<P: Platform>(a: VirtAddr, b: VirtAddr, level: u32) -> bool {
    span::<P>(a, level) == span::<P>(b, level)
}

/// Whether a VMA that is still in the set uses the entry of `level` that serves `addr`.
fn is_shared_span<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr, level: u32) -> bool {
    let wanted = span::<P>(addr, level);
    core::iter::successors(mm.vmas.load_protected(), |vma| vma.next.load_protected()).any(|vma| {
        let last = VirtAddr(vma.range.end.0 - 1);
        span::<P>(vma.range.start, level) <= wanted && wanted <= span::<P>(last, level)
    })
}
