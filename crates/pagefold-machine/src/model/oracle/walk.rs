//! Page tables read from outside of the execution, and accesses of who has no translation cache.

use pagefold::Ref;
use pagefold::addr::{Pfn, VirtAddr};
use pagefold::arch::{Format, PMD_LEVEL, PTE_LEVEL, Pte};
use pagefold::mm::Mm;
use pagefold::platform::Platform;

use crate::model::cpu::Access;
use crate::model::format::ModelFormat;
use crate::model::oracle::Through;
use crate::model::world::World;
use crate::model::{Model, PTRS_PER_TABLE};

/// An access of a thread of the set-up or of the end, which has no translation cache: `None` is a fault.
pub(crate) fn access_uncached(
    world: &World,
    mm: Ref<Model, Mm<Model>>,
    addr: VirtAddr,
    access: Access,
) -> Option<u64> {
    let (_, pte) = entry_of(mm, addr);
    let allowed = pte.is_accessible() && (pte.is_writable() || !access.is_write());
    allowed.then(|| match access {
        Access::Load => {
            let value = world.content(pte.pfn()).peek();
            world.books.check_load(mm.id, addr, pte.pfn(), value);
            value
        }
        Access::Store(value) => {
            mark_dirty(mm, addr);
            world.content(pte.pfn()).poke(value);
            world
                .books
                .note_store(mm.id, addr, pte.pfn(), value, Through::Translation);
            value
        }
    })
}

/// The entry that an address is mapped by now, of a page, or of a huge page as if it were of the small one; and the
/// table that it is in, if that is one of small-page entries.
pub(crate) fn entry_of(mm: Ref<Model, Mm<Model>>, addr: VirtAddr) -> (Option<Pfn>, Pte) {
    let page = addr.page() as usize;
    let mut table = mm.root();
    for level in (PMD_LEVEL..ModelFormat::levels()).rev() {
        let pte = read(
            table,
            page / PTRS_PER_TABLE.pow(level) % PTRS_PER_TABLE,
            level,
        );
        if pte.is_huge() {
            return (None, pte.piece(page % PTRS_PER_TABLE));
        }
        if !pte.is_table() {
            return (None, Pte::NONE);
        }
        table = pte.pfn();
    }
    (Some(table), read(table, page % PTRS_PER_TABLE, PTE_LEVEL))
}

/// Has the entry of a page that is stored to say so.
fn mark_dirty(mm: Ref<Model, Mm<Model>>, addr: VirtAddr) {
    let mut table = mm.root();
    for level in (PTE_LEVEL..ModelFormat::levels()).rev() {
        let index = addr.page() as usize / PTRS_PER_TABLE.pow(level) % PTRS_PER_TABLE;
        let pte = read(table, index, level);
        if pte.is_page() {
            let marked = pte.mk_young().mk_dirty();
            Model::entry(table, index).poke(ModelFormat::encode(marked, level));
            return;
        }
        table = pte.pfn();
    }
}

pub(super) fn read(table: Pfn, index: usize, level: u32) -> Pte {
    ModelFormat::decode(Model::entry(table, index).peek(), level)
}
