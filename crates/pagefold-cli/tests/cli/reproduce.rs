//! `pagefold linux --from`: what a trace must be.

use serde_json::Value;

use crate::common::{Place, Ran, readers, uffd};

/// Where the trace of [`uffd`] is saved.
const SAVED: &str = "uffd-copy-vs-retract.posted-v1.json";

fn saved() -> Place {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let ran = place.run("check uffd.litmus --protocol posted-v1 --save .");
    assert_eq!(ran.status, 0, "{}", ran.err);
    place
}

fn edit(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut trace: Value = serde_json::from_str(&place.read(SAVED)).unwrap();
    change(&mut trace);
    place.write(SAVED, trace.to_string());
}

/// It is refused with this message, and nothing is run.
fn refused(ran: &Ran, message: &str) {
    assert_eq!((ran.status, &*ran.out), (2, ""), "{}", ran.err);
    assert!(ran.err.contains(message), "{}", ran.err);
}

#[test]
fn a_witness_breaks_nothing() {
    let place = Place::with(&[("t.litmus", &readers("t", "exists (r = 1)", ""))]);
    assert_eq!(place.run("check t.litmus --save .").status, 0);
    refused(
        &place.run("linux --from t.linux-6.6.json"),
        "t.linux-6.6.json: its trace breaks nothing: it is the witness of an `exists`",
    );
}

#[test]
fn a_trace_of_another_scenario() {
    let place = saved();
    edit(&place, |file| {
        file["scenario"]["source"] = readers("t", "", "").into();
    });
    refused(
        &place.run(&format!("linux --from {SAVED}")),
        "its trace is of another scenario than the one in it",
    );
}

#[test]
fn a_trace_that_breaks_nothing_any_more() {
    let place = saved();
    edit(&place, |file| {
        // Up to before the others come in: what comes then is the way with the fewest switches.
        let steps = file["trace"]["steps"].as_array_mut().unwrap();
        steps.truncate(20);
    });
    refused(
        &place.run(&format!("linux --from {SAVED}")),
        "its trace breaks nothing any more",
    );
}

#[test]
fn a_trace_that_cannot_be_followed() {
    let place = saved();
    edit(&place, |file| {
        let steps = file["trace"]["steps"].as_array_mut().unwrap();
        let shared = steps.iter_mut().find(|step| step["shared"] == true);
        shared.unwrap()["label"] = "read tea leaves".into();
    });
    refused(
        &place.run(&format!("linux --from {SAVED}")),
        "its trace cannot be followed any more: it diverges at step",
    );
}

#[test]
fn no_trace() {
    let place = Place::with(&[("uffd.litmus", &uffd()), ("t.json", "{}")]);
    refused(
        &place.run("linux --from uffd.litmus"),
        "uffd.litmus: not a trace of pagefold",
    );
    refused(
        &place.run("linux --from t.json"),
        "t.json: not a trace of pagefold",
    );
    refused(&place.run("linux --from none.json"), "none.json: ");
}

#[test]
fn a_trace_has_its_scenario_and_a_delay_its_trace() {
    let place = Place::with(&[]);
    refused(
        &place.run("linux --from t.json uffd.litmus"),
        "'--from <TRACE.json>' cannot be used with '[FILE or DIR]...'",
    );
    refused(&place.run("linux --delay 5"), "--from <TRACE.json>");
}
