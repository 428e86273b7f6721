//! Objects hold what was stored to them, nothing behind their end, and are mapped as they are.

use pagefold::Ref;
use pagefold::addr::{PageIndex, VirtAddr};
use pagefold::is_zero_page;
use pagefold::mm::Mm;
use pagefold::page_cache::{Entry, Mapping};
use pagefold::platform::Platform;

use super::OBJECT_PAGES;
use super::walk::entry_of;
use crate::model::violation::{Kind, fail};
use crate::model::world::{VIRT_PAGES, World};
use crate::model::{Model, names};

/// An object holds what was stored to it. Behind its end it has nothing but the rest of a huge page, of unknown content.
pub(super) fn check_object(world: &'static World, object: Ref<Model, Mapping<Model>>) {
    let end = object.pages_protected();
    for index in 0..OBJECT_PAGES as u64 {
        let expected = world.books.objects[object.id as usize][index as usize]
            .get()
            .last();
        let name = || format!("{}[{index}]", names::object(object.id));
        match object.load_protected(PageIndex(index)) {
            Entry::Folio(folio) => {
                let first = Model::frame(folio.pfn()).folio_index().0;
                if first >= end {
                    fail(
                        Kind::BeyondEnd,
                        format!("{} is cached, but the object has {end} pages", name()),
                    );
                }
                let page = folio.pfn().add((index - first) as usize);
                let value = world.content(page).peek();
                if value != expected && index < end {
                    fail(
                        Kind::Content,
                        format!("{} holds {value}, but {expected} was stored", name()),
                    );
                }
            }
            Entry::Swap(slot) => {
                if index >= end {
                    fail(
                        Kind::BeyondEnd,
                        format!("{} is in swap, but the object has {end} pages", name()),
                    );
                }
                let value = world.swap_slot(slot).content.peek();
                if value != expected {
                    fail(
                        Kind::Content,
                        format!("{} is {value} in swap, but {expected} was stored", name()),
                    );
                }
            }
            Entry::Retry | Entry::Node(_) => fail(
                Kind::RetryEntry,
                format!("the slot of {} is left as changing", name()),
            ),
            Entry::None if expected != 0 && index < end && !object.is_file() => fail(
                Kind::Content,
                format!("{} is a hole, but {expected} was stored", name()),
            ),
            Entry::None => {}
        }
    }
}

/// An object is charged for the pages that it has.
pub(super) fn check_blocks(object: Ref<Model, Mapping<Model>>) {
    // The disk counts those of a file.
    if object.is_file() {
        return;
    }
    let has = |index: &u64| {
        matches!(
            object.load_protected(PageIndex(*index)),
            Entry::Folio(_) | Entry::Swap(_)
        )
    };
    let pages = (0..OBJECT_PAGES as u64).filter(has).count() as i64;
    let blocks = object.blocks().peek();
    if blocks != pages {
        fail(
            Kind::Blocks,
            format!(
                "{} is charged for {blocks} pages, but has {pages}",
                names::object(object.id)
            ),
        );
    }
}

/// What is mapped as a page of an object is what its cache has there. Behind its end nothing else is mapped, either.
pub(super) fn check_mapped(
    world: &World,
    mm: Ref<Model, Mm<Model>>,
    objects: &[Option<Ref<Model, Mapping<Model>>>],
) {
    for (number, book) in world.books.pages[mm.id as usize].iter().enumerate() {
        let Some((backing, object)) = book
            .backing
            .get()
            .and_then(|backing| Some((backing, objects[backing.object]?)))
        else {
            continue;
        };
        let addr = VirtAddr::of_page(number as u64);
        let (_, pte) = entry_of(mm, addr);
        if !pte.is_present() {
            continue;
        }
        let index = PageIndex(backing.index as u64);
        let head = Model::frame(pte.pfn()).folio_head();
        let is_cached =
            matches!(object.load_protected(index), Entry::Folio(folio) if folio.pfn() == head);
        if is_cached {
            continue;
        }
        let name = || names::page(mm.id, addr);
        if index.0 >= object.pages_protected() {
            let object = names::object(object.id);
            fail(
                Kind::BeyondEnd,
                format!("{} is mapped, but lies behind the end of {object}", name()),
            );
        }
        // A private mapping may have the page of zeros, which a monitor has put there.
        let private = book.private.get().map(|copy| copy.pfn);
        let zeros = is_zero_page::<Model>(pte.pfn()) && private == Some(pte.pfn());
        if !zeros && !Model::frame(pte.pfn()).is_anon() {
            fail(
                Kind::Orphan,
                format!(
                    "{} is mapped to frame {}, which the object does not have there",
                    name(),
                    pte.pfn().0
                ),
            );
        }
    }
}

/// What was stored to an object will be written back: its folio says so, or an entry from which the folio will have it.
pub(super) fn check_dirty(
    world: &World,
    object: Ref<Model, Mapping<Model>>,
    mms: &[Option<Ref<Model, Mm<Model>>>],
) {
    // Those of a file may be clean once they are on the disk, which is looked at.
    if object.is_file() {
        return;
    }
    for index in 0..object.pages_protected() {
        let written = &world.books.written[object.id as usize][index as usize];
        let is_cached = matches!(object.load_protected(PageIndex(index)), Entry::Folio(_));
        if written.get() && is_cached && !is_known_dirty(object, index, mms) {
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

/// Whether the folio that caches a page is dirty, or an entry of the page.
pub(super) fn is_known_dirty(
    object: Ref<Model, Mapping<Model>>,
    index: u64,
    mms: &[Option<Ref<Model, Mm<Model>>>],
) -> bool {
    let Entry::Folio(folio) = object.load_protected(PageIndex(index)) else {
        return false;
    };
    let frame = Model::frame(folio.pfn());
    let page = folio.pfn().add((index - frame.folio_index().0) as usize);
    let dirty_entry = |mm: &Ref<Model, Mm<Model>>| {
        (0..VIRT_PAGES as u64).any(|number| {
            let (_, pte) = entry_of(*mm, VirtAddr::of_page(number));
            pte.is_dirty() && pte.pfn() == page
        })
    };
    frame.dirty().peek() != 0 || mms.iter().flatten().any(dirty_entry)
}
