//! Page tables read from outside of the execution, and accesses of who has no translation cache.

use pagefold::Ref;
use pagefold::addr::{Pfn, VirtAddr};
use pagefold::arch::Pte;
use pagefold::mm::Mm;
use pagefold::platform::Platform;

use crate::model::cpu::Access;
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
    let allowed = pte.is_present() && (pte.is_writable() || !access.is_write());
    allowed.then(|| match access {
        Access::Load => {
            let value = world.content(pte.pfn()).peek();
            world.books.check_load(mm.id, addr, pte.pfn(), value);
            value
        }
        Access::Store(value) => {
            world.content(pte.pfn()).poke(value);
            world.books.note_store(mm.id, addr, pte.pfn(), value);
            value
        }
    })
}

/// The entry that an address is mapped by now: of a page, or of a huge page as if it were of the small one.
pub(crate) fn entry_of(mm: Ref<Model, Mm<Model>>, addr: VirtAddr) -> (Option<Pfn>, Pte) {
    let page = addr.page() as usize;
    let huge = page / PTRS_PER_TABLE;
    let pud = read(mm.root(), huge / PTRS_PER_TABLE);
    if !pud.is_table() {
        return (None, Pte::NONE);
    }
    let pmd = read(pud.pfn(), huge % PTRS_PER_TABLE);
    if pmd.is_huge() {
        let pfn = pmd.pfn().add(page % PTRS_PER_TABLE);
        return (None, Pte::page(pfn, pmd.is_writable()));
    }
    if !pmd.is_table() {
        return (None, Pte::NONE);
    }
    (Some(pmd.pfn()), read(pmd.pfn(), page % PTRS_PER_TABLE))
}

pub(super) fn read(table: Pfn, index: usize) -> Pte {
    Pte::from_bits(Model::entry(table, index).peek())
}
