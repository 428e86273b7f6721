//! Runs a scenario under the explorer.
//!
//! Each execution begins with the world as the set-up left it (built once, then restored by a copy), lets the scenario's threads
//! race, waits until nothing is under way any more, runs the `final` statements and checks what must be true
//! at the end.

mod execute;
mod layout;
mod plan;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use pagefold::protocol::{Protocol, SafeguardSet};
use pagefold_explore as explore;
use pagefold_explore::{Bound, Trace, Violation};
use pagefold_litmus::{Memory, Quantifier, Scenario, Value};

use super::format::EntryFormat;
use super::order::Collapse;
use super::site::Site;
use super::violation::Kind;
use layout::Layout;
pub use layout::ScenarioLimit;
use plan::{Goal, Plan};

/// Under which rules a scenario runs, and how far.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The protocol.
    pub protocol: Protocol,
    /// Safeguards that are removed, besides those that the protocol lacks.
    pub without: SafeguardSet,
    /// How the entries of page tables are written down, if not as the scenario says.
    pub format: Option<EntryFormat>,
    /// One lock for all page tables of an address space, instead of one for each.
    pub unsplit: bool,
    /// Documented exceptions count as violations.
    pub strict: bool,
    /// What no program can ask a kernel for, is done in the way in which one can: by the system calls that come next to it. A walk without
    /// locks goes on with locks where it finds nothing; khugepaged, and who collapses an object on behalf of nobody, are a process that
    /// calls `MADV_COLLAPSE`.
    pub by_system_calls: bool,
    /// But what khugepaged scans, it does itself, even so.
    pub scan_by_khugepaged: bool,
    /// What a load may see. It takes the place of what the bounds say.
    pub memory: Memory,
    /// A place of the engine whose order is taken away.
    pub weakened: Option<Site>,
    /// The bounds of the search.
    pub bounds: explore::Config,
    /// How many threads search. What comes out is the same for any number.
    pub workers: NonZeroUsize,
}

impl RunConfig {
    /// A run under `protocol` with everything else as usual.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            without: SafeguardSet::EMPTY,
            format: None,
            unsplit: false,
            strict: false,
            by_system_calls: false,
            scan_by_khugepaged: false,
            memory: Memory::Sc,
            weakened: None,
            // The machine is built on a thread's stack before it is put into the arena.
            bounds: explore::Config::default().stack_size(STACK),
            workers: NonZeroUsize::MIN,
        }
    }
}

/// What came out of a scenario.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing breaks.
    Holds,
    /// Nothing breaks but what is documented to.
    Exception(Kind),
    /// An invariant or the condition breaks; here is how.
    Broken(Box<Violation>),
    /// An execution satisfies the `exists`; here is one.
    Allowed(Box<Violation>),
    /// No execution satisfies the `exists`.
    Forbidden,
    /// A bound was hit before the search was through.
    NotExhausted(Bound),
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What came out.
    pub outcome: Outcome,
    /// Executions of the search.
    pub executions: u64,
    /// Only interleavings with few preemptions were looked at, as one of them breaks something.
    pub hunted: bool,
    /// Those of them that were given up as repetitions.
    pub redundant: u64,
    /// Steps that were taken for the first time: states visited.
    pub states: u64,
    /// Steps of the longest execution.
    pub longest: u32,
}

/// Bytes of stack for each modelled thread.
const STACK: usize = 1 << 20;

/// Whether the model has room for a scenario.
///
/// # Errors
/// If the scenario needs a larger machine than the model has.
pub fn fits(scenario: &Scenario) -> Result<(), ScenarioLimit> {
    Layout::of(scenario).map(drop)
}

/// Explores a scenario.
///
/// # Errors
/// If the scenario needs a larger machine than the model has.
pub fn check(scenario: &Scenario, config: &RunConfig) -> Result<Checked, ScenarioLimit> {
    check_observed(scenario, config, |_| ())
}

/// What a search tells while it is under way.
#[derive(Clone, Copy, Debug)]
pub enum Tick {
    /// One more execution, also one that is explored in vain.
    Execution,
    /// How far the search is.
    Progress(explore::Progress),
}

/// As [`check`], and calls `observer` while it works, from the threads of all workers.
///
/// # Errors
/// If the scenario needs a larger machine than the model has.
pub fn check_observed(
    scenario: &Scenario,
    config: &RunConfig,
    observer: impl Fn(Tick) + Sync,
) -> Result<Checked, ScenarioLimit> {
    let plan = Plan::new(scenario, config, Goal::Invariants)?;
    let report = plan.explore(config, &observer);
    let mut checked = Checked {
        outcome: Outcome::Holds,
        executions: report.executions,
        hunted: report.hunted,
        redundant: report.blocked,
        states: report.states,
        longest: report.longest,
    };
    checked.outcome = match report.verdict {
        explore::Verdict::Broken(violation) => Outcome::Broken(violation),
        explore::Verdict::NotExhausted(bound) => Outcome::NotExhausted(bound),
        explore::Verdict::Holds if plan.findings.witness() => {
            // No invariant broke. A second search ends at the witness, to show the simplest.
            let plan = Plan::new(scenario, config, Goal::Witness)?;
            match plan.explore(config, &observer).verdict {
                explore::Verdict::Broken(violation) => Outcome::Allowed(violation),
                explore::Verdict::Holds => unreachable!("the same search found a witness before"),
                explore::Verdict::NotExhausted(bound) => Outcome::NotExhausted(bound),
            }
        }
        explore::Verdict::Holds if plan.quantifier() == Some(Quantifier::Exists) => {
            Outcome::Forbidden
        }
        explore::Verdict::Holds => plan
            .findings
            .exception()
            .map_or(Outcome::Holds, Outcome::Exception),
    };
    Ok(checked)
}

/// Explores a scenario, and tells which places that ask for an order it passes within the bounds.
///
/// # Errors
/// If the scenario needs a larger machine than the model has.
pub fn sites(scenario: &Scenario, config: &RunConfig) -> Result<BTreeSet<Site>, ScenarioLimit> {
    let mut plan = Plan::new(scenario, config, Goal::Invariants)?;
    plan.sites = Some(Mutex::default());
    plan.explore(config, &|_| ());
    let sites = plan.sites.unwrap_or_default();
    Ok(sites.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// All that the registers can be at the end of a scenario.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// What they are at the end of each execution, by their number; `None` was never written. If a search was not through,
    /// there may be more.
    pub registers: BTreeSet<Vec<Option<Value>>>,
    /// How the search ended: [`Outcome::Holds`] if nothing but the condition, which is not looked at, can be broken.
    pub outcome: Outcome,
}

/// Explores a scenario, and tells what its registers can be at the end, whatever the condition says of that.
///
/// # Errors
/// If the scenario needs a larger machine than the model has.
pub fn outcomes(scenario: &Scenario, config: &RunConfig) -> Result<Outcomes, ScenarioLimit> {
    let mut plan = Plan::new(scenario, config, Goal::Invariants)?;
    plan.ends = Some(Mutex::default());
    let report = plan.explore(config, &|_| ());
    let ends = plan.ends.take().unwrap_or_default();
    Ok(Outcomes {
        registers: ends.into_inner().unwrap_or_else(PoisonError::into_inner),
        outcome: match report.verdict {
            explore::Verdict::Broken(violation) => Outcome::Broken(violation),
            explore::Verdict::NotExhausted(bound) => Outcome::NotExhausted(bound),
            explore::Verdict::Holds => plan
                .findings
                .exception()
                .map_or(Outcome::Holds, Outcome::Exception),
        },
    })
}

/// What comes of a scenario whose threads run one after the other, in the order in which they are written.
#[derive(Clone, Debug)]
pub struct Alone {
    /// What the registers are at the end.
    pub registers: Vec<Option<Value>>,
    /// Each collapse that a process asked for.
    pub collapses: Vec<Collapse>,
}

/// Runs the threads of a scenario one after the other, to the end of each; `None` if one of them has to wait for a later one, or
/// something breaks.
///
/// # Errors
/// If the scenario needs a larger machine than the model has.
pub fn one_by_one(scenario: &Scenario, config: &RunConfig) -> Result<Option<Alone>, ScenarioLimit> {
    let mut plan = Plan::new(scenario, config, Goal::Invariants)?;
    plan.ends = Some(Mutex::default());
    plan.collapses = Some(Mutex::default());
    let mut config = config.clone();
    config.workers = NonZeroUsize::MIN;
    if let explore::Verdict::Broken(_) = plan.explore(&config, &|_| ()).verdict {
        return Ok(None);
    }
    let ends = plan.ends.take().unwrap_or_default();
    let mut ends = ends.into_inner().unwrap_or_else(PoisonError::into_inner);
    let collapses = plan.collapses.take().unwrap_or_default();
    let collapses = collapses
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(ends.pop_first().map(|registers| Alone {
        registers,
        collapses,
    }))
}

/// Runs a scenario along a recorded trace. Whether the trace is of this scenario, its
/// [`program`](Trace::program) tells: it is the scenario's fingerprint.
///
/// # Errors
/// If the scenario needs a larger machine than the model has.
pub fn replay(
    scenario: &Scenario,
    config: &RunConfig,
    trace: &Trace,
) -> Result<explore::Replay, ScenarioLimit> {
    let witness = scenario
        .condition
        .as_ref()
        .is_some_and(|condition| condition.quantifier == Quantifier::Exists);
    let goal = if witness {
        Goal::Witness
    } else {
        Goal::Invariants
    };
    let plan = Plan::new(scenario, config, goal)?;
    Ok(plan.replay(config, trace))
}
