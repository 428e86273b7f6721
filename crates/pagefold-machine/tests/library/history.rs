//! The table of historic bugs in the library's README: each row names a scenario, and a line of it that is broken without
//! the safeguards of the row. (That these lines come out so, `scenarios.rs` tests.)

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::read::library;
use pagefold_litmus::{Scenario, Verdict};

const FOLDERS: [&str; 3] = ["thread", "safeguards", "system"];

/// The names in backquotes in a cell.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn has_line(scenario: &Scenario, without: &[&str]) -> bool {
    scenario.expectations.iter().any(|line| {
        matches!(line.verdict, Verdict::Broken(_)) && line.without.iter().eq(without.iter())
    })
}

#[test]
fn every_historic_bug_can_be_had_again() {
    let scenarios: BTreeMap<String, Scenario> = FOLDERS
        .iter()
        .flat_map(|folder| library(folder))
        .map(|(_, scenario)| (scenario.name.clone(), scenario))
        .collect();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../litmus/README.md");
    let readme = fs::read_to_string(readme).expect("it is in the repository");
    let mut rows = 0;
    for row in readme.lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let &[_, _, _, scenario, without, _] = cells.as_slice() else {
            continue;
        };
        let [scenario] = names(scenario)[..] else {
            continue;
        };
        let scenario = scenarios
            .get(scenario)
            .unwrap_or_else(|| panic!("there is no such scenario: {row}"));
        assert!(has_line(scenario, &names(without)), "no such line: {row}");
        rows += 1;
    }
    assert!(rows > 20, "the table was not found: {rows}");
}
