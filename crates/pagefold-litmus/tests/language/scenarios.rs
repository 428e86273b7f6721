//! Complete scenarios: what the AST holds, and their canonical form.

use insta::assert_snapshot;
use pagefold_litmus::{
    Actor, Created, Quantifier, Scenario, Sharing, StatementKind, ThreadId, UffdMode, UffdModes,
    Verdict,
};

use crate::common::{UFFD, check};

fn good(source: &str) -> Scenario {
    check(source).unwrap_or_else(|errors| panic!("{}", errors.render(source, false)))
}

#[test]
fn uffd_copy_vs_retract() {
    let scenario = good(UFFD);
    assert_eq!(scenario.name, "uffd-copy-vs-retract");
    assert!(
        scenario
            .description
            .as_ref()
            .is_some_and(|text| text.starts_with("Jann Horn, 2023-05-31"))
    );
    assert_eq!(scenario.objects[0].contents, [None, None]);

    let y = &scenario.mappings[1];
    assert_eq!(scenario[y.mm].name, "B");
    let object = y.backing.object().expect("an object");
    assert_eq!(scenario[object].name, "f");
    assert_eq!(y.sharing, Sharing::Private);
    assert_eq!(y.created, Created::Start);
    assert_eq!(y.uffd, Some(UffdModes::of(&[UffdMode::Missing])));

    let registers: Vec<&str> = scenario
        .registers
        .iter()
        .map(|register| register.name.as_str())
        .collect();
    assert_eq!(registers, ["r", "e", "d0", "d1", "r1", "t"]);
    assert_eq!(scenario.setup[0].body.len(), 2);
    assert_eq!(scenario.threads[2].actor, Actor::Device(y.mm));
    let quantifier = scenario
        .condition
        .as_ref()
        .map(|condition| condition.quantifier);
    assert_eq!(quantifier, Some(Quantifier::Forall));

    let [first, .., last] = scenario.expectations.as_slice() else {
        panic!("expectations");
    };
    assert_eq!(
        first.verdict,
        Verdict::Broken(Some("table-not-empty".to_owned()))
    );
    assert_eq!(last.verdict, Verdict::Broken(None));
    assert_eq!(last.without, ["recheck_anon_vma"]);
    assert!(scenario.expectations[3].unsplit);
}

#[test]
fn everything_at_once() {
    let source = r"
MM everything
// Several lines of comment
// make one description.

// This is another comment.
{
    mm A { x: mmap(f, MAP_SHARED); uffd(x, WP|MISSING); w: mmap(g, MAP_PRIVATE); }
    shmem f[4] = { 1, hole, 0xff, };
    shmem g[1];
    A: x[0] = 1; repeat 2 { x[1] = 2; } v: mmap(g, MAP_SHARED); v[0] = 1;
    mm B { x: mmap(g, MAP_SHARED); }
    B: r = x[0];
    A:
}
P0 (A) {
    repeat 3 { uffdio_writeprotect(x[0]); uffdio_writeprotect(x[0], 0); r = gup_fast(x[1]); repeat 16 { x[3]; } }
    z: mmap(g, MAP_PRIVATE);
    z[0] = 18446744073709551615;
}
P1 (A) { z[0] = 2; munmap(z); exit(); }
P2 (vcpu B) { x[0] = 1; k = x[0]; }
P3 (device A) { prefetch(x[3]); }
P4 (khugepaged) { n = scan(A); scan(B); }
P5 (kernel) { m = rmap_walk(f[3]); collapse(g); }
P6 (kernel) { }
final (A) { h = pmd_mapped(x); u = uffd_wp(x[3]); c = rss(); x[0]; }
final (B) { }
~exists k = EFAULT /\ (n != m \/ ~true) /\ ~~(HWPOISON = u) \/ (k = 1 \/ k = 2)
expect { pagefold strict unsplit without rcu_defer, retract_notifier: exception lost-marker; }
expect { pagefold: holds; }
";
    let scenario = good(source);
    assert_snapshot!(scenario.to_string(), @r"
    MM everything
    (* Several lines of comment
    make one description. *)
    {
        shmem f[4] = { 1, hole, 255 };
        shmem g[1];
        mm A { x: mmap(f, MAP_SHARED); uffd(x, MISSING|WP); w: mmap(g, MAP_PRIVATE); }
        mm B { x: mmap(g, MAP_SHARED); }
        A: x[0] = 1; repeat 2 { x[1] = 2; } v: mmap(g, MAP_SHARED); v[0] = 1;
        B: r = x[0];
        A:
    }
    P0 (A) {
        repeat 3 { uffdio_writeprotect(x[0]); uffdio_writeprotect(x[0], 0); r = gup_fast(x[1]); repeat 16 { x[3]; } }
        z: mmap(g, MAP_PRIVATE);
        z[0] = 18446744073709551615;
    }
    P1 (A)          { z[0] = 2; munmap(z); exit(); }
    P2 (vcpu B)     { x[0] = 1; k = x[0]; }
    P3 (device A)   { prefetch(x[3]); }
    P4 (khugepaged) { n = scan(A); scan(B); }
    P5 (kernel)     { m = rmap_walk(f[3]); collapse(g); }
    P6 (kernel)     { }
    final(A)        { h = pmd_mapped(x); u = uffd_wp(x[3]); c = rss(); x[0]; }
    final(B)        { }
    ~exists (k = EFAULT /\ (n != m \/ ~true) /\ ~~(HWPOISON = u) \/ (k = 1 \/ k = 2))
    expect {
        pagefold unsplit strict without rcu_defer, retract_notifier: exception lost-marker;
        pagefold: holds;
    }
    ");
    let created: Vec<Created> = scenario.mappings.iter().map(|row| row.created).collect();
    assert_eq!(
        created,
        [
            Created::Start,
            Created::Start,
            Created::Start,
            Created::Setup,
            Created::Thread(ThreadId::new(0)),
        ]
    );
    let mm = scenario.mappings[0].mm;
    assert_eq!(scenario.mappings_of(mm).count(), 4);
    let k = scenario.register("k").expect("a register");
    assert_eq!(scenario[k].name, "k");
    assert_eq!(scenario.register("K"), None);
}

#[test]
fn the_smallest() {
    let scenario = good("MM t{}P(kernel){}");
    assert_eq!(scenario.to_string(), "MM t\n{\n}\nP (kernel) { }\n");
    assert_eq!(scenario.description, None);
}

#[test]
fn an_exists_is_allowed_or_forbidden() {
    let source = "MM t { shmem f[1]; mm A { x: mmap(f, MAP_SHARED); } } P (A) { r = x[0]; }
        exists (r = SIGBUS) expect { linux-6.4: allowed; linux-6.6: forbidden; pagefold: broken; }";
    let verdicts: Vec<Verdict> = good(source)
        .expectations
        .into_iter()
        .map(|expectation| expectation.verdict)
        .collect();
    assert_eq!(
        verdicts,
        [Verdict::Allowed, Verdict::Forbidden, Verdict::Broken(None)]
    );
}

#[test]
fn which_comment_is_the_description() {
    let description = |head: &str| good(&format!("{head} {{ }} P (kernel) {{ }}")).description;
    assert_eq!(description("(* before *) MM t"), None);
    assert_eq!(description("MM (* between *) t"), None);
    assert_eq!(description("MM t (* *)"), None);
    assert_eq!(
        description("MM t (* a (* nested *) one *) (* not this *)").as_deref(),
        Some("a (* nested *) one")
    );
    assert_eq!(
        description("MM t // opens (* nothing\n//\n// but lines\n (* nor this *)\n").as_deref(),
        Some("opens (* nothing\n\nbut lines")
    );
    assert_eq!(
        description("MM t // first\n\n// not this\n").as_deref(),
        Some("first")
    );
}

#[test]
fn a_register_may_be_written_again_by_the_same_thread_or_later() {
    let source = "MM t { shmem f[1]; mm A { x: mmap(f, MAP_SHARED); } A: r = x[0]; }
        P (A) { r = x[0]; repeat 2 { r = x[0]; } } final(A) { r = x[0]; }";
    assert_eq!(good(source).registers.len(), 1);
}

#[test]
fn statements_print_on_their_own() {
    let scenario = good(UFFD);
    let printed: Vec<String> = scenario
        .threads
        .iter()
        .flat_map(|thread| &thread.body)
        .map(|statement| {
            assert!(!matches!(statement.kind, StatementKind::Repeat { .. }));
            scenario.print_statement(statement)
        })
        .collect();
    assert_eq!(
        printed,
        [
            "madvise(x, MADV_COLLAPSE)",
            "e = uffdio_copy(y[1], 7)",
            "d0 = y[0]",
            "d1 = y[1]",
        ]
    );
}
