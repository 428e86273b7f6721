//! The report for programs.

use serde_json::{Value, json};

use crate::common::{Place, readers, uffd};

fn report(place: &Place, arguments: &str) -> Value {
    let ran = place.run(arguments);
    let report: Value = serde_json::from_str(&ran.out).expect("JSON and nothing else");
    assert_eq!(report["summary"]["status"], ran.status);
    report
}

/// The report without what differs from run to run, or with each change of the engine.
fn stable(mut report: Value) -> String {
    for run in report["runs"].as_array_mut().unwrap() {
        for field in ["executions", "redundant", "states", "longest", "seconds"] {
            assert!(run[field].is_number(), "{field}");
            run[field] = json!("[number]");
        }
        if let Some(trace) = run["trace"].as_object_mut() {
            for field in ["events", "context_switches", "preemptions"] {
                assert!(trace[field].is_number(), "{field}");
                trace[field] = json!("[number]");
            }
            let steps = trace["steps"].as_array_mut().unwrap();
            steps.retain(|step| step["notes"] != json!([]));
        }
    }
    assert!(report["summary"]["seconds"].is_number());
    report["summary"]["seconds"] = json!("[number]");
    serde_json::to_string_pretty(&report).unwrap()
}

#[test]
fn shape() {
    let place = Place::with(&[
        (
            "t.litmus",
            &readers("t", "forall (r = 2)", "expect { linux-6.6: holds; }"),
        ),
        ("u.litmus", &readers("u", "exists (r = 2)", "")),
    ]);
    insta::assert_snapshot!(stable(report(&place, "check . --format json")));
}

#[test]
fn what_is_not_exhausted_is_not_compared() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let report = report(
        &place,
        "check uffd.litmus --protocol linux-6.6 --bound 1 --format json",
    );
    let run = &report["runs"][0];
    assert_eq!(run["verdict"], "not-exhausted");
    assert_eq!(run["as_expected"], Value::Null);
    assert_eq!(run["executions"], 1);
    assert_eq!(report["summary"]["not_exhausted"], 1);
}

#[test]
fn the_trace_is_there_with_every_step() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let report = report(
        &place,
        "check uffd.litmus --protocol posted-v1 --format json",
    );
    let trace = &report["runs"][0]["trace"];
    let steps = trace["steps"].as_array().unwrap();
    assert_eq!(trace["events"], steps.len());
    assert_eq!(
        steps[0],
        json!({ "thread": "main", "label": "start", "notes": [] })
    );
}
