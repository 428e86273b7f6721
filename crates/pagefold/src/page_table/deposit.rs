//! Tables in store: for each huge private page, the table that will map its pages singly if it is split.
//!
//! Guarantee: splitting a huge private page needs no memory, so that it cannot fail. (Linux: `pgtable_trans_huge_deposit`)
//!
//! The tables are in a list of the table of huge-page entries that they belong to, one for each huge private page. Locks: the
//! lock of that table. A table in store is empty, attached to nothing, and counts as a table of its address space.

use crate::addr::Pfn;
use crate::page_table::PmdRef;
use crate::platform::{Platform, Word};

/// Puts an empty table in store. The caller has the pmd lock.
pub(crate) fn deposit_table<P: Platform>(pmd: PmdRef<P>, table: Pfn) {
    let list = &P::frame(pmd.table).deposited;
    let next = &P::frame(table).next;
    next.store_protected(list.load_protected());
    list.store_protected(table.0);
}

/// Takes a table out of store, for a huge private page that is split or goes. The caller has the pmd lock.
pub(crate) fn withdraw_table<P: Platform>(pmd: PmdRef<P>) -> Pfn {
    let list = &P::frame(pmd.table).deposited;
    let table = Pfn(list.load_protected());
    list.store_protected(P::frame(table).next.load_protected());
    table
}
