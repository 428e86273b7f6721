//! Leaving out parts of a scenario, and shrinking it to what is needed.

use insta::assert_snapshot;
use pagefold_litmus::{Part, Scenario, Shrunk, shrink};
use proptest::prelude::*;

use crate::common::{UFFD, VOCABULARY, check};
use crate::round_trip::scenario;

fn good(source: &str) -> Scenario {
    check(source).unwrap_or_else(|errors| panic!("{}", errors.render(source, false)))
}

fn shrunk(source: &str, keeps: impl FnMut(&Scenario) -> bool) -> Shrunk {
    shrink(&good(source), &VOCABULARY, keeps)
}

/// Whether no part can be left out.
fn is_minimal(scenario: &Scenario, keeps: impl Fn(&Scenario) -> bool) -> bool {
    scenario.parts().iter().all(|part| {
        let text = scenario.without(part);
        text == scenario.to_string() || !check(&text).is_ok_and(|shorter| keeps(&shorter))
    })
}

#[test]
fn what_goes_with_each_part() {
    let scenario = good(UFFD).bare();
    let mut all = String::new();
    for part in scenario.parts() {
        let text = scenario.without(&part);
        let old = scenario.to_string();
        let gone: Vec<&str> = old.lines().filter(|line| !text.contains(*line)).collect();
        let new: Vec<&str> = text.lines().filter(|line| !old.contains(*line)).collect();
        all += &format!("{}\n", scenario.describe_part(&part));
        all.extend(gone.iter().map(|line| format!("  - {}\n", line.trim())));
        all.extend(new.iter().map(|line| format!("  + {}\n", line.trim())));
    }
    assert_snapshot!(all);
}

#[test]
fn loops_pages_and_calls() {
    let source = "
        MM t
        {
            shmem f[4] = { 1, hole, 3, 4 };
            mm A { x: mmap(f, MAP_SHARED); }
            mm B { y: mmap(f, MAP_PRIVATE); uffd(y, WP|MISSING); }
            B: repeat 2 { y[0]; y[3]; }
        }
        P0 (A) { repeat 3 { x[0] = 1; repeat 2 { r = x[2]; } } z: mmap(f, MAP_SHARED); z[1] = 2; }
        P1 (khugepaged) { n = scan(B); }
        P2 (kernel) { rmap_walk(f[3]); collapse(f); }
    ";
    let scenario = good(source);
    let parts = scenario.parts();
    let all = parts.iter().map(|part| scenario.describe_part(part));
    let all: Vec<String> = all.collect();
    assert_snapshot!(all.join("\n"));
    // Whatever is left out, the rest is a good scenario: it has no condition.
    for part in &parts {
        let text = scenario.without(part);
        assert_ne!(
            text,
            scenario.to_string(),
            "{}",
            scenario.describe_part(part)
        );
        good(&text);
    }
}

#[test]
fn anonymous_memory_gets_smaller() {
    let source = "MM t { mm A { a: mmap(ANON[3], MAP_PRIVATE); } } P (A) { a[1] = 1; a[2] = 2; }";
    let shrunk = shrunk(source, |scenario| scenario.to_string().contains("a[1] = 1"));
    assert_snapshot!(shrunk.scenario, @"
    MM t
    {
        mm A { a: mmap(ANON[2], MAP_PRIVATE); }
    }
    P (A) { a[1] = 1; }
    ");
    assert_snapshot!(shrunk.dropped.join("\n"), @"
    a[2] = 2 in P
    page a[2]
    ");
}

#[test]
fn ranges_go_with_their_pages() {
    let source = "MM t { file f[4]; mm A { x: mmap(f, MAP_SHARED); } }
        P (A) { munmap(x); madvise(x[0..2], MADV_DONTNEED); madvise(x[1..3], MADV_DONTNEED); }";
    let scenario = good(source);
    let half = scenario
        .parts()
        .into_iter()
        .find(|part| matches!(part, Part::SecondHalf(_)));
    assert_snapshot!(scenario.without(&half.expect("four pages have two halves")), @"
    MM t
    {
        file f[2];
        mm A { x: mmap(f, MAP_SHARED); }
    }
    P (A) { munmap(x); madvise(x[0..2], MADV_DONTNEED); }
    ");
}

#[test]
fn a_child_goes_with_its_parent() {
    let source = "MM t { mm A { a: mmap(ANON[3], MAP_PRIVATE); } mm B = fork(A); mm C = fork(B); }
        P (A) { fork(B); } Q (B) { a[1] = 1; a[2] = 2; fork(C); } R (C) { a[0] = 3; }";
    let shrunk_to = |what: &'static str| {
        let needed = move |scenario: &Scenario| scenario.to_string().contains(what);
        shrunk(source, needed).scenario
    };
    assert_snapshot!(shrunk_to("a[1] = 1"), @"
    MM t
    {
        mm A { a: mmap(ANON[2], MAP_PRIVATE); }
        mm B = fork(A);
    }
    Q (B) { a[1] = 1; }
    ");
    assert_snapshot!(shrunk_to("P (A)"), @"
    MM t
    {
        mm A { }
    }
    P (A) { }
    ");
}

#[test]
fn only_what_is_needed_stays() {
    let collapses = |scenario: &Scenario| scenario.to_string().contains("MADV_COLLAPSE");
    let shrunk = shrunk(UFFD, collapses);
    assert_snapshot!(shrunk.scenario, @"
    MM uffd-copy-vs-retract
    {
        shmem f[1];
        mm A { x: mmap(f, MAP_SHARED); }
    }
    P0 (A) { madvise(x, MADV_COLLAPSE); }
    ");
    assert_snapshot!(shrunk.dropped.join("\n"), @r"
    forall (r1 = 7 /\ ~(e = EAGAIN))
    mm B
    the set-up of A
    page f[1]
    ");
}

#[test]
fn if_everything_is_needed_everything_stays() {
    let original = good(UFFD).bare();
    let shrunk = shrunk(UFFD, |_| false);
    assert_eq!(shrunk.scenario, original);
    assert!(shrunk.dropped.is_empty());
    assert!(shrunk.probes > 0);
}

#[test]
fn a_fingerprint_is_of_what_runs() {
    let scenario = good(UFFD);
    assert_eq!(scenario.fingerprint(), scenario.bare().fingerprint());
    let spaced = UFFD.replace(';', " ;\n");
    assert_eq!(scenario.fingerprint(), good(&spaced).fingerprint());
    for part in scenario.parts() {
        if let Ok(other) = check(&scenario.without(&part)) {
            assert_ne!(scenario.fingerprint(), other.fingerprint());
        }
    }
    // It is stored in files.
    assert_snapshot!(good("MM t { mm A { } } P0 (kernel) { }").fingerprint(), @"t-851c0affad526942");
}

/// A property without rhyme or reason.
fn any_property(scenario: &Scenario, seed: u64) -> bool {
    let hash = scenario.to_string().bytes().fold(seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash >> 32 & 3 != 0
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_left_is_minimal(source in scenario(), seed in any::<u64>()) {
        let keeps = |scenario: &Scenario| any_property(scenario, seed);
        let result = shrunk(&source, keeps);
        prop_assert!(result.dropped.is_empty() || keeps(&result.scenario));
        prop_assert!(is_minimal(&result.scenario, keeps), "{}", result.scenario);
        prop_assert_eq!(&shrunk(&source, keeps), &result, "the same each time");
        // What is printed is what was meant.
        let again = good(&result.scenario.to_string());
        prop_assert_eq!(again.to_string(), result.scenario.to_string());
    }

    #[test]
    fn without_a_condition_every_part_can_go(source in scenario()) {
        let mut scenario = good(&source).bare();
        scenario.condition = None;
        let scenario = good(&scenario.to_string());
        for part in scenario.parts() {
            let text = scenario.without(&part);
            prop_assert_ne!(&text, &scenario.to_string(), "{}", scenario.describe_part(&part));
            if let Err(errors) = check(&text) {
                // There has to be a thread.
                let errors = errors.render(&text, false);
                prop_assert!(errors.contains("nothing races without a thread"), "{}", errors);
            }
        }
    }
}
