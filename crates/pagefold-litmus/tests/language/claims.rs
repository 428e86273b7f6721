//! Diagnostics of the condition and of the expectations.

use insta::assert_snapshot;

use crate::common::{errors, with_claim};

#[test]
fn quantifier_missing() {
    assert_snapshot!(errors(&with_claim("~(r = 1)")), @r"
    error: expected `exists`, found `(`
     --> test.litmus:8:2
      |
    8 | ~(r = 1)
      |  ^ expected `exists`
    ");
}

#[test]
fn two_conditions() {
    assert_snapshot!(errors(&with_claim(r"forall (r = 1)
exists (r = 2)
expect { linux-6.6: holds; }")), @r"
    error: a second condition
     --> test.litmus:9:1
      |
    8 | forall (r = 1)
      | -------------- the first is here
    9 | exists (r = 2)
      | ^^^^^^ expected at most one condition
      |
      = help: join them with `/\`
    ");
}

#[test]
fn comparison_without_a_relation() {
    assert_snapshot!(errors(&with_claim("forall (r)")), @r"
    error: expected `=` or `!=`, found `)`
     --> test.litmus:8:10
      |
    8 | forall (r)
      |          ^ expected `=` or `!=`
    ");
}

#[test]
fn comparison_without_a_side() {
    assert_snapshot!(errors(&with_claim("forall (r = )")), @r"
    error: expected a number, a symbol or a register, found `)`
     --> test.litmus:8:13
      |
    8 | forall (r = )
      |             ^ expected a number, a symbol or a register
    ");
}

#[test]
fn empty_condition() {
    assert_snapshot!(errors(&with_claim(r"exists ()
expect { linux-6.6: allowed; }")), @r"
    error: expected a comparison `r = 1`, `true`, `~` or `(`, found `)`
     --> test.litmus:8:9
      |
    8 | exists ()
      |         ^ expected a comparison `r = 1`, `true`, `~` or `(`
    ");
}

#[test]
fn bracket_not_closed() {
    assert_snapshot!(errors(&with_claim(r"forall (r = 1 /\ (r = 2)
expect { linux-6.6: holds; }")), @r"
    error: expected `/\`, `\/` or `)`, found `expect`
     --> test.litmus:9:1
      |
    9 | expect { linux-6.6: holds; }
      | ^^^^^^ expected `/\`, `\/` or `)`
    ");
}

#[test]
fn connective_missing() {
    assert_snapshot!(errors(&with_claim("forall (r = 1 r = 2)")), @r"
    error: expected `/\`, `\/` or `)`, found `r`
     --> test.litmus:8:15
      |
    8 | forall (r = 1 r = 2)
      |               ^ expected `/\`, `\/` or `)`
    ");
}

#[test]
fn unknown_register() {
    assert_snapshot!(errors(r"MM t
{
    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); }
}
P0 (A) { first = x[0]; }
forall (frist = 1 /\ x = 2 /\ EWHATEVER = first)
"), @r"
    error: `frist` is not a register that something writes
     --> test.litmus:7:9
      |
    7 | forall (frist = 1 /\ x = 2 /\ EWHATEVER = first)
      |         ^^^^^ expected a register that something writes
      |
      = help: did you mean `first`?

    error: `x` is a mapping of mm `A`, not a register that something writes
     --> test.litmus:7:22
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); }
      |            - it is declared here
    ...
    7 | forall (frist = 1 /\ x = 2 /\ EWHATEVER = first)
      |                      ^ expected a register that something writes
      |
      = help: the only one is `first`

    error: `EWHATEVER` is not a register that something writes
     --> test.litmus:7:31
      |
    7 | forall (frist = 1 /\ x = 2 /\ EWHATEVER = first)
      |                               ^^^^^^^^^ expected a register that something writes
      |
      = help: the only one is `first`
    ");
}

#[test]
fn two_constants() {
    assert_snapshot!(errors(&with_claim(r"forall (1 = 1 \/ EAGAIN = 2)")), @r"
    error: this compares two constants
     --> test.litmus:8:9
      |
    8 | forall (1 = 1 \/ EAGAIN = 2)
      |         ^^^^^ expected a register on one side

    error: this compares two constants
     --> test.litmus:8:18
      |
    8 | forall (1 = 1 \/ EAGAIN = 2)
      |                  ^^^^^^^^^^ expected a register on one side
    ");
}

#[test]
fn condition_too_deep() {
    assert_snapshot!(errors(&with_claim(&format!("forall {}r = 1{}
expect {{ linux-6.6: holds; }}", "(".repeat(65), ")".repeat(65)))), @r"
    error: this condition nests too deep
     --> test.litmus:8:72
      |
    8 | forall (((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((r = 1))))))))))))))))))))))))))))))))))))))))))))))))))))))))...
      |                                                                        ^ expected at most 64 `(` and `~` in each other
    ");
}

#[test]
fn negations_too_deep() {
    assert_snapshot!(errors(&with_claim(&format!("exists {}(r = 1)", "~".repeat(65)))), @r"
    error: this condition nests too deep
     --> test.litmus:8:72
      |
    8 | exists ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~(r = 1)
      |                                                                        ^ expected at most 64 `(` and `~` in each other
    ");
}

#[test]
fn unknown_protocol() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.7: holds; windows: holds; }")), @r"
    error: unknown protocol `linux-6.7`
     --> test.litmus:8:10
      |
    8 | expect { linux-6.7: holds; windows: holds; }
      |          ^^^^^^^^^ expected a protocol
      |
      = help: did you mean `linux-6.4`?

    error: unknown protocol `windows`
     --> test.litmus:8:28
      |
    8 | expect { linux-6.7: holds; windows: holds; }
      |                            ^^^^^^^ expected a protocol
      |
      = help: known are `posted-v1`, `linux-6.4`, `linux-6.6`, `pagefold`
    ");
}

#[test]
fn unknown_safeguard() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6 without recheck_anon_vmas, magic: broken; }")), @r"
    error: unknown safeguard `recheck_anon_vmas`
     --> test.litmus:8:28
      |
    8 | expect { linux-6.6 without recheck_anon_vmas, magic: broken; }
      |                            ^^^^^^^^^^^^^^^^^ expected a safeguard
      |
      = help: did you mean `recheck_anon_vma`?

    error: unknown safeguard `magic`
     --> test.litmus:8:47
      |
    8 | expect { linux-6.6 without recheck_anon_vmas, magic: broken; }
      |                                               ^^^^^ expected a safeguard
      |
      = help: known are `recheck_anon_vma`, `retract_notifier`, `rcu_defer`
    ");
}

#[test]
fn unknown_violation() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6: broken table_not_empty; }")), @r"
    error: unknown violation `table_not_empty`
     --> test.litmus:8:28
      |
    8 | expect { linux-6.6: broken table_not_empty; }
      |                            ^^^^^^^^^^^^^^^ expected a violation
      |
      = help: did you mean `table-not-empty`?
    ");
}

#[test]
fn unknown_verdict() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6: hold; }")), @r"
    error: unknown verdict `hold`
     --> test.litmus:8:21
      |
    8 | expect { linux-6.6: hold; }
      |                     ^^^^ expected a verdict
      |
      = help: did you mean `holds`?
    ");
}

#[test]
fn unknown_option() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6 unsplitt: holds; linux-6.6 fast: holds; }")), @r"
    error: unknown option `unsplitt`
     --> test.litmus:8:20
      |
    8 | expect { linux-6.6 unsplitt: holds; linux-6.6 fast: holds; }
      |                    ^^^^^^^^ expected `:`, `unsplit`, `strict`, `tso`, `ra` or `without`
      |
      = help: did you mean `unsplit`?

    error: unknown option `fast`
     --> test.litmus:8:47
      |
    8 | expect { linux-6.6 unsplitt: holds; linux-6.6 fast: holds; }
      |                                               ^^^^ expected `:`, `unsplit`, `strict`, `tso`, `ra` or `without`
    ");
}

#[test]
fn option_twice() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6 strict unsplit strict: holds; }")), @r"
    error: `strict` stands here twice
     --> test.litmus:8:35
      |
    8 | expect { linux-6.6 strict unsplit strict: holds; }
      |                                   ^^^^^^ expected once
    ");
}

#[test]
fn safeguard_twice() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6 without rcu_defer, rcu_defer: broken; }")), @r"
    error: `rcu_defer` stands here twice
     --> test.litmus:8:39
      |
    8 | expect { linux-6.6 without rcu_defer, rcu_defer: broken; }
      |                                       ^^^^^^^^^ expected once
    ");
}

#[test]
fn colon_missing() {
    assert_snapshot!(errors(&with_claim(r"expect {
    linux-6.6 holds;
    linux-6.6 ;
    linux-6.6 without rcu_defer;
    linux-6.4: holds;
}")), @r"
    error: unknown option `holds`
     --> test.litmus:9:15
      |
    9 |     linux-6.6 holds;
      |               ^^^^^ expected `:`, `unsplit`, `strict`, `tso`, `ra` or `without`

    error: expected `:`, `unsplit`, `strict`, `tso`, `ra` or `without`, found `;`
      --> test.litmus:10:15
       |
    10 |     linux-6.6 ;
       |               ^ expected `:`, `unsplit`, `strict`, `tso`, `ra` or `without`

    error: expected `,` or `:`, found `;`
      --> test.litmus:11:32
       |
    11 |     linux-6.6 without rcu_defer;
       |                                ^ expected `,` or `:`
    ");
}

#[test]
fn verdict_missing() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6: ; }")), @r"
    error: expected a verdict, found `;`
     --> test.litmus:8:21
      |
    8 | expect { linux-6.6: ; }
      |                     ^ expected a verdict
    ");
}

#[test]
fn holds_names_no_violation() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6: holds stale-tlb; }")), @r"
    error: `holds` names no violation
     --> test.litmus:8:27
      |
    8 | expect { linux-6.6: holds stale-tlb; }
      |                           ^^^^^^^^^ expected `;`
    ");
}

#[test]
fn expectation_twice() {
    assert_snapshot!(errors(&with_claim(r"expect {
    linux-6.6 without rcu_defer, retract_notifier: holds;
    linux-6.6 without retract_notifier, rcu_defer: broken;
}")), @r"
    error: a second expectation for the same protocol and options
      --> test.litmus:10:5
       |
     9 |     linux-6.6 without rcu_defer, retract_notifier: holds;
       |     ---------------------------------------------------- the first is here
    10 |     linux-6.6 without retract_notifier, rcu_defer: broken;
       |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected one
    ");
}

#[test]
fn holds_with_exists() {
    assert_snapshot!(errors(&with_claim(r"exists (r = 1)
expect { linux-6.6: holds; linux-6.4: allowed; posted-v1: broken; }")), @r"
    error: `holds` is no verdict on `exists`
     --> test.litmus:9:21
      |
    9 | expect { linux-6.6: holds; linux-6.4: allowed; posted-v1: broken; }
      |                     ^^^^^ expected `allowed`, `forbidden`, `broken` or `exception`
    ");
}

#[test]
fn allowed_without_exists() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6: allowed; }")), @r"
    error: `allowed` is no verdict without `exists`
     --> test.litmus:8:21
      |
    8 | expect { linux-6.6: allowed; }
      |                     ^^^^^^^ expected `holds`, `broken` or `exception`
    ");
}

#[test]
fn forbidden_with_forall() {
    assert_snapshot!(errors(&with_claim(r"forall (r = 1)
expect { linux-6.6: forbidden; linux-6.4: exception lost-marker; }")), @r"
    error: `forbidden` is no verdict on `forall`
     --> test.litmus:9:21
      |
    9 | expect { linux-6.6: forbidden; linux-6.4: exception lost-marker; }
      |                     ^^^^^^^^^ expected `holds`, `broken` or `exception`
    ");
}

#[test]
fn expect_never_closed() {
    assert_snapshot!(errors(&with_claim("expect { linux-6.6: holds;")), @r"
    error: expected `}`, found the end of the file
     --> test.litmus:8:28
      |
    8 | expect { linux-6.6: holds;
      |        -                  ^ expected `}` before this
      |        |
      |        to close this block
    ");
}
