//! What is there at the end is what the books say: nothing was lost.

use pagefold::Ref;
use pagefold::addr::{PageIndex, VirtAddr};
use pagefold::arch::Marker;
use pagefold::mm::Mm;
use pagefold::page_cache::{Entry, Mapping};
use pagefold::platform::Platform;

use super::facts::fail_for_hole;
use super::walk::entry_of;
use crate::model::violation::{Kind, fail};
use crate::model::world::{VIRT_PAGES, World};
use crate::model::{Model, names};

/// Private pages, protections, poison and guards are where the books say.
pub(super) fn check_pages(world: &World, mm: Ref<Model, Mm<Model>>) {
    for (number, book) in world.books.pages[mm.id as usize].iter().enumerate() {
        let addr = VirtAddr::of_page(number as u64);
        let (_, pte) = entry_of(mm, addr);
        if let Some(copy) = book.private.get() {
            let there = pte.is_present() && pte.pfn() == copy.pfn;
            let content = there.then(|| world.content(pte.pfn()).peek());
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
        let kept = pte.is_uffd_wp() || pte.as_marker() == Some(Marker::UffdWp);
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

/// An object holds what was stored to it.
pub(super) fn check_object(world: &World, object: Ref<Model, Mapping<Model>>) {
    for index in 0..object.pages_protected() {
        let expected = world.books.objects[object.id as usize][index as usize]
            .get()
            .last();
        let name = || format!("{}[{index}]", names::object(object.id));
        match object.load_protected(PageIndex(index)) {
            Entry::Folio(folio) => {
                let first = Model::frame(folio.pfn()).folio_index().0;
                let page = folio.pfn().add((index - first) as usize);
                let value = world.content(page).peek();
                if value != expected {
                    fail(
                        Kind::Content,
                        format!("{} holds {value}, but {expected} was stored", name()),
                    );
                }
            }
            Entry::Retry | Entry::Node(_) => fail(
                Kind::RetryEntry,
                format!("the slot of {} is left as changing", name()),
            ),
            Entry::None if expected != 0 => fail(
                Kind::Content,
                format!("{} is a hole, but {expected} was stored", name()),
            ),
            Entry::None => {}
        }
    }
}

/// What was stored to an object will be written back: its folio says so, or an entry from which the folio will have it.
pub(super) fn check_dirty(
    world: &World,
    object: Ref<Model, Mapping<Model>>,
    mms: &[Option<Ref<Model, Mm<Model>>>],
) {
    for index in 0..object.pages_protected() {
        let written = &world.books.written[object.id as usize][index as usize];
        let Entry::Folio(folio) = object.load_protected(PageIndex(index)) else {
            continue;
        };
        let frame = Model::frame(folio.pfn());
        let page = folio.pfn().add((index - frame.folio_index().0) as usize);
        let dirty_entry = |mm: &Ref<Model, Mm<Model>>| {
            (0..VIRT_PAGES as u64).any(|number| {
                let (_, pte) = entry_of(*mm, VirtAddr::of_page(number));
                pte.is_dirty() && pte.pfn() == page
            })
        };
        if written.get() && frame.dirty().peek() == 0 && !mms.iter().flatten().any(dirty_entry) {
            fail(
                Kind::DirtyLost,
                format!(
                    "{}[{index}] was stored to, but neither its folio nor an entry is dirty: reclaim takes it for clean",
                    names::object(object.id)
                ),
            );
        }
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
