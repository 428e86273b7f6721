//! The scenario library is a test suite: every line of every `expect` comes out as it says, and every safeguard has a line
//! that shows what it is there for.

use std::collections::BTreeSet;
use std::path::Path;

use pagefold::protocol::{Protocol, Safeguard};
use pagefold_litmus::Verdict;
use pagefold_machine::model::{Outcome, check};

use crate::read::{config, library};

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
                "{} under {} {}{}{} without {:?}: expected {:?}, got {:?}",
                path.display(),
                row.protocol,
                if row.unsplit { "unsplit " } else { "" },
                if row.strict { "strict " } else { "" },
                row.memory.name(),
                row.without,
                row.verdict,
                checked.outcome,
            );
            assert_every_step_has_a_name(&path, &checked.outcome);
        }
    }
}

/// The engine names what it does. Where it forgets to, a trace shows the number of a word and what is in it, which may be an
/// address, another one in each run. Locks have the name of their class.
fn assert_every_step_has_a_name(path: &Path, outcome: &Outcome) {
    let (Outcome::Broken(shown) | Outcome::Allowed(shown)) = outcome else {
        return;
    };
    for step in &shown.trace.steps {
        let Some(object) = step.object.as_ref().filter(|object| !object.contains('#')) else {
            continue;
        };
        assert!(
            step.label.split(' ').all(|word| word != object),
            "{}: {}",
            path.display(),
            step.label
        );
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
fn the_whole_system() {
    assert_as_expected("system");
}

#[test]
fn the_orders_of_memory() {
    assert_as_expected("memory");
}

#[test]
fn the_kernels_own_tests() {
    assert_as_expected("selftests");
}

#[test]
fn every_safeguard_is_shown_to_be_needed_and_to_suffice() {
    let mut needed = BTreeSet::new();
    let folders = ["thread", "safeguards", "system"];
    for (path, scenario) in folders.into_iter().flat_map(library) {
        for row in &scenario.expectations {
            if let (Verdict::Broken(_), [name]) = (&row.verdict, &row.without[..]) {
                let with_it = scenario.expectations.iter().any(|other| {
                    other.protocol == row.protocol
                        && other.unsplit == row.unsplit
                        && other.without.is_empty()
                        && matches!(other.verdict, Verdict::Holds | Verdict::Exception(_))
                });
                assert!(
                    with_it,
                    "{}: {name} has no line that holds, but for what is documented, with it",
                    path.display()
                );
                needed.insert(name.clone());
            }
        }
    }
    // Without one of them nothing breaks, in any protocol: `exit-vs-retract` says why, and `anon-collapse-vs-gup-fast`, which has a
    // line without `gup_recheck_pmd` and that for which it is the second; so have `huge-split-vs-write-after-fork` and
    // `dirty-vs-collapse`.
    let not_needed = [
        "exit_test",
        "gup_recheck_pmd",
        "split_count_first",
        "refuse_dirty",
    ];
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
