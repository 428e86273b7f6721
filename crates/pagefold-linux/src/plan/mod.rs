//! From a scenario to who does what, or why it cannot be done on a real kernel.

mod counterpart;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use pagefold_litmus::{
    Actor, Advice, Backing, Call, Created, Hold, Limit, MappingId, MappingPage, MmId, ObjectId,
    ObjectKind, Scenario, Sharing, Span, Statement, StatementKind, Thread, UffdMode, UffdModes,
};

use crate::geometry::HALVES;
use crate::limits;
use crate::sys::uffd::Modes;
pub(crate) use counterpart::{check_sizes, remarks, unknown};

/// Why a scenario has no counterpart on a real kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCounterpart {
    /// What it is that a kernel does not have, or not where a program could ask for it.
    pub reason: String,
    /// Where it is in the source.
    pub span: Span,
}

impl fmt::Display for NoCounterpart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no counterpart: {}", self.reason)
    }
}

/// A scenario that can be run.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// The scenario.
    pub(crate) scenario: &'a Scenario,
    /// The place of each mapping. A copy that fork makes has that of what it is a copy of.
    pub(crate) slots: Vec<usize>,
    /// The worker that each thread belongs to.
    pub(crate) worker_of: Vec<usize>,
    /// Somebody looks at what the kernel knows of it alone: of userfaultfd.
    pub(crate) uses_uffd: bool,
    /// For each address space, whether somebody waits for the events of its userfaultfds.
    monitored: Vec<bool>,
    /// The address spaces that threads fork in the race; the others are there when it begins.
    forked_in_race: Vec<MmId>,
}

impl<'a> Program<'a> {
    /// Looks whether all of it has a counterpart.
    pub(crate) fn new(scenario: &'a Scenario) -> Result<Self, NoCounterpart> {
        counterpart::look_for(scenario)?;
        let calls = || calls(scenario);
        let uses_uffd = scenario
            .mappings
            .iter()
            .any(|mapping| mapping.uffd.is_some())
            || calls().any(is_of_uffd);
        let race = statements(scenario).into_iter();
        let forked_in_race = race.filter_map(|(place, statement)| match &statement.kind {
            StatementKind::Call {
                call: Call::Fork(child),
                ..
            } => (place == Where::Race).then_some(*child),
            _ => None,
        });
        Ok(Self {
            scenario,
            slots: slots(scenario),
            worker_of: scenario
                .threads
                .iter()
                .map(|thread| worker_of(scenario, thread))
                .collect(),
            uses_uffd,
            monitored: monitored(scenario),
            forked_in_race: forked_in_race.collect(),
        })
    }

    /// Whether accesses in the race are of whole groups, as others ask whether a range is full: those who use userfaultfd. But where
    /// each access may be an event, there is one for each page of the scenario, and who answers it does so for the whole group.
    pub(crate) fn whole(&self, mapping: MappingId) -> bool {
        self.uses_uffd && !self.is_monitored(self.scenario[mapping].mm)
    }

    /// Whether somebody waits for the events of an address space.
    pub(crate) fn is_monitored(&self, mm: MmId) -> bool {
        self.monitored[mm.index()]
    }

    /// Whether a thread waits for the events of an address space, from outside of it.
    pub(crate) fn is_monitor(&self, thread: usize) -> bool {
        matches!(self.scenario.threads[thread].actor, Actor::Monitor(_))
    }

    /// Whether somebody outside of the address spaces waits for events.
    pub(crate) fn has_monitors(&self) -> bool {
        self.threads_of(self.outside())
            .any(|thread| self.is_monitor(thread))
    }

    /// Whether khugepaged scans.
    pub(crate) fn scans(&self) -> bool {
        calls(self.scenario).any(|call| matches!(call, Call::Scan(..)))
    }

    /// Whether it is to keep to limits of its own.
    pub(crate) fn has_limits(&self) -> bool {
        calls(self.scenario).any(|call| match call {
            Call::Scan(_, none, shared, swap) => [none, shared, swap]
                .iter()
                .any(|limit| **limit != Limit::default()),
            _ => false,
        })
    }

    /// Whether it matters if a group has holes: to userfaultfd, to the limits of khugepaged; and where holes of a file would be read from a disk.
    pub(crate) fn asks_for_holes(&self) -> bool {
        let mut objects = self.scenario.objects.iter();
        self.uses_uffd || self.has_limits() || objects.any(|object| object.kind == ObjectKind::File)
    }

    /// Whether the first access to memory may bring a huge page.
    pub(crate) fn wants_huge(&self) -> bool {
        calls(self.scenario).any(|call| matches!(call, Call::Madvise(_, Advice::HugePage)))
    }

    /// Whether pages are pinned by walks without locks.
    pub(crate) fn pins_fast(&self) -> bool {
        calls(self.scenario).any(|call| matches!(call, Call::GupFast(_) | Call::GupFastWrite(..)))
    }

    /// Whether pages are pinned for long.
    pub(crate) fn pins_long(&self) -> bool {
        (0..self.scenario.mms.len()).any(|worker| self.pinned_by(worker).next().is_some())
    }

    /// The pages that a worker pins for long.
    pub(crate) fn pinned_by(&self, worker: usize) -> impl Iterator<Item = MappingPage> {
        let pinned = calls(self.scenario).filter_map(|call| match call {
            Call::Hold(page, Hold::WritePin) => Some(*page),
            _ => None,
        });
        pinned.filter(move |page| self.scenario[page.mapping].mm.index() == worker)
    }

    /// Whether a mapping is of a file on a disk.
    pub(crate) fn is_of_file(&self, mapping: MappingId) -> bool {
        match self.scenario[mapping].backing {
            Backing::Object(object) => self.scenario[object].kind == ObjectKind::File,
            Backing::Anonymous { .. } => false,
        }
    }

    /// Whether files on a disk are collapsed.
    pub(crate) fn collapses_files(&self) -> bool {
        let scenario = self.scenario;
        calls(scenario).any(|call| match call {
            Call::Collapse(object) => scenario[*object].kind == ObjectKind::File,
            Call::Madvise(range, Advice::Collapse) => self.is_of_file(range.mapping),
            Call::Scan(..) => scenario
                .objects
                .iter()
                .any(|object| object.kind == ObjectKind::File),
            _ => false,
        })
    }

    /// Whether pages are moved out that are on no disk.
    pub(crate) fn swaps(&self) -> bool {
        let scenario = self.scenario;
        let on_disk = |mapping: MappingId| match Memory::of(scenario, mapping) {
            Memory::Object { object, shared } => {
                shared && scenario.objects[object].kind == ObjectKind::File
            }
            Memory::Anonymous => false,
        };
        calls(scenario).any(|call| match call {
            Call::Madvise(range, Advice::PageOut) => !on_disk(range.mapping),
            Call::Reclaim(page) => !on_disk(page.mapping),
            _ => false,
        })
    }

    /// The objects that are collapsed on behalf of no process.
    pub(crate) fn collapsed(&self) -> BTreeSet<ObjectId> {
        let collapsed = calls(self.scenario).filter_map(|call| match call {
            Call::Collapse(object) => Some(*object),
            _ => None,
        });
        collapsed.collect()
    }

    /// Whether the userfaultfds of an address space are handed over to who waits for its events when the race begins, so that
    /// nobody else has them. If threads of the process use them as well, both have.
    pub(crate) fn hands_over(&self, mm: MmId) -> bool {
        self.is_monitored(mm)
            && !self
                .threads_of(mm.index())
                .any(|thread| any_call(&self.scenario.threads[thread].body, is_of_uffd))
    }

    /// The workers that there are from the start: those of address spaces that are not forked, and who is outside of all.
    pub(crate) fn living(&self) -> impl Iterator<Item = usize> {
        let mms = self.scenario.mms.iter().enumerate();
        let mms = mms.filter(|(_, mm)| mm.parent.is_none());
        let outside = self.outside();
        let outside = self.worker_of.contains(&outside).then_some(outside);
        mms.map(|(index, _)| index).chain(outside)
    }

    /// The worker, if there is only one.
    pub(crate) fn single(&self) -> Option<usize> {
        let mut all = self.living().chain(self.forked());
        all.next().filter(|_| all.next().is_none())
    }

    /// The workers that others fork, parents first.
    pub(crate) fn forked(&self) -> impl DoubleEndedIterator<Item = usize> {
        let mms = self.scenario.mms.iter().enumerate();
        mms.filter(|(_, mm)| mm.parent.is_some())
            .map(|(index, _)| index)
    }

    /// The worker for all who are outside of the address spaces: the kernel's own threads, monitors.
    pub(crate) fn outside(&self) -> usize {
        self.scenario.mms.len()
    }

    /// The threads of a worker.
    pub(crate) fn threads_of(&self, worker: usize) -> impl Iterator<Item = usize> {
        let threads = self.worker_of.iter().enumerate();
        threads
            .filter(move |(_, of)| **of == worker)
            .map(|(thread, _)| thread)
    }

    /// Whether all threads are there from the start, so that they can run one after the other.
    pub(crate) fn can_take_turns(&self) -> bool {
        self.forked_in_race.is_empty()
    }

    /// Whether a worker is forked in the race, so that its threads begin when that is done.
    pub(crate) fn joins_late(&self, worker: usize) -> bool {
        self.forked_in_race.contains(&MmId::new(worker))
    }

    /// Whether threads of a worker are virtual CPUs.
    pub(crate) fn runs_guest(&self, worker: usize) -> bool {
        self.threads_of(worker)
            .any(|thread| matches!(self.scenario.threads[thread].actor, Actor::Vcpu(_)))
    }

    /// Whether threads of a worker call `exit`.
    pub(crate) fn exits(&self, worker: usize) -> bool {
        self.threads_of(worker).any(|thread| {
            let body = &self.scenario.threads[thread].body;
            any_call(body, |call| matches!(call, Call::Exit))
        })
    }
}

/// Where a statement stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Setup,
    Race,
    Final,
}

/// All statements, also those in loops.
fn statements(scenario: &Scenario) -> Vec<(Where, &Statement)> {
    fn collect<'a>(place: Where, body: &'a [Statement], all: &mut Vec<(Where, &'a Statement)>) {
        for statement in body {
            all.push((place, statement));
            if let StatementKind::Repeat { body, .. } = &statement.kind {
                collect(place, body, all);
            }
        }
    }
    let mut all = Vec::new();
    for phase in &scenario.setup {
        collect(Where::Setup, &phase.body, &mut all);
    }
    for phase in &scenario.finals {
        collect(Where::Final, &phase.body, &mut all);
    }
    for thread in &scenario.threads {
        collect(Where::Race, &thread.body, &mut all);
    }
    all
}

/// All calls of a scenario.
pub(crate) fn calls(scenario: &Scenario) -> impl Iterator<Item = &Call> {
    statements(scenario)
        .into_iter()
        .filter_map(|(_, statement)| match &statement.kind {
            StatementKind::Call { call, .. } => Some(call),
            _ => None,
        })
}

/// Whether both pages of a huge one are to be of the same size: khugepaged asks for half of them, or some move to the place of others.
pub(crate) fn wants_even_halves(scenario: &Scenario) -> bool {
    let moves_elsewhere = |call: &Call| match call {
        Call::Mremap(from, to) | Call::UffdioMove(to, from, _) => {
            let ((from, pages), (to, room)) = (scenario.pages_of(*from), scenario.pages_of(*to));
            let all = [from, to, pages, room];
            let wholes = all.iter().all(|n| n.is_multiple_of(HALVES));
            from != to && !wholes
        }
        _ => false,
    };
    limits::asks_for_half(scenario) || calls(scenario).any(moves_elsewhere)
}

/// All calls of a body.
fn calls_of(body: &[Statement]) -> Vec<&Call> {
    let calls = body.iter().flat_map(|statement| match &statement.kind {
        StatementKind::Call { call, .. } => vec![call],
        StatementKind::Repeat { body, .. } => calls_of(body),
        _ => Vec::new(),
    });
    calls.collect()
}

/// Whether a call of a kind is in a body.
fn any_call(body: &[Statement], wanted: fn(&Call) -> bool) -> bool {
    calls_of(body).into_iter().any(wanted)
}

/// The places of the mappings, one after the other: so an address tells which mapping it is of, also if it is not known of which process.
pub(crate) fn slots(scenario: &Scenario) -> Vec<usize> {
    let mut next = 0;
    let mut slots: Vec<usize> = Vec::with_capacity(scenario.mappings.len());
    for mapping in &scenario.mappings {
        let slot = match mapping.created {
            Created::Fork(of) => slots[of.index()],
            _ => next,
        };
        next = next.max(slot + 1);
        slots.push(slot);
    }
    slots
}

/// The worker of a thread. Monitors are outside of the process; but UFFDIO_MOVE is for threads of the process only.
fn worker_of(scenario: &Scenario, thread: &Thread) -> usize {
    match thread.actor {
        Actor::Cpu(mm) | Actor::Vcpu(mm) => mm.index(),
        Actor::Monitor(mm) if moves(&thread.body) => mm.index(),
        _ => scenario.mms.len(),
    }
}

/// Whether pages are moved by userfaultfd.
fn moves(body: &[Statement]) -> bool {
    any_call(body, |call| matches!(call, Call::UffdioMove(..)))
}

/// The address spaces with a monitor, and their relatives by fork, whose mappings may be registered as well.
fn monitored(scenario: &Scenario) -> Vec<bool> {
    let family = |mut mm: MmId| {
        while let Some(parent) = scenario[mm].parent {
            mm = parent;
        }
        mm
    };
    let watched: Vec<MmId> = scenario
        .threads
        .iter()
        .filter_map(|thread| match thread.actor {
            Actor::Monitor(mm) => Some(family(mm)),
            _ => None,
        })
        .collect();
    let mms = (0..scenario.mms.len()).map(MmId::new);
    mms.map(|mm| watched.contains(&family(mm))).collect()
}

/// Whether a call is a request of a userfaultfd, or makes one.
fn is_of_uffd(call: &Call) -> bool {
    matches!(
        call,
        Call::UffdRegister(..)
            | Call::UffdUnregister(_)
            | Call::UffdioCopy(..)
            | Call::UffdioZeropage(_)
            | Call::UffdioContinue(..)
            | Call::UffdioPoison(_)
            | Call::UffdioWriteprotect(..)
            | Call::UffdioMove(..)
            | Call::UffdRead(_)
            | Call::UffdAnswer(..)
            | Call::UffdClose(_)
    )
}

/// What a mapping is mapped from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// An object.
    Object {
        /// Its number.
        object: usize,
        /// Whether writes reach it.
        shared: bool,
    },
    /// Nothing.
    Anonymous,
}

impl Memory {
    /// That of a mapping.
    pub(crate) fn of(scenario: &Scenario, mapping: MappingId) -> Self {
        match scenario[mapping].backing {
            Backing::Object(object) => Self::Object {
                object: object.index(),
                shared: scenario[mapping].sharing == Sharing::Shared,
            },
            Backing::Anonymous { .. } => Self::Anonymous,
        }
    }
}

/// The modes of a registration.
pub(crate) fn modes(modes: UffdModes) -> Modes {
    Modes {
        missing: modes.has(UffdMode::Missing),
        wp: modes.has(UffdMode::Wp),
        minor: modes.has(UffdMode::Minor),
        sigbus: modes.has(UffdMode::Sigbus),
        wp_async: modes.has(UffdMode::WpAsync),
        changes: modes.has(UffdMode::Changes),
        fork: modes.has(UffdMode::EventFork),
        remap: modes.has(UffdMode::EventRemap),
    }
}
