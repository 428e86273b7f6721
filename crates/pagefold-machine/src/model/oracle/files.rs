//! What was written to a file is on its disk, or in its cache and dirty; and a file that is open for writing has no huge pages.

use pagefold::Ref;
use pagefold::addr::PageIndex;
use pagefold::mm::Mm;
use pagefold::page_cache::{Entry, Mapping};
use pagefold::platform::Platform;

use super::objects::is_known_dirty;
use crate::model::violation::{Kind, fail};
use crate::model::world::World;
use crate::model::{Model, PTRS_PER_TABLE, names};

pub(super) fn check_file(
    world: &World,
    object: Ref<Model, Mapping<Model>>,
    mms: &[Option<Ref<Model, Mm<Model>>>],
) {
    if !object.is_file() {
        return;
    }
    let mut huge = 0;
    for index in 0..object.pages_protected() {
        let cached = match object.load_protected(PageIndex(index)) {
            Entry::Folio(folio) => Some(folio.pfn()),
            Entry::None | Entry::Retry | Entry::Swap(_) | Entry::Node(_) => None,
        };
        if let Some(pfn) = cached
            && index.is_multiple_of(PTRS_PER_TABLE as u64)
            && Model::frame(pfn).is_huge()
        {
            huge += 1;
        }
        check_disk(world, object, index, mms);
    }
    let name = names::object(object.id);
    if object.nr_thps() != huge {
        fail(
            Kind::NrThps,
            format!(
                "{name} counts {} huge pages, but its cache has {huge}",
                object.nr_thps()
            ),
        );
    }
    if huge > 0 && (object.writers() > 0 || object.is_mapped_writable()) {
        fail(
            Kind::HugeWhileWritten,
            format!("{name} is open for writing, and its cache has a huge page"),
        );
    }
}

fn check_disk(
    world: &World,
    object: Ref<Model, Mapping<Model>>,
    index: u64,
    mms: &[Option<Ref<Model, Mm<Model>>>],
) {
    if is_known_dirty(object, index, mms) {
        return;
    }
    let contents = world.books.objects[object.id as usize][index as usize].get();
    let expected = contents.last();
    let Some(page) = object.disk_page(PageIndex(index)) else {
        return;
    };
    let value = world.content(page).peek();
    if value != expected {
        fail(
            Kind::DirtyLost,
            format!(
                "{}[{index}] is {value} on the disk, but {expected} was written, and nothing that is cached is dirty",
                names::object(object.id)
            ),
        );
    }
}
