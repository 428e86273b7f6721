//! What all rounds have in common.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pagefold::Ref;
use pagefold::addr::{AddrRange, PageIndex, VirtAddr};
use pagefold::mm::Mm;
use pagefold::mmap::{self, Backing, Sharing};
use pagefold::page_cache::Mapping;
use pagefold::platform::{Platform, Word};
use pagefold_machine::host::{Host, HostCpu, PTRS_PER_TABLE};

pub(crate) const HUGE: u64 = PTRS_PER_TABLE as u64;
pub(crate) const PAGES: u64 = 2 * HUGE;
/// Words of each page, by who writes to them.
pub(crate) const WRITERS: u64 = 2;

pub(crate) type Space = Ref<Host, Mm<Host>>;
pub(crate) type Object = Ref<Host, Mapping<Host>>;

/// The machine, for one test.
pub(crate) fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends processes that no thread runs any more; then the machine is as it was in the beginning.
pub(crate) fn end(spaces: &[Space]) {
    for mm in spaces {
        mmap::exit_mm(*mm);
        // SAFETY: no thread runs the process any more.
        unsafe { mmap::mmdrop(*mm) };
    }
    Host::rcu_barrier();
    assert_eq!(Host::frames_in_use(), 0, "frames were lost");
    for slot in 0..Host::swap_slots() {
        let count = Host::swap_slot(slot).count().load_protected();
        assert_eq!(count, 0, "swap slot {slot} was lost");
    }
}

/// Pseudo-random numbers (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}

/// What the word of a page holds once its owner has counted to `count`.
pub(crate) fn tagged(page: u64, word: u64, count: u64) -> u64 {
    if count == 0 {
        0
    } else {
        1 << 63 | page << 44 | word << 40 | count
    }
}

/// The count in a word.
pub(crate) fn count_in(page: u64, word: u64, value: u64) -> u64 {
    let count = value & ((1 << 40) - 1);
    assert_eq!(
        value,
        tagged(page, word, count),
        "page {page} word {word} holds what belongs elsewhere"
    );
    count
}

/// What a process maps.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) mm: Space,
    pub(crate) range: AddrRange,
}

impl View {
    /// An object, at an address that is another one in each process.
    pub(crate) fn of_object(mm: Space, object: Object, sharing: Sharing) -> Self {
        let backing = Backing::Object {
            mapping: object,
            pgoff: PageIndex(0),
            sharing,
        };
        Self::new(mm, 4 + 3 * u64::from(mm.id), backing)
    }

    /// Private memory, with so many huge pages' worth of addresses below it.
    pub(crate) fn private(mm: Space, place: u64) -> Self {
        Self::new(mm, place, Backing::Anonymous)
    }

    fn new(mm: Space, place: u64, backing: Backing<Host>) -> Self {
        let range = AddrRange::pages(VirtAddr::of_page(HUGE * place), PAGES);
        mmap::mmap(mm, range, backing).unwrap();
        Self { mm, range }
    }

    pub(crate) fn page(self, page: u64) -> VirtAddr {
        self.range.start.add_pages(page)
    }

    pub(crate) fn word(self, page: u64, word: u64) -> VirtAddr {
        VirtAddr(self.page(page).0 + 8 * word)
    }

    /// Some of its pages, and as many as `most`.
    pub(crate) fn some(self, random: &mut Random, most: u64) -> AddrRange {
        let pages = 1 + random.below(most);
        AddrRange::pages(self.page(random.below(PAGES - pages + 1)), pages)
    }
}

/// A thread that is at work as long as this lives, even if it fails.
pub(crate) struct AtWork<'a>(&'a AtomicUsize);

impl<'a> AtWork<'a> {
    pub(crate) fn begin(busy: &'a AtomicUsize) -> Self {
        busy.fetch_add(1, AcqRel);
        Self(busy)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

/// How many things have been done to the memory of a round.
///
/// Threads that have done their own part go on until it is enough: else they may be through before the first thing is done to their memory,
/// and the round is no race. So that a round ends whatever comes of it, they go on for `MOST` times their own part at the longest.
pub(crate) struct Done {
    count: AtomicU64,
    enough: u64,
}

const MOST: u64 = 200;

impl Done {
    pub(crate) fn until(enough: u64) -> Self {
        Self {
            count: AtomicU64::new(0),
            enough,
        }
    }

    pub(crate) fn one_more(&self) {
        self.count.fetch_add(1, AcqRel);
    }

    pub(crate) fn is_enough(&self) -> bool {
        self.count.load(Acquire) >= self.enough
    }

    /// Whether a thread goes on that has made so many accesses.
    pub(crate) fn goes_on(&self, access: u64, own_part: u64) -> bool {
        access < own_part || access < MOST * own_part && !self.is_enough()
    }
}

/// A thread that counts in its word of each page.
pub(crate) struct Writer {
    cpu: HostCpu,
    view: View,
    word: u64,
    /// How far it got.
    pub(crate) counts: Vec<u64>,
}

impl Writer {
    pub(crate) fn new(view: View, word: u64) -> Self {
        Self {
            cpu: HostCpu::run(view.mm),
            view,
            word,
            counts: vec![0; PAGES as usize],
        }
    }

    /// Counts. What the word holds now.
    pub(crate) fn count_up(&mut self, page: u64) -> u64 {
        let addr = self.view.word(page, self.word);
        let count = &mut self.counts[page as usize];
        let found = self.cpu.load(addr).unwrap();
        let expected = tagged(page, self.word, *count);
        assert_eq!(found, expected, "page {page}: a store was lost");
        *count += 1;
        let value = tagged(page, self.word, *count);
        self.cpu.store(addr, value).unwrap();
        value
    }
}

/// Looks that each word holds what its writer has counted to.
pub(crate) fn check_counts(view: View, counts: &[Vec<u64>]) {
    let mut cpu = HostCpu::run(view.mm);
    for (word, counts) in counts.iter().enumerate() {
        for (page, count) in counts.iter().enumerate() {
            let (page, word) = (page as u64, word as u64);
            let value = cpu.load(view.word(page, word)).unwrap();
            assert_eq!(value, tagged(page, word, *count), "page {page} word {word}");
        }
    }
}
