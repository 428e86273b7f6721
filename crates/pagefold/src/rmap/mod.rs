//! From a page to the entries that map it (Linux: `mm/rmap.c`). This is about pages of objects; `anon` is about private ones.
//!
//! The VMAs that map an object are in its `i_mmap` list, under `i_mmap_rwsem`. A VMA leaves the list before its upper page
//! tables are freed; so who found a VMA in the list may walk its tables down to the table of small-page entries while
//! it holds the semaphore, and treats that last one as one that may be gone.
//!
//! Locks, in order: folio lock, `i_mmap_rwsem`, (notifier), lock of the table.

mod anon;
mod list;

use anon::with_entry;
pub use anon::{AnonVma, rmap_walk_anon};
pub(crate) use anon::{
    Family, FamilyGuard, anon_vma_clone, anon_vma_clone_behind, anon_vma_prepare, anon_vma_replace,
    find_private_page, lock_family, private_page_at, put_anon_vma_of_vma, try_to_unmap_anon,
    unlink_anon_vma, walk_anon,
};
pub(crate) use list::VmaList;

use crate::accounting::{self, Fact, PageKind};
use crate::addr::{AddrRange, PageIndex, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_cache::Mapping;
use crate::page_table::{PteLocked, pmd_offset, pte_offset_map_lock};
use crate::platform::{FlushKind, Platform};
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::sync::{ReadGuard, WriteGuard};
use crate::tlb::{UnmapBatch, flush_tlb_range_notify};
use crate::vma::Vma;

/// Adds a VMA to the list of its object, if it has one.
pub(crate) fn link_vma<P: Platform>(vma: Ref<P, Vma<P>>) {
    let Some(mapping) = vma.mapping else {
        return;
    };
    P::step(Step::Named("i_mmap_lock_write"));
    let _i_mmap = WriteGuard::write(&mapping.i_mmap_rwsem);
    mapping.i_mmap.add(vma);
}

/// Takes a VMA out of the list of its object, if it has one.
pub(crate) fn unlink_vma<P: Platform>(vma: Ref<P, Vma<P>>) {
    let Some(mapping) = vma.mapping else {
        return;
    };
    P::step(Step::Named("i_mmap_lock_write"));
    let _i_mmap = WriteGuard::write(&mapping.i_mmap_rwsem);
    mapping.i_mmap.remove(vma);
}

/// Puts VMAs in the place of others in the list of their object, if they have one. Whoever walks the list finds either these or
/// those, and so no page is missed.
pub(crate) fn replace_vmas<P: Platform>(old: &[Ref<P, Vma<P>>], new: &[Ref<P, Vma<P>>]) {
    let Some(mapping) = old.first().and_then(|vma| vma.mapping) else {
        return;
    };
    if !P::enforces(Safeguard::ReplaceInOneStep) {
        old.iter().copied().for_each(unlink_vma);
        new.iter().copied().for_each(link_vma);
        return;
    }
    P::step(Step::Named("i_mmap_lock_write"));
    let _i_mmap = WriteGuard::write(&mapping.i_mmap_rwsem);
    mapping.i_mmap.replace(old.iter().copied(), new);
}

/// Adds a VMA to the list of its object, if it has one, behind another one: who walks the list comes to that one first.
pub(crate) fn link_vma_behind<P: Platform>(other: Ref<P, Vma<P>>, vma: Ref<P, Vma<P>>) {
    let Some(mapping) = vma.mapping else {
        return;
    };
    P::step(Step::Named("i_mmap_lock_write"));
    let _i_mmap = WriteGuard::write(&mapping.i_mmap_rwsem);
    mapping.i_mmap.add_behind(other, vma);
}

/// Takes all mappings of a small folio away. The caller has its lock, so that no fault maps it again. The batch has to
/// be flushed before the folio is used. (Linux: `try_to_unmap` with `TTU_BATCH_FLUSH`)
pub(crate) fn try_to_unmap<P: Platform>(
    folio: Folio,
    mapping: Ref<P, Mapping<P>>,
    batch: &mut UnmapBatch<P>,
) {
    walk_object(folio, mapping, |vma, addr| {
        let range = AddrRange::pages(addr, 1);
        let _notifier =
            P::enforces(Safeguard::UnmapNotifier).then(|| NotifierRange::<P>::start(vma.mm, range));
        unmap_one(folio, vma, addr, batch);
    });
}

/// Visits each place where a small folio of an object may be mapped, whose lock the caller has.
pub(crate) fn walk_object<P: Platform>(
    folio: Folio,
    mapping: Ref<P, Mapping<P>>,
    mut visit: impl FnMut(Ref<P, Vma<P>>, VirtAddr),
) {
    P::step(Step::Named("i_mmap_lock_read"));
    let _i_mmap = ReadGuard::read(&mapping.i_mmap_rwsem);
    for (vma, addr) in mapping.vmas_of(folio.index::<P>()) {
        visit(vma, addr);
    }
}

/// Whether another address space maps a page of a huge folio of an object, at this moment.
pub(crate) fn is_mapped_by_others<P: Platform>(
    folio: Folio,
    mapping: Ref<P, Mapping<P>>,
    mm: Ref<P, Mm<P>>,
) -> bool {
    P::step(Step::Named("i_mmap_lock_read"));
    let _i_mmap = ReadGuard::read(&mapping.i_mmap_rwsem);
    let index = folio.index::<P>().0;
    let pages = folio.pfn()..folio.pfn().add(P::PTRS_PER_TABLE);
    mapping
        .vmas_over(index, index + P::PTRS_PER_TABLE as u64)
        .filter(|(vma, _)| vma.mm != mm)
        .flat_map(|(vma, range)| range.each_page().map(move |addr| (vma, addr)))
        .any(|(vma, addr)| {
            let maps = |pte: Pte| pte.is_present() && pages.contains(&pte.pfn());
            pmd_offset(vma.mm, addr).is_some_and(|pmd| with_entry(pmd, addr, maps))
        })
}

/// Empties the entry at an address if it maps a small folio; gives its table, which stays locked, and what the entry was.
fn take_entry<P: Platform>(
    folio: Folio,
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
) -> Option<(PteLocked<P>, Pte)> {
    let table = pmd_offset(vma.mm, addr).and_then(pte_offset_map_lock)?;
    let old = table.get(addr);
    if !old.is_present() || old.pfn() != folio.pfn() {
        return None;
    }
    let old = table.take(addr);
    Some((table, old))
}

fn unmap_one<P: Platform>(
    folio: Folio,
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    batch: &mut UnmapBatch<P>,
) {
    let Some((table, old)) = take_entry(folio, vma, addr) else {
        return;
    };
    // Who flushes does not know what he flushes: nothing says that it is forgotten.
    P::observe(Fact::Unmapped(vma.mm.id, addr, old.pfn()));
    if old.is_uffd_wp() {
        // The protection outlives the page: it stays as a marker.
        table.set_marker(addr, Marker::UffdWp);
    }
    folio.keep_dirty::<P>(old);
    batch.add(vma.mm);
    remove_mapping(folio, vma, 1, PageKind::Shmem);
    // After the entry was emptied: who gets a reference after this (GUP-fast) sees that, see `Folio::try_get`.
    folio.put::<P>(1);
}

/// Takes the permission to write from all entries that map a folio of a file, and says in them that it is clean: the caller, who has
/// its lock, is about to write it back. (Linux: `folio_mkclean`)
pub(crate) fn mkclean<P: Platform>(folio: Folio, mapping: Ref<P, Mapping<P>>) {
    P::step(Step::Named("i_mmap_lock_read"));
    let _i_mmap = ReadGuard::read(&mapping.i_mmap_rwsem);
    let start = folio.index::<P>();
    for (vma, addrs) in mapping.vmas_over(start.0, start.0 + folio.pages::<P>() as u64) {
        if vma.may_write_file() {
            let _notifier = NotifierRange::<P>::start(vma.mm, addrs);
            addrs
                .each_page()
                .for_each(|addr| mkclean_one(folio, vma, addr));
        }
    }
}

fn mkclean_one<P: Platform>(folio: Folio, vma: Ref<P, Vma<P>>, addr: VirtAddr) {
    let Some(table) = pmd_offset(vma.mm, addr).and_then(pte_offset_map_lock) else {
        return;
    };
    let old = table.get(addr);
    let maps_it = old.is_present() && Folio::of::<P>(old.pfn()) == folio;
    if !maps_it || !(old.is_writable() || old.is_dirty()) {
        return;
    }
    table.change(addr, |old| old.wrprotect().mk_clean());
    // Who has the old entry cached writes without asking. With the lock of the table held, as by then nobody takes the entry for one
    // that cannot be written.
    if P::enforces(Safeguard::FlushOnMkclean) {
        let range = AddrRange::pages(addr, 1);
        flush_tlb_range_notify(vma.mm, range, FlushKind::Leaves);
    }
}

/// Books that `pages` pages of `folio` are mapped by one entry less. The reference of the entry is the caller's.
pub(crate) fn remove_mapping<P: Platform>(
    folio: Folio,
    vma: Ref<P, Vma<P>>,
    pages: usize,
    kind: PageKind,
) {
    remove_rmap::<P>(folio, kind);
    accounting::add_mm_counter(&*vma.mm, kind, -(pages as i64));
}

/// As [`remove_mapping`], but the process still has the page, which is on its way to another frame. (Linux: `folio_remove_rmap_pte`)
pub(crate) fn remove_rmap<P: Platform>(folio: Folio, kind: PageKind) {
    P::observe(Fact::Mapped(folio.pfn(), kind, -1));
    folio.add_mapcount::<P>(-1);
}

/// As [`add_mapping`], for a page that the process has had all the time. (Linux: `folio_add_anon_rmap_pte`)
pub(crate) fn add_rmap<P: Platform>(folio: Folio, kind: PageKind) {
    P::observe(Fact::Mapped(folio.pfn(), kind, 1));
    folio.add_mapcount::<P>(1);
}

/// Books that `pages` pages of `folio` are mapped by one entry more, which has a reference.
pub(crate) fn add_mapping<P: Platform>(
    folio: Folio,
    vma: Ref<P, Vma<P>>,
    pages: usize,
    kind: PageKind,
) {
    add_rmap::<P>(folio, kind);
    accounting::add_mm_counter(&*vma.mm, kind, pages as i64);
}

/// How many entries map page `index` of an object, as reclaim and migration find out by walking the page
/// tables of everybody who maps it. (Linux: `rmap_walk_file`)
pub fn rmap_walk<P: Platform>(mapping: Ref<P, Mapping<P>>, index: PageIndex) -> usize {
    let Some(folio) = mapping.get_folio(index) else {
        return 0;
    };
    let mut found = 0;
    {
        P::step(Step::Named("i_mmap_lock_read"));
        let _i_mmap = ReadGuard::read(&mapping.i_mmap_rwsem);
        for (vma, addr) in mapping.vmas_of(index) {
            let Some(pmd) = pmd_offset(vma.mm, addr) else {
                continue;
            };
            let pte = match pte_offset_map_lock(pmd) {
                Some(table) => table.get(addr),
                None => pmd.read_once("read pmd"),
            };
            if pte.is_present() && Folio::of::<P>(pte.pfn()) == folio {
                found += 1;
            }
        }
    }
    folio.put::<P>(1);
    found
}
