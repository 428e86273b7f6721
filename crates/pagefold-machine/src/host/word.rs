//! The platform's words, counters and reference counts: atomics of the machine that runs them.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicI64, AtomicU64, compiler_fence, fence};
use std::thread;
use std::time::Duration;

use pagefold::platform::{Counter, RefCount, Word};

/// Orders a read-modify-write operation before everything that follows it (Linux: `smp_mb__after_atomic`).
///
/// On x86-64 such an operation is a full barrier already (Intel SDM volume 3, 10.2.2: "locked" instructions), so only the
/// compiler has to be told.
#[inline(always)]
fn smp_mb_after_atomic() {
    if cfg!(target_arch = "x86_64") {
        compiler_fence(SeqCst);
    } else {
        fence(SeqCst);
    }
}

/// A word of memory: 64 bits, and nothing else, so that a frame *is* an array of words.
#[derive(Debug)]
#[repr(transparent)]
pub struct HostWord(AtomicU64);

impl Word for HostWord {
    #[inline(always)]
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    #[inline(always)]
    fn load(&self) -> u64 {
        self.0.load(Acquire)
    }
    #[inline(always)]
    fn store(&self, value: u64) {
        self.0.store(value, Release);
    }
    #[inline(always)]
    fn swap(&self, value: u64) -> u64 {
        let old = self.0.swap(value, SeqCst);
        smp_mb_after_atomic();
        old
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
        while self.load() == value {
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
    fn try_get(&self) -> bool {
        let mut count = self.0.load(Relaxed);
        while count != 0 {
            match self
                .0
                .compare_exchange_weak(count, count + 1, SeqCst, Relaxed)
            {
                Ok(_) => {
                    smp_mb_after_atomic();
                    return true;
                }
                Err(now) => count = now,
            }
        }
        false
    }
    #[inline(always)]
    fn put(&self, n: u64) -> bool {
        self.0.fetch_sub(n, AcqRel) == n
    }
    #[inline(always)]
    fn read(&self) -> u64 {
        self.0.load(Acquire)
    }
    #[inline(always)]
    fn set_protected(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_at_zero_gives_no_reference() {
        let count = HostRefCount::new(1);
        assert!(count.try_get() && !count.put(1) && count.put(1));
        assert!(!count.try_get());
        assert_eq!(count.read(), 0);
    }
}
