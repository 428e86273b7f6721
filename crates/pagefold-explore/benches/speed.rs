//! How fast executions are: three threads that each take three locks in turn and increment a word
//! under each; the contended collapse race of `tests/counts`; and programs of the literature for
//! which the times of other checkers are known.
//!
//! `cargo bench -p pagefold-explore [-- NAME]` prints, for each program (whose name contains `NAME`), executions,
//! classes (complete executions) and executions per second, best of several runs.

use std::time::Instant;

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, RawLock};
use pagefold_explore::{
    Config, Ended, Report, explore, explore_forgetting, explore_forgetting_parallel, hint, quiet,
    thread,
};

static LOCK: LockClass = LockClass::spin("lock").ranked(1);

struct World {
    words: [AtomicU32; 128],
    locks: [RawLock; 8],
}

impl World {
    fn new() -> Self {
        Self {
            words: std::array::from_fn(|_| AtomicU32::new(0)),
            locks: std::array::from_fn(|_| RawLock::new(&LOCK)),
        }
    }
}

impl World {
    /// Has the objects registered before the threads race, so that the cache knows them by the same
    /// names in all interleavings.
    fn name_objects(&self, words: usize) {
        quiet(|| {
            for word in &self.words[..words] {
                word.load(SeqCst);
            }
            for lock in &self.locks[..3] {
                lock.lock();
                lock.unlock();
            }
        });
    }
}

fn toy(world: &World) {
    for i in 0..3 {
        world.locks[i].lock();
        let value = world.words[i].load(SeqCst);
        world.words[i].store(value + 1, SeqCst);
        world.locks[i].unlock();
    }
}

/// As `collapse` in `tests/counts`; thread 0 collapses, the last one sets the flag, the others
/// fault.
fn collapse(world: &World, thread: usize, faulters: usize, rounds: usize) {
    let [entry, flag, page] = &world.words[..3] else {
        unreachable!("there are 16 words")
    };
    let [mapping, entry_lock, table_lock] = &world.locks[..3] else {
        unreachable!("there are 8 locks")
    };
    if thread == 0 {
        mapping.lock();
        if entry.load(SeqCst) == 0 {
            entry_lock.lock_nested();
            table_lock.lock_nested();
            if flag.load(SeqCst) == 0 {
                entry.store(1, SeqCst);
            }
            table_lock.unlock();
            entry_lock.unlock();
        }
        mapping.unlock();
    } else if thread <= faulters {
        for round in 0..rounds {
            hint::checkpoint(round as u64);
            if entry.load(SeqCst) == 1 {
                entry_lock.lock();
                if entry.load(SeqCst) == 1 {
                    entry.store(0, SeqCst);
                }
                entry_lock.unlock();
            }
            hint::checkpoint(round as u64);
            table_lock.lock();
            if entry.load(SeqCst) == 0 {
                page.store(1, SeqCst);
            }
            table_lock.unlock();
        }
    } else {
        table_lock.lock();
        flag.store(1, SeqCst);
        table_lock.unlock();
    }
}

/// One writes a word, the others read it.
fn readers(world: &World, thread: usize) {
    if thread == 0 {
        world.words[0].store(42, SeqCst);
    } else {
        world.words[0].load(SeqCst);
    }
}

/// Each of `n` threads makes its word one more than the word before; the last one looks from the end for
/// a word that is still zero.
fn lastzero(world: &World, thread: usize, n: usize) {
    if thread < n {
        let before = world.words[thread].load(SeqCst);
        world.words[thread + 1].store(before + 1, SeqCst);
    } else {
        let mut at = n;
        while world.words[at].load(SeqCst) != 0 {
            at -= 1;
        }
    }
}

/// Threads put four numbers each into a hash table with open addressing.
fn indexer(world: &World, thread: usize) {
    for i in 0..4 {
        let number = 11 * i + thread + 1;
        let mut at = number * 7 % 128;
        let value = u32::try_from(number).expect("small");
        while world.words[at]
            .compare_exchange(0, value, SeqCst, SeqCst)
            .is_err()
        {
            at = (at + 1) % 128;
        }
    }
}

/// Each increments a word under one lock.
fn lockinc(world: &World) {
    world.locks[0].lock();
    let value = world.words[0].load(SeqCst);
    world.words[0].store(value + 1, SeqCst);
    world.locks[0].unlock();
}

/// The explorations that are measured remember states or do not. They are not interrupted to look for
/// errors first.
fn config(cache: bool) -> Config {
    Config::default().cache(cache).hunt_executions(0)
}

type Body = fn(&World, usize);

/// What is measured: so many threads that execute `body`, on so many words.
#[derive(Clone, Copy)]
struct Subject {
    threads: usize,
    words: usize,
    body: Body,
}

impl Subject {
    /// Threads that own their share of a world on the heap: abandoned executions are unwound.
    fn owning(self) -> Report {
        explore(&config(false), || {
            let world = Arc::new(World::new());
            for thread in 0..self.threads {
                let world = Arc::clone(&world);
                thread::spawn_named("t", move || (self.body)(&world, thread));
            }
        })
    }

    /// Threads that own nothing, on a world that outlives them: abandoned executions are forgotten.
    fn program(self, cache: bool) -> impl FnMut() {
        let world: &'static World = Box::leak(Box::new(World::new()));
        move || {
            for word in &world.words[..self.words] {
                word.store_quiet(0);
            }
            for lock in &world.locks {
                lock.reset_quiet();
            }
            if cache {
                world.name_objects(self.words);
            }
            for thread in 0..self.threads {
                // SAFETY: the closure owns nothing, and neither do the bodies in this file.
                unsafe { thread::spawn_forgettable("t", move || (self.body)(world, thread)) };
            }
        }
    }

    fn forgetting(self, cache: bool) -> Report {
        // SAFETY: the closure owns nothing.
        unsafe { explore_forgetting(&config(cache), self.program(cache)) }
    }

    /// As [`forgetting`](Self::forgetting) without a cache, by two workers.
    fn together(self) -> Report {
        let start = || (self.program(false), |_: Ended<'_>| {});
        // SAFETY: the closure owns nothing.
        unsafe { explore_forgetting_parallel(&config(false), 2, start) }
    }
}

fn measure(name: &str, runs: u32, explore: impl Fn() -> Report) {
    let mut wanted = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    if !wanted.all(|part| name.contains(&part)) {
        return;
    }
    let (seconds, report) = (0..runs)
        .map(|_| {
            let start = Instant::now();
            let report = explore();
            (start.elapsed().as_secs_f64(), report)
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .expect("at least one run");
    println!(
        "{name:<28} {:>8} executions {:>8} classes {:>8} cut {:>9} states {:>9.3} ms {:>9.0} executions/s",
        report.executions,
        report.complete,
        report.cut,
        report.states,
        seconds * 1e3,
        report.executions as f64 / seconds,
    );
}

fn main() {
    let subject = |threads, words, body| Subject {
        threads,
        words,
        body,
    };
    let small = subject(3, 3, |world, _| toy(world));
    measure("toy, forgetting", 200, || small.forgetting(false));
    measure("toy, cache", 200, || small.forgetting(true));
    measure("toy, owning", 200, || small.owning());
    let contended = subject(5, 3, |world, thread| collapse(world, thread, 3, 2));
    measure("collapse(1,3,2), forgetting", 3, || {
        contended.forgetting(false)
    });
    measure("collapse(1,3,2), 2 workers", 3, || contended.together());
    measure("collapse(1,3,2), cache", 3, || contended.forgetting(true));
    measure("collapse(1,3,2), owning", 3, || contended.owning());
    let larger = subject(5, 3, |world, thread| collapse(world, thread, 3, 3));
    measure("collapse(1,3,3), cache", 3, || larger.forgetting(true));
    measure("collapse(1,3,3), 1 worker", 1, || larger.forgetting(false));
    measure("collapse(1,3,3), 2 workers", 1, || larger.together());
    for (name, literature) in [
        ("readers(13)", subject(14, 1, readers)),
        (
            "lastzero(10)",
            subject(11, 11, |world, thread| lastzero(world, thread, 10)),
        ),
        ("indexer(15)", subject(15, 128, indexer)),
        ("lockinc(7)", subject(7, 1, |world, _| lockinc(world))),
    ] {
        measure(&format!("{name}, forgetting"), 5, || {
            literature.forgetting(false)
        });
        measure(&format!("{name}, cache"), 5, || literature.forgetting(true));
    }
}
