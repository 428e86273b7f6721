//! The machine of real threads, at full speed.
//!
//! [`Host`] is the engine's platform with the primitives of an operating system's process: atomics, the locks of `parking_lot`, the
//! epochs of `crossbeam-epoch` for RCU, frames from `mmap`. What such a process lacks is a translation cache that it could flush: a
//! thread that becomes a CPU ([`HostCpu`]) has one in software, and reads and writes memory through it, by a walk of
//! the engine's own page tables.
//!
//! There is one such machine in a process, as in a kernel. No safeguard can be taken away and nothing is traced: the
//! functions that say so are constants, and the instrumentation is compiled to nothing.
//!
//! There are no devices and no virtual CPUs on this machine (yet), so [`Platform::flush_secondary_tlb`] and
//! [`Platform::kick_vcpus`] have nothing to do.

mod content;
mod cpu;
mod frames;
mod lock;
mod memory;
mod pointer;
mod rcu;
mod requests;
mod slot;
mod thread;
mod tlb;
mod word;

pub use cpu::HostCpu;
pub use lock::{HostLock, HostRwSem};
pub use memory::{Page, Setup, WORDS_PER_PAGE};
pub use pointer::{HostLink, HostPtr};
pub use word::{HostCounter, HostRefCount, HostWord};

use std::cell::Cell;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

use pagefold::accounting::Fact;
use pagefold::addr::{AddrRange, Pfn};
use pagefold::arch::X86_64;
use pagefold::frame::Frame;
use pagefold::handle::Ref;
use pagefold::mm::Mm;
use pagefold::platform::{FlushKind, Order, Platform};
use pagefold::protocol::{Protocol, Safeguard};
use pagefold::step::Step;
use pagefold::swap::SwapSlot;

use memory::Memory;
use slot::CpuSlot;

/// Entries of a page table, and so small pages in a huge page: pages of 4 KiB and of 2 MiB.
pub const PTRS_PER_TABLE: usize = 512;

/// The entries of its page tables.
pub type HostFormat = X86_64<3>;

/// The platform of real threads.
#[derive(Debug)]
pub struct Host;

impl Host {
    /// Makes a machine of `frames` frames; as [`init_as`](Self::init_as).
    pub fn init(frames: usize) -> bool {
        Self::init_as(Setup {
            frames,
            ..Setup::default()
        })
    }

    /// Makes a machine. Memory is taken from the system when a frame is first used. Without this, the first use of the
    /// machine makes one as [`Setup::default`] says.
    ///
    /// Whether it did; `false` if there is a machine already.
    pub fn init_as(setup: Setup) -> bool {
        Memory::init(setup)
    }

    /// The content of a frame. Whoever looks at it has to know why the frame is not somebody else's.
    #[must_use]
    pub fn page(pfn: Pfn) -> &'static Page {
        Memory::get().page(pfn)
    }

    /// Frames that are not free. Exact when nothing is under way, [`rcu_barrier`](Self::rcu_barrier) included.
    #[must_use]
    pub fn frames_in_use() -> usize {
        let kept: usize = CpuSlot::all()
            .iter()
            .map(|slot| slot.magazine.load(Relaxed))
            .sum();
        Memory::get().allocator.taken() - kept
    }

    /// Waits until no RCU callback is left that was queued. Not from within an RCU section.
    pub fn rcu_barrier() {
        rcu::barrier();
    }
}

impl Platform for Host {
    const PTRS_PER_TABLE: usize = PTRS_PER_TABLE;

    type Format = HostFormat;
    type Word = HostWord;
    type Counter = HostCounter;
    type RefCount = HostRefCount;
    type Lock = HostLock;
    type RwSem = HostRwSem;
    type Ptr<T: 'static> = HostPtr<T>;
    type Link<T: 'static> = HostLink<T>;

    #[inline(always)]
    fn protocol() -> Protocol {
        Memory::get().protocol
    }

    #[inline(always)]
    fn enforces(_: Safeguard) -> bool {
        true
    }

    #[inline(always)]
    fn split_ptlocks() -> bool {
        true
    }

    #[inline(always)]
    fn shmem_huge_denied() -> bool {
        false
    }

    fn alloc<T: 'static>(value: T) -> Self::Ptr<T> {
        HostPtr::new(value)
    }

    unsafe fn free<T: 'static>(object: Self::Ptr<T>) {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { object.free() };
    }

    fn alloc_frames(order: Order) -> Option<Pfn> {
        thread::alloc_frames(order)
    }

    fn free_frames(pfn: Pfn, order: Order) {
        thread::free_frames(pfn, order);
    }

    #[inline(always)]
    fn zero_page() -> Pfn {
        // The frame that is never handed out.
        Pfn(0)
    }

    #[inline(always)]
    fn huge_zero_page() -> Option<Pfn> {
        Some(Memory::get().huge_zero_page)
    }

    #[inline(always)]
    fn frame(pfn: Pfn) -> &'static Frame<Self> {
        Memory::get().frame(pfn)
    }

    #[inline(always)]
    fn entry(table: Pfn, index: usize) -> &'static Self::Word {
        &Memory::get().page(table)[index]
    }

    fn copy_page(to: Pfn, from: Pfn) {
        content::copy(Self::page(to), Self::page(from));
    }

    /// The memory of this machine does not go bad.
    fn copy_mc_page(to: Pfn, from: Pfn) -> bool {
        Self::copy_page(to, from);
        true
    }

    fn clear_page(pfn: Pfn) {
        content::clear(Self::page(pfn));
    }

    fn is_cleared(pfn: Pfn) -> bool {
        content::is_clear(Self::page(pfn))
    }

    fn swap_slots() -> u64 {
        Memory::get().swap_slots.len() as u64
    }

    fn swap_slot(slot: u64) -> &'static SwapSlot<Self> {
        &Memory::get().swap_slots[slot as usize]
    }

    fn swap_out(slot: u64, from: Pfn) {
        content::copy(&Memory::get().swap_pages[slot as usize], Self::page(from));
    }

    fn swap_in(slot: u64, to: Pfn) {
        content::copy(Self::page(to), &Memory::get().swap_pages[slot as usize]);
    }

    #[inline(always)]
    fn rcu_read_lock() {
        rcu::read_lock();
    }

    #[inline(always)]
    fn rcu_read_unlock() {
        rcu::read_unlock();
    }

    fn call_rcu(callback: impl FnOnce() + Send + 'static) {
        rcu::call(callback);
    }

    fn irq_save() {
        thread::irq_save();
    }

    fn irq_restore() {
        thread::irq_restore();
    }

    fn sync_walkers() {
        slot::sync_walkers();
    }

    fn flush_tlb(mm: Ref<Self, Mm<Self>>, range: AddrRange, kind: FlushKind) {
        slot::shoot_down(mm.raw().addr(), range, kind);
    }

    /// Nothing: this machine has no devices.
    #[inline(always)]
    fn flush_secondary_tlb(_: Ref<Self, Mm<Self>>, _: AddrRange, _: FlushKind) {}

    /// Nothing: this machine has no virtual CPUs.
    #[inline(always)]
    fn kick_vcpus(_: Ref<Self, Mm<Self>>) {}

    #[inline(always)]
    fn smp_mb() {
        fence(SeqCst);
    }

    /// A hint to the processor, and now and then the processor itself: the other thread may be waiting for it.
    fn cpu_relax() {
        const PATIENCE: u32 = 32;
        thread_local! {
            static CALLS: Cell<u32> = const { Cell::new(0) };
        }
        CALLS.with(|calls| {
            calls.set(calls.get().wrapping_add(1));
            if calls.get() % PATIENCE == 0 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        });
    }

    #[inline(always)]
    fn step(_: Step) {}

    #[inline(always)]
    fn observe(_: Fact) {}
}
