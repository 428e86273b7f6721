//! Who has which frame.
//!
//! Frames are kept in blocks of a huge page each. A huge allocation takes a block that is free as a whole; small ones come from
//! blocks that are broken already, as long as there are any, so that few blocks are broken. A block whose frames
//! have all come back is whole again.
//!
//! All of this is under one lock, which is taken once for many small frames: each thread keeps some
//! ([`Magazine`]). Frames in a magazine are free, but their block is not whole, so a thread that finds no whole block
//! gives its magazine back and looks again.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use pagefold::addr::Pfn;
use pagefold::platform::Order;
use parking_lot::Mutex;

use super::PTRS_PER_TABLE;

/// Small frames that go from and to the pool at once.
const BATCH: usize = 64;

/// The frames that are free, but for those in magazines.
pub(super) struct FrameAllocator {
    pool: Mutex<Pool>,
    frames: usize,
    /// Frames in magazines, added up when a magazine is filled or emptied.
    in_magazines: AtomicUsize,
}

impl FrameAllocator {
    /// All frames but frame 0 are free. `frames` is a multiple of a huge page's.
    pub(super) fn new(frames: usize) -> Self {
        Self {
            pool: Mutex::new(Pool::new(frames)),
            frames,
            in_magazines: AtomicUsize::new(0),
        }
    }

    /// Takes frames, small ones by way of the magazine.
    pub(super) fn alloc(&self, order: Order, magazine: &mut Magazine) -> Option<Pfn> {
        match order {
            Order::Small => {
                if magazine.frames.is_empty() {
                    self.refill(magazine);
                }
                magazine.frames.pop().map(pfn)
            }
            Order::Huge => self.alloc_huge().or_else(|| {
                self.drain(magazine, 0);
                self.alloc_huge()
            }),
        }
    }

    /// Gives frames back, small ones by way of the magazine.
    pub(super) fn free(&self, first: Pfn, order: Order, magazine: &mut Magazine) {
        match order {
            Order::Small => {
                if magazine.frames.len() == 2 * BATCH {
                    self.drain(magazine, BATCH);
                }
                magazine.frames.push(number(first));
            }
            Order::Huge => self.free_direct(first, Order::Huge),
        }
    }

    /// Gives frames back without a magazine.
    pub(super) fn free_direct(&self, first: Pfn, order: Order) {
        let mut pool = self.pool.lock();
        match order {
            Order::Small => pool.put(number(first)),
            Order::Huge => pool.put_block(number(first)),
        }
    }

    /// Gives frames of a magazine back until `keep` are left.
    pub(super) fn drain(&self, magazine: &mut Magazine, keep: usize) {
        if magazine.frames.len() > keep {
            let mut pool = self.pool.lock();
            for frame in magazine.frames.drain(keep..) {
                pool.put(frame);
            }
        }
    }

    /// Frames that somebody has, or that are in a magazine.
    pub(super) fn taken(&self) -> usize {
        // Frame 0 is nobody's.
        self.frames - 1 - self.pool.lock().free
    }

    fn alloc_huge(&self) -> Option<Pfn> {
        self.pool.lock().take_block().map(pfn)
    }

    fn refill(&self, magazine: &mut Magazine) {
        let mut pool = self.pool.lock();
        while magazine.frames.len() < BATCH
            && let Some(frame) = pool.take()
        {
            magazine.frames.push(frame);
        }
    }
}
