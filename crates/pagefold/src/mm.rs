//! Address spaces (Linux: `struct mm_struct`).
//!
//! Guarantees: the set of VMAs changes only under `mmap_lock` for writing. A reader of the set has either
//! `mmap_lock`, or is in an RCU section and then takes the lock of the VMA that it found
//! (`lock_vma_under_rcu`). Page tables belong to the VMAs: an upper table stays as long as a
//! VMA that it serves is in the set (or still in the `i_mmap` list of its object); tables of small-page entries may
//! go earlier, see [`page_table`](crate::page_table).

use crate::accounting::PageKind;
use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::collapse::khugepaged::{Khugepaged, MmSlot};
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::notifier::Subscription;
use crate::platform::{Counter, Link, Platform, RawLock, RawRwSem, RefCount, Word};
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::sync::{LockGuard, RcuGuard};
use crate::vma::Vma;

/// An address space.
pub struct Mm<P: Platform> {
    /// A number that tells address spaces apart.
    pub id: u32,
    /// The lock of the set of VMAs.
    pub(crate) mmap_lock: P::RwSem,
    /// Guards the attachment of `anon_vma` and of upper page tables; and all page tables where their locks are not split.
    pub(crate) page_table_lock: P::Lock,
    /// The top-level page table.
    root: Pfn,
    /// How many threads use the address space. At zero it is exiting.
    pub(crate) mm_users: P::RefCount,
    /// Counts how often the VMAs were changed: VMAs that carry the number are write-locked.
    mm_lock_seq: P::Word,
    /// Private memory was taken away although it may still be accessed; see [`oom`](crate::oom).
    unstable: P::Word,
    /// Changes of the layout that userfaultfds have yet to tell of. Changes under `page_table_lock`.
    mmap_changing: P::Word,
    /// VMAs by ascending address.
    pub(crate) vmas: P::Link<Vma<P>>,
    rss_shmem: P::Counter,
    rss_anon: P::Counter,
    swap_entries: P::Counter,
    /// Tables of small-page entries (Linux: `mm_nr_ptes`, shown as VmPTE).
    pub(crate) nr_ptes: P::Counter,
    /// One more than there are who take entries and flush afterwards.
    pub(crate) tlb_flush_pending: P::RefCount,
    /// One more than how often an entry was taken whose flush was put off (Linux: half of `tlb_flush_batched`).
    pub(crate) tlb_flush_batched: P::RefCount,
    /// What that was before the last flush that was made for it (the other half).
    pub(crate) tlb_flush_done: P::Word,
    /// Odd while fork write-protects pages, and another number afterwards; changes under `mmap_lock` for writing.
    pub(crate) write_protect_seq: P::Word,
    /// Who looks for pages here that may become huge; set before the address space is used.
    pub(crate) khugepaged: P::Link<Khugepaged<P>>,
    /// The place in its list: set with `mmap_lock` for writing, and under the lock of the list.
    pub(crate) khugepaged_slot: P::Link<MmSlot<P>>,
    /// Secondary MMUs that follow this address space.
    pub(crate) subscriptions: P::Link<Subscription<P>>,
}

impl<P: Platform> Mm<P> {
    /// A new, empty address space, used by one thread.
    ///
    /// `None` when there is no frame for its top-level table.
    #[must_use]
    pub fn new(id: u32) -> Option<Ref<P, Self>> {
        let root = P::alloc_frames(crate::platform::Order::Small)?;
        crate::page_table::clear_table::<P>(root);
        Some(Ref::new(Self {
            id,
            mmap_lock: P::RwSem::new(LockClass::MmapLock),
            page_table_lock: P::Lock::new(LockClass::PageTableLock),
            root,
            mm_users: P::RefCount::new(1),
            mm_lock_seq: P::Word::new(1),
            unstable: P::Word::new(0),
            mmap_changing: P::Word::new(0),
            vmas: P::Link::new(None),
            rss_shmem: P::Counter::new(0),
            rss_anon: P::Counter::new(0),
            swap_entries: P::Counter::new(0),
            tlb_flush_pending: P::RefCount::new(1),
            tlb_flush_batched: P::RefCount::new(1),
            tlb_flush_done: P::Word::new(1),
            nr_ptes: P::Counter::new(0),
            write_protect_seq: P::Word::new(0),
            khugepaged: P::Link::new(None),
            khugepaged_slot: P::Link::new(None),
            subscriptions: P::Link::new(None),
        }))
    }

    /// The top-level page table: where a hardware walk begins.
    pub fn root(&self) -> Pfn {
        self.root
    }

    /// Resident pages of a kind.
    pub fn rss(&self, kind: PageKind) -> &P::Counter {
        match kind {
            PageKind::Shmem => &self.rss_shmem,
            PageKind::Anon => &self.rss_anon,
        }
    }

    /// Pages that are in swap (Linux: `MM_SWAPENTS`).
    pub fn swap_entries(&self) -> &P::Counter {
        &self.swap_entries
    }

    /// Tables of small-page entries.
    pub fn nr_ptes(&self) -> &P::Counter {
        &self.nr_ptes
    }

    /// Its VMAs, by ascending address, while nobody changes them.
    pub fn vmas_protected(&self) -> impl Iterator<Item = Ref<P, Vma<P>>> + use<P> {
        core::iter::successors(self.vmas.load_protected(), |vma| vma.next.load_protected())
    }

    /// Whether nobody uses the address space any more (Linux: `hpage_collapse_test_exit`).
    pub(crate) fn is_exiting(&self) -> bool {
        P::step(Step::Mm("test mm_users", self.id));
        self.mm_users.is_zero()
    }

    /// Notes that the layout is about to change; the caller has `mmap_lock`.
    pub(crate) fn begin_change(&self) {
        self.count_changes(1);
    }

    /// Notes that everybody was told of a change.
    pub(crate) fn end_change(&self) {
        self.count_changes(-1);
    }

    fn count_changes(&self, by: i64) {
        P::step(Step::Mm("page_table_lock", self.id));
        let _guard = LockGuard::lock(&self.page_table_lock);
        let changing = self.mmap_changing.load_protected();
        P::step(Step::Mm("change mmap_changing", self.id));
        self.mmap_changing
            .write_once(changing.wrapping_add_signed(by));
    }

    /// Whether a change is under way that was not told of yet. (Linux: `mmap_changing` of the userfaultfd) A caller with
    /// `mmap_lock` sees a change that was begun with `mmap_lock` held for writing.
    pub(crate) fn is_changing(&self) -> bool {
        P::step(Step::Mm("test mmap_changing", self.id));
        self.mmap_changing.read_once() != 0
    }

    /// Notes that private memory is about to be taken away. (Linux: `MMF_UNSTABLE`)
    pub(crate) fn mark_unstable(&self) {
        P::step(Step::Mm("set MMF_UNSTABLE", self.id));
        self.unstable.write_once(1);
    }

    /// Whether private memory that is not there may have been. The caller has the lock of the table, or of the upper table, that it found
    /// nothing in. (Linux: `check_stable_address_space`)
    pub(crate) fn is_unstable(&self) -> bool {
        P::step(Step::Mm("test MMF_UNSTABLE", self.id));
        P::enforces(Safeguard::CheckStable) && self.unstable.read_once() != 0
    }

    /// The VMA that `addr` lies in. The caller has `mmap_lock`.
    pub(crate) fn find_vma(&self, addr: VirtAddr) -> Option<Ref<P, Vma<P>>> {
        let mut next = self.vmas.load_protected();
        while let Some(vma) = next {
            if vma.range.contains(addr) {
                return Some(vma);
            }
            next = vma.next.load_protected();
        }
        None
    }

    /// The first VMA with an address in `range`. The caller has `mmap_lock`.
    pub(crate) fn find_first_vma(&self, range: AddrRange) -> Option<Ref<P, Vma<P>>> {
        let mut next = self.vmas.load_protected();
        while let Some(vma) = next {
            if vma.range.overlaps(range) {
                return Some(vma);
            }
            next = vma.next.load_protected();
        }
        None
    }

    /// Adds a VMA to the set. The caller has `mmap_lock` for writing, and the range is free.
    pub(crate) fn insert_vma(&self, vma: Ref<P, Vma<P>>) {
        let mut link = Position::Head;
        let mut next = self.vmas.load_protected();
        while let Some(other) = next {
            if other.range.start.0 > vma.range.start.0 {
                break;
            }
            link = Position::After(other);
            next = other.next.load_protected();
        }
        vma.next.store_protected(next);
        self.set_link(link, Some(vma));
    }

    /// Puts VMAs in the place of neighbours, in one step for who looks without a lock. The caller has `mmap_lock` for writing.
    pub(crate) fn replace_vmas(&self, old: &[Ref<P, Vma<P>>], new: &[Ref<P, Vma<P>>]) {
        let (Some(first), Some(last)) = (old.first(), old.last()) else {
            return;
        };
        let mut next = last.next.load_protected();
        for vma in new.iter().rev() {
            vma.next.store_protected(next);
            next = Some(*vma);
        }
        if let Some(position) = self.position_of(*first) {
            self.set_link(position, next);
        }
    }

    /// Takes out of the set what lies between two VMAs that it has, these included. They stay linked to each other and to
    /// what follows, for who is among them. The caller has `mmap_lock` for writing.
    pub(crate) fn remove_vmas(&self, first: Ref<P, Vma<P>>, last: Ref<P, Vma<P>>) {
        if let Some(position) = self.position_of(first) {
            self.set_link(position, last.next.load_protected());
        }
    }

    /// Where the link to a VMA of the set is.
    fn position_of(&self, vma: Ref<P, Vma<P>>) -> Option<Position<P>> {
        let mut position = Position::Head;
        let mut next = self.vmas.load_protected();
        while let Some(other) = next {
            if other == vma {
                return Some(position);
            }
            position = Position::After(other);
            next = other.next.load_protected();
        }
        None
    }

    fn set_link(&self, position: Position<P>, target: Option<Ref<P, Vma<P>>>) {
        P::step(Step::Mm("change the set of VMAs", self.id));
        match position {
            Position::Head => self.vmas.assign(target),
            Position::After(vma) => vma.next.assign(target),
        }
    }

    pub(crate) fn mmap_write_lock(&self) {
        P::step(Step::Mm("mmap_write_lock", self.id));
        self.mmap_lock.write();
    }

    /// Takes `mmap_lock` for writing while that of the parent is held: nobody but fork holds two.
    pub(crate) fn mmap_write_lock_nested(&self) {
        P::step(Step::Mm("mmap_write_lock", self.id));
        self.mmap_lock.write_nested();
    }

    pub(crate) fn mmap_write_trylock(&self) -> bool {
        P::step(Step::Mm("mmap_write_trylock", self.id));
        self.mmap_lock.try_write()
    }

    /// Ends changing the set of VMAs, and with it all their write locks.
    pub(crate) fn mmap_write_unlock(&self) {
        self.vma_end_write_all();
        P::step(Step::Mm("mmap_write_unlock", self.id));
        self.mmap_lock.write_unlock();
    }

    /// As [`mmap_write_unlock`](Self::mmap_write_unlock), but keeps `mmap_lock` for reading.
    pub(crate) fn mmap_write_downgrade(&self) {
        self.vma_end_write_all();
        P::step(Step::Mm("mmap_write_downgrade", self.id));
        self.mmap_lock.downgrade();
    }

    fn vma_end_write_all(&self) {
        let seq = self.mm_lock_seq.load_protected();
        P::step(Step::Mm("vma_end_write_all", self.id));
        // After all changes of write-locked VMAs: who finds a VMA's mark to be an old number reads it as it is now.
        self.mm_lock_seq.store_release(seq + 1);
    }

    pub(crate) fn mmap_read_lock(&self) {
        P::step(Step::Mm("mmap_read_lock", self.id));
        self.mmap_lock.read();
    }

    pub(crate) fn mmap_read_trylock(&self) -> bool {
        P::step(Step::Mm("mmap_read_trylock", self.id));
        self.mmap_lock.try_read()
    }

    pub(crate) fn mmap_read_unlock(&self) {
        P::step(Step::Mm("mmap_read_unlock", self.id));
        self.mmap_lock.read_unlock();
    }

    /// The number that marks VMAs as write-locked. The caller has `mmap_lock` for writing.
    pub(crate) fn lock_seq_protected(&self) -> u64 {
        self.mm_lock_seq.load_protected()
    }

    /// The number that marks VMAs as write-locked, read by who has the lock of one.
    pub(crate) fn lock_seq(&self) -> u64 {
        P::step(Step::Mm("read mm_lock_seq", self.id));
        self.mm_lock_seq.load_acquire()
    }

    /// The VMA that `addr` lies in, read-locked, without `mmap_lock`. `None` when there is none, or when somebody is
    /// changing it: the caller then takes `mmap_lock`.
    ///
    /// Linux: `lock_vma_under_rcu`. That the VMA is still in the set is known because its remover write-locks and
    /// marks it first, and this looks at the mark with the lock held.
    pub(crate) fn lock_vma_under_rcu(&self, addr: VirtAddr) -> Option<Ref<P, Vma<P>>> {
        let _rcu = RcuGuard::<P>::read_lock();
        P::step(Step::Mm("find VMA under RCU", self.id));
        let mut next = self.vmas.dereference();
        while let Some(vma) = next {
            if vma.range.contains(addr) {
                return Vma::start_read(vma).then_some(vma);
            }
            P::step(Step::Mm("find VMA under RCU", self.id));
            next = vma.next.dereference();
        }
        None
    }
}

enum Position<P: Platform> {
    Head,
    After(Ref<P, Vma<P>>),
}
