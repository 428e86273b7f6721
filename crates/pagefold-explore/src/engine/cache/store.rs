//! The nodes that are stored, in bounded memory.
//!
//! There are two generations. What is stored or found goes into the young one; when that has
//! grown to half of what is allowed, it becomes the old one, and what was old is dropped. So what is
//! dropped has not been asked for in a long time. Dropping costs work, and nothing else: a state that
//! is not found is explored.
//!
//! Many nodes have the same footprint (that of a node is mostly that of its last child). Each
//! generation keeps equal ones once.

use std::rc::Rc;

use super::super::threads::ThreadSet;
use super::footprint::Word;
use super::hash::{Map, Set};

/// What is known of a node that is done, besides its footprint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Done {
    pub(super) sleep: ThreadSet,
    /// How many executions its subtree took, or would have taken without cuts.
    pub(super) executions: u64,
}

/// A node that is done.
#[derive(Debug)]
struct Entry {
    node: Done,
    footprint: Rc<[Word]>,
}

/// The nodes of one key, none of whose sleep sets contains another one. Mostly there is one.
#[derive(Debug)]
struct Entries {
    first: Entry,
    more: Vec<Entry>,
}

/// What an entry costs in a table that is half full.
const ENTRY_BYTES: usize = 2 * size_of::<(u128, Entries)>();

/// What a footprint costs without its words.
const FOOTPRINT_BYTES: usize = 2 * size_of::<Rc<[Word]>>() + 2 * size_of::<usize>();

#[derive(Debug, Default)]
struct Generation {
    entries: Map<u128, Entries>,
    footprints: Set<Rc<[Word]>>,
    bytes: usize,
}

impl Generation {
    /// One footprint for all that are equal.
    fn share(&mut self, words: &[Word]) -> Rc<[Word]> {
        if let Some(known) = self.footprints.get(words) {
            return Rc::clone(known);
        }
        let shared: Rc<[Word]> = words.into();
        self.footprints.insert(Rc::clone(&shared));
        self.bytes += FOOTPRINT_BYTES + size_of_val(words);
        shared
    }

    fn insert(&mut self, key: u128, node: Done, words: &[Word]) {
        let footprint = self.share(words);
        let mut all = Vec::new();
        if let Some(Entries { first, more }) = self.entries.remove(&key) {
            self.bytes -= (1 + more.len()) * ENTRY_BYTES;
            // Those whose sleep sets contain this one have nothing to add to it.
            let others = std::iter::once(first).chain(more);
            all.extend(others.filter(|entry| node.sleep & !entry.node.sleep != 0));
        }
        self.bytes += (1 + all.len()) * ENTRY_BYTES;
        let mut first = Entry { node, footprint };
        if let Some(oldest) = all.first_mut() {
            std::mem::swap(&mut first, oldest);
            all.rotate_left(1);
        }
        self.entries.insert(key, Entries { first, more: all });
    }
}

/// The store of one exploration.
#[derive(Debug)]
pub(super) struct Store {
    young: Generation,
    old: Generation,
    /// How many bytes may be used.
    limit: usize,
    /// How many keys were stored, and how many were looked up.
    pub(super) stored: u64,
    pub(super) looked_up: u64,
    /// How many keys were dropped for want of memory.
    pub(super) dropped: u64,
}

impl Store {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            limit,
            stored: 0,
            looked_up: 0,
            dropped: 0,
        }
    }

    /// A node with this key and its footprint, if one is stored whose sleep set is part of `sleep`.
    pub(super) fn find(&mut self, key: u128, sleep: ThreadSet) -> Option<(Done, Rc<[Word]>)> {
        self.looked_up += 1;
        self.renew(key);
        let entries = self.young.entries.get(&key)?;
        let fits = |entry: &&Entry| entry.node.sleep & !sleep == 0;
        let found = std::iter::once(&entries.first)
            .chain(&entries.more)
            .find(fits)?;
        Some((found.node, Rc::clone(&found.footprint)))
    }

    pub(super) fn insert(&mut self, key: u128, node: Done, words: &[Word]) {
        self.renew(key);
        let before = self.young.entries.len();
        self.young.insert(key, node, words);
        self.stored += (self.young.entries.len() - before) as u64;
        self.grow_old();
    }

    /// What is asked for belongs to the young.
    fn renew(&mut self, key: u128) {
        if let Some(Entries { first, more }) = self.old.entries.remove(&key) {
            for entry in std::iter::once(first).chain(more) {
                self.young.insert(key, entry.node, &entry.footprint);
            }
        }
    }

    fn grow_old(&mut self) {
        if self.young.bytes > self.limit / 2 {
            self.dropped += self.old.entries.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.young = Generation::default();
        self.old = Generation::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Done, Store};

    fn with(sleep: u64) -> Done {
        Done {
            sleep,
            executions: 1,
        }
    }

    #[test]
    fn a_state_is_found_with_at_least_the_sleep_set() {
        let mut store = Store::new(1 << 20);
        store.insert(1, with(0b11), &[(1, 1)]);
        assert!(store.find(1, 0b01).is_none());
        assert!(store.find(2, 0b11).is_none());
        assert!(store.find(1, 0b111).is_some());
        store.insert(1, with(0b100), &[(2, 1)]);
        assert_eq!(*store.find(1, 0b011).unwrap().1, [(1, 1)]);
        assert_eq!(*store.find(1, 0b100).unwrap().1, [(2, 1)]);
        // It says more than both.
        store.insert(1, with(0), &[(3, 1)]);
        assert_eq!(*store.find(1, 0b111).unwrap().1, [(3, 1)]);
        assert!(store.young.entries[&1].more.is_empty());
        assert_eq!((store.stored, store.dropped), (1, 0));
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let limit = 10_000;
        let mut store = Store::new(limit);
        store.insert(0, with(0), &[(1, 1)]);
        for key in 1..10_000 {
            store.insert(key, with(0), &[(1, 1), (2, key as u64 % 3)]);
            assert!(store.find(0, 0).is_some(), "{key}");
            assert!(store.young.bytes + store.old.bytes <= limit + 1_000);
        }
        assert!(store.find(1, 0).is_none() && store.find(9_999, 0).is_some());
        assert!(store.dropped > 9_000);
        assert!(store.young.footprints.len() <= 4);
    }
}
