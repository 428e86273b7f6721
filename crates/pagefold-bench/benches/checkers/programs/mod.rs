//! The programs: each in one file, once for each checker, in the words of that checker.
//!
//! All have the same shape. The main thread starts the others, joins them, and asserts what they
//! have left behind. What they share is in a [`std::sync::Arc`], which no checker looks at.

mod casrot;
mod fib;
mod lockinc;
mod readers;
mod toy;

use self::casrot::CasRot;
use self::fib::Fib;
use self::lockinc::LockInc;
use self::readers::Readers;
use self::toy::Toy;

/// A program, written for each of the checkers.
pub(crate) trait Program: Sync {
    /// What it is called in the table.
    fn name(&self) -> String;

    /// Its threads, the main thread included.
    fn threads(&self) -> usize;

    /// Its classes of equivalent interleavings under sequential consistency: the executions that a
    /// checker cannot do without.
    fn classes(&self) -> u64;

    /// One execution under pagefold-explore.
    fn pagefold(&self);

    /// One execution under loom.
    fn loom(&self);

    /// One execution under shuttle.
    fn shuttle(&self);
}

/// Those in the table.
pub(crate) static PROGRAMS: &[&dyn Program] = &[
    &Toy,
    &LockInc { threads: 3 },
    &LockInc { threads: 4 },
    &CasRot { threads: 3 },
    &CasRot { threads: 4 },
    &Fib { rounds: 3 },
    &Readers { readers: 2 },
    &Readers { readers: 8 },
];

/// The number of orders of `n` things.
fn factorial(n: u32) -> u64 {
    (1..=u64::from(n)).product()
}
