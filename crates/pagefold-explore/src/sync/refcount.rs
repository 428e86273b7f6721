//! Reference counts: operations commute as long as the count stays away from zero.

use crate::engine::object::{Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt;

/// A count of references, of which only reaching zero is looked at.
///
/// Taking and giving back references tells no more than whether the count was or became zero. So two such operations
/// commute unless one of the orders passes zero, and only orders that differ in this are explored: an object that
/// many threads use for a while costs nothing. [`read`](Self::read) tells the exact value, and commutes with
/// nothing else.
#[derive(Debug)]
#[repr(C)]
pub struct RefCount {
    object: Object,
}

impl RefCount {
    /// A count that stands at `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self {
            object: Object::new(value),
        }
    }

    /// Takes `n` references more.
    #[inline]
    pub fn get(&self, n: u64) {
        let turn = rt::visible(&self.object, Shape::Counter, Kind::Add, n);
        turn.set(&self.object, self.get_quiet() + n);
        turn.outcome(|| format!(": +{n}"));
    }

    /// Takes a reference unless there is none left; whether it did.
    #[inline]
    pub fn try_get(&self) -> bool {
        let turn = rt::visible(&self.object, Shape::Counter, Kind::TryGet, 0);
        let count = self.get_quiet();
        if count != 0 {
            turn.set(&self.object, count + 1);
        }
        turn.outcome(|| if count == 0 { ": none left" } else { "" }.to_owned());
        count != 0
    }

    /// Gives back `n` references; whether they were the last.
    ///
    /// # Panics
    ///
    /// If there are not so many: the program gave one back twice.
    #[inline]
    pub fn put(&self, n: u64) -> bool {
        let turn = rt::visible(&self.object, Shape::Counter, Kind::Put, n);
        let Some(count) = self.get_quiet().checked_sub(n) else {
            panic!(
                "{n} references are given back, but there are only {}",
                self.get_quiet()
            );
        };
        turn.set(&self.object, count);
        turn.outcome(|| if count == 0 { ": the last" } else { "" }.to_owned());
        count == 0
    }

    /// The count.
    #[inline]
    #[must_use]
    pub fn read(&self) -> u64 {
        let turn = rt::visible(&self.object, Shape::Counter, Kind::Load, 0);
        let count = self.get_quiet();
        turn.outcome(|| format!(" -> {count}"));
        count
    }

    /// The count, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn get_quiet(&self) -> u64 {
        self.object.get()
    }

    /// Sets the count, without an event: for setting up.
    #[inline]
    pub fn set_quiet(&self, value: u64) {
        rt::set_quiet(&self.object, value);
    }
}
