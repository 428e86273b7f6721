//! What should be: the content of pages of objects and of private copies, protections, poison, guards, holes that were seen.

use std::array;
use std::cell::Cell;

use pagefold::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use pagefold::mprotect::Protection;
use pagefold_litmus::Memory;

use super::{MMS, OBJECT_PAGES, OBJECTS};
use crate::model::content::Contents;
use crate::model::names;
use crate::model::violation::{Kind, fail};
use crate::model::world::{FRAMES, VIRT_PAGES, World};

/// What a page of an address space is a mapping of.
#[derive(Clone, Copy)]
pub(crate) struct Backing {
    pub(crate) object: usize,
    pub(crate) index: usize,
    pub(crate) shared: bool,
}

/// How a store reached a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// By a translation of its address.
    Translation,
    /// Through a pin: the page may have been taken from the address space meanwhile.
    Pin,
}

/// A private copy of a page.
#[derive(Clone, Copy)]
pub(super) struct PrivateCopy {
    pub(super) pfn: Pfn,
    pub(super) contents: Contents,
}

/// A page that fork gave to a child.
#[derive(Clone, Copy)]
pub(super) struct ForkedPage {
    pub(super) parent: u32,
    /// What it held when its entry was copied.
    pub(super) contents: Contents,
}

/// What is known of one page of an address space.
pub(super) struct PageBook {
    pub(super) backing: Cell<Option<Backing>>,
    /// The private copy, if there is one.
    pub(super) private: Cell<Option<PrivateCopy>>,
    /// A private copy that is being discarded: it can still be used through translation caches until they are flushed.
    pub(super) fading: Cell<Option<PrivateCopy>>,
    /// The private page came by fork, and was not copied since.
    pub(super) forked: Cell<Option<ForkedPage>>,
    /// A frame that is not the process's own, whose entry was emptied: it, too, can still be used through translation caches.
    pub(super) unmapped: Cell<Option<Pfn>>,
    /// The frame that somebody has pinned by this address, to read it.
    pub(super) pinned: Cell<Option<Pfn>>,
    /// What the process may do there.
    pub(super) permitted: Cell<Protection>,
    pub(super) protected: Cell<bool>,
    pub(super) poisoned: Cell<bool>,
    pub(super) guarded: Cell<bool>,
    /// The process saw a hole there while it was registered MISSING.
    pub(super) hole_seen: Cell<bool>,
}

impl PageBook {
    pub(super) fn discard(&self) {
        if let Some(copy) = self.private.take() {
            self.fading.set(Some(copy));
        }
    }
}

/// What should be.
pub(crate) struct Books {
    pub(super) objects: [[Cell<Contents>; OBJECT_PAGES]; OBJECTS],
    /// Pages of objects that were stored to since they were last clean.
    pub(super) written: [[Cell<bool>; OBJECT_PAGES]; OBJECTS],
    /// Pages of objects that were holes and are none any more, without an event.
    pub(super) holes_filled: [[Cell<bool>; OBJECT_PAGES]; OBJECTS],
    pub(super) pages: [[PageBook; VIRT_PAGES]; MMS],
    /// Mappings of each frame as a private page and as a page of an object.
    pub(super) anon_maps: [Cell<i32>; FRAMES],
    pub(super) shmem_maps: [Cell<i32>; FRAMES],
    /// Frames whose page was given up by its object: who has one pinned keeps it, and nothing is known of its content.
    pub(super) gone: [Cell<bool>; FRAMES],
    /// Something was lost that is documented to get lost.
    pub(crate) exception: Cell<Option<Kind>>,
}

impl Books {
    pub(crate) fn new() -> Self {
        Self {
            objects: array::from_fn(|_| array::from_fn(|_| Cell::new(Contents::of(0)))),
            written: array::from_fn(|_| array::from_fn(|_| Cell::new(false))),
            holes_filled: array::from_fn(|_| array::from_fn(|_| Cell::new(false))),
            pages: array::from_fn(|_| {
                array::from_fn(|_| PageBook {
                    backing: Cell::new(None),
                    private: Cell::new(None),
                    fading: Cell::new(None),
                    forked: Cell::new(None),
                    unmapped: Cell::new(None),
                    pinned: Cell::new(None),
                    permitted: Cell::new(Protection::None),
                    protected: Cell::new(false),
                    poisoned: Cell::new(false),
                    guarded: Cell::new(false),
                    hole_seen: Cell::new(false),
                })
            }),
            anon_maps: array::from_fn(|_| Cell::new(0)),
            shmem_maps: array::from_fn(|_| Cell::new(0)),
            gone: array::from_fn(|_| Cell::new(false)),
            exception: Cell::new(None),
        }
    }

    /// A frame begins a new life.
    pub(crate) fn begin_frame(&self, pfn: Pfn) {
        self.gone[pfn.0 as usize].set(false);
        for page in self.pages.as_flattened() {
            if page.unmapped.get() == Some(pfn) {
                page.unmapped.set(None);
            }
        }
    }

    /// Whether the object that the page in the frame belonged to has given it up.
    pub(crate) fn is_gone(&self, pfn: Pfn) -> bool {
        self.gone[pfn.0 as usize].get()
    }

    /// A page of an object was given up, or cleared.
    pub(super) fn empty(&self, object: u32, index: PageIndex) {
        let place = &self.objects[object as usize][index.0 as usize];
        let mut contents = place.get();
        contents.store(0, None);
        place.set(contents);
    }

    pub(super) fn page(&self, mm: u32, addr: VirtAddr) -> &PageBook {
        &self.pages[mm as usize][addr.page() as usize]
    }

    /// The private page at an address is in this frame now.
    pub(super) fn put_private(&self, mm: u32, addr: VirtAddr, pfn: Pfn) {
        let page = self.page(mm, addr);
        if let Some(copy) = page.private.get() {
            page.private.set(Some(PrivateCopy { pfn, ..copy }));
        }
    }

    /// The page of an object that is mapped at an address.
    pub(super) fn backing(&self, mm: u32, addr: VirtAddr) -> Option<Backing> {
        self.page(mm, addr).backing.get()
    }

    /// Says what a page of an address space maps, or will map once it is mapped.
    pub(crate) fn set_backing(&self, mm: u32, addr: VirtAddr, backing: Backing) {
        self.page(mm, addr).backing.set(Some(backing));
    }

    /// The first content of a page of an object.
    pub(crate) fn set_content(&self, object: usize, index: usize, value: u64) {
        self.objects[object][index].set(Contents::of(value));
    }

    /// Whether a load from `pfn` may give `value`: what the page holds; or what that frame held for it, if it is being unmapped. Until who
    /// unmaps has flushed, another thread may have a new page there already, and write it. `cpu` is who loads if it may see old
    /// values.
    fn is_possible(
        &self,
        mm: u32,
        addr: VirtAddr,
        pfn: Pfn,
        value: u64,
        cpu: Option<usize>,
    ) -> bool {
        let may_be = |contents: &mut Contents| match cpu {
            Some(cpu) => contents.load_weak(value, cpu),
            None => contents.last() == value,
        };
        let may_be_copy = |place: &Cell<Option<PrivateCopy>>| {
            place.get().map(|mut copy| {
                let possible = may_be(&mut copy.contents);
                place.set(Some(copy));
                possible
            })
        };
        let page = self.page(mm, addr);
        let may_be_shared = || {
            let Some(backing) = page.backing.get() else {
                return value == 0;
            };
            let place = &self.objects[backing.object][backing.index];
            let mut contents = place.get();
            let possible = may_be(&mut contents);
            place.set(contents);
            possible
        };
        let current = may_be_copy(&page.private).unwrap_or_else(may_be_shared);
        let is_fading = page.fading.get().is_some_and(|copy| copy.pfn == pfn);
        let is_unmapped = page.unmapped.get() == Some(pfn);
        current
            || is_fading && may_be_copy(&page.fading) == Some(true)
            || is_unmapped && may_be_shared()
    }

    fn expected(&self, mm: u32, addr: VirtAddr) -> u64 {
        let page = self.page(mm, addr);
        match (page.private.get(), page.backing.get()) {
            (Some(copy), _) => copy.contents.last(),
            (None, Some(backing)) => self.objects[backing.object][backing.index].get().last(),
            (None, None) => 0,
        }
    }

    /// A load from `pfn` gave `value`.
    pub(crate) fn check_load(&self, mm: u32, addr: VirtAddr, pfn: Pfn, value: u64) {
        let world = World::current();
        let cpu = match world.memory {
            Memory::Sc => None,
            Memory::Tso | Memory::Ra => world.current_cpu().map(|cpu| cpu.number),
        };
        if !self.is_possible(mm, addr, pfn, value, cpu) {
            let expected = self.expected(mm, addr);
            fail(
                Kind::Content,
                format!(
                    "{} reads {value}, but holds {expected}",
                    names::page(mm, addr)
                ),
            );
        }
    }

    /// The page at an address is pinned in a frame for reading, or not any more.
    pub(crate) fn note_pin(&self, mm: u32, addr: VirtAddr, pfn: Option<Pfn>) {
        self.page(mm, addr).pinned.set(pfn);
    }

    /// A load through a pin of `pfn` gave `value`. The page may have been discarded from the address space meanwhile: then
    /// the pin keeps it, and nothing is known of its content.
    pub(crate) fn check_pinned_load(&self, mm: u32, addr: VirtAddr, pfn: Pfn, value: u64) {
        if self.is_gone(pfn) {
            return;
        }
        let page = self.page(mm, addr);
        let is_shared = page.backing.get().is_some_and(|backing| backing.shared);
        let is_current = page.private.get().is_some_and(|copy| copy.pfn == pfn);
        if is_shared || is_current {
            self.check_load(mm, addr, pfn, value);
        }
    }

    /// A store of `value` to `pfn` went through.
    pub(crate) fn note_store(
        &self,
        mm: u32,
        addr: VirtAddr,
        pfn: Pfn,
        value: u64,
        through: Through,
    ) {
        if through == Through::Pin && self.is_gone(pfn) {
            return;
        }
        let page = self.page(mm, addr);
        let cpu = World::current().current_cpu().map(|cpu| cpu.number);
        if let Some(backing) = page.backing.get().filter(|backing| backing.shared) {
            self.note_object_store(backing.object, backing.index, value, cpu);
            self.written[backing.object][backing.index].set(true);
            return;
        }
        // One that goes to the copy that is being discarded is not one to what took its place. Any other store by address is one to the
        // private page, whichever frame it was led to.
        let is_fading = page.fading.get().is_some_and(|copy| copy.pfn == pfn);
        let by_address = through == Through::Translation && !is_fading;
        for (place, is_meant) in [(&page.private, by_address), (&page.fading, false)] {
            if let Some(mut copy) = place.get().filter(|copy| copy.pfn == pfn || is_meant) {
                copy.contents.store(value, cpu);
                place.set(Some(copy));
            }
        }
        // A page that is moving is at two addresses for a while.
        let others = self.pages[mm as usize].iter();
        for other in others.filter(|other| !std::ptr::eq(*other, page)) {
            for place in [&other.private, &other.fading] {
                if let Some(mut copy) = place.get().filter(|copy| copy.pfn == pfn) {
                    copy.contents.store(value, cpu);
                    place.set(Some(copy));
                }
            }
        }
    }

    /// A page of a file was written.
    pub(crate) fn note_write(&self, object: usize, index: usize, value: u64) {
        let cpu = World::current().current_cpu().map(|cpu| cpu.number);
        self.note_object_store(object, index, value, cpu);
    }

    fn note_object_store(&self, object: usize, index: usize, value: u64, cpu: Option<usize>) {
        let place = &self.objects[object][index];
        let mut contents = place.get();
        contents.store(value, cpu);
        place.set(contents);
    }

    /// What a private page holds that takes the place of `before` with the content `copied`, which should be a copy of it.
    ///
    /// Until fork has flushed, the parent may store to pages that it has given to its child already. A copy of the child's that is
    /// made meanwhile, by khugepaged, has any of what the page held since then, whenever it is put in its place.
    pub(super) fn contents_of_copy(
        &self,
        mm: u32,
        addr: VirtAddr,
        before: PrivateCopy,
        copied: u64,
    ) -> Contents {
        let forked = self.page(mm, addr).forked.take();
        let held_meanwhile = |forked: ForkedPage| {
            let shared = self.page(forked.parent, addr).private.get();
            let shared = shared.filter(|shared| shared.pfn == before.pfn);
            [Some(before), shared]
                .into_iter()
                .flatten()
                .any(|now| now.contents.held_since(&forked.contents, copied))
        };
        if before.contents.last() != copied && forked.is_some_and(held_meanwhile) {
            Contents::of(copied)
        } else {
            before.contents
        }
    }

    /// What a parent stored while it was being copied is in the pages that it shares with its child.
    pub(super) fn finish_fork(&self, parent: u32, child: u32) {
        let pages = self.pages[parent as usize].iter();
        for (old, new) in pages.zip(&self.pages[child as usize]) {
            if let (Some(old), Some(copy)) = (old.private.get(), new.private.get())
                && old.pfn == copy.pfn
            {
                new.private.set(Some(old));
            }
        }
    }

    /// A range is mapped at other addresses as well, and goes on behind them as far as these reach.
    pub(super) fn remap(&self, mm: u32, range: AddrRange, to: AddrRange) {
        let Some(first) = self.pages_in(mm, range).next() else {
            return;
        };
        let first = first.backing.get();
        for (number, to) in self.pages_in(mm, to).enumerate() {
            let backing = first.map(|first| Backing {
                index: first.index + number,
                ..first
            });
            // There is nothing behind the largest object.
            to.backing
                .set(backing.filter(|backing| backing.index < OBJECT_PAGES));
        }
    }

    /// What is private in a range, and its markers, goes to other addresses.
    pub(super) fn move_pages(&self, mm: u32, range: AddrRange, to: VirtAddr) {
        for (number, from) in self.pages_in(mm, range).enumerate() {
            let to = self.page(mm, to.add_pages(number as u64));
            if let Some(copy) = from.private.get() {
                from.discard();
                to.private.set(Some(copy));
            }
            to.protected.set(from.protected.take());
            to.poisoned.set(from.poisoned.take());
            to.guarded.set(from.guarded.take());
        }
    }

    pub(super) fn pages_in(&self, mm: u32, range: AddrRange) -> impl Iterator<Item = &PageBook> {
        self.pages[mm as usize]
            .iter()
            .enumerate()
            .filter(move |(page, _)| range.contains(VirtAddr::of_page(*page as u64)))
            .map(|(_, book)| book)
    }
}
