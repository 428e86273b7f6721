//! The report for people: a line for each run, then what went wrong, then a summary.

use std::io::{self, Write};
use std::time::Duration;

use console::measure_text_width;
use pagefold_explore::{Config, Violation};
use pagefold_litmus::Scenario;
use pagefold_machine::model::Outcome;

use crate::done::{self, Comparison, Done};
use crate::plan::Run;
use crate::report::columns;
use crate::terminal::{Ink, Terminal};
use crate::vocabulary;

/// Room for a verdict; the few that are longer push the rest of their line to the right, so that lines can be written
/// before all runs are over.
const VERDICT: usize = 24;
/// Room for how the verdict compares with the expected one.
const COMPARISON: usize = 14;

/// The lines of the runs, in columns.
#[derive(Debug)]
pub(crate) struct Lines {
    terminal: Terminal,
    scenario: usize,
    rules: usize,
}

impl Lines {
    /// Lines for these runs.
    pub(crate) fn new(runs: &[Run<'_>], terminal: Terminal) -> Self {
        let widest = |of: &dyn Fn(&Run<'_>) -> String, title: &str| {
            let widths = runs.iter().map(|run| measure_text_width(&of(run)));
            widths.chain([title.len()]).max().unwrap_or(0)
        };
        Self {
            terminal,
            scenario: widest(&|run| run.loaded.scenario.name.clone(), "scenario"),
            rules: widest(&|run| run.rules.to_string(), "protocol"),
        }
    }

    /// The titles of the columns.
    pub(crate) fn titles(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            terminal,
            scenario,
            rules,
        } = self;
        let titles = format!(
            "{:scenario$}  {:rules$}  {:VERDICT$}  {:COMPARISON$}  {:>10}  {:>10}  {:>8}",
            "scenario", "protocol", "verdict", "", "executions", "states", "time"
        );
        writeln!(out, "{}", terminal.paint(Ink::Title, titles))
    }

    /// The line of one run.
    pub(crate) fn line(&self, done: &Done<'_>, out: &mut dyn Write) -> io::Result<()> {
        let ink = match &done.checked.outcome {
            _ if done.is_bad() => Ink::Bad,
            Outcome::NotExhausted(_) => Ink::Open,
            _ => Ink::Good,
        };
        let comparison = match (done.comparison(), done.run.expected) {
            (Comparison::AsExpected, _) => "as expected".to_owned(),
            (Comparison::Unexpected, Some(expected)) => {
                format!("EXPECTED {}", done::describe(expected))
            }
            _ => String::new(),
        };
        let Self {
            terminal,
            scenario,
            rules,
        } = self;
        // Padded by hand: what is painted has characters that take no room.
        let paint = |text: &str, width: usize| {
            let blanks = width.saturating_sub(measure_text_width(text));
            format!("{}{:blanks$}", terminal.paint(ink, text), "")
        };
        writeln!(
            out,
            "{:scenario$}  {:rules$}  {}  {}  {:>10}  {:>10}  {:>8}",
            done.run.loaded.scenario.name,
            done.run.rules.to_string(),
            paint(&done.verdict(), VERDICT),
            paint(&comparison, COMPARISON),
            done.checked.executions,
            done.checked.states,
            seconds(done.time)
        )
    }
}

/// What is said about single runs below the lines.
#[derive(Debug)]
pub(crate) struct Details<'a> {
    /// Show the trace also of what is as it should be.
    pub(crate) every_trace: bool,
    /// Show every step of a trace.
    pub(crate) every_step: bool,
    /// The bounds of the search.
    pub(crate) bounds: &'a Config,
    /// What the text can be.
    pub(crate) terminal: Terminal,
}

impl Details<'_> {
    /// Writes what there is to say.
    pub(crate) fn write(&self, all: &[Done<'_>], out: &mut dyn Write) -> io::Result<()> {
        for done in all {
            if let Some(violation) = done.violation() {
                if done.is_bad() || self.every_trace {
                    self.violation(done, violation, out)?;
                }
            } else if let Some(bound) = done.bound() {
                self.heading(done, Ink::Open, out)?;
                writeln!(out, "  {bound}")?;
            }
        }
        Ok(())
    }

    fn heading(&self, done: &Done<'_>, ink: Ink, out: &mut dyn Write) -> io::Result<()> {
        let expected = match done.run.expected {
            Some(expected) if done.is_bad() => format!(", expected {}", done::describe(expected)),
            _ => String::new(),
        };
        writeln!(out)?;
        writeln!(
            out,
            "{}: {}{expected}",
            self.terminal.paint(
                Ink::Title,
                format_args!("{} {}", done.run.loaded.scenario.name, done.run.rules)
            ),
            self.terminal.paint(ink, done.verdict()),
        )
    }

    fn violation(
        &self,
        done: &Done<'_>,
        violation: &Violation,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let ink = if done.is_bad() { Ink::Bad } else { Ink::Good };
        self.heading(done, ink, out)?;
        let kind = done.broken();
        let scenario = &done.run.loaded.scenario;
        self::violation(
            violation,
            kind.as_deref(),
            scenario,
            self.every_step,
            self.terminal,
            out,
        )?;
        writeln!(out)?;
        writeln!(
            out,
            "  again: {}",
            self.terminal
                .paint(Ink::Landmark, done.reproduce(self.bounds))
        )
    }
}

/// A violation of this kind, or if there is none a witness, and how it comes to that.
pub(crate) fn violation(
    violation: &Violation,
    kind: Option<&str>,
    scenario: &Scenario,
    every_step: bool,
    terminal: Terminal,
    out: &mut dyn Write,
) -> io::Result<()> {
    match kind {
        Some(name) => {
            if let Some(description) = vocabulary::describe_violation(name) {
                writeln!(out, "  invariant: {description}")?;
            }
            writeln!(out, "  violation: {}", indented(&violation.message))?;
        }
        None => writeln!(out, "  witness: {}", indented(&violation.message))?,
    }
    writeln!(
        out,
        "  after {} events, {} context switches, {} preemptions:",
        violation.trace.steps.len(),
        violation.context_switches,
        violation.preemptions
    )?;
    writeln!(out)?;
    columns::grid(&violation.trace, scenario, every_step).write(terminal, out)
}

/// A text of several lines below a heading.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

/// The last line.
pub(crate) fn summary(
    all: &[Done<'_>],
    time: Duration,
    terminal: Terminal,
    out: &mut dyn Write,
) -> io::Result<()> {
    let count = |of: &dyn Fn(&Done<'_>) -> bool| all.iter().filter(|done| of(done)).count();
    let bad = count(&|done| done.is_bad());
    let open = count(&|done| done.bound().is_some());
    let mut summary = format!(
        "{} {}, {} as expected",
        all.len(),
        if all.len() == 1 { "run" } else { "runs" },
        count(&|done| done.comparison() == Comparison::AsExpected),
    );
    for (number, what) in [(bad, "not as it should be"), (open, "not exhausted")] {
        if number > 0 {
            summary.push_str(&format!(", {number} {what}"));
        }
    }
    let ink = match (bad, open) {
        (0, 0) => Ink::Good,
        (0, _) => Ink::Open,
        _ => Ink::Bad,
    };
    writeln!(out)?;
    writeln!(out, "{}, {}", terminal.paint(ink, summary), seconds(time))
}

/// A time with three digits or so.
pub(crate) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.1 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}
