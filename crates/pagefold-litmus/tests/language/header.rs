//! Diagnostics of the header.

use insta::assert_snapshot;

use pagefold_litmus::{Created, MappingId, MmId};

use crate::common::{check, errors, in_header, numbered};

#[test]
fn statement_without_an_mm() {
    assert_snapshot!(errors(&in_header("    x[0] = 1;")), @"
    error: expected `shmem`, `file`, `mm`, `reuse frames`, `shmem_enabled deny`, `format` or a set-up statement after `MM:`, found `x`
     --> test.litmus:3:5
      |
    3 |     x[0] = 1;
      |     ^ expected `shmem`, `file`, `mm`, `reuse frames`, `shmem_enabled deny`, `format` or a set-up statement after `MM:`
      |
      = help: set-up statements begin with the mm they run in: `A: x[0] = 1;`
    ");
}

#[test]
fn formats() {
    assert_snapshot!(errors(&in_header(r"    format aarch46;
    mm A { x: mmap(ANON[2], MAP_PRIVATE); }")), @"
    error: unknown format `aarch46`
     --> test.litmus:3:12
      |
    3 |     format aarch46;
      |            ^^^^^^^ expected a format
      |
      = help: did you mean `aarch64`?
    ");
    assert_snapshot!(errors(&in_header(r"    format aarch64;
    format risc-v;
    mm A { x: mmap(ANON[2], MAP_PRIVATE); }")), @"
    error: a second format
     --> test.litmus:4:12
      |
    4 |     format risc-v;
      |            ^^^^^^ expected one
    ");
}

#[test]
fn object_without_a_size() {
    assert_snapshot!(errors(&in_header(r"    shmem f;
    mm A { x: mmap(f, MAP_SHARED); }")), @r"
    error: expected `[`, found `;`
     --> test.litmus:3:12
      |
    3 |     shmem f;
      |            ^ expected `[`
    ");
}

#[test]
fn object_without_pages() {
    assert_snapshot!(errors(&in_header(r"    shmem f[0];
    mm A { x: mmap(f, MAP_SHARED); }")), @r"
    error: an object cannot have 0 pages
     --> test.litmus:3:13
      |
    3 |     shmem f[0];
      |             ^ expected 1 to 512
    ");
}

#[test]
fn object_too_large() {
    assert_snapshot!(errors(&in_header("    shmem f[513];")), @r"
    error: an object cannot have 513 pages
     --> test.litmus:3:13
      |
    3 |     shmem f[513];
      |             ^^^ expected 1 to 512
    ");
}

#[test]
fn content_is_no_number() {
    assert_snapshot!(errors(&in_header("    shmem f[2] = { 1, empty };")), @r"
    error: expected a number or `hole`, found `empty`
     --> test.litmus:3:23
      |
    3 |     shmem f[2] = { 1, empty };
      |                       ^^^^^ expected a number or `hole`
    ");
}

#[test]
fn contents_without_a_comma() {
    assert_snapshot!(errors(&in_header("    shmem f[2] = { 1 2 };")), @r"
    error: expected `,` or `}`, found the number `2`
     --> test.litmus:3:22
      |
    3 |     shmem f[2] = { 1 2 };
      |                      ^ expected `,` or `}`
    ");
}

#[test]
fn too_much_content() {
    assert_snapshot!(errors(&in_header("    shmem f[2] = { 1, hole, 3 };")), @r"
    error: `f` has no page for this content
     --> test.litmus:3:29
      |
    3 |     shmem f[2] = { 1, hole, 3 };
      |             -               ^ expected at most 2 pages
      |             |
      |             the size is given here
    ");
}

#[test]
fn two_objects_of_one_name() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    shmem f[4];")), @r"
    error: `f` is the name of an object already
     --> test.litmus:4:11
      |
    3 |     shmem f[2];
      |           - it is declared here
    4 |     shmem f[4];
      |           ^ expected another name for an object
    ");
}

#[test]
fn mm_named_after_an_object() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm f { }")), @r"
    error: `f` is the name of an object already
     --> test.litmus:4:8
      |
    3 |     shmem f[2];
      |           - it is declared here
    4 |     mm f { }
      |        ^ expected another name for an mm
    ");
}

#[test]
fn mapping_named_after_a_keyword() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { final: mmap(f, MAP_SHARED); }")), @r"
    error: `final` is a keyword and cannot name a mapping
     --> test.litmus:4:12
      |
    4 |     mm A { final: mmap(f, MAP_SHARED); }
      |            ^^^^^ expected another name
    ");
}

#[test]
fn mapping_named_after_a_symbol() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { EAGAIN: mmap(f, MAP_SHARED); }
    mm B { WP: mmap(f, MAP_SHARED); }")), @r"
    error: `EAGAIN` is a symbol and cannot name a mapping
     --> test.litmus:4:12
      |
    4 |     mm A { EAGAIN: mmap(f, MAP_SHARED); }
      |            ^^^^^^ expected another name

    error: `WP` is a constant and cannot name a mapping
     --> test.litmus:5:12
      |
    5 |     mm B { WP: mmap(f, MAP_SHARED); }
      |            ^^ expected another name
    ");
}

#[test]
fn name_with_a_dash() {
    assert_snapshot!(errors(&in_header("    shmem my-file[2];")), @r"
    error: `my-file` cannot name an object
     --> test.litmus:3:11
      |
    3 |     shmem my-file[2];
      |           ^^^^^^^ expected only letters, digits and `_`
    ");
}

#[test]
fn name_too_long() {
    assert_snapshot!(errors(&in_header(&format!("    shmem {}[2];", "f".repeat(65)))), @r"
    error: this name is too long
     --> test.litmus:3:11
      |
    3 |     shmem fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff[2];
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected at most 64 characters
    ");
}

#[test]
fn two_mappings_of_one_name() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); x: mmap(f, MAP_PRIVATE); }")), @r"
    error: `x` is the name of a mapping of mm `A` already
     --> test.litmus:4:36
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); x: mmap(f, MAP_PRIVATE); }
      |            - it is declared here   ^ expected another name for a mapping
    ");
}

#[test]
fn mapping_with_equal() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { x = mmap(f, MAP_SHARED); uffd(x, WP); }")), @r"
    error: expected `:`, found `=`
     --> test.litmus:4:14
      |
    4 |     mm A { x = mmap(f, MAP_SHARED); uffd(x, WP); }
      |              ^ expected `:`
      |
      = help: a mapping is named with a colon: `x: mmap(f, MAP_SHARED);`
    ");
}

#[test]
fn mapping_without_a_name() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { mmap(f, MAP_SHARED); }")), @r"
    error: this mapping has no name
     --> test.litmus:4:12
      |
    4 |     mm A { mmap(f, MAP_SHARED); }
      |            ^^^^^^^^^^^^^^^^^^^ expected `NAME:` before it
      |
      = help: write `x: mmap(f, MAP_SHARED);`
    ");
}

#[test]
fn mapping_by_another_call() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { x: map(f, MAP_SHARED); y: mremap(f); }")), @r"
    error: `map` makes no mapping
     --> test.litmus:4:15
      |
    4 |     mm A { x: map(f, MAP_SHARED); y: mremap(f); }
      |               ^^^ expected `mmap` after the colon
      |
      = help: did you mean `mmap`?

    error: `mremap` makes no mapping
     --> test.litmus:4:38
      |
    4 |     mm A { x: map(f, MAP_SHARED); y: mremap(f); }
      |                                      ^^^^^^ expected `mmap` after the colon
      |
      = help: did you mean `mmap`?
    ");
}

#[test]
fn mapping_of_an_unknown_object() {
    assert_snapshot!(errors(&in_header(r"    shmem pool[2];
    file disk[2];
    mm A { x: mmap(poll, MAP_SHARED); uffd(x, WP); }")), @"
    error: `poll` is not an object
     --> test.litmus:5:20
      |
    5 |     mm A { x: mmap(poll, MAP_SHARED); uffd(x, WP); }
      |                    ^^^^ expected an object
      |
      = help: did you mean `pool`?
    ");
}

#[test]
fn a_file_is_declared_as_an_object() {
    assert_snapshot!(errors(&in_header("    file f[2] = { 1, 2, 3 };\n    file file[1];")), @"
    error: `f` has no page for this content
     --> test.litmus:3:25
      |
    3 |     file f[2] = { 1, 2, 3 };
      |            -            ^ expected at most 2 pages
      |            |
      |            the size is given here

    error: `file` is a keyword and cannot name an object
     --> test.litmus:4:10
      |
    4 |     file file[1];
      |          ^^^^ expected another name
    ");
}

#[test]
fn anonymous_memory_is_private() {
    assert_snapshot!(errors(&in_header("    mm A { a: mmap(ANON[2], MAP_SHARED); }")), @r"
    error: a shared mapping needs an object
     --> test.litmus:3:15
      |
    3 |     mm A { a: mmap(ANON[2], MAP_SHARED); }
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^ expected `MAP_PRIVATE`
      |
      = help: shared anonymous memory is an object of its own: `shmem f[2];`, `mmap(f, MAP_SHARED)`
    ");
}

#[test]
fn anonymous_memory_has_a_size() {
    assert_snapshot!(errors(&in_header(r"    mm A { a: mmap(ANON, MAP_PRIVATE); }
    mm B { b: mmap(ANON[0], MAP_PRIVATE); }")), @r"
    error: expected an object, or so many pages of anonymous memory, `ANON[n]`, found `ANON`
     --> test.litmus:3:20
      |
    3 |     mm A { a: mmap(ANON, MAP_PRIVATE); }
      |                    ^^^^ expected an object, or so many pages of anonymous memory, `ANON[n]`

    error: anonymous memory cannot have 0 pages
     --> test.litmus:4:25
      |
    4 |     mm B { b: mmap(ANON[0], MAP_PRIVATE); }
      |                         ^ expected 1 to 512
    ");
}

#[test]
fn a_child_maps_what_its_parent_does() {
    let source = "MM t { mm A { a: mmap(ANON[2], MAP_PRIVATE); uffd(a, WP); } mm B = fork(A); }
        P (A) { fork(B); } Q (B) { a[1] = 1; }";
    let scenario = check(source).expect("a good scenario");
    assert_eq!(scenario.mms[1].parent, Some(MmId::new(0)));
    let [parent, child] = &scenario.mappings[..] else {
        panic!("one mapping each");
    };
    assert_eq!(child.created, Created::Fork(MappingId::new(0)));
    assert_eq!(child.backing, parent.backing);
    assert_eq!((parent.uffd.is_some(), child.uffd), (true, None));
}

#[test]
fn a_child_of_nobody() {
    assert_snapshot!(errors(&in_header("    mm A { }\n    mm B = fork(C);\n    mm D = A;")), @"
    error: `C` is not an mm
     --> test.litmus:4:17
      |
    4 |     mm B = fork(C);
      |                 ^ expected an mm
      |
      = help: the only one is `A`

    error: expected `fork`, found `A`
     --> test.litmus:5:12
      |
    5 |     mm D = A;
      |            ^ expected `fork`
    ");
}

#[test]
fn a_page_beyond_anonymous_memory() {
    assert_snapshot!(errors(&in_header(r"    mm A { a: mmap(ANON[2], MAP_PRIVATE); }
    A: a[1] = 1; a[2] = 1;")), @r"
    error: there is no page 2 in `a`
     --> test.litmus:4:20
      |
    3 |     mm A { a: mmap(ANON[2], MAP_PRIVATE); }
      |            - it has 2 pages
    4 |     A: a[1] = 1; a[2] = 1;
      |                    ^ expected 0 to 1
    ");
}

#[test]
fn sharing_unknown() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { x: mmap(f, MAP_SHARE); y: mmap(f, 1); }")), @r"
    error: expected `MAP_SHARED` or `MAP_PRIVATE`, found `MAP_SHARE`
     --> test.litmus:4:23
      |
    4 |     mm A { x: mmap(f, MAP_SHARE); y: mmap(f, 1); }
      |                       ^^^^^^^^^ expected `MAP_SHARED` or `MAP_PRIVATE`
      |
      = help: did you mean `MAP_SHARED`?

    error: expected `MAP_SHARED` or `MAP_PRIVATE`, found the number `1`
     --> test.litmus:4:46
      |
    4 |     mm A { x: mmap(f, MAP_SHARE); y: mmap(f, 1); }
      |                                              ^ expected `MAP_SHARED` or `MAP_PRIVATE`
    ");
}

#[test]
fn call_in_an_mm() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); madvise(x, MADV_COLLAPSE); ufd(x, WP); }")), @r"
    error: `madvise` cannot stand in the `mm` of the header
     --> test.litmus:4:36
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); madvise(x, MADV_COLLAPSE); ufd(x, WP); }
      |                                    ^^^^^^^ expected `uffd`, or a mapping `x: mmap(...)`

    error: `ufd` cannot stand in the `mm` of the header
     --> test.litmus:4:63
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); madvise(x, MADV_COLLAPSE); ufd(x, WP); }
      |                                                               ^^^ expected `uffd`, or a mapping `x: mmap(...)`
      |
      = help: did you mean `uffd`?
    ");
}

#[test]
fn number_in_an_mm() {
    assert_snapshot!(errors(&in_header("    mm A { 7; }")), @r"
    error: expected a mapping `x: mmap(...)`, or `uffd(...)`, found the number `7`
     --> test.litmus:3:12
      |
    3 |     mm A { 7; }
      |            ^ expected a mapping `x: mmap(...)`, or `uffd(...)`
    ");
}

#[test]
fn uffd_of_what_cannot_be_registered() {
    assert_snapshot!(errors(&in_header(r"    file f[2];
    mm A { x: mmap(f, MAP_SHARED); uffd(x, WP); }
    mm B { a: mmap(ANON[2], MAP_PRIVATE); uffd(a, MISSING|MINOR); }")), @"
    error: a file on a disk cannot be registered with userfaultfd
     --> test.litmus:4:36
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); uffd(x, WP); }
      |                                    ^^^^^^^^^^^ expected a mapping of `shmem`, or of anonymous memory

    error: anonymous memory has no pages that are there and not mapped
     --> test.litmus:5:43
      |
    5 |     mm B { a: mmap(ANON[2], MAP_PRIVATE); uffd(a, MISSING|MINOR); }
      |                                           ^^^^^^^^^^^^^^^^^^^^^^ expected modes without MINOR
    ");
}

#[test]
fn uffd_twice() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); uffd(x, WP); uffd(x, MISSING); }")), @r"
    error: this mapping is registered already
     --> test.litmus:4:49
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); uffd(x, WP); uffd(x, MISSING); }
      |                                                 ^^^^^^^^^^^^^^^^ expected one `uffd` for a mapping
      |
      = help: join the modes: `uffd(x, MISSING|WP)`
    ");
}

#[test]
fn uffd_mode_twice() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); uffd(x, WP|WP); }")), @r"
    error: `WP` stands here twice
     --> test.litmus:4:47
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); uffd(x, WP|WP); }
      |                                               ^^ expected once
    ");
}

#[test]
fn uffd_mode_unknown() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { x: mmap(f, MAP_SHARED); uffd(x, MISSING|MAJOR); uffd(x, 3); }")), @"
    error: expected one or more of `MISSING`, `WP`, `MINOR`, `CHANGES`, `EVENT_FORK`, `EVENT_REMAP`, `WP_ASYNC`, `SIGBUS_ON_FAULT`, joined by `|`, found `MAJOR`
     --> test.litmus:4:52
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); uffd(x, MISSING|MAJOR); uffd(x, 3); }
      |                                                    ^^^^^ expected one or more of `MISSING`, `WP`, `MINOR`, `CHANGES`, `EVENT_FORK`, `EVENT_REMAP`, `WP_ASYNC`, `SIGBUS_ON_FAULT`, joined by `|`

    error: expected one or more of `MISSING`, `WP`, `MINOR`, `CHANGES`, `EVENT_FORK`, `EVENT_REMAP`, `WP_ASYNC`, `SIGBUS_ON_FAULT`, joined by `|`, found the number `3`
     --> test.litmus:4:68
      |
    4 |     mm A { x: mmap(f, MAP_SHARED); uffd(x, MISSING|MAJOR); uffd(x, 3); }
      |                                                                    ^ expected one or more of `MISSING`, `WP`, `MINOR`, `CHANGES`, `EVENT_FORK`, `EVENT_REMAP`, `WP_ASYNC`, `SIGBUS_ON_FAULT`, joined by `|`
    ");
}

#[test]
fn setup_of_an_unknown_mm() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm Alpha { x: mmap(f, MAP_SHARED); }
    Alfa: x[0] = 1; r = x[1];")), @r"
    error: `Alfa` is not an mm
     --> test.litmus:5:5
      |
    5 |     Alfa: x[0] = 1; r = x[1];
      |     ^^^^ expected an mm
      |
      = help: the only one is `Alpha`
    ");
}

#[test]
fn setup_before_the_mapping() {
    assert_snapshot!(errors(&in_header(r"    shmem f[2];
    mm A { }
    A: z[0] = 1; z: mmap(f, MAP_SHARED); z[1] = 1;")), @r"
    error: `z` is not mapped yet
     --> test.litmus:5:8
      |
    5 |     A: z[0] = 1; z: mmap(f, MAP_SHARED); z[1] = 1;
      |        ^         - it is mapped here
      |        |
      |        expected after the `mmap`
    ");
}

#[test]
fn too_many_objects() {
    assert_snapshot!(errors(&in_header(&numbered(65, |i| format!("    shmem f{i}[1];")))), @r"
    error: too many objects
      --> test.litmus:67:11
       |
    67 |     shmem f64[1];
       |           ^^^ expected at most 64
    ");
}

#[test]
fn too_many_mms() {
    assert_snapshot!(errors(&in_header(&numbered(17, |i| format!("    mm A{i} {{ }}")))), @r"
    error: too many mms
      --> test.litmus:19:8
       |
    19 |     mm A16 { }
       |        ^^^ expected at most 16
    ");
}

#[test]
fn too_many_mappings() {
    assert_snapshot!(errors(&in_header(&format!("    shmem f[1];
    mm A {{
{}
    }}", numbered(65, |i| format!("        x{i}: mmap(f, MAP_SHARED);"))))), @r"
    error: too many mappings
      --> test.litmus:69:9
       |
    69 |         x64: mmap(f, MAP_SHARED);
       |         ^^^ expected at most 64
    ");
}
