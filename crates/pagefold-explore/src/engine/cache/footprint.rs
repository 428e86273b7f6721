//! Footprints: which thread touches which object how, in any event below a node.
//!
//! A footprint is a sparse set of bits, sorted by word. A word has 16 bits for each of four threads
//! and one object, which goes by its name. Objects that are first used below the node need no name
//! there: whoever comes to the same state has no such object, so the events above cannot have touched
//! it. What they may have done is to free the memory it lies in. All of these count as one, [`NEW`].

use super::super::threads::ThreadSet;

/// A wait, which looks past the last write.
pub(super) const WAITS: u16 = 1 << 12;
/// Begins a read section; of no object.
pub(super) const SECTION: u16 = 1 << 13;
/// Waits for a grace period; of no object.
pub(super) const GRACE: u16 = 1 << 14;
/// Writes to a range; of no object.
pub(super) const RANGE: u16 = 1 << 15;
/// Touches an object that is new; of no object.
pub(super) const NEW: u16 = 1;

/// The name of no object.
pub(super) const NOTHING: u64 = 0;

/// How many bits of a word say which threads it is about.
const GROUP_BITS: u32 = 4;
/// The bits of an access by one thread.
const LANE_BITS: usize = 16;
/// How many threads share a word.
const LANES: usize = 4;

/// The name of an object in footprints, made of a hash. Different objects may share a name.
pub(super) fn name_of(hash: u64) -> u64 {
    (hash >> GROUP_BITS).max(1)
}

/// The word of four threads and one object, and the bits in it.
pub(super) type Word = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Footprint {
    words: Vec<Word>,
}

impl Footprint {
    pub(super) fn clear(&mut self) {
        self.words.clear();
    }

    pub(super) fn words(&self) -> &[Word] {
        &self.words
    }

    /// Adds `bits` of `thread` and the object called `name`.
    pub(super) fn touch(&mut self, thread: usize, name: u64, bits: u16) {
        let word = name << GROUP_BITS | (thread / LANES) as u64;
        self.add(word, u64::from(bits) << (thread % LANES * LANE_BITS));
    }

    fn add(&mut self, word: u64, bits: u64) {
        match self.words.binary_search_by_key(&word, |&(word, _)| word) {
            Ok(found) => self.words[found].1 |= bits,
            Err(place) => self.words.insert(place, (word, bits)),
        }
    }

    /// The object called `name` becomes one that is new.
    pub(super) fn forget(&mut self, name: u64) {
        let start = self
            .words
            .partition_point(|&(word, _)| word >> GROUP_BITS < name);
        while let Some(&(word, bits)) = self.words.get(start)
            && word >> GROUP_BITS == name
        {
            self.words.remove(start);
            let group = word & ((1 << GROUP_BITS) - 1);
            for (lane, _) in lanes(bits) {
                self.add(group, u64::from(NEW) << (lane * LANE_BITS));
            }
        }
    }

    /// Adds the bits of `other`.
    pub(super) fn unite(&mut self, other: &[Word], scratch: &mut Vec<Word>) {
        let mut at = 0;
        let mut missing = false;
        for &(word, bits) in other {
            while at < self.words.len() && self.words[at].0 < word {
                at += 1;
            }
            match self.words.get_mut(at) {
                Some((here, known)) if *here == word => *known |= bits,
                _ => {
                    missing = true;
                    break;
                }
            }
        }
        if !missing {
            return;
        }
        scratch.clear();
        let (mut mine, mut theirs) = (self.words.iter().peekable(), other.iter().peekable());
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(&&(a, x)), Some(&&(b, y))) if a == b => {
                    mine.next();
                    theirs.next();
                    (a, x | y)
                }
                (Some(&&(a, x)), Some(&&(b, _))) if a < b => {
                    mine.next();
                    (a, x)
                }
                (Some(&&first), None) => {
                    mine.next();
                    first
                }
                (_, Some(&&first)) => {
                    theirs.next();
                    first
                }
                (None, None) => break,
            };
            scratch.push(next);
        }
        std::mem::swap(&mut self.words, scratch);
    }
}

/// The threads in a footprint, with the name of what they touch, and how.
pub(super) fn touches(words: &[Word]) -> impl Iterator<Item = (usize, u64, u16)> + '_ {
    words.iter().flat_map(|&(word, bits)| {
        let name = word >> GROUP_BITS;
        let group = usize::try_from(word - (name << GROUP_BITS)).expect("a few bits");
        lanes(bits).map(move |(lane, bits)| (group * LANES + lane, name, bits))
    })
}

/// The lanes of a word that are not empty.
fn lanes(bits: u64) -> impl Iterator<Item = (usize, u16)> {
    (0..LANES).filter_map(move |lane| {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
        let bits = (bits >> (lane * LANE_BITS)) as u16;
        (bits != 0).then_some((lane, bits))
    })
}

const _: () = assert!(ThreadSet::BITS as usize <= LANES << GROUP_BITS);

#[cfg(test)]
mod tests {
    use super::{Footprint, NEW, NOTHING, RANGE, Word, touches};

    #[test]
    fn footprints_unite() {
        let mut scratch = Vec::new();
        let mut a = Footprint {
            words: vec![(1, 1), (5, 2)],
        };
        let mut unite = |a: &mut Footprint, b: &[Word]| a.unite(b, &mut scratch);
        unite(&mut a, &[(5, 4)]);
        assert_eq!(a.words, [(1, 1), (5, 6)]);
        unite(&mut a, &[(0, 1), (5, 8), (9, 1)]);
        assert_eq!(a.words, [(0, 1), (1, 1), (5, 14), (9, 1)]);
        unite(&mut a, &[]);
        assert_eq!(a.words.len(), 4);
        let mut empty = Footprint::default();
        unite(&mut empty, &a.words);
        assert_eq!(empty.words, a.words);
    }

    #[test]
    fn objects_that_are_forgotten_are_new() {
        let mut footprint = Footprint::default();
        footprint.touch(2, NOTHING, RANGE);
        footprint.touch(1, 7, 8);
        footprint.touch(63, 7, 4);
        footprint.touch(3, 6, 2);
        footprint.forget(7);
        let left: Vec<_> = touches(&footprint.words).collect();
        let expected = [
            (1, NOTHING, NEW),
            (2, NOTHING, RANGE),
            (63, NOTHING, NEW),
            (3, 6, 2),
        ];
        assert_eq!(left, expected);
    }
}
