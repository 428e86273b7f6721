//! The slots: a root and its nodes, words in frames. They change only under `xa_lock`.

use crate::addr::{PageIndex, Pfn};
use crate::folio::Folio;
use crate::page_cache::{CacheError, Entry, Mapping};
use crate::platform::{Order, Platform, Word};
use crate::step::Step;

impl<P: Platform> Mapping<P> {
    /// Whether there can be a slot for a page: a mapping may reach behind all that there can be.
    fn reaches(index: PageIndex) -> bool {
        index.0 < Self::MAX_PAGES
    }

    pub(super) fn root_slot(&self, index: PageIndex) -> &'static P::Word {
        P::entry(self.root, index.0 as usize / P::PTRS_PER_TABLE)
    }

    pub(super) fn node_slot(node: Pfn, index: PageIndex) -> &'static P::Word {
        P::entry(node, index.0 as usize % P::PTRS_PER_TABLE)
    }

    /// What the slot of `index` holds now, followed to a node, which was cleared before it was published. The caller is in an
    /// RCU section.
    ///
    /// The name of a small folio is in no order to anything. Metadata can be looked at at any time, and what counts in it is read
    /// with a reference, which is an acquire of how the folio began, or with the folio's lock, which was held when the folio
    /// came in. That it is up to date may be seen late: where it came in, there was nothing before. A huge folio takes the place of others.
    pub(super) fn load(&self, index: PageIndex) -> Entry {
        if !Self::reaches(index) {
            return Entry::None;
        }
        P::step(Step::Slot("xas_load", self.id, index));
        match Entry::from_bits(self.root_slot(index).read_dependent()) {
            Entry::Node(node) => {
                P::step(Step::Slot("xas_load", self.id, index));
                Entry::from_bits(Self::node_slot(node, index).read_once())
            }
            entry => entry,
        }
    }

    /// What the slot of `index` holds. The caller has `xa_lock`, or nobody changes the cache now.
    pub fn load_protected(&self, index: PageIndex) -> Entry {
        if !Self::reaches(index) {
            return Entry::None;
        }
        match Entry::from_bits(self.root_slot(index).load_protected()) {
            Entry::Node(node) => Entry::from_bits(Self::node_slot(node, index).load_protected()),
            entry => entry,
        }
    }

    /// The folio that caches `index`. The caller has its lock, or nobody changes the cache now.
    pub(crate) fn folio_protected(&self, index: PageIndex) -> Option<Folio> {
        match self.load_protected(index) {
            Entry::Folio(folio) => Some(folio),
            Entry::None | Entry::Retry | Entry::Swap(_) | Entry::Node(_) => None,
        }
    }

    /// Makes sure that there are slots for the pages of the huge range around `index`. The caller has `xa_lock`.
    pub(crate) fn create_range(&self, index: PageIndex) -> Result<Pfn, CacheError> {
        let slot = self.root_slot(index);
        match Entry::from_bits(slot.load_protected()) {
            Entry::Node(node) => Ok(node),
            Entry::None => {
                let node = P::alloc_frames(Order::Small).ok_or(CacheError::NoMemory)?;
                crate::page_table::clear_table::<P>(node);
                P::step(Step::SetSlot(
                    "xas_create_range",
                    self.id,
                    index,
                    Entry::Node(node),
                ));
                // Lookups without a lock must find the node cleared.
                slot.store_release(Entry::Node(node).bits());
                Ok(node)
            }
            Entry::Folio(_) | Entry::Retry | Entry::Swap(_) => Err(CacheError::Occupied),
        }
    }

    /// Marks a hole as changing, until [`store_huge`](Self::store_huge) or [`reopen_hole`](Self::reopen_hole). The caller has
    /// `xa_lock` and made the range.
    pub(crate) fn close_hole(&self, index: PageIndex) {
        self.store_empty(index, Entry::Retry);
    }

    /// Makes a hole of what [`close_hole`](Self::close_hole) closed. The caller has had `xa_lock` since.
    pub(crate) fn reopen_hole(&self, index: PageIndex) {
        self.store_empty(index, Entry::None);
    }

    /// Makes holes of the slots of `folio`. The caller has `xa_lock` and the folio's lock.
    pub(super) fn clear_slots(&self, folio: Folio) {
        let index = folio.index::<P>();
        if folio.is_huge::<P>() {
            P::step(Step::SetSlot("xas_store huge", self.id, index, Entry::None));
            self.root_slot(index).write_once(Entry::None.bits());
        } else {
            self.store_empty(index, Entry::None);
        }
    }

    /// Replaces the huge folio that starts at `start` by a node, which holds what will be found there. The caller has `xa_lock`.
    pub(super) fn store_node(&self, start: PageIndex, node: Pfn) {
        P::step(Step::SetSlot(
            "xas_split",
            self.id,
            start,
            Entry::Node(node),
        ));
        self.root_slot(start)
            .store_release(Entry::Node(node).bits());
    }

    /// Stores an entry through which nothing is reached.
    pub(super) fn store_empty(&self, index: PageIndex, entry: Entry) {
        if let Entry::Node(node) = Entry::from_bits(self.root_slot(index).load_protected()) {
            P::step(Step::SetSlot("xas_store", self.id, index, entry));
            Self::node_slot(node, index).write_once(entry.bits());
        }
    }

    /// Replaces all entries of the huge range that starts at `start` by one huge folio, as one step. The caller has
    /// `xa_lock`.
    pub(crate) fn store_huge(&self, start: PageIndex, folio: Folio) {
        let slot = self.root_slot(start);
        let old = Entry::from_bits(slot.load_protected());
        P::step(Step::SetSlot(
            "xas_store huge",
            self.id,
            start,
            Entry::Folio(folio),
        ));
        // A lookup must find it up to date, as the small ones were.
        slot.store_release(Entry::Folio(folio).bits());
        if let Entry::Node(node) = old {
            P::call_rcu(move || P::free_frames(node, Order::Small));
        }
    }
}
