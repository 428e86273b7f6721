//! Virtual memory areas (Linux: `struct vm_area_struct`) and their per-VMA lock.
//!
//! A VMA's range, object and kind never change; what changes is its flags, its `anon_vma` and whether it is in its address
//! space at all. Where a part is to be changed or unmapped, the VMA is replaced by VMAs for its parts
//! (`split`); neighbours that have become alike are replaced by one (`join`). Linux changes the range in place; there as here, the
//! VMA is write-locked meanwhile.
//!
//! * The per-VMA lock: a reader (a page fault) holds `lock` for reading. A writer has `mmap_lock` for writing, waits
//!   for the readers once (`start_write`) and marks the VMA with the address space's sequence
//!   number; until `mmap_lock` is released, new readers see the mark and fall back to `mmap_lock`.
//! * Flags change under `mmap_lock` and VMA lock for writing, so they are stable for whoever has either for reading. Page-table
//!   retraction has neither, and so looks at them only as a hint, or under the page-table lock, see
//!   [`collapse::retract`](crate::collapse::retract).
//! * One flag, [`VM_MAYBE_GUARD`], is also set with either lock for reading: whoever sets it then writes what the others write.
//! * `anon_vma` is set once, under `mmap_lock` for reading and `page_table_lock`, never cleared while the VMA lives.

mod join;
mod replace;
mod split;

pub(crate) use join::{family_neighbours, join_around};
pub(crate) use split::split_around;

use crate::addr::{AddrRange, PageIndex, VirtAddr};
use crate::arch::Pte;
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::mm::Mm;
use crate::mprotect::Protection;
use crate::page_cache::Mapping;
use crate::platform::{Link, Platform, RawRwSem, Word};
use crate::protocol::Safeguard;
use crate::rmap::AnonVma;
use crate::step::Step;
use crate::sync::RcuGuard;
use crate::userfault::Userfaultfd;

/// Writes go to the object (`MAP_SHARED`), not to private copies.
pub const VM_SHARED: u64 = 1;
/// Registered with userfaultfd for missing pages.
pub const VM_UFFD_MISSING: u64 = 2;
/// Registered with userfaultfd for writes to protected pages.
pub const VM_UFFD_WP: u64 = 4;
/// Registered with userfaultfd for pages that the object has and that are not mapped.
pub const VM_UFFD_MINOR: u64 = 8;
/// Registered with userfaultfd.
pub const VM_UFFD: u64 = VM_UFFD_MISSING | VM_UFFD_WP | VM_UFFD_MINOR;
/// There may be guards among the entries. Once set, it stays.
pub const VM_MAYBE_GUARD: u64 = 1 << 16;
/// Huge pages are wanted: the first access to a range may get one. (`MADV_HUGEPAGE`)
pub const VM_HUGEPAGE: u64 = 1 << 17;
/// Huge pages are not wanted: none are made, nor mapped by huge entries. (`MADV_NOHUGEPAGE`)
pub const VM_NOHUGEPAGE: u64 = 1 << 18;
/// May be read.
pub const VM_READ: u64 = 1 << 8;
/// May be written.
pub const VM_WRITE: u64 = 1 << 9;

/// May be made writable. Of shared mappings of a file that is so if it was open for writing, and it counts as open while they are there.
pub const VM_MAYWRITE: u64 = 1 << 10;

/// Memory is promised for its private pages: it is, or was, writable. How much is promised is not counted here; but a VMA for which it is
/// and one for which it is not are not [alike](crate::vma).
pub const VM_ACCOUNT: u64 = 1 << 19;

/// A range of an address space that maps a range of an object, or memory of its own.
pub struct Vma<P: Platform> {
    /// The address space.
    pub mm: Ref<P, Mm<P>>,
    /// The addresses.
    pub range: AddrRange,
    /// The page of the object that is mapped at the start of the range. For anonymous memory, the page number of the
    /// address that it was first mapped at.
    pub pgoff: PageIndex,
    /// The object; `None` for anonymous memory.
    pub mapping: Option<Ref<P, Mapping<P>>>,
    flags: P::Word,
    /// Where fork made it, or the one that it comes of, if that had private pages of the parent.
    inherited: Option<VirtAddr>,
    /// The set of VMAs in which private pages of this one may be found. `None` until the first private page.
    anon_vma: P::Link<AnonVma<P>>,
    /// The userfaultfd that the VMA is registered with.
    userfaultfd: P::Link<Userfaultfd<P>>,
    /// The next VMA of the address space.
    pub(crate) next: P::Link<Vma<P>>,
    /// The next VMA of the family; under the semaphore of `anon_vma`.
    pub(crate) anon_vma_next: P::Link<Vma<P>>,
    /// The next VMA of the object; under the object's `i_mmap_rwsem`.
    pub(crate) i_mmap_next: P::Link<Vma<P>>,
    lock: P::RwSem,
    /// The sequence number under which the VMA was last write-locked.
    lock_seq: P::Word,
    /// Not in the address space any more.
    detached: P::Word,
}

impl<P: Platform> Vma<P> {
    pub(crate) fn new(
        mm: Ref<P, Mm<P>>,
        range: AddrRange,
        mapping: Option<Ref<P, Mapping<P>>>,
        pgoff: PageIndex,
        flags: u64,
    ) -> Ref<P, Self> {
        Self::with_origin(mm, range, mapping, pgoff, flags, None)
    }

    fn with_origin(
        mm: Ref<P, Mm<P>>,
        range: AddrRange,
        mapping: Option<Ref<P, Mapping<P>>>,
        pgoff: PageIndex,
        flags: u64,
        inherited: Option<VirtAddr>,
    ) -> Ref<P, Self> {
        Ref::new(Self {
            mm,
            range,
            pgoff,
            mapping,
            inherited,
            flags: P::Word::new(flags),
            anon_vma: P::Link::new(None),
            userfaultfd: P::Link::new(None),
            next: P::Link::new(None),
            anon_vma_next: P::Link::new(None),
            i_mmap_next: P::Link::new(None),
            lock: P::RwSem::new(LockClass::VmaLock),
            lock_seq: P::Word::new(0),
            detached: P::Word::new(0),
        })
    }

    /// A VMA for a part of this one, with all that it has but its `anon_vma` and its place in the lists. The caller has
    /// `mmap_lock` for writing and has write-locked this one; the part is write-locked as well.
    pub(crate) fn part(&self, range: AddrRange) -> Ref<P, Self> {
        self.sibling(range, self.index_of(range.start), self.flags_protected())
    }

    /// A VMA with the object and userfaultfd of this one, write-locked. The caller has `mmap_lock` for writing and has
    /// write-locked this one.
    pub(crate) fn sibling(&self, range: AddrRange, pgoff: PageIndex, flags: u64) -> Ref<P, Self> {
        let vma = Self::with_origin(self.mm, range, self.mapping, pgoff, flags, self.inherited);
        vma.userfaultfd.store_protected(self.userfaultfd());
        vma.lock_seq.store_protected(self.lock_seq.load_protected());
        vma
    }

    /// A VMA for a child of this one's address space, without userfaultfd and `anon_vma`. The caller has `mmap_lock` for writing.
    pub(crate) fn for_child(&self, child: Ref<P, Mm<P>>) -> Ref<P, Self> {
        let inherited = self.anon_vma_protected().map(|_| self.range.start);
        let flags = self.flags_protected();
        Self::with_origin(
            child,
            self.range,
            self.mapping,
            self.pgoff,
            flags,
            inherited,
        )
    }

    /// The page of the object that is mapped at `addr`; for anonymous memory, a number that stays the same where the page
    /// is mapped elsewhere.
    pub(crate) fn index_of(&self, addr: VirtAddr) -> PageIndex {
        self.pgoff.add(addr.page() - self.range.start.page())
    }

    /// Where page `index` of the object is mapped, if it is.
    pub(crate) fn addr_of(&self, index: PageIndex) -> Option<VirtAddr> {
        let pages = index.0.checked_sub(self.pgoff.0)?;
        let addr = self.range.start.add_pages(pages);
        self.range.contains(addr).then_some(addr)
    }

    /// Where pages `from` up to, not including, `to` of the object are mapped, as far as they are.
    pub(crate) fn range_of(&self, from: u64, to: u64) -> Option<AddrRange> {
        let pages = self.range.end.page() - self.range.start.page();
        let first = from.max(self.pgoff.0) - self.pgoff.0;
        let end = to.saturating_sub(self.pgoff.0).min(pages);
        (first < end).then(|| AddrRange {
            start: self.range.start.add_pages(first),
            end: self.range.start.add_pages(end),
        })
    }

    /// The range of the huge page around `addr`, if the VMA covers it and the object, if there is one, has it at a huge index.
    pub(crate) fn huge_range(&self, addr: VirtAddr) -> Option<AddrRange> {
        let pages = P::PTRS_PER_TABLE;
        let start = addr.huge_start(pages);
        let range = AddrRange::pages(start, pages as u64);
        let allowed = self.range.covers(range)
            && (self.is_anonymous() || self.index_of(start).0.is_multiple_of(pages as u64));
        allowed.then_some(range)
    }

    /// As [`huge_range`](Self::huge_range), if the process allows huge pages there. The caller has `mmap_lock` or the VMA lock, for
    /// reading. (Linux: `thp_vma_allowable_order`)
    pub(crate) fn allowed_huge_range(&self, addr: VirtAddr) -> Option<AddrRange> {
        self.huge_range(addr)
            .filter(|_| self.flags_protected() & VM_NOHUGEPAGE == 0)
    }

    /// As [`huge_range`](Self::huge_range), if the process wants a fault to bring a huge page. The caller has `mmap_lock` or the VMA
    /// lock, for reading.
    pub(crate) fn wanted_huge_range(&self, addr: VirtAddr) -> Option<AddrRange> {
        let wanted = self.flags_protected() & VM_HUGEPAGE != 0;
        wanted.then(|| self.huge_range(addr)).flatten()
    }

    /// Whether the memory is the process's own, without an object behind it. (Linux: `vma_is_anonymous`)
    pub fn is_anonymous(&self) -> bool {
        self.mapping.is_none()
    }

    /// Whether writes go to the object.
    pub fn is_shared(&self) -> bool {
        // VM_SHARED never changes, so that it can be read with any of the locks or none.
        self.flags.load_protected() & VM_SHARED != 0
    }

    /// Whether each page is to be made ready before the first write to it since it was last clean: it has to be marked as dirty, so that
    /// it is written back. (Linux: `vma_wants_writenotify`)
    pub(crate) fn wants_writenotify(&self) -> bool {
        self.is_shared() && self.mapping.is_some_and(|mapping| mapping.is_file())
    }

    /// Whether stores of the process to a file may go to its cache. Neither of the flags changes.
    pub(crate) fn may_write_file(&self) -> bool {
        self.wants_writenotify() && self.flags.load_protected() & VM_MAYWRITE != 0
    }

    /// What the process may do. The caller has `mmap_lock` or the VMA lock, for reading.
    pub(crate) fn protection(&self) -> Protection {
        Self::protection_by(self.flags_protected())
    }

    fn protection_by(flags: u64) -> Protection {
        if flags & VM_WRITE != 0 {
            Protection::ReadWrite
        } else if flags & VM_READ != 0 {
            Protection::Read
        } else {
            Protection::None
        }
    }

    /// A present entry without what the process may not do. The caller has `mmap_lock` or the VMA lock, for reading.
    pub(crate) fn protect(&self, entry: Pte) -> Pte {
        Self::protect_by(self.flags_protected(), entry)
    }

    /// As [`protect`](Self::protect), by one who has the lock of the entry alone. Who forbids something changes the flags first, and then, with that lock,
    /// the entries: so he comes to this one, or this sees his flags.
    pub(crate) fn protect_locked(&self, entry: Pte) -> Pte {
        Self::protect_by(self.flags("read VMA flags"), entry)
    }

    fn protect_by(flags: u64, entry: Pte) -> Pte {
        match Self::protection_by(flags) {
            Protection::None => entry.mk_inaccessible(),
            Protection::Read => entry.wrprotect(),
            Protection::ReadWrite => entry,
        }
    }

    /// The flags. The caller has `mmap_lock` or the VMA lock, for reading.
    pub fn flags_protected(&self) -> u64 {
        self.flags.load_protected()
    }

    /// Whether the VMA is registered for missing pages; the caller has `mmap_lock` or the VMA lock, for reading.
    pub(crate) fn is_uffd_missing_protected(&self) -> bool {
        self.flags.load_protected() & VM_UFFD_MISSING != 0
    }

    /// Whether the VMA is registered for protected pages; the caller has `mmap_lock` or the VMA lock, for reading.
    pub(crate) fn is_uffd_wp_protected(&self) -> bool {
        self.flags.load_protected() & VM_UFFD_WP != 0
    }

    /// Whether the VMA is registered for pages that are not mapped; the caller has `mmap_lock` or the VMA lock, for reading.
    pub(crate) fn is_uffd_minor_protected(&self) -> bool {
        self.flags.load_protected() & VM_UFFD_MINOR != 0
    }

    /// Whether the VMA is registered at all; the caller has `mmap_lock` or the VMA lock, for reading.
    pub(crate) fn is_uffd_armed_protected(&self) -> bool {
        self.flags.load_protected() & VM_UFFD != 0
    }

    /// The flags, read by somebody who may have no lock that keeps them.
    pub(crate) fn flags(&self, step: &'static str) -> u64 {
        P::step(Step::Mm(step, self.mm.id));
        self.flags.read_once()
    }

    /// Changes flags. The caller has `mmap_lock` and the VMA lock for writing; but see [`VM_MAYBE_GUARD`].
    pub(crate) fn set_flags(&self, flags: u64) {
        P::step(Step::Mm("change VMA flags", self.mm.id));
        self.flags.write_once(flags);
    }

    /// Marks the VMA as one that may have guards. The caller has `mmap_lock` or the VMA lock, for reading: nobody changes another
    /// flag meanwhile. (Linux sets the flag by an atomic operation.)
    pub(crate) fn set_maybe_guard(&self) {
        let flags = self.flags("read VMA flags");
        if flags & VM_MAYBE_GUARD == 0 {
            self.set_flags(flags | VM_MAYBE_GUARD);
        }
    }

    /// Whether there is an `anon_vma`, which somebody else may be setting. Who later takes a lock that the caller gives back
    /// after this sees no less.
    pub(crate) fn has_anon_vma(&self, step: &'static str) -> bool {
        P::step(Step::Mm(step, self.mm.id));
        self.anon_vma.is_set()
    }

    /// Sets `anon_vma`. The caller has `page_table_lock`, and `mmap_lock` for reading. Who maps a private page under the VMA lock names it in
    /// the page, from where walks follow it.
    pub(crate) fn set_anon_vma(&self, anon_vma: Ref<P, AnonVma<P>>) {
        P::step(Step::Mm("attach anon_vma", self.mm.id));
        self.anon_vma.assign(Some(anon_vma));
    }

    /// Sets `anon_vma` of a VMA that nobody knows of yet.
    pub(crate) fn init_anon_vma(&self, anon_vma: Ref<P, AnonVma<P>>) {
        self.anon_vma.store_protected(Some(anon_vma));
    }

    /// `anon_vma`, for a page that is about to be mapped.
    pub(crate) fn anon_vma_of_page(&self) -> Option<Ref<P, AnonVma<P>>> {
        self.anon_vma("read anon_vma to name it in a page")
    }

    /// `anon_vma`, which somebody else may be setting: who finds it finds it made.
    pub(crate) fn anon_vma(&self, step: &'static str) -> Option<Ref<P, AnonVma<P>>> {
        P::step(Step::Mm(step, self.mm.id));
        self.anon_vma.dereference()
    }

    /// `anon_vma`. The caller has `page_table_lock`, or `mmap_lock` for writing, or takes the VMA apart; or it has seen it set, as
    /// it does not change then.
    pub(crate) fn anon_vma_protected(&self) -> Option<Ref<P, AnonVma<P>>> {
        self.anon_vma.load_protected()
    }

    pub(crate) fn userfaultfd(&self) -> Option<Ref<P, Userfaultfd<P>>> {
        self.userfaultfd.load_protected()
    }

    /// The caller has `mmap_lock` and the VMA lock for writing.
    pub(crate) fn set_userfaultfd(&self, userfaultfd: Option<Ref<P, Userfaultfd<P>>>) {
        self.userfaultfd.store_protected(userfaultfd);
    }

    /// Read-locks the VMA unless it is write-locked or gone. Whether it did. The caller is in an RCU section.
    pub(crate) fn start_read(vma: Ref<P, Self>) -> bool {
        P::step(Step::Mm("vma_start_read", vma.mm.id));
        if !vma.lock.try_read() {
            return false;
        }
        // The address space's number cannot be older than the mark: who made the mark had read it, and gave the lock
        // back then. If it is newer, it is an acquire of everything that was done to the VMA while it was write-locked.
        if vma.lock_seq.load_protected() == vma.mm.lock_seq() || vma.is_detached() {
            vma.end_read();
            return false;
        }
        true
    }

    fn is_detached(&self) -> bool {
        self.detached.load_protected() != 0
    }

    /// Ends reading. In an RCU section, since whoever waits for this to write may free the VMA as soon as the lock is free, while
    /// the lock's own code still looks at it.
    pub(crate) fn end_read(&self) {
        let _rcu = RcuGuard::<P>::read_lock();
        P::step(Step::Mm("vma_end_read", self.mm.id));
        self.lock.read_unlock();
    }

    /// Waits for readers of the VMA and keeps new ones out until `mmap_lock`, which the caller has for writing, is
    /// released.
    pub(crate) fn start_write(&self) {
        if !P::enforces(Safeguard::WriteLockVma) {
            return;
        }
        let seq = self.mm.lock_seq_protected();
        if self.lock_seq.load_protected() == seq {
            return;
        }
        P::step(Step::Mm("vma_start_write", self.mm.id));
        self.lock.write();
        self.mark_write_locked(seq);
    }

    /// As [`start_write`](Self::start_write), by one who holds locks that come after the VMA lock, which is
    /// free of deadlock only where faults do not hold the VMA lock while they wait for those locks.
    pub(crate) fn start_write_nested(&self) {
        let seq = self.mm.lock_seq_protected();
        if self.lock_seq.load_protected() == seq {
            return;
        }
        P::step(Step::Mm("vma_start_write", self.mm.id));
        self.lock.write_nested();
        self.mark_write_locked(seq);
    }

    /// As [`start_write`](Self::start_write), if there is no reader. Whether it did.
    pub(crate) fn try_start_write(&self) -> bool {
        let seq = self.mm.lock_seq_protected();
        if self.lock_seq.load_protected() == seq {
            return true;
        }
        P::step(Step::Mm("vma_try_start_write", self.mm.id));
        if !self.lock.try_write() {
            return false;
        }
        self.mark_write_locked(seq);
        true
    }

    fn mark_write_locked(&self, seq: u64) {
        // Readers look at the mark only with `lock` held for reading, so it is protected here.
        self.lock_seq.store_protected(seq);
        P::step(Step::Mm("vma lock", self.mm.id));
        self.lock.write_unlock();
    }

    /// Marks the VMA as gone from its address space. The caller has write-locked it.
    pub(crate) fn mark_detached(&self) {
        if P::enforces(Safeguard::MarkDetached) {
            self.detached.store_protected(1);
        }
    }
}
