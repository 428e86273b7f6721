//! Holding a program to its row.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use pagefold_explore::sync::Arc;
use pagefold_explore::{Config, Ended, Report, Verdict, explore_observed, kind, thread};

use crate::memory::{Body, Memory};
use crate::table::{Main, Program};

/// How executions ended, and with which final values.
type Ends = BTreeSet<(String, Vec<u64>)>;

fn run(program: &Program, threads: &[Body], config: &Config) -> (Report, Ends) {
    let memory: Rc<RefCell<Option<Arc<Memory>>>> = Rc::default();
    let mut ends = Ends::new();
    let current = Rc::clone(&memory);
    let report = explore_observed(
        config,
        || {
            let memory = Arc::new(Memory::new(program));
            *current.borrow_mut() = Some(Arc::clone(&memory));
            if config.cache {
                memory.touch();
            }
            let handles: Vec<_> = threads
                .iter()
                .map(|body| {
                    let (memory, body) = (Arc::clone(&memory), Arc::clone(body));
                    thread::spawn_named("t", move || body(&memory))
                })
                .collect();
            match &program.main {
                Main::Ends => {}
                Main::Runs(body) => body(&memory),
                Main::Joins(body) => {
                    for handle in handles {
                        handle.join().unwrap();
                    }
                    body(&memory);
                }
            }
        },
        |ended: Ended<'_>| {
            let how = match ended {
                Ended::Complete => "complete",
                Ended::Broken(kind) => kind,
                Ended::Redundant | Ended::CutOff => return,
            };
            if let Some(memory) = &*memory.borrow() {
                ends.insert((how.to_owned(), memory.finals()));
            }
        },
    );
    (report, ends)
}

/// Looks for the classes of a program, in one order of its threads.
fn classes(program: &Program, order: &str, threads: &[Body], config: &Config) -> (Report, Ends) {
    let name = format!("{}, {order}", program.name);
    let (report, ends) = run(program, threads, config);
    match &report.verdict {
        Verdict::Holds => {}
        Verdict::Broken(violation) => {
            assert!(
                program.may_block && violation.kind == kind::DEADLOCK,
                "{name}: {report}"
            );
        }
        Verdict::NotExhausted(bound) => panic!("{name}: {bound}"),
    }
    (report, ends)
}

pub(crate) fn check(program: &Program) {
    let mut threads = program.threads.clone();
    let middle = threads.len() / 2;
    let mut seen: Option<Ends> = None;
    let config = Config::default().minimize_executions(u64::MAX);
    let mut counts = Vec::new();
    for order in ["as they stand", "reversed", "rotated"] {
        match order {
            "reversed" => threads.reverse(),
            "rotated" => threads.rotate_left(middle),
            _ => {}
        }
        let (report, ends) = classes(program, order, &threads, &config);
        assert_eq!(
            report.complete, program.classes,
            "{}, {order}: {} says otherwise",
            program.name, program.source
        );
        let seen = seen.get_or_insert_with(|| ends.clone());
        assert_eq!(&ends, seen, "{}, {order}", program.name);
        counts.push((report.executions, report.states));

        let config = config.clone().cache(true);
        let (cached, ends) = classes(program, order, &threads, &config);
        assert_eq!(&ends, seen, "{}, {order}, cached", program.name);
        assert!(
            cached.executions <= report.executions,
            "{}, {order}: {cached}",
            program.name
        );
        counts.push((cached.executions, cached.states));
    }
    let ends = seen.unwrap_or_default();
    let complete = ends.iter().filter(|(how, _)| how == "complete").count();
    if let Some(finals) = program.finals {
        assert_eq!(complete, finals, "{}", program.name);
    }
    println!(
        "{}: {} classes, {complete} final states; executions and states: {counts:?}",
        program.name, program.classes
    );
}

pub(crate) fn check_all(programs: impl IntoIterator<Item = Program>) {
    for program in programs {
        check(&program);
    }
}

/// What is only explored if one asks for it.
pub(crate) fn long(programs: impl FnOnce() -> Vec<Program>) -> Vec<Program> {
    if std::env::var_os("EXPLORE_LONG").is_some_and(|value| value == "1") {
        programs()
    } else {
        Vec::new()
    }
}

pub(crate) fn factorial(n: u32) -> u64 {
    (1..=u64::from(n)).product()
}
