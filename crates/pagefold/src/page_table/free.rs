//! Freeing tables of small-page entries.

use crate::addr::Pfn;
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::step::Step;

/// Frees a table after a grace period: readers may still be in it, though they find it empty.
/// (Linux: `pte_free_defer`)
pub(crate) fn pte_free_defer<P: Platform>(table: Pfn) {
    if P::enforces(Safeguard::DeferTableFree) {
        P::step(Step::Named("pte_free_defer"));
        P::call_rcu(move || free_table_now::<P>(table));
    } else {
        free_table_now::<P>(table);
    }
}

/// Frees a table that nobody can be in.
pub(crate) fn free_table_now<P: Platform>(table: Pfn) {
    P::step(Step::Folio("free page table", table));
    P::free_frames(table, Order::Small);
}
