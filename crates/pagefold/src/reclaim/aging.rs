//! Which pages were used lately (Linux: `folio_referenced`, `madvise(MADV_COLD)`).
//!
//! Hardware notes in the entry of a page that it walked to it, if that is not noted yet. Reclaim looks at that in all entries of a page,
//! and takes it back: so the next look tells of what came in between. That is advice and no more: who has a translation cached uses
//! the page without a note, and a look does not flush; virtual machines and pins are not asked.
//!
//! Guarantee: nothing else that an entry says is lost, whatever hardware writes to it meanwhile (see `PteMap::change`).
//!
//! Locks, in order: those of walks by page (the folio's, and the list of VMAs); lock of a table.

use super::Owner;
use super::partly::divide_partly_covered;
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::Pte;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_table::{PmdRef, pmd_offset, pte_offset_map_lock};
use crate::platform::{FlushKind, Platform};
use crate::rmap::{walk_anon, walk_object};
use crate::tlb::flush_tlb_range;
use crate::vma::Vma;
use crate::zap::next_table;

/// Whether a small page was used since this was last asked. The caller has the lock of its folio, and a reference.
pub(super) fn is_referenced<P: Platform>(folio: Folio, owner: &Owner<P>) -> bool {
    let mut used = false;
    let look = |vma: Ref<P, Vma<P>>, addr| {
        used |= pmd_offset(vma.mm, addr).is_some_and(|pmd| clear_young(pmd, addr, folio));
    };
    match owner {
        Owner::Private => walk_anon(folio, look),
        Owner::Object(mapping) => walk_object(folio, *mapping, look),
    }
    used
}

/// Takes back that the page was used, if the entry maps it and says so. Whether it did. (Linux: `ptep_clear_young_notify`)
fn clear_young<P: Platform>(pmd: PmdRef<P>, addr: VirtAddr, folio: Folio) -> bool {
    let Some(table) = pte_offset_map_lock(pmd) else {
        return false;
    };
    let pte = table.get(addr);
    let young = pte.is_young() && pte.pfn() == folio.pfn();
    if young {
        table.change(addr, Pte::mk_old);
    }
    young
}

/// Says of the pages of a range that they were not used lately. The caller keeps the VMA in place, and it covers the range.
pub(crate) fn make_old<P: Platform>(vma: Ref<P, Vma<P>>, range: AddrRange) {
    divide_partly_covered(vma, range);
    let mut changed = false;
    let mut addr = range.start;
    while range.contains(addr) {
        let end = next_table::<P>(addr, range);
        if let Some(pmd) = pmd_offset(vma.mm, addr) {
            changed |= make_part_old(pmd, AddrRange { start: addr, end });
        }
        addr = end;
    }
    if changed {
        flush_tlb_range(vma.mm, range, FlushKind::Leaves);
    }
}

/// Takes back that a huge page was used, if the upper entry maps one and says so. Whether it did.
pub(super) fn clear_young_huge<P: Platform>(pmd: PmdRef<P>) -> bool {
    let _pml = pmd.lock();
    let value = pmd.load_protected();
    let young = value.is_huge() && value.is_young();
    if young {
        let old = pmd.take("pmdp_invalidate");
        pmd.set("set_pmd", old.mk_old());
    }
    young
}

/// The part that one upper entry serves. Whether an entry has changed. Of a huge page that could not be divided, a part is left as it is.
fn make_part_old<P: Platform>(pmd: PmdRef<P>, part: AddrRange) -> bool {
    let Some(table) = pte_offset_map_lock(pmd) else {
        let whole = part.end.page() - part.start.page() == P::PTRS_PER_TABLE as u64;
        return whole && clear_young_huge(pmd);
    };
    let mut changed = false;
    for addr in part.each_page() {
        if table.get(addr).is_young() {
            table.change(addr, Pte::mk_old);
            changed = true;
        }
    }
    changed
}
