//! In which ways an operation takes place: what a load takes, and where a store goes.
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
//! **Waiting.** What is stored is seen at some time. So a wait for a value goes on with any write that
//! satisfies it and is not too old for the thread, and waits only if there is none. And the end of
//! a round of a retry loop waits until one of the objects read has a write by another thread newer than
//! the first one that the round has seen; which one of these the next round must see is a variant. As
//! it sees more each time, the loop ends.

use super::Ra;
use crate::engine::Engine;
use crate::engine::memory::Model;
use crate::engine::memory::view::{History, WriteNumber};
use crate::engine::op::{Access, Kind, Op};
use crate::sync::atomic::Ordering::SeqCst;

/// A way in which an operation can take place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Variant {
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

impl Engine {
    /// Picks the variant in which the pending operation of `thread` is executed as event `index`.
    pub(in crate::engine::memory) fn prepare(&mut self, thread: usize, index: usize) {
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
    pub(in crate::engine::memory) fn can_retry(&self, thread: usize) -> bool {
        self.raises(thread).next().is_some()
    }

    /// Whether a wait of `thread` can see a value that satisfies it.
    pub(in crate::engine::memory) fn can_see(&self, thread: usize, op: &Op) -> bool {
        let history = self.memory.ra().and_then(|ra| ra.history(op.object));
        Self::holds(op, op.word())
            || history.is_some_and(|history| {
                self.eligible(thread, op, history)
                    .any(|write| Self::holds(op, history.get(write).word))
            })
    }

    /// How a compare-exchange touches its object: as it was picked if it is about to be executed,
    /// otherwise as if it were to succeed.
    pub(in crate::engine::memory) fn access_of_exchange(&self) -> Access {
        match self.memory.ra() {
            Some(Ra {
                is_picked: true,
                chosen: Some(Variant::Read(_)),
                ..
            }) => Access::Read,
            _ => Access::Write,
        }
    }
}
