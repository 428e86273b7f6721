//! Reference counts: operations commute as long as the count stays away from zero.

use crate::engine::object::{Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt;
use crate::sync::atomic::Ordering;

/// A count of references, of which only reaching zero is looked at.
///
/// Taking and giving back references tells no more than whether the count was or became zero. So two such operations
/// commute unless one of the orders passes zero, and only orders that differ in this are explored: an object that
/// many threads use for a while costs nothing. [`is_zero`](Self::is_zero) tells no more either. [`read`](Self::read) tells the exact value, and commutes with
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
        self.get_ordered(n, Ordering::Relaxed);
    }

    /// As [`get`](Self::get), in an order: after a release, who reads the count in an order that acquires knows what was done before.
    #[inline]
    pub fn get_ordered(&self, n: u64, order: Ordering) {
        let turn = rt::ordered(&self.object, Shape::Counter, Kind::Add, n, order);
        turn.set(&self.object, self.get_quiet() + n);
        turn.outcome(|| format!(": +{n}"));
    }

    /// Takes a reference unless there is none left; whether it did.
    #[inline]
    pub fn try_get(&self) -> bool {
        self.try_get_ordered(Ordering::Relaxed)
    }

    /// As [`try_get`](Self::try_get), in an order. If that is an acquire and the [memory model](crate::Memory) tells,
    /// what was done before references were given back earlier is seen; then it commutes with nothing.
    #[inline]
    pub fn try_get_ordered(&self, order: Ordering) -> bool {
        let turn = rt::ordered(&self.object, Shape::Counter, Kind::TryGet, 0, order);
        let count = self.get_quiet();
        if count != 0 {
            turn.set(&self.object, count + 1);
        }
        turn.outcome(|| if count == 0 { ": none left" } else { "" }.to_owned());
        count != 0
    }

    /// Whether there is no reference left. Unlike [`read`](Self::read) it tells nothing else, and so commutes with those who take and
    /// give back references that are not the last.
    #[inline]
    #[must_use]
    pub fn is_zero(&self) -> bool {
        let turn = rt::ordered(
            &self.object,
            Shape::Counter,
            Kind::TryGet,
            0,
            Ordering::Relaxed,
        );
        let zero = self.get_quiet() == 0;
        turn.outcome(|| if zero { ": none left" } else { "" }.to_owned());
        zero
    }

    /// Gives back `n` references; whether they were the last.
    ///
    /// # Panics
    ///
    /// If there are not so many: the program gave one back twice.
    #[inline]
    pub fn put(&self, n: u64) -> bool {
        self.put_ordered(n, Ordering::AcqRel)
    }

    /// As [`put`](Self::put), in another order: without a release, who gives back the last one does not know of the caller's use;
    /// without an acquire, the caller does not know of the others' if it is the last.
    ///
    /// # Panics
    ///
    /// As [`put`](Self::put).
    #[inline]
    pub fn put_ordered(&self, n: u64, order: Ordering) -> bool {
        let turn = rt::ordered(&self.object, Shape::Counter, Kind::Put, n, order);
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

    /// Makes the count zero if it is exactly `expected`, so that nobody gets a reference; whether it did. Who gave references back
    /// before has done so with all it did. [`set_ordered`](Self::set_ordered) ends this.
    #[inline]
    pub fn freeze(&self, expected: u64) -> bool {
        let turn = rt::ordered(&self.object, Shape::Counter, Kind::Rmw, 0, Ordering::AcqRel);
        let count = self.get_quiet();
        if count == expected {
            turn.set(&self.object, 0);
        }
        turn.outcome(|| format!(": {count}, expected {expected}"));
        count == expected
    }

    /// Sets the count, of an object that begins a new life while others may still be trying to get a reference. If that is not a
    /// release, who gets one does not see what was done before references were given back in the earlier life.
    #[inline]
    pub fn set_ordered(&self, value: u64, order: Ordering) {
        let turn = rt::ordered(&self.object, Shape::Counter, Kind::Rmw, 0, order);
        turn.set(&self.object, value);
        turn.outcome(|| format!(" = {value}"));
    }

    /// The count.
    #[inline]
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read_ordered(Ordering::Relaxed)
    }

    /// The count, read in an order.
    #[inline]
    #[must_use]
    pub fn read_ordered(&self, order: Ordering) -> u64 {
        let turn = rt::ordered(&self.object, Shape::Counter, Kind::Load, 0, order);
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
