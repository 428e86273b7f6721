//! The table of the kernel's own tests: it names scenarios that are there, and all of the folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::read::{FOLDERS, library};

#[test]
fn the_table_of_the_kernels_own_tests_is_complete() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../litmus/selftests/README.md");
    let table = fs::read_to_string(folder).expect("it is in the repository");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(3));
    let mut named = BTreeSet::new();
    for cell in cells {
        let names = cell.split('`').skip(1).step_by(2);
        named.extend(names.filter(|name| !name.ends_with('/')).map(str::to_owned));
    }
    let of = |folder: &str| -> BTreeSet<String> {
        let scenarios = library(folder).into_iter();
        scenarios.map(|(_, scenario)| scenario.name).collect()
    };
    let all: BTreeSet<String> = FOLDERS.into_iter().flat_map(of).collect();
    let missing: Vec<&String> = named.difference(&all).collect();
    assert!(
        missing.is_empty(),
        "there are no such scenarios: {missing:?}"
    );
    let own = of("selftests");
    let left_out: Vec<&String> = own.difference(&named).collect();
    assert!(left_out.is_empty(), "the table lacks {left_out:?}");
}
