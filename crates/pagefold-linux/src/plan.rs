//! From a scenario to who does what, or why it cannot be done on a real kernel.

use std::fmt;

use pagefold_litmus::{
    Actor, Advice, Backing, Call, Created, MappingId, MappingRange, MmId, ObjectKind, Phase,
    Scenario, Sharing, Span, Statement, StatementKind, UffdMode, UffdModes,
};

use crate::geometry::{HALVES, MAX_PAGES};
use crate::sys::uffd::Modes;

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
    /// The place of each mapping in its address space. A copy that fork makes has that of what it is a copy of.
    pub(crate) slots: Vec<usize>,
    /// The worker that each thread belongs to.
    pub(crate) worker_of: Vec<usize>,
    /// Accesses in the race are of whole groups, as others ask whether a range is full: those who use userfaultfd.
    pub(crate) whole: bool,
    /// Somebody looks at what the kernel knows of it alone: of userfaultfd.
    pub(crate) uses_uffd: bool,
    /// The address spaces that threads fork in the race; the others are there when it begins.
    forked_in_race: Vec<MmId>,
}

impl<'a> Program<'a> {
    /// Looks whether all of it has a counterpart.
    pub(crate) fn new(scenario: &'a Scenario) -> Result<Self, NoCounterpart> {
        let refuse = |span, reason: &str| {
            Err(NoCounterpart {
                reason: reason.to_owned(),
                span,
            })
        };
        if scenario.reuse_frames {
            return refuse(
                Span::START,
                "nobody can tell a kernel which frame to use next",
            );
        }
        for object in &scenario.objects {
            if object.kind == ObjectKind::File {
                return refuse(
                    object.span,
                    "files on a disk, of which most kernels make no huge pages",
                );
            }
            if object.pages() > MAX_PAGES {
                return refuse(object.span, "the object is too large");
            }
        }
        for thread in &scenario.threads {
            let reason = match thread.actor {
                Actor::Cpu(_) | Actor::Vcpu(_) | Actor::Kernel => continue,
                Actor::Device(_) => "a device that walks page tables",
                Actor::Monitor(_) => "monitors are not run yet",
                Actor::Khugepaged => "khugepaged scans when it likes to",
                Actor::Reclaim => "nobody can tell reclaim which page to take",
            };
            return refuse(thread.span, reason);
        }
        let mut forked_in_race = Vec::new();
        let mut uses_uffd = false;
        for (index, mapping) in scenario.mappings.iter().enumerate() {
            if scenario.pages(MappingId::new(index)) > MAX_PAGES {
                return refuse(mapping.span, "the mapping is too large");
            }
            uses_uffd |= mapping.uffd.is_some();
            if mapping.uffd.is_some_and(needs_monitor) {
                return refuse(mapping.span, "monitors are not run yet");
            }
        }
        let mut actors = scenario.threads.iter().map(|thread| thread.actor);
        let has_guest = actors.any(|actor| matches!(actor, Actor::Vcpu(_)));
        for (place, statement) in statements(scenario) {
            let StatementKind::Call { call, .. } = &statement.kind else {
                continue;
            };
            uses_uffd |= matches!(
                call,
                Call::UffdRegister(..)
                    | Call::UffdioCopy(..)
                    | Call::UffdioZeropage(_)
                    | Call::UffdioContinue(_)
                    | Call::UffdioPoison(_)
                    | Call::UffdioWriteprotect(..)
            );
            if let (Where::Race, Call::Fork(child)) = (place, call) {
                forked_in_race.push(*child);
            }
            if matches!(call, Call::UffdioPoison(_)) && has_guest {
                return refuse(
                    statement.span,
                    "KVM tells of poisoned pages by a signal to the whole thread",
                );
            }
            if let Some(reason) = without_counterpart(scenario, call) {
                return refuse(statement.span, reason);
            }
        }
        for phase in &scenario.finals {
            check_final(scenario, phase)?;
        }
        Ok(Self {
            scenario,
            slots: slots(scenario),
            worker_of: scenario
                .threads
                .iter()
                .map(|thread| worker_of(scenario, thread.actor))
                .collect(),
            whole: uses_uffd,
            uses_uffd,
            forked_in_race,
        })
    }

    /// The workers that there are from the start: those of address spaces that are not forked, and that of the kernel.
    pub(crate) fn living(&self) -> impl Iterator<Item = usize> {
        let mms = self.scenario.mms.iter().enumerate();
        let mms = mms.filter(|(_, mm)| mm.parent.is_none());
        let kernel = self.kernel();
        let kernel = self.worker_of.contains(&kernel).then_some(kernel);
        mms.map(|(index, _)| index).chain(kernel)
    }

    /// The workers that others fork, parents first.
    pub(crate) fn forked(&self) -> impl DoubleEndedIterator<Item = usize> {
        let mms = self.scenario.mms.iter().enumerate();
        mms.filter(|(_, mm)| mm.parent.is_some())
            .map(|(index, _)| index)
    }

    /// The worker for the kernel's own threads.
    fn kernel(&self) -> usize {
        self.scenario.mms.len()
    }

    /// The threads of a worker.
    pub(crate) fn threads_of(&self, worker: usize) -> impl Iterator<Item = usize> {
        let threads = self.worker_of.iter().enumerate();
        threads
            .filter(move |(_, of)| **of == worker)
            .map(|(thread, _)| thread)
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
            any(&self.scenario.threads[thread].body, &mut |statement| {
                matches!(
                    statement.kind,
                    StatementKind::Call {
                        call: Call::Exit,
                        ..
                    }
                )
            })
        })
    }
}

/// Where a statement stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Race,
    Alone,
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
    for phase in scenario.setup.iter().chain(&scenario.finals) {
        collect(Where::Alone, &phase.body, &mut all);
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

fn any(body: &[Statement], wanted: &mut impl FnMut(&Statement) -> bool) -> bool {
    body.iter().any(|statement| {
        wanted(statement)
            || match &statement.kind {
                StatementKind::Repeat { body, .. } => any(body, wanted),
                _ => false,
            }
    })
}

/// Whether system calls wait until somebody has read of them.
fn needs_monitor(modes: UffdModes) -> bool {
    let events = [UffdMode::Changes, UffdMode::EventFork, UffdMode::EventRemap];
    events.into_iter().any(|mode| modes.has(mode))
}

fn without_counterpart(scenario: &Scenario, call: &Call) -> Option<&'static str> {
    Some(match call {
        Call::GupFast(_) | Call::GupFastWrite(..) | Call::Vmsplice(_) => {
            "every system call that pins pages without locks tries with locks then"
        }
        Call::Scan(..) => "khugepaged scans when it likes to",
        Call::RmapWalk(_) | Call::RmapWalkAnon(_) => "nobody can ask for a walk by page",
        Call::Reclaim(_)
        | Call::Shrink(_)
        | Call::Swapped(_)
        | Call::Madvise(_, Advice::PageOut) => "swap is not used yet",
        Call::Collapse(_) => "only processes can ask for a collapse",
        Call::UffdRead(_) | Call::UffdAnswer(..) => "monitors are not run yet",
        Call::OpenWrite(_)
        | Call::CloseWrite(_)
        | Call::Write(..)
        | Call::Fsync(_)
        | Call::OnDisk(_) => "files on a disk, of which most kernels make no huge pages",
        Call::UffdRegister(_, modes) if needs_monitor(*modes) => "monitors are not run yet",
        Call::UffdioMove(..) => "pages are not moved by userfaultfd yet",
        Call::Mremap(from, to) if !same_shape(scenario, *from, *to) => {
            "pages are not moved to other places of a huge page"
        }
        _ => return None,
    })
}

/// Whether both ranges consist of the same halves of huge pages, which differ in size.
pub(crate) fn same_shape(scenario: &Scenario, from: MappingRange, to: MappingRange) -> bool {
    let ((from, pages), (to, others)) = (scenario.pages_of(from), scenario.pages_of(to));
    let wholes = [from, to, pages].iter().all(|n| n.is_multiple_of(HALVES));
    pages == others && (from == to || wholes)
}

fn check_final(scenario: &Scenario, phase: &Phase) -> Result<(), NoCounterpart> {
    for (index, statement) in phase.body.iter().enumerate() {
        let StatementKind::Call { call, .. } = &statement.kind else {
            continue;
        };
        let refuse = |reason: &str| {
            Err(NoCounterpart {
                reason: reason.to_owned(),
                span: statement.span,
            })
        };
        match call {
            Call::PmdMapped(mapping) if scenario.pages(*mapping) > HALVES => {
                return refuse("smaps does not tell which of several huge pages is mapped whole");
            }
            Call::PageTable(mapping) if scenario.pages(*mapping) > HALVES => {
                return refuse("which of several page tables is there");
            }
            Call::PageTable(mapping)
                if scenario.mappings_of(phase.mm).count() > 1
                    && phase.body[index + 1..]
                        .iter()
                        .any(|later| mentions(later, *mapping)) =>
            {
                return refuse(
                    "which of several page tables is there is known only when a mapping is given up",
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a statement of a `final` is about a mapping, or about all.
fn mentions(statement: &Statement, mapping: MappingId) -> bool {
    match &statement.kind {
        StatementKind::Load { page, .. } | StatementKind::Store { page, .. } => {
            page.mapping == mapping
        }
        StatementKind::Call { call, .. } => match call {
            Call::PageTable(other) | Call::PmdMapped(other) => *other == mapping,
            Call::UffdWp(page) => page.mapping == mapping,
            _ => true,
        },
        StatementKind::Map(other) => *other == mapping,
        StatementKind::Repeat { .. } => true,
    }
}

/// The places of the mappings, one after the other in each address space.
pub(crate) fn slots(scenario: &Scenario) -> Vec<usize> {
    let mut next = vec![0; scenario.mms.len()];
    let mut slots: Vec<usize> = Vec::with_capacity(scenario.mappings.len());
    for mapping in &scenario.mappings {
        let mm = mapping.mm.index();
        let slot = match mapping.created {
            Created::Fork(of) => slots[of.index()],
            _ => next[mm],
        };
        next[mm] = next[mm].max(slot + 1);
        slots.push(slot);
    }
    slots
}

fn worker_of(scenario: &Scenario, actor: Actor) -> usize {
    actor.mm().map_or(scenario.mms.len(), |mm| mm.index())
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
    }
}
