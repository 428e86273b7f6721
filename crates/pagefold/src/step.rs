//! The names that operations have in a trace.
//!
//! The engine names an operation just before it does it. One place decides how each kind is written, so that a
//! trace reads like the notes kernel people write: `pmd_lock`, `recheck anon_vma`, `set_pte y[1] -> frame 9`.

use crate::addr::{PageIndex, Pfn, VirtAddr};
use crate::arch::Pte;
use crate::page_cache::Entry;

/// An operation on shared memory, as it is named in traces.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// An operation that its name describes fully.
    Named(&'static str),
    /// An operation on an address space.
    Mm(&'static str, u32),
    /// An operation on the huge-page entry of an address.
    Pmd(&'static str, u32, VirtAddr),
    /// An operation on the entry of a page.
    Pte(&'static str, u32, VirtAddr),
    /// A write of the entry of a page.
    SetPte(&'static str, u32, VirtAddr, Pte),
    /// An operation on a folio.
    Folio(&'static str, Pfn),
    /// An operation on a swap slot.
    Swap(&'static str, u64),
    /// A read of the slot of a page in the cache of an object.
    Slot(&'static str, u32, PageIndex),
    /// A write of that slot.
    SetSlot(&'static str, u32, PageIndex, Entry),
}
