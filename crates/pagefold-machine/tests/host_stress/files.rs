//! A file is written by a process, through its entries, and by calls, while it is written to the disk, moved out of memory and dropped from
//! page tables. What was written is read again, and in the end the disk has it. Closed, the file is collapsed, and opened again.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Acquire;
use std::thread;

use pagefold::addr::PageIndex;
use pagefold::collapse::{self, Limits, ScanResult};
use pagefold::filemap;
use pagefold::madvise;
use pagefold::mm::Mm;
use pagefold::mmap::{self, Sharing};
use pagefold::page_cache::Mapping;
use pagefold::platform::Word;
use pagefold::reclaim;
use pagefold_machine::host::{Host, HostCpu};

use crate::work::{
    AtWork, Done, HUGE, Object, PAGES, Random, Space, View, WRITERS, Writer, check_counts,
    count_in, end, machine, tagged,
};

const ROUNDS: u64 = 20;
const ACCESSES: u64 = 20_000;

/// Counts through the entries of a process.
fn write(view: View, done: &Done, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut writer = Writer::new(view, 0);
    let mut access = 0;
    while done.goes_on(access, ACCESSES) {
        writer.count_up(random.below(PAGES));
        access += 1;
    }
    writer.counts
}

/// Counts by calls.
fn write_by_calls(file: Object, done: &Done, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut counts = vec![0; PAGES as usize];
    let mut call = 0;
    while done.goes_on(call, ACCESSES / 8) {
        let page = random.below(PAGES);
        let count = &mut counts[page as usize];
        filemap::write(file, PageIndex(page), |pfn| {
            let word = &Host::page(pfn)[1];
            let found = word.load_acquire();
            assert_eq!(
                found,
                tagged(page, 1, *count),
                "page {page}: a write was lost"
            );
            *count += 1;
            word.store_release(tagged(page, 1, *count));
        })
        .unwrap();
        call += 1;
    }
    counts
}

/// Looks that no count goes back.
fn read(view: View, done: &Done, seed: u64) {
    let mut random = Random::new(seed);
    let mut cpu = HostCpu::run(view.mm);
    let mut seen = vec![0; (PAGES * WRITERS) as usize];
    let mut access = 0;
    while done.goes_on(access, ACCESSES) {
        let (page, word) = (random.below(PAGES), random.below(WRITERS));
        let count = count_in(page, word, cpu.load(view.word(page, word)).unwrap());
        let seen = &mut seen[(page * WRITERS + word) as usize];
        assert!(count >= *seen, "page {page} word {word} went back");
        *seen = count;
        access += 1;
    }
}

/// What can be done to the pages.
const OPERATIONS: u64 = 8;

/// Does to the pages what can be done to them, until it is enough and the others are done. How many were moved out.
fn disturb(file: Object, views: [View; 2], busy: &AtomicUsize, done: &Done, seed: u64) -> usize {
    let mut random = Random::new(seed);
    let mut moved_out = 0;
    let mut operation = 0;
    while busy.load(Acquire) > 0 || !done.is_enough() {
        let view = views[random.below(2) as usize];
        match operation % OPERATIONS {
            0 => filemap::fsync(file),
            1 => madvise::cold(view.mm, view.some(&mut random, 64)).unwrap(),
            2 => moved_out += reclaim::shrink(view.mm, view.some(&mut random, 64)),
            3 | 4 => madvise::dontneed(view.mm, view.some(&mut random, 64)).unwrap(),
            _ => moved_out += reclaim::pageout(view.mm, view.some(&mut random, 16)),
        }
        operation += 1;
        done.one_more();
        thread::yield_now();
    }
    moved_out
}

/// One file from its beginning to its end. How many pages were moved out, and how often it was collapsed.
fn round(writer: Space, reader: Space, number: u64) -> (usize, usize) {
    let file = Mapping::new_file(0, PAGES).unwrap();
    filemap::open_write(file).unwrap();
    let written = View::of_object(writer, file, Sharing::SharedWritable);
    let seen = View::of_object(reader, file, Sharing::Shared);
    let (busy, done) = (AtomicUsize::new(0), Done::until(4 * OPERATIONS));
    let done = &done;
    let seed = number * 8;
    let (counts, moved_out) = thread::scope(|scope| {
        let work = [0, 1, 2].map(|_| AtWork::begin(&busy));
        let [first, second, third] = work;
        let mapped = scope.spawn(move || {
            let _at_work = first;
            write(written, done, seed)
        });
        let called = scope.spawn(move || {
            let _at_work = second;
            write_by_calls(file, done, seed + 1)
        });
        scope.spawn(move || {
            let _at_work = third;
            read(seen, done, seed + 2);
        });
        let moved_out = disturb(file, [written, seen], &busy, done, seed + 3);
        ([mapped.join().unwrap(), called.join().unwrap()], moved_out)
    });
    check_counts(seen, &counts);
    mmap::munmap(writer, written.range).unwrap();
    filemap::fsync(file);
    check_disk(file, &counts);
    filemap::close_write(file).unwrap();
    let collapsed = (0..PAGES / HUGE)
        .map(|huge| collapse::collapse_mapping(file, PageIndex(huge * HUGE), Limits::NONE))
        .filter(|result| *result == ScanResult::Succeed)
        .count();
    assert_eq!(file.nr_thps(), collapsed as u64);
    check_counts(seen, &counts);
    filemap::open_write(file).unwrap();
    assert_eq!(file.nr_thps(), 0, "nobody can write these back");
    check_counts(seen, &counts);
    filemap::close_write(file).unwrap();
    mmap::munmap(reader, seen.range).unwrap();
    // SAFETY: nobody maps the file any more, and the threads that used it have ended.
    unsafe { Mapping::evict(file) };
    (moved_out, collapsed)
}

fn check_disk(file: Object, counts: &[Vec<u64>; 2]) {
    for page in 0..PAGES {
        let kept = Host::page(file.disk_page(PageIndex(page)).unwrap());
        for word in 0..WRITERS {
            let value = kept[word as usize].load_acquire();
            let count = counts[word as usize][page as usize];
            assert_eq!(value, tagged(page, word, count), "page {page} word {word}");
        }
    }
}

#[test]
fn what_is_written_to_a_file_is_on_the_disk() {
    let _machine = machine();
    let spaces = [0, 1].map(|id| Mm::<Host>::new(id).unwrap());
    let (mut moved_out, mut collapsed) = (0, 0);
    for number in 0..ROUNDS {
        let (out, huge) = round(spaces[0], spaces[1], number);
        moved_out += out;
        collapsed += huge;
    }
    println!("{ROUNDS} rounds: {moved_out} pages moved out, {collapsed} collapsed");
    assert!(moved_out > 0 && collapsed > 0);
    end(&spaces);
}
