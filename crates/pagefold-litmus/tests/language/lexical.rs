//! Diagnostics of the lexer.

use insta::assert_snapshot;

use crate::common::{errors, in_items, in_thread, with_claim};

#[test]
fn unknown_characters() {
    assert_snapshot!(errors(&in_thread(r"    x[0] = 1 ¤¤;
    x[1] = é;")), @r"
    error: unknown characters `¤¤`
     --> test.litmus:8:14
      |
    8 |     x[0] = 1 ¤¤;
      |              ^^ not part of the language

    error: unknown character `é`
     --> test.litmus:9:12
      |
    9 |     x[1] = é;
      |            ^ not part of the language
      |
      = help: names are written in ASCII letters, digits and `_`
    ");
}

#[test]
fn operators_of_other_languages() {
    assert_snapshot!(errors(&with_claim("forall (r == 1 && r <> 2 || !(r = 3))")), @r"
    error: found `==`
     --> test.litmus:8:11
      |
    8 | forall (r == 1 && r <> 2 || !(r = 3))
      |           ^^ equality is written `=`

    error: found `&&`
     --> test.litmus:8:16
      |
    8 | forall (r == 1 && r <> 2 || !(r = 3))
      |                ^^ and is written `/\`

    error: found `<>`
     --> test.litmus:8:21
      |
    8 | forall (r == 1 && r <> 2 || !(r = 3))
      |                     ^^ inequality is written `!=`

    error: found `||`
     --> test.litmus:8:26
      |
    8 | forall (r == 1 && r <> 2 || !(r = 3))
      |                          ^^ or is written `\/`

    error: found `!`
     --> test.litmus:8:29
      |
    8 | forall (r == 1 && r <> 2 || !(r = 3))
      |                             ^ not is written `~`
    ");
}

#[test]
fn negative_number() {
    assert_snapshot!(errors(&in_thread("    x[0] = -1;")), @r"
    error: found `-`
     --> test.litmus:8:12
      |
    8 |     x[0] = -1;
      |            ^ values are not negative
    ");
}

#[test]
fn number_with_letters() {
    assert_snapshot!(errors(&in_thread("    x[0] = 12ab;")), @r"
    error: `12ab` is not a number
     --> test.litmus:8:12
      |
    8 |     x[0] = 12ab;
      |            ^^^^ expected decimal digits, or `0x` and hexadecimal digits
      |
      = help: a name begins with a letter
    ");
}

#[test]
fn hexadecimal_without_digits() {
    assert_snapshot!(errors(&in_thread("    x[0] = 0x;")), @r"
    error: `0x` is not a number
     --> test.litmus:8:12
      |
    8 |     x[0] = 0x;
      |            ^^ expected decimal digits, or `0x` and hexadecimal digits
      |
      = help: a name begins with a letter
    ");
}

#[test]
fn number_too_large() {
    assert_snapshot!(errors(&in_thread("    x[0] = 18446744073709551616;")), @r"
    error: this number is too large
     --> test.litmus:8:12
      |
    8 |     x[0] = 18446744073709551616;
      |            ^^^^^^^^^^^^^^^^^^^^ expected less than 2^64
    ");
}

#[test]
fn comment_never_closed() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { x[0] = 1; }
(* one (* two *)
P1 (A) { }")), @r"
    error: this comment is never closed
     --> test.litmus:8:1
      |
    8 | (* one (* two *)
      | ^^ a matching `*)` is expected
      |
      = help: comments nest: every `(*` needs its own `*)`
    ");
}

#[test]
fn comment_never_opened() {
    assert_snapshot!(errors(&in_items("P0 (A) { x[0] = 1; } *)")), @r"
    error: found `*)`
     --> test.litmus:7:22
      |
    7 | P0 (A) { x[0] = 1; } *)
      |                      ^^ no comment is open here
    ");
}
