//! `pagefold check`: the text report and the exit status.

use std::process::Stdio;

use crate::common::{Place, readers, uffd};

#[test]
fn every_run_as_expected() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let ran = place.run("check uffd.litmus");
    assert_eq!(ran.status, 0);
    assert_eq!(ran.err, "");
    insta::assert_snapshot!(ran.stable());
}

#[test]
fn an_expected_violation_can_be_shown() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let ran = place.run("check uffd.litmus --trace");
    assert_eq!(ran.status, 0);
    assert!(ran.out.contains("P0 (A)"), "{}", ran.out);
    assert!(ran.out.contains("e = uffdio_copy(y[1], 7)"), "{}", ran.out);
    assert!(!ran.out.contains('\x1b'), "colour in a pipe");
}

#[test]
fn an_unexpected_violation_is_shown() {
    let wrong = readers(
        "wrong",
        "forall (r = 2)",
        "expect { linux-6.6: holds; posted-v1: broken condition; }",
    );
    let place = Place::with(&[("wrong.litmus", &wrong)]);
    let ran = place.run("check wrong.litmus");
    assert_eq!(ran.status, 1);
    insta::assert_snapshot!(ran.stable());
}

#[test]
fn the_kind_of_the_violation_must_fit() {
    let wrong = readers(
        "wrong",
        "forall (r = 2)",
        "expect { linux-6.6: broken rss; }",
    );
    let place = Place::with(&[("wrong.litmus", &wrong)]);
    let ran = place.run("check wrong.litmus");
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains("EXPECTED broken rss"), "{}", ran.out);
}

#[test]
fn without_expectation_only_broken_is_bad() {
    for (condition, verdict, status) in [
        ("forall (r = 1)", "holds", 0),
        ("~exists (r = 2)", "holds", 0),
        ("exists (r = 2)", "forbidden", 0),
        ("exists (r = 1)", "allowed", 0),
        ("forall (r = 2)", "broken condition", 1),
    ] {
        let place = Place::with(&[("t.litmus", &readers("t", condition, ""))]);
        let ran = place.run("check t.litmus");
        assert_eq!(ran.status, status, "{}", ran.out);
        assert!(ran.out.contains(verdict), "{}", ran.out);
        assert!(!ran.out.contains("EXPECTED"), "{}", ran.out);
    }
}

#[test]
fn a_witness_is_shown_when_it_is_the_only_answer() {
    let place = Place::with(&[("t.litmus", &readers("t", "exists (r = 1)", ""))]);
    let ran = place.run("check t.litmus");
    insta::assert_snapshot!(ran.stable());
}

#[test]
fn a_bound_leaves_the_question_open() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    for (option, value) in [("--bound", 1), ("--steps", 10)] {
        let ran = place.run(&format!(
            "check uffd.litmus --protocol linux-6.6 {option} {value}"
        ));
        assert_eq!(ran.status, 3, "{}", ran.out);
        assert!(ran.out.contains("not exhausted"), "{}", ran.out);
        assert!(ran.out.contains(&format!("after {value} ")), "{}", ran.out);
    }
    // What is broken counts for more than what is open.
    place.write("wrong.litmus", readers("wrong", "forall (r = 2)", ""));
    let ran = place.run("check . --bound 1");
    assert_eq!(ran.status, 1, "{}", ran.out);
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let place = Place::with(&[
        ("b/uffd.litmus", &uffd()),
        ("a.litmus", &readers("a", "forall (r = 1)", "")),
        ("b/c.litmus", &readers("c", "forall (r = 2)", "")),
    ]);
    let [one, two, more] = [1, 2, 7].map(|jobs| {
        let ran = place.run(&format!("check . --trace --jobs {jobs}"));
        assert_eq!(ran.status, 1);
        without_times(&ran.out)
    });
    assert_eq!(one, two);
    assert_eq!(one, more);
}

/// The output without the last column of the lines of runs, and without the time of the summary.
fn without_times(out: &str) -> String {
    let lines = out.lines().map(|line| {
        let unit = line.strip_suffix(" ms").or(line.strip_suffix(" s"));
        unit.map_or(line, |line| {
            line.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn nobody_has_to_listen_to_the_end() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let mut child = place
        .command("check uffd.litmus --trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_bound_on_preemptions_is_said_to_be_one() {
    let place = Place::with(&[("a.litmus", &readers("a", "forall (r = 1)", ""))]);
    let ran = place.run("check a.litmus --preemptions 0");
    assert!(
        ran.out.contains(
            "only interleavings with at most 0 preemptions were looked at (--preemptions)"
        ),
        "{}",
        ran.out
    );
}
