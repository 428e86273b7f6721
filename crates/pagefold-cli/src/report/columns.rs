//! An interleaving as columns, one for each thread, as kernel people write it down.
//!
//! Statements of the scenario stand at the left edge of their column. The steps that they take are indented below them,
//! and what the program remarks on a step still further. Steps that concern nobody else are folded.

use std::collections::HashSet;

use pagefold_explore::{Trace, TraceStep};
use pagefold_litmus::{Scenario, Statement, StatementKind};
use pagefold_machine::model::UNDER_LOCK;

use crate::grid::{Cell, Grid};
use crate::terminal::Ink;

/// Fewer steps than this are not worth folding.
const MIN_FOLD: usize = 3;
/// The explorer's first thread: it starts the others, and runs the `final` statements when they have ended.
const MAIN: usize = 0;
/// What every thread begins with.
const START: &str = "start";

/// The columns of a trace of `scenario`; with `every_step`, nothing is left out.
pub(crate) fn grid(trace: &Trace, scenario: &Scenario, every_step: bool) -> Grid {
    let columns = Columns::of(trace, scenario);
    let statements = statements(scenario);
    let lines = if every_step {
        lines(trace, &columns, |_| Detail::Full)
    } else {
        lines(trace, &columns, brief)
    };
    // Columns that nothing is shown of are left out.
    let shown: Vec<usize> = (0..columns.titles.len())
        .filter(|column| lines.iter().any(|line| line.column == *column))
        .collect();
    let titles = shown.iter().map(|column| columns.titles[*column].as_str());
    let mut grid = Grid::new([" step"].into_iter().chain(titles));
    for line in &lines {
        let number = match line.content {
            Content::Note(_) => Cell::default(),
            Content::Step(_) | Content::Fold(_) => {
                Cell::new(Ink::Faint, format!("{:>5}", line.step))
            }
        };
        let cells = shown.iter().map(|column| {
            if *column == line.column {
                line.cell(&statements)
            } else {
                Cell::default()
            }
        });
        grid.row([number].into_iter().chain(cells));
    }
    grid
}

/// Whether a step belongs to what happens between the threads, and is shown even in a long trace.
fn is_interesting(step: &TraceStep) -> bool {
    step.shared && !UNDER_LOCK.contains(&step.label.as_str())
}

/// How much of a step is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Nothing,
    /// The remarks that belong after it.
    Notes,
    /// Those, and that it is there.
    Folded,
    /// What it is.
    Full,
}

/// How much of a step is shown if not everything is.
fn brief(step: &TraceStep) -> Detail {
    match step.label.as_str() {
        // What follows are the statements of the set-up.
        START if usize::from(step.thread) == MAIN => Detail::Nothing,
        START => Detail::Notes,
        _ if is_interesting(step) => Detail::Full,
        _ => Detail::Folded,
    }
}

/// Which threads stand in which column.
struct Columns {
    titles: Vec<String>,
    /// The column of each thread of the trace.
    of_thread: Vec<usize>,
}

impl Columns {
    /// The threads of the scenario in its order; then one column for all interrupts, one for all RCU callbacks and so on,
    /// as they have one name; last the main thread.
    fn of(trace: &Trace, scenario: &Scenario) -> Self {
        let mut names: Vec<&str> = Vec::new();
        let mut titles = Vec::new();
        for thread in &scenario.threads {
            names.push(&thread.name);
            titles.push(format!(
                "{} ({})",
                thread.name,
                scenario.print_actor(thread.actor)
            ));
        }
        for name in trace.threads.iter().skip(MAIN + 1) {
            if !names.contains(&name.as_str()) {
                names.push(name);
                titles.push(name.clone());
            }
        }
        let main = titles.len();
        titles.extend(trace.threads.get(MAIN).cloned());
        let of_thread = trace
            .threads
            .iter()
            .enumerate()
            .map(
                |(thread, name)| match names.iter().position(|other| other == name) {
                    Some(column) if thread != MAIN => column,
                    _ => main,
                },
            )
            .collect();
        Self { titles, of_thread }
    }
}

/// One line of the view.
struct Line<'a> {
    /// The number of the step; of a fold, that of its first.
    step: usize,
    column: usize,
    content: Content<'a>,
}

enum Content<'a> {
    Step(&'a str),
    Note(&'a str),
    /// So many steps.
    Fold(usize),
}

impl Line<'_> {
    fn cell(&self, statements: &HashSet<String>) -> Cell {
        match self.content {
            Content::Step(label) => format!("  {label}").into(),
            Content::Note(note) if statements.contains(note) => Cell::new(Ink::Landmark, note),
            Content::Note(note) => Cell::new(Ink::Landmark, format!("    {note}")),
            Content::Fold(steps) => Cell::new(Ink::Faint, format!("  ... {steps} steps")),
        }
    }
}

/// The statements of a scenario as the notes of a trace have them.
fn statements(scenario: &Scenario) -> HashSet<String> {
    fn add(scenario: &Scenario, body: &[Statement], all: &mut HashSet<String>) {
        for statement in body {
            match &statement.kind {
                StatementKind::Repeat { times, body } => {
                    all.insert(format!("repeat {times}"));
                    add(scenario, body, all);
                }
                _ => {
                    all.insert(scenario.print_statement(statement));
                }
            }
        }
    }
    let mut all = HashSet::new();
    let phases = scenario.setup.iter().chain(&scenario.finals);
    let threads = scenario.threads.iter().map(|thread| &thread.body);
    for body in phases.map(|phase| &phase.body).chain(threads) {
        add(scenario, body, &mut all);
    }
    all
}

/// The lines of a trace; stretches of steps of one column that are [`Detail::Folded`] become one line.
fn lines<'a>(
    trace: &'a Trace,
    columns: &Columns,
    detail: impl Fn(&TraceStep) -> Detail,
) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let mut stretch: Vec<Line<'a>> = Vec::new();
    for (number, step) in trace.steps.iter().enumerate() {
        let column = columns
            .of_thread
            .get(usize::from(step.thread))
            .copied()
            .unwrap_or_default();
        let line = |content| Line {
            step: number,
            column,
            content,
        };
        if stretch.last().is_some_and(|last| last.column != column) {
            fold(&mut stretch, &mut lines);
        }
        let label = line(Content::Step(&step.label));
        match detail(step) {
            Detail::Nothing => continue,
            Detail::Notes => {}
            Detail::Folded => stretch.push(label),
            Detail::Full => {
                fold(&mut stretch, &mut lines);
                lines.push(label);
            }
        }
        if !step.notes.is_empty() {
            fold(&mut stretch, &mut lines);
            lines.extend(step.notes.iter().map(|note| line(Content::Note(note))));
        }
    }
    fold(&mut stretch, &mut lines);
    lines
}

/// Moves a stretch of steps to the lines, as one if it is long enough.
fn fold<'a>(stretch: &mut Vec<Line<'a>>, lines: &mut Vec<Line<'a>>) {
    match stretch.first() {
        Some(first) if stretch.len() >= MIN_FOLD => {
            lines.push(Line {
                step: first.step,
                column: first.column,
                content: Content::Fold(stretch.len()),
            });
            stretch.clear();
        }
        _ => lines.append(stretch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Terminal;
    use crate::vocabulary;

    const SCENARIO: &str = "
        MM t
        { shmem f[2]; mm A { x: mmap(f, MAP_SHARED); } mm B { y: mmap(f, MAP_SHARED); } }
        P0 (A) { madvise(x, MADV_COLLAPSE); }
        V (vcpu B) { repeat 2 { r = y[0]; } }
        final(B) { r1 = y[1]; }
    ";

    fn scenario() -> Scenario {
        vocabulary::parse(SCENARIO, "t.litmus").expect("a good scenario")
    }

    fn trace() -> Trace {
        let step = |thread, label: &str, notes: &[&str]| TraceStep {
            label: label.to_owned(),
            object: None,
            shared: !label.starts_with("private"),
            reaches_memory: false,
            variant: 0,
            notes: notes.iter().map(|note| (*note).to_owned()).collect(),
            thread,
        };
        Trace {
            version: Trace::VERSION,
            program: scenario().fingerprint(),
            threads: ["main", "V", "P0", "ipi", "rcu callback", "ipi"]
                .map(str::to_owned)
                .to_vec(),
            steps: vec![
                step(0, "start", &["x[0] = 1"]),
                step(2, "start", &["madvise(x, MADV_COLLAPSE)"]),
                step(2, "private one", &[]),
                step(2, "private two", &[]),
                step(2, "private three", &[]),
                step(2, "private four", &[]),
                step(2, "pmdp_collapse_flush: clear pmd x", &[]),
                step(1, "start", &["repeat 2", "r = y[0]"]),
                step(1, "private one", &[]),
                step(1, "private two", &["= 1"]),
                step(3, "lock interrupts of cpu1", &[]),
                step(5, "unlock interrupts of cpu1", &[]),
                step(4, "free table 7", &[]),
                step(2, "unlock ptl", &["SCAN_SUCCEED"]),
                step(0, "join P0", &["r1 = y[1]"]),
            ],
        }
    }

    fn text(grid: &Grid, width: usize) -> String {
        let mut out = Vec::new();
        let terminal = Terminal {
            width,
            color: false,
        };
        grid.write(terminal, &mut out).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn each_thread_has_its_column() {
        insta::assert_snapshot!(text(&grid(&trace(), &scenario(), false), 120));
    }

    #[test]
    fn every_step_can_be_shown() {
        insta::assert_snapshot!(text(&grid(&trace(), &scenario(), true), 120));
    }

    #[test]
    fn columns_fit_a_narrow_terminal() {
        let text = text(&grid(&trace(), &scenario(), false), 80);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn steps_that_concern_nobody_else_are_folded() {
        let (trace, scenario) = (trace(), scenario());
        let columns = Columns::of(&trace, &scenario);
        let lines = lines(&trace, &columns, |step| {
            if step.label.starts_with("private") {
                Detail::Folded
            } else {
                brief(step)
            }
        });
        let shown: Vec<String> = lines
            .iter()
            .map(|line| match line.content {
                Content::Step(label) => format!("{} {label}", line.step),
                Content::Note(note) => format!("# {note}"),
                Content::Fold(steps) => format!("{} ... {steps}", line.step),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "# madvise(x, MADV_COLLAPSE)",
                "2 ... 4",
                "6 pmdp_collapse_flush: clear pmd x",
                "# repeat 2",
                "# r = y[0]",
                "8 private one",
                "9 private two",
                "# = 1",
                "10 lock interrupts of cpu1",
                "11 unlock interrupts of cpu1",
                "12 free table 7",
                "13 unlock ptl",
                "# SCAN_SUCCEED",
                "14 join P0",
                "# r1 = y[1]",
            ]
        );
    }
}
