//! How fast executions are: three threads that each take three locks in turn and increment a word
//! under each, and the contended collapse race of `tests/counts.rs`.
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
    words: [AtomicU32; 16],
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
    fn name_objects(&self) {
        quiet(|| {
            for word in &self.words[..3] {
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

/// As `collapse` in `tests/counts.rs`; thread 0 collapses, the last one sets the flag, the others
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

/// The explorations that are measured remember states or do not.
fn config(cache: bool) -> Config {
    Config::default().cache(cache)
}

/// Threads that own their share of a world on the heap: abandoned executions are unwound.
fn owning(threads: usize, body: fn(&World, usize)) -> Report {
    explore(&config(false), || {
        let world = Arc::new(World::new());
        for thread in 0..threads {
            let world = Arc::clone(&world);
            thread::spawn_named("t", move || body(&world, thread));
        }
    })
}

/// A program of threads that own nothing, on a world that outlives them: abandoned executions are
/// forgotten.
fn on_a_lasting_world(threads: usize, cache: bool, body: fn(&World, usize)) -> impl FnMut() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    move || {
        for word in &world.words {
            word.store_quiet(0);
        }
        for lock in &world.locks {
            lock.reset_quiet();
        }
        if cache {
            world.name_objects();
        }
        for thread in 0..threads {
            // SAFETY: the closure owns nothing, and neither do the bodies in this file.
            unsafe { thread::spawn_forgettable("t", move || body(world, thread)) };
        }
    }
}

fn forgetting(threads: usize, cache: bool, body: fn(&World, usize)) -> Report {
    // SAFETY: the closure owns nothing.
    unsafe { explore_forgetting(&config(cache), on_a_lasting_world(threads, cache, body)) }
}

/// As [`forgetting`], by two workers.
fn together(threads: usize, body: fn(&World, usize)) -> Report {
    let start = || (on_a_lasting_world(threads, false, body), |_: Ended<'_>| {});
    // SAFETY: the closure owns nothing.
    unsafe { explore_forgetting_parallel(&config(false), 2, start) }
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
    measure("toy, forgetting", 200, || {
        forgetting(3, false, |world, _| toy(world))
    });
    measure("toy, cache", 200, || {
        forgetting(3, true, |world, _| toy(world))
    });
    measure("toy, owning", 200, || owning(3, |world, _| toy(world)));
    let contended = |world: &World, thread: usize| collapse(world, thread, 3, 2);
    measure("collapse(1,3,2), forgetting", 3, || {
        forgetting(5, false, contended)
    });
    measure("collapse(1,3,2), 2 workers", 3, || together(5, contended));
    measure("collapse(1,3,2), cache", 3, || {
        forgetting(5, true, contended)
    });
    measure("collapse(1,3,2), owning", 3, || owning(5, contended));
}
