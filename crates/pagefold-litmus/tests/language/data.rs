//! Diagnostics as data: for programs, in JSON, and in bulk.

use insta::assert_snapshot;
use pagefold_litmus::{Diagnostics, Symbol, Value, limits};

use crate::common::{check, errors, in_items, in_thread, numbered};

fn diagnostics(source: &str) -> Diagnostics {
    check(source).expect_err("a bad scenario")
}

#[test]
fn places_are_counted_in_characters_and_bytes() {
    let found = diagnostics("MM t { (* é *) shmem f[0]; }\nP0 (kernel) { }");
    let span = found.list[0].span;
    assert_eq!((span.line, span.column), (1, 24));
    assert_eq!((span.offset, span.len), (24, 1));
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_white_space() {
    let source = in_thread("    x[0] = 1;").replace('\n', "\r\n");
    assert!(check(&format!("\u{feff}{source}")).is_ok());
}

#[test]
fn one_line_for_each() {
    let found = diagnostics(&in_thread("    x[2] = 1;\n    X[0] = 1;"));
    assert_snapshot!(found.to_string(), @r"
    test.litmus:8:7: there is no page 2 in `f`
    test.litmus:9:5: `X` is not a mapping of mm `A`
    ");
}

#[test]
fn json() {
    let found = diagnostics(&in_thread("    X[2] = 1;"));
    let json = serde_json::to_string_pretty(&found).expect("plain data");
    assert_snapshot!(json, @r#"
    {
      "file_name": "test.litmus",
      "list": [
        {
          "message": "`X` is not a mapping of mm `A`",
          "span": {
            "offset": 113,
            "len": 1,
            "line": 8,
            "column": 5
          },
          "label": "expected a mapping of mm `A`",
          "related": null,
          "help": "did you mean `x`?"
        }
      ],
      "omitted": 0
    }
    "#);
}

#[test]
fn values_in_json_are_numbers_and_strings() {
    let values = [Value::Number(7), Value::Symbol(Symbol::SIGBUS)];
    let json = serde_json::to_string(&values).expect("plain data");
    assert_eq!(json, r#"[7,"SIGBUS"]"#);
}

#[test]
fn too_many_are_counted() {
    let found = diagnostics(&in_thread(&numbered(30, |i| {
        format!("    x[{}] = 1;", i + 2)
    })));
    assert_eq!(found.list.len(), limits::DIAGNOSTICS);
    assert_eq!(found.omitted, 10);
    let rendered = found.render("", false);
    assert!(rendered.ends_with("note: and 10 more"), "{rendered}");
}

#[test]
fn a_file_may_not_be_too_large() {
    let source = " ".repeat(limits::SOURCE_BYTES + 1);
    let found = diagnostics(&source);
    assert_eq!(found.list.len(), 1);
    assert_eq!(found.list[0].message, "this file is too large");
}

#[test]
fn colour_only_if_asked_for() {
    let source = in_items("P0 (C) { }");
    assert!(!errors(&source).contains('\u{1b}'));
    assert!(
        diagnostics(&source)
            .render(&source, true)
            .contains('\u{1b}')
    );
}

#[test]
fn rendering_with_another_source_does_not_panic() {
    let found = diagnostics(&in_items("P0 (C) { x[9] = 1; }\nP1 (f) { }"));
    for other in ["", "é", "\n\n\n\n\n", "MM t\r\n{ é }"] {
        assert!(!found.render(other, false).is_empty());
    }
}

/// One mistake, and several uses of what it would have declared.
#[test]
fn what_was_reported_once_is_not_reported_again() {
    for source in [
        in_items("P0 (A) { x = x[0]; }\nforall (x = 1)"),
        in_items("P0 (A) { r = x[0 ]] ; }\nforall (r = 1)"),
        in_items("P0 (A) { r = uffdio_copy(x[0]); }\nforall (r = 1)"),
        in_items("P0 (A) { z: mmap(g, MAP_SHARED); z[0] = 1; munmap(z); }"),
        in_items("P0 (A { r = x[0]; }\nP1 (B) { y[0] = 1; }\nfinal(A) { x[0]; }\nforall (r = 1)"),
        "MM t { shmem f[; mm A { x: mmap(f, MAP_SHARED); } } P (A) { x[7] = 1; }".to_owned(),
        "MM t { shmem f[1]; mm A x: mmap(f, MAP_SHARED); A: x[0] = 1; } P (kernel) { }".to_owned(),
    ] {
        let found = diagnostics(&source);
        assert_eq!(found.list.len(), 1, "{}", found.render(&source, false));
    }
}
