//! What is explored: a scenario under one set of rules; and what is found out on the way.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use pagefold_explore as explore;
use pagefold_explore::Trace;
use pagefold_litmus::{
    Actor, Advice, Call, Memory, Quantifier, Scenario, Statement, StatementKind, Value,
};

use super::execute::Machine;
use super::layout::{Layout, ScenarioLimit};
use super::session::{Saved, Session};
use super::{RunConfig, Tick};
use crate::model::format::EntryFormat;
use crate::model::order::Collapse;
use crate::model::site::Site;
use crate::model::violation::Kind;
use crate::model::world::{Rules, World};

/// What the search ends at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// A violation; a witness of an `exists` is only noted.
    Invariants,
    /// A witness.
    Witness,
}

/// A scenario under one set of rules, and what to look for.
pub(super) struct Plan<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) layout: Layout,
    pub(super) rules: Rules,
    pub(super) goal: Goal,
    pub(super) findings: Findings,
    /// Run when the threads have ended; what the tests of the oracles have to happen at the same time begins there.
    pub(super) after_threads: fn(&Machine),
    /// Run before the checks at the end; the tests of the oracles break something there.
    pub(super) before_checks: fn(&Machine),
    pub(super) weakened: Option<Site>,
    /// As [`RunConfig::by_system_calls`].
    pub(super) by_system_calls: bool,
    /// Scans are system calls, too.
    pub(super) scan_by_madvise: bool,
    /// Somebody reads userfaultfds.
    pub(super) monitored: bool,
    /// The places passed, if they are to be noted.
    pub(super) sites: Option<Mutex<BTreeSet<Site>>>,
    /// What the registers were at the ends of executions, if that is to be noted instead of judged.
    pub(super) ends: Option<Mutex<BTreeSet<Vec<Option<Value>>>>>,
    /// What collapses do, if the threads are to run one after the other for that.
    pub(super) collapses: Option<Mutex<Vec<Collapse>>>,
}

/// What was found besides violations, in any execution.
#[derive(Default)]
pub(super) struct Findings {
    witness: AtomicBool,
    /// The documented exceptions that occurred, as bits by their place among all kinds.
    exceptions: AtomicU64,
}

impl Findings {
    pub(super) fn witness(&self) -> bool {
        self.witness.load(Relaxed)
    }

    pub(super) fn note_witness(&self) {
        self.witness.store(true, Relaxed);
    }

    /// The first in the list of kinds, whichever was found first.
    pub(super) fn exception(&self) -> Option<Kind> {
        let exceptions = self.exceptions.load(Relaxed);
        let found = |(index, _): &(usize, &Kind)| exceptions & (1 << index) != 0;
        let (_, kind) = Kind::ALL.iter().enumerate().find(found)?;
        Some(*kind)
    }

    pub(super) fn note_exception(&self, kind: Kind) {
        let index = Kind::ALL.iter().position(|other| *other == kind);
        self.exceptions
            .fetch_or(index.map_or(0, |index| 1 << index), Relaxed);
    }
}

/// Whether a thread takes permissions away. Under a weak memory model the order of execution does not say what an access
/// may do, but at the end.
fn forbids(scenario: &Scenario) -> bool {
    let forbids = |call: &Call| {
        matches!(
            call,
            Call::Munmap(_) | Call::Mprotect(..) | Call::Mremap(..)
        )
    };
    let mut threads = scenario.threads.iter();
    threads.any(|thread| any_call(&thread.body, forbids))
}

/// Whether faults may bring huge pages.
fn wants_huge(scenario: &Scenario) -> bool {
    any_before_end(scenario, |call| {
        matches!(call, Call::Madvise(_, Advice::HugePage))
    })
}

/// Whether the memory of a page goes bad.
fn goes_bad(scenario: &Scenario) -> bool {
    any_before_end(scenario, |call| matches!(call, Call::Hwpoison(_)))
}

/// Whether the set-up or a thread has such a call.
fn any_before_end(scenario: &Scenario, wanted: fn(&Call) -> bool) -> bool {
    let setup = scenario.setup.iter().map(|phase| &phase.body);
    let mut bodies = setup.chain(scenario.threads.iter().map(|thread| &thread.body));
    bodies.any(|body| any_call(body, wanted))
}

fn any_call(body: &[Statement], wanted: fn(&Call) -> bool) -> bool {
    body.iter().any(|statement| match &statement.kind {
        StatementKind::Call { call, .. } => wanted(call),
        StatementKind::Repeat { body, .. } => any_call(body, wanted),
        StatementKind::Store { .. } | StatementKind::Load { .. } | StatementKind::Map(_) => false,
    })
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        config: &RunConfig,
        goal: Goal,
    ) -> Result<Self, ScenarioLimit> {
        let layout = Layout::of(scenario)?;
        Ok(Self {
            scenario,
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
                shmem_denied: scenario.shmem_denied,
                borders: layout.borders(scenario),
                goes_bad: goes_bad(scenario),
                huge_faults: wants_huge(scenario),
                watch_permissions: config.memory == Memory::Sc && forbids(scenario),
            },
            layout,
            goal,
            findings: Findings::default(),
            after_threads: |_| (),
            before_checks: |_| (),
            weakened: config.weakened,
            by_system_calls: config.by_system_calls,
            scan_by_madvise: config.by_system_calls && !config.scan_by_khugepaged,
            monitored: scenario
                .threads
                .iter()
                .any(|thread| matches!(thread.actor, Actor::Monitor(_))),
            sites: None,
            ends: None,
            collapses: None,
        })
    }

    pub(super) fn quantifier(&self) -> Option<Quantifier> {
        self.scenario
            .condition
            .as_ref()
            .map(|condition| condition.quantifier)
    }

    /// Runs the scenario along a recorded trace.
    pub(super) fn replay(&self, config: &RunConfig, trace: &Trace) -> explore::Replay {
        let session = Session::new(self);
        let bounds = self.named(&config.bounds);
        // SAFETY: as in `explore`.
        let replay = unsafe { explore::replay_forgetting(&bounds, trace, || session.execution()) };
        World::forget();
        replay
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

    pub(super) fn explore(
        &self,
        config: &RunConfig,
        observer: &(impl Fn(Tick) + Sync),
    ) -> explore::Report {
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
