//! What a straight-line program can do, by axioms: an oracle that shares nothing with the explorer.
//!
//! A *candidate execution* of a program says for each read from which write it takes its value
//! (`rf`), and in which order the writes reach each location (`co`). All candidates are enumerated, and
//! those that a model's axioms allow are kept. The axioms are those of
//!
//! * SC: Lamport, as `po | rf | co | fr` being acyclic;
//! * TSO: herd7's `x86tso.cat` (Alglave, Maranget, Tautschnig, TOPLAS 2014), where a `SeqCst` store is
//!   an `xchg` and a `SeqCst` fence an `mfence`;
//! * RC11: Lahav and others, "Repairing sequential consistency in C/C++11", PLDI 2017, with
//!   release sequences as in C++20, and `po | rf` acyclic.

use std::collections::BTreeSet;

use pagefold_explore::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use crate::program::{Outcome, Program, Step, locations};

/// Whose axioms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axioms {
    Sc,
    Tso,
    Rc11,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Read,
    Write,
    Fence,
}

#[derive(Clone, Debug)]
struct Event {
    /// `None` for the writes of the first values.
    thread: Option<usize>,
    sort: Sort,
    /// Of a fence: none.
    location: Option<usize>,
    order: Ordering,
    /// What a write writes.
    value: u64,
    /// What a read must see or must not see, if it is that of a compare-exchange.
    wants: Option<(u64, bool)>,
    /// The read of the read-modify-write that this is the write of.
    rmw: Option<usize>,
    /// An instruction with a `lock` prefix.
    locked: bool,
}

/// A relation between events: for each the set of those it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Relation(Vec<u64>);

impl Relation {
    fn new(events: usize) -> Self {
        assert!(events <= 64);
        Self(vec![0; events])
    }

    fn of(events: usize, holds: impl Fn(usize, usize) -> bool) -> Self {
        let mut relation = Self::new(events);
        for a in 0..events {
            for b in 0..events {
                if holds(a, b) {
                    relation.add(a, b);
                }
            }
        }
        relation
    }

    fn add(&mut self, a: usize, b: usize) {
        self.0[a] |= 1 << b;
    }

    fn has(&self, a: usize, b: usize) -> bool {
        self.0[a] >> b & 1 != 0
    }

    fn or(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect())
    }

    fn then(&self, other: &Self) -> Self {
        let rows = self.0.iter().map(|&row| {
            (0..other.0.len())
                .filter(|b| row >> b & 1 != 0)
                .fold(0, |all, b| all | other.0[b])
        });
        Self(rows.collect())
    }

    fn optional(&self) -> Self {
        let rows = self.0.iter().enumerate().map(|(a, row)| row | 1 << a);
        Self(rows.collect())
    }

    fn plus(mut self) -> Self {
        for b in 0..self.0.len() {
            let through = self.0[b];
            for row in &mut self.0 {
                if *row >> b & 1 != 0 {
                    *row |= through;
                }
            }
        }
        self
    }

    /// Only pairs that fit.
    fn only(&self, fits: impl Fn(usize, usize) -> bool) -> Self {
        Self::of(self.0.len(), |a, b| self.has(a, b) && fits(a, b))
    }

    fn is_irreflexive(&self) -> bool {
        (0..self.0.len()).all(|a| !self.has(a, a))
    }

    fn is_acyclic(&self) -> bool {
        self.clone().plus().is_irreflexive()
    }
}

/// The outcomes that the axioms allow, and the number of candidates that they allow.
pub(crate) fn allowed(program: &Program, axioms: Axioms) -> (BTreeSet<Outcome>, usize) {
    let exchanges = program
        .iter()
        .flatten()
        .filter(|step| matches!(step, Step::Cas(..)))
        .count();
    let mut all = All {
        axioms,
        threads: program.len(),
        locations: locations(program),
        outcomes: BTreeSet::new(),
        candidates: 0,
    };
    // Which compare-exchanges succeed.
    for succeed in 0..1_u32 << exchanges {
        all.enumerate(&events(program, succeed));
    }
    (all.outcomes, all.candidates)
}

/// The program with a `SeqCst` fence in place of what is `SeqCst` about each access: what the explorer
/// makes of it.
pub(crate) fn with_fences(program: &Program) -> Program {
    let weaker = |order, weak| if order == SeqCst { weak } else { order };
    let thread = |steps: &Vec<Step>| {
        let mut with_fences = Vec::new();
        for step in steps {
            let (is_strong, step) = match *step {
                Step::Read(at, order) => (order == SeqCst, Step::Read(at, weaker(order, Acquire))),
                Step::Write(at, value, order) => {
                    let step = Step::Write(at, value, weaker(order, Release));
                    (order == SeqCst, step)
                }
                Step::Swap(at, value, order) => (
                    order == SeqCst,
                    Step::Swap(at, value, weaker(order, AcqRel)),
                ),
                Step::Cas(at, from, to, success, failure) => {
                    let is_strong = success == SeqCst || failure == SeqCst;
                    let (success, failure) = (weaker(success, AcqRel), weaker(failure, Acquire));
                    (is_strong, Step::Cas(at, from, to, success, failure))
                }
                Step::Fence(order) => (false, Step::Fence(order)),
            };
            if is_strong {
                with_fences.push(Step::Fence(SeqCst));
            }
            with_fences.push(step);
        }
        with_fences
    };
    program.iter().map(thread).collect()
}

fn events(program: &Program, mut succeed: u32) -> Vec<Event> {
    let mut events = Vec::new();
    let event = |thread, sort, location, order| Event {
        thread,
        sort,
        location,
        order,
        value: 0,
        wants: None,
        rmw: None,
        locked: false,
    };
    for location in 0..locations(program) {
        events.push(event(None, Sort::Write, Some(location), Relaxed));
    }
    for (thread, steps) in program.iter().enumerate() {
        let thread = Some(thread);
        for step in steps {
            let next = events.len();
            match *step {
                Step::Read(at, order) => events.push(event(thread, Sort::Read, Some(at), order)),
                Step::Write(at, value, order) => events.push(Event {
                    value,
                    locked: order == SeqCst,
                    ..event(thread, Sort::Write, Some(at), order)
                }),
                Step::Swap(at, value, order) => {
                    events.push(Event {
                        locked: true,
                        ..event(thread, Sort::Read, Some(at), order)
                    });
                    events.push(Event {
                        value,
                        locked: true,
                        rmw: Some(next),
                        ..event(thread, Sort::Write, Some(at), order)
                    });
                }
                Step::Cas(at, from, to, success, failure) => {
                    let succeeds = succeed & 1 != 0;
                    succeed >>= 1;
                    events.push(Event {
                        wants: Some((from, succeeds)),
                        locked: true,
                        ..event(
                            thread,
                            Sort::Read,
                            Some(at),
                            if succeeds { success } else { failure },
                        )
                    });
                    if succeeds {
                        events.push(Event {
                            value: to,
                            locked: true,
                            rmw: Some(next),
                            ..event(thread, Sort::Write, Some(at), success)
                        });
                    }
                }
                Step::Fence(order) => events.push(event(thread, Sort::Fence, None, order)),
            }
        }
    }
    events
}

struct All {
    axioms: Axioms,
    threads: usize,
    locations: usize,
    outcomes: BTreeSet<Outcome>,
    candidates: usize,
}

impl All {
    fn enumerate(&mut self, events: &[Event]) {
        let reads = (0..events.len()).filter(|&e| events[e].sort == Sort::Read);
        let reads: Vec<_> = reads.collect();
        let mut from = vec![0; events.len()];
        self.enumerate_sources(events, &reads, &mut from);
    }

    fn enumerate_sources(&mut self, events: &[Event], reads: &[usize], from: &mut Vec<usize>) {
        let Some((&read, rest)) = reads.split_first() else {
            let mut order = vec![Vec::new(); self.locations];
            return self.enumerate_orders(events, from, &mut order);
        };
        for write in 0..events.len() {
            let source = &events[write];
            let fits = source.sort == Sort::Write
                && source.location == events[read].location
                && events[read]
                    .wants
                    .is_none_or(|(value, equal)| (source.value == value) == equal);
            if fits {
                from[read] = write;
                self.enumerate_sources(events, rest, from);
            }
        }
    }

    /// Puts the writes of each location, of which the first so many are ordered, in any order.
    fn enumerate_orders(&mut self, events: &[Event], from: &[usize], order: &mut Vec<Vec<usize>>) {
        let missing = (0..events.len()).find_map(|e| {
            let location = events[e].location?;
            let is_first = events[e].thread.is_none();
            let unordered =
                events[e].sort == Sort::Write && !is_first && !order[location].contains(&e);
            unordered.then_some((e, location))
        });
        let Some((write, location)) = missing else {
            return self.judge(events, from, order);
        };
        for at in 0..=order[location].len() {
            order[location].insert(at, write);
            self.enumerate_orders(events, from, order);
            order[location].remove(at);
        }
    }

    fn judge(&mut self, events: &[Event], from: &[usize], order: &[Vec<usize>]) {
        let candidate = Candidate::new(events, from, order);
        // All models ask for these, and they are quickly told.
        if !candidate.atomic || !candidate.is_coherent() {
            return;
        }
        let fits = match self.axioms {
            Axioms::Sc => candidate.is_sc(),
            Axioms::Tso => candidate.is_tso(),
            Axioms::Rc11 => candidate.is_rc11(),
        };
        if !fits {
            return;
        }
        self.candidates += 1;
        let mut read = vec![Vec::new(); self.threads];
        for (e, event) in events.iter().enumerate() {
            if event.sort == Sort::Read
                && let Some(thread) = event.thread
            {
                read[thread].push(events[from[e]].value);
            }
        }
        let last = order
            .iter()
            .map(|writes| writes.last().map_or(0, |&write| events[write].value));
        self.outcomes.insert(Outcome {
            read,
            last: last.collect(),
        });
    }
}

struct Candidate<'a> {
    events: &'a [Event],
    po: Relation,
    rf: Relation,
    co: Relation,
    fr: Relation,
    /// Nothing comes between the read and the write of a read-modify-write.
    atomic: bool,
}

impl<'a> Candidate<'a> {
    fn new(events: &'a [Event], from: &[usize], order: &[Vec<usize>]) -> Self {
        let n = events.len();
        let po = Relation::of(n, |a, b| {
            a < b && events[a].thread.is_some() && events[a].thread == events[b].thread
        });
        let rf = Relation::of(n, |a, b| events[b].sort == Sort::Read && from[b] == a);
        let place = |e: usize| {
            let location = events[e]
                .location
                .filter(|_| events[e].sort == Sort::Write)?;
            let at = order[location].iter().position(|&write| write == e);
            Some((location, at.map_or(0, |at| at + 1)))
        };
        let co = Relation::of(n, |a, b| match (place(a), place(b)) {
            (Some((x, a)), Some((y, b))) => x == y && a < b,
            _ => false,
        });
        let fr = Relation::of(n, |a, b| events[a].sort == Sort::Read && co.has(from[a], b));
        let atomic = (0..n).all(|e| {
            let Some(read) = events[e].rmw else {
                return true;
            };
            let before = place(from[read]).map_or(0, |(_, at)| at);
            place(e).map(|(_, at)| at) == Some(before + 1)
        });
        Self {
            events,
            po,
            rf,
            co,
            fr,
            atomic,
        }
    }

    fn same_location(&self, a: usize, b: usize) -> bool {
        let location = self.events[a].location;
        location.is_some() && location == self.events[b].location
    }

    /// Each location on its own is sequentially consistent.
    fn is_coherent(&self) -> bool {
        let local = self.po.only(|a, b| self.same_location(a, b));
        local.or(&self.rf).or(&self.co).or(&self.fr).is_acyclic()
    }

    fn is_sc(&self) -> bool {
        self.po.or(&self.rf).or(&self.co).or(&self.fr).is_acyclic()
    }

    fn is_tso(&self) -> bool {
        let events = self.events;
        // All of program order but from a plain write to a later read...
        let preserved = self.po.only(|a, b| {
            let write = events[a].sort == Sort::Write && !events[a].locked;
            let read = events[b].sort == Sort::Read && !events[b].locked;
            let access = |e: usize| events[e].sort != Sort::Fence;
            // ... unless there is an `mfence` between them. Weaker fences are no instructions.
            let fenced = (a..b).any(|f| {
                events[f].sort == Sort::Fence
                    && events[f].order == SeqCst
                    && self.po.has(a, f)
                    && self.po.has(f, b)
            });
            access(a) && access(b) && (!(write && read) || fenced)
        });
        let external = self.rf.only(|a, b| events[a].thread != events[b].thread);
        let global = preserved.or(&external).or(&self.co).or(&self.fr);
        global.is_acyclic()
    }

    fn is_rc11(&self) -> bool {
        let events = self.events;
        let n = events.len();
        let identity =
            |fits: &dyn Fn(&Event) -> bool| Relation::of(n, |a, b| a == b && fits(&events[a]));
        let releases =
            |e: &Event| matches!(e.order, Release | AcqRel | SeqCst) && e.sort != Sort::Read;
        let acquires =
            |e: &Event| matches!(e.order, Acquire | AcqRel | SeqCst) && e.sort != Sort::Write;
        let is = |sort| move |e: &Event| e.sort == sort;
        let write = identity(&is(Sort::Write));
        let read = identity(&is(Sort::Read));

        let rmw = Relation::of(n, |a, b| events[b].rmw == Some(a));
        let sequence = self.rf.then(&rmw).plus().optional();
        let release_fence = identity(&|e| e.sort == Sort::Fence && releases(e));
        let acquire_fence = identity(&|e| e.sort == Sort::Fence && acquires(e));
        let from = identity(&|e| e.sort == Sort::Write && releases(e))
            .or(&release_fence.then(&self.po).then(&write));
        let to = identity(&|e| e.sort == Sort::Read && acquires(e))
            .or(&read.then(&self.po).then(&acquire_fence));
        let sw = from.then(&sequence).then(&self.rf).then(&to);
        // The first values are written before everything.
        let first = Relation::of(n, |a, b| {
            events[a].thread.is_none() && events[b].thread.is_some()
        });
        let hb = self.po.or(&first).or(&sw).plus();
        let eco = self.rf.or(&self.co).or(&self.fr).plus();
        let coherent = hb.is_irreflexive() && hb.then(&eco).is_irreflexive();

        let po = self.po.or(&first);
        let elsewhere = po.only(|a, b| !self.same_location(a, b));
        let scb = po
            .or(&elsewhere.then(&hb).then(&elsewhere))
            .or(&hb.only(|a, b| self.same_location(a, b)))
            .or(&self.co)
            .or(&self.fr);
        let sc = identity(&|e| e.order == SeqCst && e.sort != Sort::Fence);
        let sc_fence = identity(&|e| e.order == SeqCst && e.sort == Sort::Fence);
        let base = (sc.or(&sc_fence.then(&hb.optional())))
            .then(&scb)
            .then(&sc.or(&hb.optional().then(&sc_fence)));
        let fences = sc_fence
            .then(&hb.or(&hb.then(&eco).then(&hb)))
            .then(&sc_fence);
        let no_thin_air = self.po.or(&self.rf).is_acyclic();
        coherent && base.or(&fences).is_acyclic() && no_thin_air
    }
}
