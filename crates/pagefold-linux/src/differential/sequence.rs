//! A sequence: a scenario in which nobody races, so that it has one outcome.
//!
//! What its set-up, its threads and its `final`s do is done one after the other, in this order.

use pagefold_litmus::{
    Advice, Call, MappingPage, MappingRange, MmId, Phase, RegisterId, Scenario, Span, Statement,
    StatementKind, Vocabulary, parse,
};

/// What a sequence can name: nothing but its own things.
pub(super) const VOCABULARY: Vocabulary<'static> = Vocabulary {
    protocols: &[],
    safeguards: &[],
    violations: &[],
};

/// A sequence, each step of which is a phase of the set-up.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    /// The scenario without threads and `final`s.
    pub(super) scenario: Scenario,
}

impl Sequence {
    /// That of a scenario.
    ///
    /// `None` if an address space does something that is not there (yet).
    pub(super) fn of(scenario: &Scenario) -> Option<Self> {
        let mut flat = scenario.clone();
        flat.threads.clear();
        flat.finals.clear();
        flat.condition = None;
        let threads = scenario.threads.iter().map(|thread| {
            let mm = thread.actor.mm()?;
            Some((mm, &thread.body))
        });
        let phases = |phases: &'_ [Phase]| -> Vec<(MmId, Vec<Statement>)> {
            phases
                .iter()
                .map(|phase| (phase.mm, phase.body.clone()))
                .collect()
        };
        let mut all = phases(&scenario.setup);
        for thread in threads {
            let (mm, body) = thread?;
            all.push((mm, body.clone()));
        }
        all.extend(phases(&scenario.finals));
        flat.setup = Vec::new();
        for (mm, body) in all {
            for statement in body {
                flat.setup.push(Phase {
                    mm,
                    body: vec![statement],
                    span: Span::START,
                });
            }
        }
        let sequence = Self { scenario: flat };
        sequence.makes_sense().then_some(sequence)
    }

    /// That of a text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::of(&parse(text, "sequence", &VOCABULARY).ok()?)
    }

    /// Its steps, and who takes them.
    pub(super) fn steps(&self) -> impl Iterator<Item = (MmId, &Statement)> {
        self.scenario
            .setup
            .iter()
            .map(|phase| (phase.mm, &phase.body[0]))
    }

    /// Whether everyone is there when they do something.
    fn makes_sense(&self) -> bool {
        let mms = self.scenario.mms.iter();
        let mut there: Vec<bool> = mms.map(|mm| mm.parent.is_none()).collect();
        self.steps().all(|(mm, statement)| {
            if let StatementKind::Call {
                call: Call::Fork(child),
                ..
            } = &statement.kind
            {
                let parent = self.scenario[*child].parent;
                if parent != Some(mm) || there[child.index()] {
                    return false;
                }
                there[child.index()] = true;
            }
            there[mm.index()] && !matches!(statement.kind, StatementKind::Repeat { .. })
        })
    }
}

/// Where a step writes what it gives.
pub(super) fn result_of(statement: &Statement) -> Option<RegisterId> {
    match statement.kind {
        StatementKind::Load { result, .. } | StatementKind::Call { result, .. } => result,
        _ => None,
    }
}

/// The call of a step, if it is one.
pub(super) fn call_of(statement: &Statement) -> Option<Call> {
    match statement.kind {
        StatementKind::Call { call, .. } => Some(call),
        _ => None,
    }
}

/// The pages that a step faults on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accessed {
    /// One that is accessed.
    Page(MappingPage),
    /// Those that are populated.
    Range(MappingRange),
}

impl Accessed {
    /// Those of a step, if it does such a thing.
    pub(crate) fn by(step: &Statement) -> Option<Self> {
        if let StatementKind::Load { page, .. } | StatementKind::Store { page, .. } = step.kind {
            return Some(Self::Page(page));
        }
        match call_of(step)? {
            Call::Gup(page)
            | Call::GupWrite(page, _)
            | Call::ProcMemRead(page)
            | Call::ProcMemWrite(page, _) => Some(Self::Page(page)),
            Call::Madvise(range, Advice::PopulateRead | Advice::PopulateWrite) => {
                Some(Self::Range(range))
            }
            _ => None,
        }
    }
}
