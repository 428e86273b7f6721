//! Who has which frame.
//!
//! Frames are kept in blocks of a huge page each. A huge allocation takes a block that is free as a whole; small ones come from
//! blocks that are broken already, as long as there are any, so that few blocks are broken. A block whose frames
//! have all come back is whole again.
//!
//! All of this is under one lock, which is taken once for many small frames: each thread keeps some in a
//! [`Magazine`]. These are free, but their block is not whole; so a thread that finds no whole block gives its magazine
//! back and looks again.

use pagefold::addr::Pfn;
use pagefold::platform::Order;
use parking_lot::Mutex;

use super::PTRS_PER_TABLE;

/// Small frames that go from and to the pool at once.
const BATCH: usize = 64;

/// Free small frames that one thread keeps.
pub(super) struct Magazine(Vec<u32>);

impl Magazine {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(2 * BATCH))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The frames of the machine.
pub(super) struct FrameAllocator {
    pool: Mutex<Pool>,
    frames: usize,
}

impl FrameAllocator {
    /// All frames are free but frame 0, which nobody gets. `frames` is a multiple of a block's.
    pub(super) fn new(frames: usize) -> Self {
        Self {
            pool: Mutex::new(Pool::new(frames)),
            frames,
        }
    }

    /// Takes frames, small ones by way of the magazine.
    pub(super) fn alloc(&self, order: Order, magazine: &mut Magazine) -> Option<Pfn> {
        let first = match order {
            Order::Small => {
                if magazine.0.is_empty() {
                    self.refill(magazine);
                }
                magazine.0.pop()
            }
            Order::Huge => self.alloc_block().or_else(|| {
                self.drain(magazine, 0);
                self.alloc_block()
            }),
        };
        first.map(|first| Pfn(first.into()))
    }

    /// Gives frames back, small ones by way of the magazine.
    pub(super) fn free(&self, first: Pfn, order: Order, magazine: &mut Magazine) {
        match order {
            Order::Small => {
                if magazine.len() == 2 * BATCH {
                    self.drain(magazine, BATCH);
                }
                magazine.0.push(number(first));
            }
            Order::Huge => self.free_without_magazine(first, order),
        }
    }

    /// Gives frames back.
    pub(super) fn free_without_magazine(&self, first: Pfn, order: Order) {
        let mut pool = self.pool.lock();
        match order {
            Order::Small => pool.put(number(first)),
            Order::Huge => pool.put_block(number(first)),
        }
    }

    /// Gives frames of a magazine back, until `keep` are left.
    pub(super) fn drain(&self, magazine: &mut Magazine, keep: usize) {
        if magazine.len() > keep {
            let mut pool = self.pool.lock();
            for frame in magazine.0.drain(keep..) {
                pool.put(frame);
            }
        }
    }

    /// Frames that are not in the pool: somebody's, or in a magazine.
    pub(super) fn taken(&self) -> usize {
        self.frames - 1 - self.pool.lock().free
    }

    fn alloc_block(&self) -> Option<u32> {
        self.pool.lock().take_block()
    }

    fn refill(&self, magazine: &mut Magazine) {
        let mut pool = self.pool.lock();
        // A block is broken for the first frame only, not for stock.
        while magazine.len() < BATCH
            && (magazine.0.is_empty() || !pool.broken.is_empty())
            && let Some(frame) = pool.take()
        {
            magazine.0.push(frame);
        }
    }
}

fn number(pfn: Pfn) -> u32 {
    u32::try_from(pfn.0).expect("frames are numbered by 32 bits")
}

/// The end of a list of frames.
const END: u32 = u32::MAX;

/// A block that is not whole.
#[derive(Clone, Copy)]
struct Block {
    /// How many of its frames are free.
    free: u32,
    /// The first of them.
    first: u32,
    /// Its place in [`Pool::broken`], if any is free.
    place: u32,
}

struct Pool {
    blocks: Box<[Block]>,
    /// For each free frame of a broken block, the next one of the same block.
    next: Box<[u32]>,
    /// Blocks that are free as a whole.
    whole: Vec<u32>,
    /// Blocks of which some frames are free.
    broken: Vec<u32>,
    /// Free frames.
    free: usize,
}

impl Pool {
    fn new(frames: usize) -> Self {
        assert!(
            frames.is_multiple_of(PTRS_PER_TABLE) && u32::try_from(frames).is_ok(),
            "frames come in blocks and are numbered by 32 bits"
        );
        let blocks = frames / PTRS_PER_TABLE;
        let empty = Block {
            free: 0,
            first: END,
            place: 0,
        };
        let mut pool = Self {
            blocks: vec![empty; blocks].into(),
            next: vec![END; frames].into(),
            // The lowest is taken first.
            whole: (1..blocks as u32).rev().collect(),
            broken: Vec::new(),
            free: frames.saturating_sub(PTRS_PER_TABLE),
        };
        // Without frame 0, the first block is never whole.
        for frame in (1..PTRS_PER_TABLE.min(frames)).rev() {
            pool.put(frame as u32);
        }
        pool
    }

    fn block_of(frame: u32) -> usize {
        frame as usize / PTRS_PER_TABLE
    }

    /// Takes one frame.
    fn take(&mut self) -> Option<u32> {
        if self.broken.is_empty() {
            self.break_block()?;
        }
        let number = *self.broken.last()?;
        let block = &mut self.blocks[number as usize];
        let frame = block.first;
        block.first = self.next[frame as usize];
        block.free -= 1;
        self.free -= 1;
        if block.free == 0 {
            self.broken.pop();
        }
        Some(frame)
    }

    /// Gives one frame back.
    fn put(&mut self, frame: u32) {
        let number = Self::block_of(frame);
        let free = self.link(frame);
        if free == 1 {
            self.blocks[number].place = self.broken.len() as u32;
            self.broken.push(number as u32);
        } else if free == PTRS_PER_TABLE {
            self.mend_block(number);
        }
    }

    /// Adds a frame to the free ones of its block. How many there are then.
    fn link(&mut self, frame: u32) -> usize {
        let block = &mut self.blocks[Self::block_of(frame)];
        self.next[frame as usize] = block.first;
        block.first = frame;
        block.free += 1;
        self.free += 1;
        block.free as usize
    }

    /// Takes a whole block; the result is its first frame.
    fn take_block(&mut self) -> Option<u32> {
        let number = self.whole.pop()?;
        self.free -= PTRS_PER_TABLE;
        Some(number * PTRS_PER_TABLE as u32)
    }

    /// Gives a block back that was taken as a whole.
    fn put_block(&mut self, first: u32) {
        self.whole.push(Self::block_of(first) as u32);
        self.free += PTRS_PER_TABLE;
    }

    /// Makes a whole block one of single frames.
    fn break_block(&mut self) -> Option<()> {
        let first = self.take_block()?;
        for frame in (first..first + PTRS_PER_TABLE as u32).rev() {
            self.link(frame);
        }
        let number = Self::block_of(first);
        self.blocks[number].place = self.broken.len() as u32;
        self.broken.push(number as u32);
        Some(())
    }

    /// Makes a block whole, all of whose frames are free.
    fn mend_block(&mut self, number: usize) {
        let place = self.blocks[number].place;
        self.broken.swap_remove(place as usize);
        if let Some(&moved) = self.broken.get(place as usize) {
            self.blocks[moved as usize].place = place;
        }
        self.blocks[number].free = 0;
        self.blocks[number].first = END;
        self.whole.push(number as u32);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const BLOCK: usize = PTRS_PER_TABLE;

    #[test]
    fn each_frame_but_the_first_is_handed_out_once_and_then_none() {
        let allocator = FrameAllocator::new(3 * BLOCK);
        let mut magazine = Magazine::new();
        let mut seen = HashSet::new();
        while let Some(pfn) = allocator.alloc(Order::Small, &mut magazine) {
            assert!(pfn.0 > 0 && pfn.0 < 3 * BLOCK as u64);
            assert!(seen.insert(pfn), "{pfn:?} was handed out twice");
        }
        assert_eq!(seen.len(), 3 * BLOCK - 1);
        assert_eq!(allocator.taken(), seen.len());
        assert_eq!(allocator.alloc(Order::Huge, &mut magazine), None);
        for pfn in seen {
            allocator.free(pfn, Order::Small, &mut magazine);
        }
        assert_eq!(allocator.taken(), magazine.len());
        allocator.drain(&mut magazine, 0);
        assert_eq!(allocator.taken(), 0);
    }

    #[test]
    fn small_frames_that_came_back_make_huge_ones_again() {
        let allocator = FrameAllocator::new(4 * BLOCK);
        let mut magazine = Magazine::new();
        for _ in 0..3 {
            let smalls: Vec<_> =
                std::iter::from_fn(|| allocator.alloc(Order::Small, &mut magazine)).collect();
            // In an order that leaves every block broken until the end.
            for step in 0..7 {
                for pfn in smalls.iter().skip(step).step_by(7) {
                    allocator.free(*pfn, Order::Small, &mut magazine);
                }
            }
            let huge: Vec<_> =
                std::iter::from_fn(|| allocator.alloc(Order::Huge, &mut magazine)).collect();
            assert_eq!(huge.len(), 3);
            for pfn in huge {
                assert_eq!(pfn.0 % BLOCK as u64, 0);
                allocator.free(pfn, Order::Huge, &mut magazine);
            }
        }
        allocator.drain(&mut magazine, 0);
        assert_eq!(allocator.taken(), 0);
    }

    #[test]
    fn small_frames_come_from_broken_blocks_first() {
        let allocator = FrameAllocator::new(4 * BLOCK);
        let mut magazine = Magazine::new();
        let smalls: Vec<_> = (0..BLOCK - 1)
            .map(|_| allocator.alloc(Order::Small, &mut magazine).unwrap())
            .collect();
        let mut huge = 0;
        while allocator.alloc(Order::Huge, &mut magazine).is_some() {
            huge += 1;
        }
        assert_eq!((smalls.len(), huge), (BLOCK - 1, 3));
    }

    #[test]
    fn huge_and_small_frames_do_not_overlap() {
        let allocator = FrameAllocator::new(4 * BLOCK);
        let mut magazine = Magazine::new();
        let huge = allocator.alloc(Order::Huge, &mut magazine).unwrap();
        let inside = huge.0..huge.0 + BLOCK as u64;
        let smalls = std::iter::from_fn(|| allocator.alloc(Order::Small, &mut magazine));
        assert!(smalls.into_iter().all(|pfn| !inside.contains(&pfn.0)));
    }
}
