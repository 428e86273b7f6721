//! What others see of a collapse, in its order, where nobody else does anything. `pagefold linux --events` holds it against real kernels;
//! this is about what it is.

use pagefold::collapse::{Part, ScanResult};
use pagefold::protocol::Protocol;
use pagefold_litmus::{MappingId, MmId, Vocabulary};
use pagefold_machine::model::{Alone, CollapseStep, RunConfig, one_by_one};

const A: MmId = MmId::new(0);
const B: MmId = MmId::new(1);
const X: MappingId = MappingId::new(0);
const Y: MappingId = MappingId::new(1);

fn alone(source: &str, protocol: &str) -> Option<Alone> {
    let vocabulary = Vocabulary {
        protocols: &[],
        safeguards: &[],
        violations: &[],
    };
    let scenario = pagefold_litmus::parse(source, "order", &vocabulary).expect("it is valid");
    let protocol = Protocol::by_name(protocol).expect("it is known");
    one_by_one(&scenario, &RunConfig::new(protocol)).expect("it fits")
}

fn steps(source: &str, protocol: &str) -> Vec<CollapseStep> {
    let alone = alone(source, protocol).expect("nobody waits for anybody");
    let [collapse] = alone.collapses.as_slice() else {
        panic!("one collapse: {alone:?}");
    };
    assert_eq!(collapse.mm, A);
    collapse.steps.clone()
}

fn range(mapping: MappingId, page: usize, pages: usize) -> CollapseStep {
    CollapseStep::Range {
        mapping,
        page,
        pages,
        takes: true,
    }
}

const FILE: &str = "MM order
{
    shmem f[2] = { 1, 2 };
    mm A { x: mmap(f, MAP_SHARED); }
    mm B { y: mmap(f, MAP_SHARED); }
    A: x[0];
    B: y[0];
}
P0 (A) { r = madvise(x, MADV_COLLAPSE); }
";

#[test]
fn pages_go_then_tables() {
    let pages = [
        range(Y, 0, 1),
        range(X, 0, 1),
        range(Y, 1, 1),
        range(X, 1, 1),
    ];
    let flushes = [CollapseStep::Flush(B), CollapseStep::Flush(A)];
    let theirs = [range(Y, 0, 2), CollapseStep::Flush(B)];
    let own = [range(X, 0, 2), CollapseStep::Flush(A)];
    let ended =
        |result| [Part::CollapseFile, Part::ScanFile].map(|part| CollapseStep::Ended(part, result));
    for (protocol, theirs, result) in [
        ("linux-6.4", &[][..], ScanResult::Succeed),
        ("linux-6.6", &theirs[..], ScanResult::PteMappedHugepage),
    ] {
        let expected = [&pages[..], &flushes, theirs, &own, &ended(result)].concat();
        assert_eq!(steps(FILE, protocol), expected, "{protocol}");
    }
}

/// Nobody is told of the other process, from which nothing is unmapped; but it has a table, with the other page.
#[test]
fn a_walk_ends_where_nothing_maps_the_page() {
    let private = FILE
        .replace("B: y[0];", "B: y[0] = 7; y[1] = 8;")
        .replace("y: mmap(f, MAP_SHARED)", "y: mmap(f, MAP_PRIVATE)");
    let steps = steps(&private, "linux-6.6");
    let passed = CollapseStep::Range {
        mapping: Y,
        page: 0,
        pages: 1,
        takes: false,
    };
    // It stands before the other one in the list.
    assert_eq!(steps[..2], [passed, range(X, 0, 1)]);
    assert!(!steps.contains(&range(Y, 0, 2)), "{steps:?}");
    let unmapped = FILE.replace("    A: x[0];\n    B: y[0];\n", "");
    let ranges = |step: &&CollapseStep| matches!(step, CollapseStep::Range { .. });
    assert_eq!(
        self::steps(&unmapped, "linux-6.6")
            .iter()
            .filter(ranges)
            .count(),
        0
    );
}

#[test]
fn private_pages_are_taken_with_their_table() {
    let source = "MM order
{ mm A { a: mmap(ANON[2], MAP_PRIVATE); } A: a[0] = 1; a[1] = 2; }
P0 (A) { r = madvise(a, MADV_COLLAPSE); }
";
    let ended = [Part::Isolate, Part::CollapseHugePage, Part::ScanPmd]
        .map(|part| CollapseStep::Ended(part, ScanResult::Succeed));
    let expected = [&[range(X, 0, 2), CollapseStep::Flush(A)][..], &ended].concat();
    assert_eq!(steps(source, "linux-6.14"), expected);
}

#[test]
fn who_has_to_wait_for_a_later_thread_is_no_order() {
    let source = "MM order
{ shmem f[2]; mm A { x: mmap(f, MAP_SHARED); uffd(x, MISSING); } }
P0 (A) { r = x[0]; }
P1 (A) { uffdio_zeropage(x[0]); }
";
    assert!(alone(source, "linux-6.6").is_none());
}
