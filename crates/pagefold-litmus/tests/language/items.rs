//! Diagnostics of the file as a whole, its threads and its finals.

use insta::assert_snapshot;

use crate::common::{errors, in_items, numbered};

#[test]
fn empty_file() {
    assert_snapshot!(errors(""), @r"
    error: expected `MM`, found the end of the file
     --> test.litmus:1:1
      |
    1 |
      | ^ expected `MM`
      |
      = help: a scenario begins with `MM` and its name
    ");
}

#[test]
fn no_mm() {
    assert_snapshot!(errors(r"C uffd
{ }
"), @r"
    error: expected `MM`, found `C`
     --> test.litmus:1:1
      |
    1 | C uffd
      | ^ expected `MM`
      |
      = help: a scenario begins with `MM` and its name
    ");
}

#[test]
fn no_name() {
    assert_snapshot!(errors(r"MM { }
P0 (kernel) { }
"), @r"
    error: expected the name of the scenario, found `{`
     --> test.litmus:1:4
      |
    1 | MM { }
      |    ^ expected the name of the scenario
    ");
}

#[test]
fn no_header() {
    assert_snapshot!(errors(r"MM t
P0 (A) { nonsense(q); }
"), @r"
    error: expected `{`, found `P0`
     --> test.litmus:2:1
      |
    2 | P0 (A) { nonsense(q); }
      | ^^ expected `{`
    ");
}

#[test]
fn no_threads() {
    assert_snapshot!(errors(r"MM t
{ shmem f[1]; }
"), @r"
    error: expected a thread, found the end of the file
     --> test.litmus:3:1
      |
    3 |
      | ^ expected a thread
      |
      = help: nothing races without a thread: `P0 (A) { ... }`
    ");
}

#[test]
fn header_never_closed() {
    assert_snapshot!(errors(r"MM t
{
    shmem f[2];
P0 (kernel) { collapse(f); }
"), @r"
    error: expected `}`, found `P0`
     --> test.litmus:4:1
      |
    2 | {
      | - to close this block
    3 |     shmem f[2];
    4 | P0 (kernel) { collapse(f); }
      | ^^ expected `}` before this
    ");
}

#[test]
fn file_ends_in_a_block() {
    assert_snapshot!(errors(&in_items(r"P0 (A) {
    x[0] = 1;")), @r"
    error: expected `}`, found the end of the file
     --> test.litmus:8:15
      |
    7 | P0 (A) {
      |        - to close this block
    8 |     x[0] = 1;
      |              ^ expected `}` before this
    ");
}

#[test]
fn block_never_closed() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { x[0] = 1;
P1 (B) { y[0] = 1; }
forall (true)")), @r"
    error: expected `}`, found `P1`
     --> test.litmus:8:1
      |
    7 | P0 (A) { x[0] = 1;
      |        - to close this block
    8 | P1 (B) { y[0] = 1; }
      | ^^ expected `}` before this
    ");
}

#[test]
fn statement_runs_into_an_item() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { x[0] =
P1 (B) { y[0] = 1; z[0] = 1; }")), @r"
    error: expected a number to store, found `P1`
     --> test.litmus:8:1
      |
    8 | P1 (B) { y[0] = 1; z[0] = 1; }
      | ^^ expected a number to store

    error: `z` is not a mapping of mm `B`
     --> test.litmus:8:20
      |
    8 | P1 (B) { y[0] = 1; z[0] = 1; }
      |                    ^ expected a mapping of mm `B`
      |
      = help: the only one is `y`
    ");
}

#[test]
fn something_else_between_items() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { x[0] = 1; }
; 7 }
P1 (B) { y[0] = 1; }")), @r"
    error: expected a thread, `final`, a condition or `expect`, found `;`
     --> test.litmus:8:1
      |
    8 | ; 7 }
      | ^ expected a thread, `final`, a condition or `expect`
    ");
}

#[test]
fn items_out_of_order() {
    assert_snapshot!(errors(&in_items(r"final(A) { r = x[0]; }
P0 (A) { x[0] = 1; }
expect { linux-6.6: holds; }
forall (r = 1)")), @r"
    error: a thread stands after `final`
     --> test.litmus:8:1
      |
    8 | P0 (A) { x[0] = 1; }
      | ^^ expected before `final`
      |
      = help: the order is: threads, `final`, the condition, `expect`

    error: the condition stands after `expect`
      --> test.litmus:10:1
       |
    10 | forall (r = 1)
       | ^^^^^^ expected before `expect`
       |
       = help: the order is: threads, `final`, the condition, `expect`
    ");
}

#[test]
fn thread_without_brackets() {
    assert_snapshot!(errors(&in_items(r"P0 A { x[0] = 1; }
P1 (B) { y[0] = 1; }")), @r"
    error: expected `(`, found `A`
     --> test.litmus:7:4
      |
    7 | P0 A { x[0] = 1; }
      |    ^ expected `(`
    ");
}

#[test]
fn thread_without_an_actor() {
    assert_snapshot!(errors(&in_items("P0 () { x[0] = 1; }")), @"
    error: expected an mm, `device MM`, `vcpu MM`, `monitor MM`, `khugepaged`, `reclaim` or `kernel`, found `)`
     --> test.litmus:7:5
      |
    7 | P0 () { x[0] = 1; }
      |     ^ expected an mm, `device MM`, `vcpu MM`, `monitor MM`, `khugepaged`, `reclaim` or `kernel`
    ");
}

#[test]
fn unknown_kind_of_actor() {
    assert_snapshot!(errors(&in_items("P0 (gpu A) { r = x[0]; }")), @"
    error: expected an mm, `device MM`, `vcpu MM`, `monitor MM`, `khugepaged`, `reclaim` or `kernel`, found `gpu`
     --> test.litmus:7:5
      |
    7 | P0 (gpu A) { r = x[0]; }
      |     ^^^ expected an mm, `device MM`, `vcpu MM`, `monitor MM`, `khugepaged`, `reclaim` or `kernel`
    ");
}

#[test]
fn device_without_an_mm() {
    assert_snapshot!(errors(&in_items("P0 (device) { r = x[0]; }")), @r"
    error: expected the mm of the device, found `)`
     --> test.litmus:7:11
      |
    7 | P0 (device) { r = x[0]; }
      |           ^ expected the mm of the device
    ");
}

#[test]
fn thread_of_an_unknown_mm() {
    assert_snapshot!(errors(&in_items(r"P0 (C) { r = x[0]; e = madvise(q, MADV_COLLAPSE); }
forall (r = 1)")), @r"
    error: `C` is not an mm
     --> test.litmus:7:5
      |
    7 | P0 (C) { r = x[0]; e = madvise(q, MADV_COLLAPSE); }
      |     ^ expected an mm
      |
      = help: known are `A`, `B`
    ");
}

#[test]
fn thread_of_a_mapping() {
    assert_snapshot!(errors(&in_items("P0 (x) { x[0] = 1; }")), @r"
    error: `x` is a mapping of mm `A`, not an mm
     --> test.litmus:7:5
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); }
      |            - it is declared here
    ...
    7 | P0 (x) { x[0] = 1; }
      |     ^ expected an mm
      |
      = help: known are `A`, `B`
    ");
}

#[test]
fn two_threads_of_one_name() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { x[0] = 1; }
P0 (B) { r = y[0]; }
forall (r = 1)")), @r"
    error: a second thread `P0`
     --> test.litmus:8:1
      |
    7 | P0 (A) { x[0] = 1; }
      | -- the first is here
    8 | P0 (B) { r = y[0]; }
      | ^^ expected another name
    ");
}

#[test]
fn thread_named_after_a_call() {
    assert_snapshot!(errors(&in_items("scan (A) { x[0] = 1; }")), @r"
    error: `scan` is a call and cannot name a thread
     --> test.litmus:7:1
      |
    7 | scan (A) { x[0] = 1; }
      | ^^^^ expected another name
    ");
}

#[test]
fn too_many_threads() {
    assert_snapshot!(errors(&in_items(&numbered(17, |i| format!("P{i} (A) {{ }}")))), @r"
    error: too many threads
      --> test.litmus:23:1
       |
    23 | P16 (A) { }
       | ^^^^^^^ expected at most 16
    ");
}

#[test]
fn final_without_an_mm() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { x[0] = 1; }
final { r = x[0]; }")), @r"
    error: expected `(`, found `{`
     --> test.litmus:8:7
      |
    8 | final { r = x[0]; }
      |       ^ expected `(`
    ");
}
