//! Frames that are used again.
//!
//! As a rule no frame is used twice in an execution, so that a late use is told from a new one. A scenario that says
//! `reuse frames` asks what becomes of uses that are late and yet right: whoever tries to get a reference to a page that has
//! become another one. There the frame that was freed last is the first to be handed out again, holding what it held.
//!
//! The list has a lock, as that of any kernel: what was done with a frame before it was freed has happened before it is handed
//! out again.

use std::cell::Cell;

use pagefold::addr::Pfn;
use pagefold::lock_order::LockClass;
use pagefold_explore as explore;

use super::world::FRAMES;

/// Taken under any other lock.
static CLASS: explore::LockClass =
    explore::LockClass::spin("free list").ranked(LockClass::ALL.len() as u32);

/// Single frames that were freed.
#[derive(Debug)]
pub(crate) struct FreeList {
    lock: explore::sync::RawLock,
    frames: [Cell<Pfn>; FRAMES],
    count: Cell<usize>,
}

impl FreeList {
    pub(crate) fn new() -> Self {
        Self {
            lock: explore::sync::RawLock::new(&CLASS),
            frames: std::array::from_fn(|_| Cell::new(Pfn(0))),
            count: Cell::new(0),
        }
    }

    pub(crate) fn push(&self, pfn: Pfn) {
        self.lock.lock();
        self.frames[self.count.get()].set(pfn);
        self.count.set(self.count.get() + 1);
        self.lock.unlock();
    }

    pub(crate) fn pop(&self) -> Option<Pfn> {
        self.lock.lock();
        let left = self.count.get().checked_sub(1);
        let pfn = left.map(|left| {
            self.count.set(left);
            self.frames[left].get()
        });
        self.lock.unlock();
        pfn
    }
}
