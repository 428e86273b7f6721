//! The log: the events of the current execution with their clocks and per-object chains.
//!
//! The events on an object form a chain from the newest to the oldest; its head is in the object
//! table. Going back in the tree of schedules pops events and unhooks them from the chains, so the
//! log of the prefix which two executions share is kept from one to the next, and replaying the
//! prefix costs nothing here.

use super::clock::Clocks;
use super::memory::tso::FLUSHER;
use super::object::{Objects, in_range};
use super::op::{Access, Kind};

/// An executed operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) thread: u8,
    pub(crate) kind: Kind,
    pub(crate) access: Access,
    /// The object, 0 if none or several.
    pub(crate) object: u32,
    /// Which event of its thread it is, from 1.
    pub(crate) seq: u32,
    /// The event before on the object, as index + 1.
    previous_on_object: u32,
    /// The event before of the thread, as index + 1.
    pub(crate) previous_of_thread: u32,
    /// Where its links start, if it is an event on several objects.
    links: u32,
    /// The value of the object before, or for a `GracePeriod` the index of its `Call`.
    pub(crate) before: u64,
}

impl Event {
    /// The thread whose doing it is: for a store that reaches memory the one that executed it.
    pub(crate) fn owner(&self) -> usize {
        let thread = usize::from(self.thread);
        if self.kind == Kind::Flush {
            thread - FLUSHER
        } else {
            thread
        }
    }

    /// Whether a store of `thread` reaches memory by it.
    pub(crate) fn flushes_for(&self, thread: usize) -> bool {
        self.kind == Kind::Flush && self.owner() == thread
    }
}

/// The part of an event on several objects that belongs to one of them.
#[derive(Clone, Copy, Debug)]
struct Link {
    object: u32,
    access: Access,
    previous: u32,
}

/// A range of addresses written to as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) event: u32,
}

impl Range {
    pub(crate) fn overlaps(&self, start: usize, len: usize) -> bool {
        len > 0
            && self.len > 0
            && (in_range(start, self.start, self.len) || in_range(self.start, start, len))
    }
}

/// What `Log::push` makes an event of.
pub(crate) struct Draft {
    pub(crate) thread: u8,
    pub(crate) kind: Kind,
    pub(crate) access: Access,
    pub(crate) object: u32,
    pub(crate) seq: u32,
    pub(crate) previous_of_thread: u32,
    pub(crate) before: u64,
}

#[derive(Debug)]
pub(crate) struct Log {
    events: Vec<Event>,
    links: Vec<Link>,
    pub(crate) clocks: Clocks,
    /// The `WriteRange` events.
    pub(crate) ranges: Vec<Range>,
    /// The `GracePeriod` events.
    pub(crate) graces: Vec<u32>,
    /// The `Flush` events, with the stores that they flush.
    pub(crate) flushes: Vec<(u32, u32)>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            events: Vec::new(),
            links: Vec::new(),
            clocks: Clocks::new(),
            ranges: Vec::new(),
            graces: Vec::new(),
            flushes: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    #[inline]
    pub(crate) fn event(&self, index: usize) -> &Event {
        &self.events[index]
    }

    /// Whether event `index` is among what `clock` knows.
    #[inline]
    pub(crate) fn covers(&self, clock: &[u32], index: usize) -> bool {
        let event = self.event(index);
        clock[usize::from(event.thread)] >= event.seq
    }

    /// Whether event `earlier` happens before event `later`.
    #[inline]
    pub(crate) fn happens_before(&self, earlier: usize, later: usize) -> bool {
        self.covers(self.clocks.row(later), earlier)
    }

    /// Appends an event on one object or none, whose clock is the row begun last.
    #[inline]
    pub(crate) fn push(&mut self, draft: Draft, objects: &mut Objects) {
        let index = self.events.len();
        let mut previous_on_object = 0;
        if draft.object != 0 {
            let entry = objects.entry_mut(draft.object);
            previous_on_object = entry.last;
            entry.last = as_link(index);
        }
        if draft.kind == Kind::GracePeriod {
            self.graces.push(as_u32(index));
        }
        self.events.push(Event {
            thread: draft.thread,
            kind: draft.kind,
            access: draft.access,
            object: draft.object,
            seq: draft.seq,
            previous_on_object,
            previous_of_thread: draft.previous_of_thread,
            links: as_u32(self.links.len()),
            before: draft.before,
        });
    }

    /// Makes the last event touch `object`, too.
    pub(crate) fn link(&mut self, object: u32, access: Access, objects: &mut Objects) {
        let entry = objects.entry_mut(object);
        self.links.push(Link {
            object,
            access,
            previous: entry.last,
        });
        entry.last = as_link(self.events.len() - 1);
    }

    /// Notes the range of the last event.
    pub(crate) fn note_range(&mut self, start: usize, len: usize) {
        self.ranges.push(Range {
            start,
            len,
            event: as_u32(self.events.len() - 1),
        });
    }

    /// Notes that the range of event `index` is another one when it is executed again.
    pub(crate) fn move_range(&mut self, index: u32, start: usize, len: usize) {
        if let Ok(at) = self
            .ranges
            .binary_search_by_key(&index, |range| range.event)
        {
            self.ranges[at] = Range {
                start,
                len,
                event: index,
            };
        }
    }

    /// Notes the store that the last event flushes.
    pub(crate) fn note_flush(&mut self, store: u32) {
        self.flushes.push((as_u32(self.events.len() - 1), store));
    }

    /// The store that event `flush` flushes.
    pub(crate) fn store_of(&self, flush: usize) -> usize {
        let at = self
            .flushes
            .binary_search_by_key(&as_u32(flush), |&(flush, _)| flush)
            .expect("every flush is noted");
        self.flushes[at].1 as usize
    }

    /// Takes the last event off again.
    #[inline]
    pub(crate) fn pop(&mut self, objects: &mut Objects) {
        let Some(event) = self.events.pop() else {
            return;
        };
        let index = self.events.len();
        if event.object != 0 {
            objects.entry_mut(event.object).last = event.previous_on_object;
        }
        for link in self.links.drain(event.links as usize..).rev() {
            objects.entry_mut(link.object).last = link.previous;
        }
        match event.kind {
            Kind::WriteRange => {
                self.ranges.pop();
            }
            Kind::GracePeriod => {
                self.graces.pop();
            }
            Kind::Flush => {
                self.flushes.pop();
            }
            _ => {}
        }
        self.clocks.truncate(index);
    }

    /// How event `index` touches `object`.
    #[inline]
    pub(crate) fn access_on(&self, index: usize, object: u32) -> Access {
        let event = self.event(index);
        if event.object == object {
            return event.access;
        }
        self.link_to(index, object)
            .map_or(Access::None, |link| link.access)
    }

    /// The events on `object`, the newest first.
    ///
    /// A range written before the first use of the object is its oldest event: to whoever comes
    /// later it is as if the object had been there.
    #[inline]
    pub(crate) fn chain<'a>(
        &'a self,
        object: u32,
        objects: &'a Objects,
    ) -> impl Iterator<Item = (usize, Access)> + 'a {
        let entry = objects.entry(object);
        let mut next = entry.last;
        let mut origin = entry.origin;
        std::iter::from_fn(move || {
            if next == 0 {
                let index = std::mem::take(&mut origin).checked_sub(1)?;
                return Some((index as usize, Access::Write));
            }
            let index = next as usize - 1;
            let event = self.event(index);
            if event.object == object {
                next = event.previous_on_object;
                return Some((index, event.access));
            }
            let link = self.link_to(index, object)?;
            next = link.previous;
            Some((index, link.access))
        })
    }

    /// Whether an event of another thread touches what this one touches in a conflicting way.
    pub(crate) fn is_shared(&self, index: usize, objects: &Objects) -> bool {
        let event = self.event(index);
        match event.kind {
            Kind::Start | Kind::Join | Kind::Ipi | Kind::Fence => false,
            Kind::Call | Kind::GracePeriod | Kind::WriteRange => true,
            _ => self.chain(event.object, objects).any(|(other, access)| {
                self.event(other).owner() != event.owner() && access.conflicts(event.access)
            }),
        }
    }

    fn links_of(&self, index: usize) -> &[Link] {
        let end = self
            .events
            .get(index + 1)
            .map_or(self.links.len(), |next| next.links as usize);
        &self.links[self.event(index).links as usize..end]
    }

    fn link_to(&self, index: usize, object: u32) -> Option<&Link> {
        self.links_of(index)
            .iter()
            .find(|link| link.object == object)
    }
}

/// An index as it is stored. Executions are limited to far fewer events.
#[inline]
pub(crate) fn as_u32(index: usize) -> u32 {
    u32::try_from(index).expect("the number of events of an execution is limited to u32")
}

/// An index as it is stored where 0 means none.
#[inline]
pub(crate) fn as_link(index: usize) -> u32 {
    as_u32(index) + 1
}

#[cfg(test)]
mod tests {
    use super::{Draft, Log};
    use crate::engine::object::{Object, Objects, Shape};
    use crate::engine::op::{Access, Kind};

    fn chain(log: &Log, objects: &Objects, object: u32) -> Vec<usize> {
        log.chain(object, objects).map(|(event, _)| event).collect()
    }

    #[test]
    fn popping_restores_the_chains() {
        let (mut log, mut objects) = (Log::new(), Objects::new());
        let words = [Object::new(0), Object::new(0)];
        let [a, b] = [0, 1].map(|i| objects.register(&words[i], Shape::Atomic, 0));
        let draft = |kind, object| Draft {
            thread: 0,
            kind,
            access: if object == 0 {
                Access::None
            } else {
                Access::Write
            },
            object,
            seq: 1,
            previous_of_thread: 0,
            before: 0,
        };
        log.clocks.begin(None);
        log.push(draft(Kind::Store, a), &mut objects);
        log.clocks.begin(None);
        log.push(draft(Kind::WriteRange, 0), &mut objects);
        log.link(a, Access::Write, &mut objects);
        log.link(b, Access::Write, &mut objects);
        log.note_range(0, 8);
        log.clocks.begin(None);
        log.push(draft(Kind::Store, b), &mut objects);
        assert_eq!(chain(&log, &objects, a), [1, 0]);
        assert_eq!(chain(&log, &objects, b), [2, 1]);
        log.pop(&mut objects);
        assert_eq!(chain(&log, &objects, b), [1]);
        log.pop(&mut objects);
        assert_eq!(chain(&log, &objects, a), [0]);
        assert!(chain(&log, &objects, b).is_empty() && log.ranges.is_empty());
    }

    #[test]
    fn a_range_before_the_first_use_is_the_oldest_event() {
        let (log, mut objects) = (Log::new(), Objects::new());
        let word = Object::new(0);
        let id = objects.register(&word, Shape::Atomic, 5);
        assert_eq!(chain(&log, &objects, id), [4]);
    }
}
