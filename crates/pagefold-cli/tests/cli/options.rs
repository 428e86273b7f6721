//! Which runs there are.

use crate::common::{Place, readers, uffd};

/// What `--list` says of the runs of two scenarios: one with expectations, one without.
fn runs(options: &str) -> Vec<String> {
    let rows = "expect {
        linux-6.6: holds;
        linux-6.6 unsplit without recheck_pmd, exit_test: holds;
        posted-v1 strict: broken rss;
    }";
    let place = Place::with(&[
        ("one.litmus", &readers("one", "forall (r = 1)", rows)),
        ("two.litmus", &readers("two", "forall (r = 1)", "")),
    ]);
    let ran = place.run(&format!("check . --list{options}"));
    assert_eq!(ran.status, 0, "{}", ran.err);
    let runs = ran
        .out
        .lines()
        .filter(|line| line.starts_with("    ") && !line.contains("Two"));
    runs.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_list_describes_the_scenarios() {
    let place = Place::with(&[
        ("litmus/b/uffd.litmus", &uffd()),
        ("litmus/a.litmus", &readers("a", "forall (r = 1)", "")),
    ]);
    let ran = place.run("check --list");
    assert_eq!(ran.status, 0);
    insta::assert_snapshot!(ran.out);
}

#[test]
fn by_default_the_lines_of_expect() {
    assert_eq!(
        runs(""),
        [
            "linux-6.6: holds",
            "linux-6.6 unsplit without exit_test, recheck_pmd: holds",
            "posted-v1 strict: broken rss",
            "linux-6.6",
        ]
    );
}

#[test]
fn a_protocol_selects_lines_or_is_forced() {
    assert_eq!(
        runs(" --protocol linux-6.6"),
        [
            "linux-6.6: holds",
            "linux-6.6 unsplit without exit_test, recheck_pmd: holds",
            "linux-6.6",
        ]
    );
    assert_eq!(
        runs(" --protocol linux-6.4 --protocol posted-v1,linux-6.4"),
        [
            "linux-6.4",
            "posted-v1 strict: broken rss",
            "linux-6.4",
            "posted-v1"
        ]
    );
}

#[test]
fn options_replace_those_of_the_lines() {
    assert_eq!(
        runs(" --without recheck_pmd --without exit_test --unsplit"),
        [
            "linux-6.6 unsplit without exit_test, recheck_pmd: holds",
            "linux-6.6 unsplit without exit_test, recheck_pmd",
        ]
    );
    assert_eq!(
        runs(" --unsplit"),
        ["linux-6.6 unsplit", "linux-6.6 unsplit"]
    );
    assert_eq!(
        runs(" --strict --protocol posted-v1"),
        ["posted-v1 strict: broken rss", "posted-v1 strict"]
    );
}

#[test]
fn a_file_named_twice_runs_once() {
    let place = Place::with(&[("d/t.litmus", &readers("t", "forall (r = 1)", ""))]);
    let ran = place.run("check d/t.litmus d --list");
    assert_eq!(ran.out.matches("linux-6.6").count(), 1, "{}", ran.out);
}

#[test]
fn sampling_finds_what_is_broken_and_never_says_that_something_holds() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let sample = |protocol: &str| {
        place.run(&format!(
            "check uffd.litmus --protocol {protocol} --random 5 --bound 2000"
        ))
    };
    let broken = sample("posted-v1");
    assert_eq!(broken.status, 0, "as expected: {}", broken.out);
    assert!(
        broken.out.contains("broken table-not-empty"),
        "{}",
        broken.out
    );
    assert!(
        broken.out.contains("--random 5 --depth 3 --bound 2000"),
        "{}",
        broken.out
    );

    let merged = sample("linux-6.6");
    assert_eq!(merged.status, 3);
    assert!(
        merged
            .out
            .contains("2000 executions were looked at, chosen by chance"),
        "{}",
        merged.out
    );
    assert_eq!(
        sample("posted-v1").stable(),
        broken.stable(),
        "the seed decides"
    );
}

#[test]
fn a_machine_without_frames_proves_nothing() {
    let text = "MM frames\n{ mm A { x: mmap(ANON[2], MAP_PRIVATE); } }\n\
                P0 (A) { repeat 10 { repeat 10 { x[0] = 1; c = madvise(x[0], MADV_DONTNEED); } } }\nforall (c = 0)\n";
    let place = Place::with(&[("frames.litmus", text)]);
    for options in ["", " --random 1 --bound 10"] {
        let ran = place.run(&format!("check frames.litmus{options}"));
        assert_eq!(ran.status, 3, "{}", ran.out);
        assert!(
            ran.out.contains("stopped at the bound: frames"),
            "{}",
            ran.out
        );
    }
}

#[test]
fn strategies_find_what_they_are_good_for() {
    let place = Place::with(&[("uffd.litmus", &uffd())]);
    let sample = |strategy: &str| {
        place.run(&format!(
            "check uffd.litmus --protocol posted-v1 --random 5 --strategy {strategy} --bound 2000"
        ))
    };
    for (strategy, again) in [
        ("pct --depth 2", "--random 5 --depth 2 --bound 2000"),
        ("pos", "--random 5 --strategy pos --bound 2000"),
    ] {
        let ran = sample(strategy);
        assert_eq!(ran.status, 0, "as expected: {}", ran.out);
        assert!(ran.out.contains("broken table-not-empty"), "{}", ran.out);
        assert!(ran.out.contains(again), "{}", ran.out);
    }
    // One thread has to get a whole system call ahead of the other, which a random walk hardly ever lets it.
    let walk = sample("walk");
    assert_eq!(walk.status, 3, "{}", walk.out);
    let alone = place.run("check uffd.litmus --strategy pos");
    assert_eq!(alone.status, 2, "only with --random: {}", alone.err);
}

#[test]
fn a_memory_model_goes_with_every_line() {
    assert_eq!(
        runs(" --memory ra"),
        [
            "linux-6.6 ra",
            "linux-6.6 unsplit ra without exit_test, recheck_pmd",
            "posted-v1 strict ra",
            "linux-6.6 ra",
        ]
    );
    assert_eq!(
        runs(" --memory sc --protocol linux-6.6"),
        [
            "linux-6.6: holds",
            "linux-6.6 unsplit without exit_test, recheck_pmd: holds",
            "linux-6.6",
        ]
    );
    assert_eq!(
        runs(" --memory tso --unsplit"),
        ["linux-6.6 unsplit tso", "linux-6.6 unsplit tso"]
    );
}

#[test]
fn a_line_names_its_memory_model() {
    let rows = "expect { linux-6.6: holds; linux-6.6 tso: holds; linux-6.6 ra: broken rss; }";
    let place = Place::with(&[("t.litmus", &readers("t", "forall (r = 1)", rows))]);
    let ran = place.run("check t.litmus");
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("2 as expected, 1 not"), "{}", ran.out);
    let ran = place.run("check t.litmus --memory tso --list");
    assert!(ran.out.contains("linux-6.6 tso: holds"), "{}", ran.out);
}

#[test]
fn orders_are_taken_away_one_at_a_time() {
    let scenario =
        "MM nodes { shmem f[2]; mm A { x: mmap(f, MAP_SHARED); } mm B { y: mmap(f, MAP_SHARED); } }
        P0 (A) { x[0] = 1; } P1 (B) { h = mincore(y[1]); } forall (h = 0)";
    let place = Place::with(&[("t.litmus", scenario)]);
    let ran = place.run("orderings t.litmus --bound 500 --jobs 1");
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    let row = |place: &str, order: &str| {
        let mut rows = ran.out.lines();
        rows.any(|line| {
            line.starts_with(place)
                && line.contains(order)
                && line.contains("use-after-free: nodes linux-6.6")
        })
    };
    assert!(row("page_cache/slots.rs:", "release"), "{}", ran.out);
    assert!(row("page_cache/slots.rs:", "dependent read"), "{}", ran.out);
    assert!(
        ran.out.contains("each run within 500 executions"),
        "{}",
        ran.out
    );
}
