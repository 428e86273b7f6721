//! Counters whose additions commute.

use crate::engine::object::{Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt;
use crate::sync::atomic::Ordering;

/// A number that is mostly added to, and rarely looked at: statistics, memory accounting.
///
/// As an addition does not tell the value, the order of two additions cannot matter, and is not
/// explored. Use an atomic where the result of an addition steers the program.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Counter {
    object: Object,
}

impl Default for Object {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Counter {
    /// A new counter.
    #[must_use]
    pub const fn new(value: i64) -> Self {
        Self {
            object: Object::new(value.cast_unsigned()),
        }
    }

    /// Adds, wrapping around.
    #[inline]
    pub fn add(&self, value: i64) {
        let turn = rt::visible(&self.object, Shape::Counter, Kind::Add, 0);
        turn.outcome(|| format!(": {value:+}"));
        let sum = self.get_quiet().wrapping_add(value);
        turn.set(&self.object, sum.cast_unsigned());
    }

    /// The value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> i64 {
        let turn = rt::visible(&self.object, Shape::Counter, Kind::Load, 0);
        let value = turn.get(&self.object).cast_signed();
        turn.outcome(|| format!(" -> {value}"));
        value
    }

    /// Sets the value.
    #[inline]
    pub fn set(&self, value: i64) {
        let order = Ordering::Relaxed;
        let turn = rt::ordered(&self.object, Shape::Counter, Kind::Store, 0, order);
        turn.outcome(|| format!(" = {value}"));
        turn.set(&self.object, value.cast_unsigned());
    }

    /// The value, without an event: for oracles.
    #[inline]
    #[must_use]
    pub fn get_quiet(&self) -> i64 {
        self.object.view().cast_signed()
    }

    /// Sets the value, without an event: for setting up.
    #[inline]
    pub fn set_quiet(&self, value: i64) {
        rt::set_quiet(&self.object, value.cast_unsigned());
    }
}
