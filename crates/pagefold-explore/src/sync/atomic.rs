//! Atomic numbers, as in [`std::sync::atomic`].
//!
//! What the [`Ordering`] of an access means depends on the [memory model](crate::Memory). By default
//! every access is sequentially consistent, whatever it asks for.

mod pointer;

pub use std::sync::atomic::Ordering;

pub use self::pointer::AtomicPtr;
use crate::engine::object::{Object, Shape};
use crate::engine::op::Kind;
use crate::engine::rt;

/// As [`std::sync::atomic::fence`]. Nothing under sequential consistency.
///
/// # Panics
///
/// If `order` is `Relaxed`: there is no such fence.
#[inline]
pub fn fence(order: Ordering) {
    assert!(order != Ordering::Relaxed, "there is no relaxed fence");
    rt::fence(order);
}

/// What all atomics have in common.
macro_rules! atomic {
    ($(#[$doc:meta])* $name:ident, $value:ty, $to_word:expr, $from_word:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[repr(C)]
        pub struct $name {
            object: Object,
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(<$value>::default())
            }
        }

        impl From<$value> for $name {
            fn from(value: $value) -> Self {
                Self::new(value)
            }
        }

        impl $name {
            /// A new atomic.
            #[must_use]
            pub const fn new(value: $value) -> Self {
                Self { object: Object::new($to_word(value)) }
            }

            /// Loads the value.
            #[inline]
            pub fn load(&self, order: Ordering) -> $value {
                let turn = rt::ordered(&self.object, Shape::Atomic, Kind::Load, 0, order);
                let value = $from_word(turn.get(&self.object));
                turn.outcome(|| format!(" -> {value}"));
                value
            }

            /// Stores a value.
            #[inline]
            pub fn store(&self, value: $value, order: Ordering) {
                let turn = rt::ordered(&self.object, Shape::Atomic, Kind::Store, 0, order);
                turn.outcome(|| format!(" = {value}"));
                turn.set(&self.object, $to_word(value));
            }

            /// Stores a value and returns the one before.
            #[inline]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |_| value)
            }

            /// Stores `new` if the value is `current`.
            ///
            /// # Errors
            ///
            /// With the value, if it is another one.
            #[inline]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let turn = rt::compare_exchange(
                    &self.object,
                    $to_word(current),
                    success,
                    failure,
                );
                let before = $from_word(turn.get(&self.object));
                if before == current {
                    turn.set(&self.object, $to_word(new));
                    turn.outcome(|| format!(": {before} -> {new}"));
                    Ok(before)
                } else {
                    turn.outcome(|| format!(" failed: {before}"));
                    Err(before)
                }
            }

            /// As [`compare_exchange`](Self::compare_exchange); it never fails spuriously.
            ///
            /// # Errors
            ///
            /// With the value, if it is another one.
            #[inline]
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }

            /// Loads the value and stores what `f` makes of it, until nobody interferes.
            ///
            /// # Errors
            ///
            /// With the value, if `f` returns `None` for it.
            pub fn fetch_update(
                &self,
                set_order: Ordering,
                fetch_order: Ordering,
                mut f: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut before = self.load(fetch_order);
                while let Some(new) = f(before) {
                    match self.compare_exchange(before, new, set_order, fetch_order) {
                        Ok(before) => return Ok(before),
                        Err(other) => before = other,
                    }
                }
                Err(before)
            }

            /// Waits until `predicate` holds for the value, and returns the value.
            ///
            /// A value for which it does not hold is not an event: until then, the thread is
            /// disabled. The predicate must depend on nothing but the value.
            pub fn wait_until(&self, predicate: impl Fn($value) -> bool) -> $value {
                let turn =
                    rt::wait(&self.object, Shape::Atomic, Kind::Await, 0, &|word| {
                        predicate($from_word(word))
                    });
                let value = $from_word(turn.get(&self.object));
                if turn.is_direct() && !predicate(value) {
                    turn.cannot_wait(|engine| engine.describe_wait(engine.current));
                }
                turn.outcome(|| format!(" -> {value}"));
                value
            }

            /// The value, without an event: for oracles. It is the newest one, except that under
            /// a [memory model](crate::Memory) with store buffers it is what the calling thread sees.
            #[inline]
            #[must_use]
            pub fn load_quiet(&self) -> $value {
                $from_word(self.object.view())
            }

            /// Whether the current thread knows of the last store, so that a load can give it nothing older. Without an
            /// event: for oracles. Always so under a [memory model](crate::Memory) without views.
            #[must_use]
            pub fn is_known_quiet(&self) -> bool {
                rt::with(|engine| engine.is_newest_known(&self.object)) != Some(false)
            }

            /// Sets the value, without an event: for setting up.
            #[inline]
            pub fn store_quiet(&self, value: $value) {
                rt::set_quiet(&self.object, $to_word(value));
            }

            /// The value, of which the caller is the only user.
            #[must_use]
            pub fn into_inner(self) -> $value {
                self.load_quiet()
            }

            #[inline]
            fn update(&self, order: Ordering, f: impl FnOnce($value) -> $value) -> $value {
                let turn = rt::ordered(&self.object, Shape::Atomic, Kind::Rmw, 0, order);
                let before = $from_word(turn.get(&self.object));
                let after = f(before);
                turn.set(&self.object, $to_word(after));
                turn.outcome(|| format!(": {before} -> {after}"));
                before
            }
        }
    };
}

/// What atomics of integers have besides.
macro_rules! atomic_integer {
    ($(#[$doc:meta])* $name:ident, $value:ty, $to_word:expr, $from_word:expr) => {
        atomic!($(#[$doc])* $name, $value, $to_word, $from_word);

        impl $name {
            /// Adds, wrapping around, and returns the value before.
            #[inline]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |before| before.wrapping_add(value))
            }

            /// Subtracts, wrapping around, and returns the value before.
            #[inline]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |before| before.wrapping_sub(value))
            }

            /// Takes the greater one, and returns the value before.
            #[inline]
            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |before| before.max(value))
            }

            /// Takes the smaller one, and returns the value before.
            #[inline]
            pub fn fetch_min(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |before| before.min(value))
            }
        }

        atomic_bits!($name, $value);
    };
}

/// Bitwise operations.
macro_rules! atomic_bits {
    ($name:ident, $value:ty) => {
        impl $name {
            /// Bitwise "and"; returns the value before.
            #[inline]
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |before| before & value)
            }

            /// Bitwise "or"; returns the value before.
            #[inline]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |before| before | value)
            }

            /// The complement of bitwise "and"; returns the value before.
            #[inline]
            pub fn fetch_nand(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |before| !(before & value))
            }

            /// Bitwise exclusive "or"; returns the value before.
            #[inline]
            pub fn fetch_xor(&self, value: $value, order: Ordering) -> $value {
                self.update(order, |before| before ^ value)
            }
        }
    };
}

/// Numbers as the words of objects, and back.
macro_rules! words {
    ($($value:ident: $to_word:ident, $from_word:ident;)*) => {
        $(
            const fn $to_word(value: $value) -> u64 {
                value as u64
            }
            const fn $from_word(word: u64) -> $value {
                word as $value
            }
        )*
    };
}

words! {
    u8: u8_to_word, u8_from_word;
    u16: u16_to_word, u16_from_word;
    u32: u32_to_word, u32_from_word;
    u64: u64_to_word, u64_from_word;
    usize: usize_to_word, usize_from_word;
    i8: i8_to_word, i8_from_word;
    i16: i16_to_word, i16_from_word;
    i32: i32_to_word, i32_from_word;
    i64: i64_to_word, i64_from_word;
    isize: isize_to_word, isize_from_word;
}
const fn bool_to_word(value: bool) -> u64 {
    value as u64
}
const fn bool_from_word(word: u64) -> bool {
    word != 0
}

atomic_integer!(
    /// As [`std::sync::atomic::AtomicU8`].
    AtomicU8, u8, u8_to_word, u8_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicU16`].
    AtomicU16, u16, u16_to_word, u16_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicU32`].
    AtomicU32, u32, u32_to_word, u32_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicU64`].
    AtomicU64, u64, u64_to_word, u64_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicUsize`].
    AtomicUsize, usize, usize_to_word, usize_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicI8`].
    AtomicI8, i8, i8_to_word, i8_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicI16`].
    AtomicI16, i16, i16_to_word, i16_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicI32`].
    AtomicI32, i32, i32_to_word, i32_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicI64`].
    AtomicI64, i64, i64_to_word, i64_from_word
);
atomic_integer!(
    /// As [`std::sync::atomic::AtomicIsize`].
    AtomicIsize, isize, isize_to_word, isize_from_word
);
atomic!(
    /// As [`std::sync::atomic::AtomicBool`].
    AtomicBool, bool, bool_to_word, bool_from_word
);
atomic_bits!(AtomicBool, bool);
