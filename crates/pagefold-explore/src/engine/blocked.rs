//! Deadlocks: who waits for whom.

use std::fmt::Write as _;

use super::object::Shape;
use super::op::Kind;
use super::search::{Next, Stop};
use super::threads::members;
use super::{Broken, Engine, since};
use crate::report::kind;

impl Engine {
    /// No thread can go on.
    #[cold]
    pub(crate) fn all_blocked(&mut self) -> Next {
        let spins = members(self.live).any(|thread| self.slots[thread].op.kind == Kind::Relax);
        let kind = if spins {
            kind::LIVELOCK
        } else {
            kind::DEADLOCK
        };
        let mut message = String::from("no thread can go on");
        let mut joins = 0;
        for thread in members(self.live) {
            // Whoever waits for a thread is blocked by what that one is blocked by.
            if self.slots[thread].op.kind == Kind::Join {
                joins += 1;
                continue;
            }
            write!(message, "\n  {}", self.describe_wait(thread)).expect("a string takes all");
        }
        if joins == self.live.count_ones() {
            for thread in members(self.live) {
                write!(message, "\n  {}", self.describe_wait(thread)).expect("a string takes all");
            }
        }
        self.broken = Some(Broken {
            kind: kind.into(),
            message,
            thread: None,
        });
        Next::Stop(Stop::Violation)
    }

    /// What a blocked thread waits for, and who could end that.
    pub(crate) fn describe_wait(&self, thread: usize) -> String {
        let slot = &self.slots[thread];
        let name = &slot.name;
        match slot.op.kind {
            Kind::AcquireExclusive | Kind::AcquireShared => {
                let object = slot.op.object;
                format!(
                    "{name} waits for {}, {}",
                    self.name_of(object),
                    self.describe_holders(object)
                )
            }
            Kind::Await | Kind::Claim => {
                if let Shape::Meeting(meeting) = self.objects.entry(slot.op.object).shape {
                    let wait = usize::try_from(slot.op.argument).expect("the number of a wait");
                    let object = self.name_of(slot.op.object);
                    return format!("{name} {} {object}", meeting.waits[wait]);
                }
                let value = slot.op.word();
                format!(
                    "{name} waits for {} to change, which is {value}",
                    self.name_of(slot.op.object)
                )
            }
            Kind::Relax => {
                let names: Vec<_> = slot
                    .watched
                    .iter()
                    .map(|&(object, _)| self.name_of(object))
                    .collect();
                format!("{name} retries until {} changes", names.join(" or "))
            }
            Kind::Join => {
                let target = usize::try_from(slot.op.argument).expect("a thread number");
                format!("{name} waits for the end of {}", self.slots[target].name)
            }
            Kind::GracePeriod => {
                let readers: Vec<_> = self
                    .sections
                    .iter()
                    .filter(|section| section.last.is_none())
                    .map(|section| self.slots[usize::from(section.thread)].name.as_ref())
                    .collect();
                format!(
                    "{name} waits for a grace period, with readers in {}",
                    readers.join(", ")
                )
            }
            _ => format!("{name} is not blocked"),
        }
    }

    fn describe_holders(&self, object: u32) -> String {
        let mut holders = Vec::new();
        // A thread may have ended with the lock in its hands.
        for slot in &self.slots[..self.threads] {
            for held in &slot.held {
                if held.object == object {
                    let how = if held.exclusive { "held" } else { "shared" };
                    holders.push(format!("{how} by {}, {}", slot.name, since(held.step)));
                }
            }
        }
        if holders.is_empty() {
            "held by nobody".to_owned()
        } else {
            holders.join(", ")
        }
    }
}
