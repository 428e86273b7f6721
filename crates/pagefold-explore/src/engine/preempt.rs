//! Searching only interleavings with few preemptions.
//!
//! A *preemption* is a switch away from a thread that could have gone on. (Operations that commute with
//! all others do not count, neither as something to switch to nor as something to switch from; nor does
//! a store that reaches memory.)
//!
//! **What is given up.** Source sets and sleep sets rest on equivalent interleavings being as good as each
//! other. With a bound they are not: one may be within it and the other not. So here nothing sleeps, and
//! a race is not considered done because *some* initial is among the choices; all are added. And as the interleaving that reverses a race at the earlier event may be one preemption too
//! many where one that lets the racing thread in *before the whole run* of the other is not, the
//! racing thread is added there, too (bounded partial-order reduction: Coons, Musuvathi,
//! McKinley, OOPSLA 2013). For the same reason all earlier conflicting events count which the thread does
//! not know, not only the last: an interleaving on the way from one reversal to the next may be out of
//! bounds.
//!
//! `tests/preemptions.rs` compares with the enumeration of all interleavings within the bound.

use super::Engine;
use super::op::{Access, Kind, Op};
use super::threads::{ThreadSet, bit, members};
use crate::config::Search;
use crate::subtree::Wanted;

/// The bound, and how much of it the current execution has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Preemptions {
    /// How many there may be at most.
    pub(crate) limit: Option<u32>,
    /// How many there were.
    used: u32,
    /// The thread that executed the last operation that counts.
    running: usize,
    /// Whether the limit has kept a thread from being picked, in any execution.
    pub(crate) was_met: bool,
}

impl Preemptions {
    pub(crate) fn new(limit: Option<u32>) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Prepares for an execution.
    pub(crate) fn restart(&mut self) {
        self.used = 0;
        self.running = 0;
    }

    /// Has as many been used as at `earlier`.
    pub(crate) fn go_back_to(&mut self, earlier: Self) {
        self.used = earlier.used;
        self.running = earlier.running;
    }
}

impl Engine {
    /// Which of the threads that can run may be picked.
    pub(crate) fn within_bound(&mut self, enabled: ThreadSet) -> ThreadSet {
        let Some(limit) = self.preemptions.limit else {
            return enabled;
        };
        let running = self.preemptions.running;
        if self.preemptions.used < limit || enabled & bit(running) == 0 {
            return enabled;
        }
        let allowed = members(enabled)
            .filter(|&thread| thread == running || !self.slots[thread].op.kind.is_scheduled())
            .fold(0, |set, thread| set | bit(thread));
        self.preemptions.was_met |= allowed != enabled;
        allowed
    }

    /// Whether the thread that ran cannot go on, so that somebody else must, and preemptions are
    /// bounded.
    pub(crate) fn switches_freely(&self, enabled: ThreadSet) -> bool {
        self.preemptions.limit.is_some() && enabled & bit(self.preemptions.running) == 0
    }

    /// Counts the switch to `thread`, which executes the event of the present node.
    pub(crate) fn count_preemption(&mut self, thread: usize) {
        if self.preemptions.limit.is_none() || !self.slots[thread].op.kind.is_scheduled() {
            return;
        }
        let running = self.preemptions.running;
        let enabled = self
            .tree
            .node(self.step as usize)
            .map_or(0, |node| node.enabled);
        self.preemptions.used += u32::from(running != thread && enabled & bit(running) != 0);
        self.preemptions.running = thread;
    }

    /// Has `thread` tried before each event that conflicts with what it has announced, and before the run of
    /// events that this one is part of.
    pub(crate) fn reverse_within_bound(&mut self, thread: usize, access: Access) {
        if self.search != Search::Reduced {
            return;
        }
        let mut events = std::mem::take(&mut self.races);
        events.clear();
        self.collect_conflicts(thread, &self.slots[thread].op, access, &mut events);
        events.sort_unstable();
        events.dedup();
        let known = self.slots[thread].last.checked_sub(1);
        events.retain(|&event| {
            usize::from(self.log.event(event).thread) != thread
                && known.is_none_or(|known| !self.log.happens_before(event, known as usize))
        });
        let later = self.log.len() - 1;
        for &event in &events {
            self.want_before(event, later);
            let other = self.log.event(event).thread;
            let mut start = event;
            while let Some(before) = start.checked_sub(1) {
                let earlier = *self.log.event(before);
                if earlier.thread != other {
                    self.want_before(start, later);
                    if earlier.kind.is_scheduled() {
                        break;
                    }
                }
                start = before;
            }
            self.want_before(start, later);
        }
        self.races = events;
    }

    /// Has all those tried in the place of `event` who lead on to event `later`: its own thread, and
    /// each that does something in between which it depends on.
    fn want_before(&mut self, event: usize, later: usize) {
        let Some(node) = self.tree.node(event) else {
            return;
        };
        let enabled = node.enabled;
        let own = usize::from(self.log.event(later).thread);
        let between = (event..later)
            .filter(|&index| self.log.happens_before(index, later))
            .map(|index| usize::from(self.log.event(index).thread))
            .filter(|&thread| thread != usize::from(self.log.event(event).thread));
        let leading = between.fold(bit(own), |set, thread| set | bit(thread)) & enabled;
        let wanted = if leading == 0 { enabled } else { leading };
        for thread in members(wanted) {
            self.want(Wanted {
                depth: event,
                initials: bit(thread),
                racing: None,
            });
        }
    }

    /// The earlier events that `op` of `thread` conflicts with, as far as that can be told from what they
    /// touch.
    fn collect_conflicts(&self, thread: usize, op: &Op, access: Access, events: &mut Vec<usize>) {
        let on = |object: u32, access: Access, events: &mut Vec<usize>| {
            let chain = self.log.chain(object, &self.objects);
            let fits = |&(event, earlier): &(usize, Access)| {
                // A load that was forwarded from a buffer touches nothing, until its store is flushed.
                let forwarded = self.memory.tso().is_some()
                    && matches!(self.log.event(event).kind, Kind::Load | Kind::Await);
                access.conflicts(if forwarded { Access::Read } else { earlier })
            };
            events.extend(chain.filter(fits).map(|(event, _)| event));
        };
        let section = self.begins_section(thread);
        match op.kind {
            Kind::Start | Kind::Call | Kind::Ipi | Kind::Join => {}
            Kind::Relax => {
                for &(object, _) in &self.slots[thread].watched {
                    on(object, Access::Read, events);
                }
            }
            Kind::WriteRange => {
                let (start, len) = op.range();
                for object in self.objects.within(start, len) {
                    on(object, Access::Write, events);
                }
                let ranges = self.log.ranges.iter();
                events.extend(
                    ranges
                        .filter(|range| range.overlaps(start, len))
                        .map(|range| range.event as usize),
                );
            }
            Kind::GracePeriod => events.extend(self.section_starts()),
            // Whether a reference commutes depends on what came before. And of a lock, releases count as
            // well: to go where somebody has to wait for it is a way to go on without a preemption.
            Kind::Put
            | Kind::AcquireExclusive
            | Kind::AcquireShared
            | Kind::ReleaseExclusive
            | Kind::ReleaseShared
            | Kind::Downgrade => on(op.object, Access::Write, events),
            _ => on(op.object, access, events),
        }
        if section {
            events.extend(self.log.graces.iter().map(|&grace| grace as usize));
        }
    }
}
