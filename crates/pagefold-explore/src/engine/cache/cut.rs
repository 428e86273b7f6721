//! The key of a state, and what is to be done where one is cut.

use super::super::op::{Access, Kind};
use super::super::threads::{ThreadSet, bit, first, members};
use super::super::{Engine, race};
use super::footprint::{GRACE, NEW, NOTHING, RANGE, SECTION, WAITS, Word, touches};
use super::hash::{Sort, hash, mix};

/// A reversal to be tried: what comes instead of an event above.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) event: usize,
    pub(crate) threads: Threads,
}

/// Which threads are to be tried.
#[derive(Clone, Copy)]
pub(crate) enum Threads {
    /// One of these is enough: they are initials.
    AnyOf(ThreadSet),
    /// All of these, as it is not known which is an initial.
    Each(ThreadSet),
}

impl Engine {
    /// The key of the present state. `None` if it has none.
    fn key(&self) -> Option<u128> {
        if self.objects.may_have_cells() {
            return None;
        }
        let cache = self.cache.as_ref()?;
        let mut key = cache.present.sum();
        for thread in members(self.live) {
            match self.slots[thread].op.kind {
                Kind::GracePeriod => return None,
                _ if cache.relaxes && self.would_not_wait(thread) => {
                    key ^= hash(Sort::Awake, thread as u64);
                }
                _ => {}
            }
        }
        for (held, taken) in self.order.pairs() {
            let held = std::ptr::from_ref(held).addr() as u64;
            let taken = std::ptr::from_ref(taken).addr() as u64;
            key ^= mix(hash(Sort::Order, held), taken);
        }
        Some(key)
    }

    /// Whether something that `thread` has read in this round of a retry loop has been changed by
    /// another thread since. (See [`Engine::watch`]: what counts is the first look, and whatever
    /// changed after a later one changed after the first.)
    fn would_not_wait(&self, thread: usize) -> bool {
        self.round_of(thread).any(|index| {
            let event = self.log.event(index as usize);
            is_look(event.access) && self.has_changed_since(event.object, index, thread)
        })
    }

    /// The events of a thread since its last `Relax` or its start, the newest first.
    pub(super) fn round_of(&self, thread: usize) -> impl Iterator<Item = u32> + '_ {
        let slot = &self.slots[thread];
        let mut next = if slot.seq == 0 { 0 } else { slot.last };
        std::iter::from_fn(move || {
            let index = next.checked_sub(1)?;
            let event = self.log.event(index as usize);
            next = event.previous_of_thread;
            (event.kind != Kind::Relax).then_some(index)
        })
        .fuse()
    }

    /// Whether the present node, with this sleep set, repeats one that is done; if so, it is cut.
    /// Otherwise it becomes part of the path.
    pub(crate) fn is_cut(&mut self, sleep: ThreadSet) -> bool {
        let key = self.key();
        let Some(cache) = &mut self.cache else {
            return false;
        };
        let mut found = key.and_then(|key| cache.store.find(key, sleep));
        if found.is_some()
            && let Some(validation) = &mut cache.validation
            && validation.goes_on()
        {
            cache.validated += 1;
            found = None;
        }
        let wishes = match &found {
            Some((_, footprint)) => self.wishes_of(footprint),
            None => Vec::new(),
        };
        let found = found.filter(|(node, _)| self.pays(node.executions, &wishes));
        let Some(cache) = &mut self.cache else {
            return false;
        };
        let Some((node, footprint)) = found else {
            cache.open(key, sleep);
            return false;
        };
        cache.save(node.executions - 1);
        if let Some(top) = cache.depth.checked_sub(1) {
            let frame = &mut cache.frames[top];
            frame.footprint.unite(&footprint, &mut cache.scratch);
            let new = frame.mark.objects..cache.present.mark().objects;
            for name in cache.present.names(new) {
                frame.footprint.forget(name);
            }
        }
        for wish in wishes {
            let event = wish.event;
            let added = self.reverse_unknown(wish);
            if let Some(cache) = &mut self.cache {
                cache.guess(event, added);
            }
        }
        true
    }

    /// What a cut here would have tried above: the reversals of all events that may race with something
    /// in `footprint`.
    fn wishes_of(&mut self, footprint: &[Word]) -> Vec<Wish> {
        let mut races = std::mem::take(&mut self.races);
        let mut pairs = Vec::new();
        for (thread, name, bits) in touches(footprint) {
            races.clear();
            self.collect_races(thread, name, bits, &mut races);
            pairs.extend(races.iter().map(|&event| (event, thread)));
        }
        self.races = races;
        pairs.sort_unstable();
        pairs.dedup();
        let wishes = pairs.into_iter().map(|(event, thread)| {
            let initials = self.initials(event, self.log.len());
            let threads = match initials {
                0 => Threads::Each(self.firsts(footprint, event, thread)),
                _ => Threads::AnyOf(initials),
            };
            Wish { event, threads }
        });
        wishes.collect()
    }

    /// Whether a cut may be made in the place of so many executions. (See [`super::savings`].)
    fn pays(&self, executions: u64, wishes: &[Wish]) -> bool {
        let new = wishes.iter().map(|wish| {
            let known = self.tree.explored_at(wish.event);
            match wish.threads {
                Threads::AnyOf(initials) => u32::from(initials & known == 0),
                Threads::Each(threads) => (threads & !known).count_ones(),
            }
        });
        let new = new.sum();
        let cache = self.cache.as_ref();
        cache.is_some_and(|cache| cache.savings.afford(executions - 1, new))
    }

    /// An execution has ended.
    pub(crate) fn cache_execution(&mut self) {
        let Some(cache) = &mut self.cache else { return };
        let mut path = self.tree.nodes().iter().zip(&cache.frames[..cache.depth]);
        if path.any(|(node, frame)| frame.guessed & bit(node.choice.into()) != 0) {
            cache.savings.spend();
        }
        cache.count(1);
    }

    /// Threads among which there is an initial of `v`, whatever `v` is, if it is to reverse the race of
    /// `event` with something that `thread` does below this node, and no event above is part of it.
    /// (See the head of [`super`].)
    fn firsts(&self, footprint: &[Word], event: usize, thread: usize) -> ThreadSet {
        let enabled = self.tree.node(event).map_or(0, |node| node.enabled);
        let Some(cache) = &self.cache else {
            return enabled;
        };
        let mut firsts = bit(thread);
        let mut left = firsts;
        while let Some(next) = first(left) {
            left &= !bit(next);
            if self.live & bit(next) == 0 || self.begins_section(next) {
                return enabled;
            }
            let op = &self.slots[next].op;
            let only_reads = match op.kind {
                kind if kind.is_neutral() => continue,
                Kind::Join | Kind::Relax | Kind::WriteRange | Kind::GracePeriod => return enabled,
                Kind::Load | Kind::Await => true,
                _ => false,
            };
            let name = cache.present.object(op.object).name;
            let harmless = if only_reads {
                Access::Read.bit() | WAITS
            } else {
                0
            };
            for (other, touched, bits) in touches(footprint) {
                if touched != name || bits & !harmless == 0 {
                    continue;
                }
                // Who has known the event since does nothing in `v`.
                if other < self.threads && self.slots[other].last as usize > event {
                    continue;
                }
                left |= bit(other) & !firsts;
                firsts |= bit(other);
            }
        }
        firsts & enabled
    }

    /// Finds the events that may race with something that `thread` will do to what is called `name`.
    fn collect_races(&self, thread: usize, name: u64, bits: u16, races: &mut Vec<usize>) {
        // A thread still to be spawned knows at least what its parent knows, whoever that is.
        let last = (thread < self.threads)
            .then(|| self.slots[thread].last.checked_sub(1))
            .flatten();
        let is_news = |event: usize| {
            usize::from(self.log.event(event).thread) != thread
                && last.is_none_or(|last| !self.log.happens_before(event, last as usize))
        };
        let ranges = self.log.ranges.iter().map(|range| range.event as usize);
        if name == NOTHING {
            if bits & SECTION != 0 {
                let graces = self.log.graces.iter().map(|&event| event as usize);
                races.extend(graces.filter(|&event| is_news(event)));
            }
            if bits & GRACE != 0 {
                let sections = self.sections.iter().map(|section| section.first as usize);
                races.extend(sections.filter(|&event| is_news(event)));
            }
            if bits & (RANGE | NEW) != 0 {
                races.extend(ranges.filter(|&event| is_news(event)));
            }
            return;
        }
        let Some(cache) = &self.cache else { return };
        let waits = bits & WAITS != 0;
        let accesses = bits | if waits { Access::Read.bit() } else { 0 };
        for number in cache.present.called(name) {
            for (event, earlier) in self.log.chain(number, &self.objects) {
                if earlier.conflicts_with_any(accesses) && is_news(event) {
                    races.push(event);
                }
                // See `super::race`: a wait looks past the last write.
                if !waits && race::is_barrier(earlier) {
                    break;
                }
            }
        }
    }
}

/// What a retry loop watches: see [`Engine::watch`].
pub(super) fn is_look(access: Access) -> bool {
    matches!(access, Access::Read | Access::ReadExclusive)
}
