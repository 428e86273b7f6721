//! Three processes use an object at full speed while it is collapsed, and taken apart, again and again.
//!
//! Two map it shared, one privately. Writers own words that nobody else writes to and count in them; readers look that no
//! count ever goes back and that no word holds what belongs elsewhere; the private process looks that its copies stay its own;
//! pinned pages have to stay where they are. When a round is over, the books are compared with a census of the page tables; at
//! the end, every frame has to be back.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Acquire;
use std::thread;

use pagefold::accounting::PageKind;
use pagefold::addr::{AddrRange, Pfn, VirtAddr};
use pagefold::collapse::{self, Limits, ScanResult};
use pagefold::gup;
use pagefold::madvise;
use pagefold::mm::Mm;
use pagefold::mmap::{self, Sharing};
use pagefold::page_cache::Mapping;
use pagefold::platform::{Counter, Word};
use pagefold::reclaim;
use pagefold_machine::host::{Host, HostCpu};

use crate::census::Census;
use crate::work::{
    AtWork, HUGE, PAGES, Random, Space, View, WRITERS, Writer, count_in, end, machine, tagged,
};

const PRIVATE_WORD: u64 = 7;

const ROUNDS: u64 = 500;
const ACCESSES: u64 = 64_000;

/// A page that is pinned, so that it has to stay where it is.
struct Pin {
    page: u64,
    pfn: Pfn,
}

/// For how many accesses a pin is held, and after how many the next one is taken.
const PINNED: u64 = 500;
const PIN_EACH: u64 = 2000;
const _: () = assert!(ACCESSES.is_multiple_of(PIN_EACH), "no pin is left over");

/// Counts in its word of random pages; at times has one of them pinned. Returns how far it got in each page.
fn write(view: View, word: u64, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut writer = Writer::new(view, word);
    let mut pin = None;
    for access in 0..ACCESSES {
        let page = random.below(PAGES);
        writer.count_up(page);
        if access % PIN_EACH == 0 {
            let pfn = gup::get_user_page(view.mm, view.page(page), true).unwrap();
            pin = Some(Pin { page, pfn });
        }
        if access % PIN_EACH == PINNED
            && let Some(Pin { page, pfn }) = pin.take()
        {
            let value = writer.count_up(page);
            let pinned = Host::page(pfn)[word as usize].load_acquire();
            assert_eq!(pinned, value, "a pinned page was moved");
            gup::put_user_page::<Host>(pfn);
        }
    }
    writer.counts
}

/// Looks at random words of random pages, and now and then through a pin.
fn read(view: View, seed: u64) {
    let mut random = Random::new(seed);
    let mut cpu = HostCpu::run(view.mm);
    let mut seen = vec![0; (PAGES * WRITERS) as usize];
    for access in 0..ACCESSES {
        let (page, word) = (random.below(PAGES), random.below(WRITERS));
        let value = if access % 16 == 0
            && let Some(pfn) = gup::get_user_page_fast(view.mm, view.page(page), false)
        {
            let value = Host::page(pfn)[word as usize].load_acquire();
            gup::put_user_page::<Host>(pfn);
            value
        } else {
            cpu.load(view.word(page, word)).unwrap()
        };
        let count = count_in(page, word, value);
        let seen = &mut seen[(page * WRITERS + word) as usize];
        assert!(
            count >= *seen,
            "page {page} word {word} went back from {seen} to {count}"
        );
        *seen = count;
    }
}

/// A private copy: what the writers' words held when it was made, and how far its owner counted.
struct Copy {
    frozen: [u64; WRITERS as usize],
    count: u64,
}

/// Makes private copies of some pages, looks at those and at pages that are still the object's. Returns the copies.
fn write_privately(view: View, seed: u64) -> Vec<Option<Copy>> {
    let mut random = Random::new(seed);
    let mut cpu = HostCpu::run(view.mm);
    let mut copies: Vec<Option<Copy>> = (0..PAGES).map(|_| None).collect();
    let mut seen = vec![[0; WRITERS as usize]; PAGES as usize];
    for _ in 0..ACCESSES {
        let page = random.below(PAGES);
        let mut now = [0; WRITERS as usize];
        for word in 0..WRITERS {
            let value = cpu.load(view.word(page, word)).unwrap();
            now[word as usize] = count_in(page, word, value);
        }
        let seen = &mut seen[page as usize];
        assert!(now.iter().zip(&*seen).all(|(now, seen)| now >= seen));
        *seen = now;
        let own = view.word(page, PRIVATE_WORD);
        let place = &mut copies[page as usize];
        if place.is_none() && page.is_multiple_of(8) {
            cpu.store(own, tagged(page, PRIVATE_WORD, 1)).unwrap();
            let frozen = [0, 1].map(|word| cpu.load(view.word(page, word)).unwrap());
            *place = Some(Copy { frozen, count: 1 });
        }
        let count = place.as_ref().map_or(0, |copy| copy.count);
        let value = cpu.load(own).unwrap();
        assert_eq!(value, tagged(page, PRIVATE_WORD, count));
        if let Some(copy) = place {
            check_copy(&mut cpu, view, page, copy);
            copy.count += 1;
            cpu.store(own, tagged(page, PRIVATE_WORD, copy.count))
                .unwrap();
        }
    }
    copies
}

fn check_copy(cpu: &mut HostCpu, view: View, page: u64, copy: &Copy) {
    for word in 0..WRITERS {
        let value = cpu.load(view.word(page, word)).unwrap();
        assert_eq!(
            value, copy.frozen[word as usize],
            "a private copy changed with the object"
        );
    }
    let own = cpu.load(view.word(page, PRIVATE_WORD)).unwrap();
    assert_eq!(own, tagged(page, PRIVATE_WORD, copy.count));
}

/// What came of the collapses.
#[derive(Default, Debug)]
struct Tally {
    collapsed: u64,
    refused: u64,
    retracted: u64,
    split: u64,
    moved_out: u64,
}

/// Collapses, on behalf of one process and of another, and splits the huge mappings that come of it, until the others are done.
fn collapse_and_split(first: View, second: View, busy: &AtomicUsize, seed: u64) -> Tally {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut huge = [false; (PAGES / HUGE) as usize];
    let mut note = |tally: &mut Tally, start: u64, result: ScanResult| {
        // The first success of a range is its collapse; a later one only gives a process its huge entry back.
        let huge = &mut huge[(start / HUGE) as usize];
        if result == ScanResult::Succeed {
            tally.collapsed += u64::from(!*huge);
            *huge = true;
        } else if !*huge {
            tally.refused += 1;
        }
    };
    while busy.load(Acquire) > 0 {
        let tables = second.mm.nr_ptes().get();
        let before = tally.collapsed;
        let page_of = |view: View, addr: VirtAddr| addr.page() - view.range.start.page();
        if random.below(2) == 0 {
            // The error is the last refusal, which is noted.
            let _ = collapse::madvise_collapse(first.mm, first.range, |addr, result| {
                note(&mut tally, page_of(first, addr), result);
            });
        } else {
            collapse::khugepaged_scan_mm(first.mm, Limits::default_of::<Host>(), |addr, result| {
                note(&mut tally, page_of(first, addr), result);
            });
        }
        if tally.collapsed > before && second.mm.nr_ptes().get() < tables {
            tally.retracted += 1;
        }
        for view in [first, second] {
            let start = view.page(random.below(PAGES - 4));
            let only_huge = view.mm.nr_ptes().get() == 0 && view.mm.rss(PageKind::Shmem).get() > 0;
            tally.split += u64::from(only_huge);
            madvise::dontneed(view.mm, AddrRange::pages(start, 4)).unwrap();
            // What is in small pages may go to swap, and comes back.
            tally.moved_out += reclaim::pageout(view.mm, AddrRange::pages(start, 4)) as u64;
        }
        thread::yield_now();
    }
    tally
}

/// What each page must hold in the end.
fn check_content(view: View, counts: [&[u64]; WRITERS as usize], copies: &[Option<Copy>]) {
    let mut cpu = HostCpu::run(view.mm);
    for page in 0..PAGES {
        if let Some(Some(copy)) = copies.get(page as usize) {
            check_copy(&mut cpu, view, page, copy);
            continue;
        }
        for word in 0..WRITERS {
            let value = cpu.load(view.word(page, word)).unwrap();
            let count = counts[word as usize][page as usize];
            assert_eq!(value, tagged(page, word, count), "page {page} word {word}");
        }
    }
}

/// One object from its beginning to its end.
fn round(spaces: [Space; 3], number: u64) -> Tally {
    let object = Mapping::new(0, PAGES).unwrap();
    let views = [
        View::of_object(spaces[0], object, Sharing::Shared),
        View::of_object(spaces[1], object, Sharing::Shared),
        View::of_object(spaces[2], object, Sharing::Private),
    ];
    let [first, second, private] = views;
    let busy = AtomicUsize::new(0);
    let (counts, copies, tally) = thread::scope(|scope| {
        let writers = [(first, 0), (second, 1)].map(|(view, word)| {
            let at_work = AtWork::begin(&busy);
            scope.spawn(move || {
                let _at_work = at_work;
                write(view, word, number * 8 + word)
            })
        });
        let at_work = AtWork::begin(&busy);
        scope.spawn(move || {
            let _at_work = at_work;
            read(second, number * 8 + 2);
        });
        let at_work = AtWork::begin(&busy);
        let private = scope.spawn(move || {
            let _at_work = at_work;
            write_privately(private, number * 8 + 3)
        });
        let tally = collapse_and_split(first, second, &busy, number * 8 + 4);
        (
            writers.map(|writer| writer.join().unwrap()),
            private.join().unwrap(),
            tally,
        )
    });
    let counts = [&counts[0][..], &counts[1][..]];
    check_content(first, counts, &[]);
    check_content(second, counts, &[]);
    check_content(private, counts, &copies);
    Census::of(&spaces, object).check(&spaces, object);
    for view in views {
        mmap::munmap(view.mm, view.range).unwrap();
    }
    let census = Census::of(&spaces, object);
    census.check(&spaces, object);
    assert!(census.is_unmapped());
    // SAFETY: nobody maps the object any more, and the threads that used it have ended.
    unsafe { Mapping::evict(object) };
    tally
}

#[test]
fn processes_go_on_while_their_memory_is_collapsed() {
    let _machine = machine();
    let spaces = [0, 1, 2].map(|id| Mm::<Host>::new(id).unwrap());
    let mut total = Tally::default();
    for number in 0..ROUNDS {
        let tally = round(spaces, number);
        total.collapsed += tally.collapsed;
        total.refused += tally.refused;
        total.retracted += tally.retracted;
        total.split += tally.split;
        total.moved_out += tally.moved_out;
        Host::rcu_barrier();
        assert_eq!(Host::frames_in_use(), spaces.len(), "frames were lost");
    }
    println!("{ROUNDS} rounds: {total:?}");
    assert!(total.collapsed > 0 && total.retracted > 0 && total.split > 0);
    assert!(total.moved_out > 0);
    for mm in spaces {
        assert_eq!(mm.rss(PageKind::Shmem).get(), 0);
        assert_eq!(mm.rss(PageKind::Anon).get(), 0);
        assert_eq!(mm.nr_ptes().get(), 0);
    }
    end(&spaces);
}
