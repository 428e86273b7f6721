//! Runs a scenario under the explorer.
//!
//! Each execution begins with the world as the set-up left it (built once, then restored by a copy), lets the scenario's threads
//! race, waits until nothing is under way any more, runs the `final` statements and checks what must be true
//! at the end.

mod execute;
mod layout;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use pagefold::protocol::{Protocol, SafeguardSet};
use pagefold_explore as explore;
use pagefold_explore::{Bound, Trace, Violation};
use pagefold_litmus::{
    Actor, Call, Memory, MmId, Quantifier, Scenario, Statement, StatementKind, Value,
};

use super::arena::Arena;
use super::format::EntryFormat;
use super::names;
use super::oracle::{self, Subjects};
use super::site::{self, Site};
use super::violation::{self, Kind};
use super::world::{Rules, World};
use execute::Machine;
use layout::Layout;
pub use layout::ScenarioLimit;

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

/// The name of the violation that stands for a satisfied `exists`.
const WITNESS: &str = "witness";

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
    let session = Session::new(&plan);
    let bounds = plan.named(&config.bounds);
    // SAFETY: as in `Plan::explore`.
    let replay = unsafe { explore::replay_forgetting(&bounds, trace, || session.execution()) };
    World::forget();
    Ok(replay)
}

/// What the search ends at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// A violation; a witness of an `exists` is only noted.
    Invariants,
    /// A witness.
    Witness,
}

/// A scenario under one set of rules, and what to look for.
struct Plan<'a> {
    scenario: &'a Scenario,
    layout: Layout,
    rules: Rules,
    goal: Goal,
    findings: Findings,
    /// Run before the checks at the end; the tests of the oracles break something there.
    before_checks: fn(&Machine),
    weakened: Option<Site>,
    /// Somebody reads userfaultfds.
    monitored: bool,
    /// The places passed, if they are to be noted.
    sites: Option<Mutex<BTreeSet<Site>>>,
    /// What the registers were at the ends of executions, if that is to be noted instead of judged.
    ends: Option<Mutex<BTreeSet<Vec<Option<Value>>>>>,
}

/// What was found besides violations, in any execution.
#[derive(Default)]
struct Findings {
    witness: AtomicBool,
    /// The documented exceptions that occurred, as bits by their place among all kinds.
    exceptions: AtomicU64,
}

impl Findings {
    fn witness(&self) -> bool {
        self.witness.load(Relaxed)
    }

    fn note_witness(&self) {
        self.witness.store(true, Relaxed);
    }

    /// The first in the list of kinds, whichever was found first.
    fn exception(&self) -> Option<Kind> {
        let exceptions = self.exceptions.load(Relaxed);
        let found = |(index, _): &(usize, &Kind)| exceptions & (1 << index) != 0;
        let (_, kind) = Kind::ALL.iter().enumerate().find(found)?;
        Some(*kind)
    }

    fn note_exception(&self, kind: Kind) {
        let index = Kind::ALL.iter().position(|other| *other == kind);
        self.exceptions
            .fetch_or(index.map_or(0, |index| 1 << index), Relaxed);
    }
}

/// Whether a thread takes permissions away. Under a weak memory model the order of execution does not say what an access
/// may do, but at the end.
fn forbids(scenario: &Scenario) -> bool {
    fn any(body: &[Statement]) -> bool {
        body.iter().any(|statement| match &statement.kind {
            StatementKind::Call { call, .. } => {
                matches!(
                    call,
                    Call::Munmap(_) | Call::Mprotect(..) | Call::Mremap(..)
                )
            }
            StatementKind::Repeat { body, .. } => any(body),
            StatementKind::Store { .. } | StatementKind::Load { .. } | StatementKind::Map(_) => {
                false
            }
        })
    }
    scenario.threads.iter().any(|thread| any(&thread.body))
}

impl<'a> Plan<'a> {
    fn new(scenario: &'a Scenario, config: &RunConfig, goal: Goal) -> Result<Self, ScenarioLimit> {
        Ok(Self {
            scenario,
            layout: Layout::of(scenario)?,
            rules: Rules {
                protocol: config.protocol,
                format: config
                    .format
                    .unwrap_or(EntryFormat::of_machine(scenario.format)),
                without: config.without,
                split_ptlocks: !config.unsplit,
                strict: config.strict,
                memory: config.memory,
                reuse_frames: scenario.reuse_frames,
                watch_permissions: config.memory == Memory::Sc && forbids(scenario),
            },
            goal,
            findings: Findings::default(),
            before_checks: |_| (),
            weakened: config.weakened,
            monitored: scenario
                .threads
                .iter()
                .any(|thread| matches!(thread.actor, Actor::Monitor(_))),
            sites: None,
            ends: None,
        })
    }

    fn quantifier(&self) -> Option<Quantifier> {
        self.scenario
            .condition
            .as_ref()
            .map(|condition| condition.quantifier)
    }

    /// The bounds of a search of this scenario.
    fn named(&self, bounds: &explore::Config) -> explore::Config {
        let memory = match self.rules.memory {
            Memory::Sc => explore::Memory::Sc,
            Memory::Tso => explore::Memory::Tso,
            Memory::Ra => explore::Memory::Ra,
        };
        bounds
            .clone()
            .program(self.scenario.fingerprint())
            .memory(memory)
    }

    fn explore(&self, config: &RunConfig, observer: &(impl Fn(Tick) + Sync)) -> explore::Report {
        let bounds = self.named(&config.bounds);
        let start = || {
            let session = Rc::new(Session::new(self));
            let world = Saved(Rc::clone(&session));
            (move || session.execution(), world, Ticking(observer))
        };
        // SAFETY: everything that an execution makes lies in the arena or is plain data on the stacks. So it may be forgotten at
        // any event. The world is that of the same session.
        let report =
            unsafe { explore::explore_rewinding_parallel(&bounds, config.workers.get(), start) };
        World::forget();
        report
    }
}

/// Passes on what a worker does.
struct Ticking<'a, F>(&'a F);

impl<F: Fn(Tick)> explore::Observer for Ticking<'_, F> {
    fn ended(&mut self, _ended: explore::Ended<'_>) {
        (self.0)(Tick::Execution);
    }

    fn progress(&mut self, progress: explore::Progress) {
        (self.0)(Tick::Progress(progress));
    }
}

/// The machine of one worker.
struct Session<'a> {
    plan: &'a Plan<'a>,
    arena: Arena,
    frames: Arena,
    start: RefCell<Option<Start>>,
}

/// What of a session the explorer may save and put back.
struct Saved<'a>(Rc<Session<'a>>);

// SAFETY: all that an execution reads and writes lies in the arena, which stays in its place, and on the stacks; what is found out
// (`Plan::findings`, `Plan::sites`) is only added to. On the stacks there is plain data at each event, and all threads are
// forgettable.
unsafe impl explore::World for Saved<'_> {
    fn save(&self, saved: &mut Vec<u8>) {
        self.0.save(saved);
    }

    unsafe fn restore(&self, saved: &[u8]) {
        // SAFETY: the caller's promises.
        unsafe { self.0.restore(saved) };
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(sites) = &self.plan.sites {
            let mut sites = sites.lock().unwrap_or_else(PoisonError::into_inner);
            sites.append(&mut site::passed());
        }
        site::watch(None, false);
    }
}

/// Where every execution begins.
struct Start {
    world: Vec<u8>,
    objects: u32,
    machine: Machine,
}

impl<'a> Session<'a> {
    fn new(plan: &'a Plan<'a>) -> Self {
        names::set(plan.layout.names.clone());
        site::watch(plan.weakened, plan.sites.is_some());
        Self {
            plan,
            arena: Arena::new(),
            frames: Arena::new(),
            start: RefCell::new(None),
        }
    }

    /// Writes the content of the arenas into `saved`, which is empty, and how much of it is the frames.
    fn save(&self, saved: &mut Vec<u8>) {
        self.arena.save(saved);
        let before = saved.len();
        self.frames.save(saved);
        let frames = saved.len() - before;
        saved.extend_from_slice(&frames.to_ne_bytes());
    }

    /// Makes the arenas what they were.
    ///
    /// # Safety
    /// `saved` was saved from this session, and no reference into an arena is in use.
    unsafe fn restore(&self, saved: &[u8]) {
        let (saved, frames) = saved
            .split_last_chunk()
            .expect("the number of bytes stands at the end");
        let (objects, frames) = saved.split_at(saved.len() - usize::from_ne_bytes(*frames));
        // SAFETY: the caller's promises.
        unsafe {
            self.arena.restore(objects);
            self.frames.restore(frames);
        }
    }

    /// One execution: the body of the explorer's main thread.
    fn execution(&self) {
        let machine = self.begin();
        let world = World::current();
        self.spawn_threads(&machine, None);
        world.join_spawned();
        if self.plan.monitored {
            // Nothing that a monitor could wait for will come any more.
            let forked = world.forked_userfaultfds.iter().map(Cell::get);
            for userfaultfd in machine.userfaultfds.into_iter().chain(forked).flatten() {
                userfaultfd.hang_up();
            }
            world.join_monitors();
        }
        world.rcu_barrier();
        explore::quiet(|| self.finish(&machine));
    }

    /// Begins the threads that belong to `child`, or else all that do not belong to an address space that is yet to be forked.
    fn spawn_threads(&self, machine: &Machine, child: Option<MmId>) {
        let world = World::current();
        let scenario = self.plan.scenario;
        let machine = *machine;
        for (index, thread) in scenario.threads.iter().enumerate() {
            let begins = match (child, thread.actor.mm()) {
                (None, None) => true,
                (None, Some(mm)) => {
                    scenario[mm].parent.is_none() || world.forked[mm.index()].peek() != 0
                }
                (Some(child), mm) => mm == Some(child),
            };
            if !begins {
                continue;
            }
            let name = Cow::Owned(thread.name.clone());
            let this: *const Session<'static> = std::ptr::from_ref(self).cast();
            // SAFETY: the closure owns plain data; the session outlives the exploration, which ends before it is
            // dropped.
            let id = unsafe {
                explore::thread::spawn_forgettable(name, move || {
                    let session = &*this;
                    session.run_thread(machine, index);
                })
            };
            if let Some(cpu) = self.plan.layout.cpu_of_thread[index] {
                world.place_thread(id, cpu);
            }
            if matches!(thread.actor, Actor::Monitor(_)) {
                world.note_monitor(id);
            } else {
                world.note_spawned(id);
            }
        }
    }

    /// The world as the set-up left it.
    fn begin(&self) -> Machine {
        let mut start = self.start.borrow_mut();
        if let Some(start) = &*start {
            // SAFETY: this is the only thread of the execution yet, and those of earlier executions are gone.
            unsafe { self.restore(&start.world) };
            explore::reset_objects_to(start.objects);
            return start.machine;
        }
        World::build(
            &self.arena,
            &self.frames,
            self.plan.rules,
            self.plan.scenario.registers.len(),
        );
        let world = World::current();
        let machine = explore::quiet(|| {
            let machine = self.plan.layout.build(world, self.plan.scenario);
            for phase in &self.plan.scenario.setup {
                let _ = self.run_body(&machine, Actor::Cpu(phase.mm), None, &phase.body);
            }
            machine
        });
        let mut world = Vec::new();
        self.save(&mut world);
        *start = Some(Start {
            world,
            objects: explore::object_mark(),
            machine,
        });
        machine
    }

    fn run_thread(&self, machine: Machine, index: usize) {
        let thread = &self.plan.scenario.threads[index];
        let _ = self.run_body(
            &machine,
            thread.actor,
            self.plan.layout.cpu_of_thread[index],
            &thread.body,
        );
    }

    /// What is looked at when nothing is under way any more.
    fn finish(&self, machine: &Machine) {
        for phase in &self.plan.scenario.finals {
            let _ = self.run_body(machine, Actor::Cpu(phase.mm), None, &phase.body);
        }
        let world = World::current();
        (self.plan.before_checks)(machine);
        oracle::check_at_end(
            world,
            &Subjects {
                mms: &machine.mms,
                objects: &machine.objects,
                kvms: &machine.kvms,
            },
        );
        if let Some(kind) = world.books.exception.get() {
            self.plan.findings.note_exception(kind);
        }
        self.check_condition();
        oracle::check_holes_seen(world);
    }

    fn check_condition(&self) {
        let registers = World::current().registers();
        let registers: Vec<_> = registers.iter().map(Cell::get).collect();
        if let Some(ends) = &self.plan.ends {
            let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.insert(registers);
            return;
        }
        let Some(condition) = &self.plan.scenario.condition else {
            return;
        };
        let satisfied = condition.eval(&registers);
        drop(registers);
        let broken = match condition.quantifier {
            Quantifier::Forall => !satisfied,
            Quantifier::NotExists => satisfied,
            Quantifier::Exists => {
                if satisfied && self.plan.goal == Goal::Witness {
                    explore::fail(WITNESS, self.describe_registers());
                }
                if satisfied {
                    self.plan.findings.note_witness();
                }
                false
            }
        };
        if broken {
            violation::fail(
                Kind::Condition,
                format!(
                    "{} does not hold: {}",
                    self.plan.scenario.print_condition(condition),
                    self.describe_registers()
                ),
            );
        }
    }

    fn describe_registers(&self) -> String {
        let values: Vec<String> = self
            .plan
            .scenario
            .registers
            .iter()
            .zip(World::current().registers())
            .map(|(register, value)| match value.get() {
                Some(value) => format!("{} = {value}", register.name),
                None => format!("{} not set", register.name),
            })
            .collect();
        values.join(", ")
    }
}
