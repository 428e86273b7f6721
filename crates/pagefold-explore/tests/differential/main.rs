//! The reduced search against the enumeration of every interleaving, on random programs.
//!
//! For each program, both must see the same set of ends: what all threads saw and the final
//! values of everything shared, with how the execution ended (completely, in a deadlock, in
//! a livelock). The reduced search is run in every combination of what can be chosen: with the cache
//! and without, older or newer threads first, objects used before the threads race or not, threads
//! that leave results, threads that forget at checkpoints, with some of the cuts not made to see whether
//! these are right. And where something breaks, the
//! minimized trace must show it again when replayed.
//!
//! Executions that are stopped in the middle by a violation hide what their threads would have done
//! next. If there are any, all that can be asked for is that the program is found broken, in a way
//! that exists.
//!
//! Programs with too many interleavings are counted and printed. On them, the combinations are compared
//! with each other. And of larger programs from the start, the cache is compared with the reduced search
//! without it: small programs hardly show what is wrong with a cache.
//!
//! `EXPLORE_FUZZ_PROGRAMS` sets how many programs are tried, `EXPLORE_FUZZ_SEED` the first
//! seed, `EXPLORE_FUZZ_LIMIT` how many interleavings are too many. A difference is shown with the seed
//! and the smallest program that has one.

mod generate;
mod program;
mod random;
mod shrink;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use pagefold_explore::{
    Config, Ended, Memory, Report, Search, Verdict, explore, explore_observed, kind, replay,
};

use crate::generate::{Size, generate};
use crate::program::Program;
use crate::world::{Log, USE_AFTER_FREE, Variant, World};

/// How an execution ended, what its threads saw, and the values at the end.
type Ends = BTreeSet<(String, Vec<Log>, Vec<u64>)>;

/// How a program is explored.
#[derive(Clone, Copy, Debug)]
struct How {
    memory: Memory,
    search: Search,
    newest_first: bool,
    cache: bool,
    /// One of so many cuts is not made, and what threads do is compared; 0: all are made.
    validate: u32,
    variant: Variant,
}

impl How {
    const EVERY_INTERLEAVING: Self = Self {
        memory: Memory::Sc,
        search: Search::EveryInterleaving,
        newest_first: false,
        cache: false,
        validate: 0,
        variant: Variant {
            strict: false,
            results: false,
            checkpoints: false,
            touch: false,
        },
    };
    const REDUCED: Self = Self {
        search: Search::Reduced,
        ..Self::EVERY_INTERLEAVING
    };

    /// Every combination that can make a difference. (Results and checkpoints matter to the cache.)
    fn all() -> impl Iterator<Item = Self> {
        let flags = [false, true];
        let memory = [
            (false, 0, false, false),
            (true, 0, false, false),
            (true, 0, true, false),
            (true, 0, false, true),
            (true, 2, true, false),
            (true, 3, false, true),
        ];
        memory
            .into_iter()
            .flat_map(move |memory| flags.map(|newest_first| (memory, newest_first)))
            .flat_map(move |(memory, newest_first)| {
                flags.map(|touch| (memory, newest_first, touch))
            })
            .map(
                |((cache, validate, results, checkpoints), newest_first, touch)| Self {
                    cache,
                    validate,
                    newest_first,
                    variant: Variant {
                        strict: false,
                        results,
                        checkpoints,
                        touch,
                    },
                    ..Self::REDUCED
                },
            )
    }

    fn config(&self) -> Config {
        Config::default()
            .memory(self.memory)
            .search(self.search)
            .newest_first(self.newest_first)
            .cache(self.cache)
            .validate_checkpoints(self.validate)
            .max_truncated(u64::MAX)
            .minimize_executions(u64::MAX)
            .hunt_executions(0)
    }

    /// What can be asked for of all that was seen: the cache shows one of several possibilities
    /// of what ended threads have seen, unless that is their result, and of what was seen before
    /// a checkpoint.
    fn keeps(&self, ends: &Ends, threads: usize) -> Ends {
        if !self.cache {
            return ends.clone();
        }
        let keeps = |(number, log): (usize, &Log)| {
            let is_kept = if log.ended {
                self.variant.results && number < threads
            } else {
                !self.variant.checkpoints
            };
            Log {
                seen: if is_kept {
                    log.seen.clone()
                } else {
                    Vec::new()
                },
                ended: log.ended,
            }
        };
        ends.iter()
            .map(|(kind, logs, values)| {
                let logs = logs.iter().enumerate().map(keeps).collect();
                (kind.clone(), logs, values.clone())
            })
            .collect()
    }
}

/// All ends of a program. `None` if there are more executions than `limit`.
fn ends(program: &Program, how: &How, limit: u64) -> Option<(Ends, Report)> {
    let world: Rc<RefCell<Option<Rc<World>>>> = Rc::default();
    let current = Rc::clone(&world);
    let mut ends = Ends::new();
    let report = explore_observed(
        &how.config().max_executions(limit),
        || {
            let world = Rc::new(World::new(program.logs, how.variant));
            *current.borrow_mut() = Some(Rc::clone(&world));
            world.start(program);
        },
        |ended: Ended<'_>| {
            let kind = match ended {
                Ended::Complete => "complete",
                Ended::Broken(kind) => kind,
                Ended::Redundant | Ended::CutOff => return,
            };
            if let Some(world) = &*world.borrow() {
                let mut logs = world.logs();
                if !MAXIMAL.contains(&kind) {
                    // A thread without events may have started, and ended, or not.
                    logs.iter_mut().for_each(|log| log.ended = false);
                }
                ends.insert((kind.to_owned(), logs, world.values()));
            }
        },
    );
    match report.verdict {
        Verdict::NotExhausted(_) => None,
        Verdict::Broken(_) if report.executions >= limit => None,
        _ => Some((ends, report)),
    }
}

/// How executions end that are not stopped in the middle.
const MAXIMAL: [&str; 3] = ["complete", kind::DEADLOCK, kind::LIVELOCK];

/// Whether an end is one that was stopped in the middle.
fn stopped(ends: &Ends) -> bool {
    ends.iter()
        .any(|(kind, ..)| !MAXIMAL.contains(&kind.as_str()))
}

fn compare(expected: &Ends, got: &Ends) -> Result<(), String> {
    let same = if stopped(expected) {
        stopped(got) && got.is_subset(expected)
    } else {
        got == expected
    };
    if same {
        return Ok(());
    }
    Err(format!(
        "missing: {:#?}\nsurplus: {:#?}",
        expected.difference(got).collect::<Vec<_>>(),
        got.difference(expected).collect::<Vec<_>>()
    ))
}

/// Looks for violations, a use after free being one, and checks what is made of them: that they
/// are found if and only if `ends` says so, that the minimized trace is a trace of the program, and
/// that it shows the violation. Returns whether there was one.
fn check_violation(program: &Program, ends: &Ends, how: &How) -> Result<bool, String> {
    let variant = Variant {
        strict: true,
        ..Variant::default()
    };
    let body = || Rc::new(World::new(program.logs, variant)).start(program);
    let mut possible: BTreeSet<_> = ends.iter().map(|(kind, ..)| kind.as_str()).collect();
    possible.remove("complete");
    let mut seen = ends
        .iter()
        .flat_map(|(_, logs, _)| logs.iter().flat_map(|log| &log.seen));
    if seen.any(|&seen| World::is_use_after_free(seen)) {
        possible.insert(USE_AFTER_FREE);
    }
    let config = Config::default()
        .minimize_executions(50)
        .memory(how.memory)
        .cache(how.cache);
    let violation = match explore(&config, body).verdict {
        Verdict::Broken(violation) => violation,
        Verdict::Holds if possible.is_empty() => return Ok(false),
        Verdict::Holds => return Err(format!("found nothing, where there is {possible:?}")),
        Verdict::NotExhausted(bound) => return Err(bound.to_string()),
    };
    if !possible.contains(&*violation.kind) {
        return Err(format!("{possible:?} expected: {violation}"));
    }
    if violation
        .message
        .contains("running the same schedule again")
    {
        return Err(violation.to_string());
    }
    let replayed = replay(&config, &violation.trace, body);
    let same = replayed.divergence.is_none()
        && replayed.violation.as_ref().is_some_and(|again| {
            (&again.kind, &again.message, &again.trace)
                == (&violation.kind, &violation.message, &violation.trace)
        });
    if same {
        Ok(true)
    } else {
        Err(format!("{violation}\nreplayed: {replayed:#?}"))
    }
}

/// What comparing a program has shown, added up.
#[derive(Debug, Default)]
struct Tally {
    /// Programs of which every interleaving was looked at.
    enumerated: u64,
    /// Programs of which the combinations were compared with each other.
    large: u64,
    /// Programs too large for that, too.
    skipped: u64,
    broken: u64,
    interleavings: u64,
    /// Executions without the cache, and of these complete ones.
    reduced: (u64, u64),
    /// Executions with the cache, and of these cut ones.
    cached: (u64, u64),
    /// In how many programs executions end in this way.
    kinds: BTreeMap<String, u64>,
}

/// How many executions of the reduced search are too many for a program that cannot be enumerated.
const LARGE: u64 = 1_000;

/// Compares all ways to explore a program.
fn check(program: &Program, limit: u64, tally: &mut Tally) -> Result<(), String> {
    let every = ends(program, &How::EVERY_INTERLEAVING, limit);
    let expected = match &every {
        Some((ends, report)) => {
            tally.enumerated += 1;
            tally.interleavings += report.executions;
            ends.clone()
        }
        None => {
            let Some((ends, _)) = ends(program, &How::REDUCED, LARGE) else {
                tally.skipped += 1;
                return Ok(());
            };
            tally.large += 1;
            ends
        }
    };
    // Which of several stops are seen is not for sure, unless all interleavings were looked at.
    let comparable = every.is_some() || !stopped(&expected);
    for how in How::all() {
        let (got, report) = ends(program, &how, u64::MAX).expect("there is no limit");
        let threads = program.threads.len();
        if comparable {
            compare(&how.keeps(&expected, threads), &how.keeps(&got, threads))
                .map_err(|difference| format!("{how:?}\n{difference}"))?;
        } else if !stopped(&got) {
            return Err(format!("{how:?}: found nothing"));
        }
        let executions = if how.cache {
            (&mut tally.cached, report.cut)
        } else {
            (&mut tally.reduced, report.complete)
        };
        executions.0.0 += report.executions;
        executions.0.1 += executions.1;
    }
    if every.is_some() {
        let shown = check_violation(program, &expected, &How::REDUCED)?;
        let cached = How {
            cache: true,
            ..How::REDUCED
        };
        if check_violation(program, &expected, &cached)? != shown {
            return Err("the cache hides a violation".to_owned());
        }
        tally.broken += u64::from(shown);
    }
    let kinds: BTreeSet<_> = expected.iter().map(|(kind, ..)| kind).collect();
    for kind in kinds {
        *tally.kinds.entry(kind.clone()).or_default() += 1;
    }
    Ok(())
}

/// Compares the reduced search with the enumeration of all interleavings under a memory model.
fn check_memory(
    memory: Memory,
    program: &Program,
    limit: u64,
    tally: &mut Tally,
) -> Result<(), String> {
    let every = How {
        memory,
        ..How::EVERY_INTERLEAVING
    };
    let Some((expected, report)) = ends(program, &every, limit) else {
        tally.skipped += 1;
        return Ok(());
    };
    tally.enumerated += 1;
    tally.interleavings += report.executions;
    for newest_first in [false, true] {
        let how = How {
            search: Search::Reduced,
            newest_first,
            ..every
        };
        let (got, report) = ends(program, &how, u64::MAX).expect("there is no limit");
        tally.reduced.0 += report.executions;
        tally.reduced.1 += report.complete;
        compare(&expected, &got).map_err(|difference| format!("{how:?}\n{difference}"))?;
    }
    let how = How {
        memory,
        ..How::REDUCED
    };
    tally.broken += u64::from(check_violation(program, &expected, &how)?);
    Ok(())
}

/// Compares the cache with the reduced search without it, which other tests hold to the truth: programs
/// that are too large to be enumerated.
fn check_cache(program: &Program, _: u64, tally: &mut Tally) -> Result<(), String> {
    let Some((expected, _)) = ends(program, &How::REDUCED, LARGE) else {
        tally.skipped += 1;
        return Ok(());
    };
    tally.large += 1;
    let plain = [false, true].map(|newest_first| {
        let how = How {
            newest_first,
            ..How::REDUCED
        };
        let (_, report) = ends(program, &how, u64::MAX).expect("there is no limit");
        report.executions
    });
    for how in How::all().filter(|how| how.cache && how.variant.touch) {
        let (got, report) = ends(program, &how, u64::MAX).expect("there is no limit");
        tally.cached.0 += report.executions;
        tally.cached.1 += report.cut;
        if report.executions > plain[usize::from(how.newest_first)] {
            return Err(format!("{how:?}: the cache takes more executions"));
        }
        if !stopped(&expected) {
            let threads = program.threads.len();
            compare(&how.keeps(&expected, threads), &how.keeps(&got, threads))
                .map_err(|difference| format!("{how:?}\n{difference}"))?;
        } else if !stopped(&got) {
            return Err(format!("{how:?}: found nothing"));
        }
    }
    Ok(())
}

/// What is done with a program: the most interleavings to look at, and where to count.
type Check = fn(&Program, u64, &mut Tally) -> Result<(), String>;

/// Checks a program; a panic is a difference, too.
fn run(check: Check, program: &Program, limit: u64, tally: &mut Tally) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| check(program, limit, tally)))
        .unwrap_or_else(|_| Err("a panic, see above".to_owned()))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Checks as many random programs as are wanted, a share of the usual number.
fn fuzz(check: Check, size: Size, share: u64) -> (Tally, u64) {
    let programs = number("EXPLORE_FUZZ_PROGRAMS", 2_500) / share;
    let first = number("EXPLORE_FUZZ_SEED", 1);
    let limit = number("EXPLORE_FUZZ_LIMIT", 1_000);
    let mut tally = Tally::default();
    for seed in first..first + programs {
        let program = generate(seed, size);
        if run(check, &program, limit, &mut tally).is_ok() {
            continue;
        }
        let again = |program: &Program| run(check, program, limit, &mut Tally::default());
        let smallest = shrink::shrink(&program, |program| again(program).is_err());
        panic!(
            "seed {seed}, program {}: {}\n{smallest}\nmade smaller from\n{program}",
            seed - first + 1,
            again(&smallest).expect_err("the smallest program shows a difference")
        );
    }
    println!("{tally:#?}");
    (tally, programs)
}

#[test]
fn reduced_search_sees_every_end() {
    let (tally, programs) = fuzz(check, Size::Small, 1);
    assert!(
        (tally.large + tally.skipped) * 4 < programs,
        "too many programs are too large: {tally:?}"
    );
}

#[test]
fn reduced_search_sees_every_end_with_store_buffers() {
    let check: Check = |program, limit, tally| check_memory(Memory::Tso, program, limit, tally);
    let (tally, programs) = fuzz(check, Size::Small, 2);
    assert!(
        tally.enumerated * 2 > programs,
        "most are too large: {tally:?}"
    );
}

#[test]
fn reduced_search_sees_every_end_with_views() {
    let check: Check = |program, limit, tally| check_memory(Memory::Ra, program, limit, tally);
    let (tally, programs) = fuzz(check, Size::Small, 2);
    assert!(
        tally.enumerated * 2 > programs,
        "most are too large: {tally:?}"
    );
}

#[test]
fn cache_sees_every_end_of_large_programs() {
    let (tally, programs) = fuzz(check_cache, Size::Large, 2);
    assert!(
        tally.skipped * 4 < programs,
        "too many programs are too large: {tally:?}"
    );
}
