//! Exploring a program, alone or by several workers, and replaying a trace.

use crate::config::{Bound, Config};
use crate::differences;
use crate::engine::guide::{Divergence, Guide};
use crate::engine::script::Script;
use crate::engine::{Broken, Engine, rt};
use crate::fiber::Installed;
use crate::minimize::Candidate;
use crate::observer::{Ended, Observer};
use crate::report::{Report, Verdict, Violation};
use crate::subtree::{Outcome, Subtree};
use crate::team::{EndsWithThis, Team};
use crate::trace::Trace;
use crate::worker::{Program, Worker, recorded_trace, violation};
use crate::world::World;

/// Checks `program` under every interleaving, and panics with the trace if one breaks it:
/// [`Config::check`] with the default limits.
///
/// # Panics
///
/// If some interleaving breaks the program, or if it could not be explored exhaustively.
///
/// # Examples
///
/// ```should_panic
/// use pagefold_explore::{check, sync::Arc, sync::atomic::{AtomicU32, Ordering::SeqCst}, thread};
///
/// check(|| {
///     let count = Arc::new(AtomicU32::new(0));
///     let other = Arc::clone(&count);
///     let adder = thread::spawn(move || {
///         other.store(other.load(SeqCst) + 1, SeqCst);
///     });
///     count.store(count.load(SeqCst) + 1, SeqCst);
///     adder.join().unwrap();
///     assert_eq!(count.load(SeqCst), 2); // not always
/// });
/// ```
pub fn check(program: impl FnMut()) {
    Config::default().check(program);
}

impl Config {
    /// Checks `program` within these limits, and panics with the trace if an interleaving breaks it.
    ///
    /// This is the entry for tests. The program is run many times; it must create its shared state
    /// anew each time and depend on nothing but the schedule.
    ///
    /// # Panics
    ///
    /// If some interleaving breaks the program, or if a limit was met before all were explored. (A [search](Self::search) that
    /// samples, or one with [few preemptions](Self::max_preemptions), is not meant to explore all. That nothing was found then proves
    /// nothing about the others.)
    pub fn check(&self, program: impl FnMut()) {
        let report = explore(self, program);
        match report.verdict {
            Verdict::Holds | Verdict::NotExhausted(Bound::Sample(_) | Bound::Preemptions(_)) => {}
            Verdict::Broken(_) | Verdict::NotExhausted(_) => panic!("{report}"),
        }
    }
}

/// Explores `program`, the body of the main thread, and reports.
pub fn explore(config: &Config, program: impl FnMut()) -> Report {
    explore_observed(config, program, |_: Ended<'_>| {})
}

/// As [`explore`], and tells an observer about it.
pub fn explore_observed(
    config: &Config,
    mut program: impl FnMut(),
    mut observer: impl Observer,
) -> Report {
    let program = Program {
        body: &mut program,
        forget: false,
        world: None,
    };
    explore_alone(config, program, &mut observer)
}

/// As [`explore`], but where an execution is abandoned, the main thread's stack is forgotten
/// instead of unwound, which is much faster.
///
/// # Safety
///
/// It must be harmless to forget, at each visible operation in `program`, everything that its
/// frames own or have borrowed.
pub unsafe fn explore_forgetting(config: &Config, program: impl FnMut()) -> Report {
    // SAFETY: the same contract.
    unsafe { explore_forgetting_observed(config, program, |_: Ended<'_>| {}) }
}

/// As [`explore_forgetting`], and tells an observer about it.
///
/// # Safety
///
/// As [`explore_forgetting`].
pub unsafe fn explore_forgetting_observed(
    config: &Config,
    mut program: impl FnMut(),
    mut observer: impl Observer,
) -> Report {
    let program = Program {
        body: &mut program,
        forget: true,
        world: None,
    };
    explore_alone(config, program, &mut observer)
}

/// As [`explore`], by several workers, each on an OS thread of its own.
///
/// `start` is called by each worker, on its thread, for a program and an observer of its own; the
/// programs must be the same. All figures in the report are the same as with one worker: which part
/// of the search each worker does makes no difference. (Observers get to see
/// more: what was explored in vain because the search ended before.)
///
/// Sampling and a search with a [cache](Config::cache) are done by one worker, whatever `workers` is.
///
/// ```
/// use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
/// use pagefold_explore::{Config, Ended, explore, explore_parallel, thread};
/// use std::sync::Arc;
///
/// fn program() {
///     let count = Arc::new(AtomicU32::new(0));
///     for _ in 0..3 {
///         let count = Arc::clone(&count);
///         thread::spawn_named("adder", move || count.store(count.load(SeqCst) + 1, SeqCst));
///     }
/// }
///
/// let config = Config::default();
/// let alone = explore(&config, program);
/// let together = explore_parallel(&config, 2, || (program, |_: Ended<'_>| {}));
/// assert_eq!(alone.executions, together.executions);
/// ```
pub fn explore_parallel<P: FnMut(), O: Observer>(
    config: &Config,
    workers: usize,
    start: impl Fn() -> (P, O) + Sync,
) -> Report {
    explore_together(config, workers, false, || without_world(start()))
}

/// As [`explore_parallel`], with the main threads' stacks forgotten where an execution is abandoned.
///
/// # Safety
///
/// As [`explore_forgetting`].
pub unsafe fn explore_forgetting_parallel<P: FnMut(), O: Observer>(
    config: &Config,
    workers: usize,
    start: impl Fn() -> (P, O) + Sync,
) -> Report {
    explore_together(config, workers, true, || without_world(start()))
}

/// As [`explore_forgetting_parallel`], of a program with a [`World`]: what an execution has in common with the one before is put
/// back instead of executed again, which is much faster where executions are long. Everything in the report is the same.
///
/// It is executed again nevertheless with a [cache](Config::cache), under a [memory model](Config::memory), and where
/// [`Config::rewind`] says so.
///
/// # Safety
///
/// As [`explore_forgetting`], and the world that a worker gets must be that of its program.
pub unsafe fn explore_rewinding_parallel<P: FnMut(), W: World, O: Observer>(
    config: &Config,
    workers: usize,
    start: impl Fn() -> (P, W, O) + Sync,
) -> Report {
    explore_together(config, workers, true, || {
        let (program, world, observer) = start();
        (program, Some(world), observer)
    })
}

/// The world of a program that has none.
enum NoWorld {}

// SAFETY: there is no such thing.
unsafe impl World for NoWorld {
    fn save(&self, _: &mut Vec<u8>) {
        match *self {}
    }

    unsafe fn restore(&self, _: &[u8]) {
        match *self {}
    }
}

fn without_world<P, O>((program, observer): (P, O)) -> (P, Option<NoWorld>, O) {
    (program, None, observer)
}

/// How often a replay is begun anew before it is believed that the program departs from the trace.
const MAX_REPLAYS: usize = 256;

/// What came of replaying a trace.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What broke, with a trace of this execution.
    pub violation: Option<Violation>,
    /// Where the program departed from the trace, if it did. The execution was stopped as soon as
    /// that was noticed.
    pub divergence: Option<Divergence>,
    /// The trace of this execution.
    pub trace: Trace,
    /// How many steps of the recorded trace it went through.
    pub followed: usize,
    /// How many steps of this execution lie before the end of the recorded trace; what comes
    /// after them was not recorded. `None` if it did not come to that end.
    pub recorded: Option<usize>,
    /// How many steps of the recorded trace did not come, each a thread's own business.
    pub missing: usize,
    /// How many steps came that are not in the recorded trace, each a thread's own business.
    pub added: usize,
}

/// Runs `program` along `trace`.
///
/// Each [shared](crate::TraceStep::shared) step must come again, by the same thread, under the same
/// name and in the same order; otherwise the program [departs](Divergence) from the trace. Other steps
/// may be missing, and new ones may come in between, as long as what they do conflicts with nothing that
/// another thread does. A program that did not change takes the very same steps.
///
/// After the end of the trace, the execution goes on with as few switches as possible.
///
/// # Panics
///
/// If the trace is not [valid](Trace::validate).
pub fn replay(config: &Config, trace: &Trace, mut program: impl FnMut()) -> Replay {
    replay_with(
        config,
        trace,
        Program {
            body: &mut program,
            forget: false,
            world: None,
        },
    )
}

/// As [`replay`], with the main thread's stack forgotten if the execution does not complete.
///
/// # Safety
///
/// As [`explore_forgetting`].
pub unsafe fn replay_forgetting(
    config: &Config,
    trace: &Trace,
    mut program: impl FnMut(),
) -> Replay {
    replay_with(
        config,
        trace,
        Program {
            body: &mut program,
            forget: true,
            world: None,
        },
    )
}

fn explore_alone(config: &Config, program: Program<'_>, observer: &mut dyn Observer) -> Report {
    let mut worker = Worker::new(config, program, observer);
    explore_root(&mut worker)
}

fn explore_together<P: FnMut(), W: World, O: Observer>(
    config: &Config,
    workers: usize,
    forget: bool,
    start: impl Fn() -> (P, Option<W>, O) + Sync,
) -> Report {
    let team = &Team::default();
    let shares = config.is_reduced() && !config.cache;
    let helpers = if shares { workers.saturating_sub(1) } else { 0 };
    let start = &start;
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(move || {
                let _ends = EndsWithThis(team);
                let (mut body, world, mut observer) = start();
                let _installed = Installed::new(Engine::new(config));
                let program = Program {
                    body: &mut body,
                    forget,
                    world: world.as_ref().map(|world| world as _),
                };
                let mut worker = Worker::new(config, program, &mut observer);
                worker.is_root = false;
                worker.team = Some(team);
                worker.help(team);
            });
        }
        let _ends = EndsWithThis(team);
        let (mut body, world, mut observer) = start();
        let program = Program {
            body: &mut body,
            forget,
            world: world.as_ref().map(|world| world as _),
        };
        let mut worker = Worker::new(config, program, &mut observer);
        worker.team = (helpers > 0).then_some(team);
        explore_root(&mut worker)
    })
}

/// Explores the whole tree and reports.
fn explore_root(worker: &mut Worker<'_, '_>) -> Report {
    let _installed = Installed::new(Engine::new(worker.config));
    if worker.observer.watches_steps() {
        rt::with(|engine| engine.watched_steps = Some(Vec::new()));
    }
    rt::with(|engine| engine.enter(&Subtree::default()));
    let outcome = worker.explore_root();
    if let Some(team) = worker.team {
        team.end();
    }
    report(worker, outcome)
}

fn report(worker: &mut Worker<'_, '_>, outcome: Outcome) -> Report {
    let counts = outcome.counts;
    // Following a path again does without.
    let cache = rt::with(|engine| {
        let cache = engine.cache.as_ref();
        cache.map(|cache| cache.report(counts.longest))
    });
    let best = outcome.found.into_iter().last();
    let verdict = if let Some(violation) = outcome.nondeterminism {
        Verdict::Broken(Box::new(violation))
    } else if let Some((_, best)) = best {
        Verdict::Broken(Box::new(reproduce(worker, best)))
    } else if let Some(bound) = outcome.bound {
        Verdict::NotExhausted(bound)
    } else {
        Verdict::Holds
    };
    Report {
        verdict,
        executions: counts.executions,
        hunted: outcome.hunted,
        complete: counts.complete,
        blocked: counts.blocked,
        cut: counts.cut,
        states: counts.states,
        longest: counts.longest,
        cache: cache.flatten(),
    }
}

/// Runs the best candidate again, to record its trace.
fn reproduce(worker: &mut Worker<'_, '_>, candidate: Candidate) -> Violation {
    for script in candidate.scripts {
        rt::with(|engine| engine.follow_script(Script::Path(script)));
        let (_, broken) = worker.execute();
        if let Some(broken) = broken
            && broken.kind == candidate.broken.kind
        {
            return violation(broken);
        }
    }
    // Not even the original schedule does it again: the program is not deterministic. Say what was
    // seen, with what the last attempt did.
    let mut broken = candidate.broken;
    broken.message.push_str(
        "\n  (running the same schedule again did not show this; the program depends on something \
         besides the schedule)",
    );
    violation(broken)
}

fn replay_with(config: &Config, trace: &Trace, program: Program<'_>) -> Replay {
    if let Err(error) = trace.validate() {
        panic!("{error}");
    }
    let _installed = Installed::new(Engine::new(config));
    let mut unobserved = |_: Ended<'_>| {};
    let mut worker = Worker::new(config, program, &mut unobserved);
    let mut guesses = Vec::new();
    let mut furthest: Option<Replay> = None;
    for _ in 0..MAX_REPLAYS {
        let guide = Box::new(Guide::new(trace.clone(), guesses));
        rt::with(|engine| engine.follow_script(Script::Trace(guide)));
        let (_, broken) = worker.execute();
        let guide = rt::with(Engine::take_guide).flatten();
        let guide = guide.expect("the engine followed the trace");
        let next = guide.next_guesses();
        let replay = replayed(trace, *guide, broken);
        if replay.divergence.is_none() {
            return replay;
        }
        // How far it came, not where it departed: the latter may be noticed late.
        if furthest
            .as_ref()
            .is_none_or(|other| other.followed < replay.followed)
        {
            furthest = Some(replay);
        }
        match next {
            Some(next) => guesses = next,
            None => break,
        }
    }
    furthest.expect("there was an attempt")
}

/// What came of the execution just recorded.
fn replayed(recorded: &Trace, guide: Guide, broken: Option<Broken>) -> Replay {
    let violation = broken.map(violation);
    let trace = match &violation {
        Some(violation) => violation.trace.clone(),
        None => recorded_trace(),
    };
    let length = guide.end.unwrap_or(trace.steps.len());
    let (missing, added) = differences::count(recorded, guide.position, &trace, length);
    Replay {
        violation,
        followed: guide.position,
        recorded: guide.end,
        missing,
        added,
        divergence: guide.divergence,
        trace,
    }
}
