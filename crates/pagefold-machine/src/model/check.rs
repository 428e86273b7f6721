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

use pagefold::protocol::{Protocol, SafeguardSet};
use pagefold_explore as explore;
use pagefold_explore::{Bound, Trace, Violation};
use pagefold_litmus::{Actor, Quantifier, Scenario, Value};

use super::arena::{Arena, Snapshot};
use super::names;
use super::oracle::{self, Subjects};
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
    /// One lock for all page tables of an address space, instead of one for each.
    pub unsplit: bool,
    /// Documented exceptions count as violations.
    pub strict: bool,
    /// The bounds of the search.
    pub bounds: explore::Config,
}

impl RunConfig {
    /// A run under `protocol` with everything else as usual.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            without: SafeguardSet::EMPTY,
            unsplit: false,
            strict: false,
            // The machine is built on a thread's stack before it is put into the arena.
            bounds: explore::Config::default().stack_size(STACK),
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
    check_observed(scenario, config, || ())
}

/// As [`check`], and calls `observer` after each execution.
///
/// # Errors
/// If the scenario needs a larger machine than the model has.
pub fn check_observed(
    scenario: &Scenario,
    config: &RunConfig,
    mut observer: impl FnMut(),
) -> Result<Checked, ScenarioLimit> {
    let session = Session::new(scenario, config, Goal::Invariants)?;
    let report = session.explore(&config.bounds, &mut observer);
    let mut checked = Checked {
        outcome: Outcome::Holds,
        executions: report.executions,
        redundant: report.blocked,
        states: report.states,
        longest: report.longest,
    };
    checked.outcome = match report.verdict {
        explore::Verdict::Broken(violation) => Outcome::Broken(violation),
        explore::Verdict::NotExhausted(bound) => Outcome::NotExhausted(bound),
        explore::Verdict::Holds if session.witness.get() => {
            // No invariant broke. A second search ends at the witness, to show the simplest.
            let session = Session::new(scenario, config, Goal::Witness)?;
            match session.explore(&config.bounds, &mut observer).verdict {
                explore::Verdict::Broken(violation) => Outcome::Allowed(violation),
                explore::Verdict::Holds => unreachable!("the same search found a witness before"),
                explore::Verdict::NotExhausted(bound) => Outcome::NotExhausted(bound),
            }
        }
        explore::Verdict::Holds if session.quantifier() == Some(Quantifier::Exists) => {
            Outcome::Forbidden
        }
        explore::Verdict::Holds => session
            .exception
            .get()
            .map_or(Outcome::Holds, Outcome::Exception),
    };
    Ok(checked)
}

/// Runs a scenario along a recorded trace.
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
    let session = Session::new(scenario, config, goal)?;
    names::set(session.layout.names.clone());
    // SAFETY: as in `Session::explore`.
    let replay =
        unsafe { explore::replay_forgetting(&config.bounds, trace, || session.execution()) };
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

/// The search of one scenario under one set of rules.
struct Session<'a> {
    scenario: &'a Scenario,
    layout: Layout,
    rules: Rules,
    goal: Goal,
    arena: Arena,
    start: RefCell<Option<Start>>,
    registers: Vec<Cell<Option<Value>>>,
    witness: Cell<bool>,
    exception: Cell<Option<Kind>>,
    /// Run before the checks at the end; the tests of the oracles break something there.
    before_checks: fn(&Machine),
}

/// Where every execution begins.
struct Start {
    world: Snapshot,
    objects: u32,
    registers: Vec<Option<Value>>,
    machine: Machine,
}

impl<'a> Session<'a> {
    fn new(scenario: &'a Scenario, config: &RunConfig, goal: Goal) -> Result<Self, ScenarioLimit> {
        Ok(Self {
            scenario,
            layout: Layout::of(scenario)?,
            rules: Rules {
                protocol: config.protocol,
                without: config.without,
                split_ptlocks: !config.unsplit,
                strict: config.strict,
            },
            goal,
            arena: Arena::new(),
            start: RefCell::new(None),
            registers: scenario.registers.iter().map(|_| Cell::new(None)).collect(),
            witness: Cell::new(false),
            exception: Cell::new(None),
            before_checks: |_| (),
        })
    }

    fn quantifier(&self) -> Option<Quantifier> {
        self.scenario
            .condition
            .as_ref()
            .map(|condition| condition.quantifier)
    }

    fn explore(&self, bounds: &explore::Config, observer: &mut dyn FnMut()) -> explore::Report {
        names::set(self.layout.names.clone());
        // SAFETY: everything that an execution makes lies in the arena or is plain data on the stacks; the registers, which
        // do not, are reset at the start of each execution. So it may be forgotten at any event.
        let report = unsafe {
            explore::explore_forgetting_observed(
                bounds,
                || self.execution(),
                |_: explore::Ended<'_>| observer(),
            )
        };
        World::forget();
        report
    }

    /// One execution: the body of the explorer's main thread.
    fn execution(&self) {
        let machine = self.begin();
        let world = World::current();
        let mut threads = [None; pagefold_litmus::limits::THREADS];
        for (index, thread) in self.scenario.threads.iter().enumerate() {
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
            if let Some(cpu) = self.layout.cpu_of_thread[index] {
                world.place_thread(id, cpu);
            }
            threads[index] = Some(id);
        }
        for thread in threads.iter().flatten() {
            explore::thread::join(*thread);
        }
        world.rcu_barrier();
        explore::quiet(|| self.finish(&machine));
    }

    /// The world as the set-up left it.
    fn begin(&self) -> Machine {
        let mut start = self.start.borrow_mut();
        if let Some(start) = &*start {
            // SAFETY: this is the only thread of the execution yet, and those of earlier executions are gone.
            unsafe { self.arena.restore(&start.world) };
            explore::reset_objects_to(start.objects);
            for (register, value) in self.registers.iter().zip(&start.registers) {
                register.set(*value);
            }
            return start.machine;
        }
        World::build(&self.arena, self.rules);
        let world = World::current();
        let machine = explore::quiet(|| {
            let machine = self.layout.build(world, self.scenario);
            for phase in &self.scenario.setup {
                let _ = self.run_body(&machine, Actor::Cpu(phase.mm), None, &phase.body);
            }
            machine
        });
        *start = Some(Start {
            world: self.arena.save(),
            objects: explore::object_mark(),
            registers: self.registers.iter().map(Cell::get).collect(),
            machine,
        });
        machine
    }

    fn run_thread(&self, machine: Machine, index: usize) {
        let thread = &self.scenario.threads[index];
        let _ = self.run_body(
            &machine,
            thread.actor,
            self.layout.cpu_of_thread[index],
            &thread.body,
        );
    }

    /// What is looked at when nothing is under way any more.
    fn finish(&self, machine: &Machine) {
        for phase in &self.scenario.finals {
            let _ = self.run_body(machine, Actor::Cpu(phase.mm), None, &phase.body);
        }
        let world = World::current();
        (self.before_checks)(machine);
        oracle::check_at_end(
            world,
            &Subjects {
                mms: &machine.mms,
                objects: &machine.objects,
                kvms: &machine.kvms,
            },
        );
        if let Some(kind) = world.books.exception.get() {
            self.exception.set(Some(kind));
        }
        self.check_condition();
    }

    fn check_condition(&self) {
        let Some(condition) = &self.scenario.condition else {
            return;
        };
        let registers: Vec<_> = self.registers.iter().map(Cell::get).collect();
        let satisfied = condition.eval(&registers);
        drop(registers);
        let broken = match condition.quantifier {
            Quantifier::Forall => !satisfied,
            Quantifier::NotExists => satisfied,
            Quantifier::Exists => {
                if satisfied && self.goal == Goal::Witness {
                    explore::fail(WITNESS, self.describe_registers());
                }
                self.witness.set(self.witness.get() | satisfied);
                false
            }
        };
        if broken {
            violation::fail(
                Kind::Condition,
                format!(
                    "{} does not hold: {}",
                    self.scenario.print_condition(condition),
                    self.describe_registers()
                ),
            );
        }
    }

    fn describe_registers(&self) -> String {
        let values: Vec<String> = self
            .scenario
            .registers
            .iter()
            .zip(&self.registers)
            .map(|(register, value)| match value.get() {
                Some(value) => format!("{} = {value}", register.name),
                None => format!("{} not set", register.name),
            })
            .collect();
        values.join(", ")
    }
}
