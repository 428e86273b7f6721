//! Following a given schedule, and recording what happens.

use super::Engine;
use super::guide::Guide;
use super::memory::tso::FLUSHER;
use super::object::Shape;
use super::op::{Kind, Op};
use super::search::Stop;
use super::threads::{ThreadNumber, ThreadSet, bit};
use super::tree::Choice;
use crate::subtree::Subtree;
use crate::trace::TraceStep;

/// A schedule to follow.
#[derive(Debug)]
pub(crate) enum Script {
    /// None: choices are the search's.
    None,
    /// A reordering of a path of this exploration.
    Path(Path),
    /// A trace from a file. After its end the execution goes on by default choices.
    Trace(Box<Guide>),
}

/// A reordering of a path. Threads may get other numbers in it than they had, as they are spawned
/// in another order; their origins do not change.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// The choices, with old numbers of threads.
    pub(crate) order: Vec<Choice>,
    /// The origin of each old number, in terms of old numbers.
    pub(crate) origins: Vec<(ThreadNumber, u16)>,
}

impl Engine {
    /// Follows `script` in the next execution, from the start, and records what happens.
    pub(crate) fn follow_script(&mut self, script: Script) {
        self.enter(&Subtree::default());
        self.cache = None;
        self.preemptions.limit = None;
        self.script = script;
        self.recorded = Some(Vec::new());
    }

    /// The thread that the script wants to go next, by its number in this execution.
    pub(crate) fn scripted(&self) -> Option<usize> {
        let step = self.step as usize;
        match &self.script {
            Script::None => None,
            Script::Path(path) => self.numbered(path, path.order.get(step)?.0),
            Script::Trace(guide) => guide.next,
        }
    }

    /// The variant that the script wants of the event just begun.
    pub(crate) fn scripted_variant(&self) -> Option<u16> {
        let step = self.step as usize;
        match &self.script {
            Script::None => None,
            Script::Path(path) => Some(path.order.get(step)?.1),
            Script::Trace(guide) => guide.variant(),
        }
    }

    /// The number in this execution of the thread that was `old` in the path.
    fn numbered(&self, path: &Path, old: ThreadNumber) -> Option<usize> {
        if usize::from(old) >= self.first_flusher {
            let owner = super::race::as_number(usize::from(old) - FLUSHER);
            return Some(self.numbered(path, owner)? + FLUSHER);
        }
        if old == 0 {
            return Some(0);
        }
        let (parent, nth) = path.origins[usize::from(old)];
        let parent = super::race::as_number(self.numbered(path, parent)?);
        (1..self.threads).find(|&thread| self.slots[thread].origin == (parent, nth))
    }

    /// Whether the script can be followed at this step; if not, why to stop.
    pub(crate) fn check_script(&mut self, enabled: ThreadSet) -> Option<Stop> {
        let step = self.step as usize;
        let goes_on = match &self.script {
            Script::None => true,
            // At the end of a path there is a violation. If all threads are blocked now, this
            // is one.
            Script::Path(path) if step >= path.order.len() => enabled == 0,
            Script::Path(_) => self
                .scripted()
                .is_some_and(|thread| enabled & bit(thread) != 0),
            Script::Trace(_) => self.with_guide(|guide, engine| guide.advance(engine, enabled)),
        };
        (!goes_on).then_some(Stop::Diverged)
    }

    /// At the end of an execution: judges what `check_script` did not come to see.
    pub(crate) fn finish_script(&mut self) {
        self.with_guide(|guide, engine| {
            guide.finish(engine);
            true
        });
    }

    /// Lends the guide out together with the engine. `true` if there is none.
    fn with_guide(&mut self, f: impl FnOnce(&mut Guide, &Self) -> bool) -> bool {
        match std::mem::replace(&mut self.script, Script::None) {
            Script::Trace(mut guide) => {
                let goes_on = f(&mut guide, self);
                self.script = Script::Trace(guide);
                goes_on
            }
            other => {
                self.script = other;
                true
            }
        }
    }

    /// The guide of a replay that is over.
    pub(crate) fn take_guide(&mut self) -> Option<Box<Guide>> {
        match std::mem::replace(&mut self.script, Script::None) {
            Script::Trace(guide) => Some(guide),
            Script::None | Script::Path(_) => None,
        }
    }

    /// Records the event just executed by `thread`.
    #[cold]
    pub(crate) fn record(&mut self, thread: usize) {
        let label = match self.slots[thread].label.take() {
            Some(label) => label,
            None => self.describe_pending(thread),
        };
        let object = self.object_name(self.slots[thread].op.object);
        let owner = self.owner(thread);
        let reaches_memory = owner != thread;
        let node = self.tree.node(self.step as usize - 1);
        let variant = node.map_or(0, |node| node.variant);
        let thread = super::race::as_number(owner).into();
        if let Some(steps) = &mut self.recorded {
            steps.push(TraceStep {
                thread,
                label,
                object,
                shared: false,
                reaches_memory,
                variant,
                notes: Vec::new(),
            });
        }
    }

    /// The label that the operation `thread` announced will have, but for the outcome.
    pub(crate) fn pending_label(&self, thread: usize) -> String {
        let label = self.slots[thread].label.clone();
        label.unwrap_or_else(|| self.describe_pending(thread))
    }

    fn describe_pending(&self, thread: usize) -> String {
        if thread >= self.first_flusher {
            return self.label_of_flush(thread);
        }
        self.describe_op(&self.slots[thread].op)
    }

    /// The name of an object; none if there is none, or several.
    pub(crate) fn object_name(&self, object: u32) -> Option<String> {
        (object != 0).then(|| self.name_of(object))
    }

    /// The name of an operation, if the program gives it none.
    pub(crate) fn describe_op(&self, op: &Op) -> String {
        let object = || self.name_of(op.object);
        if op.object != 0 && matches!(self.objects.entry(op.object).shape, Shape::Meeting(_)) {
            // What is done there is told by the outcome.
            return object();
        }
        match op.kind {
            Kind::Start => "start".to_owned(),
            Kind::Load => format!("load {}", object()),
            Kind::Store | Kind::BufferStore => format!("store {}", object()),
            Kind::Rmw => format!("update {}", object()),
            Kind::CompareExchange => format!("compare-exchange {}", object()),
            Kind::Add => format!("add to {}", object()),
            Kind::TryGet => format!("take a reference of {}", object()),
            Kind::Put => format!("give back a reference of {}", object()),
            Kind::Await | Kind::Claim => format!("wait for {}", object()),
            Kind::Relax => "retry".to_owned(),
            Kind::AcquireExclusive => format!("lock {}", object()),
            Kind::AcquireShared => format!("share {}", object()),
            Kind::TryExclusive => format!("try to lock {}", object()),
            Kind::TryShared => format!("try to share {}", object()),
            Kind::ReleaseExclusive | Kind::ReleaseShared | Kind::BufferRelease => {
                format!("unlock {}", object())
            }
            Kind::Downgrade => format!("downgrade {}", object()),
            Kind::WriteRange => format!("free {} bytes", op.length),
            Kind::Join => {
                let target = usize::try_from(op.argument).expect("a thread number");
                format!("join {}", self.slots[target].name)
            }
            Kind::Call => "ask for a grace period".to_owned(),
            Kind::Ipi => "send an interrupt".to_owned(),
            Kind::GracePeriod => "grace period over".to_owned(),
            Kind::Flush => format!("{} reaches memory", object()),
            Kind::Fence | Kind::FenceSeqCst => "fence".to_owned(),
        }
    }

    /// Adds an outcome to the label of the event just executed, if it is a default label.
    pub(crate) fn record_outcome(&mut self, outcome: &str) {
        let default = self.describe_op(&self.slots[self.current].op);
        if let Some(step) = self.recorded.as_mut().and_then(|steps| steps.last_mut())
            && step.label == default
        {
            step.label.push_str(outcome);
        }
    }

    /// Adds a remark after the last event of the current thread.
    pub(crate) fn record_note(&mut self, note: String) {
        let Some(last) = self.slots[self.current].last.checked_sub(1) else {
            return;
        };
        if let Some(step) = self
            .recorded
            .as_mut()
            .and_then(|steps| steps.get_mut(last as usize))
        {
            step.notes.push(note);
        }
    }
}
