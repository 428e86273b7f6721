//! Deadlocks: who holds what, who waits for whom, and since when.
//!
//! A thread that is blocked announced what it wants right after its last step, so that is the step
//! since which it waits. Those who wait for each other in a circle are named: that is where to look
//! first, and the others only wait for them.

use std::fmt::Write as _;

use super::object::Shape;
use super::op::Kind;
use super::search::{Next, Stop};
use super::threads::{Held, ThreadSet, bit, members};
use super::{Broken, Engine};
use crate::report::kind;

/// What a blocked thread waits for, in words, and the thread that could end that.
pub(crate) type Edge = (String, usize);

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
        // Whoever only waits for a thread is blocked by what that one is blocked by.
        let joins = members(self.live).filter(|&thread| {
            let slot = &self.slots[thread];
            slot.op.kind == Kind::Join && slot.held.is_empty()
        });
        let joins = joins.fold(0, |set, thread| set | bit(thread));
        let told = match self.live & !joins {
            0 => self.live,
            others => others,
        };
        let mut message = String::from("no thread can go on");
        for thread in members(told) {
            write!(message, "\n  {}", self.describe_wait(thread)).expect("a string takes all");
        }
        if let Some(cycle) = self.describe_cycle() {
            write!(message, "\n  cycle: {cycle}").expect("a string takes all");
        }
        self.broken = Some(Broken {
            kind: kind.into(),
            message,
            thread: None,
        });
        Next::Stop(Stop::Violation)
    }

    /// What a blocked thread holds, what it waits for, and who could end that.
    pub(crate) fn describe_wait(&self, thread: usize) -> String {
        let slot = &self.slots[thread];
        let name = &slot.name;
        if self.memory.is_weak() && self.waits_for_buffer(thread) {
            return format!("{name} waits for stores to reach memory");
        }
        // A thread that has not begun waits since it was made.
        let since = slot.last.saturating_sub(1);
        let wait = match slot.op.kind {
            Kind::AcquireExclusive | Kind::AcquireShared => {
                let object = slot.op.object;
                format!(
                    "waits since step {since} for {}, {}",
                    self.name_of(object),
                    self.describe_holders(object)
                )
            }
            Kind::Await | Kind::Claim => {
                let object = self.name_of(slot.op.object);
                if let Shape::Meeting(meeting) = self.objects.entry(slot.op.object).shape {
                    let wait = usize::try_from(slot.op.argument).expect("the number of a wait");
                    format!("{} {object} since step {since}", meeting.waits[wait])
                } else {
                    let value = slot.op.word();
                    format!("waits since step {since} for {object} to change, which is {value}")
                }
            }
            Kind::Relax => {
                let watched: Vec<_> = slot
                    .watched
                    .iter()
                    .rev()
                    .map(|&(object, read)| self.describe_watched(object, read))
                    .collect();
                format!("retries since step {since}: {}", watched.join("; "))
            }
            Kind::Join => {
                let target = usize::try_from(slot.op.argument).expect("a thread number");
                format!(
                    "waits since step {since} for the end of {}",
                    self.slots[target].name
                )
            }
            Kind::GracePeriod => {
                let readers: Vec<_> = self
                    .readers_waited_for(thread)
                    .map(|(reader, first)| {
                        format!("{} (since step {first})", self.slots[reader].name)
                    })
                    .collect();
                format!(
                    "waits since step {since} for a grace period, with readers in {}",
                    readers.join(", ")
                )
            }
            _ => return format!("{name} is not blocked"),
        };
        if slot.held.is_empty() {
            return format!("{name} {wait}");
        }
        let held: Vec<_> = slot
            .held
            .iter()
            .map(|held| self.describe_held(held))
            .collect();
        format!("{name} holds {}; it {wait}", held.join(", "))
    }

    fn describe_held(&self, held: &Held) -> String {
        let shared = if held.exclusive { "" } else { " shared" };
        let name = self.name_of(held.object);
        format!("{name}{shared} since step {}", held.step)
    }

    /// What a retry loop has read, and from whom a change would have to come.
    fn describe_watched(&self, object: u32, read: u32) -> String {
        let name = self.name_of(object);
        match self.objects.entry(object).shape {
            Shape::Atomic | Shape::Counter => {
                let value = self.log.event(read as usize).before;
                format!("until {name} changes, read as {value} at step {read}")
            }
            Shape::Cell | Shape::Meeting(_) => {
                format!("until {name} changes, read at step {read}")
            }
            Shape::Lock(_) | Shape::Cpu(_) => format!(
                "until {name} changes, tried at step {read}, {}",
                self.describe_holders(object)
            ),
        }
    }

    /// The threads with `object` in their hands, and how they hold it. A thread may have ended with
    /// the lock in its hands.
    fn holders(&self, object: u32) -> impl Iterator<Item = (usize, &Held)> {
        let slots = self.slots[..self.threads].iter().enumerate();
        slots.flat_map(move |(thread, slot)| {
            let held = slot.held.iter().filter(move |held| held.object == object);
            held.map(move |held| (thread, held))
        })
    }

    fn describe_holders(&self, object: u32) -> String {
        let holders: Vec<_> = self
            .holders(object)
            .map(|(thread, held)| {
                let how = if held.exclusive { "held" } else { "shared" };
                let name = &self.slots[thread].name;
                format!("{how} by {name} since step {}", held.step)
            })
            .collect();
        if holders.is_empty() {
            "held by nobody".to_owned()
        } else {
            holders.join(", ")
        }
    }

    /// The threads in read sections that the pending grace period of `thread` waits for, and the
    /// first step of each section.
    fn readers_waited_for(&self, thread: usize) -> impl Iterator<Item = (usize, u32)> {
        let call = usize::try_from(self.slots[thread].op.argument).expect("an index of the log");
        self.sections
            .iter()
            .filter(move |section| section.last.is_none() && !self.starts_after(section, call))
            .map(|section| (usize::from(section.thread), section.first))
    }

    /// For whom a blocked thread waits. Whoever waits for a value waits for nobody in particular.
    pub(crate) fn waits_for(&self, thread: usize) -> Vec<Edge> {
        let op = &self.slots[thread].op;
        let held_by = |object: u32| {
            let what = self.name_of(object);
            self.holders(object).map(move |(holder, held)| {
                let how = if held.exclusive { "held" } else { "shared" };
                (format!("{what} {how} by"), holder)
            })
        };
        match op.kind {
            Kind::AcquireExclusive | Kind::AcquireShared => held_by(op.object).collect(),
            Kind::Relax => {
                let watched = self.slots[thread].watched.iter();
                watched.flat_map(|&(object, _)| held_by(object)).collect()
            }
            Kind::Join => {
                let target = usize::try_from(op.argument).expect("a thread number");
                vec![("the end of".to_owned(), target)]
            }
            Kind::GracePeriod => self
                .readers_waited_for(thread)
                .map(|(reader, _)| ("a grace period delayed by".to_owned(), reader))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// A circle of threads that wait for each other, if there is one.
    fn describe_cycle(&self) -> Option<String> {
        let mut visited = 0;
        let start = members(self.live)
            .find_map(|thread| self.find_cycle(thread, &mut Vec::new(), &mut visited))?;
        let mut text = self.slots[start.first()?.1].name.to_string();
        for (what, thread) in start.iter().skip(1) {
            write!(text, " -> {what} {}", self.slots[*thread].name).expect("a string takes all");
        }
        Some(text)
    }

    /// Goes on from `thread`, to which `path` leads. The circle begins and ends with the same thread.
    fn find_cycle(
        &self,
        thread: usize,
        path: &mut Vec<Edge>,
        visited: &mut ThreadSet,
    ) -> Option<Vec<Edge>> {
        if path.is_empty() {
            path.push((String::new(), thread));
        }
        let (_, before) = path.split_last()?;
        if let Some(at) = before.iter().position(|&(_, other)| other == thread) {
            return Some(path[at..].to_vec());
        }
        if *visited & bit(thread) != 0 {
            return None;
        }
        *visited |= bit(thread);
        for edge in self.waits_for(thread) {
            let next = edge.1;
            path.push(edge);
            if let Some(cycle) = self.find_cycle(next, path, visited) {
                return Some(cycle);
            }
            path.pop();
        }
        None
    }
}
