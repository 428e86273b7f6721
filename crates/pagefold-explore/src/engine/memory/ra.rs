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
//! **Nondeterminism.** What a load takes, and where a store goes, is a *variant* of its event. All
//! variants of an event are explored before the next choice of a node; so "the choice of a thread"
//! stands for all its variants, in source sets and sleep sets alike. The number of variants depends on
//! the view of the thread, which nobody else changes, and on the history of the object, which
//! dependent events change. So two operations commute if they are on different objects, or both read,
//! as they do under sequential consistency, and the arguments of [`search`](crate::engine::search)
//! hold. `SeqCst` fences depend on each other by the global view, which has the number of an object.
//!
//! **What is left out.** Let a load take `w` where a newer write `w'` was executed after `w` and before
//! the load. If nothing but the object they share orders the load after `w'` (that is, `w'` does not happen
//! before the event before the load in its thread, nor before another event that it has to come after), it
//! could have been executed before `w'`, with the same result, and that order is explored as well. So
//! such variants are left out, and likewise places of stores before a `w'` and replacements of
//! a write before it ([`Engine::eligible`]). Happens-before here is that of the interleaving, which is the same
//! for all equivalent ones, so independent operations stay independent. Nothing is lost: take
//! an execution with such a pair, and of these the pair of a load if there is one; execute what does not
//! happen after `w'`, then the load or store, then the rest. The other pairs of events on one object stay
//! in order, and where the store has come before others, they are now after it in happens-before by `w'`.
//! So there is one such pair less.
//!
//! **What else has a view.**
//!
//! | | |
//! |---|---|
//! | exclusive locks, interrupts of a CPU | the release hands its view to later acquisitions |
//! | shared locks | the release of a share hands it to exclusive acquisitions only, so that readers commute |
//! | failed attempts at a lock | no order, and the newest state |
//! | spawning, joining | hand over the view |
//! | what threads meet at ([`Once`](crate::sync::Once), channels, and so on) | one value; what writes releases, and all acquire |
//! | a [cell](crate::cell) | one value; a data race is told by happens-before of this model |
//! | a [counter](crate::sync::Counter) | one value, seen by all; relaxed |
//! | a [reference count](crate::sync::RefCount) | one value; taking and reading are relaxed unless they ask for more, giving back is a release, giving back the last one an acquire, too; setting begins anew |
//! | a grace period | takes over the views at the end of the sections waited for; a section that begins later and does not know of the call takes over that of the grace period |
//! | [`write_range`](crate::write_range) | nothing: what was written before may still be seen, as by anyone who uses freed memory |
//! | [`quiet`](crate::quiet) | the newest values; what is set there is known to all |
//!
//! Whether a section begins after a call is judged by happens-before of this model, and not by that of
//! the interleaving.
//!
//! **Waiting.** What is stored is seen at some time. So a wait for a value goes on with any write that
//! satisfies it and is not too old for the thread, and waits only if there is none. And the end of
//! a round of a retry loop waits until one of the objects read has a write by another thread newer than
//! the first one that the round has seen; which one of these the next round must see is a variant. As
//! it sees more each time, the loop ends.

use super::Model;
use super::view::{History, View, Write, WriteNumber};
use crate::engine::object::{Object, Shape};
use crate::engine::op::{Access, Kind, Op};
use crate::engine::{Engine, Mode};
use crate::sync::atomic::Ordering::{self, AcqRel, Acquire, Release, SeqCst};

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

/// The state of a read section.
#[derive(Debug)]
struct SectionView {
    start: View,
    end: View,
}

/// A way in which an operation can take place.
#[derive(Clone, Copy, Debug)]
enum Variant {
    /// As it would under sequential consistency.
    Only,
    /// Reads a write.
    Read(WriteNumber),
    /// Writes right after a write.
    Write(WriteNumber),
    /// Replaces a write.
    Replace(WriteNumber),
    /// Goes on with a retry loop, and from now on sees a write or newer ones.
    Raise(u32, WriteNumber),
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

/// How taking a reference touches the count: if it is an acquire, its order to what gives references back matters.
pub(super) fn access_of_try_get(op: &Op) -> Option<Access> {
    (acquires(op.order) && op.word() != 0).then_some(Access::Write)
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

    /// Picks the variant in which the pending operation of `thread` is executed as event `index`.
    pub(super) fn prepare(&mut self, thread: usize, index: usize) {
        let op = self.slots[thread].op;
        let is_atomic = self.is_atomic(&op);
        if self.begins_section(thread) {
            self.enter_section(thread);
        }
        let Model::Ra(ra) = &mut self.memory else {
            return;
        };
        if is_atomic {
            ra.reserve(op.object);
            ra.histories[op.object as usize].settle(op.word());
        }
        if op.kind == Kind::FenceSeqCst {
            ra.fence(thread, SeqCst);
        }
        let mut variants = std::mem::take(&mut ra.variants);
        variants.clear();
        self.collect_variants(thread, &op, &mut variants);
        if variants.is_empty() {
            variants.push(Variant::Only);
        }
        let chosen = self.pick_variant(index, variants.len());
        if let Model::Ra(ra) = &mut self.memory {
            ra.chosen = Some(variants[chosen]);
            ra.is_picked = true;
            ra.variants = variants;
        }
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

    /// `thread` is about to begin a read section: it knows of the grace periods that it would have
    /// delayed, as it begins after their end.
    fn enter_section(&mut self, thread: usize) {
        let step = self.step;
        let ended: Vec<_> = (self.log.graces.iter().copied())
            .filter(|&grace| grace < step && self.would_delay(thread, grace as usize))
            .collect();
        let Model::Ra(ra) = &mut self.memory else {
            return;
        };
        ra.threads[thread].outside = Some(ra.threads[thread].now.clone());
        for grace in ended {
            let view = ra.graces.iter().find(|&&(event, _)| event == grace);
            let view = view.map(|(_, view)| view.clone()).unwrap_or_default();
            ra.take_over(thread, &view);
        }
    }

    fn collect_variants(&self, thread: usize, op: &Op, variants: &mut Vec<Variant>) {
        let Some(ra) = self.memory.ra() else { return };
        if op.kind == Kind::Relax {
            variants.extend(self.raises(thread));
            return;
        }
        if !self.is_atomic(op) {
            return;
        }
        let history = &ra.histories[op.object as usize];
        let visible = self.eligible(thread, op, history);
        let open = |write: WriteNumber| !history.is_replaced(write);
        match op.kind {
            Kind::Load => variants.extend(visible.map(Variant::Read)),
            Kind::Await => variants.extend(
                visible
                    .filter(|&write| Self::holds(op, history.get(write).word))
                    .map(Variant::Read),
            ),
            Kind::Store => {
                variants.extend(visible.filter(|&write| open(write)).map(Variant::Write));
            }
            Kind::Rmw => {
                variants.extend(visible.filter(|&write| open(write)).map(Variant::Replace));
            }
            Kind::CompareExchange => variants.extend(visible.filter_map(|write| {
                if history.get(write).word != op.argument {
                    Some(Variant::Read(write))
                } else {
                    open(write).then_some(Variant::Replace(write))
                }
            })),
            _ => {}
        }
    }

    /// The writes that `op` of `thread` may see, the newest first, and without those that it need not
    /// see (see the head of this module): all that is newer must be settled, or have been executed
    /// before.
    fn eligible<'a>(
        &'a self,
        thread: usize,
        op: &'a Op,
        history: &'a History,
    ) -> impl Iterator<Item = WriteNumber> + 'a {
        let known = self
            .memory
            .ra()
            .map(|ra| ra.threads[thread].now.write(op.object));
        let visible = history.visible(known.unwrap_or(0));
        // The last of the newer writes that is not settled, as index + 1.
        let mut unsettled = 0;
        visible.filter(move |&write| {
            let by = history.get(write).by.map_or(0, |(_, event)| event + 1);
            let is_eligible = by >= unsettled;
            if by > unsettled && !self.is_settled(thread, by - 1) {
                unsettled = by;
            }
            is_eligible
        })
    }

    /// Whether what `thread` is about to execute comes after `event` for another reason than what it does
    /// to its object.
    fn is_settled(&self, thread: usize, event: u32) -> bool {
        let event = event as usize;
        let before = |other: usize| self.log.happens_before(event, other);
        if let Some(previous) = self.slots[thread].last.checked_sub(1)
            && before(previous as usize)
        {
            return true;
        }
        // A log that was kept holds events to come.
        let is_past = |other: usize| other < self.step as usize;
        self.begins_section(thread)
            && self.log.graces.iter().any(|&grace| {
                let grace = grace as usize;
                is_past(grace) && before(grace) && self.would_delay(thread, grace)
            })
    }

    /// How the retry loop of `thread` can go on.
    fn raises(&self, thread: usize) -> impl Iterator<Item = Variant> + '_ {
        let watched = self.slots[thread].watched.iter();
        watched.filter_map(move |&(object, since)| {
            let ra = self.memory.ra()?;
            let Some(&Some(seen)) = ra.read.get(since as usize) else {
                // Not an atomic.
                let changed = self.has_changed_since(object, since, thread);
                return changed.then_some(Variant::Only);
            };
            let history = ra.history(object)?;
            history
                .after(seen)
                .find(|&write| history.get(write).by.is_none_or(|(by, _)| by != thread))
                .map(|write| Variant::Raise(object, write))
        })
    }

    /// Whether the pending retry of `thread` can go on.
    pub(super) fn can_retry(&self, thread: usize) -> bool {
        self.raises(thread).next().is_some()
    }

    /// Whether a wait of `thread` can see a value that satisfies it.
    pub(super) fn can_see(&self, thread: usize, op: &Op) -> bool {
        let history = self.memory.ra().and_then(|ra| ra.history(op.object));
        Self::holds(op, op.word())
            || history.is_some_and(|history| {
                self.eligible(thread, op, history)
                    .any(|write| Self::holds(op, history.get(write).word))
            })
    }

    /// How a compare-exchange touches its object: as it was picked if it is about to be executed,
    /// otherwise as if it were to succeed.
    pub(super) fn access_of_exchange(&self) -> Access {
        match self.memory.ra() {
            Some(Ra {
                is_picked: true,
                chosen: Some(Variant::Read(_)),
                ..
            }) => Access::Read,
            _ => Access::Write,
        }
    }

    /// What the pending operation of `thread`, just executed as event `index`, does to views.
    pub(super) fn hand_over(&mut self, thread: usize, index: usize) {
        let op = self.slots[thread].op;
        let seq = self.slots[thread].seq;
        let access = self.log.event(index).access;
        let is_meeting = matches!(self.objects.entry(op.object).shape, Shape::Meeting(_));
        let is_count = matches!(self.objects.entry(op.object).shape, Shape::Counter);
        let reads_count = is_count
            && matches!(
                (op.kind, access),
                (Kind::TryGet, Access::Write) | (Kind::Load, Access::Read)
            );
        if let Some(section) = self.slots[thread].reading.section {
            self.section_view(thread, section as usize);
        }
        if op.kind == Kind::GracePeriod {
            self.end_grace_period(thread, &op, index);
        }
        let Model::Ra(ra) = &mut self.memory else {
            return;
        };
        ra.is_picked = false;
        ra.threads[thread].outside = None;
        ra.threads[thread].now.know(thread, seq);
        ra.threads[thread].acquired.know(thread, seq);
        ra.read.truncate(index);
        ra.read.resize(index + 1, None);
        match (ra.chosen, op.kind) {
            (Some(Variant::Read(write)), kind) => {
                let failed = kind == Kind::CompareExchange;
                let order = if failed { op.failure } else { op.order };
                ra.read[index] = Some(write);
                ra.see(thread, op.object, write, order);
            }
            (Some(Variant::Replace(write)), _) => {
                ra.read[index] = Some(write);
                ra.see(thread, op.object, write, op.order);
            }
            (Some(Variant::Raise(object, write)), _) => {
                let mine = &mut ra.threads[thread];
                let history = &ra.histories[object as usize];
                mine.now.see(object, write, history);
                mine.acquired.see(object, write, history);
            }
            (_, Kind::Join) => {
                let target = usize::try_from(op.argument).expect("a thread number");
                let view = ra.threads[target].now.clone();
                ra.take_over(thread, &view);
            }
            (_, Kind::GracePeriod) => {
                let view = ra.threads[thread].now.clone();
                ra.graces.push((crate::engine::log::as_u32(index), view));
            }
            _ => {}
        }
        if op.object == 0 || matches!(ra.chosen, Some(Variant::Read(_) | Variant::Replace(_))) {
            return;
        }
        ra.reserve(op.object);
        let mut handed = std::mem::take(&mut ra.handed[op.object as usize]);
        match access {
            Access::AcquireExclusive | Access::TryExclusive => {
                ra.take_over(thread, &handed.to_all);
                ra.take_over(thread, &handed.by_sharers);
            }
            Access::AcquireShared | Access::TryShared => ra.take_over(thread, &handed.to_all),
            Access::ReleaseExclusive | Access::Downgrade => {
                handed.to_all.join(&ra.threads[thread].now, &ra.histories);
            }
            Access::ReleaseShared => {
                handed
                    .by_sharers
                    .join(&ra.threads[thread].now, &ra.histories);
            }
            Access::Read | Access::Write if is_meeting => {
                ra.take_over(thread, &handed.to_all);
                if access == Access::Write {
                    handed.to_all.join(&ra.threads[thread].now, &ra.histories);
                }
            }
            Access::Add | Access::Write if matches!(op.kind, Kind::Put | Kind::Add) => {
                if access == Access::Write && acquires(op.order) {
                    ra.take_over(thread, &handed.to_all);
                }
                if releases(op.order) {
                    handed.to_all.join(&ra.threads[thread].now, &ra.histories);
                }
            }
            Access::Read | Access::Write if reads_count && acquires(op.order) => {
                ra.take_over(thread, &handed.to_all);
            }
            Access::Write if is_count && op.kind == Kind::Rmw => {
                if acquires(op.order) {
                    ra.take_over(thread, &handed.to_all);
                }
                let mine = &ra.threads[thread];
                let message = if releases(op.order) {
                    &mine.now
                } else {
                    &mine.released
                };
                handed.to_all = message.clone();
            }
            _ => {}
        }
        ra.handed[op.object as usize] = handed;
    }

    /// Notes the view of `thread` before the section that it has begun, if it has just done so.
    fn section_view(&mut self, thread: usize, section: usize) {
        if let Model::Ra(ra) = &mut self.memory
            && section >= ra.sections.len()
            && let Some(start) = ra.threads[thread].outside.take()
        {
            let end = View::default();
            ra.sections.push(SectionView { start, end });
        }
    }

    /// `thread` takes over the views of the sections that its grace period has waited for.
    fn end_grace_period(&mut self, thread: usize, op: &Op, index: usize) {
        let call = usize::try_from(op.argument).expect("an index of the log");
        let waited: Vec<_> = (0..self.sections.len())
            .filter(|&section| {
                let section = &self.sections[section];
                (section.first as usize) < index && !self.starts_after(section, call)
            })
            .collect();
        if let Model::Ra(ra) = &mut self.memory {
            for section in waited {
                let end = ra.sections[section].end.clone();
                ra.take_over(thread, &end);
            }
        }
    }

    /// The current thread leaves a read section.
    pub(crate) fn leave_section_view(&mut self, section: u32) {
        let thread = self.current;
        if let Model::Ra(ra) = &mut self.memory {
            ra.sections[section as usize].end = ra.threads[thread].now.clone();
        }
    }

    /// Whether a section knows of a call when it begins, judged by views. `None` under models
    /// without.
    pub(crate) fn section_knows(&self, first: u32, call: usize) -> Option<bool> {
        let ra = self.memory.ra()?;
        let at = self
            .sections
            .binary_search_by_key(&first, |section| section.first);
        let (Ok(at), call) = (at, self.log.event(call)) else {
            return Some(false);
        };
        Some(
            ra.sections[at]
                .start
                .knows(usize::from(call.thread), call.seq),
        )
    }

    /// Whether `thread`, about to begin a section, knows of a call, judged by views. `None` under
    /// models without.
    pub(crate) fn thread_knows(&self, thread: usize, call: usize) -> Option<bool> {
        let ra = self.memory.ra()?;
        let mine = &ra.threads[thread];
        let call = self.log.event(call);
        let view = mine.outside.as_ref().unwrap_or(&mine.now);
        Some(view.knows(usize::from(call.thread), call.seq))
    }

    /// A use of an object in a range of addresses, by another thread, of which the current thread does not know.
    pub(crate) fn unknown_use(&self, start: usize, len: usize) -> Option<String> {
        let objects = self.objects.within(start, len);
        let mut uses = objects.flat_map(|object| self.log.chain(object, &self.objects));
        let (unknown, _) = uses.find(|&(event, _)| {
            // The end of a round of a retry loop is no access; giving a reference back comes before giving back the last one by
            // coherence, and what it orders besides is for the other uses to show.
            !matches!(self.log.event(event).kind, Kind::Relax | Kind::Put)
                && event < self.step as usize
                && usize::from(self.log.event(event).thread) != self.current
                && self.thread_knows(self.current, event) == Some(false)
        })?;
        let event = self.log.event(unknown);
        let who = &self.slots[usize::from(event.thread)].name;
        let what = self.name_of(event.object);
        Some(format!("{who} uses {what} at step {unknown}"))
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
