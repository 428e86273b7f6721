//! Hashes of 128 bits: histories and parts of keys.
//!
//! A history is a chain: each thing observed is mixed into what was there before. The two halves are
//! mixed by different functions, each of them a bijection of the history for a given value and of the
//! value for a given history. Sums of hashes ("xor") stand for sets.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// What a hash is of. Hashes of different sorts have different seeds.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Sort {
    Name = 1,
    Thread,
    Ended,
    Result,
    Freed,
    Awake,
    Order,
    Checkpoint,
    Held,
    Read,
    Content,
    Announced,
    Written,
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
pub(super) const fn low(hash: u128) -> u64 {
    hash as u64
}

const fn high(hash: u128) -> u64 {
    low(hash >> 64)
}

/// A bijection in which each bit depends on each (the finalizer of `MurmurHash3`).
#[inline]
const fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// Adds `value` to a history.
#[inline]
pub(crate) const fn mix(history: u128, value: u64) -> u128 {
    let a = scramble(low(history).wrapping_add(0x9e37_79b9_7f4a_7c15) ^ value);
    let b = scramble(
        high(history).wrapping_mul(0xbf58_476d_1ce4_e5b9)
            ^ value.wrapping_add(0x2545_f491_4f6c_dd1d),
    );
    (b as u128) << 64 | a as u128
}

/// Adds another hash to a history.
#[inline]
pub(super) const fn mix_all(history: u128, other: u128) -> u128 {
    mix(mix(history, low(other)), high(other))
}

#[inline]
pub(super) const fn hash(sort: Sort, value: u64) -> u128 {
    mix(mix(0, sort as u64), value)
}

/// The hasher of tables whose keys are hashes, or made of few words.
#[derive(Debug, Default)]
pub(super) struct Words(u64);

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = scramble(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    /// A hash is as good as another one of it.
    fn write_u128(&mut self, key: u128) {
        self.0 = low(key);
    }
}

pub(super) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Words>>;
pub(super) type Set<K> = HashSet<K, BuildHasherDefault<Words>>;

#[cfg(test)]
mod tests {
    use super::{Sort, hash, mix};

    #[test]
    fn histories_depend_on_order_and_sort() {
        let h = hash(Sort::Thread, 0);
        assert_ne!(mix(mix(h, 1), 2), mix(mix(h, 2), 1));
        assert_ne!(hash(Sort::Thread, 1), hash(Sort::Ended, 1));
        assert_ne!(mix(h, 0), h);
    }

    /// Neither half of a hash may depend on less than all that went into it.
    #[test]
    fn both_halves_tell_sorts_and_values_apart() {
        let mut halves = std::collections::BTreeSet::new();
        for sort in [Sort::Thread, Sort::Ended, Sort::Result, Sort::Freed] {
            for value in 0..64 {
                let hash = hash(sort, value);
                halves.insert((0, super::low(hash)));
                halves.insert((1, super::high(hash)));
            }
        }
        assert_eq!(halves.len(), 2 * 4 * 64);
    }
}
