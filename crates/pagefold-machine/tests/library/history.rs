//! The tables of historic bugs in the library's README: each row names a scenario, and either the safeguards of a line of it that is
//! broken without them, or lines of it. (That these lines come out so, `scenarios.rs` tests.)

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::read::library;
use pagefold_litmus::{Scenario, Verdict};

const FOLDERS: [&str; 4] = ["thread", "safeguards", "system", "selftests"];

/// The names in backquotes in a cell.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn has_line(scenario: &Scenario, without: &[&str]) -> bool {
    scenario.expectations.iter().any(|line| {
        matches!(line.verdict, Verdict::Broken(_)) && line.without.iter().eq(without.iter())
    })
}

/// Whether the scenario has all that a row says of it: lines, or safeguards.
fn shows(scenario: &Scenario, what: &[&str]) -> bool {
    if !what.iter().any(|what| what.contains(':')) {
        return has_line(scenario, what);
    }
    let printed = scenario.to_string();
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    what.iter()
        .all(|what| lines.contains(&format!("{what};").as_str()))
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
        let &[_, _, _, scenario, what, _] = cells.as_slice() else {
            continue;
        };
        let [scenario] = names(scenario)[..] else {
            continue;
        };
        let scenario = scenarios
            .get(scenario)
            .unwrap_or_else(|| panic!("there is no such scenario: {row}"));
        assert!(shows(scenario, &names(what)), "no such line: {row}");
        rows += 1;
    }
    assert!(rows > 20, "the table was not found: {rows}");
}
