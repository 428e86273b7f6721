//! Break-before-make: how entries that hardware can walk to may change, where the format [asks for
//! it](pagefold::arch::Format::break_before_make).
//!
//! Guarantee: no valid entry is replaced at once by a valid one with another frame or of another size. And where a huge page takes
//! the place of a table of small pages, or such a table that of a huge page, whoever took the one out has flushed it before
//! the other is put in. What is looked at is the entries, not what caches happen to hold: hardware may walk at any time.
//!
//! Two translations of one size are another matter: who empties an entry may flush after giving the lock of its table up, and
//! another page may be mapped before (Linux does so everywhere). Who uses the old page then uses one that is not freed before the
//! flush, and what is read there is for the oracle of contents.
//!
//! It counts only that who took an entry out flushes it. Somebody else's flush may reach it as well, but nothing tells that it
//! comes later.

use std::array;
use std::cell::Cell;

use pagefold::addr::{AddrRange, Pfn, VirtAddr};
use pagefold::arch::{Format, PMD_LEVEL, PTE_LEVEL, Pte};
use pagefold::platform::{FlushKind, Word};
use pagefold_explore as explore;

use super::MMS;
use crate::model::format::ModelFormat;
use crate::model::violation::{Kind, fail};
use crate::model::word::ModelWord;
use crate::model::world::{FRAMES, VIRT_PAGES};
use crate::model::{PTRS_PER_TABLE, names};

/// Upper entries of an address space.
const SPANS: usize = VIRT_PAGES / PTRS_PER_TABLE;

/// Who caches translations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Cpus,
    Devices,
}

/// What an upper entry can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Huge,
    Small,
}

impl Size {
    fn of(pte: Pte) -> Self {
        if pte.is_table() {
            Self::Small
        } else {
            Self::Huge
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Huge => Self::Small,
            Self::Small => Self::Huge,
        }
    }
}

/// What an attached table serves.
#[derive(Clone, Copy)]
struct Place {
    mm: u32,
    /// The first page.
    page: usize,
    level: u32,
}

/// What was taken out of an upper entry, of one size.
struct Taken {
    /// The threads that did and have not flushed since, a bit for each, by audience.
    by: [Cell<u64>; 2],
    /// The last table had entries: a flush has to reach all that it served.
    full: Cell<bool>,
    /// That it was taken out at all.
    ever: Cell<bool>,
}

/// The attached tables, what is in them, and what waits for a flush.
pub(crate) struct LiveEntries {
    places: [Cell<Option<Place>>; FRAMES],
    /// But for what hardware notes: that changes no frame and no size.
    words: [[Cell<u64>; PTRS_PER_TABLE]; FRAMES],
    /// By size.
    taken: [[[Taken; 2]; SPANS]; MMS],
    /// Has the end of a flush and what is put in come in both orders.
    ends: [ModelWord; MMS],
}

impl LiveEntries {
    pub(crate) fn new() -> Self {
        let taken = || Taken {
            by: array::from_fn(|_| Cell::new(0)),
            full: Cell::new(false),
            ever: Cell::new(false),
        };
        Self {
            places: array::from_fn(|_| Cell::new(None)),
            words: array::from_fn(|_| array::from_fn(|_| Cell::new(0))),
            taken: array::from_fn(|_| array::from_fn(|_| array::from_fn(|_| taken()))),
            ends: array::from_fn(|_| ModelWord::new(0)),
        }
    }

    /// The top-level table of an address space.
    pub(crate) fn note_root(&self, mm: u32, root: Pfn) {
        let level = ModelFormat::levels() - 1;
        self.places[root.0 as usize].set(Some(Place { mm, page: 0, level }));
    }

    pub(crate) fn note_freed(&self, pfn: Pfn) {
        self.places[pfn.0 as usize].set(None);
    }

    /// A word of a frame was written. `devices` is whether devices use the tables of an address space.
    pub(crate) fn note_write(
        &self,
        frame: Pfn,
        index: usize,
        word: u64,
        devices: impl Fn(u32) -> bool,
    ) {
        let frame = frame.0 as usize;
        let before = self.words[frame][index].replace(word);
        let Some(Place { mm, page, level }) = self.places[frame].get() else {
            return;
        };
        let old = ModelFormat::decode(before, level);
        let new = ModelFormat::decode(word, level);
        let page = page + index * PTRS_PER_TABLE.pow(level);
        if old.is_table() {
            self.places[old.pfn().0 as usize].set(None);
        }
        if new.is_table() {
            let level = level - 1;
            self.places[new.pfn().0 as usize].set(Some(Place { mm, page, level }));
        }
        let changes = old.pfn() != new.pfn() || old.is_table() != new.is_table();
        if is_valid(old) && is_valid(new) && changes {
            fail_for(mm, page, "while the old entry is valid");
        }
        if level == PMD_LEVEL && is_valid(old) && !is_valid(new) {
            self.note_taken(mm, page, old, devices(mm));
        } else if level == PMD_LEVEL && !is_valid(old) && is_valid(new) {
            self.check_put_in(mm, page, Size::of(new));
        }
    }

    fn note_taken(&self, mm: u32, page: usize, old: Pte, devices: bool) {
        let taken = &self.taken[mm as usize][page / PTRS_PER_TABLE][Size::of(old) as usize];
        let me = bit_of_thread();
        taken.by[Audience::Cpus as usize].set(taken.by[Audience::Cpus as usize].get() | me);
        if devices {
            let by = &taken.by[Audience::Devices as usize];
            by.set(by.get() | me);
        }
        let holds = |word: &Cell<u64>| is_valid(ModelFormat::decode(word.get(), PTE_LEVEL));
        let full = old.is_table() && self.words[old.pfn().0 as usize].iter().any(holds);
        taken.full.set(full);
        taken.ever.set(true);
    }

    fn check_put_in(&self, mm: u32, page: usize, size: Size) {
        let other = &self.taken[mm as usize][page / PTRS_PER_TABLE][size.other() as usize];
        if other.by.iter().any(|by| by.get() != 0) {
            fail_for(mm, page, "before the old one is flushed");
        }
        if other.ever.get() {
            explore::label(|| "another size is valid now".into());
            self.ends[mm as usize].read_once();
        }
    }

    /// The current thread has flushed.
    pub(crate) fn note_flush(
        &self,
        audience: Audience,
        mm: u32,
        range: AddrRange,
        kind: FlushKind,
    ) {
        let me = bit_of_thread();
        let reached = |span: usize, size: Size, taken: &Taken| {
            let pages = AddrRange::pages(
                VirtAddr::of_page((span * PTRS_PER_TABLE) as u64),
                PTRS_PER_TABLE as u64,
            );
            let all = range.start <= pages.start && pages.end <= range.end;
            let enough = match size {
                Size::Huge => all,
                Size::Small => {
                    kind == FlushKind::LeavesAndTables
                        && (all || !taken.full.get() && range.overlaps(pages))
                }
            };
            enough && taken.by[audience as usize].get() & me != 0
        };
        let mut event = false;
        for (span, sizes) in self.taken[mm as usize].iter().enumerate() {
            for size in [Size::Huge, Size::Small] {
                let taken = &sizes[size as usize];
                if !reached(span, size, taken) {
                    continue;
                }
                if !event {
                    explore::label(|| "flush is over".into());
                    self.ends[mm as usize].write_once(0);
                    event = true;
                }
                let by = &taken.by[audience as usize];
                by.set(by.get() & !me);
            }
        }
    }
}

fn is_valid(pte: Pte) -> bool {
    pte.is_table() || pte.is_accessible()
}

fn bit_of_thread() -> u64 {
    1 << explore::thread::current().id().index()
}

fn fail_for(mm: u32, page: usize, when: &str) -> ! {
    let addr = names::page(mm, VirtAddr::of_page(page as u64));
    fail(
        Kind::BreakBeforeMake,
        format!("the entry of {addr} names another frame or has another size {when}"),
    )
}
