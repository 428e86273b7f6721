//! Random straight-line programs: the explorer must find what the axioms allow, no more and no less.
//!
//! `EXPLORE_FUZZ_PROGRAMS` sets how many programs are compared, `EXPLORE_FUZZ_SEED` the first
//! seed. A failure prints the seed and the program.

use pagefold_explore::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};
use pagefold_explore::{Config, Memory};

use crate::axioms::{Axioms, allowed, with_fences};
use crate::program::{Program, Step, explored};

/// A small generator of random numbers (xorshift64*), so that a seed means the same for ever.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..4 {
            random.below(2);
        }
        random
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % n
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len() as u64);
        all[usize::try_from(at).expect("an index")]
    }
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// A program of 2 to 4 threads with `accesses` accesses to 2 or 3 locations. Each write has a value of its
/// own.
fn generate(seed: u64, accesses: u64) -> Program {
    let mut random = Random::new(seed);
    let threads = random.pick(&[2, 2, 3, 3, 3, 4]);
    let locations = random.pick(&[1, 2, 2, 2, 3]);
    // Most programs have few sorts of orders, so that weak ones are not spoilt by strong ones.
    let strong = random.pick(&[0, 0, 10, 30]);
    let rmw = random.pick(&[0, 15, 30]);
    let mut program: Program = vec![Vec::new(); threads];
    for value in 1..=accesses {
        let thread = usize::try_from(random.below(threads as u64)).expect("a thread");
        let at = usize::try_from(random.below(locations)).expect("a location");
        let mut order = |weak: &[Ordering]| {
            if random.below(100) < strong {
                SeqCst
            } else {
                random.pick(weak)
            }
        };
        let step = match (order(&[Relaxed, Acquire]), order(&[Relaxed, Release])) {
            (read, write) if random.below(100) < rmw => {
                let both = match (read, write) {
                    (SeqCst, _) | (_, SeqCst) => SeqCst,
                    (Acquire, Release) => AcqRel,
                    (Acquire, _) => Acquire,
                    (_, write) => write,
                };
                if random.below(2) == 0 {
                    Step::Swap(at, value, both)
                } else {
                    Step::Cas(at, random.below(value), value, both, read)
                }
            }
            (read, _) if random.below(100) < 48 => Step::Read(at, read),
            (_, write) => Step::Write(at, value, write),
        };
        if random.below(100) < 15 {
            let fence = random.pick(&[Acquire, Release, AcqRel, SeqCst, SeqCst]);
            program[thread].push(Step::Fence(fence));
        }
        program[thread].push(step);
    }
    program
}

fn compare(memory: Memory, axioms: Axioms, seeds: u64) {
    let first = number("EXPLORE_FUZZ_SEED", 1);
    let wanted = number("EXPLORE_FUZZ_PROGRAMS", seeds);
    let (mut complete, mut graphs, mut outcomes, mut executions) = (0, 0, 0, 0);
    for seed in first..first + wanted {
        let program = generate(seed, 4 + seed % 4);
        let (expected, candidates) = match axioms {
            Axioms::Sc | Axioms::Tso => allowed(&program, axioms),
            Axioms::Rc11 => allowed(&with_fences(&program), axioms),
        };
        let (got, report) = explored(&Config::default().memory(memory), &program);
        assert!(
            got == expected,
            "seed {seed}: {program:#?}\nmissing: {:#?}\nsurplus: {:#?}",
            expected.difference(&got).collect::<Vec<_>>(),
            got.difference(&expected).collect::<Vec<_>>()
        );
        if axioms == Axioms::Rc11 {
            let (all, _) = allowed(&program, axioms);
            assert!(got.is_subset(&all), "seed {seed}: {program:#?}");
        } else {
            // One complete execution for each candidate: no two are equivalent.
            let candidates = candidates as u64;
            assert_eq!(report.complete, candidates, "seed {seed}: {program:#?}");
        }
        complete += report.complete;
        executions += report.executions;
        graphs += candidates;
        outcomes += expected.len();
    }
    println!(
        "{memory:?}: {wanted} programs, {outcomes} outcomes, {graphs} candidates, {complete} \
         complete of {executions} executions"
    );
}

#[test]
fn sc_allows_what_its_axioms_allow() {
    compare(Memory::Sc, Axioms::Sc, 300);
}

#[test]
fn tso_allows_what_its_axioms_allow() {
    compare(Memory::Tso, Axioms::Tso, 600);
}

#[test]
fn ra_allows_what_its_axioms_allow() {
    compare(Memory::Ra, Axioms::Rc11, 600);
}
