//! The observation cache on small random programs in which many states meet: threads that write to few
//! words and forget what they have read.
//!
//! With the cache and without, the final values must be the same, and the same kinds of violations
//! must be found, in no more executions. `EXPLORE_FUZZ_PROGRAMS` sets how many programs are compared,
//! `EXPLORE_FUZZ_SEED` the first seed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use pagefold_explore::cell::UnsafeCell;
use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, RawLock};
use pagefold_explore::{
    Config, Ended, Report, Verdict, explore, explore_observed, hint, quiet, thread,
};

static LOCK: LockClass = LockClass::sleep("lock").ranked(1);

/// A small generator of random numbers (xorshift64*), so that a seed means the same for ever.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.below(2);
        random
    }

    fn below(&mut self, n: u64) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16;
        usize::try_from(value % n).expect("a small number")
    }
}

const WORDS: u64 = 3;

/// A statement. Words and locks go by index, values are small.
#[derive(Clone, Copy, Debug)]
enum Op {
    Load(usize),
    Store(usize, u32),
    Add(usize),
    /// Store to the second word if the first one has the value.
    If(usize, u32, usize, u32),
    /// Add to the word under the lock.
    Locked(usize, usize),
    /// Store to the word if the lock can be had at once.
    Try(usize, usize, u32),
    /// Add to the word while holding both locks, the given one first.
    Both(usize, usize),
    /// Wait until the word is not 0.
    Wait(usize),
}

fn generate(seed: u64) -> Vec<Vec<Op>> {
    let mut random = Random::new(seed);
    let threads = 2 + random.below(3);
    let most = if threads == 4 { 2 } else { 3 };
    let kinds = [5, 8][random.below(2)];
    let mut op = || {
        let (word, other) = (random.below(WORDS), random.below(WORDS));
        let value = random.below(3) as u32;
        match random.below(kinds) {
            0 => Op::Load(word),
            1 | 2 => Op::Store(word, value),
            3 => Op::Add(word),
            4 => Op::If(word, random.below(2) as u32, other, value),
            5 => Op::Locked(random.below(2), word),
            6 => Op::Try(random.below(2), word, value),
            _ if random.below(3) == 0 => Op::Wait(word),
            _ => Op::Both(random.below(2), word),
        }
    };
    let bodies = (0..threads).map(|_| (0..most).map(|_| op()).collect());
    bodies.collect()
}

struct World {
    words: [AtomicU32; WORDS as usize],
    locks: [RawLock; 2],
}

impl World {
    fn new() -> Self {
        Self {
            words: Default::default(),
            locks: [RawLock::new(&LOCK), RawLock::new(&LOCK)],
        }
    }

    fn touch(&self) {
        quiet(|| {
            for word in &self.words {
                word.load(SeqCst);
            }
            for lock in &self.locks {
                lock.lock_nested();
                lock.unlock();
            }
        });
    }

    fn run(&self, op: Op) {
        let add = |word: usize| {
            let value = self.words[word].load(SeqCst);
            self.words[word].store(value + 1, SeqCst);
        };
        match op {
            Op::Load(word) => {
                self.words[word].load(SeqCst);
            }
            Op::Store(word, value) => self.words[word].store(value, SeqCst),
            Op::Add(word) => {
                self.words[word].fetch_add(1, SeqCst);
            }
            Op::If(word, value, other, new) => {
                if self.words[word].load(SeqCst) == value {
                    self.words[other].store(new, SeqCst);
                }
            }
            Op::Locked(lock, word) => {
                self.locks[lock].lock_nested();
                add(word);
                self.locks[lock].unlock();
            }
            Op::Try(lock, word, value) => {
                if self.locks[lock].try_lock() {
                    self.words[word].store(value, SeqCst);
                    self.locks[lock].unlock();
                }
            }
            Op::Both(first, word) => {
                self.locks[first].lock_nested();
                self.locks[1 - first].lock_nested();
                add(word);
                self.locks[1 - first].unlock();
                self.locks[first].unlock();
            }
            Op::Wait(word) => {
                self.words[word].wait_until(|value| value != 0);
            }
        }
    }
}

/// How executions can end.
type Ends = BTreeSet<(String, [u32; WORDS as usize])>;

fn ends(program: &[Vec<Op>], config: &Config) -> (Ends, Report) {
    let world: RefCell<Option<Arc<World>>> = RefCell::default();
    let mut ends = Ends::new();
    let body = || {
        let new = Arc::new(World::new());
        *world.borrow_mut() = Some(Arc::clone(&new));
        new.touch();
        for ops in program {
            let (world, ops) = (Arc::clone(&new), ops.clone());
            thread::spawn_named("t", move || {
                for (number, op) in ops.into_iter().enumerate() {
                    hint::checkpoint(number as u64);
                    world.run(op);
                }
            });
        }
    };
    let config = config
        .clone()
        .minimize_executions(u64::MAX)
        .hunt_executions(0);
    let report = explore_observed(&config, body, |ended: Ended<'_>| {
        let how = match ended {
            Ended::Complete => "complete",
            Ended::Broken(kind) => kind,
            Ended::Redundant | Ended::CutOff => return,
        };
        if let Some(world) = &*world.borrow() {
            let values = world.words.each_ref().map(AtomicU32::load_quiet);
            ends.insert((how.to_owned(), values));
        }
    });
    assert!(!matches!(report.verdict, Verdict::NotExhausted(_)));
    (ends, report)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn the_cache_misses_no_end() {
    let wanted = number(
        "EXPLORE_FUZZ_PROGRAMS",
        if cfg!(debug_assertions) { 500 } else { 5_000 },
    );
    let first = number("EXPLORE_FUZZ_SEED", 1);
    let (mut without, mut with, mut cut) = (0, 0, 0);
    for seed in first..first + wanted {
        let program = generate(seed);
        let config = Config::default().newest_first(seed % 2 == 0);
        let (expected, plain) = ends(&program, &config);
        // The threads keep their promise, and the checkpoints are right.
        let validate = if seed % 8 == 3 { 3 } else { 0 };
        let config = config.cache(true).validate_checkpoints(validate);
        let (got, cached) = ends(&program, &config);
        assert_eq!(got, expected, "seed {seed}: {program:#?}");
        assert!(
            cached.executions <= plain.executions,
            "seed {seed}: {program:#?}\n{plain}\n{cached}"
        );
        without += plain.executions;
        with += cached.executions;
        cut += cached.cut;
    }
    println!(
        "{wanted} programs, {without} executions without the cache, {with} with it ({cut} cut)"
    );
    assert!(with < without, "it saves work");
}

/// Data races depend on who knows of what, and not on the state: they must be found all the same.
#[test]
fn the_cache_misses_no_data_race() {
    let wanted = number(
        "EXPLORE_FUZZ_PROGRAMS",
        if cfg!(debug_assertions) { 300 } else { 3_000 },
    );
    let first = number("EXPLORE_FUZZ_SEED", 1);
    let (mut races, mut cut) = (0, 0);
    for seed in first..first + wanted {
        let mut random = Random::new(seed);
        let threads = 2 + random.below(2);
        // 0 and 1 access the cell, the others store to words.
        let mut body = || (0..4).map(|_| random.below(6)).collect::<Vec<_>>();
        let program: Vec<Vec<usize>> = (0..threads).map(|_| body()).collect();
        let run = || {
            let shared = Rc::new((<[AtomicU32; 4]>::default(), UnsafeCell::new(0)));
            quiet(|| {
                for word in &shared.0 {
                    word.load(SeqCst);
                }
            });
            for ops in &program {
                let (shared, ops) = (Rc::clone(&shared), ops.clone());
                thread::spawn_named("t", move || {
                    let accesses = ops.iter().filter(|&&op| op < 2).count();
                    for (number, &op) in ops.iter().enumerate() {
                        match op {
                            0 | 1 if accesses > 1 => shared.0[op].store(5, SeqCst),
                            0 => shared.1.with(|_| ()),
                            1 => shared.1.with_mut(|_| ()),
                            word => shared.0[word - 2].store(5, SeqCst),
                        }
                        hint::checkpoint(number as u64);
                    }
                });
            }
        };
        let config = Config::default().hunt_executions(0).minimize_executions(0);
        let plain = explore(&config, run);
        let cached = explore(&config.cache(true), run);
        let found = [&plain, &cached].map(|report| matches!(report.verdict, Verdict::Broken(_)));
        assert_eq!(found[0], found[1], "seed {seed}: {program:?}\n{plain}");
        races += u64::from(found[0]);
        cut += cached.cut;
    }
    println!("{wanted} programs, {races} have races, {cut} cut");
    assert!(races > 0 && races < wanted && cut > 0);
}
