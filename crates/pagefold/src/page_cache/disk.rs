//! Where the content of a file is kept when the cache does not have it.
//!
//! Guarantee: there is a page for each page of the file, from the start. It is read into a locked new folio, and written from a
//! locked folio of the cache; pages that are given up are cleared with `invalidate_lock` held for writing. As an index is cached by
//! one folio at most, no two do so at once.
//!
//! The disk is memory here: a root and nodes of words that name frames. Reading and writing take no time in between.

use crate::addr::{PageIndex, Pfn};
use crate::page_cache::Mapping;
use crate::page_table::clear_table;
use crate::platform::{Order, Platform, Word};

/// The pages of a file.
pub(super) struct Disk {
    root: Pfn,
    pages: u64,
}

impl Disk {
    /// Room for `pages` pages of zeros. `None` when there are no frames for it; those that it took are lost then.
    pub(super) fn new<P: Platform>(pages: u64) -> Option<Self> {
        let root = P::alloc_frames(Order::Small)?;
        clear_table::<P>(root);
        for index in 0..pages {
            let slot = P::entry(root, index as usize / P::PTRS_PER_TABLE);
            if slot.load_protected() == 0 {
                let node = P::alloc_frames(Order::Small)?;
                clear_table::<P>(node);
                slot.store_protected(node.0);
            }
            let page = P::alloc_frames(Order::Small)?;
            P::clear_page(page);
            P::entry(
                Pfn(slot.load_protected()),
                index as usize % P::PTRS_PER_TABLE,
            )
            .store_protected(page.0);
        }
        Some(Self { root, pages })
    }

    /// The frame that keeps page `index`; `None` behind the room that there is.
    fn page<P: Platform>(&self, index: PageIndex) -> Option<Pfn> {
        if index.0 >= self.pages {
            return None;
        }
        let node = P::entry(self.root, index.0 as usize / P::PTRS_PER_TABLE).load_protected();
        let page = P::entry(Pfn(node), index.0 as usize % P::PTRS_PER_TABLE).load_protected();
        Some(Pfn(page))
    }

    /// All frames, for oracles and for the end: those of pages, nodes, the root.
    fn for_each_frame<P: Platform>(&self, mut visit: impl FnMut(Pfn)) {
        for slot in 0..P::PTRS_PER_TABLE {
            let node = Pfn(P::entry(self.root, slot).load_protected());
            if node.0 == 0 {
                continue;
            }
            for index in 0..P::PTRS_PER_TABLE {
                let page = Pfn(P::entry(node, index).load_protected());
                if page.0 != 0 {
                    visit(page);
                }
            }
            visit(node);
        }
        visit(self.root);
    }

    pub(super) fn free<P: Platform>(&self) {
        self.for_each_frame::<P>(|pfn| P::free_frames(pfn, Order::Small));
    }
}

impl<P: Platform> Mapping<P> {
    /// Whether the content is kept on a disk, and not in the cache alone.
    pub fn is_file(&self) -> bool {
        self.disk.is_some()
    }

    /// The frame that keeps page `index` of a file when the cache does not; for who sets a file up, and oracles.
    pub fn disk_page(&self, index: PageIndex) -> Option<Pfn> {
        self.disk.as_ref()?.page::<P>(index)
    }

    /// All frames of the disk, for oracles that look for leaks.
    pub fn for_each_disk_frame(&self, visit: impl FnMut(Pfn)) {
        if let Some(disk) = &self.disk {
            disk.for_each_frame::<P>(visit);
        }
    }
}
