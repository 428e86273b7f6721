//! No input makes the parser panic, hang or contradict itself.

use pagefold_litmus::limits;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::common::{UFFD, check, without_spans};

/// Parses, and checks what is true of every result.
fn examine(source: &str) {
    match check(source) {
        Ok(scenario) => {
            let printed = scenario.to_string();
            let again = check(&printed).unwrap_or_else(|errors| {
                panic!("{source}\n{printed}\n{}", errors.render(&printed, false))
            });
            assert_eq!(without_spans(again), without_spans(scenario));
        }
        Err(found) => {
            assert!(!found.list.is_empty(), "no reason given");
            assert!(found.list.len() <= limits::DIAGNOSTICS);
            let places = found.iter().map(|diagnostic| diagnostic.span);
            assert!(places.clone().is_sorted_by_key(|span| span.offset));
            for span in places {
                assert!(source.get(span.offset..span.end()).is_some());
                let before = &source[..span.offset];
                assert_eq!(span.line, before.matches('\n').count() + 1);
                let line = before.rsplit('\n').next().unwrap_or(before);
                assert_eq!(span.column, line.chars().count() + 1);
            }
            for diagnostic in &found {
                assert!(!diagnostic.message.is_empty() && !diagnostic.label.is_empty());
            }
            found.render(source, false);
            found.render(source, true);
        }
    }
}

/// Pieces that get far into the parser.
const PIECES: &[&str] = &[
    "MM t",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ";",
    ":",
    ",",
    "|",
    "=",
    "!=",
    "~",
    r"/\",
    r"\/",
    "(*",
    "*)",
    "//",
    "\n",
    " ",
    "0",
    "1",
    "17",
    "99999999999999999999",
    "0x1",
    "shmem f[2]",
    "file g[1]",
    "x[0..1]",
    "..",
    "shmem",
    "mm A {",
    "mm",
    "x: mmap(f, MAP_SHARED)",
    "a: mmap(ANON[1], MAP_PRIVATE);",
    "ANON",
    "mm B = fork(A);",
    "fork(B)",
    "uffd(x, WP)",
    "A:",
    "A",
    "f",
    "x",
    "x[0]",
    "f[1]",
    "r",
    "r = x[0];",
    "x[0] = 1;",
    "P0 (A) {",
    "P1 (device A) {",
    "P2 (kernel) {",
    "khugepaged",
    "reclaim",
    "monitor",
    "vcpu",
    "final",
    "final(A) {",
    "forall",
    "exists",
    "~exists",
    "expect",
    "expect {",
    "linux-6.6",
    "unsplit",
    "without",
    "rcu_defer",
    "holds",
    "broken",
    "repeat",
    "repeat 2 {",
    "while",
    "loop",
    "hole",
    "true",
    "madvise(x, MADV_COLLAPSE);",
    "munmap",
    "EAGAIN",
    "é",
    "\u{feff}",
    "\0",
    "\r\n",
    "-",
    "&&",
    "\u{202e}",
    "\t",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(source in any::<String>()) {
        examine(&source);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        examine(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(select(PIECES), 0..120)) {
        examine(&pieces.join(" "));
        examine(&format!("MM t {{ shmem f[2]; mm A {{ x: mmap(f, MAP_SHARED); }} {}", pieces.concat()));
    }

    #[test]
    fn a_scenario_with_something_cut_out_or_put_in(
        edits in prop::collection::vec((any::<Index>(), 0_usize..12, select(PIECES), any::<bool>()), 1..4),
    ) {
        let mut source = UFFD.to_owned();
        for (at, cut, piece, insert) in edits {
            let start = source.floor_char_boundary(at.index(source.len() + 1));
            let end = source.floor_char_boundary((start + cut).min(source.len())).max(start);
            source.replace_range(start..end, if insert { piece } else { "" });
        }
        examine(&source);
    }

    #[test]
    fn a_scenario_cut_off(at in any::<Index>()) {
        examine(&UFFD[..UFFD.floor_char_boundary(at.index(UFFD.len()))]);
    }
}

#[test]
fn endless_repetition_of_anything() {
    let heads = [
        "",
        "MM t {",
        "MM t { mm A {",
        "MM t { shmem f[2] = {",
        "MM t { shmem f[2]; mm A { x: mmap(f, MAP_SHARED); } A: ",
        "MM t { shmem f[2]; mm A { x: mmap(f, MAP_SHARED); } } P0 (A) {",
        "MM t { shmem f[2]; mm A { x: mmap(f, MAP_SHARED); } } P0 (A) { r = x[0]; } forall ",
        "MM t { } P0 (kernel) { } expect { linux-6.6 without ",
    ];
    let pieces = [
        "(",
        "((",
        "~",
        "{",
        "}",
        "[",
        "(*",
        "a",
        "a ",
        "1",
        "-",
        ";",
        "repeat 2 {",
        "P0 (A) { }\n",
        "r = 1 /\\ ",
        "r = 1 \\/ r = 2 /\\ ",
        "x[0] = 1;\n",
        "q = x[0]; ",
        "a: ",
        "a, ",
        "1, ",
        "é",
        "forall true ",
        "A: ",
        "mm B { } ",
        "shmem f[1]; ",
        "y: mmap(f, MAP_SHARED); ",
    ];
    for head in heads {
        for piece in pieces {
            let room = limits::SOURCE_BYTES / 64 - head.len();
            examine(&format!("{head}{}", piece.repeat(room / piece.len())));
        }
    }
}
