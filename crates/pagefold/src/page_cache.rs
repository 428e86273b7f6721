//! The page cache of a shmem object (Linux: `struct address_space` and its `i_pages`).
//!
//! Guarantees: each index of the object is cached by at most one folio. Slots change only under `xa_lock`, a folio
//! comes in and goes out only with its folio lock held. Lookups take no lock: they find an entry under RCU, try to get a
//! reference, and look again whether the entry is still there.
//!
//! Locks, in order: folio lock, `i_mmap_rwsem` (the list of VMAs that map the object), `xa_lock`.
//!
//! Slots are words in frames: a root whose entry for each huge range is empty, or a node with a slot for each page, or
//! the one huge folio that caches the whole range (a multi-index entry: one store replaces all slots at once).
//! A node that was replaced is freed by RCU, since lookups may be in it.

use core::fmt;

use crate::addr::{PageIndex, Pfn};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::platform::{Link, Order, Platform, RawLock, Word};
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::sync::{LockGuard, RcuGuard};
use crate::vma::Vma;

/// What a slot of the page cache holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A hole: nothing is cached.
    None,
    /// The folio that caches the index.
    Folio(Folio),
    /// Look again later: the slot is changing (Linux: `XA_RETRY_ENTRY`). Neither a page nor a hole.
    Retry,
    /// In the root: a node with the slots of the range.
    Node(Pfn),
}

const RETRY: u64 = 1;
const NODE: u64 = 2;

impl Entry {
    /// The entry that a word of a root or node holds.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Self::None,
            RETRY => Self::Retry,
            _ if bits & NODE != 0 => Self::Node(Pfn(bits >> 2)),
            _ => Self::Folio(Folio(Pfn(bits >> 2))),
        }
    }

    const fn bits(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Retry => RETRY,
            Self::Node(pfn) => pfn.0 << 2 | NODE,
            Self::Folio(folio) => folio.0.0 << 2,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Retry => f.write_str("RETRY"),
            Self::Node(pfn) => write!(f, "node {}", pfn.0),
            Self::Folio(folio) => write!(f, "frame {}", folio.0.0),
        }
    }
}

/// Why a page was not put into the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheError {
    /// The slot is in use.
    Occupied,
    /// The index is behind the end of the object.
    BeyondEnd,
    /// No frame is free.
    NoMemory,
}

/// A shmem object: its pages and the VMAs that map them.
pub struct Mapping<P: Platform> {
    /// A number that tells objects apart.
    pub id: u32,
    /// The lock of the list of VMAs.
    pub(crate) i_mmap_rwsem: P::RwSem,
    /// The VMAs that map the object.
    pub(crate) i_mmap: P::Link<Vma<P>>,
    xa_lock: P::Lock,
    root: Pfn,
    i_size: P::Word,
}

impl<P: Platform> Mapping<P> {
    /// How many pages an object can have.
    pub const MAX_PAGES: u64 = (P::PTRS_PER_TABLE * P::PTRS_PER_TABLE) as u64;

    /// A new object of `pages` pages, all holes. `None` when there is no frame for it.
    ///
    /// # Panics
    /// If `pages` is above [`MAX_PAGES`](Self::MAX_PAGES).
    #[must_use]
    pub fn new(id: u32, pages: u64) -> Option<Ref<P, Self>> {
        assert!(
            pages <= Self::MAX_PAGES,
            "an object has at most {} pages",
            Self::MAX_PAGES
        );
        let root = P::alloc_frames(Order::Small)?;
        crate::page_table::clear_table::<P>(root);
        Some(Ref::new(Self {
            id,
            i_mmap_rwsem: crate::platform::RawRwSem::new(LockClass::IMmap),
            i_mmap: P::Link::new(None),
            xa_lock: P::Lock::new(LockClass::XaLock),
            root,
            i_size: P::Word::new(pages),
        }))
    }

    /// Pages of the object now.
    pub(crate) fn i_size(&self) -> u64 {
        P::step(Step::Named("read i_size"));
        self.i_size.read_once()
    }

    /// Pages of the object; nobody changes it now.
    pub fn pages_protected(&self) -> u64 {
        self.i_size.load_protected()
    }

    fn root_slot(&self, index: PageIndex) -> &'static P::Word {
        P::entry(self.root, index.0 as usize / P::PTRS_PER_TABLE)
    }

    fn node_slot(node: Pfn, index: PageIndex) -> &'static P::Word {
        P::entry(node, index.0 as usize % P::PTRS_PER_TABLE)
    }

    /// What the slot of `index` holds now, followed to a node, which was cleared before it was published. The caller is in an
    /// RCU section.
    ///
    /// The name of a folio is in no order to anything. Metadata can be looked at at any time, and what counts in it is read
    /// with a reference, which is an acquire of how the folio began, or with the folio's lock, which was held when the folio
    /// came in.
    fn load(&self, index: PageIndex) -> Entry {
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
        match Entry::from_bits(self.root_slot(index).load_protected()) {
            Entry::Node(node) => Entry::from_bits(Self::node_slot(node, index).load_protected()),
            entry => entry,
        }
    }

    /// The folio that caches `index`. The caller has its lock, or nobody changes the cache now.
    pub(crate) fn folio_protected(&self, index: PageIndex) -> Option<Folio> {
        match self.load_protected(index) {
            Entry::Folio(folio) => Some(folio),
            Entry::None | Entry::Retry | Entry::Node(_) => None,
        }
    }

    /// The root of the cache, for oracles that look for leaks.
    pub fn root(&self) -> Pfn {
        self.root
    }

    /// One look, without waiting, at what caches `index`, as mincore and fault-around do it. The folio comes with a
    /// reference. `Err` is a slot that is changing.
    pub(crate) fn peek_folio(&self, index: PageIndex) -> Result<Option<Folio>, Changing> {
        let _rcu = RcuGuard::<P>::read_lock();
        match self.load(index) {
            Entry::Folio(folio) => {
                if !folio.try_get::<P>() {
                    return Err(Changing);
                }
                // The reference is an acquire: if it came too late, to another life of the frame, then the slot was changed
                // before the folio was freed, and this look sees that.
                if self.load(index) != Entry::Folio(folio) {
                    folio.put::<P>(1);
                    return Err(Changing);
                }
                Ok(Some(folio))
            }
            Entry::None => Ok(None),
            Entry::Retry | Entry::Node(_) => Err(Changing),
        }
    }

    /// The folio that caches `index`, with a reference; `None` for a hole. Waits while the slot is changing.
    ///
    /// Linux: `filemap_get_entry`.
    pub(crate) fn get_folio(&self, index: PageIndex) -> Option<Folio> {
        loop {
            match self.peek_folio(index) {
                Ok(found) => return found,
                Err(Changing) => P::cpu_relax(),
            }
        }
    }

    /// The folio that caches `index`, with a reference and its lock; `None` for a hole.
    ///
    /// Linux: `filemap_lock_folio`. Waiting for the lock may outlast the folio's place in the cache, so `mapping` is
    /// looked at once the lock is there.
    pub(crate) fn lock_folio(&self, index: PageIndex) -> Option<Folio> {
        loop {
            let folio = self.get_folio(index)?;
            folio.lock::<P>();
            if self.owns(folio) || !P::enforces(Safeguard::RecheckMapping) {
                return Some(folio);
            }
            folio.unlock::<P>();
            folio.put::<P>(1);
        }
    }

    /// Whether the folio is in this cache. The caller has its lock.
    pub(crate) fn owns(&self, folio: Folio) -> bool {
        folio
            .mapping::<P>()
            .is_some_and(|mapping| core::ptr::eq(&raw const *mapping, self))
    }

    /// Inserts a new small folio, whose lock the caller has, at `index`. The cache takes a reference.
    pub(crate) fn add_folio(
        this: Ref<P, Self>,
        folio: Folio,
        index: PageIndex,
    ) -> Result<(), CacheError> {
        if index.0 >= this.i_size() {
            return Err(CacheError::BeyondEnd);
        }
        let _xa = this.lock_pages();
        let node = this.create_range(index)?;
        let slot = Self::node_slot(node, index);
        if slot.load_protected() != Entry::None.bits() {
            return Err(CacheError::Occupied);
        }
        folio.set_mapping::<P>(Some(this), index);
        folio.get::<P>(1);
        P::step(Step::SetSlot(
            "xas_store",
            this.id,
            index,
            Entry::Folio(folio),
        ));
        slot.write_once(Entry::Folio(folio).bits());
        Ok(())
    }

    /// Fills a hole at `index`; `fill` writes the content into a new frame. (Linux: `write`, `fallocate`)
    ///
    /// # Errors
    /// [`CacheError`]; nothing has changed then.
    pub fn fill_page(
        this: Ref<P, Self>,
        index: PageIndex,
        fill: impl FnOnce(Pfn),
    ) -> Result<(), CacheError> {
        let folio = Folio::alloc::<P>(Order::Small, false).ok_or(CacheError::NoMemory)?;
        fill(folio.pfn());
        folio.mark_uptodate::<P>();
        folio.lock_new::<P>();
        let result = Self::add_folio(this, folio, index);
        folio.unlock::<P>();
        folio.put::<P>(1);
        result
    }

    /// Whether page `index` is in the cache, found without a lock. (Linux: `mincore`)
    pub fn is_cached(&self, index: PageIndex) -> bool {
        self.get_folio(index)
            .inspect(|folio| folio.put::<P>(1))
            .is_some()
    }

    /// Takes `xa_lock`: while it is held, no slot changes but through the holder.
    pub(crate) fn lock_pages(&self) -> LockGuard<'_, P::Lock> {
        P::step(Step::Named("xa_lock"));
        LockGuard::lock(&self.xa_lock)
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
            Entry::Folio(_) | Entry::Retry => Err(CacheError::Occupied),
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

    /// Stores an entry through which nothing is reached.
    fn store_empty(&self, index: PageIndex, entry: Entry) {
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
        slot.write_once(Entry::Folio(folio).bits());
        if let Entry::Node(node) = old {
            P::call_rcu(move || P::free_frames(node, Order::Small));
        }
    }

    /// Ends the life of an object that nobody maps and nobody will look up any more: gives back its pages, those that are
    /// pinned when their last user does, and frees it. (Linux: `evict`, `truncate_inode_pages_final`)
    ///
    /// # Safety
    /// No operation on the object is under way or will begin, and no reference to it is followed afterwards.
    pub unsafe fn evict(this: Ref<P, Self>) {
        debug_assert!(
            this.i_mmap.load_protected().is_none(),
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
                        if let Entry::Folio(folio) = Entry::from_bits(small) {
                            this.drop_folio(folio, 1);
                        }
                    }
                    P::free_frames(node, Order::Small);
                }
                Entry::None | Entry::Retry => {}
            }
            start = start.add(range);
        }
        P::free_frames(this.root, Order::Small);
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

    /// The VMAs that map page `index` of the object, and where. The caller has `i_mmap_rwsem`.
    pub(crate) fn vmas_of(
        &self,
        index: PageIndex,
    ) -> impl Iterator<Item = (Ref<P, Vma<P>>, crate::addr::VirtAddr)> {
        core::iter::successors(self.i_mmap.load_protected(), |vma| {
            vma.i_mmap_next.load_protected()
        })
        .filter_map(move |vma| Some((vma, vma.addr_of(index)?)))
    }
}

/// The slot is changing: look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Changing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_their_encoding() {
        for entry in [
            Entry::None,
            Entry::Retry,
            Entry::Node(Pfn(7)),
            Entry::Folio(Folio(Pfn(7))),
        ] {
            assert_eq!(Entry::from_bits(entry.bits()), entry);
        }
    }
}
