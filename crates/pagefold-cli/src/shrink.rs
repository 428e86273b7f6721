//! `pagefold shrink`: the shortest scenario that breaks in the same way.

use std::fs;
use std::io::{self, Write};

use pagefold::protocol::Protocol;
use pagefold_explore::{Config, Violation};
use pagefold_litmus::{Expectation, Scenario, Span, Verdict};
use pagefold_machine::model::{self, Outcome, RunConfig};

use crate::args::{Format, ShrinkArgs};
use crate::done;
use crate::exit::{Failure, Status};
use crate::load::{self, Loaded};
use crate::plan::Rules;
use crate::report::{json, text};
use crate::terminal::{Ink, Terminal};
use crate::vocabulary;

/// What came of shrinking a scenario.
#[derive(Debug)]
pub(crate) struct Shortest<'a> {
    /// The scenario it began with.
    pub(crate) original: &'a Loaded,
    /// What it was run under.
    pub(crate) rules: Rules,
    /// What is left, with what is expected of it.
    pub(crate) scenario: Scenario,
    /// What was left out, in this order.
    pub(crate) dropped: Vec<String>,
    /// How many scenarios were tried.
    pub(crate) probes: usize,
    /// How it breaks.
    pub(crate) violation: Violation,
}

/// Shrinks and reports.
pub(crate) fn shrink(
    args: &ShrinkArgs,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let loaded = load::load(std::slice::from_ref(&args.file))?;
    let [original] = loaded.as_slice() else {
        let message = "there are several scenarios, of which one has to be chosen";
        return Err(Failure::file(&args.file, message));
    };
    let bounds = RunConfig::new(Protocol::DEFAULT)
        .bounds
        .max_steps(args.steps)
        .max_executions(args.bound);
    let (rules, violation) = find_violation(args, original, &bounds)?;
    let shortest = find_shortest(original, rules, violation, &bounds);
    if let Some(path) = &args.save {
        let text = shortest.scenario.to_string();
        fs::write(path, text).map_err(|error| Failure::file(path, error))?;
    }
    match args.format {
        Format::Text => shortest.write(args.full_trace, terminal, out)?,
        Format::Json => json::write_shortest(&shortest, out)?,
    }
    Ok(Status::Fine)
}

/// The first run that breaks, and how. Those come first that are expected to.
fn find_violation(
    args: &ShrinkArgs,
    original: &Loaded,
    bounds: &Config,
) -> Result<(Rules, Violation), Failure> {
    let mut runs = args.rules.selection().runs(std::slice::from_ref(original));
    runs.sort_by_key(|run| !matches!(run.expected, Some(Verdict::Broken(_))));
    let mut others = Vec::new();
    for run in runs {
        match outcome(&original.scenario, run.rules, bounds) {
            Outcome::Broken(violation) => return Ok((run.rules, *violation)),
            other => {
                let bound = done::bound(&other).map(|bound| format!(", {bound}"));
                let bound = bound.unwrap_or_default();
                others.push(format!("{}: {}{bound}", run.rules, done::word(&other)));
            }
        }
    }
    let message = format!(
        "nothing breaks, so there is nothing to shrink ({})",
        others.join("; ")
    );
    Err(Failure::file(&args.file, message))
}

/// Leaves out of `original` what is not needed for a violation of the same kind.
fn find_shortest<'a>(
    original: &'a Loaded,
    rules: Rules,
    mut violation: Violation,
    bounds: &Config,
) -> Shortest<'a> {
    let shrunk = vocabulary::shrink(&original.scenario, |shorter| {
        if model::fits(shorter).is_err() {
            return false;
        }
        match outcome(shorter, rules, bounds) {
            Outcome::Broken(found) if found.kind == violation.kind => {
                violation = *found;
                true
            }
            _ => false,
        }
    });
    let mut scenario = shrunk.scenario;
    scenario.expectations = vec![Expectation {
        protocol: rules.protocol.name.to_owned(),
        unsplit: rules.unsplit,
        strict: rules.strict,
        memory: rules.memory,
        without: rules
            .without_names()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        verdict: Verdict::Broken(Some(violation.kind.to_string())),
        span: Span::START,
    }];
    Shortest {
        original,
        rules,
        scenario,
        dropped: shrunk.dropped,
        probes: shrunk.probes,
        violation,
    }
}

fn outcome(scenario: &Scenario, rules: Rules, bounds: &Config) -> Outcome {
    model::check(scenario, &rules.config(bounds))
        .expect("it fits the model")
        .outcome
}

impl Shortest<'_> {
    /// The report for people. The scenario comes first, so that it can be cut out.
    fn write(&self, every_step: bool, terminal: Terminal, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.scenario)?;
        let title = format!("{} {}", self.original.scenario.name, self.rules);
        let verdict = format!("broken {}", self.violation.kind);
        writeln!(
            out,
            "{}: {}",
            terminal.paint(Ink::Title, title),
            terminal.paint(Ink::Bad, verdict)
        )?;
        let dropped = match self.dropped.len() {
            0 => "everything is needed".to_owned(),
            dropped => format!("{dropped} of the original dropped:"),
        };
        writeln!(out, "  {} scenarios tried, {dropped}", self.probes)?;
        for dropped in &self.dropped {
            writeln!(out, "    {dropped}")?;
        }
        let kind = Some(self.violation.kind.as_ref());
        text::violation(
            &self.violation,
            kind,
            &self.scenario,
            every_step,
            terminal,
            out,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::plan::Selection;

    /// What is left of a scenario of the collection, under the first rules under which it is expected to
    /// break.
    fn shortest(source: &str, test: impl FnOnce(&Shortest<'_>, &Config)) {
        let loaded = Loaded {
            path: PathBuf::from("test.litmus"),
            source: source.to_owned(),
            scenario: vocabulary::parse(source, "test.litmus").expect("a good scenario"),
        };
        // Which violation is found makes no difference here; the simplest takes long.
        let bounds = RunConfig::new(Protocol::DEFAULT)
            .bounds
            .max_executions(20_000)
            .minimize_executions(0);
        let runs = Selection::default().runs(std::slice::from_ref(&loaded));
        let run = runs
            .iter()
            .find(|run| matches!(run.expected, Some(Verdict::Broken(_))))
            .expect("it breaks somewhere");
        let Outcome::Broken(violation) = outcome(&loaded.scenario, run.rules, &bounds) else {
            panic!("it breaks");
        };
        test(
            &find_shortest(&loaded, run.rules, *violation, &bounds),
            &bounds,
        );
    }

    #[test]
    fn what_is_left_breaks_and_no_part_of_it_can_go() {
        for source in [
            include_str!("../../../litmus/safeguards/hole-content.litmus"),
            include_str!("../../../litmus/safeguards/munmap-vs-gup-fast.litmus"),
            include_str!("../../../litmus/thread/iommu-vs-retract.litmus"),
        ] {
            shortest(source, |shortest, bounds| {
                let breaks = |text: &str| {
                    let parsed = vocabulary::parse(text, "shorter.litmus");
                    let parsed = parsed.ok().filter(|shorter| model::fits(shorter).is_ok());
                    parsed.is_some_and(|shorter| match outcome(&shorter, shortest.rules, bounds) {
                        Outcome::Broken(found) => found.kind == shortest.violation.kind,
                        _ => false,
                    })
                };
                let text = shortest.scenario.to_string();
                assert!(breaks(&text), "{text}");
                for part in shortest.scenario.parts() {
                    let shorter = shortest.scenario.without(&part);
                    let part = shortest.scenario.describe_part(&part);
                    assert!(!breaks(&shorter), "{part} is not needed:\n{text}");
                }
            });
        }
    }
}
