//! Huge pages of which only a part is to grow cold or to be moved out: small ones are made of them (Linux: `split_folio` in
//! `madvise_cold_or_pageout_pte_range`).
//!
//! Guarantee: each private page stays mapped as it was, each page of an object is mapped again when it is used. A huge page that
//! another process maps as well, or that anybody has a reference to, stays one: nobody else is to notice.
//!
//! Locks, in order: `mmap_lock` or VMA lock for reading (the caller's); folio lock; those of the split.

use super::huge::split;
use super::{Choice, object};
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::Pte;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_cache::Mapping;
use crate::page_table::{PmdRef, PteLocked, pmd_offset, pte_offset_map_lock};
use crate::platform::Platform;
use crate::rmap::is_mapped_by_others;
use crate::vma::Vma;
use crate::zap::next_table;
use crate::zero::{is_huge_zero, is_zero_page};

/// Makes small pages of the huge ones that a range has a part of, or of which a part is mapped there. The caller keeps the VMA in place, and it
/// covers the range.
pub(super) fn divide_partly_covered<P: Platform>(vma: Ref<P, Vma<P>>, range: AddrRange) {
    let mut addr = range.start;
    while range.contains(addr) {
        let end = next_table::<P>(addr, range);
        if let Some(pmd) = pmd_offset(vma.mm, addr) {
            divide_in_table(vma, pmd, AddrRange { start: addr, end });
        }
        addr = end;
    }
}

/// The part that one upper entry serves.
fn divide_in_table<P: Platform>(vma: Ref<P, Vma<P>>, pmd: PmdRef<P>, part: AddrRange) {
    let mut from = part.start;
    let mut stays = None;
    while let Some((addr, folio)) = find_partly_covered(pmd, part, from, stays) {
        if !divide(vma, addr, folio) {
            stays = Some(folio);
        }
        folio.put::<P>(1);
        from = addr;
    }
}

/// The first huge page from an address on that is not all within the part, with a reference. One of them is passed by.
fn find_partly_covered<P: Platform>(
    pmd: PmdRef<P>,
    part: AddrRange,
    from: VirtAddr,
    stays: Option<Folio>,
) -> Option<(VirtAddr, Folio)> {
    let whole = part.end.page() - part.start.page() == P::PTRS_PER_TABLE as u64;
    loop {
        if let Some(table) = pte_offset_map_lock(pmd) {
            let rest = AddrRange {
                start: from,
                ..part
            };
            let found = rest.each_page().find_map(|addr| {
                let folio = huge_folio::<P>(table.get(addr))?;
                let covered = whole && maps_all(&table, part, folio);
                (!covered && stays != Some(folio)).then_some((addr, folio))
            });
            return found.inspect(|(_, folio)| folio.get::<P>(1));
        }
        if whole || !pmd.read_once("read pmd").is_huge() {
            return None;
        }
        // It may be split before the lock is held.
        let _pml = pmd.lock();
        let value = pmd.load_protected();
        if value.is_huge() {
            let folio = Folio::of::<P>(value.pfn());
            let found = !is_huge_zero::<P>(value) && stays != Some(folio);
            return found.then(|| {
                folio.get::<P>(1);
                (from, folio)
            });
        }
    }
}

/// The huge page that a small entry maps a part of.
fn huge_folio<P: Platform>(pte: Pte) -> Option<Folio> {
    let mapped = pte.is_present() && !is_zero_page::<P>(pte.pfn());
    let folio = mapped.then(|| Folio::of::<P>(pte.pfn()))?;
    folio.is_huge::<P>().then_some(folio)
}

/// Whether the table maps the whole folio, in its order.
fn maps_all<P: Platform>(table: &PteLocked<P>, part: AddrRange, folio: Folio) -> bool {
    let mut pages = part.each_page().enumerate();
    pages.all(|(page, addr)| {
        let pte = table.get(addr);
        pte.is_present() && pte.pfn() == folio.pfn().add(page)
    })
}

/// Makes small pages of a huge one that was found at an address, with a reference. Whether it did.
fn divide<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr, folio: Folio) -> bool {
    match vma.mapping {
        Some(mapping) if !folio.is_anon::<P>() => divide_of_object(vma.mm, mapping, folio),
        _ => split(vma, addr, folio, Choice::All),
    }
}

fn divide_of_object<P: Platform>(
    mm: Ref<P, Mm<P>>,
    mapping: Ref<P, Mapping<P>>,
    folio: Folio,
) -> bool {
    if is_mapped_by_others(folio, mapping, mm) || !object::lock(mapping, folio) {
        return false;
    }
    let divided = Mapping::split_folio(mapping, folio).is_ok();
    folio.unlock::<P>();
    divided
}
