//! `pagefold shrink`.

use serde_json::Value;

use crate::common::{Place, readers, uffd};

/// What is said before the trace.
fn shrunk(scenario: &str, options: &str) -> String {
    let place = Place::with(&[("t.litmus", scenario)]);
    let ran = place.run(&format!("shrink t.litmus{options}"));
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    let again = place.run(&format!("shrink t.litmus{options}"));
    assert_eq!(ran.out, again.out, "the same each time");
    let (report, trace) = ran.out.split_once("  invariant: ").expect("a violation");
    assert!(trace.contains("\n step  "), "{trace}");
    report.to_owned()
}

#[test]
fn a_question_of_the_thread() {
    insta::assert_snapshot!(shrunk(&uffd(), ""));
}

#[test]
fn safeguards() {
    let gup = include_str!("../../../../litmus/safeguards/munmap-vs-gup-fast.litmus");
    insta::assert_snapshot!(shrunk(gup, ""));
    let hole = include_str!("../../../../litmus/safeguards/hole-content.litmus");
    insta::assert_snapshot!(shrunk(hole, ""));
}

#[test]
fn a_condition_that_breaks_stays() {
    let scenario = readers("readers", "forall (r = 2)", "");
    insta::assert_snapshot!(shrunk(&scenario, " --unsplit --protocol linux-6.4"));
}

#[test]
fn the_result_is_a_scenario_that_does_what_it_says() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let ran = place.run("shrink uffd.litmus --format json --save small.litmus");
    assert_eq!(ran.status, 0, "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).expect("JSON and nothing else");
    assert_eq!(report["source"], place.read("small.litmus"));
    assert_eq!(report["kind"], "table-not-empty");
    assert_eq!(report["protocol"], "posted-v1");
    assert_eq!(report["scenario"], "uffd-copy-vs-retract");
    assert!(report["probes"].as_u64() > Some(5));
    assert!(
        report["dropped"]
            .as_array()
            .is_some_and(|dropped| !dropped.is_empty())
    );
    assert!(
        report["trace"]["steps"]
            .as_array()
            .is_some_and(|steps| !steps.is_empty())
    );

    let ran = place.run("check small.litmus");
    assert_eq!(ran.status, 0, "{}", ran.out);
    assert!(ran.out.contains("1 run, 1 as expected"), "{}", ran.out);
    let ran = place.run("shrink small.litmus");
    assert!(
        ran.out.contains("tried, everything is needed"),
        "{}",
        ran.out
    );
}

#[test]
fn what_does_not_break_cannot_be_shrunk() {
    let place = Place::with(&[
        ("uffd.litmus", &uffd()),
        ("a/one.litmus", &readers("one", "forall (r = 2)", "")),
        ("a/two.litmus", &readers("two", "exists (r = 1)", "")),
    ]);
    for (arguments, message) in [
        (
            "uffd.litmus --protocol linux-6.6",
            "uffd.litmus: nothing breaks, so there is nothing to shrink (linux-6.6: holds)",
        ),
        (
            "uffd.litmus --protocol linux-6.6 --bound 1",
            "(linux-6.6: not exhausted, given up after 1 executions (--bound))",
        ),
        ("a/two.litmus", "(linux-6.6: allowed)"),
        (
            "a",
            "a: there are several scenarios, of which one has to be chosen",
        ),
        ("nowhere.litmus", "nowhere.litmus: "),
        ("a/one.litmus --save no/where", "no/where: "),
    ] {
        let ran = place.run(&format!("shrink {arguments}"));
        assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
        assert_eq!(ran.out, "");
        assert!(ran.err.contains(message), "{}", ran.err);
    }
}
