//! What a page has held, and what a load of it may give.
//!
//! Under sequential consistency a load gives the last store in the order of execution. Under a weak memory model that is
//! not so while stores and loads race. What is certain: [stores](super::world::World::store_by_user) reach a page in the order of
//! execution, and nobody goes back. So a load gives a value that was stored to this page, and none that is older than
//! what the same CPU has stored or loaded there before (coherence, which also has to outlive that the page moves to another
//! frame). Never what the frame held before it was this page.
//!
//! If the same value was stored twice, the older store counts as the one that was read, so nothing correct is called broken.
//!
//! This asks for less than a program may rely on: that a CPU which learned of a store in another way (by a lock, or by
//! another page) sees it. Such programs are what a condition is for. At the end, when all is known to all, exactly the
//! last store is asked for.

use super::world::CPUS;

/// Values that are remembered of a page. If it had more, an unknown value may have been one of them.
const KEPT: usize = 8;

/// The values of a page, from when it was filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Contents {
    /// The value with number `n` is at `n % KEPT`.
    values: [u64; KEPT],
    /// The number of the newest value.
    newest: u32,
    /// The oldest value that each CPU may still see.
    seen: [u32; CPUS],
}

impl Contents {
    /// A page that was filled with `value`.
    pub(super) const fn of(value: u64) -> Self {
        let mut values = [0; KEPT];
        values[0] = value;
        Self {
            values,
            newest: 0,
            seen: [0; CPUS],
        }
    }

    fn value(&self, number: u32) -> u64 {
        self.values[number as usize % KEPT]
    }

    /// The last value stored.
    pub(super) fn last(&self) -> u64 {
        self.value(self.newest)
    }

    /// Whether the page has held `value` at some time since it was `earlier`.
    pub(super) fn held_since(&self, earlier: &Self, value: u64) -> bool {
        (earlier.newest..=self.newest)
            .rev()
            .take(KEPT)
            .any(|number| self.value(number) == value)
    }

    /// A store, by a CPU or by somebody else.
    pub(super) fn store(&mut self, value: u64, cpu: Option<usize>) {
        self.newest += 1;
        self.values[self.newest as usize % KEPT] = value;
        if let Some(cpu) = cpu {
            self.seen[cpu] = self.newest;
        }
    }

    /// A load by a CPU that may see old values. Whether what it gave is possible.
    pub(super) fn load_weak(&mut self, value: u64, cpu: usize) -> bool {
        let oldest = (self.newest + 1).saturating_sub(KEPT as u32);
        let from = self.seen[cpu].max(oldest);
        match (from..=self.newest).find(|&number| self.value(number) == value) {
            Some(number) => self.seen[cpu] = number,
            // One that was forgotten, if it may see those.
            None => return self.seen[cpu] < oldest,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Contents, KEPT};

    #[test]
    fn nobody_goes_back() {
        let mut page = Contents::of(1);
        page.store(2, Some(0));
        assert!(!page.load_weak(1, 0), "it has stored 2");
        assert!(page.load_weak(1, 1) && page.load_weak(2, 1));
        assert!(!page.load_weak(1, 1), "it has seen 2");
        assert!(!page.load_weak(3, 2), "nobody has stored 3");
        assert_eq!(page.last(), 2);
    }

    #[test]
    fn what_is_forgotten_may_have_been() {
        let mut page = Contents::of(1);
        for value in 2..=KEPT as u64 {
            page.store(value, None);
        }
        assert!(!page.load_weak(99, 0));
        page.store(50, None);
        assert!(page.load_weak(1, 1), "it was the first");
        assert!(page.load_weak(50, 1));
        assert!(!page.load_weak(1, 1), "it has seen the last");
    }
}
