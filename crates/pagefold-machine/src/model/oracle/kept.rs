//! What is there at the end is what the books say: nothing was lost.

use pagefold::Ref;
use pagefold::addr::{Pfn, VirtAddr};
use pagefold::arch::Marker;
use pagefold::mm::Mm;

use super::facts::fail_for_hole;
use super::walk::entry_of;
use crate::model::violation::{Kind, fail};
use crate::model::world::World;
use crate::model::{Model, names};

/// Private pages, permissions, protections, poison and guards are where the books say.
pub(super) fn check_pages(world: &'static World, mm: Ref<Model, Mm<Model>>) {
    for (number, book) in world.books.pages[mm.id as usize].iter().enumerate() {
        let addr = VirtAddr::of_page(number as u64);
        let (_, pte) = entry_of(mm, addr);
        if let Some(copy) = book.private.get() {
            let there = pte.is_present() && pte.pfn() == copy.pfn;
            let content = match pte.as_swap() {
                Some(swap) => Some(swapped_content(world, swap.slot)),
                None => there.then(|| world.content(pte.pfn()).peek()),
            };
            let expected = copy.contents.last();
            if content != Some(expected) {
                fail(
                    Kind::Content,
                    format!(
                        "the private page {} with content {expected} is lost",
                        names::page(mm.id, addr)
                    ),
                );
            }
        }
        let permitted = book.permitted.get();
        if pte.is_accessible() && !permitted.permits(pte.is_writable()) {
            fail(
                Kind::Protection,
                format!(
                    "{} is mapped ({pte:?}), where {permitted:?} is permitted",
                    names::page(mm.id, addr)
                ),
            );
        }
        let kept = pte.is_uffd_wp()
            || pte.as_marker() == Some(Marker::UffdWp)
            || pte.as_swap().is_some_and(|swap| swap.uffd_wp);
        if book.protected.get() && !kept {
            fail(
                Kind::MarkerLost,
                format!(
                    "the write protection of {} is lost: a write there raises no event",
                    names::page(mm.id, addr)
                ),
            );
        }
        if kept && !book.protected.get() {
            fail(
                Kind::MarkerStray,
                format!(
                    "{} is write-protected, but nobody asked for it",
                    names::page(mm.id, addr)
                ),
            );
        }
        if book.poisoned.get() && pte.as_marker() != Some(Marker::Poison) {
            fail(
                Kind::MarkerLost,
                format!("the poison marker of {} is lost", names::page(mm.id, addr)),
            );
        }
        if book.guarded.get() && pte.as_marker() != Some(Marker::Guard) {
            fail(
                Kind::MarkerLost,
                format!(
                    "the guard of {} is lost: an access there goes through",
                    names::page(mm.id, addr)
                ),
            );
        }
    }
}

/// What a page holds that is in swap, or still in the swap cache.
fn swapped_content(world: &'static World, slot: u64) -> u64 {
    let slot = world.swap_slot(slot);
    match slot.meta.cached().peek() {
        0 => slot.content.peek(),
        pfn => world.content(Pfn(pfn)).peek(),
    }
}

/// No process has seen a hole that was filled without an event, even if it saw it after it was filled, as it did not know. The
/// scenario's condition says more of what happens then, so it comes first.
pub(crate) fn check_holes_seen(world: &World) {
    for (mm, pages) in world.books.pages.iter().enumerate() {
        for (page, book) in pages.iter().enumerate() {
            let filled = book
                .backing
                .get()
                .is_some_and(|page| world.books.holes_filled[page.object][page.index].get());
            if filled && book.hole_seen.get() {
                fail_for_hole(mm as u32, VirtAddr::of_page(page as u64));
            }
        }
    }
}
