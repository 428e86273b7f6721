//! The tool documents itself.

use pagefold::protocol::{Protocol, Safeguard};
use pagefold_litmus::{ACTORS, CALLS};
use pagefold_machine::model::Kind;

use crate::common::Place;

/// The first column of a table.
fn names(table: &str) -> Vec<String> {
    let ran = Place::with(&[]).run(table);
    assert_eq!(ran.status, 0);
    let lines = ran
        .out
        .lines()
        .skip(2)
        .filter(|line| !line.starts_with(' '));
    lines
        .map(|line| line.split("  ").next().unwrap_or("").to_owned())
        .collect()
}

#[test]
fn protocols() {
    let names = names("protocols");
    assert_eq!(names.len(), Protocol::ALL.len());
    assert!(names.contains(&format!("{} (default)", Protocol::DEFAULT)));
}

#[test]
fn safeguards() {
    let all: Vec<&str> = Safeguard::ALL
        .iter()
        .map(|safeguard| safeguard.name())
        .collect();
    assert_eq!(names("safeguards"), all);
}

#[test]
fn actors() {
    assert_eq!(names("actors").len(), ACTORS.len());
}

#[test]
fn calls() {
    assert_eq!(names("calls").len(), CALLS.len());
}

#[test]
fn violations() {
    let names = names("violations");
    for kind in Kind::ALL {
        assert!(names.contains(&kind.name().to_owned()), "{kind}");
    }
    assert!(names.contains(&"lock-order".to_owned()));
}

#[test]
fn help() {
    let place = Place::with(&[]);
    let [all, check, replay] = ["--help", "check --help", "replay --help"].map(|arguments| {
        let ran = place.run(arguments);
        assert_eq!(ran.status, 0);
        ran.out
    });
    assert!(all.contains("Examples:"));
    assert!(check.contains("Exit status:"));
    assert!(check.contains("JSON"));
    assert!(replay.contains("Exit status:"));
}
