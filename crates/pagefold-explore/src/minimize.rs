//! From a failing execution to one that is easy to read.
//!
//! 1. *Cone.* Only the events that happen before the failure are needed. What is left is still
//!    an execution: it contains, with each event, everything the event depends on. (For
//!    a deadlock all events are needed: each may be what keeps somebody from going on.)
//! 2. *Order.* Any order of the cone that respects happens-before leads to the same failure. The
//!    one taken stays with a thread as long as possible.
//! 3. *Choice.* Of all failing executions, the one with the fewest context switches is kept, then
//!    the shortest, then the first in the order of thread numbers.
//!
//! The result is executed before it is shown; if it should not fail in the same way, the
//! unchanged schedule is shown.

use std::cmp::Reverse;

use crate::engine::script::Path;
use crate::engine::threads::ThreadNumber;
use crate::engine::{Broken, Engine};

/// A failing execution.
pub(crate) struct Candidate {
    pub(crate) broken: Broken,
    /// Schedules that show the failure, the best first.
    pub(crate) scripts: Vec<Path>,
    rank: (usize, usize, Vec<ThreadNumber>),
}

impl Candidate {
    pub(crate) fn is_better_than(&self, other: &Self) -> bool {
        self.rank < other.rank
    }
}

/// The failing execution that the engine has just been through.
pub(crate) fn candidate(engine: &mut Engine, broken: Broken) -> Candidate {
    let origins: Vec<_> = engine.slots[..engine.threads]
        .iter()
        .map(|slot| slot.origin)
        .collect();
    let path = engine.path();
    let order = linearize(engine, cone(engine, &broken));
    let switches = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let rank = (switches, order.len(), order.clone());
    let scripts = vec![
        Path {
            order,
            origins: origins.clone(),
        },
        Path {
            order: path,
            origins,
        },
    ];
    Candidate {
        broken,
        scripts,
        rank,
    }
}

/// How many events of each thread belong to the failure.
fn cone(engine: &Engine, broken: &Broken) -> Vec<u32> {
    let mut counts = vec![0; engine.threads];
    let last = broken
        .thread
        .and_then(|thread| engine.slots[thread].last.checked_sub(1));
    if let Some(last) = last {
        counts.copy_from_slice(&engine.log.clocks.row(last as usize)[..engine.threads]);
    } else {
        for (count, slot) in counts.iter_mut().zip(&engine.slots) {
            *count = slot.seq;
        }
    }
    counts
}

/// Orders the first `counts[t]` events of each thread `t` with few switches: at each switch, the
/// thread that can then go furthest is taken.
fn linearize(engine: &Engine, counts: Vec<u32>) -> Vec<ThreadNumber> {
    let threads = counts.len();
    let mut events: Vec<Vec<usize>> = vec![Vec::new(); threads];
    for index in 0..engine.log.len() {
        let event = engine.log.event(index);
        if event.seq <= counts[usize::from(event.thread)] {
            events[usize::from(event.thread)].push(index);
        }
    }
    let mut done = vec![0_u32; threads];
    let mut order = Vec::with_capacity(counts.iter().map(|&count| count as usize).sum());
    let reach = |done: &[u32], thread: usize| {
        let mut done = done.to_vec();
        let start = done[thread];
        for &index in &events[thread][start as usize..] {
            let row = engine.log.clocks.row(index);
            let ready = (0..threads).all(|other| other == thread || row[other] <= done[other]);
            if !ready {
                break;
            }
            done[thread] += 1;
        }
        done[thread] - start
    };
    while let Some(thread) =
        (0..threads).max_by_key(|&thread| (reach(&done, thread), Reverse(thread)))
    {
        let run = reach(&done, thread);
        if run == 0 {
            break;
        }
        let number = crate::engine::race::as_number(thread);
        order.extend((0..run).map(|_| number));
        done[thread] += run;
    }
    order
}
