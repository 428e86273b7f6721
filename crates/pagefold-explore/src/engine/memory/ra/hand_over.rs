//! What events hand over from thread to thread, beside the writes of atomics.
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

use super::variant::Variant;
use super::{Handed, Ra, acquires, releases};
use crate::engine::Engine;
use crate::engine::log::as_u32;
use crate::engine::memory::Model;
use crate::engine::object::Shape;
use crate::engine::op::{Access, Kind, Op};

/// How taking a reference touches the count: if it is an acquire, its order to what gives references back matters.
pub(in crate::engine::memory) fn access_of_try_get(op: &Op) -> Option<Access> {
    (acquires(op.order) && op.word() != 0).then_some(Access::Write)
}

impl Engine {
    /// What the pending operation of `thread`, just executed as event `index`, does to views.
    pub(in crate::engine::memory) fn hand_over(&mut self, thread: usize, index: usize) {
        let op = self.slots[thread].op;
        let seq = self.slots[thread].seq;
        let access = self.log.event(index).access;
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
        ra.see_chosen(thread, &op, index);
        match op.kind {
            Kind::Join => {
                let target = usize::try_from(op.argument).expect("a thread number");
                let view = ra.threads[target].now.clone();
                ra.take_over(thread, &view);
            }
            Kind::GracePeriod => {
                let view = ra.threads[thread].now.clone();
                ra.graces.push((as_u32(index), view));
            }
            _ => {}
        }
        let takes_what_was_written =
            matches!(ra.chosen, Some(Variant::Read(_) | Variant::Replace(_)));
        if op.object != 0 && !takes_what_was_written {
            ra.reserve(op.object);
            let shape = &self.objects.entry(op.object).shape;
            let mut handed = std::mem::take(&mut ra.handed[op.object as usize]);
            ra.exchange(thread, &op, access, shape, &mut handed);
            ra.handed[op.object as usize] = handed;
        }
    }
}

impl Ra {
    /// What an operation on an atomic, or the end of a round of a retry loop, sees as it was chosen.
    fn see_chosen(&mut self, thread: usize, op: &Op, index: usize) {
        match self.chosen {
            Some(Variant::Read(write)) => {
                let failed = op.kind == Kind::CompareExchange;
                let order = if failed { op.failure } else { op.order };
                self.read[index] = Some(write);
                self.see(thread, op.object, write, order);
            }
            Some(Variant::Replace(write)) => {
                self.read[index] = Some(write);
                self.see(thread, op.object, write, op.order);
            }
            Some(Variant::Raise(object, write)) => {
                let mine = &mut self.threads[thread];
                let history = &self.histories[object as usize];
                mine.now.see(object, write, history);
                mine.acquired.see(object, write, history);
            }
            Some(Variant::Only | Variant::Write(_)) | None => {}
        }
    }

    /// What `thread` takes of an object that is no atomic, and what it leaves there.
    fn exchange(
        &mut self,
        thread: usize,
        op: &Op,
        access: Access,
        shape: &Shape,
        handed: &mut Handed,
    ) {
        let is_meeting = matches!(shape, Shape::Meeting(_));
        let is_count = matches!(shape, Shape::Counter);
        let reads_count = is_count
            && matches!(
                (op.kind, access),
                (Kind::TryGet, Access::Write) | (Kind::Load, Access::Read)
            );
        match access {
            Access::AcquireExclusive | Access::TryExclusive => {
                self.take_over(thread, &handed.to_all);
                self.take_over(thread, &handed.by_sharers);
            }
            Access::AcquireShared | Access::TryShared => self.take_over(thread, &handed.to_all),
            Access::ReleaseExclusive | Access::Downgrade => {
                handed
                    .to_all
                    .join(&self.threads[thread].now, &self.histories);
            }
            Access::ReleaseShared => {
                handed
                    .by_sharers
                    .join(&self.threads[thread].now, &self.histories);
            }
            Access::Read | Access::Write if is_meeting => {
                self.take_over(thread, &handed.to_all);
                if access == Access::Write {
                    handed
                        .to_all
                        .join(&self.threads[thread].now, &self.histories);
                }
            }
            Access::Add | Access::Write if matches!(op.kind, Kind::Put | Kind::Add) => {
                if access == Access::Write && acquires(op.order) {
                    self.take_over(thread, &handed.to_all);
                }
                if releases(op.order) {
                    handed
                        .to_all
                        .join(&self.threads[thread].now, &self.histories);
                }
            }
            Access::Read | Access::Write if reads_count && acquires(op.order) => {
                self.take_over(thread, &handed.to_all);
            }
            Access::Write if is_count && op.kind == Kind::Rmw => {
                if acquires(op.order) {
                    self.take_over(thread, &handed.to_all);
                }
                let mine = &self.threads[thread];
                let message = if releases(op.order) {
                    &mine.now
                } else {
                    &mine.released
                };
                handed.to_all = message.clone();
            }
            _ => {}
        }
    }
}
