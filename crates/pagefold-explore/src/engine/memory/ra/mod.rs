//! Release and acquire: the memory model of C11, by views.
//!
//! **The model** is RC11 (Lahav and others, "Repairing sequential consistency in C/C++11", PLDI 2017)
//! in the form of a view machine (as in Kang and others, "A promising semantics", POPL 2017, without
//! promises):
//!
//! * An object has all its writes, in *modification order*; each carries a *message*, the view that
//!   whoever synchronizes with it takes over.
//! * A thread has a view ([`ThreadView::now`]). A load takes any write not older than the view. A
//!   store goes to any place in the modification order after the view, though not between a
//!   read-modify-write and the write that it replaced. A read-modify-write replaces any write that it
//!   may see and that no other one has replaced.
//! * A release store's message is the view of its thread; that of a weaker one is the view at the last
//!   release fence ([`ThreadView::released`]). A read-modify-write passes on the message of what it
//!   replaced (release sequences as in C++20).
//! * An acquire load takes over the message at once, a weaker one at the next acquire fence
//!   ([`ThreadView::acquired`]).
//! * A `SeqCst` fence is a release and acquire fence that also exchanges views with all other `SeqCst`
//!   fences, by one global view. For fences this is what RC11 says: making the order of the
//!   fences part of happens-before adds no cycle that RC11's axiom for them does not forbid already.
//!
//! What is more than RC11 asks for, so that behaviours may be missed:
//!
//! * **`SeqCst` accesses** are acquire or release accesses after a `SeqCst` fence, which is an event of its own. In any
//!   cycle of accesses that RC11 forbids, each step that is not between writes or reads of one object
//!   ends right after the fence of an access, so the fences form a cycle as well: nothing is allowed that
//!   RC11 forbids. (A compare-exchange has the fence if either of its orders is `SeqCst`.)
//! * **Load buffering** (a load that sees a store which depends on it in the order of time) is not
//!   possible: threads run in order.
//!
//! What a load takes, and where a store goes, is for [`variant`] to say, and what other operations than those of atomics do to
//! views for [`hand_over`] and [`section`].

mod hand_over;
mod section;
mod variant;

use super::Model;
use super::view::{History, View, Write, WriteNumber};
use crate::engine::object::{Object, Shape};
use crate::engine::op::{Kind, Op};
use crate::engine::{Engine, Mode};
use crate::sync::atomic::Ordering::{self, AcqRel, Acquire, Release, SeqCst};

use section::SectionView;
use variant::Variant;

pub(super) use hand_over::access_of_try_get;

/// What a thread knows.
#[derive(Clone, Debug, Default)]
struct ThreadView {
    /// What happens before its next event.
    now: View,
    /// What will after an acquire fence.
    acquired: View,
    /// What had happened before its last release fence.
    released: View,
    /// The view before the read section that the thread is about to begin.
    outside: Option<View>,
}

/// What is handed over by an object that is no atomic.
#[derive(Clone, Debug, Default)]
struct Handed {
    to_all: View,
    /// By those who shared a lock, to whoever takes it exclusively.
    by_sharers: View,
}
/// The views of an execution.
#[derive(Debug, Default)]
pub(crate) struct Ra {
    histories: Vec<History>,
    handed: Vec<Handed>,
    threads: Vec<ThreadView>,
    /// The global view of `SeqCst` fences.
    fences: View,
    /// Stands for the global view where operations on it are compared; its number is given out
    /// when it is first used.
    fence_object: Box<FenceObject>,
    /// By number of the section.
    sections: Vec<SectionView>,
    /// The views of grace periods when they ended, by event.
    graces: Vec<(u32, View)>,
    /// Which write was read by events that read one.
    read: Vec<Option<WriteNumber>>,
    /// How the event under way takes place.
    chosen: Option<Variant>,
    /// Whether that event is about to be executed.
    is_picked: bool,
    /// Kept to be used again.
    variants: Vec<Variant>,
}

#[derive(Debug)]
struct FenceObject {
    object: Object,
    number: Option<u32>,
}

impl Default for FenceObject {
    fn default() -> Self {
        Self {
            object: Object::new(0),
            number: None,
        }
    }
}

fn acquires(order: Ordering) -> bool {
    matches!(order, Acquire | AcqRel | SeqCst)
}

fn releases(order: Ordering) -> bool {
    matches!(order, Release | AcqRel | SeqCst)
}

impl Ra {
    pub(crate) fn restart(&mut self) {
        self.histories.clear();
        self.handed.clear();
        self.threads.clear();
        self.fences = View::default();
        self.fence_object.number = None;
        self.sections.clear();
        self.graces.clear();
        self.read.clear();
        self.chosen = None;
        self.is_picked = false;
    }

    fn history(&self, object: u32) -> Option<&History> {
        self.histories.get(object as usize)
    }

    fn reserve(&mut self, object: u32) {
        let wanted = object as usize + 1;
        if self.histories.len() < wanted {
            self.histories.resize_with(wanted, History::default);
            self.handed.resize_with(wanted, Handed::default);
        }
    }

    /// `thread` gets to know `view`.
    fn take_over(&mut self, thread: usize, view: &View) {
        let mine = &mut self.threads[thread];
        mine.now.join(view, &self.histories);
        mine.acquired.join(view, &self.histories);
    }

    fn fence(&mut self, thread: usize, order: Ordering) {
        let mine = &mut self.threads[thread];
        if acquires(order) {
            mine.now = mine.acquired.clone();
        }
        if order == SeqCst {
            mine.now.join(&self.fences, &self.histories);
            self.fences = mine.now.clone();
            mine.acquired = mine.now.clone();
        }
        if releases(order) {
            mine.released = mine.now.clone();
        }
    }

    /// `thread` reads a write.
    fn see(&mut self, thread: usize, object: u32, write: WriteNumber, order: Ordering) {
        let mine = &mut self.threads[thread];
        let history = &self.histories[object as usize];
        let message = &history.get(write).message;
        mine.now.see(object, write, history);
        mine.acquired.see(object, write, history);
        mine.acquired.join(message, &self.histories);
        if acquires(order) {
            mine.now.join(message, &self.histories);
        }
    }

    /// `thread` writes. Whether it is the newest value now.
    fn write(
        &mut self,
        thread: usize,
        op: &Op,
        after: WriteNumber,
        replaces: bool,
        word: u64,
        event: u32,
    ) -> bool {
        let write = Write {
            word,
            message: View::default(),
            by: Some((thread, event)),
            replaces: replaces.then_some(after),
        };
        let (write, is_newest) = self.histories[op.object as usize].insert(after, write);
        let mine = &mut self.threads[thread];
        let history = &self.histories[op.object as usize];
        mine.now.see(op.object, write, history);
        mine.acquired.see(op.object, write, history);
        let mut message = if releases(op.order) {
            mine.now.clone()
        } else {
            mine.released.clone()
        };
        message.see(op.object, write, history);
        if replaces {
            message.join(&history.get(after).message, &self.histories);
        }
        self.histories[op.object as usize].set_message(write, message);
        is_newest
    }
}

impl Engine {
    /// Makes a thread known, spawned by the current one.
    pub(crate) fn spawn_view(&mut self, thread: usize) {
        let current = self.current;
        if let Model::Ra(ra) = &mut self.memory {
            let now = match ra.threads.get(current) {
                Some(parent) if thread != 0 => parent.now.clone(),
                _ => View::default(),
            };
            ra.threads.push(ThreadView {
                acquired: now.clone(),
                now,
                ..ThreadView::default()
            });
        }
    }

    fn is_atomic(&self, op: &Op) -> bool {
        op.object != 0 && matches!(self.objects.entry(op.object).shape, Shape::Atomic)
    }

    /// If the current thread announces a `SeqCst` fence: gives it the object that stands for the order of
    /// these.
    pub(super) fn put_in_order(&mut self) {
        if self.slots[self.current].op.kind != Kind::FenceSeqCst {
            return;
        }
        let Some(ra) = self.memory.ra() else { return };
        let number = match ra.fence_object.number {
            Some(number) => number,
            // The box does not move.
            None => self
                .objects
                .register(&ra.fence_object.object, Shape::Atomic, 0),
        };
        if let Model::Ra(ra) = &mut self.memory {
            ra.fence_object.number = Some(number);
            ra.reserve(number);
        }
        self.slots[self.current].op.object = number;
    }

    /// Whether the current thread knows of the newest value of an object.
    pub(crate) fn is_newest_known(&self, object: &Object) -> bool {
        let number = object.id();
        let history = self.memory.ra().and_then(|ra| {
            let known = ra.threads.get(self.current)?.now.write(number);
            Some(ra.history(number)?.visible(known).count() <= 1)
        });
        self.mode != Mode::Normal || history.unwrap_or(true)
    }

    /// What the event under way reads.
    pub(super) fn chosen_word(&self) -> Option<u64> {
        let ra = self.memory.ra()?;
        let (Variant::Read(write) | Variant::Replace(write)) = ra.chosen? else {
            return None;
        };
        let object = self.slots[self.current].op.object;
        Some(ra.histories[object as usize].get(write).word)
    }

    /// The event under way writes. Whether it is the newest value.
    pub(super) fn write_chosen(&mut self, word: u64) -> bool {
        let thread = self.current;
        let op = self.slots[thread].op;
        let event = self.step - 1;
        let Model::Ra(ra) = &mut self.memory else {
            return true;
        };
        match ra.chosen {
            Some(Variant::Write(after)) => ra.write(thread, &op, after, false, word, event),
            Some(Variant::Replace(after)) => ra.write(thread, &op, after, true, word, event),
            _ => true,
        }
    }

    /// Executes a fence that is no event, as it concerns nobody else.
    pub(crate) fn local_fence(&mut self, order: Ordering) {
        let thread = self.current;
        if let Model::Ra(ra) = &mut self.memory {
            ra.fence(thread, order);
        }
    }
}
