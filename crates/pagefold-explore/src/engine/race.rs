//! Which earlier events a new event depends on, and which of these pairs are races.
//!
//! A race is a pair that can be reversed: the later event could have come before the earlier one.
//! Each race makes the search try the reversal (see [`super::search`]). For a new event `e` of
//! thread `p` there are three sorts of earlier events to look at:
//!
//! * [`Tie::Plain`]: the two depend on each other and both orders are always possible. A race if no
//!   third event lies between them in happens-before; if one does, reversing the inner pairs first
//!   brings the outer one about. Checked by going through the earlier events from the newest to
//!   the oldest with a clock that collects what they know.
//! * [`Tie::Order`]: the earlier one makes the later one possible: a release and an acquisition of
//!   what was released, the end of a thread and its join, the end of a read section and a grace
//!   period. Never a race.
//! * [`Tie::Blocking`]: the later one may block, and the earlier one kept it from running or may
//!   have: an acquisition and an earlier incompatible acquisition; a grace period and the first
//!   event of a read section; a wait and an earlier write to what it waits for. Between them in
//!   happens-before there always lies the event that unblocked `p` (the release, the end of
//!   the section), so "nothing lies between" would never hold and is the wrong question. The
//!   right one is whether `p` could have got to its operation before the earlier event at all, that
//!   is whether the event before in `p` is not after it.
//!
//! What is left out, and why:
//!
//! * A blocking acquisition looks only as far back as the last exclusive one, which happens after
//!   everything older.
//! * A wait for a value looks past the last write at *all* earlier writes which `p` had not seen,
//!   as a wait is not kept from running by the last write alone: it could have run at each earlier
//!   value that satisfies it. As the values are known, those that do not are skipped; for these the
//!   wait was disabled and there is nothing to reverse.
//! * A *claim* is such a wait which also writes, as what it waits for can be had once. To what came before
//!   it is as any wait; there are no mere reads before, as objects that are claimed are never just read.
//! * A retry loop's [`relax`](crate::hint::relax) is a wait for any change of several objects.
//!   It could have run before a change `w` only if some other change that had not come after `w`
//!   had woken it already.

use std::cmp::Reverse;

use super::Engine;
use super::log::Draft;
use super::memory::shadow;
use super::op::{Access, Kind, Op};
use super::threads::ThreadNumber;

/// How an earlier event is tied to the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tie {
    /// Dependent; a race if immediate.
    Plain,
    /// Dependent, never a race.
    Order,
    /// Dependent; a race unless known to the thread before.
    Blocking,
}

impl Engine {
    /// Executes the pending operation of `thread` in the log, and has its races reversed.
    pub(crate) fn append(&mut self, thread: usize) {
        let index = self.log.len();
        let mut ties = std::mem::take(&mut self.ties);
        ties.clear();
        // Not copied as a whole: its parts were just written one by one.
        let op = &self.slots[thread].op;
        let (kind, object) = (op.kind, op.object);
        let access = self.access_of(thread, op);
        let before = match kind {
            Kind::GracePeriod => op.argument,
            Kind::Flush => shadow::get(object),
            _ => op.word(),
        };
        let sorted = self.collect_ties(thread, op, access, &mut ties);
        if !sorted {
            ties.sort_unstable_by_key(|&(event, _)| Reverse(event));
        }

        let slot = &self.slots[thread];
        let (seq, last, began) = (slot.seq + 1, slot.last, slot.seq != 0);
        let previous = last.checked_sub(1).map(|previous| previous as usize);
        self.log.clocks.begin(previous);
        let mut races = std::mem::take(&mut self.races);
        races.clear();
        for &(event, tie) in &ties {
            let covered = match (tie, previous) {
                (Tie::Plain | Tie::Order, _) => self.log.covers(self.log.clocks.last(), event),
                (Tie::Blocking, Some(previous)) => self.log.happens_before(event, previous),
                (Tie::Blocking, None) => false,
            };
            if covered {
                continue;
            }
            if tie != Tie::Order {
                races.push(event);
            }
            self.log.clocks.join(event);
        }
        self.log.clocks.set(thread, seq);

        let draft = Draft {
            thread: as_number(thread),
            kind,
            access,
            object,
            seq,
            previous_of_thread: if began { last } else { 0 },
            before,
        };
        self.log.push(draft, &mut self.objects);
        match kind {
            Kind::WriteRange => {
                let (start, len) = self.slots[thread].op.range();
                let mut written = std::mem::take(&mut self.scratch);
                written.clear();
                written.extend(self.objects.within(start, len));
                for &object in &written {
                    self.log.link(object, Access::Write, &mut self.objects);
                }
                self.scratch = written;
                self.log.note_range(start, len);
            }
            Kind::Flush => {
                if let Some(store) = self.buffered_by(thread) {
                    self.log.note_flush(store);
                }
            }
            Kind::Relax => {
                for &(object, _) in &self.slots[thread].watched {
                    self.log.link(object, Access::Read, &mut self.objects);
                }
            }
            _ => {}
        }

        if self.cache.is_some() {
            self.cache_footprint(index, thread, access);
        }
        if self.preemptions.limit.is_none() && !self.tree.is_settled(index) {
            for &event in &races {
                self.reverse(event, index);
            }
        }
        self.races = races;
        self.ties = ties;
        if self.preemptions.limit.is_some() {
            self.reverse_within_bound(thread, access);
        }
    }

    /// Finds the earlier events tied to `op`. Returns whether they are sorted, the newest first.
    pub(crate) fn collect_ties_in_memory(
        &self,
        thread: usize,
        op: &Op,
        access: Access,
        ties: &mut Vec<(usize, Tie)>,
    ) -> bool {
        match op.kind {
            Kind::Start
            | Kind::Call
            | Kind::Ipi
            | Kind::BufferStore
            | Kind::BufferRelease
            | Kind::Fence => {}
            Kind::Join => {
                let target = usize::try_from(op.argument).expect("a thread number");
                if let Some(last) = self.slots[target].last.checked_sub(1) {
                    ties.push((last as usize, Tie::Order));
                }
            }
            Kind::Load
            | Kind::Store
            | Kind::Rmw
            | Kind::CompareExchange
            | Kind::Add
            | Kind::TryGet
            | Kind::Put
            | Kind::TryExclusive
            | Kind::TryShared
            | Kind::ReleaseExclusive
            | Kind::ReleaseShared
            | Kind::Downgrade
            | Kind::Flush
            | Kind::FenceSeqCst => self.tie_plain(op.object, access, ties),
            Kind::AcquireExclusive | Kind::AcquireShared => {
                self.tie_acquisition(op.object, access, ties);
            }
            Kind::Await | Kind::Claim => self.tie_await(thread, op, ties),
            Kind::Relax => {
                self.tie_relax(thread, ties);
                return self.tie_sections(thread, ties, false);
            }
            Kind::WriteRange => {
                let (start, len) = op.range();
                for object in self.objects.within(start, len) {
                    self.tie_plain(object, access, ties);
                }
                for range in &self.log.ranges {
                    if range.overlaps(start, len) {
                        ties.push((range.event as usize, Tie::Plain));
                    }
                }
                return self.tie_sections(thread, ties, false);
            }
            Kind::GracePeriod => {
                let call = usize::try_from(op.argument).expect("an index of the log");
                for section in &self.sections {
                    if self.starts_after(section, call) {
                        continue;
                    }
                    if let Some(last) = section.last {
                        ties.push((last as usize, Tie::Order));
                    }
                    ties.push((section.first as usize, Tie::Blocking));
                }
                return self.tie_sections(thread, ties, false);
            }
        }
        self.tie_sections(thread, ties, true)
    }

    /// If the event just executed conflicts with an earlier one that its thread did not know of before: what happened.
    ///
    /// Events of the future are in the log as well, in a prefix that is replayed.
    pub(crate) fn describe_data_race(&self) -> Option<String> {
        let this = (self.step as usize).checked_sub(1)?;
        let event = self.log.event(this);
        let known = event.previous_of_thread.checked_sub(1);
        let (other, _) = self
            .log
            .chain(event.object, &self.objects)
            .find(|&(other, access)| {
                other < this
                    && self.log.event(other).thread != event.thread
                    && access.conflicts(event.access)
                    && !self
                        .thread_knows(usize::from(event.thread), other)
                        .unwrap_or_else(|| {
                            known
                                .is_some_and(|known| self.log.happens_before(other, known as usize))
                        })
            })?;
        let other_event = self.log.event(other);
        let did = match other_event.kind {
            Kind::Load => "reads",
            Kind::Store => "writes",
            _ => "frees",
        };
        let does = if event.kind == Kind::Load {
            "reads"
        } else {
            "writes"
        };
        Some(format!(
            "{} {does} {} at step {this}, {} {did} it at step {other}, and nothing orders the two",
            self.slots[usize::from(event.thread)].name,
            self.name_of(event.object),
            self.slots[usize::from(other_event.thread)].name,
        ))
    }

    /// How the pending operation `op` of `thread` touches its object if it is executed now.
    ///
    /// The races of an operation and the decision whether it goes on sleeping must be judged alike,
    /// so both ask here.
    #[inline]
    pub(crate) fn access_of(&self, thread: usize, op: &Op) -> Access {
        if self.memory.is_weak()
            && let Some(access) = self.access_of_weak(thread, op)
        {
            return access;
        }
        match op.kind {
            Kind::Put => self.access_of_put(thread, op),
            _ => op.access(),
        }
    }

    /// How giving back references touches their count.
    ///
    /// Taking and giving back commute as long as no order of them passes zero: if giving back leads
    /// to zero, somebody frees the object, and if it led there before somebody else took
    /// a reference, that one fails. So this one is harmless, an [`Access::Add`], if the count stays
    /// above zero even when everybody who took a reference without knowing of this thread, or
    /// unknown to it, had not taken it yet. Otherwise it is a write: its order to all the others
    /// matters. (References that others give back later can lead to zero as well; then it is those
    /// that are writes.)
    fn access_of_put(&self, thread: usize, op: &Op) -> Access {
        let mut after = op.word();
        let Some(left) = after.checked_sub(op.argument) else {
            return Access::Write;
        };
        let known = self.slots[thread].last.checked_sub(1);
        let mut unknown = 0;
        for (index, earlier) in self.log.chain(op.object, &self.objects) {
            if is_barrier(earlier) {
                break;
            }
            let before = self.log.event(index).before;
            let ordered = known.is_some_and(|known| self.log.happens_before(index, known as usize));
            if !ordered && earlier == Access::Add {
                unknown += after.saturating_sub(before);
            }
            after = before;
        }
        if left > unknown {
            Access::Add
        } else {
            Access::Write
        }
    }

    /// If the operation begins a read section: grace periods which the section would have delayed.
    pub(crate) fn tie_sections(
        &self,
        thread: usize,
        ties: &mut Vec<(usize, Tie)>,
        sorted: bool,
    ) -> bool {
        if !self.begins_section(thread) || self.log.graces.is_empty() {
            return sorted;
        }
        for &grace in &self.log.graces {
            if self.would_delay(thread, grace as usize) {
                ties.push((grace as usize, Tie::Plain));
            }
        }
        false
    }

    /// Everything that conflicts, as far back as an event that comes after all that is older.
    #[inline]
    pub(crate) fn tie_plain(&self, object: u32, access: Access, ties: &mut Vec<(usize, Tie)>) {
        for (event, earlier) in self.log.chain(object, &self.objects) {
            if access.conflicts(earlier) {
                ties.push((event, Tie::Plain));
            }
            if is_barrier(earlier) {
                if self.memory.is_weak() {
                    self.tie_forwarded(event, object, access, ties);
                }
                break;
            }
        }
    }

    fn tie_acquisition(&self, object: u32, access: Access, ties: &mut Vec<(usize, Tie)>) {
        let exclusive = access == Access::AcquireExclusive;
        let mut shared_since = false;
        let mut downgraded = false;
        for (event, earlier) in self.log.chain(object, &self.objects) {
            match earlier {
                // If the lock was released and shared since, reversing with the sharers comes
                // first. (Sharers after a mere downgrade shared a lock that was never free.)
                Access::AcquireExclusive | Access::TryExclusive if shared_since && !downgraded => {}
                Access::AcquireExclusive | Access::TryExclusive => {
                    ties.push((event, Tie::Blocking));
                }
                Access::AcquireShared | Access::TryShared if exclusive => {
                    ties.push((event, Tie::Blocking));
                    shared_since = true;
                }
                Access::ReleaseExclusive => ties.push((event, Tie::Order)),
                Access::Downgrade => {
                    ties.push((event, Tie::Order));
                    downgraded = true;
                }
                Access::ReleaseShared if exclusive => ties.push((event, Tie::Order)),
                Access::None | Access::Add => {}
                _ if access.conflicts(earlier) => ties.push((event, Tie::Plain)),
                _ => {}
            }
            if is_barrier(earlier) {
                break;
            }
        }
    }

    fn tie_await(&self, thread: usize, op: &Op, ties: &mut Vec<(usize, Tie)>) {
        let known = self.slots[thread].last.checked_sub(1);
        let mut value = op.word();
        for (index, access) in self.log.chain(op.object, &self.objects) {
            if access != Access::Write {
                continue;
            }
            if self.log.event(index).flushes_for(thread) {
                break;
            }
            if known.is_some_and(|known| self.log.happens_before(index, known as usize)) {
                break;
            }
            let event = self.log.event(index);
            if event.kind != Kind::WriteRange {
                value = event.before;
            }
            // With views it may see older values.
            let possible = self.memory.ra().is_some() || Self::holds(op, value);
            ties.push((index, if possible { Tie::Blocking } else { Tie::Order }));
        }
    }

    fn tie_relax(&self, thread: usize, ties: &mut Vec<(usize, Tie)>) {
        let start = ties.len();
        for &(object, since) in &self.slots[thread].watched {
            let Some(since) = self.in_memory_since(object, since) else {
                continue;
            };
            for (event, access) in self.log.chain(object, &self.objects) {
                if event <= since as usize {
                    break;
                }
                if access.changes() && self.log.event(event).owner() != thread {
                    ties.push((event, Tie::Order));
                }
            }
        }
        for this in start..ties.len() {
            let (change, _) = ties[this];
            // With views the thread may have seen old values, and be awake for that.
            let awake_without = self.memory.ra().is_some()
                || ties[start..]
                    .iter()
                    .any(|&(other, _)| other != change && !self.log.happens_before(change, other));
            if awake_without {
                ties[this].1 = Tie::Blocking;
            }
        }
    }
}

/// Whether everything older on the same object happens before an event with this access.
#[inline]
pub(crate) fn is_barrier(access: Access) -> bool {
    matches!(
        access,
        Access::Write | Access::AcquireExclusive | Access::TryExclusive
    )
}

/// A thread's number as it is stored.
#[inline]
pub(crate) fn as_number(thread: usize) -> ThreadNumber {
    ThreadNumber::try_from(thread).expect("there are at most MAX_THREADS threads")
}
