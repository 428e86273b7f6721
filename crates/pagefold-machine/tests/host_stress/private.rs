//! Private memory of a process is collapsed, moved out to swap and brought back, and shared with children, while two threads write it and
//! have pages of it pinned. A child sees what the memory held when it was made, whatever its parent does; and the reverse.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Acquire;
use std::thread;

use pagefold::addr::{Pfn, VirtAddr};
use pagefold::collapse::{self, Limits, ScanResult};
use pagefold::fork;
use pagefold::gup;
use pagefold::madvise;
use pagefold::mm::Mm;
use pagefold::mmap;
use pagefold::platform::{Counter, Word};
use pagefold::reclaim;
use pagefold_machine::host::{Host, HostCpu};

use crate::work::{
    AtWork, Done, PAGES, Random, Space, View, WRITERS, Writer, check_counts, count_in, end,
    machine, tagged,
};

const ROUNDS: u64 = 20;
const ACCESSES: u64 = 30_000;
const CHILD_WORD: u64 = 7;
const PIN_EACH: u64 = 500;
const PINNED: u64 = 100;

/// Counts in its word of random pages; at times has one of them pinned, and counts through the pin.
fn write(view: View, word: u64, done: &Done, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut writer = Writer::new(view, word);
    let mut pin: Option<(u64, Pfn)> = None;
    let mut access = 0_u64;
    while !access.is_multiple_of(PIN_EACH) || done.goes_on(access, ACCESSES) {
        let page = random.below(PAGES);
        writer.count_up(page);
        if access.is_multiple_of(PIN_EACH) {
            let pfn = gup::pin_user_page(view.mm, view.page(page), true).unwrap();
            pin = Some((page, pfn));
        }
        if access % PIN_EACH == PINNED
            && let Some((page, pfn)) = pin.take()
        {
            let value = writer.count_up(page);
            let place = &Host::page(pfn)[word as usize];
            assert_eq!(place.load_acquire(), value, "a pinned page was moved");
            let count = &mut writer.counts[page as usize];
            *count += 1;
            place.store_release(tagged(page, word, *count));
            gup::unpin_user_page_dirty::<Host>(pfn);
        }
        access += 1;
    }
    writer.counts
}

/// What came of it.
#[derive(Default, Debug)]
struct Tally {
    collapsed: u64,
    moved_out: usize,
    children: u64,
}

/// Touches all pages and moves them out. How many.
fn begin_in_swap(view: View) -> usize {
    let mut cpu = HostCpu::run(view.mm);
    for page in 0..PAGES {
        cpu.store(view.word(page, CHILD_WORD), 0).unwrap();
    }
    reclaim::pageout(view.mm, view.range)
}

/// What can be done to the memory.
const OPERATIONS: u64 = 16;

/// Does to the memory what can be done to it, until it is enough and the others are done.
fn disturb(view: View, busy: &AtomicUsize, done: &Done, seed: u64) -> Tally {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut operation = 0;
    while busy.load(Acquire) > 0 || !done.is_enough() {
        let mut note = |_: VirtAddr, result| {
            tally.collapsed += u64::from(result == ScanResult::Succeed);
        };
        match operation % OPERATIONS {
            // The error is the last refusal, which is noted.
            0 | 1 => drop(collapse::madvise_collapse(view.mm, view.range, note)),
            2 => collapse::khugepaged_scan_mm(view.mm, Limits::default_of::<Host>(), &mut note),
            3 => {
                have_a_child(view, &mut random);
                tally.children += 1;
            }
            4 => madvise::cold(view.mm, view.some(&mut random, 64)).unwrap(),
            5 | 6 => tally.moved_out += reclaim::shrink(view.mm, view.some(&mut random, 64)),
            _ => tally.moved_out += reclaim::pageout(view.mm, view.some(&mut random, 64)),
        }
        operation += 1;
        done.one_more();
        thread::yield_now();
    }
    tally
}

/// A child that lives for a moment.
fn have_a_child(view: View, random: &mut Random) {
    let child: Space = Mm::new(view.mm.id + 1).unwrap();
    fork::dup_mmap(view.mm, child).unwrap();
    let copy = View { mm: child, ..view };
    {
        let mut cpu = HostCpu::run(child);
        for _ in 0..64 {
            let (page, word) = (random.below(PAGES), random.below(WRITERS));
            let before = cpu.load(copy.word(page, word)).unwrap();
            count_in(page, word, before);
            cpu.store(copy.word(page, CHILD_WORD), page).unwrap();
            reclaim::pageout(child, copy.some(random, 4));
            let after = cpu.load(copy.word(page, word)).unwrap();
            assert_eq!(
                before, after,
                "page {page}: a child sees its parent's store"
            );
            assert_eq!(cpu.load(copy.word(page, CHILD_WORD)).unwrap(), page);
        }
    }
    mmap::exit_mm(child);
    // SAFETY: no thread runs the process any more.
    unsafe { mmap::mmdrop(child) };
}

#[test]
fn private_memory_stays_what_it_is() {
    let _machine = machine();
    let mm: Space = Mm::new(0).unwrap();
    let mut total = Tally::default();
    for number in 0..ROUNDS {
        let view = View::private(mm, 4);
        total.moved_out += begin_in_swap(view);
        let (busy, done) = (AtomicUsize::new(0), Done::until(2 * OPERATIONS));
        let done = &done;
        let (counts, tally) = thread::scope(|scope| {
            let writers = [0, 1].map(|word| {
                let at_work = AtWork::begin(&busy);
                scope.spawn(move || {
                    let _at_work = at_work;
                    write(view, word, done, number * 4 + word)
                })
            });
            let tally = disturb(view, &busy, done, number * 4 + 2);
            (writers.map(|writer| writer.join().unwrap()), tally)
        });
        check_counts(view, &counts);
        let mut cpu = HostCpu::run(mm);
        for page in 0..PAGES {
            let word = cpu.load(view.word(page, CHILD_WORD)).unwrap();
            assert_eq!(word, 0, "page {page}: a child's store");
        }
        drop(cpu);
        mmap::munmap(mm, view.range).unwrap();
        assert_eq!(mm.swap_entries().get(), 0);
        total.collapsed += tally.collapsed;
        total.moved_out += tally.moved_out;
        total.children += tally.children;
    }
    println!("{ROUNDS} rounds: {total:?}");
    assert!(total.collapsed > 0 && total.moved_out > 0 && total.children > 0);
    end(&[mm]);
}
