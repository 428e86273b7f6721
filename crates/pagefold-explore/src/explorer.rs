//! Exploring a program: execution after execution, until the tree is done or a limit is met.

use std::borrow::Cow;

use crate::config::{Bound, Config, MAX_THREADS, Search};
use crate::engine::op::{Kind, Op};
use crate::engine::script::{Divergence, Script};
use crate::engine::search::Stop;
use crate::engine::{Broken, Engine, rt};
use crate::fiber::{self, Installed};
use crate::minimize::{self, Candidate};
use crate::report::{Report, Verdict, Violation, kind};
use crate::trace::Trace;

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended<'a> {
    /// Every thread ran to its end.
    Complete,
    /// It was abandoned because it repeats an earlier one.
    Redundant,
    /// It was cut off at [`Config::max_steps`], or had too many threads.
    CutOff,
    /// It broke something: the kind of the violation.
    Broken(&'a str),
}

/// Checks `program` under every interleaving, and panics with the trace if one breaks it.
///
/// This is the entry for tests. The program is run many times; it must create its shared state
/// anew each time and depend on nothing but the schedule.
///
/// # Panics
///
/// If some interleaving breaks the program, or if it could not be explored exhaustively.
///
/// # Examples
///
/// ```should_panic
/// use pagefold_explore::{check, sync::atomic::{AtomicU32, Ordering::SeqCst}, thread};
/// use std::sync::Arc;
///
/// check(|| {
///     let count = Arc::new(AtomicU32::new(0));
///     let other = Arc::clone(&count);
///     let adder = thread::spawn("adder", move || {
///         other.store(other.load(SeqCst) + 1, SeqCst);
///     });
///     count.store(count.load(SeqCst) + 1, SeqCst);
///     adder.join().unwrap();
///     assert_eq!(count.load(SeqCst), 2); // not always
/// });
/// ```
pub fn check(program: impl Fn() + 'static) {
    let report = explore(&Config::default(), program);
    match report.verdict {
        Verdict::Holds => {}
        Verdict::Broken(_) | Verdict::NotExhausted(_) => panic!("{report}"),
    }
}

/// Explores `program`, the body of the main thread, and reports.
pub fn explore(config: &Config, program: impl FnMut()) -> Report {
    explore_observed(config, program, |_| {})
}

/// As [`explore`], and calls `observer` after each execution, outside of it.
pub fn explore_observed(
    config: &Config,
    mut program: impl FnMut(),
    mut observer: impl FnMut(Ended<'_>),
) -> Report {
    explore_program(
        config,
        &mut Program {
            body: &mut program,
            forget: false,
        },
        &mut observer,
    )
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
    unsafe { explore_forgetting_observed(config, program, |_| {}) }
}

/// As [`explore_forgetting`], and calls `observer` after each execution, outside of it.
///
/// # Safety
///
/// As [`explore_forgetting`].
pub unsafe fn explore_forgetting_observed(
    config: &Config,
    mut program: impl FnMut(),
    mut observer: impl FnMut(Ended<'_>),
) -> Report {
    explore_program(
        config,
        &mut Program {
            body: &mut program,
            forget: true,
        },
        &mut observer,
    )
}

/// What came of replaying a trace.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What broke, with a trace of this execution.
    pub violation: Option<Violation>,
    /// Where the program departed from the trace, if it did. The execution was stopped there.
    pub divergence: Option<Divergence>,
    /// The trace of this execution.
    pub trace: Trace,
}

/// Runs `program` once, along `trace`: in each step the same thread must do what it did then, by
/// name. After the end of the trace, the execution goes on with as few switches as possible.
pub fn replay(config: &Config, trace: &Trace, mut program: impl FnMut()) -> Replay {
    replay_program(
        config,
        trace,
        &mut Program {
            body: &mut program,
            forget: false,
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
    replay_program(
        config,
        trace,
        &mut Program {
            body: &mut program,
            forget: true,
        },
    )
}

/// The body of the main thread. If `forget` is set, whoever made this promised that the main
/// thread's stack may be forgotten.
struct Program<'a> {
    body: &'a mut dyn FnMut(),
    forget: bool,
}

/// Runs the program once.
fn execute(program: &mut Program<'_>) -> (Stop, Option<Broken>) {
    rt::with(Engine::restart);
    let body = &mut *program.body;
    // SAFETY: `body` is borrowed until the end of this function, and `run_to_end` does not return
    // before each thread is finished or destroyed. The promise needed to forget the stack was
    // given if `forget` is set.
    let main = unsafe {
        fiber::spawn(
            Cow::Borrowed("main"),
            Op::plain(Kind::Start, 0),
            program.forget,
            body,
        )
    };
    debug_assert_eq!(main, Some(0), "the main thread is the first one");
    rt::with(|engine| engine.schedule());
    fiber::run_to_end()
}

fn explore_program(
    config: &Config,
    program: &mut Program<'_>,
    observer: &mut dyn FnMut(Ended<'_>),
) -> Report {
    let _installed = Installed::new(Engine::new(config));
    let mut report = Report {
        verdict: Verdict::Holds,
        executions: 0,
        complete: 0,
        blocked: 0,
        cut: 0,
        states: 0,
        longest: 0,
    };
    let mut bound = None;
    let mut truncated = 0;
    let mut best: Option<Candidate> = None;
    let mut found_at = 0;
    loop {
        if report.executions >= config.max_executions {
            let limit = config.max_executions;
            bound = Some(match config.search {
                Search::Reduced | Search::EveryInterleaving => Bound::Executions(limit),
                Search::RandomWalk { .. } | Search::Pct { .. } => Bound::Sample(limit),
            });
            break;
        }
        if best.is_some() && report.executions - found_at > config.minimize_executions {
            break;
        }
        let (stop, broken) = execute(program);
        report.executions += 1;
        report.longest = report
            .longest
            .max(rt::with(|engine| engine.step).unwrap_or(0));
        match stop {
            Stop::Complete => report.complete += 1,
            Stop::Blocked => report.blocked += 1,
            Stop::Cut => report.cut += 1,
            Stop::Truncated => {
                truncated += 1;
                bound = Some(Bound::Steps(config.max_steps));
            }
            Stop::TooManyThreads => bound = Some(Bound::Threads(MAX_THREADS)),
            Stop::Violation | Stop::Diverged => {}
        }
        rt::outside(|| {
            observer(match (&broken, stop) {
                (Some(broken), _) => Ended::Broken(&broken.kind),
                (None, Stop::Complete) => Ended::Complete,
                (None, Stop::Blocked | Stop::Cut) => Ended::Redundant,
                (None, _) => Ended::CutOff,
            });
        });
        if let Some(broken) = &broken
            && broken.kind == kind::NONDETERMINISM
        {
            // Nothing that was recorded can be relied upon.
            report.states = rt::with(|engine| engine.states).unwrap_or(0);
            report.verdict = Verdict::Broken(Box::new(violation(broken.clone())));
            return report;
        }
        if let Some(broken) = broken {
            if best.is_none() {
                found_at = report.executions;
            }
            rt::with(|engine| minimize::improve(engine, broken, &mut best));
        }
        if stop == Stop::TooManyThreads || truncated >= config.max_truncated {
            break;
        }
        let goes_on = rt::with(|engine| match &mut engine.sampler {
            Some(sampler) => {
                sampler.next_execution(engine.step);
                engine.clear_tree();
                true
            }
            None => engine.backtrack(),
        });
        if goes_on != Some(true) {
            break;
        }
    }
    report.states = rt::with(|engine| engine.states).unwrap_or(0);
    if let Some(best) = best {
        report.verdict = Verdict::Broken(Box::new(reproduce(program, best)));
    } else if let Some(bound) = bound {
        report.verdict = Verdict::NotExhausted(bound);
    }
    report
}

/// Runs the best candidate again, to record its trace.
fn reproduce(program: &mut Program<'_>, candidate: Candidate) -> Violation {
    for script in candidate.scripts {
        rt::with(|engine| engine.follow_script(Script::Path(script)));
        let (_, broken) = execute(program);
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

/// A violation with the trace of the execution just recorded.
fn violation(broken: Broken) -> Violation {
    let (context_switches, preemptions) = rt::with(|engine| engine.switches()).unwrap_or((0, 0));
    Violation {
        kind: broken.kind,
        message: broken.message,
        trace: recorded_trace(),
        context_switches,
        preemptions,
    }
}

fn recorded_trace() -> Trace {
    let recorded = rt::with(|engine| {
        let names = engine.slots[..engine.threads]
            .iter()
            .map(|slot| slot.name.to_string());
        let names = names.collect();
        let mut steps = engine.recorded.take().unwrap_or_default();
        for (index, step) in steps.iter_mut().enumerate().take(engine.log.len()) {
            step.shared = engine.log.is_shared(index, &engine.objects);
        }
        (names, steps)
    });
    let (threads, steps) = recorded.unwrap_or_default();
    Trace {
        version: Trace::VERSION,
        threads,
        steps,
    }
}

fn replay_program(config: &Config, trace: &Trace, program: &mut Program<'_>) -> Replay {
    let _installed = Installed::new(Engine::new(config));
    rt::with(|engine| engine.follow_script(Script::Trace(trace.clone())));
    let (_, broken) = execute(program);
    let divergence = rt::with(|engine| engine.divergence.take()).flatten();
    match broken {
        Some(broken) => {
            let violation = violation(broken);
            let trace = violation.trace.clone();
            Replay {
                violation: Some(violation),
                divergence,
                trace,
            }
        }
        None => Replay {
            violation: None,
            divergence,
            trace: recorded_trace(),
        },
    }
}
