//! Total store order: a store buffer for each thread, as x86 has.
//!
//! **The model** (Sewell and others, "x86-TSO", CACM 2010). A plain store goes to the end of a
//! first-in-first-out buffer of its thread; its head reaches memory at any later time. A load takes
//! the newest store to its object in the own buffer, and memory only if there is none. Operations
//! that *drain* are disabled until the buffer of their thread is empty.
//!
//! | operation | |
//! |---|---|
//! | store, up to `Release` | buffered |
//! | release of an exclusive spin lock, enabling interrupts | buffered: x86 needs no more than a store |
//! | load, of any order; wait for a value; end of a retry round; access to a [cell](crate::cell) | does not drain |
//! | read-modify-write, compare-exchange (also if it fails), counter, reference count | drains: `lock` prefix |
//! | store with `SeqCst` | drains, then writes: `xchg` |
//! | fence with `SeqCst` | drains: `mfence` |
//! | acquisition of a lock and attempt at it, release of a sleeping or shared lock, downgrade | drains: read-modify-write |
//! | disabling interrupts, sending an interrupt | drains (interrupts serialize) |
//! | spawning a thread, joining one | drains; a join waits for the buffer of the other, too |
//! | threads meeting ([`Once`](crate::sync::Once), channels, and so on), parking | drains |
//! | asking for a grace period and waiting for one | drains, and waits for the stores of the sections |
//! | freeing a range of memory | drains: allocators take locks |
//! | [`quiet`](crate::quiet) | drains when entered |
//!
//! Where this drains and hardware need not (a failed attempt at a lock, disabling interrupts, asking
//! for a grace period), behaviours are missed that a program hardly relies on to be absent.
//!
//! **Events.** A buffered store is an event of its thread that touches nothing. That it reaches
//! memory is the event of a *flusher*, a thread without a coroutine whose number is that of its
//! owner plus [`FLUSHER`], and which is enabled as long as the buffer is not empty. The engine
//! executes its events itself. So schedules, sleep sets, races, replay and minimization treat
//! a flusher as any thread, and an execution ends when all buffers are empty.
//!
//! **Dependence.** Executing the flusher's event is a write to the object (or its release). It
//! happens after the store's event. A draining operation happens after the last event of its flusher:
//! a [`Tie::Order`], as it was disabled before. What is special is a load and the own flusher:
//!
//! * They always commute: if the load follows a store to its object in program order, it takes
//!   the store's value (or that of a later one) before the flush from the buffer and right after it
//!   from memory; if it comes before the store, it is not next to the flush.
//! * So a load that finds its value in the buffer (it is *forwarded*) touches nothing, and a load
//!   from memory whose value was written by the own flusher is not ordered after what came before
//!   that flush: it could as well have been forwarded.
//! * A write `w` by others which comes *after* the flush of the store that a load was forwarded from
//!   must happen after the load: with the flush and `w` first, the load would see `w`. That is
//!   known when `w` is executed, and the pair is then a race ([`Engine::tie_forwarded`]).
//!
//! These are the *chronological traces* of Abdulla and others ("Stateless model checking for TSO and
//! PSO", TACAS 2015): two executions are equivalent if and only if loads read from the same stores
//! and stores reach each object in the same order. So there is one complete execution for each
//! of them.

use std::collections::VecDeque;

use super::Model;
use crate::class::LockKind;
use crate::engine::Engine;
use crate::engine::object::{Object, Shape};
use crate::engine::op::{Access, Kind, Op};
use crate::engine::race::Tie;
use crate::engine::search::Next;
use crate::engine::threads::bit;
use crate::sync::atomic::Ordering;

/// The number of the first flusher; the most threads an execution may have.
pub(crate) const FLUSHER: usize = crate::config::MAX_THREADS / 2;

/// A store that has not reached memory.
#[derive(Clone, Copy, Debug)]
struct Entry {
    object: u32,
    word: u64,
    /// Whether it releases a lock.
    release: bool,
    /// The event that put it here.
    event: u32,
}

/// The store buffers, by owner.
#[derive(Debug)]
pub(crate) struct Tso {
    buffers: Vec<VecDeque<Entry>>,
}

impl Tso {
    pub(crate) fn new() -> Self {
        Self {
            buffers: (0..FLUSHER).map(|_| VecDeque::new()).collect(),
        }
    }

    pub(crate) fn restart(&mut self) {
        super::shadow::begin();
        for buffer in &mut self.buffers {
            buffer.clear();
        }
    }

    /// The newest store of `thread` to an object.
    fn newest(&self, thread: usize, object: u32) -> Option<&Entry> {
        let buffer = self.buffers.get(thread)?;
        buffer.iter().rev().find(|entry| entry.object == object)
    }

    fn is_empty(&self, thread: usize) -> bool {
        self.buffers.get(thread).is_none_or(VecDeque::is_empty)
    }
}

/// Whether operations of a kind drain.
fn drains(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Start
            | Kind::Load
            | Kind::Await
            | Kind::Relax
            | Kind::BufferStore
            | Kind::BufferRelease
            | Kind::Flush
    )
}

impl Engine {
    /// Whether an operation waits until the buffer of its thread is empty. (That plain memory is written,
    /// of which only races are told, is no operation of the processor that does.)
    fn drains(&self, op: &Op) -> bool {
        drains(op.kind) && !matches!(self.objects.entry(op.object).shape, Shape::Cell)
    }

    /// What `thread` has in its buffer for an object.
    pub(crate) fn forwarded(&self, thread: usize, object: u32) -> Option<u64> {
        let entry = self.memory.tso()?.newest(thread, object)?;
        Some(entry.word)
    }

    /// Has the pending operation of the current thread use the buffer, if it is a store that can.
    pub(super) fn make_buffered(&mut self) {
        let op = &mut self.slots[self.current].op;
        let spins = || match self.objects.entry(op.object).shape {
            Shape::Lock(class) => class.kind == LockKind::Spin,
            Shape::Cpu(_) => true,
            Shape::Atomic | Shape::Counter | Shape::Cell | Shape::Meeting(_) => false,
        };
        match op.kind {
            Kind::Store if op.order != Ordering::SeqCst => op.kind = Kind::BufferStore,
            Kind::ReleaseExclusive if spins() => op.kind = Kind::BufferRelease,
            _ => {}
        }
    }

    /// Whether `thread` has stores that did not reach memory.
    pub(crate) fn has_buffered(&self, thread: usize) -> bool {
        self.memory.tso().is_some_and(|tso| !tso.is_empty(thread))
    }

    /// Whether the pending operation of `thread` waits for its buffer, or that of another.
    pub(crate) fn waits_for_buffer(&self, thread: usize) -> bool {
        let op = &self.slots[thread].op;
        if self.has_buffered(thread) && self.drains(op) {
            return true;
        }
        match op.kind {
            Kind::Join => self.has_buffered(usize::try_from(op.argument).expect("a thread number")),
            Kind::GracePeriod => self.sections_have_buffered(op),
            _ => false,
        }
    }

    /// Whether a store of a section that a grace period waits for has not reached memory.
    fn sections_have_buffered(&self, op: &Op) -> bool {
        let Some(tso) = self.memory.tso() else {
            return false;
        };
        let call = usize::try_from(op.argument).expect("an index of the log");
        self.sections.iter().any(|section| {
            let oldest = tso.buffers[usize::from(section.thread)].front();
            oldest.is_some_and(|entry| section.last.is_some_and(|last| entry.event <= last))
                && !self.starts_after(section, call)
        })
    }

    /// The store that the current thread has just executed goes to its buffer.
    pub(super) fn buffer(&mut self, object: &Object, word: u64) {
        let me = self.current;
        let op = self.slots[me].op;
        let Model::Tso(tso) = &mut self.memory else {
            return;
        };
        object.use_shadow();
        tso.buffers[me].push_back(Entry {
            object: op.object,
            word,
            release: op.kind == Kind::BufferRelease,
            event: self.step - 1,
        });
        self.arm(me);
    }

    /// Has the flusher of `owner` announce what is next in the buffer.
    fn arm(&mut self, owner: usize) {
        let flusher = FLUSHER + owner;
        let oldest = self.memory.tso().and_then(|tso| tso.buffers[owner].front());
        match oldest {
            Some(entry) => {
                self.slots[flusher].op = Op {
                    object: entry.object,
                    length: entry.release.into(),
                    ..Op::plain(Kind::Flush, entry.word)
                };
                self.live |= bit(flusher);
            }
            None => self.live &= !bit(flusher),
        }
    }

    /// The event by which the store that `flusher` is about to flush was executed.
    pub(crate) fn buffered_by(&self, flusher: usize) -> Option<u32> {
        let oldest = self.memory.tso()?.buffers[flusher - FLUSHER].front()?;
        Some(oldest.event)
    }

    /// Executes the events of flushers that are next, up to one of a thread.
    #[cold]
    pub(crate) fn run_flushers(&mut self) {
        let running = self.current;
        while let Next::Thread(flusher) = self.next
            && flusher >= self.first_flusher
        {
            self.commit(flusher);
            self.current = running;
            if self.broken.is_some() {
                return;
            }
            let owner = flusher - FLUSHER;
            if let Model::Tso(tso) = &mut self.memory
                && let Some(entry) = tso.buffers[owner].pop_front()
            {
                super::shadow::set(entry.object, entry.word);
            }
            self.arm(owner);
            self.next = self.decide();
        }
    }

    /// A store to `object` was buffered, and then the object was moved: it has the value that
    /// whoever moved it would see in it. The stores in buffers are to a place that nobody has.
    pub(crate) fn settle_moved(&self, object: &Object) {
        if let Some(tso) = self.memory.tso()
            && object.is_shadowed()
        {
            let moved = object.id();
            let newest = tso.newest(self.current, moved).or_else(|| {
                let owners = 0..tso.buffers.len();
                owners.rev().find_map(|owner| tso.newest(owner, moved))
            });
            let word = newest.map_or_else(|| object.get(), |entry| entry.word);
            object.leave_shadow(word);
        }
    }

    /// Finds the earlier events tied to `op`, as [`super::super::race`] does for other models. They
    /// are not sorted.
    pub(crate) fn collect_ties_buffered(
        &self,
        thread: usize,
        op: &Op,
        access: Access,
        ties: &mut Vec<(usize, Tie)>,
    ) {
        match op.kind {
            Kind::Flush => {
                self.tie_flush(thread, op.object, access, ties);
                self.tie_sections(thread, ties, false);
            }
            Kind::Load | Kind::Await if access == Access::None => {
                self.tie_sections(thread, ties, false);
            }
            Kind::Load => {
                self.tie_load(thread, op.object, ties);
                self.tie_sections(thread, ties, false);
            }
            _ => {
                self.collect_ties_in_memory(thread, op, access, ties);
            }
        }
        if self.drains(op) {
            self.tie_last_of(FLUSHER + thread, ties);
        }
        match op.kind {
            Kind::Join => {
                let target = usize::try_from(op.argument).expect("a thread number");
                self.tie_last_of(FLUSHER + target, ties);
            }
            Kind::GracePeriod => self.tie_stores_of_sections(op, ties),
            _ => {}
        }
    }

    /// Happens after the last event of `thread`, by which it was enabled.
    fn tie_last_of(&self, thread: usize, ties: &mut Vec<(usize, Tie)>) {
        if let Some(last) = self.slots[thread].last.checked_sub(1) {
            let last = last as usize;
            // If the two depend on each other by what they touch as well, that is no race.
            ties.retain(|&(event, _)| event != last);
            ties.push((last, Tie::Order));
        }
    }

    /// A store reaches memory.
    fn tie_flush(&self, flusher: usize, object: u32, access: Access, ties: &mut Vec<(usize, Tie)>) {
        let owner = flusher - FLUSHER;
        for (index, earlier) in self.log.chain(object, &self.objects) {
            // What the owner did before the store is known by it, and what it did since commutes.
            if access.conflicts(earlier) && usize::from(self.log.event(index).thread) != owner {
                ties.push((index, Tie::Plain));
            }
            if crate::engine::race::is_barrier(earlier) {
                self.tie_forwarded(index, object, access, ties);
                break;
            }
        }
        if let Some(store) = self.buffered_by(flusher) {
            ties.push((store as usize, Tie::Order));
        }
    }

    /// A load from memory. If its value was written by the own flusher, nothing older matters.
    fn tie_load(&self, thread: usize, object: u32, ties: &mut Vec<(usize, Tie)>) {
        for (index, earlier) in self.log.chain(object, &self.objects) {
            if self.log.event(index).flushes_for(thread) {
                break;
            }
            if Access::Read.conflicts(earlier) {
                ties.push((index, Tie::Plain));
            }
            if crate::engine::race::is_barrier(earlier) {
                break;
            }
        }
    }

    /// Loads that were forwarded from the store that reached memory by event `flush`, if it is one:
    /// a new write to the object is reversible with them.
    ///
    /// In the chain they lie between the flush and the store; those after a later store of the
    /// same thread to the object were forwarded from that one.
    pub(crate) fn tie_forwarded(
        &self,
        flush: usize,
        object: u32,
        access: Access,
        ties: &mut Vec<(usize, Tie)>,
    ) {
        let event = self.log.event(flush);
        if event.kind != Kind::Flush || !access.conflicts(Access::Read) {
            return;
        }
        let owner = usize::from(event.thread) - FLUSHER;
        let store = self.log.store_of(flush);
        let start = ties.len();
        for (index, _) in self.log.chain(object, &self.objects) {
            if index >= flush {
                continue;
            }
            if index == store {
                return;
            }
            let event = self.log.event(index);
            if usize::from(event.thread) == owner {
                match event.kind {
                    Kind::BufferStore | Kind::BufferRelease => ties.truncate(start),
                    Kind::Load | Kind::Await => ties.push((index, Tie::Plain)),
                    _ => {}
                }
            }
        }
    }

    /// The event since which writes by others replace what event `look` has seen of an object: itself,
    /// or the flush of the store that it was forwarded from. `None` if that is still to come.
    ///
    /// (What is written in between does not change what the thread sees, as it is older than
    /// its store. And a forwarded load commutes with it, so it must not make a difference.)
    pub(crate) fn in_memory_since(&self, object: u32, look: u32) -> Option<u32> {
        let event = self.log.event(look as usize);
        let forwarded =
            event.access == Access::None && matches!(event.kind, Kind::Load | Kind::Await);
        if !forwarded {
            return Some(look);
        }
        let (store, _) = self.log.chain(object, &self.objects).find(|&(index, _)| {
            let earlier = self.log.event(index);
            index < look as usize && earlier.kind.is_buffered() && earlier.thread == event.thread
        })?;
        let flushes = self.log.flushes.iter().rev();
        let flush = flushes.copied().find(|&(_, of)| of as usize == store);
        flush.map(|(flush, _)| flush)
    }

    /// A grace period happens after the stores of the sections it waits for.
    fn tie_stores_of_sections(&self, op: &Op, ties: &mut Vec<(usize, Tie)>) {
        let call = usize::try_from(op.argument).expect("an index of the log");
        for section in &self.sections {
            let Some(last) = section.last else { continue };
            if self.starts_after(section, call) {
                continue;
            }
            let flusher = FLUSHER + usize::from(section.thread);
            let flushes = self.log.flushes.iter().rev();
            let newest = flushes.copied().find(|&(flush, store)| {
                store <= last && usize::from(self.log.event(flush as usize).thread) == flusher
            });
            if let Some((flush, _)) = newest {
                ties.push((flush as usize, Tie::Order));
            }
        }
    }

    /// The flusher of a thread, if there is one.
    pub(crate) fn flusher_of(&self, thread: usize) -> Option<usize> {
        self.memory.tso().map(|_| FLUSHER + thread)
    }

    /// The number of lanes of a trace: threads, and flushers if there are any.
    pub(crate) fn lanes(&self) -> usize {
        match self.memory.tso() {
            Some(_) => FLUSHER + self.threads,
            None => self.threads,
        }
    }

    /// The flusher of `thread`, and the thread itself.
    pub(crate) fn owner(&self, lane: usize) -> usize {
        if lane >= self.first_flusher {
            lane - FLUSHER
        } else {
            lane
        }
    }

    /// The index of the label of the store that `flusher` flushed last or is about to flush.
    pub(crate) fn label_of_flush(&self, flusher: usize) -> String {
        let label = self
            .buffered_by(flusher)
            .and_then(|store| self.recorded.as_ref()?.get(store as usize));
        let label = label.map_or("a store", |step| &step.label);
        format!("{label} reaches memory")
    }
}
