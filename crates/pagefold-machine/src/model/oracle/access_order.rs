//! In which order a page is loaded and stored to, though it is in different frames.
//!
//! What a load should give depends on the stores to the page that came before it. Where both go to one frame they conflict there, and
//! the search tries both orders. But a load by an old translation and a store to the frame that took its place have no memory
//! in common: to the search they commute, and it would look at one order only, which need not be the one that breaks.
//!
//! So each load is preceded by an event, and each store followed by one, that conflict. If the store's comes first, the store has
//! come before the load in every order of execution that is the same to the search. And if a load can come after a store at all, its event
//! can: nothing else lies between the two.
//!
//! The same goes for a store and the step of fork that gives a page to the child: what the child's page should hold is what the parent's
//! held at that step, which the books copy, and the engine reads nothing of it. So that step reads the frame. And for a store and the step from
//! which on a page is in another frame: a store to the old one before that is lost if the page was copied before, and one after that was none to the page.
//!
//! What a load may give also depends on whether caches still reach the page ([`Forgotten`](pagefold::accounting::Fact::Forgotten)).
//! That needs no event: the flush before it has waited for the end of each CPU's access, and where the flush is left out, what stayed in a
//! cache is found at the end.
//!
//! The page of an object has one such place, with all its private copies; a page without an object has one for its address.
//!
//! Under a weak memory model no load has to give the newest value, so there are no such events.

use std::array;

use pagefold::addr::{Pfn, VirtAddr};
use pagefold::platform::Word;
use pagefold_explore as explore;
use pagefold_litmus::Memory;

use super::{MMS, OBJECT_PAGES, OBJECTS};
use crate::model::word::ModelWord;
use crate::model::world::{VIRT_PAGES, World};

/// What the accesses to each page conflict at.
pub(crate) struct AccessOrder {
    objects: [[ModelWord; OBJECT_PAGES]; OBJECTS],
    pages: [[ModelWord; VIRT_PAGES]; MMS],
}

impl AccessOrder {
    pub(crate) fn new() -> Self {
        let word = || ModelWord::new(0);
        Self {
            objects: array::from_fn(|_| array::from_fn(|_| word())),
            pages: array::from_fn(|_| array::from_fn(|_| word())),
        }
    }
}

impl World {
    /// The next step is to load what the page at an address holds.
    pub(crate) fn before_load(&self, mm: u32, addr: VirtAddr) {
        if self.memory == Memory::Sc {
            explore::label(|| "a load comes".into());
            self.order_of_page(mm, addr).read_once();
        }
    }

    /// The last step was a store to the page at an address.
    pub(crate) fn after_store(&self, mm: u32, addr: VirtAddr) {
        if self.memory == Memory::Sc {
            explore::label(|| "it is stored".into());
            self.order_of_page(mm, addr).write_once(0);
        }
    }

    /// The last step was a write to the page of a file.
    pub(crate) fn after_write(&self, object: usize, index: usize) {
        if self.memory == Memory::Sc {
            explore::label(|| "it is written".into());
            self.access_order.objects[object][index].write_once(0);
        }
    }

    /// Next, the books of a child get what those of its parent say of the page in a frame.
    pub(super) fn before_fork_of_page(&self, pfn: Pfn) {
        if self.memory == Memory::Sc {
            explore::label(|| format!("the child has what frame {} holds", pfn.0));
            self.content(pfn).read_once();
        }
    }

    /// Next, a frame is not that of the page any more that it held: who stores to it comes too late.
    pub(super) fn before_migration_of_page(&self, from: Pfn) {
        if self.memory == Memory::Sc {
            explore::label(|| format!("the page in frame {} has moved", from.0));
            self.content(from).read_once();
        }
    }

    fn order_of_page(&self, mm: u32, addr: VirtAddr) -> &ModelWord {
        match self.books.backing(mm, addr) {
            Some(page) => &self.access_order.objects[page.object][page.index],
            None => &self.access_order.pages[mm as usize][addr.page() as usize],
        }
    }
}
