//! The memory of the machine: frames from the operating system, and their metadata (Linux: `vmemmap`).

use std::sync::OnceLock;

use pagefold::addr::{PAGE_SIZE, Pfn};
use pagefold::frame::Frame;
use pagefold::protocol::Protocol;
use pagefold::swap::SwapSlot;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::frames::FrameAllocator;
use super::word::HostWord;
use super::{Host, PTRS_PER_TABLE};

/// Words in a frame.
pub const WORDS_PER_PAGE: usize = PAGE_SIZE as usize / size_of::<HostWord>();

/// The content of a frame: a page of a process, a page table, a node of a page cache.
pub type Page = [HostWord; WORDS_PER_PAGE];

const _: () = assert!(WORDS_PER_PAGE == PTRS_PER_TABLE);
const _: () = assert!(size_of::<Page>() == PAGE_SIZE as usize);

/// What a machine is like.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many frames it has, rounded up to whole huge pages.
    pub frames: usize,
    /// How many pages there is room for outside of the frames.
    pub swap_slots: usize,
    /// Which version of the rules it follows; all safeguards are there.
    pub protocol: Protocol,
}

impl Default for Setup {
    /// 512 MiB, and 16 MiB of swap.
    fn default() -> Self {
        Self {
            frames: 128 * 1024,
            swap_slots: 4096,
            protocol: Protocol::DEFAULT,
        }
    }
}

/// Frames with their metadata, and who has which; what is moved out of them.
pub(super) struct Memory {
    pages: &'static [Page],
    frames: &'static [Frame<Host>],
    pub(super) allocator: FrameAllocator,
    /// Behind all others, and nobody's.
    pub(super) huge_zero_page: Pfn,
    pub(super) swap_pages: &'static [Page],
    pub(super) swap_slots: &'static [SwapSlot<Host>],
    pub(super) protocol: Protocol,
}

static MEMORY: OnceLock<Memory> = OnceLock::new();

impl Memory {
    /// The memory of the machine.
    #[inline(always)]
    pub(super) fn get() -> &'static Self {
        match MEMORY.get() {
            Some(memory) => memory,
            None => Self::get_default(),
        }
    }

    #[cold]
    fn get_default() -> &'static Self {
        MEMORY.get_or_init(|| Self::map(Setup::default()))
    }

    /// Makes the memory of the machine, unless it exists. Whether it did.
    pub(super) fn init(setup: Setup) -> bool {
        let mut made = false;
        MEMORY.get_or_init(|| {
            made = true;
            Self::map(setup)
        });
        made
    }

    fn map(setup: Setup) -> Self {
        let count = setup.frames.next_multiple_of(PTRS_PER_TABLE);
        let pages = map_pages(count + PTRS_PER_TABLE);
        let frames: Vec<_> = (0..count).map(|_| Frame::new()).collect();
        let swap_slots: Vec<_> = (0..setup.swap_slots).map(|_| SwapSlot::new()).collect();
        Self {
            pages,
            frames: frames.leak(),
            allocator: FrameAllocator::new(count),
            huge_zero_page: Pfn(count as u64),
            swap_pages: map_pages(setup.swap_slots),
            swap_slots: swap_slots.leak(),
            protocol: setup.protocol,
        }
    }

    /// The metadata of a frame.
    #[inline(always)]
    pub(super) fn frame(&self, pfn: Pfn) -> &'static Frame<Host> {
        &self.frames[pfn.0 as usize]
    }

    /// The content of a frame.
    #[inline(always)]
    pub(super) fn page(&self, pfn: Pfn) -> &'static Page {
        &self.pages[pfn.0 as usize]
    }
}

/// Zeroed pages, of which the first begins at a multiple of a huge page of the hardware, so that the copies that collapse
/// makes can have the page size that they would have in a kernel.
///
/// # Panics
/// If there is no address space for them. Memory itself is taken when a page is first used.
fn map_pages(count: usize) -> &'static [Page] {
    let huge = PTRS_PER_TABLE * size_of::<Page>();
    let bytes = count * size_of::<Page>() + huge;
    // SAFETY: the kernel chooses the address, so that nothing else is mapped over.
    let start = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    let start = start.expect("there is address space for the frames");
    let first = start.map_addr(|addr| addr.next_multiple_of(huge)).cast();
    // SAFETY: `count` pages from `first` on lie in the mapping, which is `huge` bytes longer than that and is never
    // unmapped; `first` is aligned; a page is made of 64-bit atomics, for which all zeros, what the mapping holds, is a
    // value; nobody has a reference to it but through this slice.
    unsafe { std::slice::from_raw_parts(first, count) }
}
