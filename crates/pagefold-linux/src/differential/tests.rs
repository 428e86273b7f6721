use pagefold_litmus::{Advice, Call, StatementKind};

use super::compare::{Compared, compare};
use super::observe::{Cache, Content, HUGE, OF_OBJECT, PRESENT, Run, Space, State, ZERO};
use super::*;
use crate::engine::on_machine;
use crate::kernel::Version;
use crate::report::Seen;

mod areas;
mod rows;

fn text(seed: u64, case: u64) -> String {
    generate::generate(&mut Random::of_case(seed, case))
}

#[test]
fn what_is_drawn_is_a_sequence_and_depends_on_the_seed_alone() {
    let mut calls = std::collections::BTreeSet::new();
    let mut refused = 0;
    for case in 0..2000 {
        let text = text(1, case);
        assert_eq!(text, self::text(1, case));
        let sequence = Sequence::parse(&text).unwrap_or_else(|| panic!("case {case}:\n{text}"));
        refused += usize::from(Program::new(&sequence.scenario).is_err());
        for (_, statement) in sequence.steps() {
            if let StatementKind::Call { call, .. } = &statement.kind {
                calls.insert(call.spec().name);
            }
        }
    }
    assert_ne!(text(1, 0), text(2, 0));
    assert!(refused < 200, "{refused} of 2000 have no counterpart");
    assert_eq!(calls.len(), 21, "{calls:?}");
}

#[test]
fn nobody_does_anything_before_they_are_there() {
    let early = "MM early
{ mm A { x: mmap(ANON[2], MAP_PRIVATE); } mm C = fork(A); C: x[0]; A: fork(C); }
P0 (C) { x[0] = 1; }
";
    assert!(Sequence::parse(early).is_none());
    let twice = "MM twice
{ mm A { x: mmap(ANON[2], MAP_PRIVATE); } mm C = fork(A); A: fork(C); A: fork(C); }
P0 (C) { x[0] = 1; }
";
    assert!(Sequence::parse(twice).is_none());
    let good = early.replace("C: x[0]; A: fork(C);", "A: fork(C); C: x[0];");
    assert_eq!(
        Sequence::parse(&good).map(|sequence| sequence.steps().count()),
        Some(3)
    );
}

/// A difference that comes of two calls of the child, whatever else is done.
fn artificial(sequence: &Sequence) -> Option<Found> {
    let mut collapsed = false;
    for (step, (mm, statement)) in sequence.steps().enumerate() {
        let StatementKind::Call { call, .. } = &statement.kind else {
            continue;
        };
        match call {
            Call::Madvise(_, Advice::Collapse) if mm.index() == 1 => collapsed = true,
            Call::Mincore(_) if mm.index() == 1 && collapsed => {
                let kernel = sequence.steps().map(|_| Observed {
                    given: Some(Seen::Number(0)),
                    ..Observed::default()
                });
                let what = vec![What::Given("artificial".to_owned())];
                return Some((Difference { step, what }, kernel.collect()));
            }
            _ => {}
        }
    }
    None
}

#[test]
fn a_difference_is_shrunk_to_what_it_comes_of() {
    let long = "MM long
{
    shmem f[4] = { 1, 2, hole, 4 };
    mm A { x: mmap(f, MAP_SHARED); a: mmap(ANON[4], MAP_PRIVATE); uffd(a, WP|SIGBUS_ON_FAULT); }
    mm C = fork(A);
    A: r0 = x[1]; a[0] = 3; r1 = madvise(x, MADV_COLLAPSE); r2 = mincore(x[1]);
    A: r3 = fork(C);
    C: r4 = mincore(x[0]); r5 = madvise(x[0..2], MADV_COLLAPSE); r6 = gup(a[1]);
}
P0 (C) { r7 = mincore(x[1]); }
final(A) { r8 = x[0]; }
final(C) { r9 = x[0]; }
";
    let scenario = pagefold_litmus::parse(long, "long", &VOCABULARY).unwrap();
    let (differing, probes) = shorten(&scenario, |_, sequence| artificial(sequence)).unwrap();
    let short = Sequence::parse(&differing.text).unwrap();
    let steps: Vec<String> = short
        .steps()
        .map(|(mm, statement)| {
            let text = short.scenario.print_statement(statement);
            format!("{} {text}", short.scenario[mm].name)
        })
        .collect();
    assert_eq!(
        steps,
        [
            "A fork(C)",
            "C madvise(x[0..2], MADV_COLLAPSE)",
            "C mincore(x[1])"
        ]
    );
    assert_eq!(differing.step, "C: mincore(x[1])");
    assert_eq!(differing.what, ["artificial"]);
    assert!(probes > 10);
    assert_eq!(shorten(&scenario, |_, _| None), None);
}

/// The kernel whose differences are listed.
const KERNEL: Version = Version(6, 18);

/// One address space, with a stretch in which all entries say the same.
fn observed(state: State, value: u64) -> Observed {
    Observed {
        spaces: vec![Some(Space {
            runs: vec![Run {
                first: 0,
                pages: 100,
                state,
            }],
            contents: vec![Content {
                of: 0,
                page: 0,
                value,
            }],
            ..Space::default()
        })],
        ..Observed::default()
    }
}

#[test]
fn the_first_difference_counts_and_what_is_known_ends_a_sequence() {
    let source = "MM one
{ shmem f[2] = { 1, 2 }; mm A { x: mmap(f, MAP_SHARED); } A: madvise(x, MADV_COLLAPSE); fallocate_punch(f[1]); }
P0 (A) { x[0]; }
";
    let sequence = Sequence::parse(source).unwrap();
    let nothing = observed(0, 1);
    let small = observed(PRESENT | OF_OBJECT, 1);
    // After each step. Only the engine says what is huge, and what is accessed.
    let all = |second: &Observed, third: &Observed| {
        let mut all = [nothing.clone(), second.clone(), third.clone()];
        for (step, seen) in all.iter_mut().enumerate() {
            let huge = if step == 0 { vec![0] } else { vec![] };
            seen.objects = vec![Cache {
                huge,
                ..Cache::default()
            }];
            seen.accessed = (step == 2).then_some(0..1);
        }
        all.to_vec()
    };
    let kernel = all(&nothing, &small);
    assert_eq!(compare(&sequence, KERNEL, &kernel, &kernel), Compared::Same);
    let engine = all(&nothing, &nothing);
    let Compared::Explained(known) = compare(&sequence, KERNEL, &kernel, &engine) else {
        panic!("that more is mapped of what was a huge page is in the table");
    };
    assert_eq!(known.name, "folios-of-all-sizes");
    let engine = all(&small, &nothing);
    let Compared::Different(difference) = compare(&sequence, KERNEL, &kernel, &engine) else {
        panic!("nothing explains what was mapped before");
    };
    assert_eq!(difference.step, 1);
    for other in [
        observed(PRESENT | OF_OBJECT, 2),
        observed(PRESENT | HUGE | OF_OBJECT, 1),
        observed(PRESENT | ZERO, 1),
    ] {
        let compared = compare(&sequence, KERNEL, &kernel, &all(&nothing, &other));
        assert!(matches!(compared, Compared::Different(_)));
    }
}

/// A sequence on the engine, of whose machine there is one.
fn alone(sequence: &Sequence) -> Vec<Observed> {
    on_machine(|| server::run(sequence, 1))
}

/// The engine by itself: what a step gives, what is seen after it, and that all frames come back.
#[test]
fn the_engine_runs_a_sequence() {
    let source = "MM engine
{ shmem f[2] = { 1, hole }; mm A { x: mmap(f, MAP_SHARED); } mm C = fork(A); A: r0 = x[0]; }
P0 (A) { r1 = madvise(x, MADV_COLLAPSE); r2 = fork(C); }
final(C) { r3 = x[1]; }
";
    let sequence = Sequence::parse(source).unwrap();
    let seen = alone(&sequence);
    let given: Vec<Option<Seen>> = seen.iter().map(|seen| seen.given.clone()).collect();
    let numbers = [1, 0, 0, 0].map(|number| Some(Seen::Number(number)));
    assert_eq!(given, numbers);
    let huge = |space: &Space| {
        space.runs.iter().any(|run| {
            (run.first, run.pages) == (0, 512) && run.state & (PRESENT | HUGE) == PRESENT | HUGE
        })
    };
    assert!(!huge(seen[0].spaces[0].as_ref().unwrap()));
    assert!(huge(seen[1].spaces[0].as_ref().unwrap()));
    assert_eq!(seen[1].spaces[1], None);
    assert!(huge(seen[3].spaces[1].as_ref().unwrap()));
    assert_eq!(seen[3].objects[0].runs.len(), 1);
}

/// What rows of the table ask the engine for: what is behind the end in a huge page, also once mremap has moved it.
#[test]
fn the_engine_says_what_differences_come_of() {
    let source = "MM behind
{ shmem f[4] = { 1, 2, 3, 4 };
  mm A { x: mmap(f, MAP_SHARED); z: mmap(f, MAP_SHARED); }
  A: truncate(f, 1); A: madvise(x[0..2], MADV_COLLAPSE); }
P0 (A) { mremap(x[0..2], z[2..4]); r = z[0]; }
";
    let sequence = Sequence::parse(source).unwrap();
    let seen = alone(&sequence);
    let behind_end = |step: usize| &seen[step].spaces[0].as_ref().unwrap().behind_end;
    let huge: Vec<&[usize]> = seen[..2].iter().map(|s| &*s.objects[0].huge).collect();
    assert_eq!(huge, [&[][..], &[0]]);
    let accessed: Vec<_> = seen.iter().map(|seen| seen.accessed.clone()).collect();
    assert!(matches!(&accessed[..], [None, None, None, Some(page)] if page.len() == 1));
    assert!(behind_end(0).is_empty());
    let end = seen[1].objects[0].size;
    let behind = |of: usize| of + end..of + 512;
    let slot = behind_end(1)[1].end - 512;
    assert_eq!(behind_end(1)[..], [behind(0), behind(slot)]);
    assert_eq!(behind_end(2)[..], [behind(slot), behind(slot + 512)]);
}
