//! Executions that begin in the middle come out the same as those that begin at the start.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::AtomicU64 as Count;
use std::sync::atomic::Ordering::Relaxed;

use pagefold_explore::sync::atomic::{AtomicU64, Ordering::SeqCst};
use pagefold_explore::sync::{LockClass, RawLock, RawRwSem};
use pagefold_explore::{
    Config, Ended, Memory, Report, Search, Verdict, World, explore_rewinding_parallel, fail, rcu,
    thread,
};

static LOCK: LockClass = LockClass::spin("lock");
static OTHER: LockClass = LockClass::spin("other");
static SEMAPHORE: LockClass = LockClass::sleep("semaphore");

/// All that the programs below read and write but their stacks.
struct Memories {
    words: [AtomicU64; 3],
    locks: [RawLock; 2],
    semaphore: RawRwSem,
    /// Not seen by the search: a sum over what was read.
    sum: Cell<u64>,
}

impl Memories {
    fn new() -> Self {
        Self {
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            locks: [RawLock::new(&LOCK), RawLock::new(&OTHER)],
            semaphore: RawRwSem::new(&SEMAPHORE),
            sum: Cell::new(0),
        }
    }
}

/// The memory of a worker, and how often it was put back.
struct Saved<'a> {
    memory: Rc<Cell<*mut Memories>>,
    restored: &'a Count,
}

// SAFETY: the programs below read and write nothing else; on their stacks there is plain data, and all threads are forgettable.
unsafe impl World for Saved<'_> {
    fn save(&self, saved: &mut Vec<u8>) {
        let memory = self.memory.get().cast::<u8>();
        // SAFETY: valid as long as the worker, and no thread runs. Padding is copied as bytes and never looked at.
        let bytes = unsafe { std::slice::from_raw_parts(memory, size_of::<Memories>()) };
        saved.extend_from_slice(bytes);
    }

    unsafe fn restore(&self, saved: &[u8]) {
        self.restored.fetch_add(1, Relaxed);
        let memory = self.memory.get().cast::<u8>();
        // SAFETY: of the size that was saved, valid as long as the worker, and no thread exists.
        unsafe { memory.copy_from_nonoverlapping(saved.as_ptr(), saved.len()) };
    }
}

/// A sequence of numbers that depends on its seed.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// What a thread does: operations on all sorts of objects, of which some make others.
fn act(memory: &'static Memories, mut seed: u64, steps: u32) {
    for _ in 0..steps {
        let word = &memory.words[next(&mut seed) as usize % 3];
        let lock = &memory.locks[next(&mut seed) as usize % 2];
        match next(&mut seed) % 8 {
            0 => word.store(next(&mut seed) % 4, SeqCst),
            1 => memory
                .sum
                .set(memory.sum.get() % 1_000 * 5 + word.load(SeqCst)),
            2 => {
                lock.lock();
                word.store(word.load(SeqCst) + 1, SeqCst);
                if next(&mut seed).is_multiple_of(3) {
                    // One order of locks, or the other.
                    let other = &memory.locks[next(&mut seed) as usize % 2];
                    if !std::ptr::eq(lock, other) {
                        other.lock();
                        other.unlock();
                    }
                }
                lock.unlock();
            }
            3 => {
                memory.semaphore.read();
                memory
                    .sum
                    .set(memory.sum.get() % 1_000 * 3 + word.load(SeqCst));
                memory.semaphore.read_unlock();
            }
            4 if memory.semaphore.try_write() => {
                word.store(7, SeqCst);
                memory.semaphore.downgrade();
                memory.semaphore.read_unlock();
            }
            5 => {
                let _section = rcu::read();
                word.fetch_add(1, SeqCst);
                memory.words[0].load(SeqCst);
            }
            6 if steps > 3 => {
                // SAFETY: the closure owns nothing but plain data.
                unsafe { rcu::call_forgettable(move || act(memory, seed, 2)) };
            }
            7 if steps > 3 => {
                // SAFETY: as above.
                let child =
                    unsafe { thread::spawn_forgettable("child", move || act(memory, seed, 3)) };
                if seed.is_multiple_of(3) {
                    thread::join(child);
                }
            }
            _ => drop(word.compare_exchange(1, 2, SeqCst, SeqCst)),
        }
    }
}

/// A program of three threads. At the end the one that spawned them fails if the words sum up to a certain number.
fn program(memory: &'static Memories, seed: u64, wrong: u64) {
    let threads: [_; 3] = std::array::from_fn(|number| {
        let mut seed = seed ^ number as u64;
        next(&mut seed);
        // SAFETY: the closure owns nothing but plain data.
        unsafe { thread::spawn_forgettable(format!("t{number}"), move || act(memory, seed, 12)) }
    });
    for thread in threads {
        thread::join(thread);
    }
    let sum: u64 = memory.words.iter().map(|word| word.load(SeqCst)).sum();
    if sum + memory.sum.get() % 7 == wrong {
        fail("sum", format!("the words sum up to {sum}"));
    }
}

/// Two locks are taken in one order at the start, and in the other at the end, but only if others have stored in a certain order.
fn out_of_order(memory: &'static Memories, variant: u64) {
    let [go, first, second] = &memory.words;
    let [one, other] = &memory.locks;
    for number in 0..3 {
        let body = move || match (number + variant) % 3 {
            0 => {
                one.lock();
                other.lock();
                other.unlock();
                one.unlock();
                for _ in 0..50 {
                    go.load(SeqCst);
                }
                first.store(1, SeqCst);
            }
            1 => {
                for value in 1..6 {
                    second.store(value, SeqCst);
                }
            }
            _ => {
                if first.load(SeqCst) == 1 && second.load(SeqCst) == variant / 3 {
                    other.lock();
                    one.lock();
                    one.unlock();
                    other.unlock();
                }
            }
        };
        // SAFETY: the closure owns nothing but plain data.
        unsafe { thread::spawn_forgettable("t", body) };
    }
}

/// What the search found, and how often the memory was put back.
fn explore(
    config: &Config,
    workers: usize,
    program: impl Fn(&'static Memories) + Sync,
) -> (Report, u64) {
    let restored = Count::new(0);
    let program = &program;
    let start = || {
        let memory = Rc::new(Cell::new(std::ptr::from_mut(Box::leak(Box::new(
            Memories::new(),
        )))));
        let own = Rc::clone(&memory);
        let body = move || {
            // SAFETY: no other thread of the program exists yet.
            unsafe { own.get().write(Memories::new()) };
            // SAFETY: it is never freed.
            program(unsafe { &*own.get() });
        };
        let saved = Saved {
            memory,
            restored: &restored,
        };
        (body, saved, |_: Ended<'_>| {})
    };
    // SAFETY: what the body owns outlives the exploration; on the stacks there is plain data.
    let report = unsafe { explore_rewinding_parallel(config, workers, start) };
    (report, restored.into_inner())
}

fn assert_equal(config: &Config, workers: usize, seed: u64, wrong: u64) -> u64 {
    assert_same(config, workers, |memory| program(memory, seed, wrong))
}

fn assert_same(config: &Config, workers: usize, program: impl Fn(&'static Memories) + Sync) -> u64 {
    let (afresh, never) = explore(&config.clone().rewind(false), 1, &program);
    let (rewound, restored) = explore(config, workers, &program);
    assert!(
        format!("{rewound:?}") == format!("{afresh:?}"),
        "{workers} workers: {rewound}, but from the start {afresh}"
    );
    assert_eq!(never, 0, "nothing is put back if that is not wanted");
    restored
}

fn limits() -> Config {
    Config::default()
        .max_executions(2_000)
        .minimize_executions(300)
}

#[test]
fn the_report_is_the_same_to_the_last_figure_and_step() {
    let mut restored = 0;
    for seed in 0..25 {
        for wrong in [3, u64::MAX] {
            restored += assert_equal(&limits(), 1, seed, wrong);
        }
    }
    assert!(
        restored > 20_000,
        "the memory was put back {restored} times"
    );
}

#[test]
fn the_order_of_locks_is_put_back() {
    let mut broken = 0;
    for variant in 0..18 {
        let config = limits().minimize_executions(0);
        assert_same(&config, 1, |memory| out_of_order(memory, variant));
        let (report, restored) = explore(&config, 1, |memory| out_of_order(memory, variant));
        broken += u32::from(restored > 0 && matches!(report.verdict, Verdict::Broken(_)));
    }
    assert!(
        broken > 2,
        "{broken} were found only after memory was put back"
    );
}

#[test]
fn with_several_workers() {
    for seed in 100..110 {
        assert!(assert_equal(&limits(), 3, seed, u64::MAX) > 0);
    }
}

#[test]
fn with_few_preemptions_and_without_reduction() {
    for seed in 200..210 {
        assert!(assert_equal(&limits().max_preemptions(1), 1, seed, 3) > 0);
        assert!(
            assert_equal(
                &limits().search(Search::EveryInterleaving),
                1,
                seed,
                u64::MAX
            ) > 0
        );
        assert!(assert_equal(&limits().hunt_after(100), 1, seed, u64::MAX) > 0);
    }
}

/// What is not put back is executed again.
#[test]
fn with_what_keeps_more_of_an_execution() {
    for seed in 300..303 {
        assert_eq!(assert_equal(&limits().cache(true), 1, seed, 3), 0);
        assert_eq!(
            assert_equal(&limits().memory(Memory::Tso), 1, seed, u64::MAX),
            0
        );
        assert_eq!(
            assert_equal(&limits().memory(Memory::Ra), 1, seed, u64::MAX),
            0
        );
    }
}
