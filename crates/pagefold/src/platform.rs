//! What the engine asks of a machine.
//!
//! Everything two CPUs can meet at is named here: words of memory that CPUs race on, locks, RCU, the
//! interrupts-off section, the TLB. A kernel implements [`Platform`] with its own primitives, the `host` machine
//! with threads and atomics, the `model` machine with events of a model checker. The engine is the same code on
//! all three; [`Platform::enforces`] and [`Platform::step`] are constants where nothing is being checked, so
//! the instrumentation costs nothing there.

use core::fmt::Debug;
use core::ops::Deref;

use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::arch::Format;
use crate::frame::Frame;
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::mm::Mm;
use crate::protocol::{Protocol, Safeguard};
use crate::step::Step;
use crate::swap::SwapSlot;

/// A machine word that several CPUs read and write without a lock.
///
/// Each access says how it is ordered, in Linux' words; the reason is at the place, and ARCHITECTURE.md ("Orderings") has
/// all of them. An access is never torn, and accesses to one word are never reordered against each other (coherence).
pub trait Word: Sized + 'static {
    /// A word that holds `value`.
    fn new(value: u64) -> Self;
    /// Reads the word once, in no order to anything else (Linux: `READ_ONCE`). For a value that is only tested or
    /// compared, and either looked at again under a lock or of no consequence.
    fn read_once(&self) -> u64;
    /// Reads the word once; what is reached *through the value* is read after it, and so as it was when the value was
    /// published (Linux: `READ_ONCE` of an entry that is followed, `rcu_dereference`).
    ///
    /// An address dependency does that on all hardware that Linux runs on. A machine without means to keep one in the
    /// compiler makes it an acquire: Rust has no consume.
    fn read_dependent(&self) -> u64;
    /// Reads the word; all that follows is read and written after it (Linux: `smp_load_acquire`).
    fn load_acquire(&self) -> u64;
    /// Writes the word once, in no order to anything else (Linux: `WRITE_ONCE`). For a value through which nothing is
    /// reached.
    fn write_once(&self, value: u64);
    /// Writes the word after everything that was read and written before it (Linux: `smp_store_release`).
    fn store_release(&self, value: u64);
    /// Writes `value` and returns what was there, as one step, in no order to anything else (Linux: `xchg_relaxed`).
    fn xchg_relaxed(&self, value: u64) -> u64;
    /// Reads a word that cannot change now, because the caller holds the lock under which it is written
    /// (Linux: `rcu_dereference_protected`). The lock is the order.
    fn load_protected(&self) -> u64;
    /// Writes a word that nobody else can look at now: not published yet, or read only under a lock the caller
    /// holds for writing. What publishes it, or the lock, is the order.
    fn store_protected(&self, value: u64);
    /// Sleeps until the word differs from `value`. Orders nothing: who waited looks again.
    fn wait_while(&self, value: u64);
}

/// A number that is counted up and down from many CPUs, and looked at only when nothing is under way. Orders nothing.
pub trait Counter: Sized + 'static {
    /// A counter that stands at `value`.
    fn new(value: i64) -> Self;
    /// Adds; the order of additions does not matter.
    fn add(&self, delta: i64);
    /// The value now.
    fn get(&self) -> i64;
}

/// A count of references.
pub trait RefCount: Sized + 'static {
    /// A count that stands at `value`.
    fn new(value: u64) -> Self;
    /// Takes `n` references more; the caller has one. In no order to anything else.
    fn get(&self, n: u64);
    /// As [`get`](Self::get), after everything that was read and written before it (release).
    fn get_release(&self, n: u64);
    /// Takes a reference unless there is none left, in no order to anything else. Whether it did.
    fn try_get(&self) -> bool;
    /// As [`try_get`](Self::try_get); if it did, all that follows is read and written after it (acquire): what was done before
    /// a [`put`](Self::put) or [`init`](Self::init) that came first is seen.
    fn try_get_acquire(&self) -> bool;
    /// Gives back `n` references that the caller has, after everything that was read and written before it (release).
    /// Whether they were the last; if so, all that follows comes after everybody's use (acquire).
    fn put(&self, n: u64) -> bool;
    /// Gives back `n` references that are not the last, in no order to anything else: where the count only tells that somebody is there.
    fn put_relaxed(&self, n: u64);
    /// Makes the count zero if it is exactly `expected`: nobody gets a reference until [`unfreeze`](Self::unfreeze). Whether it
    /// did; if so, everybody's use that is over has happened before (acquire).
    fn freeze(&self, expected: u64) -> bool;
    /// Ends a [`freeze`](Self::freeze), with `value` references, after everything that was read and written before it
    /// (release).
    fn unfreeze(&self, value: u64);
    /// Whether there is no reference left now, in no order to anything else.
    fn is_zero(&self) -> bool;
    /// The count now, in no order to anything else.
    fn read(&self) -> u64;
    /// The count now; all that follows is read and written after it (acquire).
    fn read_acquire(&self) -> u64;
    /// Sets the count of an object that begins a new life, after everything that was read and written before it (release).
    /// Nobody has a reference, but who found the object in an earlier life may be trying to get one.
    fn init(&self, value: u64);
}

/// A mutual exclusion lock. Whether it spins or sleeps follows from its class.
///
/// Taking it is an acquire of what releasing it released; a failed try orders nothing. It is not a full barrier.
pub trait RawLock: Sized + 'static {
    /// An unlocked lock of the given class.
    fn new(class: LockClass) -> Self;
    /// Takes the lock.
    fn lock(&self);
    /// Takes the lock while another one of its class is held; the caller says why this cannot deadlock.
    fn lock_nested(&self);
    /// Takes the lock if it is free. Whether it did.
    fn try_lock(&self) -> bool;
    /// Releases the lock, which the caller holds.
    fn unlock(&self);
}

/// A reader-writer semaphore: sleeps, and can be downgraded. Orders as [`RawLock`] does.
pub trait RawRwSem: Sized + 'static {
    /// A free semaphore of the given class.
    fn new(class: LockClass) -> Self;
    /// Takes it for reading.
    fn read(&self);
    /// Takes it for reading unless a writer has it. Whether it did.
    fn try_read(&self) -> bool;
    /// Ends reading.
    fn read_unlock(&self);
    /// Takes it for writing.
    fn write(&self);
    /// Takes it for writing although a lock that comes later in the lock order is held; the caller says why this
    /// cannot deadlock.
    fn write_nested(&self);
    /// Takes it for writing if it is free. Whether it did.
    fn try_write(&self) -> bool;
    /// Ends writing.
    fn write_unlock(&self);
    /// Turns writing into reading without letting another writer in.
    fn downgrade(&self);
}

/// A copyable reference to an object made by [`Platform::alloc`].
///
/// It may be followed until the object is [freed](Platform::free). Why it is not freed earlier is the business of
/// the protocol in whose hands it is (a lock, a count, a grace period); the model machine checks each use.
pub trait Handle<T>: Copy + Eq + Debug + Send + Deref<Target = T> + 'static {}

/// A place for a [`Handle`] that is read without a lock.
pub trait Link<P: Platform, T: 'static>: Sized + 'static {
    /// A link that names `target`.
    fn new(target: Option<Ref<P, T>>) -> Self;
    /// Reads the link, to follow it: as [`Word::read_dependent`] (Linux: `rcu_dereference`).
    fn dereference(&self) -> Option<Ref<P, T>>;
    /// Whether the link names anything, as [`Word::read_once`] (Linux: `rcu_access_pointer`).
    fn is_set(&self) -> bool;
    /// Publishes `target` to who [follows](Self::dereference) the link: as [`Word::store_release`]
    /// (Linux: `rcu_assign_pointer`).
    fn assign(&self, target: Option<Ref<P, T>>);
    /// As [`Word::load_protected`].
    fn load_protected(&self) -> Option<Ref<P, T>>;
    /// As [`Word::store_protected`].
    fn store_protected(&self, target: Option<Ref<P, T>>);
}

/// What a translation cache has to forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushKind {
    /// Cached leaf entries: virtual page to frame.
    Leaves,
    /// Leaf entries, and cached upper-level entries that name page tables.
    LeavesAndTables,
}

/// How many frames an allocation takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// One frame.
    Small,
    /// [`Platform::PTRS_PER_TABLE`] contiguous frames: what one page table maps.
    Huge,
}

/// A machine that the engine runs on. All functions are associated functions: a kernel has one such machine.
///
/// # Order
///
/// The engine relies on these to order more than themselves:
///
/// * *Flushes and kicks* ([`flush_tlb`](Self::flush_tlb), [`flush_secondary_tlb`](Self::flush_secondary_tlb),
///   [`kick_vcpus`](Self::kick_vcpus), [`sync_walkers`](Self::sync_walkers)): what the caller wrote before is seen by every
///   walk that begins after them, and what those who are waited for did before they answered has happened before they return.
/// * *Grace periods* ([`call_rcu`](Self::call_rcu)): a section either ended before the callback, or sees what the caller wrote
///   before.
/// * *Allocation* of frames and objects: what was done with a frame before it was given back has happened before it is handed
///   out again.
pub trait Platform: Sized + 'static {
    /// Entries in a page table, and so small pages in a huge page: 512 on the common architectures with 4 KiB pages.
    const PTRS_PER_TABLE: usize;

    /// How the entries of page tables are written down.
    type Format: Format;
    /// Words that CPUs race on; page-table entries among them.
    type Word: Word;
    /// Counters.
    type Counter: Counter;
    /// Reference counts.
    type RefCount: RefCount;
    /// Locks.
    type Lock: RawLock;
    /// Reader-writer semaphores.
    type RwSem: RawRwSem;
    /// References to objects of the engine.
    type Ptr<T: 'static>: Handle<T>;
    /// Places for such references that are read without a lock.
    type Link<T: 'static>: Link<Self, T>;

    /// The protocol in force.
    fn protocol() -> Protocol;

    /// Whether a safeguard is in force. A constant `true` in any real machine: only the model can take one away,
    /// to show what it is there for.
    fn enforces(safeguard: Safeguard) -> bool;

    /// Whether each page table has its own lock (Linux: `USE_SPLIT_PTE_PTLOCKS`), or all of an address space share
    /// its `page_table_lock`.
    fn split_ptlocks() -> bool;

    /// Whether the administrator has denied huge pages of shmem (Linux: `SHMEM_HUGE_DENY`). What is huge already stays so.
    fn shmem_huge_denied() -> bool;

    /// Whether the mappings that meet at this address of address space `mm` are never [joined](crate::vma), alike as they may be. For a machine whose
    /// few addresses stand for some that are far apart.
    fn keeps_apart(mm: u32, addr: VirtAddr) -> bool {
        let _ = (mm, addr);
        false
    }

    /// Makes an object.
    fn alloc<T: 'static>(value: T) -> Self::Ptr<T>;

    /// Ends the life of an object. Its destructor runs.
    ///
    /// # Safety
    /// No handle to the object may be followed afterwards, by anyone.
    unsafe fn free<T: 'static>(object: Self::Ptr<T>);

    /// Takes frames from the machine: their content is undefined. `None` when there are none.
    fn alloc_frames(order: Order) -> Option<Pfn>;
    /// Gives frames back. Nobody may look at them afterwards.
    fn free_frames(pfn: Pfn, order: Order);
    /// A page of zeros that is mapped wherever anonymous memory was only read. Nobody writes, counts or frees it, and
    /// it is no folio (Linux: `ZERO_PAGE`).
    fn zero_page() -> Pfn;
    /// A huge page of zeros, of the same sort, which is mapped by huge entries. `None` if the machine has none: small ones are
    /// mapped then.
    fn huge_zero_page() -> Option<Pfn>;
    /// The metadata of a frame (Linux: `struct page`, the `vmemmap`).
    fn frame(pfn: Pfn) -> &'static Frame<Self>;
    /// Word `index` of a frame that is used as a table of words. `index` is below [`Self::PTRS_PER_TABLE`].
    fn entry(table: Pfn, index: usize) -> &'static Self::Word;
    /// Copies the content of one frame to another. If the memory of that has gone bad, it is the end of the machine.
    fn copy_page(to: Pfn, from: Pfn);
    /// As [`copy_page`](Self::copy_page), but memory that has gone bad is noticed (Linux: `copy_mc_highpage`). Whether all was copied.
    fn copy_mc_page(to: Pfn, from: Pfn) -> bool;
    /// Fills a frame with zeros.
    fn clear_page(pfn: Pfn);
    /// Whether a page holds nothing but zeros. (Linux: `pages_identical` with the page of zeros)
    fn is_cleared(pfn: Pfn) -> bool;

    /// How many pages there is room for outside of memory; at least one.
    fn swap_slots() -> u64;
    /// The metadata of a swap slot.
    fn swap_slot(slot: u64) -> &'static SwapSlot<Self>;
    /// Moves the content of a frame out to a slot. What is written to the frame meanwhile may be missed.
    fn swap_out(slot: u64, from: Pfn);
    /// Reads the content of a slot into a frame.
    fn swap_in(slot: u64, to: Pfn);

    /// Begins a section that RCU waits for. Nests.
    fn rcu_read_lock();
    /// Ends such a section.
    fn rcu_read_unlock();
    /// Runs `callback` once all sections that are open now have ended; sections with interrupts off count, too.
    fn call_rcu(callback: impl FnOnce() + Send + 'static);
    /// Keeps this CPU from being interrupted. A grace period and [`Self::sync_walkers`] wait for the end of it; a flush of
    /// translation caches need not.
    fn irq_save();
    /// Allows interrupts again.
    fn irq_restore();
    /// Waits until every CPU has been outside an interrupts-off section once (Linux: `tlb_remove_table_sync_one`).
    fn sync_walkers();
    /// Makes all CPUs forget translations of `range` in `mm`, and waits until they have.
    fn flush_tlb(mm: Ref<Self, Mm<Self>>, range: AddrRange, kind: FlushKind);
    /// Makes the IOMMUs that walk the tables of `mm` (shared virtual addressing) forget translations of `range`, and
    /// waits until walks in flight are over (Linux: `mmu_notifier_arch_invalidate_secondary_tlbs`).
    fn flush_secondary_tlb(mm: Ref<Self, Mm<Self>>, range: AddrRange, kind: FlushKind);
    /// Makes virtual CPUs leave guest mode, so that they use no translation that they fetched before
    /// (Linux: `kvm_flush_remote_tlbs`).
    fn kick_vcpus(mm: Ref<Self, Mm<Self>>);
    /// A full barrier: what was read and written before it comes before what is read and written after it, a write
    /// before a read included (Linux: `smp_mb`). Of two CPUs that write, pass a barrier, and read what the
    /// other wrote, at least one sees the other.
    fn smp_mb();
    /// Called in a loop that waits for another CPU's write.
    fn cpu_relax();

    /// Names the next operation on shared memory, for traces. Empty where nothing is traced.
    fn step(step: Step);
    /// Tells an oracle what a step did. Empty where nothing is checked.
    fn observe(fact: crate::accounting::Fact);
}
