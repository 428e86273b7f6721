//! Each page is at one of two addresses. A thread counts at the one, another at the other; who misses a page has a monitor move it there
//! (UFFDIO_MOVE). Meanwhile pages go to swap, and ranges that are whole are collapsed and move as one.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Acquire;
use std::thread;

use pagefold::Ref;
use pagefold::addr::AddrRange;
use pagefold::collapse;
use pagefold::mm::Mm;
use pagefold::mmap;
use pagefold::platform::Counter;
use pagefold::reclaim;
use pagefold::userfault::{self, Features, Modes, UffdError, Userfaultfd};
use pagefold_machine::host::{Host, HostCpu};

use crate::work::{AtWork, HUGE, PAGES, Random, Space, View, Writer, end, machine, tagged};

const ROUNDS: u64 = 3;
const ACCESSES: u64 = 1_000;
/// After how many events a range is made whole and moved at once.
const WHOLE_EACH: u64 = 64;
/// Is 1 in each page: what is missing reads as zeros once nobody is told of it.
const MARK: u64 = 5;

/// What came of it.
#[derive(Default, Debug)]
struct Tally {
    singly: u64,
    at_once: u64,
    moved_out: usize,
}

/// Moves what is missed.
fn monitor(userfaultfd: Ref<Host, Userfaultfd<Host>>, views: [View; 2]) -> Tally {
    let mut tally = Tally::default();
    let mut events = 0;
    while let Some(message) = userfaultfd.read() {
        events += 1;
        let missed = message.range.start;
        let [to, from] = if views[0].range.contains(missed) {
            views
        } else {
            [views[1], views[0]]
        };
        let page = missed.page() - to.range.start.page();
        move_page(to, from, page, &mut tally);
        if events % WHOLE_EACH == 0 {
            move_whole(to, from, page / HUGE * HUGE, &mut tally);
        }
    }
    tally
}

/// Moves a page, if it is not there already. Nobody else moves pages; but others may have it for a moment.
fn move_page(to: View, from: View, page: u64, tally: &mut Tally) {
    loop {
        let one = AddrRange::pages(from.page(page), 1);
        match userfault::move_pages(to.mm, to.page(page), one, false) {
            Ok(()) => tally.singly += 1,
            Err(UffdError::Exists) => {}
            Err(UffdError::Busy | UffdError::Again) => {
                thread::yield_now();
                continue;
            }
            Err(error) => panic!("page {page} is at neither place: {error}"),
        }
        return;
    }
}

/// Has a whole range at one place, as a huge page if that can be, and moves it to the other.
fn move_whole(to: View, from: View, start: u64, tally: &mut Tally) {
    for page in start..start + HUGE {
        move_page(to, from, page, tally);
    }
    let there = AddrRange::pages(to.page(start), HUGE);
    let whole = collapse::madvise_collapse(to.mm, there, |_, _| ()).is_ok();
    let moved = userfault::move_pages(to.mm, from.page(start), there, false).is_ok();
    tally.at_once += u64::from(whole && moved);
}

fn write(view: View, word: u64, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut writer = Writer::new(view, word);
    for _ in 0..ACCESSES {
        writer.count_up(random.below(PAGES));
    }
    writer.counts
}

/// Moves pages out, until the others are done. How many.
fn page_out(views: [View; 2], busy: &AtomicUsize, seed: u64) -> usize {
    let mut random = Random::new(seed);
    let mut moved_out = 0;
    while busy.load(Acquire) > 0 {
        let view = views[random.below(2) as usize];
        moved_out += reclaim::pageout(view.mm, view.some(&mut random, 16));
        thread::yield_now();
    }
    moved_out
}

/// Each page is at one of the places, with what was counted.
fn check_places(views: [View; 2], counts: &[Vec<u64>; 2]) {
    let mut cpu = HostCpu::run(views[0].mm);
    for page in 0..PAGES {
        let marks = views.map(|view| cpu.load(view.word(page, MARK)).unwrap());
        assert_eq!(marks[0] + marks[1], 1, "page {page} is at one place");
        let view = views[usize::from(marks[1] == 1)];
        for (word, counts) in (0..).zip(counts) {
            let value = cpu.load(view.word(page, word)).unwrap();
            assert_eq!(value, tagged(page, word, counts[page as usize]));
        }
    }
}

fn round(mm: Space, number: u64) -> Tally {
    let views = [4, 8].map(|place| View::private(mm, place));
    {
        let mut cpu = HostCpu::run(mm);
        for page in 0..PAGES {
            cpu.store(views[0].word(page, MARK), 1).unwrap();
        }
    }
    let userfaultfd = Userfaultfd::new(mm, Features::default());
    let modes = Modes {
        missing: true,
        ..Modes::default()
    };
    for view in views {
        userfault::register(mm, view.range, userfaultfd, modes).unwrap();
    }
    let busy = AtomicUsize::new(0);
    let (counts, tally) = thread::scope(|scope| {
        let monitor = scope.spawn(move || monitor(userfaultfd, views));
        let writers = [0, 1].map(|word| {
            let at_work = AtWork::begin(&busy);
            scope.spawn(move || {
                let _at_work = at_work;
                write(views[word as usize], word, number * 4 + word)
            })
        });
        let moved_out = page_out(views, &busy, number * 4 + 2);
        userfaultfd.hang_up();
        let mut tally = Tally {
            moved_out,
            ..monitor.join().unwrap()
        };
        let counts = writers.map(|writer| writer.join().unwrap());
        // Nobody comes in between.
        move_whole(views[0], views[1], 0, &mut tally);
        (counts, tally)
    });
    userfault::close(mm, userfaultfd);
    check_places(views, &counts);
    for view in views {
        mmap::munmap(mm, view.range).unwrap();
    }
    assert_eq!(mm.swap_entries().get(), 0);
    tally
}

#[test]
fn pages_move_to_where_they_are_missed() {
    let _machine = machine();
    let mm: Space = Mm::new(0).unwrap();
    let mut total = Tally::default();
    for number in 0..ROUNDS {
        let tally = round(mm, number);
        total.singly += tally.singly;
        total.at_once += tally.at_once;
        total.moved_out += tally.moved_out;
    }
    println!("{ROUNDS} rounds: {total:?}");
    assert!(total.singly > 0 && total.at_once > 0);
    end(&[mm]);
}
