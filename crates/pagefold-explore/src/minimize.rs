//! From a failing execution to one that is easy to read.
//!
//! 1. *Cone.* Only the events that happen before the failure are needed. What is left is still
//!    an execution: it contains, with each event, everything the event depends on. (For
//!    a deadlock all events are needed: each may be what keeps somebody from going on.)
//! 2. *Order.* Any order of the cone that respects happens-before leads to the same failure. The
//!    one taken has the fewest context switches. To find it, let a thread, once it is picked, run
//!    as far as it can (stopping earlier helps nobody: what others wait for only comes later), and
//!    search breadth first over whom to pick next.
//! 3. *Choice.* Of all failing executions, the one with the fewest context switches is kept, then
//!    the shortest, then the first in the order of thread numbers.
//!
//! The result is executed before it is shown; if it should not fail in the same way, the
//! unchanged schedule is shown.

use std::collections::HashSet;

use crate::engine::script::Path;
use crate::engine::threads::ThreadNumber;
use crate::engine::{Broken, Engine};

/// How many states the search for an order may look at. Long executions of many threads get an
/// order found by always picking the thread that can run furthest.
const MAX_STATES: usize = 5_000;

/// A failing execution.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) broken: Broken,
    /// Schedules that show the failure, the best first.
    pub(crate) scripts: Vec<Path>,
    rank: (usize, usize, Vec<ThreadNumber>),
}

impl Candidate {
    pub(crate) fn is_simpler_than(&self, other: &Self) -> bool {
        self.rank < other.rank
    }
}

/// The failing execution that the engine has just been through, if it is simpler than `best`.
pub(crate) fn improve(
    engine: &Engine,
    broken: Broken,
    best: Option<&Candidate>,
) -> Option<Candidate> {
    let cone = Cone::new(engine, &broken);
    let order = cone.order(best.map(|best| best.rank.0))?;
    let switches = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let rank = (switches, order.len(), order.clone());
    let origins: Vec<_> = engine.slots[..engine.threads]
        .iter()
        .map(|slot| slot.origin)
        .collect();
    let scripts = vec![
        Path {
            order,
            origins: origins.clone(),
        },
        Path {
            order: engine.path(),
            origins,
        },
    ];
    let candidate = Candidate {
        broken,
        scripts,
        rank,
    };
    best.is_none_or(|best| candidate.is_simpler_than(best))
        .then_some(candidate)
}

/// The events that belong to a failure, by thread.
struct Cone<'a> {
    engine: &'a Engine,
    events: Vec<Vec<usize>>,
}

/// A state on the way through a cone, in the breadth-first search.
struct State {
    /// How many events of each thread are done.
    done: Vec<usize>,
    /// The thread that ran last, how far, and the state before.
    step: Option<(usize, usize, usize)>,
}

impl<'a> Cone<'a> {
    fn new(engine: &'a Engine, broken: &Broken) -> Self {
        let last = broken
            .thread
            .and_then(|thread| engine.slots[thread].last.checked_sub(1));
        let mut events = vec![Vec::new(); engine.threads];
        for index in 0..engine.log.len() {
            if last.is_none_or(|last| engine.log.happens_before(index, last as usize)) {
                events[usize::from(engine.log.event(index).thread)].push(index);
            }
        }
        Self { engine, events }
    }

    /// How many events `thread` can execute in a row.
    fn reach(&self, done: &[usize], thread: usize) -> usize {
        let events = &self.events[thread][done[thread]..];
        let blocked = events.iter().position(|&event| {
            let row = self.engine.log.clocks.row(event);
            done.iter()
                .enumerate()
                .any(|(other, &done)| other != thread && row[other] as usize > done)
        });
        blocked.unwrap_or(events.len())
    }

    /// An order with the fewest switches. `None` if it has more than `limit`.
    fn order(&self, limit: Option<usize>) -> Option<Vec<ThreadNumber>> {
        let total: usize = self.events.iter().map(Vec::len).sum();
        let start = State {
            done: vec![0; self.events.len()],
            step: None,
        };
        let mut seen = HashSet::from([start.done.clone()]);
        let mut states = vec![start];
        let mut level = 0..1;
        // The first run is not a switch.
        for _ in 0..limit.unwrap_or(total).saturating_add(1) {
            for at in level.clone() {
                for thread in 0..self.events.len() {
                    let run = self.reach(&states[at].done, thread);
                    if run == 0 {
                        continue;
                    }
                    let mut done = states[at].done.clone();
                    done[thread] += run;
                    let finished = done.iter().sum::<usize>() == total;
                    if seen.insert(done.clone()) {
                        states.push(State {
                            done,
                            step: Some((thread, run, at)),
                        });
                    }
                    if finished {
                        return Some(Self::trace_back(&states));
                    }
                }
                if states.len() > MAX_STATES {
                    return Some(self.greedy_order());
                }
            }
            level = level.end..states.len();
        }
        None
    }

    /// The order that leads to the last of `states`.
    fn trace_back(states: &[State]) -> Vec<ThreadNumber> {
        let mut order = Vec::new();
        let mut at = states.len() - 1;
        while let Some((thread, run, before)) = states[at].step {
            order.extend((0..run).map(|_| crate::engine::race::as_number(thread)));
            at = before;
        }
        order.reverse();
        order
    }

    fn greedy_order(&self) -> Vec<ThreadNumber> {
        let mut done = vec![0; self.events.len()];
        let mut order = Vec::new();
        while let Some((run, thread)) = (0..self.events.len())
            .map(|thread| (self.reach(&done, thread), thread))
            .max_by_key(|&(run, thread)| (run, std::cmp::Reverse(thread)))
            .filter(|&(run, _)| run > 0)
        {
            order.extend((0..run).map(|_| crate::engine::race::as_number(thread)));
            done[thread] += run;
        }
        order
    }
}
