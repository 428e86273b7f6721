//! What page tables and caches hold at the end, counted afresh and held against every count.

use pagefold::Ref;
use pagefold::accounting::PageKind;
use pagefold::addr::{PageIndex, Pfn};
use pagefold::arch::{Format, PMD_LEVEL, Pte};
use pagefold::is_zero_page;
use pagefold::mm::Mm;
use pagefold::page_cache::{Entry, Mapping};
use pagefold::platform::Platform;

use super::OBJECT_PAGES;
use super::walk::read;
use crate::model::format::ModelFormat;
use crate::model::violation::{Kind, fail};
use crate::model::world::{FRAMES, SWAP_SLOTS, Use, World};
use crate::model::{Model, PTRS_PER_TABLE, names};

/// What the page tables and caches hold, counted afresh.
pub(super) struct Census {
    /// Entries that map each folio, by first frame.
    maps: [i64; FRAMES],
    /// Entries that map each frame as a small page or a part of a huge one.
    page_maps: [i64; FRAMES],
    /// Whether one of these says that the page belongs to one process alone, or may be written.
    owned: [bool; FRAMES],
    /// Pages that the caches hold of each folio.
    cached: [i64; FRAMES],
    /// Entries of page tables and caches that name each swap slot.
    swapped: [u64; SWAP_SLOTS],
    /// Frames that are tables of some sort.
    table: [bool; FRAMES],
}

/// What an address space maps: pages of each kind, and tables of small-page entries.
#[derive(Default)]
struct Mapped {
    shmem: i64,
    anon: i64,
    swap: i64,
    tables: i64,
}

impl Census {
    pub(super) fn new() -> Self {
        Self {
            maps: [0; FRAMES],
            page_maps: [0; FRAMES],
            owned: [false; FRAMES],
            cached: [0; FRAMES],
            swapped: [0; SWAP_SLOTS],
            table: [false; FRAMES],
        }
    }

    /// A table that no address space and no page cache has.
    pub(super) fn note_table(&mut self, table: Pfn) {
        self.table[table.0 as usize] = true;
    }

    /// The tables and entries of an address space, against what it counts itself.
    pub(super) fn count_mm(&mut self, mm: Ref<Model, Mm<Model>>) {
        let mut found = Mapped::default();
        self.count_table(mm.root(), ModelFormat::levels() - 1, &mut found);
        for (kind, mapped, what) in [
            (PageKind::Shmem, found.shmem, "object"),
            (PageKind::Anon, found.anon, "private"),
        ] {
            let counted = mm.rss(kind).peek();
            if counted != mapped {
                fail(
                    Kind::Rss,
                    format!(
                        "{} counts {counted} resident {what} pages, but maps {mapped}",
                        names::mm(mm.id)
                    ),
                );
            }
        }
        let counted = mm.swap_entries().peek();
        if counted != found.swap {
            fail(
                Kind::Swap,
                format!(
                    "{} counts {counted} pages in swap, but has {}",
                    names::mm(mm.id),
                    found.swap
                ),
            );
        }
        let counted = mm.nr_ptes().peek();
        if counted != found.tables {
            fail(
                Kind::NrPtes,
                format!(
                    "{} counts {counted} page tables, but has {}",
                    names::mm(mm.id),
                    found.tables
                ),
            );
        }
    }

    fn count_table(&mut self, table: Pfn, level: u32, found: &mut Mapped) {
        self.note_table(table);
        let mut huge_private = 0;
        for index in 0..PTRS_PER_TABLE {
            let pte = read(table, index, level);
            if let Some(swap) = pte.as_swap() {
                World::current().swap_slot(swap.slot);
                self.swapped[swap.slot as usize] += 1;
                found.swap += 1;
            } else if let Some(migration) = pte.as_migration() {
                fail(
                    Kind::Content,
                    format!(
                        "an entry still stands for frame {}, whose page nobody moves any more: who accesses it waits for ever",
                        migration.pfn.0
                    ),
                );
            } else if pte.is_table() {
                found.tables += i64::from(level == PMD_LEVEL);
                self.count_table(pte.pfn(), level - 1, found);
            } else if pte.is_page() && is_zero_page::<Model>(pte.pfn()) {
                for page in 0..PTRS_PER_TABLE.pow(level) {
                    check_zero_page(pte, pte.pfn().add(page));
                }
                huge_private += i64::from(level == PMD_LEVEL);
            } else if pte.is_page() {
                let frame = Model::frame(pte.pfn());
                let owned = pte.is_writable() || frame.is_exclusive();
                for page in 0..PTRS_PER_TABLE.pow(level) {
                    let page = pte.pfn().add(page).0 as usize;
                    self.page_maps[page] += 1;
                    self.owned[page] |= owned;
                }
                self.maps[frame.folio_head().0 as usize] += 1;
                let pages = PTRS_PER_TABLE.pow(level) as i64;
                if frame.is_anon() {
                    huge_private += i64::from(level == PMD_LEVEL);
                    found.anon += pages;
                } else {
                    found.shmem += pages;
                }
            }
        }
        if level == PMD_LEVEL {
            self.count_store(table, huge_private, found);
        }
    }

    /// The tables in store of a table of huge-page entries: one for each huge private page, and for the huge page of zeros.
    fn count_store(&mut self, table: Pfn, huge_private: i64, found: &mut Mapped) {
        let mut tables = 0;
        for stored in Model::frame(table).deposited() {
            self.note_table(stored);
            tables += 1;
        }
        found.tables += tables;
        if tables != huge_private {
            fail(
                Kind::NrPtes,
                format!("{huge_private} huge private pages have {tables} page tables in store"),
            );
        }
    }

    /// The nodes and pages of a page cache.
    pub(super) fn count_object(&mut self, object: Ref<Model, Mapping<Model>>) {
        self.table[object.root().0 as usize] = true;
        for index in 0..PTRS_PER_TABLE {
            let bits = Model::entry(object.root(), index).peek();
            if let Entry::Node(node) = Entry::from_bits(bits) {
                self.table[node.0 as usize] = true;
            }
        }
        object.for_each_disk_frame(|pfn| self.table[pfn.0 as usize] = true);
        for index in 0..OBJECT_PAGES as u64 {
            match object.load_protected(PageIndex(index)) {
                Entry::Folio(folio) => self.cached[folio.pfn().0 as usize] += 1,
                Entry::Swap(slot) => {
                    World::current().swap_slot(slot);
                    self.swapped[slot as usize] += 1;
                }
                Entry::None | Entry::Retry | Entry::Node(_) => {}
            }
        }
    }

    /// The swap slots, against the entries that were found in all address spaces.
    pub(super) fn count_swap(&mut self, world: &'static World) {
        for (number, entries) in (0..).zip(self.swapped) {
            let slot = &world.swap_slot(number).meta;
            let (count, cached) = (slot.count().peek(), slot.cached().peek());
            if count != entries {
                fail(
                    Kind::Swap,
                    format!("swap slot {number} counts {count} entries, but has {entries}"),
                );
            }
            if cached != 0 && count == 0 {
                fail(
                    Kind::Swap,
                    format!(
                        "swap slot {number} is free, but keeps frame {cached} in the swap cache"
                    ),
                );
            }
            if cached != 0 {
                self.cached[cached as usize] += 1;
            }
        }
    }

    /// Each frame is free, or used as often as it counts itself.
    pub(super) fn check_frames(&self, world: &World) {
        for (number, slot) in world.frames().iter().enumerate() {
            let pfn = Pfn(number as u64);
            if slot.state.get() != Use::Allocated || self.table[number] {
                continue;
            }
            let frame = Model::frame(pfn);
            if self.page_maps[number] > 1 && frame.is_anon() && self.owned[number] {
                fail(
                    Kind::Exclusive,
                    format!(
                        "frame {number} is a private page of {} processes, but one may write it",
                        self.page_maps[number]
                    ),
                );
            }
            let head = frame.folio_head();
            if head != pfn && world.frames()[head.0 as usize].state.get() == Use::Allocated {
                continue;
            }
            let (maps, cached) = (self.maps[number], self.cached[number]);
            if maps + cached == 0 {
                fail(
                    Kind::Leak,
                    format!("frame {number} is neither free nor in use"),
                );
            }
            let mapcount = frame.mapcount().peek();
            if mapcount != maps {
                fail(
                    Kind::Mapcount,
                    format!("frame {number} counts {mapcount} mappings, but has {maps}"),
                );
            }
            let refcount = frame.refcount().peek();
            if refcount != (maps + cached).unsigned_abs() {
                fail(
                    Kind::Refcount,
                    format!(
                        "frame {number} counts {refcount} references, but has {maps} mappings and {cached} pages in the cache"
                    ),
                );
            }
        }
    }
}

/// A page of zeros stays one.
fn check_zero_page(pte: Pte, pfn: Pfn) {
    let value = World::current().content(pfn).peek();
    if pte.is_writable() || value != 0 {
        fail(
            Kind::Content,
            format!("the page of zeros holds {value} and is mapped as {pte:?}"),
        );
    }
}
