//! Following a recorded trace, in a program that may have been edited since.
//!
//! What a trace is about are its *shared* steps: those whose order with another thread's matters.
//! Each of them has to come again, by the same thread, under the same name, with the same outcome and
//! in the same order; otherwise the replay [diverges](Divergence). The other steps are a thread's own
//! business. They may be missing, and others may have come in between, as long as no other thread
//! does anything that conflicts with those. So a replay that does
//! not diverge went through what the trace tells of, whatever else has changed.
//!
//! Objects without a name of their own are numbered by their first use, so an edit gives other
//! numbers to those that come later. A recorded object is therefore taken for the present one that it
//! first fits, and has to be that one from then on, and no other.
//!
//! Where the thread of the next step is not there yet, or has to wait for a thread that has more to do
//! than the trace knows of (to end, to release a lock), that one goes first.
//!
//! Two things cannot be decided on the spot: whether a step on an object that is met for the first
//! time is the recorded one or another one that only looks like it, and whether a step that is not in the
//! trace stands before a private one of the trace or in place of it. Where one guess leads to
//! a divergence the others are tried, in new executions: [`Guide::next_guesses`]. The number of
//! attempts is bounded; if none comes to the end, the one that came furthest is reported.

use std::collections::HashMap;

use super::Engine;
use super::threads::{ThreadSet, bit, members};
use crate::trace::{Trace, TraceStep};

/// Where a replayed program departs from its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step of the trace.
    pub step: usize,
    /// The thread that should have taken it.
    pub thread: String,
    /// What the trace says happens there.
    pub expected: String,
    /// What happened instead: a step, or in words why there was none.
    pub got: String,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "step {}: expected `{}` by {}, got {}",
            self.step, self.expected, self.thread, self.got
        )
    }
}

/// A trace, and how far it was followed.
#[derive(Debug)]
pub(crate) struct Guide {
    trace: Trace,
    /// The next step of the trace.
    pub(crate) position: usize,
    /// Who goes next; `None` after the end of the trace.
    pub(crate) next: Option<usize>,
    /// What the last event of the execution was meant to be.
    doing: Option<Doing>,
    /// The present name of each recorded object met so far, and the other way round.
    now: HashMap<String, String>,
    then: HashMap<String, String>,
    /// Events that are not in the trace.
    added: Vec<Added>,
    /// The event at which the trace was through.
    pub(crate) end: Option<usize>,
    pub(crate) divergence: Option<Divergence>,
    /// The guesses to make first, as numbers of choices.
    guesses: Vec<u8>,
    /// The guesses made, each with the number of choices there were.
    made: Vec<(u8, u8)>,
}

/// A recorded thread, and whether it is its stores reaching memory that is meant.
type Lane = (u16, bool);

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// This step of the trace.
    Recorded(usize),
    /// Something that is not in the trace, while this step of it was expected.
    New(usize),
}

/// An event that is not in the trace.
#[derive(Debug)]
struct Added {
    event: usize,
    /// The step of the trace that was expected.
    before: usize,
    /// What it was, and by whom if that is not who was expected.
    what: String,
}

/// What a thread is about to do.
struct Pending {
    label: String,
    /// Whether the program gave the label.
    named: bool,
    object: Option<String>,
}

impl Pending {
    fn of(engine: &Engine, thread: usize) -> Self {
        Self {
            label: engine.pending_label(thread),
            named: engine.slots[thread].label.is_some(),
            object: engine.object_name(engine.slots[thread].op.object),
        }
    }
}

impl Guide {
    pub(crate) fn new(trace: Trace, guesses: Vec<u8>) -> Self {
        Self {
            trace,
            position: 0,
            next: None,
            doing: None,
            now: HashMap::new(),
            then: HashMap::new(),
            added: Vec::new(),
            end: None,
            divergence: None,
            guesses,
            made: Vec::new(),
        }
    }

    /// The guesses for the next attempt: the last one that can be made otherwise is. `None` if all
    /// were tried.
    pub(crate) fn next_guesses(&self) -> Option<Vec<u8>> {
        let last = self
            .made
            .iter()
            .rposition(|&(choice, choices)| choice + 1 < choices)?;
        let mut guesses: Vec<u8> = self.made[..=last].iter().map(|made| made.0).collect();
        guesses[last] += 1;
        Some(guesses)
    }

    /// Picks who goes next. `false` if the program departs from the trace.
    pub(crate) fn advance(&mut self, engine: &Engine, enabled: ThreadSet) -> bool {
        self.next = None;
        self.settle(engine);
        while self.divergence.is_none() && self.next.is_none() {
            let Some(step) = self.trace.steps.get(self.position) else {
                self.end.get_or_insert(engine.step as usize);
                break;
            };
            let shared = step.shared;
            match self.pick(engine, enabled) {
                Ok(Some(thread)) => self.next = Some(thread),
                // It is left out, which is nobody's business but its thread's.
                Ok(None) => self.position += 1,
                Err(_) if !shared => self.position += 1,
                Err(reason) => self.diverge(self.position, reason),
            }
        }
        self.divergence.is_none()
    }

    /// Which variant the step that is being taken had.
    pub(crate) fn variant(&self) -> Option<u16> {
        match self.doing? {
            Doing::Recorded(step) => Some(self.trace.steps[step].variant),
            Doing::New(_) => None,
        }
    }

    /// At the end of an execution: judges what `advance` did not come to see.
    pub(crate) fn finish(&mut self, engine: &Engine) {
        self.settle(engine);
        if engine.broken.is_none() {
            while self.divergence.is_none()
                && let Some(step) = self.trace.steps.get(self.position)
            {
                if step.shared {
                    self.diverge(self.position, "the end of the execution".to_owned());
                } else {
                    self.position += 1;
                }
            }
        }
        if self.position == self.trace.steps.len() {
            self.end.get_or_insert(engine.step as usize);
        }
    }

    /// Step `step` of the trace did not come. If something else came in its place, that is what is
    /// told, and otherwise `reason`.
    fn diverge(&mut self, step: usize, reason: String) {
        let instead = self.added.iter().find(|added| added.before == step);
        let recorded = &self.trace.steps[step];
        self.divergence = Some(Divergence {
            step,
            thread: self.trace.threads[usize::from(recorded.thread)].clone(),
            expected: recorded.label.clone(),
            got: instead.map_or(reason, |added| added.what.clone()),
        });
    }

    /// Compares the last event with what it was meant to be, and sees whether what is not in the trace
    /// is still nobody else's business.
    fn settle(&mut self, engine: &Engine) {
        let event = (engine.step as usize).checked_sub(1);
        let last = event.and_then(|event| engine.recorded.as_ref()?.get(event));
        let (Some(doing), Some(event), Some(last)) = (self.doing.take(), event, last) else {
            return;
        };
        let before = match doing {
            Doing::Recorded(step) => {
                let recorded = &self.trace.steps[step];
                if recorded.label == last.label || self.translated(recorded) == last.label {
                    self.judge_added(engine);
                    return;
                }
                if recorded.shared {
                    self.diverge(step, format!("`{}`", last.label));
                    return;
                }
                step
            }
            Doing::New(step) => step,
        };
        let name = &engine.slots[usize::from(last.thread)].name;
        let expected = usize::from(self.trace.steps[before].thread);
        let by = if *name == self.trace.threads[expected] {
            String::new()
        } else {
            format!(" by {name}")
        };
        self.added.push(Added {
            event,
            before,
            what: format!("`{}`{by}", last.label),
        });
        self.judge_added(engine);
    }

    fn judge_added(&mut self, engine: &Engine) {
        let shared = self
            .added
            .iter()
            .find(|added| engine.log.is_shared(added.event, &engine.objects));
        if let Some(added) = shared {
            let (before, what) = (added.before, added.what.clone());
            self.diverge(before, what);
        }
    }

    /// The label of a recorded step with the present name of its object.
    fn translated(&self, step: &TraceStep) -> String {
        match &step.object {
            Some(then) => match self.now.get(then) {
                Some(now) => step.label.replacen(then, now, 1),
                None => step.label.clone(),
            },
            None => step.label.clone(),
        }
    }

    /// Who takes the next step of the trace, or one that comes before it; `None` if the step
    /// is left out. An error says why its thread cannot go on.
    fn pick(&mut self, engine: &Engine, enabled: ThreadSet) -> Result<Option<usize>, String> {
        let position = self.position;
        let number = (
            self.trace.steps[position].thread,
            self.trace.steps[position].reaches_memory,
        );
        let Some(thread) = self.thread_now(engine, number) else {
            let mut visited = 0;
            let parent = members(engine.live)
                .find_map(|thread| self.find_new(engine, enabled, thread, &mut visited));
            return self.let_through(parent, || "no such thread".to_owned());
        };
        if engine.live & bit(thread) == 0 {
            let ended = if number.1 {
                "no store that is left"
            } else {
                "the end of the thread"
            };
            return Err(ended.to_owned());
        }
        if enabled & bit(thread) == 0 {
            let waited_for = self.find_new(engine, enabled, thread, &mut 0);
            return self.let_through(waited_for, || engine.describe_wait(thread));
        }
        let pending = Pending::of(engine, thread);
        let shared = self.trace.steps[position].shared;
        let doing = match self.find(number, &pending) {
            Some(at) if at > position => None,
            Some(_) if self.is_first_use(position, &pending) => {
                let choices = [
                    Some(Doing::Recorded(position)),
                    Some(Doing::New(position)),
                    None,
                ];
                self.guess(if shared { &choices[..2] } else { &choices })
            }
            Some(_) => Some(Doing::Recorded(position)),
            None if shared => Some(Doing::New(position)),
            // A thread whose part ends here is left alone; one with more to do does this first.
            None if self.find_next(number, position + 1).is_none() => {
                self.guess(&[None, Some(Doing::New(position))])
            }
            None => self.guess(&[Some(Doing::New(position)), None]),
        };
        if let Some(Doing::Recorded(_)) = doing {
            self.bind(position, &pending);
            self.position += 1;
        }
        self.doing = doing;
        Ok(doing.map(|_| thread))
    }

    /// Has `thread` do something that is not in the trace, if there is one.
    fn let_through(
        &mut self,
        thread: Option<usize>,
        reason: impl FnOnce() -> String,
    ) -> Result<Option<usize>, String> {
        match thread {
            Some(thread) => {
                self.doing = Some(Doing::New(self.position));
                Ok(Some(thread))
            }
            None => Err(reason()),
        }
    }

    /// The first of some choices, unless told otherwise.
    fn guess(&mut self, choices: &[Option<Doing>]) -> Option<Doing> {
        let choice = self.guesses.get(self.made.len()).copied().unwrap_or(0);
        let count = u8::try_from(choices.len()).expect("there are two or three");
        self.made.push((choice, count));
        choices[usize::from(choice)]
    }

    /// `thread`, if it is about to do something that is not in the trace; if it is blocked,
    /// somebody it waits for, if only through others.
    fn find_new(
        &self,
        engine: &Engine,
        enabled: ThreadSet,
        thread: usize,
        visited: &mut ThreadSet,
    ) -> Option<usize> {
        if engine.live & bit(thread) & !*visited == 0 {
            return None;
        }
        *visited |= bit(thread);
        if enabled & bit(thread) != 0 {
            return (!self.is_recorded(engine, thread)).then_some(thread);
        }
        let mut waited_for = engine.waits_for(thread).into_iter();
        waited_for.find_map(|(_, other)| self.find_new(engine, enabled, other, visited))
    }

    /// Whether what `thread` is about to do is a step of the trace that is still to come.
    fn is_recorded(&self, engine: &Engine, thread: usize) -> bool {
        let pending = Pending::of(engine, thread);
        let reaches_memory = engine.owner(thread) != thread;
        let mut numbers = (0..)
            .zip(&self.trace.threads)
            .map(|(number, _)| (number, reaches_memory));
        let number = numbers.find(|&number| self.thread_now(engine, number) == Some(thread));
        number.is_some_and(|number| self.find(number, &pending).is_some())
    }

    /// The present number of a recorded thread: the one of that name, or if there are several, the
    /// one that comes as the same among them.
    fn thread_now(&self, engine: &Engine, (number, reaches_memory): Lane) -> Option<usize> {
        let threads = &self.trace.threads[..=usize::from(number)];
        let name = threads.last()?;
        let nth = threads.iter().filter(|other| *other == name).count() - 1;
        let owner = (0..engine.threads)
            .filter(|&thread| engine.slots[thread].name == name.as_str())
            .nth(nth)?;
        if reaches_memory {
            engine.flusher_of(owner)
        } else {
            Some(owner)
        }
    }

    /// The next step of a thread, from `from` on.
    fn find_next(&self, number: Lane, from: usize) -> Option<usize> {
        let steps = self.trace.steps.iter().enumerate().skip(from);
        let mut own = steps.filter(|(_, step)| (step.thread, step.reaches_memory) == number);
        own.next().map(|(at, _)| at)
    }

    /// The step of the trace that a thread is about to take, if that is its next one, or a later one
    /// with only private ones before it.
    fn find(&self, number: Lane, pending: &Pending) -> Option<usize> {
        let mut next = self.find_next(number, self.position);
        while let Some(at) = next {
            let step = &self.trace.steps[at];
            if self.fits(step, pending) {
                return Some(at);
            }
            if step.shared {
                break;
            }
            next = self.find_next(number, at + 1);
        }
        None
    }

    /// Whether what a thread is about to do can be this step, as far as can be told before.
    fn fits(&self, step: &TraceStep, pending: &Pending) -> bool {
        if pending.named {
            return step.label == pending.label;
        }
        let label = match (&step.object, &pending.object) {
            (Some(then), Some(now)) => {
                let same = match (self.now.get(then), self.then.get(now)) {
                    (None, None) => true,
                    (Some(other), _) => other == now,
                    (None, Some(_)) => false,
                };
                if !same {
                    return false;
                }
                step.label.replacen(then, now, 1)
            }
            (None, None) => step.label.clone(),
            _ => return false,
        };
        // What comes behind is the outcome.
        label
            .strip_prefix(pending.label.as_str())
            .is_some_and(|outcome| outcome.is_empty() || outcome.starts_with([' ', ':']))
    }

    /// Whether only now it is decided which object the recorded one is.
    fn is_first_use(&self, at: usize, pending: &Pending) -> bool {
        let object = &self.trace.steps[at].object;
        !pending.named
            && object
                .as_ref()
                .is_some_and(|then| !self.now.contains_key(then))
    }

    fn bind(&mut self, at: usize, pending: &Pending) {
        let object = &self.trace.steps[at].object;
        if let (Some(then), Some(now)) = (object, &pending.object)
            && !self.now.contains_key(then)
            && !self.then.contains_key(now)
        {
            self.now.insert(then.clone(), now.clone());
            self.then.insert(now.clone(), then.clone());
        }
    }
}
