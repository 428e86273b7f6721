//! A scenario comes out the same whatever the format of page-table entries is; only that more levels are more to read.

use std::fs;
use std::path::Path;

use pagefold::protocol::{Protocol, Safeguard, SafeguardSet};
use pagefold_litmus::{Scenario, Vocabulary};
use pagefold_machine::model::{Checked, EntryFormat, Kind, Outcome, RunConfig, check};

fn scenario(path: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../litmus")
        .join(path);
    let source = fs::read_to_string(&path).expect("it is in the library");
    let protocols: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.name).collect();
    let safeguards: Vec<&str> = Safeguard::ALL.iter().map(|one| one.name()).collect();
    let mut violations: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    violations.extend(pagefold_explore::kind::ALL);
    let vocabulary = Vocabulary {
        protocols: &protocols,
        safeguards: &safeguards,
        violations: &violations,
    };
    pagefold_litmus::parse(&source, "test", &vocabulary)
        .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(&source, false)))
}

fn run(path: &str, format: EntryFormat, without: SafeguardSet) -> Checked {
    let config = RunConfig {
        format,
        without,
        ..RunConfig::new(Protocol::DEFAULT)
    };
    check(&scenario(path), &config).expect("it is small enough")
}

#[test]
fn what_holds_holds_in_every_format() {
    for path in [
        "thread/gup-fast-vs-retract.litmus",
        "thread/uffd-wp-vs-retract.litmus",
        "thread/cow-fault-vs-collapse.litmus",
        "thread/exit-vs-retract.litmus",
    ] {
        let usual = run(path, EntryFormat::DEFAULT, SafeguardSet::EMPTY);
        for format in EntryFormat::ALL {
            let checked = run(path, format, SafeguardSet::EMPTY);
            assert!(
                matches!(checked.outcome, Outcome::Holds),
                "{path} with {}: {:?}",
                format.name,
                checked.outcome
            );
            if format.levels() == EntryFormat::DEFAULT.levels() {
                assert_eq!(
                    (checked.executions, checked.states),
                    (usual.executions, usual.states),
                    "{path} with {}",
                    format.name
                );
            }
        }
    }
}

#[test]
fn what_breaks_breaks_in_every_format() {
    for format in EntryFormat::ALL {
        let without = SafeguardSet::EMPTY.with(Safeguard::FlushBeforeCopy);
        let checked = run("thread/write-fault-vs-collapse.litmus", format, without);
        let Outcome::Broken(violation) = checked.outcome else {
            panic!("{}: {:?}", format.name, checked.outcome);
        };
        assert_eq!(violation.kind, Kind::Content.name(), "{}", format.name);
    }
}
