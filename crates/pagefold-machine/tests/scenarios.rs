//! The scenario library is a test suite: every line of every `expect` comes out as it says, and every safeguard has a line
//! that shows what it is there for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pagefold::protocol::{Protocol, Safeguard, SafeguardSet};
use pagefold_litmus::{Expectation, Scenario, Verdict, Vocabulary};
use pagefold_machine::model::{Kind, Outcome, RunConfig, check};

fn library(folder: &str) -> Vec<(PathBuf, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../litmus")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the library is in the repository")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "litmus")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has scenarios", folder.display());
    files
        .into_iter()
        .map(|path| {
            let scenario = parse(&path);
            (path, scenario)
        })
        .collect()
}

fn parse(path: &Path) -> Scenario {
    let source = fs::read_to_string(path).expect("it can be read");
    let protocols: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.name).collect();
    let safeguards: Vec<&str> = Safeguard::ALL
        .iter()
        .map(|safeguard| safeguard.name())
        .collect();
    let mut violations: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    violations.extend(pagefold_explore::kind::ALL);
    let vocabulary = Vocabulary {
        protocols: &protocols,
        safeguards: &safeguards,
        violations: &violations,
    };
    pagefold_litmus::parse(&source, &path.display().to_string(), &vocabulary)
        .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(&source, false)))
}

fn config(row: &Expectation) -> RunConfig {
    let protocol = Protocol::by_name(&row.protocol).expect("the parser knows the names");
    let mut config = RunConfig::new(protocol);
    config.without = row
        .without
        .iter()
        .map(|name| safeguard(name))
        .fold(SafeguardSet::EMPTY, SafeguardSet::with);
    config.unsplit = row.unsplit;
    config.strict = row.strict;
    config.memory = row.memory;
    config
}

fn safeguard(name: &str) -> Safeguard {
    *Safeguard::ALL
        .iter()
        .find(|safeguard| safeguard.name() == name)
        .expect("the parser knows the names")
}

fn is_as_expected(expected: &Verdict, outcome: &Outcome) -> bool {
    match (expected, outcome) {
        (Verdict::Holds, Outcome::Holds)
        | (Verdict::Allowed, Outcome::Allowed(_))
        | (Verdict::Forbidden, Outcome::Forbidden) => true,
        (Verdict::Exception(name), Outcome::Exception(kind)) => {
            name.as_ref().is_none_or(|name| *name == kind.name())
        }
        (Verdict::Broken(kind), Outcome::Broken(violation)) => {
            kind.as_ref().is_none_or(|kind| *kind == violation.kind)
        }
        _ => false,
    }
}

fn assert_as_expected(folder: &str) {
    for (path, scenario) in library(folder) {
        for row in &scenario.expectations {
            let checked = check(&scenario, &config(row)).expect("the scenario is small enough");
            assert!(
                is_as_expected(&row.verdict, &checked.outcome),
                "{} under {} {}{}without {:?}: expected {:?}, got {:?}",
                path.display(),
                row.protocol,
                if row.unsplit { "unsplit " } else { "" },
                if row.strict { "strict " } else { "" },
                row.without,
                row.verdict,
                checked.outcome,
            );
        }
    }
}

#[test]
fn the_questions_of_the_thread() {
    assert_as_expected("thread");
}

#[test]
fn the_other_safeguards() {
    assert_as_expected("safeguards");
}

#[test]
fn the_orders_of_memory() {
    assert_as_expected("memory");
}

#[test]
fn every_safeguard_is_shown_to_be_needed_and_to_suffice() {
    let mut needed = BTreeSet::new();
    for (path, scenario) in library("thread").into_iter().chain(library("safeguards")) {
        for row in &scenario.expectations {
            if let (Verdict::Broken(_), [name]) = (&row.verdict, &row.without[..]) {
                let with_it = scenario.expectations.iter().any(|other| {
                    other.protocol == row.protocol
                        && other.unsplit == row.unsplit
                        && other.without.is_empty()
                        && other.verdict == Verdict::Holds
                });
                assert!(
                    with_it,
                    "{}: {name} has no line that holds with it",
                    path.display()
                );
                needed.insert(name.clone());
            }
        }
    }
    // Without it nothing breaks, in any protocol: `exit-vs-retract` says why.
    let not_needed = ["exit_test"];
    for safeguard in Safeguard::ALL {
        let name = safeguard.name();
        assert_eq!(
            needed.contains(name),
            !not_needed.contains(&name),
            "is {name} shown to be needed?"
        );
    }
}

#[test]
fn the_protocols_and_what_they_lack_are_known_by_name() {
    for protocol in Protocol::ALL {
        assert_eq!(Protocol::by_name(protocol.name), Some(*protocol));
    }
    assert_eq!(Protocol::by_name("linux-2.4"), None);
}
