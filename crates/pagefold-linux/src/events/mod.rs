//! What the kernel notes of collapses: the ranges that it tells followers of, flushes, and results by their names.
//!
//! `instance.rs` has it noted, `parse.rs` reads it. A range is noted only if somebody follows the address space, so each process has a virtual
//! machine then, without a CPU. Each collapse of the race is put between two marks; threads run one after the other.

mod instance;
mod parse;

use pagefold_litmus::{MappingId, Scenario};

pub(crate) use instance::{Instance, mark};
pub(crate) use parse::{BEGIN, END, collapses};
pub use parse::{Collapse, Event, Happened};

/// The event of a range that followers are told of.
pub const RANGE: &str = "kvm_unmap_hva_range";

/// The event of a flush.
pub const FLUSH: &str = "tlb_flush";

/// The place of a mapping, which is that of what it is a copy of.
#[must_use]
pub fn slot(scenario: &Scenario, mapping: MappingId) -> usize {
    crate::plan::slots(scenario)[mapping.index()]
}
