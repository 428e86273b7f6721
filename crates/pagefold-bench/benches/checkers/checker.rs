//! The checkers: how each is told to explore a program, within bounds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pagefold_explore::Verdict;
use shuttle::scheduler::DfsScheduler;

use crate::programs::Program;

/// What one exploration may cost.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) executions: u64,
    /// Not known to pagefold-explore, which can only count.
    pub(crate) time: Duration,
}

/// What one exploration was.
pub(crate) struct Exploration {
    pub(crate) executions: u64,
    /// Whether it ended within its bounds. (If it ends right at one, that does not count.)
    pub(crate) finished: bool,
    pub(crate) time: Duration,
}

/// A model checker.
#[derive(Clone, Copy)]
pub(crate) enum Checker {
    /// With its defaults, threads that own what they use.
    Pagefold,
    /// Without a bound on preemptions.
    Loom,
    /// Its only exhaustive scheduler, depth-first search.
    Shuttle,
}

impl Checker {
    pub(crate) const ALL: [Self; 3] = [Self::Pagefold, Self::Loom, Self::Shuttle];

    /// The most threads of a program, the main thread included.
    pub(crate) fn max_threads(self) -> usize {
        match self {
            Self::Pagefold => pagefold_explore::MAX_THREADS,
            Self::Loom => loom::MAX_THREADS,
            Self::Shuttle => usize::MAX,
        }
    }

    /// Explores all of a program, or as much of it as the bounds allow.
    ///
    /// # Panics
    ///
    /// If the program is broken, or pagefold-explore finds other classes than there are.
    pub(crate) fn explore(self, program: &'static dyn Program, bounds: Bounds) -> Exploration {
        let start = Instant::now();
        let (executions, within) = match self {
            Self::Pagefold => pagefold(program, bounds),
            Self::Loom => loom(program, bounds),
            Self::Shuttle => shuttle(program, bounds),
        };
        let time = start.elapsed();
        Exploration {
            executions,
            finished: within && (time < bounds.time || matches!(self, Self::Pagefold)),
            time,
        }
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pagefold => "pagefold-explore",
            Self::Loom => "loom",
            Self::Shuttle => "shuttle DFS",
        })
    }
}

/// Lets each checker put its panic hook before those that are there, in the order that is silent.
///
/// The hook of shuttle reports every panic of the process. loom ends its idle threads by panics
/// that only its own hook knows to ignore, so that one must come before it.
pub(crate) fn install_panic_hooks() {
    shuttle::check_dfs(|| {}, Some(1));
    loom::model::Builder::new().check(|| {});
    let _ = pagefold_explore::explore(&pagefold_explore::Config::default(), || {});
}

/// Executions, and whether they are fewer than the bound.
fn pagefold(program: &'static dyn Program, bounds: Bounds) -> (u64, bool) {
    let config = pagefold_explore::Config::default().max_executions(bounds.executions);
    let report = pagefold_explore::explore(&config, || program.pagefold());
    let finished = match &report.verdict {
        Verdict::Holds => true,
        Verdict::NotExhausted(_) => false,
        Verdict::Broken(violation) => panic!("{}: {violation}", program.name()),
    };
    if finished {
        assert_eq!(report.complete, program.classes(), "{}", program.name());
    }
    (report.executions, finished)
}

/// Executions, and whether they are fewer than the bound.
fn loom(program: &'static dyn Program, bounds: Bounds) -> (u64, bool) {
    /// loom looks at its bounds after so many executions.
    const INTERVAL: u64 = 64;

    // The environment has a say in the defaults.
    let mut model = loom::model::Builder::new();
    model.max_threads = loom::MAX_THREADS;
    model.max_branches = 100_000;
    model.max_permutations = Some(usize::try_from(bounds.executions).unwrap_or(usize::MAX));
    model.max_duration = Some(bounds.time);
    model.preemption_bound = None;
    model.checkpoint_file = None;
    model.checkpoint_interval = INTERVAL as usize;
    model.location = false;
    model.log = false;

    let executions = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&executions);
    model.check(move || {
        counter.fetch_add(1, Relaxed);
        program.loom();
    });
    let executions = executions.load(Relaxed);
    // The first execution is number 1.
    (executions, executions + 1 < bounds.executions)
}

/// Executions, and whether they are fewer than the bound.
fn shuttle(program: &'static dyn Program, bounds: Bounds) -> (u64, bool) {
    let mut config = shuttle::Config::new();
    config.max_time = Some(bounds.time);
    config.silence_warnings = true;

    let most = usize::try_from(bounds.executions).unwrap_or(usize::MAX);
    let scheduler = DfsScheduler::new(Some(most), false);
    let executions = shuttle::Runner::new(scheduler, config).run(|| program.shuttle());
    (executions as u64, executions < most)
}
