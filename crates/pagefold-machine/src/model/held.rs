//! Pages that programs hold from one call to another: what vmsplice put into a pipe, fixed buffers, memory of devices.
//!
//! Each address has room for one. Who uses what is there takes it out meanwhile, so that nobody else gives it back under it.

use pagefold::addr::{Pfn, VirtAddr};
use pagefold::gup;
use pagefold::platform::Word;
use pagefold_explore as explore;
use pagefold_litmus::Hold;

use super::oracle::MMS;
use super::word::ModelWord;
use super::world::{VIRT_PAGES, World};
use super::{Model, names};

/// What is held by each address of each address space.
pub(crate) struct HeldPages([[ModelWord; VIRT_PAGES]; MMS]);

impl HeldPages {
    /// Nothing.
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| {
            std::array::from_fn(|_| ModelWord::new(0))
        }))
    }

    /// Puts something in the place of what is held by an address, and gives that.
    pub(crate) fn swap(&self, mm: u32, addr: VirtAddr, held: Option<Held>) -> Option<Held> {
        explore::label(|| format!("what is held by {}", names::page(mm, addr)));
        let place = &self.0[mm as usize][addr.page() as usize];
        Held::from_bits(place.xchg_relaxed(held.map_or(0, Held::bits)))
    }

    /// Lets everything go: it is over.
    pub(crate) fn let_all_go(&self) {
        for (mm, pages) in self.0.iter().enumerate() {
            for (page, place) in pages.iter().enumerate() {
                if place.peek() != 0
                    && let Some(held) = self.swap(mm as u32, VirtAddr::of_page(page as u64), None)
                {
                    held.let_go(mm as u32, VirtAddr::of_page(page as u64));
                }
            }
        }
    }
}

/// A page that is held.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) pfn: Pfn,
    pub(crate) how: Hold,
}

impl Held {
    fn bits(self) -> u64 {
        let how = match self.how {
            Hold::Reference => 1,
            Hold::ReadPin => 2,
            Hold::WritePin => 3,
        };
        self.pfn.0 << 2 | how
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let how = match bits & 3 {
            1 => Hold::Reference,
            2 => Hold::ReadPin,
            3 => Hold::WritePin,
            _ => return None,
        };
        let pfn = Pfn(bits >> 2);
        Some(Self { pfn, how })
    }

    /// Ends it. The caller has taken it out of its place.
    pub(crate) fn let_go(self, mm: u32, addr: VirtAddr) {
        match self.how {
            Hold::Reference => gup::put_user_page::<Model>(self.pfn),
            Hold::ReadPin => gup::unpin_user_page::<Model>(self.pfn),
            Hold::WritePin => gup::unpin_user_page_dirty::<Model>(self.pfn),
        }
        World::current().books.note_pin(mm, addr, None);
    }
}
