//! `pagefold linux`: what the running kernel does, against what is allowed.

use std::collections::BTreeSet;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use pagefold::protocol::Protocol;
use pagefold_linux::{Kernel, Limits, Machine, Outcome, Ran, Seen, Unable};
use pagefold_litmus::Scenario;
use pagefold_machine::model::{self, RunConfig};

use crate::args::{Format, LinuxArgs};
use crate::done;
use crate::exit::{Failure, Status};
use crate::load::{self, Loaded};
use crate::report::linux as report;
use crate::terminal::Terminal;

/// A scenario that is through.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    /// The scenario.
    pub(crate) loaded: &'a Loaded,
    /// What it was compared with.
    pub(crate) protocol: Protocol,
    /// What came out, or why nothing did.
    pub(crate) result: Result<Compared, Unable>,
    /// How long the kernel was busy with it.
    pub(crate) time: Duration,
}

/// What was seen, and what is allowed.
#[derive(Debug)]
pub(crate) struct Compared {
    /// What was seen.
    pub(crate) ran: Ran,
    /// What is allowed; or as far as was found out.
    pub(crate) allowed: BTreeSet<Outcome>,
    /// Why there may be more that is allowed.
    pub(crate) open: Option<String>,
}

/// What is to be said of a scenario, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The kernel did nothing that is not allowed.
    Allowed,
    /// It did, or it hung or complained.
    Forbidden,
    /// It did something of which it is not known whether it is allowed.
    Open,
    /// It could not be run.
    Skipped,
}

impl Verdict {
    /// The word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Forbidden => "forbidden",
            Self::Open => "open",
            Self::Skipped => "skipped",
        }
    }
}

impl Done<'_> {
    /// What is to be said of it.
    pub(crate) fn verdict(&self) -> Verdict {
        let Ok(compared) = &self.result else {
            return Verdict::Skipped;
        };
        let ran = &compared.ran;
        let others = ran.forbidden(&compared.allowed).next().is_some();
        if ran.stuck.is_some() || !ran.complaints.is_empty() {
            Verdict::Forbidden
        } else if !others {
            Verdict::Allowed
        } else if compared.open.is_some() {
            Verdict::Open
        } else {
            Verdict::Forbidden
        }
    }
}

/// Runs each scenario, compares, reports.
pub(crate) fn linux(
    args: &LinuxArgs,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let start = Instant::now();
    let scenarios = load::load(&args.paths)?;
    let machine = Machine::claim();
    let kernel = machine.as_ref().ok().map(|machine| &machine.kernel);
    let protocol = args
        .protocol
        .or_else(|| kernel.map(Kernel::protocol))
        .unwrap_or(Protocol::DEFAULT);
    if args.format == Format::Text {
        report::head(machine.as_ref(), protocol, args.seed, terminal, out)?;
    }
    let limits = Limits {
        iterations: args.iterations,
        time: Duration::from_secs(args.seconds),
        seed: args.seed,
    };
    let mut all = Vec::with_capacity(scenarios.len());
    for loaded in &scenarios {
        let begin = Instant::now();
        let scenario = &loaded.scenario;
        let ran = match &machine {
            Ok(machine) => machine.run(scenario, limits),
            // What can be run nowhere is not this machine's fault.
            Err(why) => Err(pagefold_linux::has_counterpart(scenario)
                .err()
                .map_or_else(|| why.clone(), Unable::from)),
        };
        let time = begin.elapsed();
        let done = Done {
            loaded,
            protocol,
            result: ran.map(|ran| compare(scenario, ran, protocol, args.bound)),
            time,
        };
        if args.format == Format::Text {
            report::scenario(&done, terminal, out)?;
            out.flush()?;
        }
        all.push(done);
    }
    match args.format {
        Format::Text => report::summary(&all, start.elapsed(), terminal, out)?,
        Format::Json => report::json(&all, kernel, args.seed, start.elapsed(), out)?,
    }
    Ok(status(&all))
}

/// What all scenarios together come to.
pub(crate) fn status(all: &[Done<'_>]) -> Status {
    let any = |verdict| all.iter().any(|done| done.verdict() == verdict);
    if any(Verdict::Forbidden) {
        Status::Broken
    } else if any(Verdict::Open) {
        Status::NotExhausted
    } else if any(Verdict::Allowed) {
        Status::Fine
    } else {
        Status::Skipped
    }
}

/// Searches for what is allowed. The threads of the search have ended when it returns, so that processes can be forked
/// again.
fn compare(scenario: &Scenario, ran: Ran, protocol: Protocol, bound: u64) -> Compared {
    let mut config = RunConfig::new(protocol);
    config.bounds = config.bounds.max_executions(bound);
    if let Ok(cpus) = thread::available_parallelism() {
        config.workers = cpus;
    }
    let outcomes = model::outcomes(scenario, &config).expect("what was loaded fits the model");
    let open = match &outcomes.outcome {
        model::Outcome::Broken(violation) => Some(format!(
            "{} is broken here: {}",
            protocol.name, violation.kind
        )),
        bounded @ model::Outcome::NotExhausted(_) => done::bound(bounded),
        _ => None,
    };
    let registers = outcomes.registers.into_iter();
    let allowed = registers
        .map(|values| {
            values
                .into_iter()
                .map(|value| value.map(Seen::from))
                .collect()
        })
        .collect();
    Compared { ran, allowed, open }
}
