use pagefold_litmus::{Vocabulary, parse};

use super::*;

fn scenario(text: &str) -> Scenario {
    let vocabulary = Vocabulary {
        protocols: &[],
        safeguards: &[],
        violations: &[],
    };
    parse(&format!("MM t\n{text}"), "t", &vocabulary).expect("it is valid")
}

fn reason(text: &str) -> Option<String> {
    let scenario = scenario(text);
    Program::new(&scenario).err().map(|none| none.reason)
}

/// The worker of each thread.
fn workers(text: &str) -> Vec<usize> {
    let scenario = scenario(text);
    Program::new(&scenario)
        .expect("it has a counterpart")
        .worker_of
}

#[test]
fn who_is_no_process_is_outside_of_all() {
    let text = "{ shmem f[2] = { 1, 2 }; mm A { x: mmap(f, MAP_SHARED); } }
P0 (A) { r = x[0]; }
P1 (kernel) { collapse(f); }
P2 (khugepaged) { scan(A); }";
    assert_eq!(workers(text), [0, 1, 1]);
    let scenario = scenario(text);
    let program = Program::new(&scenario).unwrap();
    assert_eq!(program.living().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(program.collapsed().len(), 1);
    assert_eq!(remarks(&scenario).len(), 2);
}

#[test]
fn only_khugepaged_keeps_to_limits() {
    let has_limits = |scan: &str| {
        let text =
            format!("{{ mm A {{ a: mmap(ANON[2], MAP_PRIVATE); }} }} P0 (khugepaged) {{ {scan} }}");
        let scenario = scenario(&text);
        let program = Program::new(&scenario).expect("it has a counterpart");
        assert!(program.scans());
        program.has_limits()
    };
    assert!(!has_limits("scan(A);"));
    assert!(!has_limits("scan();"));
    assert!(has_limits("scan(A, 0);"));
}

const MONITORED: &str =
    "{ mm A { a: mmap(ANON[2], MAP_PRIVATE); uffd(a, MISSING); b: mmap(ANON[2], MAP_PRIVATE); }
A: b[0] = 1; }";

#[test]
fn a_monitor_is_outside_and_takes_the_userfaultfd_over() {
    let text = format!("{MONITORED} P0 (A) {{ r = a[0]; }} M (monitor A) {{ uffd_answer(a, 7); }}");
    let scenario = scenario(&text);
    let program = Program::new(&scenario).unwrap();
    assert_eq!(program.worker_of, [0, 1]);
    assert!(program.has_monitors() && program.hands_over(MmId::new(0)));
    assert!(!program.whole(MappingId::new(0)));
}

#[test]
fn a_monitor_that_moves_pages_is_in_the_process() {
    let text =
        format!("{MONITORED} P0 (A) {{ r = a[0]; }} M (monitor A) {{ uffdio_move(a[0], b[0]); }}");
    assert_eq!(workers(&text), [0, 0]);
    let exits =
        format!("{MONITORED} P0 (A) {{ exit(); }} M (monitor A) {{ uffdio_move(a[0], b[0]); }}");
    assert!(reason(&exits).unwrap().contains("UFFDIO_MOVE"));
}

#[test]
fn nobody_closes_what_another_process_has_too() {
    let text = format!(
        "{MONITORED} P0 (A) {{ uffdio_copy(a[0], 1); }} M (monitor A) {{ uffd_close(a); }}"
    );
    assert!(reason(&text).unwrap().contains("one of them closes"));
}

#[test]
fn pages_that_move_elsewhere_have_places_of_the_same_size() {
    let even = |call: &str| {
        let scenario = scenario(&format!("{MONITORED} P0 (A) {{ {call} }}"));
        assert!(Program::new(&scenario).is_ok());
        wants_even_halves(&scenario)
    };
    assert!(!even("uffdio_move(a[1], b[1]);"));
    assert!(!even("uffdio_move(a, b);"));
    assert!(even("uffdio_move(a[1], b[0]);"));
    assert!(even("mremap(b[0], a[1]);"));
    // To another size, but where the groups begin at the same place.
    assert!(!even("mremap(b[0], a);"));
    let sizes = format!("{MONITORED} P0 (A) {{ uffdio_move(b, a[0]); }}");
    assert!(reason(&sizes).unwrap().contains("as many"));
}

#[test]
fn who_asks_for_holes() {
    let asks = |text: &str| Program::new(&scenario(text)).unwrap().asks_for_holes();
    let read = "P0 (A) { r = x[0]; }";
    let of = |object: &str, rest: &str| {
        format!(
            "{{ {object} f[2] = {{ 1, 2 }}; mm A {{ x: mmap(f, MAP_SHARED); {rest} }} }}\n{read}"
        )
    };
    assert!(!asks(&of("shmem", "")));
    assert!(asks(&of("shmem", "uffd(x, MISSING|SIGBUS_ON_FAULT);")));
    assert!(asks(&of("file", "")));
    let scans = |limits: &str| {
        format!(
            "{}\nP1 (khugepaged) {{ scan(A{limits}); }}",
            of("shmem", "")
        )
    };
    assert!(!asks(&scans("")));
    assert!(asks(&scans(", 0")));
}

#[test]
fn a_walk_by_page_is_only_looked_at_in_the_end() {
    let header = "{ mm A { a: mmap(ANON[2], MAP_PRIVATE); } A: a[0] = 1; }";
    let at_the_end =
        format!("{header} P0 (A) {{ a[0] = 2; }} final(A) {{ n = rmap_walk_anon(a[0]); }}");
    assert_eq!(reason(&at_the_end), None);
    assert!(reason(&format!("{header} P0 (A) {{ n = rmap_walk_anon(a[0]); }}")).is_some());
}

#[test]
fn what_is_kept_where_decides_what_a_kernel_must_have() {
    let needs = |text: &str| {
        let scenario = scenario(text);
        let program = Program::new(&scenario).expect("it has a counterpart");
        (
            program.pins_fast(),
            program.collapses_files(),
            program.swaps(),
        )
    };
    let file = |thread: &str| {
        needs(&format!(
            "{{ file f[2] = {{ 1, 2 }}; mm A {{ x: mmap(f, MAP_SHARED); }} }} P0 {thread}"
        ))
    };
    assert_eq!(file("(A) { r = gup_fast(x[0]); }"), (true, false, false));
    assert_eq!(file("(kernel) { collapse(f); }"), (false, true, false));
    assert_eq!(
        file("(reclaim) { n = reclaim(x[0]); }"),
        (false, false, false)
    );
    let shmem = |thread: &str| {
        needs(&format!(
            "{{ shmem f[2] = {{ 1, 2 }}; mm A {{ x: mmap(f, MAP_SHARED); }} }} P0 {thread}"
        ))
    };
    assert_eq!(shmem("(A) { r = vmsplice(x[0]); }"), (false, false, false));
    assert_eq!(shmem("(kernel) { collapse(f); }"), (false, false, false));
    assert_eq!(
        shmem("(reclaim) { n = reclaim(x[0]); }"),
        (false, false, true)
    );
}

#[test]
fn what_reclaim_moved_is_not_known() {
    let scenario = scenario(
        "{ file f[1] = { 1 }; mm A { x: mmap(f, MAP_SHARED); } }
P0 (A) { r = x[0]; }
P1 (reclaim) { n = reclaim(x[0]); }",
    );
    assert_eq!(unknown(&scenario), [1]);
    assert_eq!(scenario.registers[1].name, "n");
}

#[test]
fn pages_are_held_where_somebody_can_do_it() {
    let body = |threads: &str| {
        format!(
            "{{ mm A {{ a: mmap(ANON[2], MAP_PRIVATE); }} mm B = fork(A); A: a[0] = 1; fork(B); }}\n{threads}"
        )
    };
    let pipe = body("P0 (A) { hold(a[0], FOLL_GET); r = read_held(a[0]); let_go(a[0]); }");
    let ring = body("P0 (B) { hold(a[1], FOLL_LONGTERM|FOLL_WRITE); write_held(a[1], 3); }");
    let pinned = |text: &str| {
        let scenario = scenario(text);
        let program = Program::new(&scenario).unwrap();
        assert_eq!(remarks(&scenario).len(), 1);
        let by =
            |worker| -> Vec<usize> { program.pinned_by(worker).map(|page| page.page).collect() };
        [by(0), by(1)]
    };
    assert!(pinned(&pipe).iter().all(Vec::is_empty));
    assert_eq!(pinned(&ring), [vec![], vec![1]]);
    let to_read = body("P0 (A) { hold(a[0], FOLL_LONGTERM); }");
    assert!(reason(&to_read).unwrap().contains("to read it"));
    let two = body("P0 (A) { hold(a[0], FOLL_GET); }\nP1 (A) { r = read_held(a[0]); }");
    assert!(reason(&two).unwrap().contains("two threads"));
    let apart = body("P0 (A) { hold(a[0], FOLL_GET); }\nP1 (B) { r = read_held(a[0]); }");
    assert_eq!(reason(&apart), None);
}
