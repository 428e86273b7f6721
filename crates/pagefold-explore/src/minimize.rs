//! From a failing execution to one that is easy to read.
//!
//! 1. *Cone.* Only the events that happen before the failure are needed. What is left is still
//!    an execution: it contains, with each event, everything the event depends on. (For
//!    a deadlock all events are needed: each may be what keeps somebody from going on.)
//! 2. *Order.* Any order of the cone that respects happens-before leads to the same failure. The
//!    one taken has the fewest context switches and, among those, the fewest preemptions: switches
//!    away from a thread that could have gone on. To find it, let a thread, once it is picked, run
//!    as far as it can (stopping earlier saves no switch: what others wait for only comes later),
//!    and search breadth first over whom to pick next. To stop earlier can save preemptions, though:
//!    where a lock is still held others are blocked, and to leave those is no preemption. So if
//!    there are several preemptions, stops before releases are tried, too. Two
//!    ways to the same state with equally many switches are continued in the same ways, so of these
//!    only the one with fewer preemptions is kept.
//! 3. *Choice.* Of all failing executions, the one with the fewest context switches is kept, then
//!    with the fewest preemptions, then the shortest, then the first in the order of thread numbers.
//!
//! What counts as a preemption is said in `engine/preempt.rs`. Whether a thread could have gone on is judged from the log: who holds the lock it wants, who has
//! ended. What else can be waited for (a value, a change, a grace period) counts as not there before
//! it was there in the log; earlier values are not tried.
//!
//! The result is executed before it is shown; if it should not fail in the same way, the
//! unchanged schedule is shown.

use std::collections::{HashMap, HashSet};

use crate::engine::op::{Access, Kind};
use crate::engine::script::Path;
use crate::engine::threads::ThreadNumber;
use crate::engine::tree::Choice;
use crate::engine::{Broken, Engine};

/// How many states the search for an order may look at. Long executions of many threads get an
/// order found by always picking the thread that can run furthest, or one without early stops.
const MAX_STATES: usize = 5_000;

/// A failing execution.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) broken: Broken,
    /// Schedules that show the failure, the best first.
    pub(crate) scripts: Vec<Path>,
    /// Context switches, preemptions, length, order.
    rank: (usize, usize, usize, Vec<ThreadNumber>),
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
    let (switches, preemptions) = cone.switches(&order);
    let rank = (switches, preemptions, order.len(), order.clone());
    let origins: Vec<_> = engine.slots[..engine.threads]
        .iter()
        .map(|slot| slot.origin)
        .collect();
    let scripts = vec![
        Path {
            order: cone.choices(&order),
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

/// The events that belong to a failure.
struct Cone<'a> {
    engine: &'a Engine,
    /// The events of each thread, also those that do not belong to the failure.
    events: Vec<Vec<usize>>,
    /// How many of each thread belong to it: its first ones.
    needed: Vec<usize>,
}

/// A state on the way through a cone, in the breadth-first search.
struct State {
    /// How many events of each thread are done.
    done: Vec<usize>,
    /// Preemptions so far, the one by which this state is left included.
    preemptions: usize,
    /// The thread that ran last, how far, and the state before.
    step: Option<(usize, usize, usize)>,
}

/// Where a thread may be left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stops {
    /// Where it can run no further.
    AtTheEnd,
    /// Also where it still has a lock that it is about to release.
    AlsoBeforeReleases,
}

/// What a search for an order came to.
enum Found {
    Order(Vec<ThreadNumber>),
    /// Each has more switches than allowed.
    MoreSwitches,
    TooManyStates,
}

impl<'a> Cone<'a> {
    fn new(engine: &'a Engine, broken: &Broken) -> Self {
        let last = broken
            .thread
            .and_then(|thread| engine.slots[thread].last.checked_sub(1));
        let mut events = vec![Vec::new(); engine.lanes()];
        let mut needed = vec![0; engine.lanes()];
        for index in 0..engine.log.len() {
            let thread = usize::from(engine.log.event(index).thread);
            events[thread].push(index);
            if last.is_none_or(|last| engine.log.happens_before(index, last as usize)) {
                needed[thread] += 1;
            }
        }
        Self {
            engine,
            events,
            needed,
        }
    }

    /// An order of the events with their variants.
    fn choices(&self, order: &[ThreadNumber]) -> Vec<Choice> {
        let mut done = vec![0; self.events.len()];
        let choice = |&thread: &ThreadNumber| {
            let at = &mut done[usize::from(thread)];
            let event = self.events[usize::from(thread)][*at];
            *at += 1;
            let node = self.engine.tree.node(event);
            (thread, node.map_or(0, |node| node.variant))
        };
        order.iter().map(choice).collect()
    }

    /// How many events `thread` can execute in a row.
    fn reach(&self, done: &[usize], thread: usize) -> usize {
        let events = &self.events[thread][done[thread]..self.needed[thread]];
        let blocked = events.iter().position(|&event| !self.is_ready(done, event));
        blocked.unwrap_or(events.len())
    }

    /// An order with the fewest switches and, among those, the fewest preemptions. `None` if it has
    /// more switches than `limit`.
    fn order(&self, limit: Option<usize>) -> Option<Vec<ThreadNumber>> {
        let order = match self.search(limit, Stops::AtTheEnd) {
            Found::Order(order) => order,
            Found::MoreSwitches => return None,
            Found::TooManyStates => return Some(self.greedy_order()),
        };
        // To stop early is a preemption, so it can only pay if there are others to save.
        match self.switches(&order) {
            (switches, 2..) => match self.search(Some(switches), Stops::AlsoBeforeReleases) {
                Found::Order(order) => Some(order),
                Found::MoreSwitches | Found::TooManyStates => Some(order),
            },
            _ => Some(order),
        }
    }

    fn search(&self, limit: Option<usize>, stops: Stops) -> Found {
        let total: usize = self.needed.iter().sum();
        let start = State {
            done: vec![0; self.needed.len()],
            preemptions: 0,
            step: None,
        };
        let mut seen = HashSet::from([start.done.clone()]);
        let mut states = vec![start];
        let mut level = 0..1;
        // The first run is not a switch.
        for _ in 0..limit.unwrap_or(total).saturating_add(1) {
            let mut next: HashMap<Vec<usize>, usize> = HashMap::new();
            for at in level.clone() {
                for (thread, run) in self.runs(&states[at].done, stops) {
                    let mut done = states[at].done.clone();
                    done[thread] += run;
                    // Reached with fewer switches before.
                    if seen.contains(&done) {
                        continue;
                    }
                    let leaves = done != self.needed
                        && (at == 0 || self.counts(&states[at].done, thread, run))
                        && self.could_go_on(&done, thread);
                    let state = State {
                        preemptions: states[at].preemptions + usize::from(leaves),
                        step: Some((thread, run, at)),
                        done,
                    };
                    match next.get(&state.done) {
                        Some(&other) if states[other].preemptions <= state.preemptions => {}
                        Some(&other) => states[other] = state,
                        None => {
                            next.insert(state.done.clone(), states.len());
                            states.push(state);
                        }
                    }
                }
                if states.len() > MAX_STATES {
                    return Found::TooManyStates;
                }
            }
            if let Some(&end) = next.get(&self.needed) {
                return Found::Order(Self::trace_back(&states, end));
            }
            seen.extend(next.into_keys());
            level = level.end..states.len();
        }
        Found::MoreSwitches
    }

    /// Who may run next, and how far.
    fn runs(&self, done: &[usize], stops: Stops) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        for thread in 0..self.needed.len() {
            let reach = self.reach(done, thread);
            if reach > 0 {
                runs.push((thread, reach));
            }
            if stops == Stops::AlsoBeforeReleases {
                let early = (1..reach).filter(|run| {
                    let event = self.events[thread][done[thread] + run];
                    matches!(
                        self.engine.log.event(event).access,
                        Access::ReleaseExclusive | Access::ReleaseShared | Access::Downgrade
                    )
                });
                runs.extend(early.map(|run| (thread, run)));
            }
        }
        runs
    }

    /// The order that leads to `states[at]`.
    fn trace_back(states: &[State], mut at: usize) -> Vec<ThreadNumber> {
        let mut order = Vec::new();
        while let Some((thread, run, before)) = states[at].step {
            order.extend((0..run).map(|_| crate::engine::race::as_number(thread)));
            at = before;
        }
        order.reverse();
        order
    }

    fn greedy_order(&self) -> Vec<ThreadNumber> {
        let mut done = vec![0; self.needed.len()];
        let mut order = Vec::new();
        while let Some((run, thread)) = (0..self.needed.len())
            .map(|thread| (self.reach(&done, thread), thread))
            .max_by_key(|&(run, thread)| (run, std::cmp::Reverse(thread)))
            .filter(|&(run, _)| run > 0)
        {
            order.extend((0..run).map(|_| crate::engine::race::as_number(thread)));
            done[thread] += run;
        }
        order
    }

    /// How many switches an order has, and how many preemptions.
    fn switches(&self, order: &[ThreadNumber]) -> (usize, usize) {
        let switches = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let mut done = vec![0; self.needed.len()];
        let mut preemptions = 0;
        let mut running = 0;
        for &number in order {
            let thread = usize::from(number);
            if self.counts(&done, thread, 1) {
                let preempts = thread != running && self.could_go_on(&done, running);
                preemptions += usize::from(preempts);
                running = thread;
            }
            done[thread] += 1;
        }
        (switches, preemptions)
    }

    /// Whether any of the next `run` events of `thread` counts where preemptions are counted.
    fn counts(&self, done: &[usize], thread: usize, run: usize) -> bool {
        self.events[thread][done[thread]..][..run]
            .iter()
            .any(|&event| self.engine.log.event(event).kind.is_scheduled())
    }

    /// Whether `thread` could execute something in the state in which so many events are done.
    fn could_go_on(&self, done: &[usize], thread: usize) -> bool {
        let slot = &self.engine.slots[thread];
        let (kind, object) = match self.events[thread].get(done[thread]) {
            // What it waits for is there as soon as the log has it in this order.
            Some(&event) if self.is_ready(done, event) => return true,
            Some(&event) if self.waits_for_flush(done, thread, event) => return false,
            Some(&event) => {
                let event = self.engine.log.event(event);
                (event.kind, event.object)
            }
            None if slot.ended => return false,
            None if slot.op.kind == Kind::Join => {
                let target = usize::try_from(slot.op.argument).expect("a thread number");
                return self.engine.slots[target].ended
                    && done[target] == self.events[target].len();
            }
            None => (slot.op.kind, slot.op.object),
        };
        match kind {
            Kind::AcquireExclusive => self.holders(done, object) == (0, 0),
            Kind::AcquireShared => self.holders(done, object).0 == 0,
            Kind::Await | Kind::Claim | Kind::Relax | Kind::GracePeriod | Kind::Join => false,
            _ => true,
        }
    }

    /// Whether `event` of `thread` comes after a store of the thread reaching memory, which is to come.
    fn waits_for_flush(&self, done: &[usize], thread: usize, event: usize) -> bool {
        let row = self.engine.log.clocks.row(event);
        let flusher = self.engine.flusher_of(thread);
        flusher.is_some_and(|flusher| row[flusher] as usize > done[flusher])
    }

    /// Whether everything that happens before `event`, apart from itself, is done.
    fn is_ready(&self, done: &[usize], event: usize) -> bool {
        let thread = usize::from(self.engine.log.event(event).thread);
        let row = self.engine.log.clocks.row(event);
        done.iter()
            .enumerate()
            .all(|(other, &done)| other == thread || row[other] as usize <= done)
    }

    /// How many threads hold a lock exclusively, and how many share it.
    fn holders(&self, done: &[usize], lock: u32) -> (isize, isize) {
        let (mut exclusive, mut shared) = (0, 0);
        for (index, access) in self.engine.log.chain(lock, &self.engine.objects) {
            let event = self.engine.log.event(index);
            if event.seq as usize > done[usize::from(event.thread)] {
                continue;
            }
            match access {
                Access::AcquireExclusive | Access::TryExclusive => exclusive += 1,
                Access::ReleaseExclusive => exclusive -= 1,
                Access::AcquireShared | Access::TryShared => shared += 1,
                Access::ReleaseShared => shared -= 1,
                Access::Downgrade => {
                    exclusive -= 1;
                    shared += 1;
                }
                Access::None
                | Access::Read
                | Access::ReadExclusive
                | Access::Write
                | Access::Add => {}
            }
        }
        (exclusive, shared)
    }
}
