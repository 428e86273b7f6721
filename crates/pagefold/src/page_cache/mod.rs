//! The page cache of an object, shmem or file (Linux: `struct address_space` and its `i_pages`).
//!
//! Guarantees: each index of the object is cached by at most one folio. Slots change only under `xa_lock`, a folio
//! comes in and goes out only with its folio lock held. Lookups take no lock: they find an entry under RCU, try to get a
//! reference, and look again whether the entry is still there.
//!
//! Locks, in order: `i_rwsem` (who gives up pages), folio lock, `i_mmap_rwsem` (the list of VMAs that map the object), `xa_lock`.
//!
//! Slots are words in frames: a root whose entry for each huge range is empty, or a node with a slot for each page, or
//! the one huge folio that caches the whole range (a multi-index entry: one store replaces all slots at once).
//! A node that was replaced is freed by RCU, since lookups may be in it.
//!
//! Of an object that has no disk the pages are counted (`charge`), in the cache or in swap: as in Linux, not together with the change
//! of the slots, but before or after it.

mod charge;
mod disk;
mod entry;
mod evict;
mod insert;
mod lookup;
mod remove;
mod slots;
mod split;
mod swapped;

pub use entry::Entry;
pub(crate) use lookup::{Found, Residence};

use disk::Disk;

use crate::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::platform::{Counter, Order, Platform, RawLock, RawRwSem, Word};
use crate::rmap::VmaList;
use crate::step::Step;
use crate::sync::LockGuard;
use crate::vma::Vma;

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

/// An object, shmem or file: its pages and the VMAs that map them.
pub struct Mapping<P: Platform> {
    /// A number that tells objects apart.
    pub id: u32,
    /// The lock of who gives up pages of the object.
    pub(crate) i_rwsem: P::RwSem,
    /// The lock of who throws pages of a file out, against who puts pages in.
    pub(crate) invalidate_lock: P::RwSem,
    /// The lock of the list of VMAs.
    pub(crate) i_mmap_rwsem: P::RwSem,
    /// The VMAs that map the object.
    pub(crate) i_mmap: VmaList<P>,
    xa_lock: P::Lock,
    root: Pfn,
    i_size: P::Word,
    /// Where the content of a file is kept.
    disk: Option<Disk>,
    /// The lock of `blocks`.
    i_lock: P::Lock,
    /// Pages that an object has without a disk, in its cache or in swap.
    blocks: P::Counter,
    /// How often a file is open for writing, or about to be; changed under `i_rwsem`.
    pub(crate) i_writecount: P::Word,
    /// How often it has been opened for that, and not closed (Linux: the descriptors themselves); used under `i_rwsem`.
    pub(crate) descriptors: P::Word,
    /// Huge folios that the cache of a file has or is about to have; changed under `xa_lock`.
    pub(crate) nr_thps: P::Word,
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
        Self::with_disk(id, pages, None)
    }

    /// A new file of `pages` pages of zeros, of which nothing is cached. `None` when there are no frames for it.
    ///
    /// # Panics
    /// If `pages` is above [`MAX_PAGES`](Self::MAX_PAGES).
    #[must_use]
    pub fn new_file(id: u32, pages: u64) -> Option<Ref<P, Self>> {
        let disk = Disk::new::<P>(pages)?;
        Self::with_disk(id, pages, Some(disk))
    }

    fn with_disk(id: u32, pages: u64, disk: Option<Disk>) -> Option<Ref<P, Self>> {
        assert!(
            pages <= Self::MAX_PAGES,
            "an object has at most {} pages",
            Self::MAX_PAGES
        );
        let root = P::alloc_frames(Order::Small)?;
        crate::page_table::clear_table::<P>(root);
        Some(Ref::new(Self {
            id,
            i_rwsem: P::RwSem::new(LockClass::IRwsem),
            invalidate_lock: P::RwSem::new(LockClass::InvalidateLock),
            i_mmap_rwsem: P::RwSem::new(LockClass::IMmap),
            i_mmap: VmaList::new(|vma| &vma.i_mmap_next, None),
            xa_lock: P::Lock::new(LockClass::XaLock),
            root,
            i_size: P::Word::new(pages),
            disk,
            i_lock: P::Lock::new(LockClass::ILock),
            blocks: P::Counter::new(0),
            i_writecount: P::Word::new(0),
            descriptors: P::Word::new(0),
            nr_thps: P::Word::new(0),
        }))
    }

    /// Pages of the object now.
    pub(crate) fn i_size(&self) -> u64 {
        P::step(Step::Named("read i_size"));
        self.i_size.read_once()
    }

    /// Changes the size. The caller has `i_rwsem` for writing.
    ///
    /// Under `xa_lock`: who puts a page in reads the size under it. Either it sees this size, or what it put in is found by who
    /// looks at the slots after this.
    pub(crate) fn set_i_size(&self, pages: u64) {
        let _xa = self.lock_pages();
        P::step(Step::Named("change i_size"));
        self.i_size.write_once(pages);
    }

    /// Pages of the object; the caller has `i_rwsem`, or nobody changes it now.
    pub fn pages_protected(&self) -> u64 {
        self.i_size.load_protected()
    }

    /// The root of the cache, for oracles that look for leaks.
    pub fn root(&self) -> Pfn {
        self.root
    }

    /// Whether the folio is in this cache. The caller has its lock.
    pub(crate) fn owns(&self, folio: Folio) -> bool {
        folio
            .mapping::<P>()
            .is_some_and(|mapping| core::ptr::eq(&raw const *mapping, self))
    }

    /// Takes `xa_lock`: while it is held, no slot changes but through the holder.
    pub(crate) fn lock_pages(&self) -> LockGuard<'_, P::Lock> {
        P::step(Step::Named("xa_lock"));
        LockGuard::lock(&self.xa_lock)
    }

    /// The VMAs that map some of the pages `from` up to, not including, `to` of the object, and where. The caller has
    /// `i_mmap_rwsem`.
    pub(crate) fn vmas_over(
        &self,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = (Ref<P, Vma<P>>, AddrRange)> {
        self.i_mmap
            .iter()
            .filter_map(move |vma| Some((vma, vma.range_of(from, to)?)))
    }

    /// The VMAs that map page `index` of the object, and where. The caller has `i_mmap_rwsem`.
    pub(crate) fn vmas_of(
        &self,
        index: PageIndex,
    ) -> impl Iterator<Item = (Ref<P, Vma<P>>, VirtAddr)> {
        self.i_mmap
            .iter()
            .filter_map(move |vma| Some((vma, vma.addr_of(index)?)))
    }
}
