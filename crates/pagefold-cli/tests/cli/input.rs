//! Bad input: a message that names the place, status 2, and nothing is run.

use crate::common::{Place, readers, uffd};

/// What the command says to input that it cannot run.
fn refusal(place: &Place, arguments: &str) -> String {
    let ran = place.run(arguments);
    assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
    assert_eq!(ran.out, "", "nothing is run");
    ran.err
}

#[test]
fn all_diagnostics_of_all_files() {
    let place = Place::with(&[
        ("good.litmus", &uffd()),
        (
            "typo.litmus",
            &readers("typo", "forall (r = 1)", "expect { linux-6.5: holds; }"),
        ),
        (
            "worse.litmus",
            "MM worse\n{ shmem f[2] }\nP0 (A) { r = z[0]; }\n",
        ),
    ]);
    insta::assert_snapshot!(refusal(&place, "check ."));
}

#[test]
fn a_scenario_too_large_for_the_model() {
    let large = "MM large
{
    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); }
    mm B { x: mmap(f, MAP_SHARED); }
    mm C { x: mmap(f, MAP_SHARED); }
    mm D { x: mmap(f, MAP_SHARED); }
    mm E { x: mmap(f, MAP_SHARED); }
}
P0 (A) { r = x[0]; }
";
    let place = Place::with(&[("large.litmus", large)]);
    let message = refusal(&place, "check large.litmus");
    assert!(message.contains("the model has room for"), "{message}");
    assert!(message.contains("--> large.litmus:"), "{message}");
    assert!(message.contains('^'), "{message}");
}

#[test]
fn a_virtual_machine_outside_of_its_memory() {
    let outside = "MM outside
{
    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); y: mmap(f, MAP_SHARED); }
}
P0 (vcpu A) { x[0]; repeat 2 { y[1]; } }
";
    let place = Place::with(&[("outside.litmus", outside)]);
    let message = refusal(&place, "check outside.litmus");
    assert!(
        message.contains("the memory of a virtual machine"),
        "{message}"
    );
    assert!(message.contains("--> outside.litmus:6:"), "{message}");
}

#[test]
fn a_file_that_is_not_there() {
    let place = Place::with(&[]);
    let message = refusal(&place, "check here/there.litmus");
    assert_eq!(
        message,
        "error: here/there.litmus: No such file or directory\n"
    );
    // The default.
    let message = refusal(&place, "check");
    assert_eq!(message, "error: litmus: No such file or directory\n");
}

#[test]
fn a_directory_without_scenarios() {
    let place = Place::with(&[("d/e/README", "none here")]);
    let message = refusal(&place, "check d");
    assert_eq!(message, "error: d: no *.litmus file in this directory\n");
}

#[test]
fn a_file_that_is_not_text() {
    let place = Place::with(&[]);
    place.write("t.litmus", b"MM t\n(* \xc3\xa4\xff *)\n");
    let message = refusal(&place, "check t.litmus");
    assert_eq!(message, "error: t.litmus:2:5: not UTF-8: byte 0xff\n");
}

#[test]
fn names_that_do_not_exist() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    for (arguments, right) in [
        ("check uffd.litmus --protocol linux-6.7", "linux-6.6"),
        (
            "check uffd.litmus --without recheck_anonvma",
            "recheck_anon_vma",
        ),
        ("check uffd.litmus --format xml", "json"),
        ("check uffd.litmus --bound 0", "--bound"),
        ("check uffd.litmus --jobs 0", "--jobs"),
    ] {
        let message = refusal(&place, arguments);
        assert!(message.contains(right), "{message}");
    }
}

#[test]
fn random_sequences_stand_alone() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    for (arguments, right) in [
        ("linux --cases 5", "--random <SEED>"),
        ("linux --random 1 --cases 0", "0 is not in 1.."),
        ("linux --random one", "invalid digit"),
        ("linux --random 1 uffd.litmus", "cannot be used with"),
        ("linux --random 1 --kernel bzImage", "cannot be used with"),
        ("linux --random 1 --seed 2", "cannot be used with"),
        ("linux --random 1 --format json", "cannot be used with"),
    ] {
        let message = refusal(&place, arguments);
        assert!(message.contains(right), "{arguments}: {message}");
    }
}

#[test]
fn a_place_where_no_traces_can_be_saved() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let message = refusal(&place, "check uffd.litmus --save uffd.litmus/traces");
    assert!(
        message.starts_with("error: uffd.litmus/traces: "),
        "{message}"
    );
}
