//! `pagefold orderings`: what each order that the engine asks for is needed for.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::thread;

use pagefold_litmus::{Memory, Verdict};
use pagefold_machine::model::{self, Finding, RunConfig};

use crate::args::OrderingsArgs;
use crate::exit::{Failure, Status};
use crate::grid::{Cell, Grid};
use crate::load;
use crate::plan::{Rules, Run, Selection};
use crate::terminal::{Ink, Terminal};

/// Weakens, searches, and prints the table.
pub(crate) fn orderings(
    args: &OrderingsArgs,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let scenarios = load::load(&args.paths)?;
    let runs: Vec<Run<'_>> = Selection::default()
        .runs(&scenarios)
        .into_iter()
        .filter(|run| run.rules.memory == Memory::Sc && is_correct(run))
        .collect();
    let jobs = args
        .jobs
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let subjects: Vec<_> = runs
        .iter()
        .map(|run| (&run.loaded.scenario, config(run.rules, args.bound)))
        .collect();
    let findings = model::orderings(&subjects, jobs).expect("what was loaded fits the model");

    let mut grid = Grid::new(["place", "order", "model", "without it"]);
    for finding in &findings {
        grid.row([
            Cell::from(place(finding)),
            finding.site.asked.name().into(),
            finding.memory.name().into(),
            outcome(finding, &runs),
        ]);
    }
    grid.write(terminal, out)?;
    let needed = findings.iter().filter(|finding| finding.breaks.is_some());
    writeln!(
        out,
        "\n{} orders in {} runs, {} shown to be needed; each run within {} executions",
        findings.len(),
        runs.len(),
        needed.count(),
        args.bound
    )?;
    Ok(Status::Fine)
}

/// Whether nothing is expected to break.
fn is_correct(run: &Run<'_>) -> bool {
    match run.expected {
        Some(Verdict::Broken(_)) => false,
        None
        | Some(Verdict::Holds | Verdict::Exception(_) | Verdict::Allowed | Verdict::Forbidden) => {
            true
        }
    }
}

fn config(rules: Rules, bound: u64) -> RunConfig {
    let bounds = RunConfig::new(rules.protocol).bounds.max_executions(bound);
    rules.config(&bounds)
}

/// The function, if the source is here, and the place in it.
fn place(finding: &Finding) -> String {
    let source = fs::read_to_string(finding.site.file).unwrap_or_default();
    match finding.site.function(&source) {
        Some(function) => format!("{function} {}", finding.site),
        None => finding.site.to_string(),
    }
}

fn outcome(finding: &Finding, runs: &[Run<'_>]) -> Cell {
    match &finding.breaks {
        Some((run, kind)) => {
            let run = runs[*run];
            let text = format!("{kind}: {} {}", run.loaded.scenario.name, run.rules);
            Cell::new(Ink::Good, text)
        }
        None => {
            let text = format!(
                "not shown to be needed ({} runs, {} not exhausted)",
                finding.runs, finding.open
            );
            Cell::new(Ink::Open, text)
        }
    }
}
