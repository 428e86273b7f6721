//! What the engine tells: into the books, and checked where it must fulfil something at once.

use pagefold::accounting::{Fact, PageKind};
use pagefold::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use pagefold::arch::{Marker, PTE_LEVEL};
use pagefold::platform::Platform;

use super::books::{ForkedPage, PrivateCopy};
use super::walk::read;
use crate::model::content::Contents;
use crate::model::violation::{Kind, fail};
use crate::model::world::World;
use crate::model::{Model, PTRS_PER_TABLE, names};

impl World {
    /// Writes a fact of the engine into the books, and checks what it must fulfil.
    pub(crate) fn observe(&self, fact: Fact) {
        let books = &self.books;
        match fact {
            Fact::PrivatePage(mm, addr, pfn) => {
                let contents = Contents::of(self.content(pfn).peek());
                let copy = PrivateCopy { pfn, contents };
                books.page(mm, addr).private.set(Some(copy));
                // It need not hold what the page held before (UFFDIO_COPY).
                self.after_store(mm, addr);
            }
            Fact::PrivateCopy(mm, addr, pfn) => {
                let page = books.page(mm, addr);
                check_pin_kept(page.pinned.get(), page.private.get(), mm, addr);
                let contents = match (page.private.get(), page.backing.get()) {
                    (Some(before), _) => {
                        books.contents_of_copy(mm, addr, before, self.content(pfn).peek())
                    }
                    (None, Some(_)) => Contents::of(self.content(pfn).peek()),
                    (None, None) => Contents::of(0),
                };
                page.private.set(Some(PrivateCopy { pfn, contents }));
            }
            Fact::ForkedRange(parent, child, range) => {
                for (old, new) in books
                    .pages_in(parent, range)
                    .zip(books.pages_in(child, range))
                {
                    new.backing.set(old.backing.get());
                }
            }
            Fact::ForkedPage(parent, child, addr, pfn) => {
                self.before_fork_of_page(pfn);
                let contents = match books.page(parent, addr).private.get() {
                    Some(copy) => copy.contents,
                    None => Contents::of(self.content(pfn).peek()),
                };
                let copy = PrivateCopy { pfn, contents };
                let page = books.page(child, addr);
                page.private.set(Some(copy));
                page.forked.set(Some(ForkedPage { parent, contents }));
            }
            Fact::ForkedAbsent(parent, child, addr) => {
                let copy = books.page(parent, addr).private.get();
                books.page(child, addr).private.set(copy);
            }
            Fact::SwappedIn(mm, addr, pfn) => books.put_private(mm, addr, pfn),
            Fact::Migrated(mm, addr, from, to) => {
                self.before_migration_of_page(from);
                books.put_private(mm, addr, to);
            }
            Fact::Forked(parent, child) => books.finish_fork(parent, child),
            Fact::Filled(object, index, pfn) => {
                let value = self.content(pfn).peek();
                books.set_content(object as usize, index.0 as usize, value);
            }
            Fact::HoleFilled(object, index) => self.check_hole_filled(object, index),
            Fact::Emptied(object, index, pfn) => {
                if let Some(pfn) = pfn {
                    self.note_gone(pfn);
                }
                books.empty(object, index);
                books.written[object as usize][index.0 as usize].set(false);
                books.holes_filled[object as usize][index.0 as usize].set(false);
            }
            Fact::Uncached(pfn) => self.note_gone(pfn),
            Fact::Zeroed(object, index) => books.empty(object, index),
            Fact::Discarded(mm, range) => {
                for page in books.pages_in(mm, range) {
                    page.discard();
                    page.protected.set(false);
                    page.poisoned.set(false);
                    page.guarded.set(false);
                }
            }
            Fact::DiscardedPage(mm, addr) => books.page(mm, addr).discard(),
            Fact::Unmapped(mm, addr, pfn) => books.page(mm, addr).unmapped.set(Some(pfn)),
            Fact::Forgotten(mm, range) => {
                for page in books.pages_in(mm, range) {
                    page.fading.set(None);
                    page.unmapped.set(None);
                }
            }
            Fact::Remapped(mm, range, to) => books.remap(mm, range, to),
            Fact::Moved(mm, range, to) => books.move_pages(mm, range, to),
            Fact::Permitted(mm, range, protection) => self.note_permitted(mm, range, protection),
            Fact::Protected(mm, addr) => books.page(mm, addr).protected.set(true),
            Fact::Unprotected(mm, addr) => books.page(mm, addr).protected.set(false),
            Fact::Poisoned(mm, addr) => books.page(mm, addr).poisoned.set(true),
            Fact::Unpoisoned(mm, addr) => books.page(mm, addr).poisoned.set(false),
            Fact::Guarded(mm, addr) => {
                let page = books.page(mm, addr);
                page.protected.set(false);
                page.poisoned.set(false);
                page.guarded.set(true);
            }
            Fact::Unguarded(mm, addr) => books.page(mm, addr).guarded.set(false),
            Fact::Mapped(pfn, kind, change) => self.count_mapping(pfn, kind, change),
            Fact::TableRemoved(table, mm, range) => self.check_removed_table(table, mm, range),
            Fact::MissingTable(mm, addr) => fail(
                Kind::MissingTable,
                format!(
                    "the page table of {} is used, but is not there",
                    names::page(mm, addr)
                ),
            ),
            Fact::HoleSeen(mm, addr) => books.page(mm, addr).hole_seen.set(true),
            Fact::Unregistered(mm, range) => {
                for page in books.pages_in(mm, range) {
                    page.hole_seen.set(false);
                }
            }
            Fact::MissingEvent(mm, addr) => books.page(mm, addr).hole_seen.set(false),
            // Nothing that could be true or false.
            Fact::Invalidates(..) | Fact::Ended(..) => {}
        }
    }

    /// The page in the frame has left its object.
    fn note_gone(&self, pfn: Pfn) {
        // In an order to all accesses to the page: those that come later are too late.
        self.give_up_content(pfn);
        self.books.gone[pfn.0 as usize].set(true);
    }

    fn check_hole_filled(&self, object: u32, index: PageIndex) {
        self.books.holes_filled[object as usize][index.0 as usize].set(true);
        for (mm, pages) in self.books.pages.iter().enumerate() {
            for (page, book) in pages.iter().enumerate() {
                let maps_it = book.backing.get().is_some_and(|backing| {
                    backing.object == object as usize && backing.index as u64 == index.0
                });
                if maps_it && book.hole_seen.get() {
                    fail_for_hole(mm as u32, VirtAddr::of_page(page as u64));
                }
            }
        }
    }

    fn count_mapping(&self, pfn: Pfn, kind: PageKind, change: i32) {
        let (own, other, what) = match kind {
            PageKind::Anon => (&self.books.anon_maps, &self.books.shmem_maps, "private"),
            PageKind::Shmem => (&self.books.shmem_maps, &self.books.anon_maps, "an object's"),
        };
        let frame = pfn.0 as usize;
        let count = own[frame].get() + change;
        own[frame].set(count);
        if count < 0 || (count > 0 && other[frame].get() > 0) {
            fail(
                Kind::PageTableCheck,
                format!(
                    "frame {frame} is mapped {count} times as {what} page and {} times otherwise",
                    other[frame].get()
                ),
            );
        }
    }

    /// A frame that is freed must not be booked as mapped. (Linux: `page_table_check_zero`)
    pub(crate) fn check_not_mapped(&self, pfn: Pfn) {
        let frame = pfn.0 as usize;
        let maps = self.books.anon_maps[frame].get() + self.books.shmem_maps[frame].get();
        if maps != 0 {
            fail(
                Kind::PageTableCheck,
                format!("frame {frame} is freed, and still counted as mapped {maps} times"),
            );
        }
    }

    /// A table that goes must not take anything with it.
    fn check_removed_table(&self, table: Pfn, mm: u32, range: AddrRange) {
        self.frames()[table.0 as usize].table_of.set(Some(mm));
        for index in 0..PTRS_PER_TABLE {
            let pte = read(table, index, PTE_LEVEL);
            let addr = range
                .start
                .huge_start(PTRS_PER_TABLE)
                .add_pages(index as u64);
            if pte.is_present() {
                let what = if Model::frame(pte.pfn()).is_anon() {
                    "private page"
                } else {
                    "page"
                };
                fail(
                    Kind::TableNotEmpty,
                    format!(
                        "the page table taken from {} still maps {} ({pte:?}): the {what} is lost, and rss stays 1 too high",
                        names::mm(mm),
                        names::page(mm, addr),
                    ),
                );
            }
            if let Some(swap) = pte.as_swap() {
                fail(
                    Kind::TableNotEmpty,
                    format!(
                        "the page table taken from {} still names swap slot {} for {}: the private page is lost",
                        names::mm(mm),
                        swap.slot,
                        names::page(mm, addr),
                    ),
                );
            }
            if let Some(migration) = pte.as_migration() {
                fail(
                    Kind::TableNotEmpty,
                    format!(
                        "the page table taken from {} still stands for frame {} at {}: the private page is lost",
                        names::mm(mm),
                        migration.pfn.0,
                        names::page(mm, addr),
                    ),
                );
            }
            match pte.as_marker() {
                Some(Marker::UffdWp) => fail(
                    Kind::MarkerLost,
                    format!(
                        "the page table taken from {} holds the write-protect marker of {}: a write there will raise no event",
                        names::mm(mm),
                        names::page(mm, addr),
                    ),
                ),
                Some(Marker::Poison) if self.strict => fail(
                    Kind::MarkerLost,
                    format!(
                        "the page table taken from {} holds the poison marker of {}",
                        names::mm(mm),
                        names::page(mm, addr),
                    ),
                ),
                Some(Marker::Poison) => {
                    self.books.exception.set(Some(Kind::MarkerLost));
                    self.books.page(mm, addr).poisoned.set(false);
                }
                Some(Marker::Guard) => fail(
                    Kind::MarkerLost,
                    format!(
                        "the page table taken from {} holds the guard of {}",
                        names::mm(mm),
                        names::page(mm, addr),
                    ),
                ),
                None => {}
            }
        }
    }
}

/// The page at an address is replaced by a copy. That must not happen to a private page that is pinned: the process and who
/// pinned it would not have the same page any more.
fn check_pin_kept(pinned: Option<Pfn>, private: Option<PrivateCopy>, mm: u32, addr: VirtAddr) {
    if let (Some(pinned), Some(private)) = (pinned, private)
        && pinned == private.pfn
    {
        fail(
            Kind::Content,
            format!(
                "{} is pinned in frame {}, and gets a copy of it in its place",
                names::page(mm, addr),
                pinned.0
            ),
        );
    }
}

pub(super) fn fail_for_hole(mm: u32, addr: VirtAddr) {
    fail(
        Kind::UffdMissing,
        format!(
            "{} was seen as a hole in a mapping registered MISSING, and is filled without an event",
            names::page(mm, addr)
        ),
    );
}
