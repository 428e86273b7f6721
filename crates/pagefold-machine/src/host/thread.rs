//! What each thread that uses the machine has of its own.

use std::cell::{Cell, RefCell};

use pagefold::addr::Pfn;
use pagefold::platform::Order;

use super::frames::Magazine;
use super::memory::Memory;
use super::rcu;
use super::slot::CpuSlot;

struct ThisThread {
    slot: &'static CpuSlot,
    irq_off: Cell<usize>,
    magazine: RefCell<Magazine>,
}

thread_local! {
    static THIS: ThisThread = ThisThread {
        slot: CpuSlot::claim(),
        irq_off: Cell::new(0),
        magazine: RefCell::new(Magazine::new()),
    };
}

impl ThisThread {
    fn with_magazine<R>(&self, use_magazine: impl FnOnce(&mut Magazine) -> R) -> R {
        let mut magazine = self.magazine.borrow_mut();
        let result = use_magazine(&mut magazine);
        self.slot
            .magazine
            .store(magazine.len(), std::sync::atomic::Ordering::Relaxed);
        result
    }
}

impl Drop for ThisThread {
    fn drop(&mut self) {
        self.with_magazine(|magazine| Memory::get().allocator.drain(magazine, 0));
        self.slot.release();
    }
}

/// The slot of the current thread.
pub(super) fn slot() -> &'static CpuSlot {
    THIS.with(|this| this.slot)
}

/// Turns interrupts off, which is an RCU read section as well.
pub(super) fn irq_save() {
    rcu::read_lock();
    THIS.with(|this| {
        if this.irq_off.get() == 0 {
            this.slot.enter_irq_off();
        }
        this.irq_off.set(this.irq_off.get() + 1);
    });
}

/// Turns interrupts on again.
pub(super) fn irq_restore() {
    THIS.with(|this| {
        this.irq_off.set(this.irq_off.get() - 1);
        if this.irq_off.get() == 0 {
            this.slot.leave();
        }
    });
    rcu::read_unlock();
}

/// Takes frames. If there are none, those are waited for a little that RCU callbacks have yet to free.
pub(super) fn alloc_frames(order: Order) -> Option<Pfn> {
    let alloc = || {
        THIS.with(|this| {
            this.with_magazine(|magazine| Memory::get().allocator.alloc(order, magazine))
        })
    };
    // A callback is due two epochs after it was queued, and each collection can begin one.
    const EPOCHS: usize = 3;
    alloc().or_else(|| {
        (0..EPOCHS).find_map(|_| {
            rcu::collect();
            alloc()
        })
    })
}

/// Gives frames back. RCU callbacks come here from a thread that is ending, too, which has no magazine any more.
pub(super) fn free_frames(pfn: Pfn, order: Order) {
    let allocator = &Memory::get().allocator;
    let kept = THIS.try_with(|this| {
        this.with_magazine(|magazine| allocator.free(pfn, order, magazine));
    });
    if kept.is_err() {
        allocator.free_without_magazine(pfn, order);
    }
}
