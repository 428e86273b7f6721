//! Execution counts of programs from the literature: the reduced search must start one complete
//! execution for each class of equivalent interleavings, no more and no less, in whatever order
//! the threads are spawned.
//!
//! A program is a row of a table: its name and size, where the number comes from, the number, and
//! what its threads do. Each is explored with its threads as they stand, reversed and rotated,
//! and must give the number and the same final values each time. And with the
//! [cache](Config::cache): there the final values must be the same again, in no more
//! executions.
//!
//! Where a program has a wait which may never end (other tools: an assumption that may fail), such
//! executions end in a deadlock here. They are no classes, but their final values are compared.
//!
//! `EXPLORE_LONG=1` adds sizes that take longer than one wants to wait in each test run.
//!
//! What is known of and not here, and why:
//!
//! * `big2` and others whose number is known only for sizes that take minutes.
//! * The counts modulo commuting critical sections (LAPOR), modulo symmetry, and reads-from
//!   classes: they are of coarser equivalences than the one explored here.
//! * Counts under weak memory models, and programs in which only those differ.
//! * `commits`, whose number depends on how another tool unrolls a loop that may go on for ever: with
//!   at most 5, 6 or 7 rounds it has 618, 1 258 or 2 236 classes here, the expectation is 1 734.
//! * `hw-queue`, of which no execution is complete here (one of its two threads enqueues zero, which
//!   looks like nothing, so one of them waits for ever), while the expectation is 50.
//! * `ms-queue`, `buf_ring`, `mcs_spinlock`, `qspinlock`, `fcombiner`, `hwqueue-ra`: longer programs,
//!   which are yet to be written.
//! * `pgsql`: two endless loops, cut off after a number of rounds by the unrolling of another tool.
//!
//! The programs stand in modules by what they are made of. `table` is what a row says, `check` holds a
//! program to it, `memory` is what programs share, `notation` a short way to write some of them.

mod check;
mod collapse;
mod data_structures;
mod litmus;
mod locks;
mod locks_made_of_atomics;
mod memory;
mod mutual_exclusion;
mod notation;
mod primitives;
mod read_modify_write;
mod reads_and_writes;
mod table;
