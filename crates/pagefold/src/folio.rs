//! Folios: one page, or the pages of a huge page, that are counted, locked and cached together.
//!
//! A reference keeps the frames from being freed; the folio lock keeps `mapping` and the place in the page cache.
//! Who got a reference without a lock (from a page-cache lookup, from a page-table entry) has to look again whether
//! the folio is still what it was found as.

use crate::accounting::PageKind;
use crate::addr::{PageIndex, Pfn};
use crate::arch::Pte;
use crate::frame::{FLAG_ANON, FLAG_HUGE, FLAG_UPTODATE, Frame};
use crate::handle::Ref;
use crate::page_cache::Mapping;
use crate::platform::{Counter, Link, Order, Platform, RawLock, RefCount, Word};
use crate::protocol::Safeguard;
use crate::rmap::AnonVma;
use crate::step::Step;

/// What a pin counts as, in references: more than a folio will have of others.
const PIN: u64 = 1024;

/// A folio, named by its first frame. Copying the name takes no reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Folio(pub(crate) Pfn);

impl Folio {
    /// A new folio with one reference, of undefined content.
    pub(crate) fn alloc<P: Platform>(order: Order, anon: bool) -> Option<Self> {
        let pfn = P::alloc_frames(order)?;
        Frame::<P>::init_folio(pfn, order, if anon { FLAG_ANON } else { 0 });
        Some(Self(pfn))
    }

    /// The folio that a frame belongs to.
    pub(crate) fn of<P: Platform>(pfn: Pfn) -> Self {
        P::step(Step::Folio("page_folio of", pfn));
        Self(P::frame(pfn).head())
    }

    fn frame<P: Platform>(self) -> &'static Frame<P> {
        P::frame(self.0)
    }

    /// The first frame.
    #[must_use]
    pub fn pfn(self) -> Pfn {
        self.0
    }

    pub(crate) fn order<P: Platform>(self) -> Order {
        if self.frame::<P>().has(FLAG_HUGE) {
            Order::Huge
        } else {
            Order::Small
        }
    }

    /// How many pages the folio has.
    pub(crate) fn pages<P: Platform>(self) -> usize {
        match self.order::<P>() {
            Order::Small => 1,
            Order::Huge => P::PTRS_PER_TABLE,
        }
    }

    pub(crate) fn is_huge<P: Platform>(self) -> bool {
        self.order::<P>() == Order::Huge
    }

    pub(crate) fn is_anon<P: Platform>(self) -> bool {
        self.frame::<P>().has(FLAG_ANON)
    }

    /// What entries that map it count as.
    pub(crate) fn kind<P: Platform>(self) -> PageKind {
        if self.is_anon::<P>() {
            PageKind::Anon
        } else {
            PageKind::Shmem
        }
    }

    /// Makes a new private folio findable: by the family that it belongs to, and its place there. It belongs to one process
    /// alone. Nobody knows of it yet. (Linux: `folio_add_new_anon_rmap`)
    pub(crate) fn set_anon<P: Platform>(
        self,
        anon_vma: Option<Ref<P, AnonVma<P>>>,
        index: PageIndex,
    ) {
        let frame = self.frame::<P>();
        frame.anon_vma.store_protected(anon_vma);
        frame.index.store_protected(index.0);
        frame.exclusive.store_protected(1);
    }

    /// Makes a new private folio one that nobody has mapped yet, as it is only in the swap cache. Nobody knows of it yet.
    pub(crate) fn set_unowned<P: Platform>(self) {
        self.set_anon::<P>(None, PageIndex(0));
        self.frame::<P>().exclusive.store_protected(0);
    }

    /// Makes a private folio findable, if it has never been mapped. The caller has the folio lock and is about to map it.
    pub(crate) fn adopt<P: Platform>(self, anon_vma: Option<Ref<P, AnonVma<P>>>, index: PageIndex) {
        if self.anon_vma::<P>().is_none() {
            self.move_anon(anon_vma, index);
        }
    }

    /// Makes a private folio findable at another place, perhaps of another family. The caller has the folio lock and keeps walks
    /// of the old family out.
    ///
    /// Walks that come by the new family must find the new index. (Linux: `folio_move_anon_rmap`)
    pub(crate) fn move_anon<P: Platform>(
        self,
        anon_vma: Option<Ref<P, AnonVma<P>>>,
        index: PageIndex,
    ) {
        let frame = self.frame::<P>();
        frame.index.store_protected(index.0);
        P::step(Step::Folio("change anon_vma of", self.0));
        frame.anon_vma.assign(anon_vma);
    }

    /// The family of a private folio, which may become another one unless the caller has the folio lock. The caller has a
    /// reference.
    pub(crate) fn anon_vma<P: Platform>(self) -> Option<Ref<P, AnonVma<P>>> {
        P::step(Step::Folio("read anon_vma of", self.0));
        self.frame::<P>().anon_vma.dereference()
    }

    /// Whether a private page belongs to one process alone (Linux: `PageAnonExclusive`). Each page of a huge folio has a mark of
    /// its own, but if it is mapped by a huge entry that of the first page counts. It becomes shared under the lock of the
    /// table of the process that it belongs to, and exclusive under that of the only process that is left.
    pub(crate) fn is_exclusive<P: Platform>(page: Pfn) -> bool {
        P::step(Step::Folio("read PageAnonExclusive", page));
        P::frame(page).exclusive.read_once() != 0
    }

    /// See [`is_exclusive`](Self::is_exclusive).
    pub(crate) fn set_exclusive<P: Platform>(page: Pfn, exclusive: bool) {
        P::step(Step::Folio(
            if exclusive {
                "set PageAnonExclusive"
            } else {
                "clear PageAnonExclusive"
            },
            page,
        ));
        P::frame(page).exclusive.write_once(exclusive.into());
    }

    /// Pins the folio, to which the caller has a reference: it becomes one that says that the page will be read or written by
    /// other means than the process's entry. (Linux: `GUP_PIN_COUNTING_BIAS`)
    pub(crate) fn pin<P: Platform>(self) {
        P::step(Step::Folio("pin", self.0));
        self.frame::<P>().refcount.get(PIN - 1);
    }

    /// Ends a pin and gives its reference back.
    pub(crate) fn unpin<P: Platform>(self) {
        self.put::<P>(PIN as usize);
    }

    /// Whether the folio may be pinned: so many references may also be others. (Linux: `folio_maybe_dma_pinned`)
    pub(crate) fn maybe_pinned<P: Platform>(self) -> bool {
        self.refcount::<P>() >= PIN
    }

    /// Whether somebody has pinned the folio, whose only entry the caller has emptied and flushed: who pins it after that finds the entry
    /// empty.
    pub(crate) fn is_pinned_elsewhere<P: Platform>(self) -> bool {
        // GUP-fast pins, then looks at the entry. One sees the other.
        P::smp_mb();
        P::enforces(Safeguard::MovePinCheck) && self.maybe_pinned::<P>()
    }

    /// Whether an entry maps the folio.
    pub(crate) fn is_mapped<P: Platform>(self) -> bool {
        self.mapcount::<P>() > 0
    }

    /// Entries that map the folio now. Who looks has reasons why the answer does not change under it, or why that does not matter.
    pub(crate) fn mapcount<P: Platform>(self) -> i64 {
        P::step(Step::Folio("read mapcount", self.0));
        self.frame::<P>().mapcount.get()
    }

    pub(crate) fn is_uptodate<P: Platform>(self) -> bool {
        self.frame::<P>().has(FLAG_UPTODATE)
    }

    pub(crate) fn mark_uptodate<P: Platform>(self) {
        self.frame::<P>().set(FLAG_UPTODATE);
    }

    /// Notes that the content was written; the caller has a reference. (Linux: `folio_mark_dirty`)
    pub(crate) fn mark_dirty<P: Platform>(self) {
        P::step(Step::Folio("folio_mark_dirty", self.0));
        let dirty = self.frame::<P>().dirty();
        if dirty.read_once() == 0 {
            P::step(Step::Folio("folio_mark_dirty", self.0));
            dirty.write_once(1);
        }
    }

    /// Whether the content was written since it was last clean, as far as no entry says so. The caller has the folio lock.
    pub(crate) fn is_dirty<P: Platform>(self) -> bool {
        P::step(Step::Folio("folio_test_dirty", self.0));
        self.frame::<P>().dirty().read_once() != 0
    }

    /// Has the content written out by `write`, and notes that it is there. The caller has the folio lock.
    ///
    /// Who writes through a pin does not have that, and marks the folio as dirty afterwards. So the mark goes first: what is written
    /// while it is being set again may be missed by this, but not by the next. With a full barrier in each: who finds the folio dirty
    /// as before, and so leaves that, has written what this writes out.
    pub(crate) fn write_out<P: Platform>(self, write: impl FnOnce()) {
        let first = P::enforces(Safeguard::CleanBeforeWrite);
        if first {
            self.clear_dirty::<P>();
            P::smp_mb();
        }
        write();
        if !first {
            self.clear_dirty::<P>();
        }
    }

    fn clear_dirty<P: Platform>(self) {
        P::step(Step::Folio("folio_clear_dirty", self.0));
        self.frame::<P>().dirty().write_once(0);
    }

    /// Whether the folio is being written to the disk. With the folio lock, that does not begin meanwhile. If it is not,
    /// it has been read (acquire). (Linux: `folio_test_writeback`)
    pub(crate) fn is_writeback<P: Platform>(self) -> bool {
        P::step(Step::Folio("folio_test_writeback", self.0));
        self.frame::<P>().writeback().load_acquire() != 0
    }

    /// Says that the folio is being written to the disk. The caller has the folio lock, and nobody else says so.
    pub(crate) fn start_writeback<P: Platform>(self) {
        P::step(Step::Folio("folio_start_writeback", self.0));
        self.frame::<P>().writeback().write_once(1);
    }

    /// Says that the folio is on the disk: whoever sees that may do with it what he wants, as it has been read (release).
    pub(crate) fn end_writeback<P: Platform>(self) {
        P::step(Step::Folio("folio_end_writeback", self.0));
        self.frame::<P>().writeback().store_release(0);
    }

    /// Waits until the folio is not being written. The caller has a reference. (Linux: `folio_wait_writeback`)
    pub(crate) fn wait_writeback<P: Platform>(self) {
        while self.is_writeback::<P>() {
            P::cpu_relax();
        }
    }

    /// Keeps what `old`, an entry that mapped the folio and was emptied, says of its content.
    pub(crate) fn keep_dirty<P: Platform>(self, old: Pte) {
        if old.is_dirty() && P::enforces(Safeguard::KeepDirty) {
            self.mark_dirty::<P>();
        }
    }

    /// The frame that holds page `index` of the object; the folio must be the one that caches it.
    pub(crate) fn page<P: Platform>(self, index: PageIndex) -> Pfn {
        self.0.add((index.0 - self.index::<P>().0) as usize)
    }

    pub(crate) fn index<P: Platform>(self) -> PageIndex {
        PageIndex(self.frame::<P>().index.load_protected())
    }

    /// The object that the folio is cached by. The caller has the folio lock.
    pub(crate) fn mapping<P: Platform>(self) -> Option<Ref<P, Mapping<P>>> {
        self.frame::<P>().mapping.load_protected()
    }

    /// Changes the object that the folio is cached by. The caller has the folio lock.
    pub(crate) fn set_mapping<P: Platform>(
        self,
        mapping: Option<Ref<P, Mapping<P>>>,
        index: PageIndex,
    ) {
        let frame = self.frame::<P>();
        frame.mapping.store_protected(mapping);
        frame.index.store_protected(index.0);
    }

    /// Takes `n` references more; the caller has one.
    pub(crate) fn get<P: Platform>(self, n: usize) {
        P::step(Step::Folio("folio_get", self.0));
        self.frame::<P>().refcount.get(n as u64);
    }

    /// Takes a reference unless the folio is being freed. Whoever found the folio without a lock then looks again where it found
    /// it. The reference is an acquire of everything that was done before references were given back earlier: a slot or
    /// entry that was emptied before that is seen to be empty.
    pub(crate) fn try_get<P: Platform>(self) -> bool {
        P::step(Step::Folio("folio_try_get", self.0));
        self.frame::<P>().refcount.try_get_acquire()
    }

    /// Gives back `n` references; frees the frames with the last.
    pub(crate) fn put<P: Platform>(self, n: usize) {
        P::step(Step::Folio("folio_put", self.0));
        if self.frame::<P>().refcount.put(n as u64) {
            P::step(Step::Folio("free_frame", self.0));
            P::free_frames(self.0, self.order::<P>());
        }
    }

    /// Makes sure that nobody gets a reference until [`unfreeze`](Self::unfreeze), if there are exactly `expected` now. Whether
    /// it did. (Linux: `folio_ref_freeze`)
    pub(crate) fn freeze<P: Platform>(self, expected: usize) -> bool {
        P::step(Step::Folio("folio_ref_freeze", self.0));
        self.frame::<P>().refcount.freeze(expected as u64)
    }

    /// Allows references again, with `n` of them given out. (Linux: `folio_ref_unfreeze`)
    pub(crate) fn unfreeze<P: Platform>(self, n: usize) {
        P::step(Step::Folio("folio_ref_unfreeze", self.0));
        self.frame::<P>().refcount.unfreeze(n as u64);
    }

    /// Makes frame `i` of this huge folio, which is frozen, a small folio of the same object, or one that has left it. The lock of the first frame is the
    /// caller's already; that of another one becomes so with [`lock_new`](Self::lock_new).
    pub(crate) fn init_part<P: Platform>(
        self,
        i: usize,
        mapping: Option<Ref<P, Mapping<P>>>,
        index: PageIndex,
    ) {
        let part = self.detach_part::<P>(i);
        part.set_mapping(mapping, index);
    }

    /// Makes frame `i` of this huge private folio, which is frozen, a small folio of the same family. That of the first frame is to be
    /// the last.
    pub(crate) fn init_private_part<P: Platform>(self, i: usize) -> Self {
        let part = self.detach_part::<P>(i);
        let anon_vma = self.anon_vma::<P>();
        let index = self.index::<P>().add(i as u64);
        part.move_anon(anon_vma, index);
        part
    }

    fn detach_part<P: Platform>(self, i: usize) -> Self {
        let part = Self(self.0.add(i));
        let frame = self.frame::<P>();
        let kept = [FLAG_UPTODATE, FLAG_ANON]
            .into_iter()
            .filter(|flag| frame.has(*flag));
        let flags = kept.fold(0, |flags, flag| flags | flag);
        P::step(Step::Folio("init small folio", part.0));
        part.frame::<P>().become_small(part.0, flags);
        // It is not known which pages of the huge one were written.
        part.frame::<P>()
            .dirty()
            .store_protected(frame.dirty().load_protected());
        part
    }

    /// References now. What was done to the folio by those who gave theirs back, has happened before.
    pub(crate) fn refcount<P: Platform>(self) -> u64 {
        P::step(Step::Folio("folio_ref_count", self.0));
        self.frame::<P>().refcount.read_acquire()
    }

    /// Counts mappings.
    pub(crate) fn add_mapcount<P: Platform>(self, n: i64) {
        P::step(Step::Folio("folio mapcount", self.0));
        self.frame::<P>().mapcount.add(n);
    }

    /// Waits for the folio lock; the caller has a reference.
    pub(crate) fn lock<P: Platform>(self) {
        P::step(Step::Folio("folio_lock", self.0));
        self.frame::<P>().lock.lock();
    }

    /// Takes the folio lock if it is free.
    pub(crate) fn try_lock<P: Platform>(self) -> bool {
        P::step(Step::Folio("folio_trylock", self.0));
        self.frame::<P>().lock.try_lock()
    }

    /// Releases the folio lock.
    pub(crate) fn unlock<P: Platform>(self) {
        P::step(Step::Folio("folio_unlock", self.0));
        self.frame::<P>().lock.unlock();
    }

    /// Takes the lock of a new folio, whether or not a lock of another folio is held: nobody else knows of it.
    pub(crate) fn lock_new<P: Platform>(self) {
        P::step(Step::Folio("folio_trylock", self.0));
        let locked = self.frame::<P>().lock.try_lock();
        debug_assert!(locked, "nobody knows of a new folio");
    }

    pub(crate) fn next_on_list<P: Platform>(self) -> Option<Self> {
        match self.frame::<P>().next.load_protected() {
            0 => None,
            pfn => Some(Self(Pfn(pfn))),
        }
    }

    pub(crate) fn set_next_on_list<P: Platform>(self, next: Option<Self>) {
        self.frame::<P>()
            .next
            .store_protected(next.map_or(0, |folio| folio.0.0));
    }
}

/// Copies a page that nobody can write now to another frame. Whether all was copied: not if its memory has gone bad.
/// (Linux: `copy_mc_highpage`)
pub(crate) fn copy_mc_page<P: Platform>(to: Pfn, from: Pfn) -> bool {
    P::step(Step::Folio("copy_page", from));
    if P::enforces(Safeguard::CopyMc) {
        P::copy_mc_page(to, from)
    } else {
        P::copy_page(to, from);
        true
    }
}
