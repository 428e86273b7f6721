//! Reclaim: pages are moved out, so that their frames can be used for something else (Linux: `mm/vmscan.c`). This is about
//! private pages; `object` is about those of objects.
//!
//! Guarantee: a page that was moved out comes back as it was, whoever wrote to it until it went, and by whichever means. A page
//! that somebody has got stays where it is.
//!
//! Locks, in order: folio lock, `rwsem` of the family, (notifier), lock of a table, lock of the swap slot. No lock of any
//! process is held while its pages are unmapped, as its reclaim by the kernel's own thread has none.
//!
//! Why that is enough: the folio is put into the swap cache before it is unmapped, so that a fault finds it there, and waits for its
//! lock. Once it is unmapped *and flushed* nobody can write it any more but who has a reference, and these are counted
//! after that. The flush is put off until all entries are gone, and comes before the content is moved out. Until then others find a
//! swap entry where a translation may still be in use: who gives the impression that the range cannot be
//! accessed any more flushes first (`flush_tlb_batched_pending`).
//!
//! Of a huge private page small ones are made first, while nobody else has a reference to it and one process alone maps it; else it
//! stays. Of one of an object, too, where MADV_COLD or MADV_PAGEOUT means only a part of it (`partly`).

mod aging;
mod huge;
mod object;
mod partly;

pub(crate) use aging::make_old;
use partly::divide_partly_covered;

use crate::addr::{AddrRange, VirtAddr};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_cache::Mapping;
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::rmap::{private_page_at, try_to_unmap_anon};
use crate::step::Step;
use crate::swap;
use crate::tlb::UnmapBatch;

/// Moves the pages of a range out, as far as they can be. (Linux: `madvise(MADV_PAGEOUT)`)
///
/// How many it did. (Linux leaves pages of objects alone that others map as well, unless the caller may write the file.)
pub fn pageout<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> usize {
    mm.mmap_read_lock();
    for vma in mm.vmas_protected() {
        if vma.range.overlaps(range) {
            let part = AddrRange {
                start: vma.range.start.max(range.start),
                end: vma.range.end.min(range.end),
            };
            divide_partly_covered(vma, part);
        }
    }
    mm.mmap_read_unlock();
    reclaim_range(mm, range, Choice::All)
}

/// As [`pageout`], on behalf of nobody: pages that were used since this last came by are left alone. (Linux: `shrink_inactive_list`)
pub fn shrink<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> usize {
    reclaim_range(mm, range, Choice::Unused)
}

/// Which pages are to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// All.
    All,
    /// Those that were not used lately.
    Unused,
}

fn reclaim_range<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange, choice: Choice) -> usize {
    range
        .each_page()
        .filter(|addr| reclaim_page(mm, *addr, choice))
        .count()
}

/// Whose page is at an address.
enum Owner<P: Platform> {
    /// The process's own.
    Private,
    /// That of an object, mapped or not.
    Object(Ref<P, Mapping<P>>),
}

/// The page at an address, with a reference to its folio.
///
/// The address is only how the page is found; Linux finds it on a list of pages that were not used for long.
fn find_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    choice: Choice,
) -> Option<(Folio, Owner<P>)> {
    mm.mmap_read_lock();
    let found = mm.find_vma(addr).and_then(|vma| {
        while let Some((folio, _)) = private_page_at(mm, addr) {
            if !folio.is_huge::<P>() {
                return Some((folio, Owner::Private));
            }
            // Once it is split, the next look finds a small page: nobody makes a huge one while `mmap_lock` is held.
            let split = huge::split(vma, addr, folio, choice);
            folio.put::<P>(1);
            if !split {
                return None;
            }
        }
        let mapping = vma.mapping?;
        let folio = mapping.peek_folio(vma.index_of(addr)).ok()??;
        Some((folio, Owner::Object(mapping)))
    });
    mm.mmap_read_unlock();
    found
}

/// Moves the page at an address out. Whether it did.
fn reclaim_page<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr, choice: Choice) -> bool {
    let Some((folio, owner)) = find_page(mm, addr, choice) else {
        return false;
    };
    // Huge pages of objects that are wholly meant, or mapped by others, stay (Linux moves them out whole).
    let reclaimed = !folio.is_huge::<P>()
        && lock(folio, &owner)
        && if choice == Choice::Unused && aging::is_referenced(folio, &owner) {
            folio.unlock::<P>();
            false
        } else {
            match owner {
                Owner::Private => reclaim_folio::<P>(folio),
                Owner::Object(mapping) => object::reclaim_folio(mapping, folio),
            }
        };
    folio.put::<P>(1);
    reclaimed
}

/// Locks a folio, if that takes no waiting and it can be had.
fn lock<P: Platform>(folio: Folio, owner: &Owner<P>) -> bool {
    match owner {
        Owner::Private => folio.try_lock::<P>(),
        Owner::Object(mapping) => object::lock(*mapping, folio),
    }
}

/// Moves a private folio out, to which the caller has a reference, and unlocks it. (Linux: `shrink_folio_list`)
fn reclaim_folio<P: Platform>(folio: Folio) -> bool {
    let reclaimed = reclaim_locked::<P>(folio);
    folio.unlock::<P>();
    reclaimed
}

fn reclaim_locked<P: Platform>(folio: Folio) -> bool {
    let Some(slot) = swap::get_for::<P>(folio) else {
        return false;
    };
    let mut batch = UnmapBatch::<P>::new();
    try_to_unmap_anon(folio, slot, &mut batch);
    if P::enforces(Safeguard::FlushBeforePageout) {
        P::step(Step::Named("try_to_unmap_flush"));
        batch.flush();
    }
    // One reference is the caller's, one is the swap cache's. If there are others, it stays in the swap cache.
    let reclaimed = folio.refcount::<P>() == 2 && {
        P::swap_out(slot, folio.pfn());
        swap::remove::<P>(slot, folio)
    };
    swap::put::<P>(slot);
    reclaimed
}
