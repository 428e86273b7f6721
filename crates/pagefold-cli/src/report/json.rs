//! The report for programs: one JSON object. The names of its fields are stable; `pagefold check --help` lists them.

use std::io::{self, Write};
use std::time::Duration;

use pagefold_explore::{Config, Violation};
use serde::Serialize;

use crate::done::{self, Comparison, Done};
use crate::shrink::Shortest;

/// The version of the format.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    runs: Vec<Run<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Run<'a> {
    scenario: &'a str,
    file: String,
    protocol: &'a str,
    without: Vec<&'a str>,
    unsplit: bool,
    strict: bool,
    memory: &'a str,
    verdict: String,
    kind: Option<String>,
    message: Option<String>,
    expected: Option<String>,
    as_expected: Option<bool>,
    executions: u64,
    hunted: bool,
    redundant: u64,
    states: u64,
    longest: u32,
    seconds: f64,
    trace: Option<Trace<'a>>,
    reproduce: Option<String>,
}

#[derive(Serialize)]
struct Trace<'a> {
    events: usize,
    context_switches: u32,
    preemptions: u32,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    thread: &'a str,
    label: &'a str,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Summary {
    runs: usize,
    as_expected: usize,
    unexpected: usize,
    broken: usize,
    not_exhausted: usize,
    seconds: f64,
    status: u8,
}

/// Writes the report.
pub(crate) fn write(
    all: &[Done<'_>],
    bounds: &Config,
    time: Duration,
    out: &mut dyn Write,
) -> io::Result<()> {
    let count = |of: &dyn Fn(&Done<'_>) -> bool| all.iter().filter(|done| of(done)).count();
    let report = Report {
        version: VERSION,
        runs: all.iter().map(|done| run(done, bounds)).collect(),
        summary: Summary {
            runs: all.len(),
            as_expected: count(&|done| done.comparison() == Comparison::AsExpected),
            unexpected: count(&|done| done.comparison() == Comparison::Unexpected),
            broken: count(&|done| done.broken().is_some()),
            not_exhausted: count(&|done| done.bound().is_some()),
            seconds: time.as_secs_f64(),
            status: done::status(all).code(),
        },
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Shrunk<'a> {
    version: u32,
    scenario: &'a str,
    file: String,
    protocol: &'a str,
    without: Vec<&'a str>,
    unsplit: bool,
    strict: bool,
    memory: &'a str,
    kind: &'a str,
    message: &'a str,
    probes: usize,
    dropped: &'a [String],
    source: String,
    trace: Trace<'a>,
}

/// Writes what came of shrinking a scenario.
pub(crate) fn write_shortest(shortest: &Shortest<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Shortest {
        original,
        rules,
        scenario,
        dropped,
        probes,
        violation,
    } = shortest;
    let report = Shrunk {
        version: VERSION,
        scenario: &original.scenario.name,
        file: original.path.display().to_string(),
        protocol: rules.protocol.name,
        without: rules.without_names(),
        unsplit: rules.unsplit,
        strict: rules.strict,
        memory: rules.memory.name(),
        kind: &violation.kind,
        message: &violation.message,
        probes: *probes,
        dropped,
        source: scenario.to_string(),
        trace: trace(violation),
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

fn run<'a>(done: &'a Done<'_>, bounds: &Config) -> Run<'a> {
    let rules = done.run.rules;
    let violation = done.violation();
    Run {
        scenario: &done.run.loaded.scenario.name,
        file: done.run.loaded.path.display().to_string(),
        protocol: rules.protocol.name,
        without: rules.without_names(),
        unsplit: rules.unsplit,
        strict: rules.strict,
        memory: rules.memory.name(),
        verdict: done.word().replace(' ', "-"),
        kind: done.broken(),
        message: match violation {
            Some(violation) => Some(violation.message.clone()),
            None => done.bound(),
        },
        expected: done.run.expected.map(done::describe),
        as_expected: match done.comparison() {
            Comparison::AsExpected => Some(true),
            Comparison::Unexpected => Some(false),
            Comparison::None | Comparison::Undecided => None,
        },
        executions: done.checked.executions,
        hunted: done.checked.hunted,
        redundant: done.checked.redundant,
        states: done.checked.states,
        longest: done.checked.longest,
        seconds: done.time.as_secs_f64(),
        trace: violation.map(trace),
        reproduce: violation.map(|_| done.reproduce(bounds)),
    }
}

fn trace(violation: &Violation) -> Trace<'_> {
    let steps = violation.trace.steps.iter();
    Trace {
        events: violation.trace.steps.len(),
        context_switches: violation.context_switches,
        preemptions: violation.preemptions,
        steps: steps
            .map(|step| Step {
                thread: violation
                    .trace
                    .threads
                    .get(usize::from(step.thread))
                    .map_or("", String::as_str),
                label: &step.label,
                notes: &step.notes,
            })
            .collect(),
    }
}
