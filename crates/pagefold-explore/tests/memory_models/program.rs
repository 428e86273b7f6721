//! Straight-line programs, and what the explorer finds that they can do.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use pagefold_explore::sync::atomic::{AtomicU64, Ordering, fence};
use pagefold_explore::{Config, Ended, Report, Verdict, explore_observed, thread};

/// A statement. Locations are numbers; all are 0 at first.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads a location.
    Read(usize, Ordering),
    /// Writes a value to a location.
    Write(usize, u64, Ordering),
    /// Writes a value, and reads the one before.
    Swap(usize, u64, Ordering),
    /// Writes the second value if the location has the first, with orders for success and failure.
    Cas(usize, u64, u64, Ordering, Ordering),
    /// A fence.
    Fence(Ordering),
}

impl Step {
    /// The location.
    pub(crate) fn location(&self) -> Option<usize> {
        match *self {
            Self::Read(at, _) | Self::Write(at, ..) | Self::Swap(at, ..) | Self::Cas(at, ..) => {
                Some(at)
            }
            Self::Fence(_) => None,
        }
    }
}

/// The statements of each thread.
pub(crate) type Program = Vec<Vec<Step>>;

/// The number of locations of a program.
pub(crate) fn locations(program: &Program) -> usize {
    let steps = program.iter().flatten();
    steps
        .filter_map(Step::location)
        .max()
        .map_or(0, |at| at + 1)
}

/// What an execution shows: the values read by each thread, and the last value of each location.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outcome {
    pub(crate) read: Vec<Vec<u64>>,
    pub(crate) last: Vec<u64>,
}

/// All that the explorer finds, and its report.
pub(crate) fn explored(config: &Config, program: &Program) -> (BTreeSet<Outcome>, Report) {
    type Memory = Rc<Vec<AtomicU64>>;
    let memory: Rc<RefCell<Memory>> = Rc::default();
    let read = Rc::new(RefCell::new(Vec::new()));
    let mut outcomes = BTreeSet::new();
    let report = explore_observed(
        config,
        || {
            let locations = 0..locations(program);
            let new: Memory = Rc::new(locations.map(|_| AtomicU64::new(0)).collect());
            *memory.borrow_mut() = Rc::clone(&new);
            *read.borrow_mut() = vec![Vec::new(); program.len()];
            for (number, steps) in program.iter().enumerate() {
                let (memory, read, steps) = (Rc::clone(&new), Rc::clone(&read), steps.clone());
                thread::spawn_named("t", move || {
                    for step in &steps {
                        let value = run(&memory, step);
                        read.borrow_mut()[number].extend(value);
                    }
                });
            }
        },
        |ended: Ended<'_>| {
            if ended == Ended::Complete {
                outcomes.insert(Outcome {
                    read: read.borrow().clone(),
                    last: memory.borrow().iter().map(AtomicU64::load_quiet).collect(),
                });
            }
        },
    );
    assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    (outcomes, report)
}

fn run(memory: &[AtomicU64], step: &Step) -> Option<u64> {
    match *step {
        Step::Read(at, order) => Some(memory[at].load(order)),
        Step::Write(at, value, order) => {
            memory[at].store(value, order);
            None
        }
        Step::Swap(at, value, order) => Some(memory[at].swap(value, order)),
        Step::Cas(at, from, to, success, failure) => {
            let result = memory[at].compare_exchange(from, to, success, failure);
            Some(result.unwrap_or_else(|value| value))
        }
        Step::Fence(order) => {
            fence(order);
            None
        }
    }
}
