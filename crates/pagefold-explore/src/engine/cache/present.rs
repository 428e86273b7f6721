//! The present state, as the cache knows it: the histories of the threads, the values of the objects,
//! and what they add up to.
//!
//! Every change is noted in an undo log, so that going back in the tree of schedules goes back here,
//! and a prefix that is executed again costs nothing.

use std::ops::Range;
use std::panic::Location;

use super::footprint::name_of;
use super::hash::{Map, Sort, hash, low, mix, mix_all};

/// What is known of the value of an object.
#[derive(Clone, Copy, Debug, Default)]
struct Value {
    /// `None` if it was set behind our back: see [`Present::reset_to`].
    word: Option<u64>,
    /// The history of who wrote last what belongs to the object besides its word.
    content: u128,
    /// The history of who freed its memory last.
    freed: u128,
    /// It is a lock with content, and that was lent out.
    lends: bool,
    /// Its part of the key.
    part: u128,
}

/// What is known of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Who it is: the same in all interleavings.
    pub(super) identity: u128,
    /// Its name in footprints.
    pub(super) name: u64,
    /// The number of another object with this name, or 0.
    namesake: u32,
    /// It was first used before there was a second thread, so that it is the same object in all
    /// interleavings that has this identity.
    pub(super) early: bool,
    value: Value,
}

impl Known {
    /// The number 0, no object.
    const NONE: Self = Self {
        identity: 0,
        name: 0,
        namesake: 0,
        early: true,
        value: Value {
            word: None,
            content: 0,
            freed: 0,
            lends: false,
            part: 0,
        },
    };

    pub(super) fn content(&self) -> u128 {
        self.value.content
    }

    pub(super) fn freed(&self) -> u128 {
        self.value.freed
    }

    pub(super) fn lends(&self) -> bool {
        self.value.lends
    }
}

/// What is known of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    /// Who it is: the same in all interleavings.
    pub(super) identity: u128,
    /// What it has observed, from its spawning or its last checkpoint on.
    pub(super) seen: u128,
    /// What it had observed before its last checkpoint.
    before: u128,
    /// How many objects it was the first to use.
    registered: u32,
    /// Its part of the key.
    part: u128,
    /// It has ended with a result.
    result: bool,
    /// The last checkpoint that what it knows has come through.
    pub(super) place: Option<&'static Location<'static>>,
}

impl History {
    /// What somebody else may learn of it, now that it is `seen`. After a checkpoint, what a thread has
    /// observed says no longer which thread it was.
    pub(super) fn told(&self, seen: u128) -> u128 {
        mix_all(self.identity, seen)
    }
}

/// How to take a change back.
#[derive(Debug)]
enum Undo {
    Spawned,
    Thread(usize, History),
    Registered,
    Object(u32, Value),
    Freed,
    Objects(Vec<Known>),
}

/// A point to go back to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    undo: usize,
    sum: u128,
    /// The objects known then: the next number.
    pub(super) objects: usize,
}

#[derive(Debug)]
pub(super) struct Present {
    threads: Vec<History>,
    /// By number.
    objects: Vec<Known>,
    /// The last object of each name, by number.
    named: Map<u64, u32>,
    /// `WriteRange` events, as index, and the history at each.
    freed: Vec<(u32, u128)>,
    /// The parts of the key, added up.
    sum: u128,
    undo: Vec<Undo>,
}

impl Present {
    pub(super) fn new() -> Self {
        Self {
            threads: Vec::new(),
            objects: vec![Known::NONE],
            named: Map::default(),
            freed: Vec::new(),
            sum: 0,
            undo: Vec::new(),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            undo: self.undo.len(),
            sum: self.sum,
            objects: self.objects.len(),
        }
    }

    /// Goes back to `mark`.
    pub(super) fn rewind(&mut self, mark: Mark) {
        for change in self.undo.drain(mark.undo..).rev() {
            match change {
                Undo::Spawned => {
                    self.threads.pop();
                }
                Undo::Thread(thread, before) => self.threads[thread] = before,
                Undo::Registered => {
                    if let Some(known) = self.objects.pop() {
                        Self::unname(&mut self.named, &known);
                    }
                }
                Undo::Object(number, before) => self.objects[number as usize].value = before,
                Undo::Freed => {
                    self.freed.pop();
                }
                Undo::Objects(before) => {
                    self.objects = before;
                    self.named.clear();
                    for (number, known) in self.objects.iter().enumerate().skip(1) {
                        self.named
                            .insert(known.name, super::super::log::as_u32(number));
                    }
                }
            }
        }
        self.sum = mark.sum;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.rewind(Mark {
            undo: 0,
            ..Mark::default()
        });
    }

    fn unname(named: &mut Map<u64, u32>, known: &Known) {
        if known.namesake == 0 {
            named.remove(&known.name);
        } else {
            named.insert(known.name, known.namesake);
        }
    }

    /// What all parts of the key add up to.
    pub(super) fn sum(&self) -> u128 {
        self.sum
    }

    pub(super) fn object(&self, number: u32) -> &Known {
        &self.objects[number as usize]
    }

    /// The names of objects, by number. What shares the name of an older one is left out.
    pub(super) fn names(&self, numbers: Range<usize>) -> impl Iterator<Item = u64> + '_ {
        let objects = self.objects.get(numbers).unwrap_or_default();
        let alone = objects.iter().filter(|known| known.namesake == 0);
        alone.map(|known| known.name)
    }

    /// The objects called `name`, by number.
    pub(super) fn called(&self, name: u64) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.named.get(&name).copied().unwrap_or(0);
        std::iter::from_fn(move || {
            let number = next;
            next = self.objects[number as usize].namesake;
            (number != 0).then_some(number)
        })
    }

    pub(super) fn thread(&self, thread: usize) -> &History {
        &self.threads[thread]
    }

    /// A thread, if it runs already.
    pub(super) fn try_thread(&self, thread: usize) -> Option<&History> {
        self.threads.get(thread)
    }

    /// What the event `index`, a `WriteRange`, left in the memory it freed.
    pub(super) fn freed_by(&self, index: u32) -> u128 {
        let mut freed = self.freed.iter().rev();
        freed
            .find(|&&(event, _)| event == index)
            .map_or(0, |&(_, history)| history)
    }

    /// The objects numbered from `mark` on are gone, and those below have been set to something.
    ///
    /// Their values count again when they are seen next. Until then they are what they were set to,
    /// which is the same in all interleavings.
    pub(super) fn reset_to(&mut self, mark: u32, thread: usize) {
        self.undo.push(Undo::Objects(self.objects.clone()));
        for known in &self.objects {
            self.sum ^= known.value.part;
        }
        while self.objects.len() > mark as usize
            && let Some(known) = self.objects.pop()
        {
            Self::unname(&mut self.named, &known);
        }
        for known in &mut self.objects {
            known.value = Value::default();
        }
        while self.objects.len() < mark as usize {
            let number = super::super::log::as_u32(self.objects.len());
            self.push(hash(Sort::Name, number.into()), Value::default());
        }
        // What identifies those above must not be what identifies one below.
        if thread < self.threads.len() {
            let history = self.change(thread);
            history.registered = history.registered.max(mark);
        }
    }

    fn push(&mut self, identity: u128, value: Value) {
        let name = name_of(low(identity));
        let number = super::super::log::as_u32(self.objects.len());
        let namesake = self.named.insert(name, number).unwrap_or(0);
        self.objects.push(Known {
            identity,
            name,
            namesake,
            early: self.threads.len() <= 1,
            value,
        });
    }

    /// `thread` is the first to use the next object.
    pub(super) fn register(&mut self, word: u64, freed: u128, thread: usize) {
        let number = super::super::log::as_u32(self.objects.len());
        let identity = if thread < self.threads.len() {
            let history = self.change(thread);
            history.registered += 1;
            let of_thread = mix_all(hash(Sort::Name, 0), history.identity);
            let of_thread = mix_all(of_thread, history.before);
            let of_thread = mix_all(of_thread, history.seen);
            mix(of_thread, history.registered.into())
        } else {
            // Nobody runs: there is nothing that could tell it from others.
            hash(Sort::Name, u64::from(number))
        };
        self.undo.push(Undo::Registered);
        self.push(identity, Value::default());
        self.refresh(
            number,
            Value {
                word: Some(word),
                freed,
                ..Value::default()
            },
        );
    }

    /// Gives an object a value, and the part of the key that belongs to it.
    fn refresh(&mut self, number: u32, mut value: Value) {
        let known = &mut self.objects[number as usize];
        value.part = match value.word {
            Some(word) => mix(known.identity, word),
            None => 0,
        };
        if value.content != 0 || value.freed != 0 {
            let part = mix_all(mix_all(known.identity, value.part), value.content);
            value.part = mix_all(part, value.freed);
        }
        self.sum ^= known.value.part ^ value.part;
        known.value = value;
    }

    /// The value of an object is `word`.
    #[inline]
    pub(super) fn note_word(&mut self, number: u32, word: u64) {
        let value = self.objects[number as usize].value;
        if value.word != Some(word) {
            self.undo.push(Undo::Object(number, value));
            self.refresh(
                number,
                Value {
                    word: Some(word),
                    ..value
                },
            );
        }
    }

    /// What belongs to an object was written by whoever has this history.
    pub(super) fn note_content(&mut self, number: u32, content: u128) {
        let value = self.objects[number as usize].value;
        self.undo.push(Undo::Object(number, value));
        self.refresh(number, Value { content, ..value });
    }

    /// What belongs to an object is lent out.
    pub(super) fn note_lent(&mut self, number: u32) {
        let value = self.objects[number as usize].value;
        if !value.lends {
            self.undo.push(Undo::Object(number, value));
            self.objects[number as usize].value.lends = true;
        }
    }

    /// The memory of an object was freed by whoever has this history.
    pub(super) fn note_freed(&mut self, number: u32, freed: u128) {
        let value = self.objects[number as usize].value;
        self.undo.push(Undo::Object(number, value));
        self.refresh(number, Value { freed, ..value });
    }

    /// The event `index` of `thread` frees memory.
    pub(super) fn free(&mut self, index: u32, seen: u128) {
        self.undo.push(Undo::Freed);
        self.freed.push((index, seen));
        self.sum ^= mix_all(hash(Sort::Freed, 0), seen);
    }

    /// A thread is spawned, the `nth` one of its parent.
    pub(super) fn spawn(&mut self, thread: usize, parent: usize, nth: u16) {
        // Its first steps may depend on all that its parent knows.
        let (identity, seen, place) = match self.threads.get(parent) {
            Some(parent) => (mix(parent.identity, nth.into()), parent.seen, parent.place),
            None => (0, 0, None),
        };
        debug_assert_eq!(thread, self.threads.len());
        self.undo.push(Undo::Spawned);
        self.threads.push(History {
            identity,
            seen: mix_all(hash(Sort::Name, 1), mix_all(identity, seen)),
            before: 0,
            registered: 0,
            part: 0,
            result: false,
            place,
        });
        self.refresh_thread(thread);
    }

    /// A thread, to be changed.
    #[inline]
    fn change(&mut self, thread: usize) -> &mut History {
        let history = &mut self.threads[thread];
        self.undo.push(Undo::Thread(thread, *history));
        history
    }

    /// Computes the part of a thread in the key.
    #[inline]
    fn refresh_thread(&mut self, thread: usize) {
        let history = &mut self.threads[thread];
        let part = mix_all(hash(Sort::Thread, thread as u64), history.identity);
        let part = mix_all(part, history.seen);
        self.sum ^= history.part ^ part;
        history.part = part;
    }

    /// A thread has observed something: its history is `seen` now.
    #[inline]
    pub(super) fn observe(&mut self, thread: usize, seen: u128) {
        self.change(thread).seen = seen;
        self.refresh_thread(thread);
    }

    /// A thread gets to know all that `target`, which has ended, leaves to whoever joins it.
    pub(super) fn result_of(&self, target: usize) -> Option<&History> {
        let target = &self.threads[target];
        target.result.then_some(target)
    }

    /// A thread knows things that have come through this checkpoint.
    pub(super) fn inherit(&mut self, thread: usize, place: Option<&'static Location<'static>>) {
        if self.threads[thread].place.is_none() && place.is_some() {
            self.change(thread).place = place;
        }
    }

    /// A thread forgets what it has observed; from here on its history is `seen`.
    pub(super) fn forget(&mut self, thread: usize, seen: u128, place: &'static Location<'static>) {
        let history = self.change(thread);
        history.before = mix_all(history.before, history.seen);
        history.seen = seen;
        history.place = Some(place);
        self.refresh_thread(thread);
    }

    /// A thread ends, with a result or without.
    pub(super) fn end(&mut self, thread: usize, result: bool) {
        let history = self.change(thread);
        let sort = if result { Sort::Result } else { Sort::Ended };
        let mut part = mix_all(hash(sort, thread as u64), history.identity);
        if result {
            part = mix_all(part, history.seen);
        }
        history.result = result;
        let before = std::mem::replace(&mut history.part, part);
        self.sum ^= before ^ part;
    }
}

#[cfg(test)]
mod tests {
    use super::Present;

    /// Everything that tells two states apart.
    fn all(present: &Present) -> String {
        let mut named: Vec<_> = present.named.iter().collect();
        named.sort_unstable();
        format!(
            "{:?} {:?} {named:?} {:?} {}",
            present.threads, present.objects, present.freed, present.sum
        )
    }

    #[test]
    fn rewinding_restores_everything() {
        let mut present = Present::new();
        present.spawn(0, 0, 0);
        present.register(5, 0, 0);
        let changes: [fn(&mut Present); 10] = [
            |p| p.spawn(1, 0, 1),
            |p| p.register(7, 3, 1),
            |p| p.note_word(1, 6),
            |p| p.note_content(2, 9),
            |p| p.free(4, 11),
            |p| p.observe(1, 12),
            |p| p.forget(1, 13, std::panic::Location::caller()),
            |p| p.reset_to(2, 0),
            |p| p.register(8, 0, 0),
            |p| p.end(1, true),
        ];
        let mut states = Vec::new();
        for change in changes {
            states.push((present.mark(), all(&present)));
            change(&mut present);
            assert_ne!(all(&present), states[states.len() - 1].1);
        }
        for (mark, before) in states.into_iter().rev() {
            present.rewind(mark);
            assert_eq!(all(&present), before);
        }
        present.clear();
        assert_eq!(all(&present), all(&Present::new()));
    }

    #[test]
    fn a_sum_knows_the_state_and_not_the_way() {
        let mut present = Present::new();
        present.spawn(0, 0, 0);
        present.register(5, 0, 0);
        present.register(5, 0, 0);
        let start = present.sum();
        present.note_word(1, 6);
        let one = present.sum();
        present.note_word(2, 6);
        present.note_word(1, 5);
        assert_ne!(present.sum(), one);
        present.note_word(2, 5);
        assert_eq!(present.sum(), start);
    }
}
