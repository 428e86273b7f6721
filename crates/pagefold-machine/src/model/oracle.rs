//! The oracles: what must be true at every step, and at the end.
//!
//! The books say what each page *should* hold: the last value stored to each page of an object, and to each private copy;
//! which pages are protected or poisoned; who saw a hole. They are written from the engine's [`Fact`]s and from
//! the accesses of CPUs and devices, never from page tables, so that a page that is lost with its table is still
//! in them. At the end, what the page tables and caches hold is counted afresh and held against books and counters.
//!
//! **Under a weak memory model** the facts come in the order of execution, and an oracle that looks at memory sees the newest value
//! (with store buffers: what the thread that tells the fact sees). In the middle of an execution that makes sense for:
//!
//! * *what a load gives*: see `content.rs`;
//! * *what a removed table holds*, and *mappings of a frame*: told under the lock that all writers of the entries take, so
//!   the newest is what the lock shows;
//! * *use after free*: whoever comes to a frame or an object after it was freed, in the order of execution. If something orders
//!   the two, there is no such execution. A store that is executed before and leaves its buffer afterwards is not caught.
//! * *a filled hole*: the fill may be executed before the look at the hole which does not see it, so that is looked at again
//!   at the end.
//!
//! Everything else is looked at when all threads have been joined, and so everything is known.

use std::array;
use std::cell::Cell;

use pagefold::Ref;
use pagefold::accounting::{Fact, PageKind};
use pagefold::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use pagefold::arch::{Marker, Pte};
use pagefold::kvm::Kvm;
use pagefold::mm::Mm;
use pagefold::page_cache::{Entry, Mapping};
use pagefold::platform::Platform;
use pagefold_litmus::Memory;

use super::content::Contents;
use super::cpu::{Access, CpuKind, Translation};
use super::violation::{Kind, fail};
use super::world::{FRAMES, Use, VIRT_PAGES, World};
use super::{Model, PTRS_PER_TABLE, names};

/// Objects of a scenario.
pub(crate) const OBJECTS: usize = 4;
/// Pages of an object.
pub(crate) const OBJECT_PAGES: usize = PTRS_PER_TABLE * PTRS_PER_TABLE;
/// Address spaces of a scenario.
pub(crate) const MMS: usize = 4;

/// What a page of an address space is a mapping of.
#[derive(Clone, Copy)]
pub(crate) struct Backing {
    pub(crate) object: usize,
    pub(crate) index: usize,
    pub(crate) shared: bool,
}

/// A private copy of a page.
#[derive(Clone, Copy)]
struct PrivateCopy {
    pfn: Pfn,
    contents: Contents,
}

/// What is known of one page of an address space.
struct PageBook {
    backing: Cell<Option<Backing>>,
    /// The private copy, if there is one.
    private: Cell<Option<PrivateCopy>>,
    /// A private copy that is being discarded: it can still be used through translation caches until they are flushed.
    fading: Cell<Option<PrivateCopy>>,
    protected: Cell<bool>,
    poisoned: Cell<bool>,
    /// The process saw a hole there while it was registered MISSING.
    hole_seen: Cell<bool>,
}

impl PageBook {
    fn discard(&self) {
        if let Some(copy) = self.private.take() {
            self.fading.set(Some(copy));
        }
    }
}

/// What should be.
pub(crate) struct Books {
    objects: [[Cell<Contents>; OBJECT_PAGES]; OBJECTS],
    /// Pages of objects that were holes and are none any more, without an event.
    holes_filled: [[Cell<bool>; OBJECT_PAGES]; OBJECTS],
    pages: [[PageBook; VIRT_PAGES]; MMS],
    /// Mappings of each frame as a private page and as a page of an object.
    anon_maps: [Cell<i32>; FRAMES],
    shmem_maps: [Cell<i32>; FRAMES],
    /// Something was lost that is documented to get lost.
    pub(crate) exception: Cell<Option<Kind>>,
}

impl Books {
    pub(crate) fn new() -> Self {
        Self {
            objects: array::from_fn(|_| array::from_fn(|_| Cell::new(Contents::of(0)))),
            holes_filled: array::from_fn(|_| array::from_fn(|_| Cell::new(false))),
            pages: array::from_fn(|_| {
                array::from_fn(|_| PageBook {
                    backing: Cell::new(None),
                    private: Cell::new(None),
                    fading: Cell::new(None),
                    protected: Cell::new(false),
                    poisoned: Cell::new(false),
                    hole_seen: Cell::new(false),
                })
            }),
            anon_maps: array::from_fn(|_| Cell::new(0)),
            shmem_maps: array::from_fn(|_| Cell::new(0)),
            exception: Cell::new(None),
        }
    }

    fn page(&self, mm: u32, addr: VirtAddr) -> &PageBook {
        &self.pages[mm as usize][addr.page() as usize]
    }

    /// Says what a page of an address space maps, or will map once it is mapped.
    pub(crate) fn set_backing(&self, mm: u32, addr: VirtAddr, backing: Backing) {
        self.page(mm, addr).backing.set(Some(backing));
    }

    /// The first content of a page of an object.
    pub(crate) fn set_content(&self, object: usize, index: usize, value: u64) {
        self.objects[object][index].set(Contents::of(value));
    }

    /// Whether a load from `pfn` may give `value`: what the page holds; or the private copy in that frame, if it is being
    /// discarded. `cpu` is who loads if it may see old values.
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
        let current = may_be_copy(&page.private).unwrap_or_else(|| {
            let Some(backing) = page.backing.get() else {
                return value == 0;
            };
            let place = &self.objects[backing.object][backing.index];
            let mut contents = place.get();
            let possible = may_be(&mut contents);
            place.set(contents);
            possible
        });
        let is_fading = page.fading.get().is_some_and(|copy| copy.pfn == pfn);
        current || is_fading && may_be_copy(&page.fading) == Some(true)
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

    /// A load through a pin of `pfn` gave `value`. The page may have been discarded from the address space meanwhile: then
    /// the pin keeps it, and nothing is known of its content.
    pub(crate) fn check_pinned_load(&self, mm: u32, addr: VirtAddr, pfn: Pfn, value: u64) {
        let page = self.page(mm, addr);
        let is_shared = page.backing.get().is_some_and(|backing| backing.shared);
        let is_current = page.private.get().is_some_and(|copy| copy.pfn == pfn);
        if is_shared || is_current {
            self.check_load(mm, addr, pfn, value);
        }
    }

    /// A store of `value` to `pfn` went through.
    pub(crate) fn note_store(&self, mm: u32, addr: VirtAddr, pfn: Pfn, value: u64) {
        let page = self.page(mm, addr);
        let cpu = World::current().current_cpu().map(|cpu| cpu.number);
        if let Some(backing) = page.backing.get().filter(|backing| backing.shared) {
            let place = &self.objects[backing.object][backing.index];
            let mut contents = place.get();
            contents.store(value, cpu);
            place.set(contents);
            return;
        }
        for place in [&page.private, &page.fading] {
            if let Some(mut copy) = place.get().filter(|copy| copy.pfn == pfn) {
                copy.contents.store(value, cpu);
                place.set(Some(copy));
            }
        }
    }

    fn pages_in(&self, mm: u32, range: AddrRange) -> impl Iterator<Item = &PageBook> {
        self.pages[mm as usize]
            .iter()
            .enumerate()
            .filter(move |(page, _)| range.contains(VirtAddr::of_page(*page as u64)))
            .map(|(_, book)| book)
    }
}

impl World {
    /// Writes a fact of the engine into the books, and checks what it must fulfil.
    pub(crate) fn observe(&self, fact: Fact) {
        let books = &self.books;
        match fact {
            Fact::PrivatePage(mm, addr, pfn) => {
                let contents = Contents::of(self.content(pfn).peek());
                let copy = PrivateCopy { pfn, contents };
                books.page(mm, addr).private.set(Some(copy));
            }
            Fact::Filled(object, index, pfn) => {
                let value = self.content(pfn).peek();
                books.set_content(object as usize, index.0 as usize, value);
            }
            Fact::HoleFilled(object, index) => self.check_hole_filled(object, index),
            Fact::Discarded(mm, range) => {
                for page in books.pages_in(mm, range) {
                    page.discard();
                    page.protected.set(false);
                    page.poisoned.set(false);
                }
            }
            Fact::DiscardedPage(mm, addr) => books.page(mm, addr).discard(),
            Fact::Forgotten(mm, range) => {
                for page in books.pages_in(mm, range) {
                    page.fading.set(None);
                }
            }
            Fact::Protected(mm, addr) => books.page(mm, addr).protected.set(true),
            Fact::Unprotected(mm, addr) => books.page(mm, addr).protected.set(false),
            Fact::Poisoned(mm, addr) => books.page(mm, addr).poisoned.set(true),
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
            Fact::MissingEvent(mm, addr) => books.page(mm, addr).hole_seen.set(false),
        }
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

    /// A table that goes must not take anything with it.
    fn check_removed_table(&self, table: Pfn, mm: u32, range: AddrRange) {
        self.frames[table.0 as usize].table_of.set(Some(mm));
        for index in 0..PTRS_PER_TABLE {
            let pte = Pte::from_bits(Model::entry(table, index).peek());
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
                None => {}
            }
        }
    }
}

fn fail_for_hole(mm: u32, addr: VirtAddr) {
    fail(
        Kind::UffdMissing,
        format!(
            "{} was seen as a hole in a mapping registered MISSING, and is filled without an event",
            names::page(mm, addr)
        ),
    );
}

/// What an end-of-run check looks at.
pub(crate) struct Subjects<'a> {
    pub(crate) mms: &'a [Option<Ref<Model, Mm<Model>>>],
    pub(crate) objects: &'a [Option<Ref<Model, Mapping<Model>>>],
    pub(crate) kvms: &'a [Option<Ref<Model, Kvm<Model>>>],
}

/// What the page tables and caches hold, counted afresh.
struct Census {
    /// Entries that map each folio, by first frame.
    maps: [i64; FRAMES],
    /// Pages that the caches hold of each folio.
    cached: [i64; FRAMES],
    /// Frames that are tables of some sort.
    table: [bool; FRAMES],
}

/// An access of a thread of the set-up or of the end, which has no translation cache: `None` is a fault.
pub(crate) fn access_uncached(
    world: &World,
    mm: Ref<Model, Mm<Model>>,
    addr: VirtAddr,
    access: Access,
) -> Option<u64> {
    let (_, pte) = entry_of(mm, addr);
    let allowed = pte.is_present() && (pte.is_writable() || !access.is_write());
    allowed.then(|| match access {
        Access::Load => {
            let value = world.content(pte.pfn()).peek();
            world.books.check_load(mm.id, addr, pte.pfn(), value);
            value
        }
        Access::Store(value) => {
            world.content(pte.pfn()).poke(value);
            world.books.note_store(mm.id, addr, pte.pfn(), value);
            value
        }
    })
}

/// Checks everything that must be true once nothing is under way.
pub(crate) fn check_at_end(world: &World, subjects: &Subjects<'_>) {
    let mut census = Census {
        maps: [0; FRAMES],
        cached: [0; FRAMES],
        table: [false; FRAMES],
    };
    for mm in subjects.mms.iter().flatten() {
        check_mm(world, *mm, &mut census);
    }
    for object in subjects.objects.iter().flatten() {
        check_object(world, *object, &mut census);
    }
    for (mm, kvm) in subjects.mms.iter().zip(subjects.kvms) {
        if let (Some(mm), Some(kvm)) = (mm, kvm) {
            census.table[kvm.table().0 as usize] = true;
            check_secondary(world, *mm, *kvm);
        }
    }
    check_frames(world, &census);
    for cpu in &world.cpus[..world.nr_cpus.get()] {
        if matches!(cpu.kind.get(), CpuKind::Cpu | CpuKind::Device) {
            let mm = subjects.mms[cpu.mm.get() as usize].expect("a CPU runs a process");
            check_translations(mm, cpu);
        }
    }
}

/// No process has seen a hole that was filled without an event, even if it saw it after it was filled, as it did not know. The
/// scenario's condition says more of what happens then, so it comes first.
pub(crate) fn check_holes_seen(world: &World) {
    for (mm, pages) in world.books.pages.iter().enumerate() {
        for (page, book) in pages.iter().enumerate() {
            let filled = book
                .backing
                .get()
                .is_some_and(|page| world.books.holes_filled[page.object][page.index].get());
            if filled && book.hole_seen.get() {
                fail_for_hole(mm as u32, VirtAddr::of_page(page as u64));
            }
        }
    }
}

/// The entry that an address is mapped by now: of a page, or of a huge page as if it were of the small one.
pub(crate) fn entry_of(mm: Ref<Model, Mm<Model>>, addr: VirtAddr) -> (Option<Pfn>, Pte) {
    let page = addr.page() as usize;
    let huge = page / PTRS_PER_TABLE;
    let pud = read(mm.root(), huge / PTRS_PER_TABLE);
    if !pud.is_table() {
        return (None, Pte::NONE);
    }
    let pmd = read(pud.pfn(), huge % PTRS_PER_TABLE);
    if pmd.is_huge() {
        let pfn = pmd.pfn().add(page % PTRS_PER_TABLE);
        return (None, Pte::page(pfn, pmd.is_writable()));
    }
    if !pmd.is_table() {
        return (None, Pte::NONE);
    }
    (Some(pmd.pfn()), read(pmd.pfn(), page % PTRS_PER_TABLE))
}

fn read(table: Pfn, index: usize) -> Pte {
    Pte::from_bits(Model::entry(table, index).peek())
}

fn check_mm(world: &World, mm: Ref<Model, Mm<Model>>, census: &mut Census) {
    let mut shmem = 0;
    let mut anon = 0;
    let mut tables = 0;
    census.table[mm.root().0 as usize] = true;
    for top in 0..PTRS_PER_TABLE {
        let pud = read(mm.root(), top);
        if !pud.is_table() {
            continue;
        }
        census.table[pud.pfn().0 as usize] = true;
        for huge in 0..PTRS_PER_TABLE {
            let pmd = read(pud.pfn(), huge);
            if pmd.is_huge() {
                shmem += PTRS_PER_TABLE as i64;
                census.maps[pmd.pfn().0 as usize] += 1;
            } else if pmd.is_table() {
                tables += 1;
                census.table[pmd.pfn().0 as usize] = true;
                for index in 0..PTRS_PER_TABLE {
                    let pte = read(pmd.pfn(), index);
                    if !pte.is_present() {
                        continue;
                    }
                    let frame = Model::frame(pte.pfn());
                    census.maps[frame.folio_head().0 as usize] += 1;
                    if frame.is_anon() {
                        anon += 1;
                    } else {
                        shmem += 1;
                    }
                }
            }
        }
    }
    for (kind, mapped, what) in [
        (PageKind::Shmem, shmem, "object"),
        (PageKind::Anon, anon, "private"),
    ] {
        let counted = mm.rss(kind).peek();
        if counted != mapped {
            fail(
                Kind::Rss,
                format!(
                    "{} counts {counted} resident {what} pages, but maps {mapped}",
                    names::mm(mm.id)
                ),
            );
        }
    }
    let counted = mm.nr_ptes().peek();
    if counted != tables {
        fail(
            Kind::NrPtes,
            format!(
                "{} counts {counted} page tables, but has {tables}",
                names::mm(mm.id)
            ),
        );
    }
    check_pages(world, mm);
}

/// Private pages, protections and poison are where the books say.
fn check_pages(world: &World, mm: Ref<Model, Mm<Model>>) {
    for (number, book) in world.books.pages[mm.id as usize].iter().enumerate() {
        let addr = VirtAddr::of_page(number as u64);
        let (_, pte) = entry_of(mm, addr);
        if let Some(copy) = book.private.get() {
            let there = pte.is_present() && pte.pfn() == copy.pfn;
            let content = there.then(|| world.content(pte.pfn()).peek());
            let expected = copy.contents.last();
            if content != Some(expected) {
                fail(
                    Kind::Content,
                    format!(
                        "the private page {} with content {expected} is lost",
                        names::page(mm.id, addr)
                    ),
                );
            }
        }
        let kept = pte.is_uffd_wp() || pte.as_marker() == Some(Marker::UffdWp);
        if book.protected.get() && !kept {
            fail(
                Kind::MarkerLost,
                format!(
                    "the write protection of {} is lost: a write there raises no event",
                    names::page(mm.id, addr)
                ),
            );
        }
        if book.poisoned.get() && pte.as_marker() != Some(Marker::Poison) {
            fail(
                Kind::MarkerLost,
                format!("the poison marker of {} is lost", names::page(mm.id, addr)),
            );
        }
    }
}

fn check_object(world: &World, object: Ref<Model, Mapping<Model>>, census: &mut Census) {
    census.table[object.root().0 as usize] = true;
    for index in 0..PTRS_PER_TABLE {
        let bits = Model::entry(object.root(), index).peek();
        if let Entry::Node(node) = Entry::from_bits(bits) {
            census.table[node.0 as usize] = true;
        }
    }
    for index in 0..object.pages_protected() {
        let expected = world.books.objects[object.id as usize][index as usize]
            .get()
            .last();
        let name = || format!("{}[{index}]", names::object(object.id));
        match object.load_protected(PageIndex(index)) {
            Entry::Folio(folio) => {
                census.cached[folio.pfn().0 as usize] += 1;
                let first = Model::frame(folio.pfn()).folio_index().0;
                let page = folio.pfn().add((index - first) as usize);
                let value = world.content(page).peek();
                if value != expected {
                    fail(
                        Kind::Content,
                        format!("{} holds {value}, but {expected} was stored", name()),
                    );
                }
            }
            Entry::Retry | Entry::Node(_) => fail(
                Kind::RetryEntry,
                format!("the slot of {} is left as changing", name()),
            ),
            Entry::None if expected != 0 => fail(
                Kind::Content,
                format!("{} is a hole, but {expected} was stored", name()),
            ),
            Entry::None => {}
        }
    }
}

fn check_frames(world: &World, census: &Census) {
    for (number, slot) in world.frames.iter().enumerate() {
        let pfn = Pfn(number as u64);
        if slot.state.get() != Use::Allocated || census.table[number] {
            continue;
        }
        let frame = Model::frame(pfn);
        let head = frame.folio_head();
        if head != pfn && world.frames[head.0 as usize].state.get() == Use::Allocated {
            continue;
        }
        let (maps, cached) = (census.maps[number], census.cached[number]);
        if maps + cached == 0 {
            fail(
                Kind::Leak,
                format!("frame {number} is neither free nor in use"),
            );
        }
        let mapcount = frame.mapcount().peek();
        if mapcount != maps {
            fail(
                Kind::Mapcount,
                format!("frame {number} counts {mapcount} mappings, but has {maps}"),
            );
        }
        let refcount = frame.refcount().peek();
        if refcount != (maps + cached).unsigned_abs() {
            fail(
                Kind::Refcount,
                format!(
                    "frame {number} counts {refcount} references, but has {maps} mappings and {cached} pages in the cache"
                ),
            );
        }
    }
}

/// Every cached translation agrees with the page tables.
fn check_translations(mm: Ref<Model, Mm<Model>>, cpu: &super::cpu::Cpu) {
    let stale = |addr: VirtAddr, what: String| {
        fail(
            Kind::StaleTranslation,
            format!(
                "{} {} still has {what} cached for {}, after all flushes",
                cpu.title(),
                cpu.number,
                names::page(mm.id, addr)
            ),
        )
    };
    for (page, leaf) in cpu.leaves.iter().enumerate() {
        let addr = VirtAddr::of_page(page as u64);
        if let Some(Translation { pfn, writable }) = leaf.get() {
            let (_, pte) = entry_of(mm, addr);
            if !pte.is_present() || pte.pfn() != pfn || (writable && !pte.is_writable()) {
                stale(addr, format!("frame {}", pfn.0));
            }
        }
    }
    for (huge, table) in cpu.tables.iter().enumerate() {
        let addr = VirtAddr::of_page((huge * PTRS_PER_TABLE) as u64);
        if let Some(table) = table.get()
            && entry_of(mm, addr).0 != Some(table)
        {
            stale(addr, format!("the page table in frame {}", table.0));
        }
    }
}

/// A secondary MMU maps only what the address space maps.
fn check_secondary(world: &World, mm: Ref<Model, Mm<Model>>, kvm: Ref<Model, Kvm<Model>>) {
    for page in 0..VIRT_PAGES as u64 {
        let addr = VirtAddr::of_page(page);
        let Some(spte) = kvm.spte_protected(addr).filter(|spte| spte.is_present()) else {
            continue;
        };
        let (_, pte) = entry_of(mm, addr);
        if !pte.is_present() || pte.pfn() != spte.pfn() {
            let freed = world.frames[spte.pfn().0 as usize].state.get() == Use::Freed;
            fail(
                Kind::SecondaryMapping,
                format!(
                    "the virtual machine still maps {} to frame {}, which is {}",
                    names::page(mm.id, addr),
                    spte.pfn().0,
                    if freed {
                        "freed"
                    } else {
                        "not mapped there any more"
                    }
                ),
            );
        }
    }
}
