//! The machine under the model checker.
//!
//! [`Model`] is the engine's platform: its words, locks, RCU and interrupts are events of `pagefold-explore`, which tries every
//! order of them that can matter. Around it stand what a program's memory consists of in reality: CPUs with translation
//! caches (`cpu.rs`), devices that walk page tables, frames that are freed (`world.rs`), and oracles that watch all of
//! it (`oracle/`). [`check`](fn@check) runs a scenario.
//!
//! Geometry: page tables have [`PTRS_PER_TABLE`] entries, so a huge page is two small ones. That suffices for the known bugs
//! (`linux-protocol.md`, 5.3), since nothing in the engine depends on the number.

mod arena;
mod check;
mod content;
mod cpu;
mod format;
mod free_list;
mod held;
mod names;
mod oracle;
mod order;
mod orderings;
mod site;
mod violation;
mod word;
mod world;

pub use check::{
    Alone, Checked, Outcome, Outcomes, RunConfig, ScenarioLimit, Tick, check, check_observed, fits,
    one_by_one, outcomes, replay, sites,
};
pub use format::EntryFormat;
pub use order::{Collapse, Step as CollapseStep};
pub use orderings::{Finding, orderings};
pub use site::{Asked, Site};
pub use violation::Kind;
pub use word::UNDER_LOCK;

use pagefold::accounting::Fact;
use pagefold::addr::{AddrRange, Pfn, VirtAddr};
use pagefold::frame::Frame;
use pagefold::handle::Ref;
use pagefold::mm::Mm;
use pagefold::platform::{FlushKind, Order, Platform, Word};
use pagefold::protocol::{Protocol, Safeguard};
use pagefold::step::Step;
use pagefold::swap::SwapSlot;
use pagefold_explore as explore;
use pagefold_explore::sync::atomic::Ordering;

use arena::ModelPtr;
use world::{SWAP_SLOTS, World};

/// Entries of a page table of the model, and so small pages in a huge page.
pub const PTRS_PER_TABLE: usize = 2;

/// The platform of the model checker.
#[derive(Debug)]
pub struct Model;

impl Platform for Model {
    const PTRS_PER_TABLE: usize = PTRS_PER_TABLE;

    type Format = format::ModelFormat;
    type Word = word::ModelWord;
    type Counter = word::ModelCounter;
    type RefCount = word::ModelRefCount;
    type Lock = word::ModelLock;
    type RwSem = word::ModelRwSem;
    type Ptr<T: 'static> = ModelPtr<T>;
    type Link<T: 'static> = word::ModelLink;

    #[inline]
    fn protocol() -> Protocol {
        World::current().protocol
    }

    #[inline]
    fn enforces(safeguard: Safeguard) -> bool {
        World::current().enforces(safeguard)
    }

    #[inline]
    fn split_ptlocks() -> bool {
        World::current().split_ptlocks
    }

    #[inline]
    fn shmem_huge_denied() -> bool {
        World::current().shmem_denied
    }

    fn keeps_apart(mm: u32, addr: VirtAddr) -> bool {
        World::current().is_border(mm, addr)
    }

    fn alloc<T: 'static>(value: T) -> Self::Ptr<T> {
        World::current().place(value)
    }

    unsafe fn free<T: 'static>(object: Self::Ptr<T>) {
        object.kill();
    }

    fn alloc_frames(order: Order) -> Option<Pfn> {
        Some(World::current().alloc_frames(order))
    }

    fn free_frames(pfn: Pfn, order: Order) {
        World::current().free_frames(pfn, order);
    }

    fn zero_page() -> Pfn {
        // The frame that is never handed out.
        Pfn(0)
    }

    fn huge_zero_page() -> Option<Pfn> {
        World::current().huge_zero_page
    }

    fn frame(pfn: Pfn) -> &'static Frame<Self> {
        World::current().frame(pfn)
    }

    fn entry(table: Pfn, index: usize) -> &'static Self::Word {
        World::current().entry(table, index)
    }

    fn copy_page(to: Pfn, from: Pfn) {
        let world = World::current();
        if world.is_bad(from) {
            violation::fail(
                Kind::MachineCheck,
                format!("the content of frame {} cannot be read", from.0),
            );
        }
        explore::label(|| format!("copy_page: read frame {}", from.0));
        let value = world.content(from).read_once();
        explore::label(|| format!("copy_page: write {value} to frame {}", to.0));
        world.content(to).write_once(value);
    }

    fn copy_mc_page(to: Pfn, from: Pfn) -> bool {
        let good = !World::current().is_bad(from);
        if good {
            Self::copy_page(to, from);
        }
        good
    }

    fn clear_page(pfn: Pfn) {
        explore::label(|| format!("clear_page frame {}", pfn.0));
        World::current().content(pfn).write_once(0);
    }

    fn is_cleared(pfn: Pfn) -> bool {
        explore::label(|| format!("pages_identical: read frame {}", pfn.0));
        World::current().content(pfn).read_once() == 0
    }

    fn swap_slots() -> u64 {
        SWAP_SLOTS as u64
    }

    fn swap_slot(slot: u64) -> &'static SwapSlot<Self> {
        &World::current().swap_slot(slot).meta
    }

    fn swap_out(slot: u64, from: Pfn) {
        let world = World::current();
        explore::label(|| format!("swap_out: read frame {}", from.0));
        let value = world.content(from).read_once();
        explore::label(|| format!("swap_out: write {value} to slot {slot}"));
        world.swap_slot(slot).content.write_once(value);
    }

    fn swap_in(slot: u64, to: Pfn) {
        let world = World::current();
        explore::label(|| format!("swap_in: read slot {slot}"));
        let value = world.swap_slot(slot).content.read_once();
        explore::label(|| format!("swap_in: write {value} to frame {}", to.0));
        world.content(to).write_once(value);
    }

    fn rcu_read_lock() {
        explore::rcu::read_lock();
    }

    fn rcu_read_unlock() {
        explore::rcu::read_unlock();
    }

    fn call_rcu(callback: impl FnOnce() + Send + 'static) {
        if explore::is_quiet() {
            // Nobody else runs: there is nobody to wait for.
            callback();
            return;
        }
        explore::label(|| "call_rcu".into());
        // SAFETY: callbacks of the engine own only copies of frame numbers and references.
        let thread = unsafe { explore::rcu::call_forgettable(callback) };
        World::current().note_callback(thread);
    }

    fn irq_save() {
        // A grace period waits for a CPU that has its interrupts off.
        explore::rcu::read_lock();
        if let Some(cpu) = World::current().current_cpu() {
            explore::label(|| "local_irq_save".into());
            cpu.interrupts.disable();
        }
    }

    fn irq_restore() {
        if let Some(cpu) = World::current().current_cpu() {
            explore::label(|| "local_irq_restore".into());
            cpu.interrupts.enable();
        }
        explore::rcu::read_unlock();
    }

    fn sync_walkers() {
        cpu::sync_walkers();
    }

    fn flush_tlb(mm: Ref<Self, Mm<Self>>, range: AddrRange, kind: FlushKind) {
        order::note(order::Note::Flush(mm.id));
        cpu::flush_cpus(mm.id, range, kind);
    }

    fn flush_secondary_tlb(mm: Ref<Self, Mm<Self>>, range: AddrRange, kind: FlushKind) {
        cpu::flush_devices(mm.id, range, kind);
    }

    fn kick_vcpus(mm: Ref<Self, Mm<Self>>) {
        cpu::kick_vcpus(mm.id);
    }

    #[track_caller]
    fn smp_mb() {
        let order = site::order(Asked::FullBarrier);
        if order != Ordering::Relaxed {
            explore::sync::atomic::fence(order);
        }
    }

    fn cpu_relax() {
        explore::hint::relax();
    }

    #[inline]
    fn step(step: Step) {
        explore::label(|| names::describe(step));
    }

    fn observe(fact: Fact) {
        order::note_fact(fact);
        World::current().observe(fact);
    }
}
