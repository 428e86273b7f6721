//! `pagefold linux`: what a real kernel does, against what is allowed.
//!
//! The running kernel is raced on here, one in QEMU by [`guest`]; [`reproduce`] aims at what a trace shows, [`order`] compares the order of
//! trace events, and [`differential`] runs random sequences.

pub(crate) mod args;
mod differential;
mod guest;
mod order;
mod report;
mod reproduce;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use pagefold::protocol::Protocol;
use pagefold_linux::kernel_log::Complaint;
use pagefold_linux::qemu::Accelerator;
use pagefold_linux::{Aim, Kernel, Limits, Machine, Outcome, Ran, Unable};
use pagefold_litmus::{Scenario, Value};
use pagefold_machine::model::{self, RunConfig};

use crate::args::Format;
use crate::done;
use crate::exit::{Failure, Status};
use crate::load::{self, Loaded};
use crate::terminal::Terminal;

use args::LinuxArgs;
use differential::differential;
use order::Order;
use reproduce::Target;

pub(crate) use guest::race;

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
    /// How the order of events compares, if that was asked for.
    pub(crate) order: Option<Order>,
}

impl Compared {
    /// Whether the kernel did something that is not known to be allowed.
    fn differs(&self) -> bool {
        let order = self.order.as_ref().is_some_and(Order::differs);
        order || self.ran.forbidden(&self.allowed).next().is_some()
    }
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
        let others = compared.differs();
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

/// If this process is the first one of a guest, serves there, and does not return.
pub(crate) fn serve_as_guest() {
    if let Some(job) = pagefold_linux::qemu::job() {
        pagefold_linux::qemu::serve(&job);
    }
}

/// Runs each scenario, compares, reports.
pub(crate) fn linux(
    args: &LinuxArgs,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    if let Some(seed) = args.random.random {
        return differential(args, seed, terminal, out);
    }
    let target = args.race.target()?;
    let loaded;
    let scenarios = match &target {
        Some(target) => std::slice::from_ref(&target.loaded),
        None => {
            loaded = load::load(&args.paths)?;
            &loaded[..]
        }
    };
    let mut session = Session {
        args,
        target: target.as_ref(),
        terminal,
        out,
        start: Instant::now(),
        kernel: None,
        guest: None,
        protocol: args.protocol.unwrap_or(Protocol::DEFAULT),
        all: Vec::with_capacity(scenarios.len()),
        besides: Vec::new(),
    };
    match &args.guest.kernel {
        None => here(scenarios, &mut session)?,
        Some(image) => guest::linux(image, scenarios, &mut session)?,
    }
    session.end()
}

/// Runs them on the running kernel. The machine is claimed if there is something to run.
fn here<'a>(scenarios: &'a [Loaded], session: &mut Session<'a, '_>) -> io::Result<()> {
    let unfit: Vec<_> = scenarios
        .iter()
        .map(|loaded| unfit(loaded, session.args))
        .collect();
    if unfit.iter().all(Option::is_some) {
        let kernel = Kernel::running().map_err(Unable::Missing);
        session.begin(kernel.as_ref(), None)?;
        for (loaded, why) in scenarios.iter().zip(unfit.into_iter().flatten()) {
            session.take(loaded, Err(why), Duration::ZERO)?;
        }
        return Ok(());
    }
    let machine = Machine::claim();
    session.begin(machine.as_ref().map(|machine| &machine.kernel), None)?;
    for (loaded, unfit) in scenarios.iter().zip(unfit) {
        let begin = Instant::now();
        let ran = match (unfit, &machine) {
            (Some(why), _) => Err(why),
            (None, Err(why)) => Err(why.clone()),
            (None, Ok(machine)) => {
                let limits = session.args.race.limits();
                let aim = session.target.map(|target| &target.aim);
                run(machine, &loaded.scenario, session.args.events, limits, aim)
            }
        };
        session.take(loaded, ran, begin.elapsed())?;
    }
    Ok(())
}

/// Races a scenario, or has its events traced.
pub(crate) fn run(
    machine: &Machine,
    scenario: &Scenario,
    events: bool,
    limits: Limits,
    aim: Option<&Aim>,
) -> Result<Ran, Unable> {
    if events {
        machine.trace(scenario, limits)
    } else {
        machine.run(scenario, limits, aim)
    }
}

/// Why a scenario is not even tried on a kernel.
pub(crate) fn unfit(loaded: &Loaded, args: &LinuxArgs) -> Option<Unable> {
    let scenario = &loaded.scenario;
    if let Err(why) = pagefold_linux::has_counterpart(scenario) {
        return Some(why.into());
    }
    if args.events {
        if let Err(why) = pagefold_linux::takes_turns(scenario) {
            return Some(why.into());
        }
        // Whether it is one that can be compared is the same under each.
        return order::expected(scenario, Protocol::DEFAULT).err();
    }
    None
}

/// What came out so far, and where it is told.
pub(crate) struct Session<'a, 'o> {
    pub(crate) args: &'o LinuxArgs,
    /// What is to be reproduced, if something is.
    target: Option<&'o Target>,
    terminal: Terminal,
    out: &'o mut dyn Write,
    start: Instant,
    kernel: Option<Kernel>,
    /// Who runs the guest that has the kernel, if it is not the running one.
    guest: Option<Accelerator>,
    protocol: Protocol,
    all: Vec<Done<'a>>,
    /// What the kernel complained of, but in no scenario's results.
    pub(crate) besides: Vec<Complaint>,
}

impl<'a> Session<'a, '_> {
    /// On what is run; said once.
    pub(crate) fn begin(
        &mut self,
        kernel: Result<&Kernel, &Unable>,
        guest: Option<Accelerator>,
    ) -> io::Result<()> {
        if self.kernel.is_some() {
            return Ok(());
        }
        self.kernel = kernel.ok().cloned();
        self.guest = guest;
        if let (None, Some(kernel)) = (self.args.protocol, &self.kernel) {
            self.protocol = kernel.protocol();
        }
        if self.args.format == Format::Text {
            let seed = self.args.race.seed;
            report::head(kernel, guest, self.protocol, seed, self.terminal, self.out)?;
            if let Some(target) = self.target {
                reproduce::report::target(target, self.terminal, self.out)?;
            }
        }
        Ok(())
    }

    /// What came of a scenario.
    pub(crate) fn take(
        &mut self,
        loaded: &'a Loaded,
        ran: Result<Ran, Unable>,
        time: Duration,
    ) -> io::Result<()> {
        let protocol = self.protocol;
        let done = Done {
            loaded,
            protocol,
            result: ran.and_then(|ran| self.compare(&loaded.scenario, ran)),
            time,
        };
        if self.args.format == Format::Text {
            report::scenario(&done, self.terminal, self.out)?;
            self.out.flush()?;
        }
        self.all.push(done);
        Ok(())
    }

    /// Nobody says of a kernel that is older than all protocols what it may do.
    fn compare(&self, scenario: &Scenario, ran: Ran) -> Result<Compared, Unable> {
        let mut compared = if self.args.events {
            compare_order(scenario, ran, self.protocol)?
        } else {
            compare(scenario, ran, self.protocol, self.args)
        };
        let kernel = self.kernel.as_ref();
        if let Some(kernel) = kernel.filter(|kernel| kernel.is_older_than_all())
            && self.args.protocol.is_none()
            && compared.differs()
        {
            compared.open.get_or_insert_with(|| {
                let (version, protocol) = (kernel.version, self.protocol.name);
                format!("Linux {version} is older than all protocols; {protocol} is the oldest")
            });
        }
        Ok(compared)
    }

    /// All scenarios are through.
    fn end(self) -> Result<Status, Failure> {
        let time = self.start.elapsed();
        let status = status(&self.all, &self.besides);
        match self.args.format {
            Format::Text => {
                report::besides(&self.besides, self.terminal, self.out)?;
                report::summary(&self.all, time, self.terminal, self.out)?;
            }
            Format::Json => {
                let on = report::On {
                    kernel: self.kernel.as_ref(),
                    guest: self.guest,
                    seed: self.args.race.seed,
                    target: self.target,
                };
                report::json(&self.all, &on, &self.besides, status, time, self.out)?;
            }
        }
        Ok(status)
    }
}

/// What all scenarios together come to.
///
/// What the kernel said against itself before the first of them is its own business.
fn status(all: &[Done<'_>], besides: &[Complaint]) -> Status {
    let any = |verdict| all.iter().any(|done| done.verdict() == verdict);
    let complained = besides.iter().any(|complaint| complaint.during.is_some());
    if complained || any(Verdict::Forbidden) {
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
fn compare(scenario: &Scenario, ran: Ran, protocol: Protocol, args: &LinuxArgs) -> Compared {
    let mut config = RunConfig::new(protocol);
    config.bounds = config.bounds.max_executions(args.bound);
    config.by_system_calls = true;
    config.scan_by_khugepaged = args.race.khugepaged;
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
        .map(|values| as_shown(&ran, scenario, values))
        .collect();
    Compared {
        ran,
        allowed,
        open,
        order: None,
    }
}

/// What a run shows where the model has these values in the registers.
fn as_shown(
    ran: &Ran,
    scenario: &Scenario,
    values: impl IntoIterator<Item = Option<Value>>,
) -> Outcome {
    let unknown = pagefold_linux::unknown(scenario);
    let values = values.into_iter().enumerate();
    values
        .map(|(register, value)| {
            let known = value.filter(|_| !unknown.contains(&register));
            known.map(|value| ran.shows(value))
        })
        .collect()
}

/// Runs the threads one after the other, of which one thing comes, in one order.
fn compare_order(scenario: &Scenario, ran: Ran, protocol: Protocol) -> Result<Compared, Unable> {
    let alone = order::expected(scenario, protocol)?;
    let outcome = as_shown(&ran, scenario, alone.registers.iter().copied());
    Ok(Compared {
        allowed: BTreeSet::from([outcome]),
        order: Some(order::compare(scenario, &alone, &ran)),
        ran,
        open: None,
    })
}
