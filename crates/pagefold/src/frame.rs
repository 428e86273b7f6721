//! Metadata of page frames (Linux: `struct page`, `struct ptdesc`).
//!
//! A frame is free, or a page of a folio, or a table of words (a page table, or a node of a page cache). The
//! metadata is never freed and so may be looked at at any time; what it says holds only while the frame is kept.

use crate::addr::{PageIndex, Pfn};
use crate::lock_order::LockClass;
use crate::page_cache::Mapping;
use crate::platform::{Counter, Link, Order, Platform, RawLock, RefCount, Word};
use crate::rmap::AnonVma;
use crate::step::Step;

/// The metadata of one frame. For a huge folio, that of its first frame (its head) counts, but for `head` itself.
pub struct Frame<P: Platform> {
    /// References: one for each mapping, one for each page in the page cache, and temporary ones. The folio is freed
    /// at zero.
    pub(crate) refcount: P::RefCount,
    /// Entries that map the folio or a page of it.
    pub(crate) mapcount: P::Counter,
    /// The folio lock.
    pub(crate) lock: P::Lock,
    /// The object whose page cache the folio is in; `None` for anonymous pages and after removal. Changed under the
    /// folio lock.
    pub(crate) mapping: P::Link<Mapping<P>>,
    /// For a private folio, the family that may map it. Written before it is mapped.
    pub(crate) anon_vma: P::Link<AnonVma<P>>,
    /// For a private page, 1 if it belongs to one process alone. For a huge page that is mapped by huge entries, that of its
    /// first frame counts.
    pub(crate) exclusive: P::Word,
    /// For a folio in the swap cache, the number of its slot. Changes under the folio lock and that of the slot.
    pub(crate) swap: P::Word,
    /// The index of the folio in the object or family.
    pub(crate) index: P::Word,
    /// The first frame of the folio.
    head: P::Word,
    /// [`FLAG_HUGE`] and so on.
    flags: P::Word,
    /// Whether a page of the folio was written since it was last clean, as far as that is not still in an entry that maps it.
    /// A word by itself: it is set by whoever empties an entry, when others look at the flags.
    dirty: P::Word,
    /// Whether a folio of a file is being written to the disk. It begins so with the folio lock held.
    writeback: P::Word,
    /// The next folio on a list that the holder of the folio locks builds; for a table in store, the next one.
    pub(crate) next: P::Word,
    /// For a table of huge-page entries, the first of its tables in store.
    pub(crate) deposited: P::Word,
    /// The lock of a table of small-page entries.
    pub(crate) ptl: P::Lock,
    /// The lock of a table of huge-page entries.
    pub(crate) pml: P::Lock,
}

/// The folio is huge.
pub(crate) const FLAG_HUGE: u64 = 1;
/// The content is valid.
pub(crate) const FLAG_UPTODATE: u64 = 2;
/// A private page of one process, not a page of an object.
pub(crate) const FLAG_ANON: u64 = 4;

impl<P: Platform> Frame<P> {
    /// The metadata of a free frame.
    #[must_use]
    pub fn new() -> Self {
        Self {
            refcount: P::RefCount::new(0),
            mapcount: P::Counter::new(0),
            lock: P::Lock::new(LockClass::FolioLock),
            mapping: P::Link::new(None),
            anon_vma: P::Link::new(None),
            exclusive: P::Word::new(0),
            swap: P::Word::new(0),
            index: P::Word::new(0),
            head: P::Word::new(0),
            flags: P::Word::new(0),
            dirty: P::Word::new(0),
            writeback: P::Word::new(0),
            next: P::Word::new(0),
            deposited: P::Word::new(0),
            ptl: P::Lock::new(LockClass::Ptl),
            pml: P::Lock::new(LockClass::Pml),
        }
    }

    /// The first frame of the folio that the frame belongs to now. Who has no reference looks again once it has one:
    /// the frame may have become part of another folio.
    pub(crate) fn head(&self) -> Pfn {
        Pfn(self.head.read_once())
    }

    pub(crate) fn has(&self, flag: u64) -> bool {
        self.flags.load_protected() & flag != 0
    }

    pub(crate) fn set(&self, flag: u64) {
        self.flags
            .store_protected(self.flags.load_protected() | flag);
    }

    /// Whether the folio is dirty; what the first frame says counts.
    pub fn dirty(&self) -> &P::Word {
        &self.dirty
    }

    pub(crate) fn writeback(&self) -> &P::Word {
        &self.writeback
    }

    /// Makes new frames into a folio that nobody else knows of, with one reference.
    pub(crate) fn init_folio(pfn: Pfn, order: Order, flags: u64) {
        let (pages, huge) = match order {
            Order::Small => (1, 0),
            Order::Huge => (P::PTRS_PER_TABLE, FLAG_HUGE),
        };
        for i in 0..pages {
            P::frame(pfn.add(i)).head.store_protected(pfn.0);
        }
        let frame = P::frame(pfn);
        frame.mapping.store_protected(None);
        frame.index.store_protected(0);
        frame.next.store_protected(0);
        frame.dirty.store_protected(0);
        frame.flags.store_protected(flags | huge);
        // Who found the frame before it was free, by a slot or an entry that is gone, may get a reference from here on. It
        // looks at the slot or entry again then, and must find it gone.
        P::step(Step::Folio("set_page_refcounted", pfn));
        frame.refcount.init(1);
    }

    /// Makes a frame of a huge folio that is being split one of its own.
    pub(crate) fn become_small(&self, pfn: Pfn, flags: u64) {
        self.head.store_protected(pfn.0);
        self.flags.store_protected(flags);
        self.next.store_protected(0);
    }

    /// References to the folio now, for oracles and reports.
    pub fn refcount(&self) -> &P::RefCount {
        &self.refcount
    }
    /// The frames of the tables in store of a table of huge-page entries, for oracles and reports.
    pub fn deposited(&self) -> impl Iterator<Item = Pfn> {
        let named = |word: &P::Word| match word.load_protected() {
            0 => None,
            pfn => Some(Pfn(pfn)),
        };
        core::iter::successors(named(&self.deposited), move |table| {
            named(&P::frame(*table).next)
        })
    }
    /// Mappings of the folio now, for oracles and reports.
    pub fn mapcount(&self) -> &P::Counter {
        &self.mapcount
    }
    /// Whether the frame holds a private page; what the first frame of its folio says counts.
    pub fn is_anon(&self) -> bool {
        P::frame(self.folio_head()).has(FLAG_ANON)
    }
    /// Whether the folio that begins with this frame is huge, for oracles and reports.
    pub fn is_huge(&self) -> bool {
        self.has(FLAG_HUGE)
    }
    /// Whether the frame is marked as a private page of one process alone, for oracles and reports.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive.load_protected() != 0
    }
    /// The first frame of the folio that the frame belongs to, for oracles and reports.
    pub fn folio_head(&self) -> Pfn {
        Pfn(self.head.load_protected())
    }
    /// The index of the folio in its object.
    pub fn folio_index(&self) -> PageIndex {
        PageIndex(self.index.load_protected())
    }
}

impl<P: Platform> Default for Frame<P> {
    fn default() -> Self {
        Self::new()
    }
}
