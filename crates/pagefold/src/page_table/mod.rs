//! Page tables that may be taken away while they are looked at.
//!
//! Three levels are live: the top-level table of an address space, tables of huge-page entries (Linux: PMD), tables
//! of small-page entries (PTE). Upper tables go only when the last VMA that they serve is unmapped. A table of small-page
//! entries may go at any time, by [`collapse::retract`](crate::collapse::retract) or, from Linux 6.14, by whoever emptied
//! it (`reclaim`), under the feet of whoever looks at it.
//!
//! What makes that safe:
//!
//! * Who maps a table (`pte_offset_map`) is an RCU reader until it unmaps it, and tables are freed
//!   after a grace period. So what it looks at stays a page table, though perhaps a detached, empty one.
//! * Who changes entries has the table's lock (`pte_offset_map_lock`), and once it has it looks again whether the
//!   upper entry still names the table. Every remover holds the same lock while it clears the upper entry. So a table
//!   whose lock was taken and that was attached then, stays attached while the lock is held.
//! * Therefore mapping a table can fail: there may be none any more. Each caller says what it does then.
//!
//! Locks, in order: pmd lock, then the lock of the table. They are one and the same where locks are not split.

mod deposit;
mod free;
mod lock;
mod reclaim;
mod walk;

pub(crate) use deposit::{deposit_table, withdraw_table};
pub(crate) use free::{free_table_now, pte_free_defer};
pub(crate) use lock::{PtLock, PtLockGuard};
pub(crate) use reclaim::{take_emptied_table, take_empty_table};
pub(crate) use walk::{
    PmdRef, PteLocked, PteMap, clear_table, fill_table, new_table, pmd_alloc, pmd_offset,
    pte_alloc, pte_offset_map, pte_offset_map_copy, pte_offset_map_lock, pte_offset_map_nolock,
    take_upper_table,
};
