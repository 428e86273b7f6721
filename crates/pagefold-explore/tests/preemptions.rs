//! Searches that are bounded by preemptions: against the enumeration of all interleavings within the
//! bound, and as the way to find errors early.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use pagefold_explore::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use pagefold_explore::sync::{LockClass, RawLock};
use pagefold_explore::{
    Bound, Config, Ended, Memory, Report, Search, Verdict, explore, explore_observed, fail, thread,
};

static LOCK: LockClass = LockClass::spin("lock");

#[derive(Clone, Copy, Debug)]
enum Op {
    Load(usize),
    Store(usize, u32),
    Add(usize),
    Cas(usize, u32),
    Section(usize),
    Try(usize),
    Await(usize),
}

/// A generator of small numbers, the same for the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).expect("below a usize")
    }

    fn op(&mut self) -> Op {
        let at = self.below(2);
        match self.below(10) {
            0..=2 => Op::Load(at),
            3 | 4 => Op::Store(at, 1 + u32::try_from(self.below(3)).expect("small")),
            5 => Op::Add(at),
            6 => Op::Cas(at, 1),
            7 => Op::Section(at),
            8 => Op::Try(at),
            _ => Op::Await(at),
        }
    }
}

struct World {
    words: [AtomicU32; 3],
    locks: [RawLock; 2],
    seen: RefCell<Vec<Vec<u32>>>,
}

fn run(world: &World, thread: usize, program: &[Op]) {
    for &op in program {
        let see = |value: u32| world.seen.borrow_mut()[thread].push(value);
        match op {
            Op::Load(at) => see(world.words[at].load(Relaxed)),
            Op::Store(at, value) => world.words[at].store(value, Relaxed),
            Op::Add(at) => see(world.words[at].fetch_add(1, SeqCst)),
            Op::Cas(at, value) => see(world.words[at]
                .compare_exchange(0, value, SeqCst, SeqCst)
                .unwrap_or_else(|other| other)),
            Op::Section(at) => {
                world.locks[at].lock();
                let value = world.words[2].load(Relaxed);
                world.words[2].store(value + 1, Relaxed);
                world.locks[at].unlock();
            }
            Op::Try(at) => {
                let taken = world.locks[at].try_lock();
                see(taken.into());
                if taken {
                    world.words[2].store(7, Relaxed);
                    world.locks[at].unlock();
                }
            }
            Op::Await(at) => see(world.words[at].wait_until(|value| value != 0)),
        }
    }
}

/// How the executions of a program end: what was seen and what is left, or which violation.
fn ends(config: &Config, program: &[Vec<Op>]) -> (BTreeSet<String>, Report) {
    let world: Rc<RefCell<Option<Rc<World>>>> = Rc::default();
    let ends = RefCell::new(BTreeSet::new());
    let current = Rc::clone(&world);
    let report = explore_observed(
        config,
        || {
            let world = Rc::new(World {
                words: std::array::from_fn(|_| AtomicU32::new(0)),
                locks: std::array::from_fn(|_| RawLock::new(&LOCK)),
                seen: RefCell::new(vec![Vec::new(); program.len()]),
            });
            *current.borrow_mut() = Some(Rc::clone(&world));
            for (number, ops) in program.iter().enumerate() {
                let (world, ops) = (Rc::clone(&world), ops.clone());
                thread::spawn_named("t", move || run(&world, number, &ops));
            }
        },
        |ended: Ended<'_>| {
            let world = world.borrow();
            let world = world.as_ref().expect("every execution makes one");
            let words = world.words.each_ref().map(AtomicU32::load_quiet);
            ends.borrow_mut().insert(match ended {
                Ended::Complete => format!("{words:?} {:?}", world.seen.borrow()),
                Ended::Broken(kind) => kind.to_owned(),
                Ended::Redundant | Ended::CutOff => return,
            });
        },
    );
    (ends.into_inner(), report)
}

#[test]
fn nothing_within_the_bound_is_missed() {
    compare(Memory::Sc, 400);
}

#[test]
fn nothing_within_the_bound_is_missed_with_store_buffers() {
    compare(Memory::Tso, 40);
}

#[test]
fn nothing_within_the_bound_is_missed_with_views() {
    compare(Memory::Ra, 200);
}

fn compare(memory: Memory, programs: u64) {
    // Buffers make many more interleavings.
    let (limit_of_all, length) = match memory {
        Memory::Tso => (2_000, 2),
        Memory::Sc | Memory::Ra => (20_000, 4),
    };
    let programs =
        std::env::var("EXPLORE_FUZZ_PROGRAMS").map_or(programs, |n| n.parse().expect("a number"));
    let seed = std::env::var("EXPLORE_FUZZ_SEED").map_or(1, |n| n.parse().expect("a number"));
    println!("seed {seed}, {programs} programs");
    let mut skipped = 0;
    for number in 0..programs {
        let mut numbers = Numbers(seed << 32 | number);
        let threads = 2 + numbers.below(2);
        let program: Vec<Vec<Op>> = (0..threads)
            .map(|_| {
                (0..1 + numbers.below(length))
                    .map(|_| numbers.op())
                    .collect()
            })
            .collect();
        for limit in 0..3 {
            let config = Config::default()
                .minimize_executions(u64::MAX)
                .memory(memory)
                .max_preemptions(limit);
            let every = config
                .clone()
                .search(Search::EveryInterleaving)
                .max_executions(limit_of_all);
            let (all, report) = ends(&every, &program);
            if report.executions == limit_of_all {
                skipped += 1;
                continue;
            }
            let (found, _) = ends(&config, &program);
            assert_eq!(
                found, all,
                "{memory:?}: {program:?}, at most {limit} preemptions"
            );
        }
    }
    println!("{skipped} of {} were too large to enumerate", programs * 3);
    assert!(skipped < programs, "most are compared");
}

/// One thread is to enter, which is decided in two steps; threads do much besides.
fn two_steps(threads: usize) -> impl Fn() {
    move || {
        let words: [_; 2] = std::array::from_fn(|_| AtomicU32::new(0));
        let words = Rc::new(words);
        for _ in 0..threads {
            let words = Rc::clone(&words);
            thread::spawn_named("t", move || {
                if words[0].load(SeqCst) == 0 && words[0].fetch_add(1, SeqCst) != 0 {
                    fail("not alone", "two threads enter".to_owned());
                }
                // The search goes back from the end, and there is much to go back to.
                for _ in 0..4 {
                    words[1].fetch_add(1, SeqCst);
                }
            });
        }
    }
}

#[test]
fn an_error_of_one_preemption_is_not_found_with_none() {
    let none = explore(&Config::default().max_preemptions(0), two_steps(2));
    let Verdict::NotExhausted(Bound::Preemptions(0)) = none.verdict else {
        panic!("{none}");
    };
    let one = explore(&Config::default().max_preemptions(1), two_steps(2));
    assert!(matches!(one.verdict, Verdict::Broken(_)), "{one}");
}

#[test]
fn a_bound_that_is_not_met_leaves_nothing_out() {
    let report = explore(&Config::default().max_preemptions(2), || {
        let word = Rc::new(AtomicU32::new(0));
        let other = Rc::clone(&word);
        thread::spawn_named("t", move || other.store(1, SeqCst));
        word.load(SeqCst);
    });
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
}

#[test]
fn a_large_search_finds_errors_with_few_preemptions_early() {
    let config = Config::default().max_executions(100_000).hunt_after(1_000);
    let without = explore(&config.clone().hunt_executions(0), two_steps(3));
    let with = explore(&config, two_steps(3));
    assert!(matches!(with.verdict, Verdict::Broken(_)), "{with}");
    assert!(with.hunted, "{with}");
    assert!(
        with.executions + 1_000 < without.executions,
        "{with}\nwithout: {without}"
    );
}
