//! The word of a lock: free, held by one, or shared by some.

use super::threads::ThreadNumber;

const EXCLUSIVE: u64 = 1 << 63;

/// Stands for "whoever runs outside an exploration".
pub(crate) const OUTSIDE: ThreadNumber = ThreadNumber::MAX;

/// Nobody holds the lock.
#[inline]
pub(crate) fn is_free(word: u64) -> bool {
    word == 0
}

/// Nobody holds the lock exclusively.
#[inline]
pub(crate) fn is_shareable(word: u64) -> bool {
    word & EXCLUSIVE == 0
}

/// Held exclusively by `thread`.
#[inline]
pub(crate) fn exclusive(thread: ThreadNumber) -> u64 {
    EXCLUSIVE | u64::from(thread)
}

/// The exclusive holder.
#[inline]
pub(crate) fn owner(word: u64) -> Option<ThreadNumber> {
    // The low bits are the number that `exclusive` put there.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number was widened by `exclusive`"
    )]
    (!is_shareable(word)).then_some(word as ThreadNumber)
}

/// How many share the lock.
#[inline]
pub(crate) fn sharers(word: u64) -> u64 {
    if is_shareable(word) { word } else { 0 }
}
