//! The threads of a scenario in a trace: which of its steps are theirs, and what each belongs to.

use std::ops::Range;

use pagefold_explore::{Trace, TraceStep};
use pagefold_litmus::{Scenario, Statement, StatementKind};
use pagefold_machine::model::UNDER_LOCK;
use serde::Serialize;

use super::functions::functions;

/// A step of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// Its number in the trace.
    pub(crate) step: usize,
    /// What it is.
    pub(crate) label: String,
    /// The function of Linux that takes it; none in user space.
    pub(crate) function: Option<&'static str>,
}

/// Somebody who comes in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Other {
    /// The thread.
    pub(crate) thread: String,
    /// What it does.
    pub(crate) statements: Vec<String>,
}

/// A thread of the scenario in a trace.
pub(super) struct Thread<'a> {
    /// Its number in the scenario.
    pub(super) number: usize,
    /// Its name.
    pub(super) name: &'a str,
    /// The numbers of its steps.
    pub(super) own: Vec<usize>,
    /// Of each of these, the statement.
    pub(super) statements: Vec<Option<String>>,
    /// And the function of Linux.
    functions: Vec<Option<&'static str>>,
}

/// Those that are in the trace, in the scenario's order.
pub(super) fn threads<'a>(trace: &Trace, scenario: &'a Scenario) -> Vec<Thread<'a>> {
    let threads = scenario.threads.iter().enumerate();
    threads
        .filter_map(|(number, thread)| {
            let index = trace.threads.iter().position(|name| *name == thread.name)?;
            let steps = trace.steps.iter().enumerate();
            let own: Vec<usize> = steps
                .filter(|(_, step)| usize::from(step.thread) == index && !step.reaches_memory)
                .map(|(step, _)| step)
                .collect();
            let mut result = Thread {
                number,
                name: &thread.name,
                statements: vec![None; own.len()],
                functions: vec![None; own.len()],
                own,
            };
            result.read(trace, scenario, &thread.body);
            Some(result)
        })
        .collect()
}

/// The statements of a body, those of loops once.
fn flat<'a>(body: &'a [Statement], all: &mut Vec<&'a Statement>) {
    for statement in body {
        match &statement.kind {
            StatementKind::Repeat { body, .. } => flat(body, all),
            _ => all.push(statement),
        }
    }
}

impl Thread<'_> {
    /// Which steps belong to which statement, and to which function. A statement is a remark after the step before it.
    fn read(&mut self, trace: &Trace, scenario: &Scenario, body: &[Statement]) {
        let mut all = Vec::new();
        flat(body, &mut all);
        let find = |note: &String| {
            let is = |statement: &&&Statement| scenario.print_statement(statement) == *note;
            all.iter().find(is).copied()
        };
        let mut begin = 0;
        let mut current = None;
        for at in 0..=self.own.len() {
            let notes = |at: usize| trace.steps[self.own[at]].notes.iter();
            let next = at
                .checked_sub(1)
                .and_then(|last| notes(last).rev().find_map(find));
            if at < self.own.len() && next.is_none() {
                continue;
            }
            if let Some(statement) = current {
                self.label(begin..at, statement, trace, scenario);
            }
            current = next;
            begin = at;
        }
    }

    fn label(
        &mut self,
        steps: Range<usize>,
        statement: &Statement,
        trace: &Trace,
        scenario: &Scenario,
    ) {
        let text = scenario.print_statement(statement);
        self.statements[steps.clone()].fill(Some(text));
        let labels = self.own[steps.clone()].iter();
        let labels = labels.map(|step| trace.steps[*step].label.as_str());
        let found = functions(scenario, &statement.kind, labels);
        self.functions[steps].copy_from_slice(&found);
    }

    /// Its steps in a part of the trace.
    pub(super) fn within(&self, part: &Range<usize>) -> Vec<usize> {
        let own = self.own.iter().copied();
        own.filter(|step| part.contains(step)).collect()
    }

    pub(super) fn position(&self, step: usize) -> usize {
        self.own.partition_point(|own| *own < step)
    }

    fn step(&self, at: usize, trace: &Trace) -> Step {
        let step = self.own[at];
        Step {
            step,
            label: trace.steps[step].label.clone(),
            function: self.functions[at],
        }
    }

    /// The step, or the last one before it that has a name.
    pub(super) fn named_before(&self, step: usize, trace: &Trace) -> Option<Step> {
        let at = (0..=self.position(step)).rev();
        let mut named = at.filter(|at| has_name(&trace.steps[self.own[*at]]));
        named.next().map(|at| self.step(at, trace))
    }

    /// The step, or the first one after it that has a name.
    pub(super) fn named_after(&self, step: usize, trace: &Trace) -> Option<Step> {
        let mut named = (self.position(step)..self.own.len())
            .filter(|at| has_name(&trace.steps[self.own[*at]]));
        named.next().map(|at| self.step(at, trace))
    }

    pub(super) fn told(&self, steps: &[usize]) -> Other {
        let mut statements: Vec<String> = Vec::new();
        for step in steps {
            if let Some(statement) = &self.statements[self.position(*step)]
                && statements.last() != Some(statement)
            {
                statements.push(statement.clone());
            }
        }
        Other {
            thread: self.name.to_owned(),
            statements,
        }
    }
}

fn has_name(step: &TraceStep) -> bool {
    !UNDER_LOCK.contains(&step.label.as_str())
}
