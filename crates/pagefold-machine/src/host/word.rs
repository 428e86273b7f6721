//! The platform's words, counters and reference counts: atomics of the machine that runs them.

use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicU64, fence};
use std::thread;
use std::time::Duration;

use pagefold::platform::{Counter, RefCount, Word};

/// A word of memory: 64 bits, and nothing else, so that a frame *is* an array of words.
#[derive(Debug)]
#[repr(transparent)]
pub struct HostWord(AtomicU64);

impl HostWord {
    /// Notes in an entry that was read what hardware does with it, unless it has changed meanwhile. Whether it did.
    pub(super) fn mark_by_walk(&self, seen: u64, marked: u64) -> bool {
        self.0
            .compare_exchange(seen, marked, Acquire, Relaxed)
            .is_ok()
    }
}

impl Word for HostWord {
    #[inline(always)]
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    #[inline(always)]
    fn read_once(&self) -> u64 {
        self.0.load(Relaxed)
    }
    // Rust has no consume, and a compiler may break a dependency that it can see through.
    #[inline(always)]
    fn read_dependent(&self) -> u64 {
        self.0.load(Acquire)
    }
    #[inline(always)]
    fn load_acquire(&self) -> u64 {
        self.0.load(Acquire)
    }
    #[inline(always)]
    fn write_once(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
    #[inline(always)]
    fn store_release(&self, value: u64) {
        self.0.store(value, Release);
    }
    #[inline(always)]
    fn xchg_relaxed(&self, value: u64) -> u64 {
        self.0.swap(value, Relaxed)
    }
    #[inline(always)]
    fn load_protected(&self) -> u64 {
        self.0.load(Relaxed)
    }
    #[inline(always)]
    fn store_protected(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
    /// Looks again and again, ever less often: nothing wakes a sleeper, since a store to a word is a plain store.
    /// What waits here waits for user space (userfaultfd).
    fn wait_while(&self, value: u64) {
        const LONGEST: Duration = Duration::from_millis(1);
        let mut pause = Duration::from_micros(1);
        while self.read_once() == value {
            thread::sleep(pause);
            pause = LONGEST.min(pause * 2);
        }
    }
}

/// A counter.
#[derive(Debug)]
#[repr(transparent)]
pub struct HostCounter(AtomicI64);

impl Counter for HostCounter {
    #[inline(always)]
    fn new(value: i64) -> Self {
        Self(AtomicI64::new(value))
    }
    #[inline(always)]
    fn add(&self, delta: i64) {
        self.0.fetch_add(delta, Relaxed);
    }
    #[inline(always)]
    fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// A reference count.
#[derive(Debug)]
#[repr(transparent)]
pub struct HostRefCount(AtomicU64);

impl HostRefCount {
    #[inline(always)]
    fn try_get_ordered(&self, order: Ordering) -> bool {
        let mut count = self.0.load(Relaxed);
        while count != 0 {
            match self
                .0
                .compare_exchange_weak(count, count + 1, order, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }
}

impl RefCount for HostRefCount {
    #[inline(always)]
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    #[inline(always)]
    fn get(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    #[inline(always)]
    fn get_release(&self, n: u64) {
        self.0.fetch_add(n, Release);
    }
    #[inline(always)]
    fn try_get(&self) -> bool {
        self.try_get_ordered(Relaxed)
    }
    #[inline(always)]
    fn try_get_acquire(&self) -> bool {
        self.try_get_ordered(Acquire)
    }
    #[inline(always)]
    fn put(&self, n: u64) -> bool {
        let last = self.0.fetch_sub(n, Release) == n;
        if last {
            fence(Acquire);
        }
        last
    }
    #[inline(always)]
    fn put_relaxed(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }
    #[inline(always)]
    fn is_zero(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
    #[inline(always)]
    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
    #[inline(always)]
    fn read_acquire(&self) -> u64 {
        self.0.load(Acquire)
    }
    #[inline(always)]
    fn freeze(&self, expected: u64) -> bool {
        self.0
            .compare_exchange(expected, 0, Acquire, Relaxed)
            .is_ok()
    }
    #[inline(always)]
    fn unfreeze(&self, value: u64) {
        self.0.store(value, Release);
    }
    #[inline(always)]
    fn init(&self, value: u64) {
        self.0.store(value, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_count_gives_no_reference() {
        let count = HostRefCount::new(2);
        assert!(!count.freeze(1) && count.freeze(2));
        assert!(!count.try_get());
        count.unfreeze(1);
        assert!(count.try_get() && count.read() == 2);
    }

    #[test]
    fn a_count_at_zero_gives_no_reference() {
        let count = HostRefCount::new(1);
        assert!(count.try_get() && !count.put(1) && count.put(1));
        assert!(!count.try_get());
        assert_eq!(count.read(), 0);
    }
}
