//! A scenario comes out the same whatever the format of page-table entries is; only that more levels are more to read.

use pagefold_litmus::{Expectation, Format, Scenario};
use pagefold_machine::model::{Checked, EntryFormat, Kind, Outcome, check};

use crate::read::{FOLDERS, config, library};

/// Runs that the usual format needs no more executions for than these are held against the others: most runs, in little time.
const FEW: u64 = 200;

/// With more levels there is more to meet at where tables are made.
const MANY: u64 = 100 * FEW;

const USUAL: EntryFormat = EntryFormat::of_machine(Format::X86_64);

/// `None` if that many executions are not enough, also to look for the simplest example.
fn run(
    scenario: &Scenario,
    row: &Expectation,
    format: EntryFormat,
    executions: u64,
) -> Option<Checked> {
    let mut config = config(row);
    config.format = Some(format);
    config.bounds = config.bounds.max_executions(executions);
    let checked = check(scenario, &config).expect("the scenario is small enough");
    (checked.executions < executions).then_some(checked)
}

/// The outcome without the example of it.
fn sort(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Broken(violation) => format!("broken: {}", violation.kind),
        Outcome::Allowed(_) => "allowed".to_owned(),
        Outcome::Exception(kind) => format!("exception: {}", kind.name()),
        Outcome::Holds => "holds".to_owned(),
        Outcome::Forbidden => "forbidden".to_owned(),
        Outcome::NotExhausted(_) => unreachable!("these are left out"),
    }
}

/// Whether what breaks in the usual format breaks here because an entry is not flushed, which is seen earlier than what comes of it.
fn is_earlier(outcome: &Outcome, usual: &Outcome) -> bool {
    let kind = Kind::BreakBeforeMake.name();
    matches!(outcome, Outcome::Broken(violation) if violation.kind == kind)
        && matches!(usual, Outcome::Broken(_))
}

#[test]
fn scenarios_come_out_the_same_in_every_format() {
    let mut compared = 0;
    for (path, scenario) in FOLDERS.into_iter().flat_map(library) {
        if scenario.format != Format::default() {
            continue;
        }
        let mut is_compared = false;
        for row in &scenario.expectations {
            let Some(usual) = run(&scenario, row, USUAL, FEW) else {
                continue;
            };
            is_compared = true;
            for format in &EntryFormat::ALL[1..] {
                let name = || format!("{} {row:?} with {}", path.display(), format.name);
                let checked = run(&scenario, row, *format, MANY)
                    .unwrap_or_else(|| panic!("{}: takes long", name()));
                if is_earlier(&checked.outcome, &usual.outcome) {
                    continue;
                }
                assert_eq!(sort(&checked.outcome), sort(&usual.outcome), "{}", name());
                // Break-before-make takes a flush more, and events by which it is watched.
                if format.levels() == USUAL.levels() && !format.breaks_before_make() {
                    let counts = (checked.executions, checked.states);
                    assert_eq!(counts, (usual.executions, usual.states), "{}", name());
                }
            }
        }
        compared += usize::from(is_compared);
    }
    assert!(compared > 120, "scenarios that were compared: {compared}");
}
