//! What the engine asks of a machine.
//!
//! Everything two CPUs can meet at is named here: words of memory that CPUs race on, locks, RCU, the
//! interrupts-off section, the TLB. A kernel implements [`Platform`] with its own primitives, the `host` machine
//! with threads and atomics, the `model` machine with events of a model checker. The engine is the same code on
//! all three; [`Platform::enforces`] and [`Platform::step`] are constants where nothing is being checked, so
//! the instrumentation costs nothing there.

use core::fmt::Debug;
use core::ops::Deref;

use crate::addr::{AddrRange, Pfn};
use crate::frame::Frame;
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::mm::Mm;
use crate::protocol::{Protocol, Safeguard};
use crate::step::Step;

/// A machine word that several CPUs read and write without a lock.
///
/// `load` has acquire, `store` release, and the read-modify-write operations sequentially consistent order.
pub trait Word: Sized + 'static {
    /// A word that holds `value`.
    fn new(value: u64) -> Self;
    /// Reads the word once (Linux: `READ_ONCE`, `smp_load_acquire`).
    fn load(&self) -> u64;
    /// Writes the word once (Linux: `WRITE_ONCE`, `smp_store_release`).
    fn store(&self, value: u64);
    /// Writes `value` and returns what was there, as one step.
    fn swap(&self, value: u64) -> u64;
    /// Reads a word that cannot change now, because the caller holds the lock under which it is written
    /// (Linux: `rcu_dereference_protected`). Not a step that a checker has to schedule.
    fn load_protected(&self) -> u64;
    /// Writes a word that nobody else can look at now: not published yet, or read only under a lock the caller
    /// holds for writing. Not a step that a checker has to schedule.
    fn store_protected(&self, value: u64);
    /// Sleeps until the word differs from `value`.
    fn wait_while(&self, value: u64);
}

/// A number that is counted up and down from many CPUs, and looked at only when nothing is under way.
pub trait Counter: Sized + 'static {
    /// A counter that stands at `value`.
    fn new(value: i64) -> Self;
    /// Adds; the order of additions does not matter.
    fn add(&self, delta: i64);
    /// The value now.
    fn get(&self) -> i64;
}

/// A count of references. Each operation but [`new`](Self::new) is a full barrier where it decides something.
pub trait RefCount: Sized + 'static {
    /// A count that stands at `value`.
    fn new(value: u64) -> Self;
    /// Takes `n` references more; the caller has one.
    fn get(&self, n: u64);
    /// Takes a reference unless there is none left. Whether it did.
    fn try_get(&self) -> bool;
    /// Gives back `n` references that the caller has. Whether they were the last.
    fn put(&self, n: u64) -> bool;
    /// The count now.
    fn read(&self) -> u64;
    /// Sets a count that nobody else can look at now.
    fn set_protected(&self, value: u64);
}

/// A mutual exclusion lock. Whether it spins or sleeps follows from its class.
pub trait RawLock: Sized + 'static {
    /// An unlocked lock of the given class.
    fn new(class: LockClass) -> Self;
    /// Takes the lock.
    fn lock(&self);
    /// Takes the lock if it is free. Whether it did.
    fn try_lock(&self) -> bool;
    /// Releases the lock, which the caller holds.
    fn unlock(&self);
}

/// A reader-writer semaphore: sleeps, and can be downgraded.
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
    /// Reads the link (Linux: `rcu_dereference`, `READ_ONCE`).
    fn load(&self) -> Option<Ref<P, T>>;
    /// Publishes `target` (Linux: `rcu_assign_pointer`).
    fn store(&self, target: Option<Ref<P, T>>);
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
pub trait Platform: Sized + 'static {
    /// Entries in a page table, and so small pages in a huge page: 512 on the common architectures with 4 KiB pages.
    const PTRS_PER_TABLE: usize;

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
    /// The metadata of a frame (Linux: `struct page`, the `vmemmap`).
    fn frame(pfn: Pfn) -> &'static Frame<Self>;
    /// Word `index` of a frame that is used as a table of words. `index` is below [`Self::PTRS_PER_TABLE`].
    fn entry(table: Pfn, index: usize) -> &'static Self::Word;
    /// Copies the content of one frame to another.
    fn copy_page(to: Pfn, from: Pfn);
    /// Fills a frame with zeros.
    fn clear_page(pfn: Pfn);

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
    /// Called in a loop that waits for another CPU's write.
    fn cpu_relax();

    /// Names the next operation on shared memory, for traces. Empty where nothing is traced.
    fn step(step: Step);
    /// Tells an oracle what a step did. Empty where nothing is checked.
    fn observe(fact: crate::accounting::Fact);
}
