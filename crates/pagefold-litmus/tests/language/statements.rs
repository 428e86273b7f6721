//! Diagnostics of statements and calls.

use insta::assert_snapshot;

use crate::common::{errors, in_items, in_thread, numbered};

#[test]
fn ranges_of_pages() {
    assert_snapshot!(errors(&in_thread(r"    madvise(x[0..2], MADV_DONTNEED);
    madvise(x[1..3], MADV_DONTNEED);
    madvise(x[1..1], MADV_DONTNEED);
    madvise(x[2..1], MADV_DONTNEED);
    madvise(x[2], MADV_DONTNEED);
    madvise(x[0..], MADV_DONTNEED);
    munmap(1);
    munmap(x|y);
    mincore(x[0..1]);
    mincore(x);
    x[0..1] = 1;")), @"
    error: `x` ends before page 2
     --> test.litmus:9:18
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); }
      |            - it has 2 pages
    ...
    9 |     madvise(x[1..3], MADV_DONTNEED);
      |                  ^ expected at most 2

    error: this range has no page
      --> test.litmus:10:15
       |
    10 |     madvise(x[1..1], MADV_DONTNEED);
       |               ^^^^ expected more than 1 after the dots

    error: this range has no page
      --> test.litmus:11:15
       |
    11 |     madvise(x[2..1], MADV_DONTNEED);
       |               ^^^^ expected more than 2 after the dots

    error: there is no page 2 in `f`
      --> test.litmus:12:15
       |
     3 |     shmem f[2];
       |           - it has 2 pages
    ...
    12 |     madvise(x[2], MADV_DONTNEED);
       |               ^ expected 0 to 1

    error: expected the number of the page after the last, found `]`
      --> test.litmus:13:18
       |
    13 |     madvise(x[0..], MADV_DONTNEED);
       |                  ^ expected the number of the page after the last

    error: expected a mapping `x`, or pages of it, `x[i]` or `x[i..j]`, found the number `1`
      --> test.litmus:14:12
       |
    14 |     munmap(1);
       |            ^ expected a mapping `x`, or pages of it, `x[i]` or `x[i..j]`

    error: expected a mapping `x`, or pages of it, `x[i]` or `x[i..j]`, found names joined by `|`
      --> test.litmus:15:12
       |
    15 |     munmap(x|y);
       |            ^^^ expected a mapping `x`, or pages of it, `x[i]` or `x[i..j]`

    error: expected a page of a mapping, `x[i]`, found the pages `x[...]`
      --> test.litmus:16:13
       |
    16 |     mincore(x[0..1]);
       |             ^^^^^^^ expected a page of a mapping, `x[i]`

    error: expected a page of a mapping, `x[i]`, found `x`
      --> test.litmus:17:13
       |
    17 |     mincore(x);
       |             ^ expected a page of a mapping, `x[i]`

    error: expected `]`, found `..`
      --> test.litmus:18:8
       |
    18 |     x[0..1] = 1;
       |        ^^ expected `]`
    ");
}

#[test]
fn no_statement() {
    assert_snapshot!(errors(&in_thread(r"    7;
    x[0] = 1;")), @r"
    error: expected a statement, found the number `7`
     --> test.litmus:8:5
      |
    8 |     7;
      |     ^ expected a statement
    ");
}

#[test]
fn half_a_statement() {
    assert_snapshot!(errors(&in_thread("    x;")), @r"
    error: expected `=`, `[`, `(` or `:`, found `;`
     --> test.litmus:8:6
      |
    8 |     x;
      |      ^ expected `=`, `[`, `(` or `:`
    ");
}

#[test]
fn semicolon_missing_at_the_end_of_a_line() {
    assert_snapshot!(errors(&in_thread(r"    x[0] = 1
    x[1] = 2;")), @r"
    error: expected `;`, found `x`
     --> test.litmus:8:13
      |
    8 |     x[0] = 1
      |             ^ expected `;`
    ");
}

#[test]
fn semicolon_missing_in_a_line() {
    assert_snapshot!(errors(&in_thread(r"    x[0] = 1 x[1] = 2;
    x[2] = 3;")), @r"
    error: expected `;`, found `x`
     --> test.litmus:8:14
      |
    8 |     x[0] = 1 x[1] = 2;
      |              ^ expected `;`

    error: there is no page 2 in `f`
     --> test.litmus:9:7
      |
    3 |     shmem f[2];
      |           - it has 2 pages
    ...
    9 |     x[2] = 3;
      |       ^ expected 0 to 1
    ");
}

#[test]
fn semicolon_missing_at_the_end_of_a_block() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { x[0] = 1 }
P1 (B) { y[0] = 1 }")), @r"
    error: expected `;`, found `}`
     --> test.litmus:7:18
      |
    7 | P0 (A) { x[0] = 1 }
      |                  ^ expected `;`

    error: expected `;`, found `}`
     --> test.litmus:8:18
      |
    8 | P1 (B) { y[0] = 1 }
      |                  ^ expected `;`
    ");
}

#[test]
fn store_of_a_register() {
    assert_snapshot!(errors(&in_thread(r"    r = x[0];
    x[1] = r;")), @r"
    error: expected a number to store, found `r`
     --> test.litmus:9:12
      |
    9 |     x[1] = r;
      |            ^ expected a number to store
    ");
}

#[test]
fn register_set_to_a_number() {
    assert_snapshot!(errors(&in_thread("    r = 7;")), @r"
    error: expected a page `x[i]` or a call, found the number `7`
     --> test.litmus:8:9
      |
    8 |     r = 7;
      |         ^ expected a page `x[i]` or a call
      |
      = help: a register takes what a load or a call gives
    ");
}

#[test]
fn register_set_to_a_register() {
    assert_snapshot!(errors(&in_thread("    r = q;")), @r"
    error: expected a page `x[i]` or a call, found `q`
     --> test.litmus:8:9
      |
    8 |     r = q;
      |         ^ expected a page `x[i]` or a call
    ");
}

#[test]
fn page_without_a_number() {
    assert_snapshot!(errors(&in_thread("    x[i] = 1;")), @r"
    error: expected the number of a page, found `i`
     --> test.litmus:8:7
      |
    8 |     x[i] = 1;
      |       ^ expected the number of a page
    ");
}

#[test]
fn page_not_closed() {
    assert_snapshot!(errors(&in_thread("    x[0 = 1;")), @r"
    error: expected `]`, found `=`
     --> test.litmus:8:9
      |
    8 |     x[0 = 1;
      |         ^ expected `]`
    ");
}

#[test]
fn page_beyond_the_object() {
    assert_snapshot!(errors(&in_thread(r"    x[2] = 1;
    r = x[18446744073709551615];")), @r"
    error: there is no page 2 in `f`
     --> test.litmus:8:7
      |
    3 |     shmem f[2];
      |           - it has 2 pages
    ...
    8 |     x[2] = 1;
      |       ^ expected 0 to 1

    error: there is no page 18446744073709551615 in `f`
     --> test.litmus:9:11
      |
    3 |     shmem f[2];
      |           - it has 2 pages
    ...
    9 |     r = x[18446744073709551615];
      |           ^^^^^^^^^^^^^^^^^^^^ expected 0 to 1
    ");
}

#[test]
fn page_beyond_a_single_page() {
    assert_snapshot!(errors(r"MM t
{
    shmem f[1];
}
P0 (kernel) { rmap_walk(f[1]); }
"), @r"
    error: there is no page 1 in `f`
     --> test.litmus:5:27
      |
    3 |     shmem f[1];
      |           - it has 1 page
    4 | }
    5 | P0 (kernel) { rmap_walk(f[1]); }
      |                           ^ expected 0
    ");
}

#[test]
fn unknown_mapping() {
    assert_snapshot!(errors(&in_thread("    X[0] = 1;")), @r"
    error: `X` is not a mapping of mm `A`
     --> test.litmus:8:5
      |
    8 |     X[0] = 1;
      |     ^ expected a mapping of mm `A`
      |
      = help: did you mean `x`?
    ");
}

#[test]
fn mapping_of_another_mm() {
    assert_snapshot!(errors(&in_thread("    r = y[0];")), @r"
    error: `y` is a mapping of mm `B`, not a mapping of mm `A`
     --> test.litmus:8:9
      |
    5 |     mm B { y: mmap(f, MAP_PRIVATE); }
      |            - it is declared here
    ...
    8 |     r = y[0];
      |         ^ expected a mapping of mm `A`
      |
      = help: the only one is `x`
    ");
}

#[test]
fn object_instead_of_a_mapping() {
    assert_snapshot!(errors(&in_thread("    f[0] = 1;")), @r"
    error: `f` is an object, not a mapping of mm `A`
     --> test.litmus:8:5
      |
    3 |     shmem f[2];
      |           - it is declared here
    ...
    8 |     f[0] = 1;
      |     ^ expected a mapping of mm `A`
      |
      = help: the only one is `x`
    ");
}

#[test]
fn mapping_created_later() {
    assert_snapshot!(errors(&in_thread(r"    z[0] = 1;
    z: mmap(f, MAP_SHARED);")), @r"
    error: `z` is not mapped yet
     --> test.litmus:8:5
      |
    8 |     z[0] = 1;
      |     ^ expected after the `mmap`
    9 |     z: mmap(f, MAP_SHARED);
      |     - it is mapped here
    ");
}

#[test]
fn mapping_created_by_a_thread_used_in_the_setup() {
    assert_snapshot!(errors(r"MM t
{
    shmem f[2];
    mm A { }
    A: z[0] = 1;
}
P0 (A) { z: mmap(f, MAP_SHARED); }
"), @r"
    error: `z` is not mapped yet
     --> test.litmus:5:8
      |
    5 |     A: z[0] = 1;
      |        ^ expected after the `mmap`
    6 | }
    7 | P0 (A) { z: mmap(f, MAP_SHARED); }
      |          - it is mapped here
    ");
}

#[test]
fn mapping_in_a_loop() {
    assert_snapshot!(errors(&in_thread(r"    repeat 2 { repeat 2 { z: mmap(f, MAP_SHARED); } }
    z[0] = 1;")), @r"
    error: `z` would be mapped again and again
     --> test.litmus:8:27
      |
    8 |     repeat 2 { repeat 2 { z: mmap(f, MAP_SHARED); } }
      |                           ^^^^^^^^^^^^^^^^^^^^^^ expected outside of `repeat`
    ");
}

#[test]
fn mapping_without_a_name() {
    assert_snapshot!(errors(&in_thread(r"    mmap(f, MAP_SHARED);
    z = mmap(f, MAP_SHARED);
    z[0] = 1;")), @r"
    error: this mapping has no name
     --> test.litmus:8:5
      |
    8 |     mmap(f, MAP_SHARED);
      |     ^^^^^^^^^^^^^^^^^^^ expected `NAME:` before it
      |
      = help: write `x: mmap(f, MAP_SHARED);`

    error: expected `:`, found `=`
     --> test.litmus:9:7
      |
    9 |     z = mmap(f, MAP_SHARED);
      |       ^ expected `:`
      |
      = help: a mapping is named with a colon: `z: mmap(f, MAP_SHARED);`
    ");
}

#[test]
fn mapping_by_a_device() {
    assert_snapshot!(errors(&in_items("P0 (device A) { z: mmap(f, MAP_SHARED); r = z[0]; }")), @r"
    error: a `device` cannot use `mmap`
     --> test.litmus:7:20
      |
    7 | P0 (device A) { z: mmap(f, MAP_SHARED); r = z[0]; }
      |                    ^^^^ expected in the `mm` of the header or a thread of a process
    ");
}

#[test]
fn unknown_call() {
    assert_snapshot!(errors(&in_thread(r"    madvice(x, MADV_COLLAPSE);
    mbind(x);
    load(x[0]);")), @"
    error: unknown call `madvice`
     --> test.litmus:8:5
      |
    8 |     madvice(x, MADV_COLLAPSE);
      |     ^^^^^^^ expected a call for a thread of a process
      |
      = help: did you mean `madvise`?

    error: unknown call `mbind`
     --> test.litmus:9:5
      |
    9 |     mbind(x);
      |     ^^^^^ expected a call for a thread of a process

    error: unknown call `load`
      --> test.litmus:10:5
       |
    10 |     load(x[0]);
       |     ^^^^ expected a call for a thread of a process
    ");
}

#[test]
fn unknown_call_of_khugepaged() {
    assert_snapshot!(errors(&in_items("P0 (khugepaged) { sweep(A); }")), @r"
    error: unknown call `sweep`
     --> test.litmus:7:19
      |
    7 | P0 (khugepaged) { sweep(A); }
      |                   ^^^^^ expected a call for `khugepaged`
      |
      = help: the only one is `scan`
    ");
}

#[test]
fn call_not_for_a_thread() {
    assert_snapshot!(errors(&in_thread(r"    scan(A);
    r = rmap_walk(f[0]);
    uffd(x, MISSING);")), @"
    error: a thread of a process cannot use `scan`
     --> test.litmus:8:5
      |
    8 |     scan(A);
      |     ^^^^ expected in `khugepaged`

    error: a thread of a process cannot use `rmap_walk`
     --> test.litmus:9:9
      |
    9 |     r = rmap_walk(f[0]);
      |         ^^^^^^^^^ expected in `reclaim` or the `kernel`

    error: a thread of a process cannot use `uffd`
      --> test.litmus:10:5
       |
    10 |     uffd(x, MISSING);
       |     ^^^^ expected in the `mm` of the header
       |
       = help: a thread calls `uffd_register`
    ");
}

#[test]
fn call_not_for_a_device() {
    assert_snapshot!(errors(&in_items(r"P0 (device A) { munmap(x); }
P1 (vcpu A) { prefetch(x[0]); }")), @r"
    error: a `device` cannot use `munmap`
     --> test.litmus:7:17
      |
    7 | P0 (device A) { munmap(x); }
      |                 ^^^^^^ expected in a thread of a process

    error: a `vcpu` cannot use `prefetch`
     --> test.litmus:8:15
      |
    8 | P1 (vcpu A) { prefetch(x[0]); }
      |               ^^^^^^^^ expected in a thread of a process or a `device`
    ");
}

#[test]
fn access_by_the_kernel() {
    assert_snapshot!(errors(&in_items(r"P0 (kernel) { x[0] = 1; r = x[0]; }
P1 (khugepaged) { x[0]; }
forall (r = 1)")), @r"
    error: the `kernel` cannot write a page
     --> test.litmus:7:15
      |
    7 | P0 (kernel) { x[0] = 1; r = x[0]; }
      |               ^^^^ expected in a thread of a process, a `device` or a `vcpu`

    error: the `kernel` cannot read a page
     --> test.litmus:7:29
      |
    7 | P0 (kernel) { x[0] = 1; r = x[0]; }
      |                             ^^^^ expected in a thread of a process, a `device`, a `vcpu`, a `monitor` or `final`

    error: `khugepaged` cannot read a page
     --> test.litmus:8:19
      |
    8 | P1 (khugepaged) { x[0]; }
      |                   ^^^^ expected in a thread of a process, a `device`, a `vcpu`, a `monitor` or `final`
    ");
}

#[test]
fn store_in_final() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { }
final(A) { x[0] = 1; }")), @r"
    error: `final` cannot write a page
     --> test.litmus:8:12
      |
    8 | final(A) { x[0] = 1; }
      |            ^^^^ expected in a thread of a process, a `device` or a `vcpu`
    ");
}

#[test]
fn too_few_arguments() {
    assert_snapshot!(errors(&in_thread(r"    madvise(x);
    exit(x);")), @"
    error: `madvise` takes 2 arguments, found 1
     --> test.litmus:8:5
      |
    8 |     madvise(x);
      |     ^^^^^^^^^^ expected 2 arguments
      |
      = help: it is written `madvise(x[i..j], MADV_COLLAPSE/MADV_DONTNEED/MADV_COLD/MADV_PAGEOUT/MADV_GUARD_INSTALL/MADV_GUARD_REMOVE/MADV_HUGEPAGE/MADV_NOHUGEPAGE/MADV_POPULATE_READ/MADV_POPULATE_WRITE)`

    error: `exit` takes 0 arguments, found 1
     --> test.litmus:9:5
      |
    9 |     exit(x);
      |     ^^^^^^^ expected 0 arguments
      |
      = help: it is written `exit()`
    ");
}

#[test]
fn too_many_arguments() {
    assert_snapshot!(errors(&in_thread("    uffdio_writeprotect(x[0], 0, 1);")), @r"
    error: `uffdio_writeprotect` takes 1 or 2 arguments, found 3
     --> test.litmus:8:5
      |
    8 |     uffdio_writeprotect(x[0], 0, 1);
      |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected 1 or 2 arguments
      |
      = help: it is written `uffdio_writeprotect(x[i][, 0])`
    ");
}

#[test]
fn argument_of_the_wrong_shape() {
    assert_snapshot!(errors(&in_thread(r"    munmap(x[0]);
    uffdio_copy(x, y);
    madvise(7, MADV_COLLAPSE|MADV_DONTNEED);
    uffdio_writeprotect(x[0], 1);")), @"
    error: expected a page of a mapping, `x[i]`, found `x`
     --> test.litmus:9:17
      |
    9 |     uffdio_copy(x, y);
      |                 ^ expected a page of a mapping, `x[i]`

    error: expected a number, found `y`
     --> test.litmus:9:20
      |
    9 |     uffdio_copy(x, y);
      |                    ^ expected a number

    error: expected a mapping `x`, or pages of it, `x[i]` or `x[i..j]`, found the number `7`
      --> test.litmus:10:13
       |
    10 |     madvise(7, MADV_COLLAPSE|MADV_DONTNEED);
       |             ^ expected a mapping `x`, or pages of it, `x[i]` or `x[i..j]`

    error: expected `MADV_COLLAPSE` or `MADV_DONTNEED` or `MADV_COLD` or `MADV_PAGEOUT` or `MADV_GUARD_INSTALL` or `MADV_GUARD_REMOVE` or `MADV_HUGEPAGE` or `MADV_NOHUGEPAGE` or `MADV_POPULATE_READ` or `MADV_POPULATE_WRITE`, found names joined by `|`
      --> test.litmus:10:16
       |
    10 |     madvise(7, MADV_COLLAPSE|MADV_DONTNEED);
       |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected `MADV_COLLAPSE` or `MADV_DONTNEED` or `MADV_COLD` or `MADV_PAGEOUT` or `MADV_GUARD_INSTALL` or `MADV_GUARD_REMOVE` or `MADV_HUGEPAGE` or `MADV_NOHUGEPAGE` or `MADV_POPULATE_READ` or `MADV_POPULATE_WRITE`

    error: expected `0`, found the number `1`
      --> test.litmus:11:31
       |
    11 |     uffdio_writeprotect(x[0], 1);
       |                               ^ expected `0`
    ");
}

#[test]
fn argument_of_the_wrong_shape_in_the_kernel() {
    assert_snapshot!(errors(&in_items(r"P0 (kernel) { rmap_walk(f); collapse(f[0]); }
P1 (khugepaged) { scan(x); scan(1); }")), @r"
    error: expected a page of an object, `f[i]`, found `f`
     --> test.litmus:7:25
      |
    7 | P0 (kernel) { rmap_walk(f); collapse(f[0]); }
      |                         ^ expected a page of an object, `f[i]`

    error: expected an object, found the page `f[...]`
     --> test.litmus:7:38
      |
    7 | P0 (kernel) { rmap_walk(f); collapse(f[0]); }
      |                                      ^^^^ expected an object

    error: `x` is a mapping of mm `A`, not an mm
     --> test.litmus:8:24
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); }
      |            - it is declared here
    ...
    8 | P1 (khugepaged) { scan(x); scan(1); }
      |                        ^ expected an mm
      |
      = help: known are `A`, `B`

    error: expected an mm, found the number `1`
     --> test.litmus:8:33
      |
    8 | P1 (khugepaged) { scan(x); scan(1); }
      |                                 ^ expected an mm
    ");
}

#[test]
fn argument_missing() {
    assert_snapshot!(errors(&in_thread("    munmap(,);")), @r"
    error: expected an argument, found `,`
     --> test.litmus:8:12
      |
    8 |     munmap(,);
      |            ^ expected an argument
    ");
}

#[test]
fn arguments_without_a_comma() {
    assert_snapshot!(errors(&in_thread("    uffdio_copy(x[0] 7);")), @r"
    error: expected `,` or `)`, found the number `7`
     --> test.litmus:8:22
      |
    8 |     uffdio_copy(x[0] 7);
      |                      ^ expected `,` or `)`
    ");
}

#[test]
fn unknown_advice() {
    assert_snapshot!(errors(&in_thread("    madvise(x, MADV_COLAPSE);")), @"
    error: expected `MADV_COLLAPSE` or `MADV_DONTNEED` or `MADV_COLD` or `MADV_PAGEOUT` or `MADV_GUARD_INSTALL` or `MADV_GUARD_REMOVE` or `MADV_HUGEPAGE` or `MADV_NOHUGEPAGE` or `MADV_POPULATE_READ` or `MADV_POPULATE_WRITE`, found `MADV_COLAPSE`
     --> test.litmus:8:16
      |
    8 |     madvise(x, MADV_COLAPSE);
      |                ^^^^^^^^^^^^ expected `MADV_COLLAPSE` or `MADV_DONTNEED` or `MADV_COLD` or `MADV_PAGEOUT` or `MADV_GUARD_INSTALL` or `MADV_GUARD_REMOVE` or `MADV_HUGEPAGE` or `MADV_NOHUGEPAGE` or `MADV_POPULATE_READ` or `MADV_POPULATE_WRITE`
      |
      = help: did you mean `MADV_COLLAPSE`?
    ");
}

#[test]
fn result_of_nothing() {
    assert_snapshot!(errors(&in_thread(r"    r = exit();
    q = prefetch(x[0]);")), @r"
    error: `exit` returns nothing
     --> test.litmus:8:5
      |
    8 |     r = exit();
      |     ^ expected no register

    error: `prefetch` returns nothing
     --> test.litmus:9:5
      |
    9 |     q = prefetch(x[0]);
      |     ^ expected no register
    ");
}

#[test]
fn exit_in_the_set_up() {
    let source = "MM exit
{
    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); }
    A: exit();
}
P0 (A) { x[0]; }
";
    assert_snapshot!(errors(source), @"
    error: the set-up cannot end a thread: none runs yet
     --> test.litmus:5:8
      |
    5 |     A: exit();
      |        ^^^^ expected in a thread of a process
    ");
}

#[test]
fn register_named_after_a_mapping() {
    assert_snapshot!(errors(&in_thread(r"    x = x[0];
    y = x[0];
    f = x[0];")), @r"
    error: `x` is the name of a mapping of mm `A` already
     --> test.litmus:8:5
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); }
      |            - it is declared here
    ...
    8 |     x = x[0];
      |     ^ expected another name for a register

    error: `y` is the name of a mapping of mm `B` already
     --> test.litmus:9:5
      |
    5 |     mm B { y: mmap(f, MAP_PRIVATE); }
      |            - it is declared here
    ...
    9 |     y = x[0];
      |     ^ expected another name for a register

    error: `f` is the name of an object already
      --> test.litmus:10:5
       |
     3 |     shmem f[2];
       |           - it is declared here
    ...
    10 |     f = x[0];
       |     ^ expected another name for a register
    ");
}

#[test]
fn register_named_after_a_symbol() {
    assert_snapshot!(errors(&in_thread("    EAGAIN = x[0];")), @r"
    error: `EAGAIN` is a symbol and cannot name a register
     --> test.litmus:8:5
      |
    8 |     EAGAIN = x[0];
      |     ^^^^^^ expected another name
    ");
}

#[test]
fn register_of_two_threads() {
    assert_snapshot!(errors(&in_items(r"P0 (A) { r = x[0]; }
P1 (B) { r = y[0]; }")), @r"
    error: register `r` is written by `P0` too
     --> test.litmus:8:10
      |
    7 | P0 (A) { r = x[0]; }
      |          - `P0` writes it here
    8 | P1 (B) { r = y[0]; }
      |          ^ expected another register
      |
      = help: registers are global names
    ");
}

#[test]
fn too_many_registers() {
    assert_snapshot!(errors(&in_thread(&numbered(257, |i| format!("    r{i} = x[0];")))), @r"
    error: too many registers
       --> test.litmus:264:5
        |
    264 |     r256 = x[0];
        |     ^^^^ expected at most 256
    ");
}

#[test]
fn loop_without_a_bound() {
    assert_snapshot!(errors(&in_thread(r"    repeat { x[0] = 1; }
    while (r = 1) { x[9] = 1; }
    loop { x[1] = 1; }")), @r"
    error: a loop must have a bound
     --> test.litmus:8:12
      |
    8 |     repeat { x[0] = 1; }
      |            ^ expected `repeat` and a number from 1 to 16
      |
      = help: write `repeat 3 { ... }`

    error: a loop must have a bound
     --> test.litmus:9:5
      |
    9 |     while (r = 1) { x[9] = 1; }
      |     ^^^^^ expected `repeat` and a number from 1 to 16
      |
      = help: write `repeat 3 { ... }`

    error: there is no page 9 in `f`
     --> test.litmus:9:23
      |
    3 |     shmem f[2];
      |           - it has 2 pages
    ...
    9 |     while (r = 1) { x[9] = 1; }
      |                       ^ expected 0 to 1

    error: a loop must have a bound
      --> test.litmus:10:5
       |
    10 |     loop { x[1] = 1; }
       |     ^^^^ expected `repeat` and a number from 1 to 16
       |
       = help: write `repeat 3 { ... }`
    ");
}

#[test]
fn loop_never_or_too_often() {
    assert_snapshot!(errors(&in_thread(r"    repeat 0 { x[0] = 1; }
    repeat 17 { x[2] = 1; }")), @r"
    error: a loop cannot run 0 times
     --> test.litmus:8:12
      |
    8 |     repeat 0 { x[0] = 1; }
      |            ^ expected 1 to 16

    error: a loop cannot run 17 times
     --> test.litmus:9:12
      |
    9 |     repeat 17 { x[2] = 1; }
      |            ^^ expected 1 to 16

    error: there is no page 2 in `f`
     --> test.litmus:9:19
      |
    3 |     shmem f[2];
      |           - it has 2 pages
    ...
    9 |     repeat 17 { x[2] = 1; }
      |                   ^ expected 0 to 1
    ");
}

#[test]
fn loop_without_a_body() {
    assert_snapshot!(errors(&in_thread(r"    repeat 2 x[0] = 1;
    while;")), @r"
    error: expected `{`, found `x`
     --> test.litmus:8:14
      |
    8 |     repeat 2 x[0] = 1;
      |              ^ expected `{`

    error: a loop must have a bound
     --> test.litmus:9:5
      |
    9 |     while;
      |     ^^^^^ expected `repeat` and a number from 1 to 16
      |
      = help: write `repeat 3 { ... }`
    ");
}

#[test]
fn loops_too_deep() {
    assert_snapshot!(errors(&in_thread("    repeat 2 { repeat 2 { repeat 2 { repeat 2 { x[0] = 1; } } } }")), @r"
    error: too many loops in each other
     --> test.litmus:8:47
      |
    8 |     repeat 2 { repeat 2 { repeat 2 { repeat 2 { x[0] = 1; } } } }
      |                                               ^ expected at most 3
    ");
}
