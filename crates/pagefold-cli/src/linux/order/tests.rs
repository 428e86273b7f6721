//! A recorded collapse of Linux 6.18 (the one of `events/recorded.txt`), and what is made of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::exit::Status;
use crate::linux::{Compared, Done, report};
use crate::load::Loaded;
use crate::terminal::Terminal;
use pagefold_linux::events::{Collapse, Happened};

const SOURCE: &str = "MM order
{
    shmem f[2] = { 1, 2 };
    mm A { x: mmap(f, MAP_SHARED); }
    mm B { y: mmap(f, MAP_SHARED); }
    A: x[0];
    B: y[0];
}
P0 (A) { r = madvise(x, MADV_COLLAPSE); }
";

/// What a kernel does of it that flushes once for several pages, and not for the process that does not run.
fn collapse() -> Collapse {
    let range = |slot, page, pages| Event::Range { slot, page, pages };
    let ended = |tracepoint: &str| Event::Ended {
        tracepoint: tracepoint.to_owned(),
        result: "pte_mapped_hugepage".to_owned(),
    };
    let happened = [
        (Event::Begin, false),
        (range(1, 0, 1), false),
        (range(0, 0, 1), false),
        (range(1, 1, 1), false),
        (range(0, 1, 1), true),
        (range(1, 0, 2), false),
        (range(0, 0, 2), true),
        (ended("mm_khugepaged_collapse_file"), false),
        (ended("mm_khugepaged_scan_file"), false),
    ];
    Collapse {
        mm: 0,
        happened: happened
            .into_iter()
            .map(|(event, flushed)| Happened {
                event,
                others: false,
                flushed,
            })
            .collect(),
    }
}

/// What is made of it on a kernel that has not these events.
fn order_of(collapse: Collapse, hidden: &[&str], protocol: &str) -> Order {
    let scenario = crate::load::scenario(SOURCE, "order").expect("it is valid");
    let protocol = Protocol::by_name(protocol).expect("it is known");
    let alone = expected(&scenario, protocol).expect("it collapses");
    let tracepoints = PARTS.iter().map(|(_, name)| *name);
    let events = tracepoints.chain([events::RANGE, events::FLUSH]);
    let ran = Ran {
        collapses: [(vec![collapse], 1)].into(),
        events: events
            .filter(|event| !hidden.contains(event))
            .map(str::to_owned)
            .collect(),
        ..Ran::default()
    };
    compare(&scenario, &alone, &ran)
}

fn difference_of(collapse: Collapse, hidden: &[&str]) -> Option<String> {
    let mut order = order_of(collapse, hidden, "linux-6.6");
    order.seen.remove(0).difference
}

/// What is said of it, as text and for programs.
fn reported(protocol: &str) -> (String, String) {
    let done = Done {
        loaded: &Loaded {
            path: "order.litmus".into(),
            source: SOURCE.to_owned(),
            scenario: crate::load::scenario(SOURCE, "order").expect("it is valid"),
        },
        protocol: Protocol::by_name(protocol).expect("it is known"),
        result: Ok(Compared {
            ran: Ran::default(),
            allowed: BTreeSet::new(),
            open: None,
            order: Some(order_of(collapse(), &[], protocol)),
        }),
        time: Duration::from_secs(1),
    };
    let terminal = Terminal {
        width: 120,
        color: false,
    };
    let mut text = Vec::new();
    report::scenario(&done, terminal, &mut text).expect("there is memory");
    let on = report::On {
        kernel: None,
        guest: None,
        seed: 1,
        target: None,
    };
    let mut json = Vec::new();
    report::json(&[done], &on, &[], Status::Fine, Duration::ZERO, &mut json)
        .expect("there is memory");
    [text, json]
        .map(|bytes| String::from_utf8(bytes).expect("it is text"))
        .into()
}

#[test]
fn the_same_order_is_the_same_however_flushes_are_put_together() {
    assert_eq!(difference_of(collapse(), &[]), None);
    let mut eager = collapse();
    for happened in &mut eager.happened[1..7] {
        happened.flushed = true;
    }
    assert_eq!(difference_of(eager, &[]), None);
}

#[test]
fn every_other_order_is_another() {
    let differs = |change: fn(&mut Vec<Happened>)| {
        let mut collapse = collapse();
        change(&mut collapse.happened);
        difference_of(collapse, &[]).expect("it differs")
    };
    assert_eq!(
        differs(|happened| happened.swap(4, 6)),
        "x[0..2] where the model has x[1]"
    );
    assert_eq!(
        differs(|happened| drop(happened.pop())),
        "the end where the model has scan_file: pte_mapped_hugepage"
    );
    assert_eq!(
        differs(|happened| happened[4].flushed = false),
        "no flush after x[1]"
    );
    assert_eq!(
        differs(|happened| happened[6].flushed = false),
        "no flush after x[0..2]"
    );
    assert_eq!(
        differs(|happened| happened[8].flushed = true),
        "a flush after scan_file: pte_mapped_hugepage, of nothing"
    );
}

/// Until 6.5 a process had its own page table taken only.
#[test]
fn what_a_kernel_does_is_another_order_under_the_protocol_of_an_older_one() {
    let order = order_of(collapse(), &[], "linux-6.4");
    assert!(order.differs());
    let difference = order.seen[0].difference.as_deref();
    assert_eq!(difference, Some("y[0..2] where the model has x[0..2]"));
}

#[test]
fn the_report_has_the_order() {
    let (text, json) = reported("linux-6.6");
    insta::assert_snapshot!(text);
    insta::assert_snapshot!(json);
}

#[test]
fn the_report_has_both_orders_where_they_differ() {
    let (text, json) = reported("linux-6.4");
    insta::assert_snapshot!(text);
    insta::assert_snapshot!(json);
}

#[test]
fn what_cannot_be_seen_is_not_missed() {
    let mut blind = collapse();
    blind
        .happened
        .retain(|happened| !matches!(happened.event, Event::Range { .. }));
    blind.happened[0].flushed = true;
    assert_eq!(difference_of(blind.clone(), &[events::RANGE]), None);
    blind.happened[0].flushed = false;
    assert!(difference_of(blind, &[events::RANGE]).is_some());
}

#[test]
fn every_result_has_a_name() {
    for result in ScanResult::ALL {
        assert_eq!(
            RESULTS.iter().filter(|(other, _)| other == result).count(),
            1
        );
    }
}
