//! The end of an object.

use crate::addr::PageIndex;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{Entry, Mapping};
use crate::platform::{Order, Platform, Word};
use crate::swap;

impl<P: Platform> Mapping<P> {
    /// Ends the life of an object that nobody maps and nobody will look up any more: gives back its pages, those that are
    /// pinned when their last user does, and frees it. (Linux: `evict`, `truncate_inode_pages_final`)
    ///
    /// # Safety
    /// No operation on the object is under way or will begin, and no reference to it is followed afterwards.
    pub unsafe fn evict(this: Ref<P, Self>) {
        debug_assert!(
            this.i_mmap.is_empty(),
            "an object that is mapped is not evicted"
        );
        let range = P::PTRS_PER_TABLE as u64;
        let mut start = PageIndex(0);
        while start.0 < Self::MAX_PAGES {
            let slot = this.root_slot(start);
            match Entry::from_bits(slot.load_protected()) {
                Entry::Folio(folio) => this.drop_folio(folio, P::PTRS_PER_TABLE),
                Entry::Node(node) => {
                    for i in 0..range {
                        let small = Self::node_slot(node, start.add(i)).load_protected();
                        match Entry::from_bits(small) {
                            Entry::Folio(folio) => this.drop_folio(folio, 1),
                            Entry::Swap(slot) => swap::put::<P>(slot),
                            Entry::None | Entry::Retry | Entry::Node(_) => {}
                        }
                    }
                    P::free_frames(node, Order::Small);
                }
                Entry::None | Entry::Retry | Entry::Swap(_) => {}
            }
            start = start.add(range);
        }
        P::free_frames(this.root, Order::Small);
        if let Some(disk) = &this.disk {
            disk.free::<P>();
        }
        // SAFETY: the caller says that nobody follows a reference to the object any more; the folios that outlive it do
        // not name it.
        unsafe { this.free() };
    }

    /// Lets go of a folio with the `references` that the cache has to it.
    fn drop_folio(&self, folio: Folio, references: usize) {
        folio.lock::<P>();
        folio.set_mapping::<P>(None, folio.index::<P>());
        folio.unlock::<P>();
        folio.put::<P>(references);
    }
}
