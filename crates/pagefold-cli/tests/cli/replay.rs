//! Saving traces, and `pagefold replay`.

use serde_json::Value;

use crate::common::{Place, readers, uffd};

/// Where the trace of [`uffd`] is saved.
const SAVED: &str = "traces/uffd-copy-vs-retract.posted-v1.json";

/// A directory in which the trace of [`uffd`] was saved.
fn saved() -> Place {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let ran = place.run("check uffd.litmus --protocol posted-v1 --save traces");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        ran.out.contains(&format!("again: pagefold replay {SAVED}")),
        "{}",
        ran.out
    );
    place
}

/// Changes the saved trace.
fn edit(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut trace: Value = serde_json::from_str(&place.read(SAVED)).unwrap();
    change(&mut trace);
    place.write(SAVED, trace.to_string());
}

#[test]
fn a_violation_comes_again() {
    let place = saved();
    // The file stands alone.
    place.write("uffd.litmus", "");
    let ran = place.run(&format!("replay {SAVED}"));
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    insta::assert_snapshot!(ran.stable());
}

#[test]
fn a_witness_comes_again_and_is_no_violation() {
    let place = Place::with(&[("t.litmus", &readers("t", "exists (r = 1)", ""))]);
    assert_eq!(place.run("check t.litmus --save .").status, 0);
    let ran = place.run("replay t.linux-6.6.json");
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("reproduced: witness: r = 1, s = 2"),
        "{}",
        ran.out
    );
}

#[test]
fn another_step_is_a_divergence() {
    let place = saved();
    let (mut was, mut number) = (String::new(), 0);
    edit(&place, |file| {
        number = any_step(file, 17, true);
        let label = &mut file["trace"]["steps"][number]["label"];
        was = label.as_str().unwrap().to_owned();
        *label = "read tea leaves".into();
    });
    let ran = place.run(&format!("replay {SAVED}"));
    assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
    let verdict = format!(
        "diverged from the trace at step {number}: expected `read tea leaves` by P0, got `{was}`\n"
    );
    assert!(ran.out.ends_with(&verdict), "{}", ran.out);
}

/// A step from number `from` on that is shared, or is not.
fn any_step(file: &Value, from: usize, shared: bool) -> usize {
    let mut steps = file["trace"]["steps"].as_array().unwrap().iter().skip(from);
    from + steps.position(|step| step["shared"] == shared).unwrap()
}

#[test]
fn a_threads_own_steps_may_come_and_go() {
    let place = saved();
    let mut length = 0;
    edit(&place, |file| {
        let number = any_step(file, 17, false);
        let steps = file["trace"]["steps"].as_array_mut().unwrap();
        steps.remove(number);
        length = steps.len();
    });
    let ran = place.run(&format!("replay {SAVED}"));
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    let course = format!(
        "the recorded part ends with step {length}, the last one\n\
         1 step of a thread's own new, 0 missing\nreproduced: table-not-empty"
    );
    assert!(ran.out.contains(&course), "{}", ran.out);

    let place = saved();
    edit(&place, |file| {
        let number = any_step(file, 17, false);
        let steps = file["trace"]["steps"].as_array_mut().unwrap();
        let mut new = steps[number].clone();
        new["label"] = "read tea leaves".into();
        steps.insert(number, new);
    });
    let ran = place.run(&format!("replay {SAVED}"));
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    assert!(
        ran.out
            .contains("\n0 steps of a thread's own new, 1 missing\n"),
        "{}",
        ran.out
    );
}

#[test]
fn another_version_of_the_scenario_can_be_replayed() {
    let place = saved();
    // The names of registers, what is expected and how it is written make no difference to the steps.
    let edited = uffd().replace("MM uffd-copy-vs-retract", "MM renamed");
    place.write("renamed.litmus", edited);
    let ran = place.run(&format!("replay {SAVED} --scenario renamed.litmus"));
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    let remark = "remark: this is not the scenario that was recorded: renamed-";
    assert!(ran.out.contains(remark), "{}", ran.out);
    assert!(
        ran.out.contains("reproduced: table-not-empty"),
        "{}",
        ran.out
    );

    // Laid out otherwise it is the same.
    place.write("spaced.litmus", uffd().replace("= uffdio", "  =  uffdio"));
    let ran = place.run(&format!("replay {SAVED} --scenario spaced.litmus"));
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("remark"), "{}", ran.out);

    place.write("other.litmus", readers("other", "", ""));
    let ran = place.run(&format!("replay {SAVED} --scenario other.litmus"));
    assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("diverged from the trace at step"),
        "{}",
        ran.out
    );
    assert_eq!(
        place
            .run(&format!("replay {SAVED} --scenario nowhere"))
            .status,
        2
    );
}

#[test]
fn other_rules_are_a_divergence() {
    let place = saved();
    edit(&place, |file| {
        file["rules"]["protocol"] = "linux-6.6".into()
    });
    let ran = place.run(&format!("replay {SAVED}"));
    assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("diverged from the trace at step"),
        "{}",
        ran.out
    );
}

#[test]
fn a_repaired_scenario_reproduces_nothing() {
    let place = Place::with(&[("t.litmus", &readers("t", "forall (r = 2)", ""))]);
    assert_eq!(place.run("check t.litmus --save .").status, 1);
    let text = place.read("t.linux-6.6.json");
    place.write(
        "t.linux-6.6.json",
        text.replace("forall (r = 2)", "forall (r = 1)"),
    );
    let ran = place.run("replay t.linux-6.6.json");
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("remark: this is not the scenario"),
        "{}",
        ran.out
    );
    assert!(
        ran.out
            .ends_with("followed to the end, but not reproduced: no condition\n"),
        "{}",
        ran.out
    );
}

#[test]
fn files_that_are_no_traces() {
    let place = saved();
    let good = place.read(SAVED);
    let refused = |change: &dyn Fn(&mut Value), message: &str| {
        place.write(SAVED, &good);
        edit(&place, |file| change(file));
        let ran = place.run(&format!("replay {SAVED}"));
        assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
        assert_eq!(ran.out, "");
        assert!(ran.err.contains(message), "{}", ran.err);
    };
    refused(&|file| *file = Value::Null, "not a trace of pagefold");
    refused(
        &|file| file["format"] = "other".into(),
        "its format is \"other\"",
    );
    refused(
        &|file| file["version"] = 99.into(),
        "format version 99, where version 3 is understood; record it again with `pagefold check SCENARIO --save DIR`",
    );
    refused(
        &|file| file["version"] = 1.into(),
        "format version 1, where version 3 is understood",
    );
    refused(
        &|file| file["trace"]["version"] = 1.into(),
        "format version 1, where version 2 is understood",
    );
    refused(
        &|file| file["trace"]["steps"][3]["label"] = 5.into(),
        "invalid type: integer `5`, expected a string at line 1 column ",
    );
    refused(
        &|file| {
            drop(
                file["trace"]["steps"][3]
                    .as_object_mut()
                    .unwrap()
                    .remove("shared"),
            )
        },
        "missing field `shared` at line 1 column ",
    );
    refused(
        &|file| file["trace"]["steps"][3]["thread"] = 77.into(),
        "step 3 is of thread 77",
    );
    refused(
        &|file| file["rules"]["protocol"] = "linux-1.0".into(),
        "linux-1.0",
    );
    refused(
        &|file| file["rules"]["without"] = vec!["luck"].into(),
        "luck",
    );
    refused(
        &|file| file["scenario"]["source"] = "MM".into(),
        "uffd.litmus:1:3",
    );
    refused(
        &|file| file["rules"] = Value::Null,
        "not a trace of pagefold",
    );
    place.write(SAVED, &good[..good.len() - 100]);
    let ran = place.run(&format!("replay {SAVED}"));
    assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("EOF while parsing"), "{}", ran.err);
    let lines = good[..good.len() - 100].lines().count();
    assert!(
        ran.err.contains(&format!(" at line {lines} column ")),
        "{}",
        ran.err
    );
    place.write(SAVED, "MM t");
    assert_eq!(place.run(&format!("replay {SAVED}")).status, 2);
    assert_eq!(place.run("replay nowhere.json").status, 2);
}

#[test]
fn a_trace_can_end_early_or_go_on_too_long() {
    let place = saved();
    edit(&place, |file| {
        file["trace"]["steps"] = Value::Array(Vec::new())
    });
    let ran = place.run(&format!("replay {SAVED}"));
    assert!(ran.status < 2, "{}{}", ran.out, ran.err);

    let place = saved();
    edit(&place, |file| {
        let steps = file["trace"]["steps"].as_array_mut().unwrap();
        let last = steps.last().unwrap().clone();
        steps.push(last);
        file["steps"] = 1.into();
    });
    let ran = place.run(&format!("replay {SAVED}"));
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
}

#[test]
fn every_trace_has_a_name_of_its_own() {
    let wrong = readers("wrong", "forall (r = 2)", "");
    let place = Place::with(&[("a.litmus", &wrong), ("b.litmus", &wrong)]);
    let options = "--unsplit --without recheck_pmd,exit_test --save traces";
    assert_eq!(place.run(&format!("check . {options}")).status, 1);
    for name in [
        "traces/wrong.linux-6.6.unsplit.without.exit_test+recheck_pmd.json",
        "traces/wrong.linux-6.6.unsplit.without.exit_test+recheck_pmd.2.json",
    ] {
        assert_eq!(place.run(&format!("replay {name}")).status, 1);
    }
}

#[test]
fn without_a_file_the_report_says_how_to_see_it_again() {
    let wrong = readers("wrong", "forall (r = 2)", "");
    let place = Place::with(&[("it's wrong.litmus", &wrong)]);
    let ran = place.run("check . --unsplit --without recheck_pmd --steps 5000");
    let command = r"pagefold check './it'\''s wrong.litmus' --protocol linux-6.6 --without recheck_pmd --unsplit --steps 5000";
    assert!(ran.out.contains(command), "{}", ran.out);
}

#[test]
fn the_memory_model_is_kept() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    for memory in ["tso", "ra"] {
        let options = format!("--protocol posted-v1 --memory {memory}");
        let ran = place.run(&format!("check uffd.litmus {options}"));
        let again = format!("again: pagefold check uffd.litmus {options}");
        assert!(ran.out.contains(&again), "{}", ran.out);
        place.run(&format!("check uffd.litmus {options} --save traces"));
        let saved = format!("traces/uffd-copy-vs-retract.posted-v1.{memory}.json");
        let ran = place.run(&format!("replay {saved}"));
        assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains("\nreproduced: "), "{}", ran.out);
        let text = place
            .read(&saved)
            .replace(&format!("\"{memory}\""), "\"rmo\"");
        place.write(&saved, text);
        let ran = place.run(&format!("replay {saved}"));
        assert_eq!(ran.status, 2);
        assert!(
            ran.err.contains("no memory model has the name \"rmo\""),
            "{}",
            ran.err
        );
    }
}
