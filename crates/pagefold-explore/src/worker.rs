//! One worker: executes a program again and again until a subtree is done or a limit is met.
//!
//! Limits count executions in the order of the tree, wherever they took place. An outcome by which a
//! limit would be met in the middle is thrown away, and its subtree explored again here, to stop
//! exactly where one worker alone would have stopped.

use std::borrow::Cow;

use crate::config::{Bound, Config, MAX_THREADS};
use crate::engine::op::{Kind, Op};
use crate::engine::search::Stop;
use crate::engine::tree::Back;
use crate::engine::{Broken, Engine, rt, snapshot};
use crate::fiber;
use crate::minimize;
use crate::observer::{Ended, Observer, Progress};
use crate::report::{Violation, kind};
use crate::subtree::{Outcome, Subtree};
use crate::team::{Meanwhile, Team};
use crate::trace::Trace;
use crate::world::World;

/// The body of the main thread. If `forget` is set, whoever made this promised that the main
/// thread's stack may be forgotten.
pub(crate) struct Program<'a> {
    pub(crate) body: &'a mut dyn FnMut(),
    pub(crate) forget: bool,
    /// What can be put back, if anything.
    pub(crate) world: Option<&'a dyn World>,
}

/// How deep subtrees may be taken on while others are waited for. Each takes memory and stack.
const MAX_NESTED: u32 = 16;

/// With how many preemptions at most interleavings are looked at before the rest.
const HUNT_PREEMPTIONS: u32 = 2;

/// How many executions lie between two calls of [`Observer::progress`].
const PROGRESS_EVERY: u64 = 1024;

pub(crate) struct Worker<'a, 'p> {
    pub(crate) config: &'a Config,
    pub(crate) program: Program<'p>,
    pub(crate) observer: &'a mut dyn Observer,
    /// Those who help, if any.
    pub(crate) team: Option<&'a Team>,
    /// Whether this one owns the root of the tree.
    pub(crate) is_root: bool,
    /// How many subtrees were left to be gone on with later.
    nested: u32,
}

impl<'a, 'p> Worker<'a, 'p> {
    /// A worker on its own.
    pub(crate) fn new(
        config: &'a Config,
        program: Program<'p>,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            config,
            program,
            observer,
            team: None,
            is_root: true,
            nested: 0,
        }
    }

    /// Runs the program once.
    pub(crate) fn execute(&mut self) -> (Stop, Option<Broken>) {
        let world = self.program.world;
        rt::with(Engine::restart);
        // SAFETY: the executions before have ended, and all were of this program.
        let begun = world.filter(|&world| unsafe { snapshot::begin(world) });
        if let Some(world) = begun {
            rt::with(|engine| engine.schedule());
            return fiber::run_to_end(Some(world));
        }
        let body = &mut *self.program.body;
        // SAFETY: `body` is borrowed until the end of this function, and `run_to_end` does not
        // return before each thread is finished or destroyed. The promise needed to forget the
        // stack was given if `forget` is set.
        let main = unsafe {
            fiber::spawn(
                Cow::Borrowed("main"),
                Op::plain(Kind::Start, 0),
                self.program.forget,
                body,
            )
        };
        debug_assert_eq!(main, Some(0), "the main thread is the first one");
        rt::with(|engine| engine.schedule());
        fiber::run_to_end(world)
    }

    /// Works for others until the exploration is over.
    pub(crate) fn help(&mut self, team: &Team) {
        while let Some((ticket, subtree)) = team.next() {
            rt::with(|engine| engine.enter(&subtree));
            let outcome = self.explore();
            team.hand_in(ticket, outcome);
        }
    }

    /// Explores the tree that was entered.
    pub(crate) fn explore(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        self.go_on(&mut outcome, u64::MAX);
        Self::finish(outcome)
    }

    /// Explores the tree that was entered, which is all there is; if it is a large one, interleavings
    /// with few preemptions first.
    ///
    /// What these show counts if nothing was found by then, in the order of the tree. With several
    /// workers the search may be further when it pauses, or done.
    pub(crate) fn explore_root(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let config = self.config;
        let hunts = config.hunt_executions > 0 && config.is_reduced() && !config.cache;
        let pause = if hunts { config.hunt_after } else { u64::MAX };
        let paused = self.go_on(&mut outcome, pause);
        let first = outcome.found.first().map(|&(at, _)| at);
        let late = first.is_some_and(|at| at > pause);
        if (late || paused && first.is_none())
            && let Some(hunt) = self.hunt()
        {
            return hunt;
        }
        if paused {
            self.go_on(&mut outcome, u64::MAX);
        }
        Self::finish(outcome)
    }

    /// Explores on, until the tree is done, a limit is met, or so many executions are done. `true` in
    /// the last case: more is left to do.
    fn go_on(&mut self, outcome: &mut Outcome, pause: u64) -> bool {
        // After an outcome was thrown away nothing is given away any more: the end is near.
        let mut gives = true;
        loop {
            if self.is_at_limit(outcome) {
                outcome.stopped = true;
                return false;
            }
            if outcome.counts.executions >= pause {
                return true;
            }
            if self.execute_one(outcome) {
                outcome.stopped = true;
                return false;
            }
            if gives
                && let Some(team) = self.team
                && team.is_hungry()
            {
                give_away(team);
            }
            if self.observer.watches_steps() {
                self.tell_steps();
            }
            if !self.go_back(outcome, &mut gives) {
                return false;
            }
        }
    }

    /// The search of this tree is over.
    fn finish(mut outcome: Outcome) -> Outcome {
        rt::with(|engine| {
            outcome.counts.states += engine.tree.states;
            outcome.wanted = engine.tree.take_wanted();
            if let Some(limit) = engine.preemptions.limit
                && engine.preemptions.was_met
            {
                outcome.bound = outcome.bound.or(Some(Bound::Preemptions(limit)));
            }
        });
        outcome
    }

    /// Looks at interleavings with few preemptions, and comes back to where the search was left. What
    /// came of it, if one of them breaks the program: that is the end of the search.
    fn hunt(&mut self) -> Option<Outcome> {
        let config = self.config;
        let own = rt::with(|engine| engine.enter(&Subtree::default()));
        let mut hunts = Outcome {
            hunted: true,
            ..Outcome::default()
        };
        for limit in 0..=HUNT_PREEMPTIONS {
            let within = Config {
                max_executions: config.hunt_executions,
                max_preemptions: Some(limit),
                ..config.clone()
            };
            let mut hunter = Worker::new(
                &within,
                Program {
                    body: &mut *self.program.body,
                    forget: self.program.forget,
                    world: self.program.world,
                },
                &mut *self.observer,
            );
            hunter.is_root = false;
            rt::with(|engine| {
                engine.enter(&Subtree::default());
                engine.preemptions.limit = Some(limit);
            });
            let hunt = hunter.explore();
            hunts.counts.add(hunt.counts);
            hunts.found = hunt.found;
            hunts.nondeterminism = hunt.nondeterminism;
            if !hunts.found.is_empty() || hunts.nondeterminism.is_some() {
                return Some(hunts);
            }
        }
        if let Some(own) = own {
            rt::with(|engine| {
                engine.preemptions.limit = None;
                engine.resume_tree(own);
            });
        }
        None
    }

    /// Whether a limit on executions is met, or the exploration is over.
    fn is_at_limit(&self, outcome: &mut Outcome) -> bool {
        let executions = outcome.counts.executions;
        let limit = self.config.max_executions;
        if executions >= limit {
            let met = if self.config.search.samples() {
                Bound::Sample(limit)
            } else {
                Bound::Executions(limit)
            };
            // More executions would not help there.
            if !matches!(outcome.bound, Some(Bound::Program(_))) {
                outcome.bound = Some(met);
            }
            return true;
        }
        outcome
            .found
            .first()
            .is_some_and(|&(at, _)| executions - at > self.config.minimize_executions)
            || self.team.is_some_and(Team::is_over)
    }

    /// Runs the program once and notes what came of it. Whether the search must stop.
    fn execute_one(&mut self, outcome: &mut Outcome) -> bool {
        let (stop, broken) = self.execute();
        let counts = &mut outcome.counts;
        counts.executions += 1;
        let steps = rt::with(|engine| engine.step).unwrap_or(0);
        counts.longest = counts.longest.max(steps);
        match stop {
            Stop::Complete => counts.complete += 1,
            Stop::Blocked => counts.blocked += 1,
            Stop::Cut => counts.cut += 1,
            Stop::Truncated => {
                counts.truncated += 1;
                outcome.bound = Some(Bound::Steps(self.config.max_steps));
            }
            Stop::TooManyThreads => {
                let limit = rt::with(|engine| engine.first_flusher).unwrap_or(MAX_THREADS);
                outcome.bound = Some(Bound::Threads(limit));
            }
            Stop::RanOut(what) => {
                counts.truncated += 1;
                outcome.bound = Some(Bound::Program(what));
            }
            Stop::Violation | Stop::Diverged => {}
        }
        let (truncated, executions) = (counts.truncated, counts.executions);
        self.tell(stop, broken.as_ref(), executions);
        if let Some(broken) = broken {
            if broken.kind == kind::NONDETERMINISM || broken.kind == kind::CHECKPOINT {
                // Nothing that was explored can be relied upon.
                outcome.nondeterminism = Some(violation(broken));
                return true;
            }
            let best = outcome.found.last().map(|(_, best)| best);
            let better = rt::with(|engine| minimize::improve(engine, broken, best)).flatten();
            outcome
                .found
                .extend(better.map(|better| (executions, better)));
        }
        stop == Stop::TooManyThreads || truncated >= self.config.max_truncated
    }

    /// Tells the observer how an execution ended.
    fn tell(&mut self, stop: Stop, broken: Option<&Broken>, executions: u64) {
        let progress =
            (self.is_root && self.nested == 0 && executions.is_multiple_of(PROGRESS_EVERY))
                .then(|| rt::with(|engine| engine.tree.done()))
                .flatten();
        let observer = &mut *self.observer;
        rt::outside(|| {
            observer.ended(match (broken, stop) {
                (Some(broken), _) => Ended::Broken(&broken.kind),
                (None, Stop::Complete) => Ended::Complete,
                (None, Stop::Blocked | Stop::Cut) => Ended::Redundant,
                (None, _) => Ended::CutOff,
            });
            if let Some(done) = progress {
                observer.progress(Progress { executions, done });
            }
        });
    }

    /// Tells the observer what the search has done.
    fn tell_steps(&mut self) {
        let steps = rt::with(|engine| engine.watched_steps.replace(Vec::new())).flatten();
        let observer = &mut *self.observer;
        rt::outside(|| {
            for step in steps.unwrap_or_default() {
                observer.step(step);
            }
        });
    }

    /// Goes to the next choice to try; `false` if there is none, or the exploration is over.
    fn go_back(&mut self, outcome: &mut Outcome, gives: &mut bool) -> bool {
        if self.config.search.samples() {
            rt::with(|engine| engine.next_sample());
            return true;
        }
        loop {
            match rt::with(Engine::backtrack) {
                Some(Back::Choice) => return true,
                Some(Back::Given(ticket)) => match self.wait_for(ticket) {
                    Received::Nothing => return true,
                    Received::Outcome(other) if self.would_stop_in(outcome, &other) => {
                        *gives = false;
                        return true;
                    }
                    Received::Outcome(other) => take_over(outcome, *other),
                    Received::Over => {
                        outcome.stopped = true;
                        return false;
                    }
                },
                Some(Back::Done) | None => return false,
            }
        }
    }

    /// The outcome of a subtree that was given away.
    fn wait_for(&mut self, ticket: u64) -> Received {
        let Some(team) = self.team else {
            return Received::Nothing;
        };
        loop {
            match team.wait_for(Some(ticket), self.nested < MAX_NESTED) {
                Meanwhile::Outcome(outcome) => return Received::Outcome(outcome),
                Meanwhile::Yours => return Received::Nothing,
                Meanwhile::Other(ticket, subtree) => {
                    let outcome = self.explore_meanwhile(&subtree);
                    team.hand_in(ticket, outcome);
                }
                Meanwhile::Over => return Received::Over,
            }
        }
    }

    /// Explores another subtree, and comes back to where the own one was left.
    fn explore_meanwhile(&mut self, subtree: &Subtree) -> Outcome {
        let own = rt::with(|engine| engine.enter(subtree));
        self.nested += 1;
        let outcome = self.explore();
        self.nested -= 1;
        if let Some(own) = own {
            rt::with(|engine| engine.resume_tree(own));
        }
        outcome
    }

    /// Whether a limit is met somewhere in a subtree which comes after `outcome`.
    fn would_stop_in(&self, outcome: &Outcome, subtree: &Outcome) -> bool {
        let before = outcome.counts.executions;
        let after = before + subtree.counts.executions;
        let first = outcome.found.first().map(|&(at, _)| at);
        let first = first.or(subtree.found.first().map(|&(at, _)| before + at));
        subtree.stopped
            || after > self.config.max_executions
            || outcome.counts.truncated + subtree.counts.truncated >= self.config.max_truncated
            || first.is_some_and(|at| after - at > self.config.minimize_executions)
    }
}

/// What waiting for an outcome came to.
enum Received {
    Outcome(Box<Outcome>),
    /// The subtree is to be explored here.
    Nothing,
    /// The exploration is over.
    Over,
}

fn give_away(team: &Team) {
    let ticket = team.ticket();
    let subtree = rt::with(|engine| engine.tree.give_away(ticket)).flatten();
    if let Some(subtree) = subtree {
        team.offer(ticket, subtree);
    }
}

/// Adds what came of a subtree to what came before it.
fn take_over(outcome: &mut Outcome, subtree: Outcome) {
    let before = outcome.counts.executions;
    outcome.counts.add(subtree.counts);
    outcome.bound = subtree.bound.or(outcome.bound);
    for (at, candidate) in subtree.found {
        let best = outcome.found.last().map(|(_, best)| best);
        if best.is_none_or(|best| candidate.is_simpler_than(best)) {
            outcome.found.push((before + at, candidate));
        }
    }
    rt::with(|engine| {
        for wanted in subtree.wanted {
            engine.want(wanted);
        }
    });
}

/// A violation with the trace of the execution just recorded.
pub(crate) fn violation(broken: Broken) -> Violation {
    let (context_switches, preemptions) = rt::with(|engine| engine.switches()).unwrap_or((0, 0));
    Violation {
        kind: broken.kind,
        message: broken.message,
        trace: recorded_trace(),
        context_switches,
        preemptions,
    }
}

/// The trace of the execution just recorded.
pub(crate) fn recorded_trace() -> Trace {
    let recorded = rt::with(|engine| {
        let names = engine.slots[..engine.threads]
            .iter()
            .map(|slot| slot.name.to_string());
        let names = names.collect();
        let mut steps = engine.recorded.take().unwrap_or_default();
        for (index, step) in steps.iter_mut().enumerate().take(engine.log.len()) {
            step.shared = engine.log.is_shared(index, &engine.objects);
        }
        (engine.program.clone(), names, steps)
    });
    let (program, threads, steps) = recorded.unwrap_or_default();
    Trace {
        version: Trace::VERSION,
        program,
        threads,
        steps,
    }
}
