//! Histories and views: which writes an object has had, and which of them a thread may still see.

/// The number of a write in the history of its object, in the order of execution. Write 0 is the first
/// value, which everybody knows.
pub(super) type WriteNumber = u32;

/// What is known: of each object a write that nothing older may be seen of any more, and of each
/// thread how many of its events happen before.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    writes: Vec<WriteNumber>,
    clock: Vec<u32>,
}

/// A write to an object.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) word: u64,
    /// What whoever reads the write gets to know if it synchronizes.
    pub(super) message: View,
    /// Who wrote it, and by which event; `None` for what was set without an event.
    pub(super) by: Option<(usize, u32)>,
    /// The write that it replaced, if it is that of a read-modify-write: nothing may come in between.
    pub(super) replaces: Option<WriteNumber>,
}

/// The writes to an object.
#[derive(Debug, Default)]
pub(super) struct History {
    writes: Vec<Write>,
    /// The writes in modification order.
    order: Vec<WriteNumber>,
    /// The newest write without an event: nobody sees what is older.
    floor: WriteNumber,
}

impl View {
    pub(super) fn write(&self, object: u32) -> WriteNumber {
        self.writes.get(object as usize).copied().unwrap_or(0)
    }

    /// Nothing older than `write` is to be seen any more.
    pub(super) fn see(&mut self, object: u32, write: WriteNumber, history: &History) {
        let known = slot(&mut self.writes, object as usize);
        if history.rank(write) > history.rank(*known) {
            *known = write;
        }
    }

    /// Whether event number `seq` of `thread` happens before.
    pub(super) fn knows(&self, thread: usize, seq: u32) -> bool {
        self.clock.get(thread).is_some_and(|&known| known >= seq)
    }

    /// Event number `seq` of `thread` happens before.
    pub(super) fn know(&mut self, thread: usize, seq: u32) {
        *slot(&mut self.clock, thread) = seq;
    }

    /// Adds what another view knows.
    pub(super) fn join(&mut self, other: &Self, histories: &[History]) {
        for (object, &theirs) in other.writes.iter().enumerate() {
            // Most objects have no history, or are known alike.
            if theirs != self.write(super::super::log::as_u32(object)) {
                self.see(
                    super::super::log::as_u32(object),
                    theirs,
                    &histories[object],
                );
            }
        }
        for (thread, &theirs) in other.clock.iter().enumerate() {
            let mine = slot(&mut self.clock, thread);
            *mine = theirs.max(*mine);
        }
    }
}

fn slot(numbers: &mut Vec<u32>, at: usize) -> &mut u32 {
    if at >= numbers.len() {
        numbers.resize(at + 1, 0);
    }
    &mut numbers[at]
}

impl History {
    /// Makes sure that `word` is the newest value: if it is not, it was set without an event.
    pub(super) fn settle(&mut self, word: u64) {
        if self.newest().is_some_and(|newest| newest.word == word) {
            return;
        }
        self.floor = self.push(Write {
            word,
            message: View::default(),
            by: None,
            replaces: None,
        });
        self.order.push(self.floor);
    }

    fn push(&mut self, write: Write) -> WriteNumber {
        let number = crate::engine::log::as_u32(self.writes.len());
        self.writes.push(write);
        number
    }

    fn newest(&self) -> Option<&Write> {
        self.order.last().map(|&newest| self.get(newest))
    }

    pub(super) fn get(&self, write: WriteNumber) -> &Write {
        &self.writes[write as usize]
    }

    pub(super) fn set_message(&mut self, write: WriteNumber, message: View) {
        self.writes[write as usize].message = message;
    }

    /// The place of a write in modification order.
    pub(super) fn rank(&self, write: WriteNumber) -> usize {
        let place = self.order.iter().position(|&other| other == write);
        place.unwrap_or(0)
    }

    /// The writes that may be seen by whoever must not see anything older than `known`, the newest
    /// first.
    pub(super) fn visible(&self, known: WriteNumber) -> impl Iterator<Item = WriteNumber> + '_ {
        let oldest = self.rank(known).max(self.rank(self.floor));
        self.order[oldest..].iter().rev().copied()
    }

    /// The writes after `known` in modification order.
    pub(super) fn after(&self, known: WriteNumber) -> impl Iterator<Item = WriteNumber> + '_ {
        self.order[self.rank(known) + 1..].iter().copied()
    }

    /// Whether a read-modify-write replaced a write: then nothing can come right after it.
    pub(super) fn is_replaced(&self, write: WriteNumber) -> bool {
        let next = self.order.get(self.rank(write) + 1);
        next.is_some_and(|&next| self.get(next).replaces == Some(write))
    }

    /// Adds a write right after another one in modification order. Whether it is the newest.
    pub(super) fn insert(&mut self, after: WriteNumber, write: Write) -> (WriteNumber, bool) {
        let place = self.rank(after) + 1;
        let number = self.push(write);
        self.order.insert(place, number);
        (number, place + 1 == self.order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{History, View, Write};

    fn write(word: u64, replaces: Option<u32>) -> Write {
        Write {
            word,
            message: View::default(),
            by: Some((0, 0)),
            replaces,
        }
    }

    #[test]
    fn places_do_not_depend_on_the_order_of_execution() {
        let mut history = History::default();
        history.settle(0);
        let (a, newest) = history.insert(0, write(1, None));
        assert!(newest);
        let (b, newest) = history.insert(0, write(2, Some(0)));
        assert!(!newest);
        assert_eq!(history.visible(0).collect::<Vec<_>>(), [a, b, 0]);
        assert_eq!(history.visible(b).collect::<Vec<_>>(), [a, b]);
        assert!(history.is_replaced(0) && !history.is_replaced(b));
        let (mut one, mut two) = (View::default(), View::default());
        one.see(0, b, &history);
        two.see(0, a, &history);
        one.join(&two, &[history]);
        assert_eq!(one.write(0), a);
    }

    #[test]
    fn what_is_set_without_an_event_is_known_to_all() {
        let mut history = History::default();
        history.settle(0);
        history.insert(0, write(1, None));
        history.settle(1);
        assert_eq!(history.visible(0).count(), 2);
        history.settle(7);
        assert_eq!(history.visible(0).count(), 1);
    }
}
