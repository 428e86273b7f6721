//! Taking away a table that a zap has emptied, of a VMA that stays (Linux from 6.14: `PT_RECLAIM`).
//!
//! Guarantee: the table that goes is empty, and nobody can put anything into it.
//!
//! Locks: the pmd lock and the lock of the table, both. The first is what others rely on who look at the upper entry
//! under it and then go to the table that it names (retraction); the second is what everybody has who changes entries and
//! who then finds, as the upper entry is looked at again, that the table is gone.
//!
//! The zap has the table's lock when it is done, and the pmd lock comes before that in the lock order. So it is tried; the
//! table is then as the zap left it. If it is not free, the table's lock is given up, both are taken in order, and
//! each entry is looked at again, since a fault may have filled it meanwhile.

use crate::accounting;
use crate::addr::AddrRange;
use crate::page_table::{PmdRef, PteLocked, PteMap, pte_offset_map_nolock};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::tlb::{Gather, flush_before_make};

/// Takes the table away that serves `part`, all of whose entries the caller has found or left empty since it took its
/// lock, unless somebody has the pmd lock. Whether it did.
pub(crate) fn take_emptied_table<P: Platform>(
    table: &PteLocked<P>,
    part: AddrRange,
    gather: &mut Gather<P>,
) -> bool {
    let pmd = table.pmd;
    let pml = pmd.lockptr();
    let needs_lock = pml != table.lockptr() && P::enforces(Safeguard::ReclaimPmdLock);
    let step = Step::Pmd("pmd_trylock", pmd.mm.id, pmd.addr);
    let pml = needs_lock.then(|| pml.try_lock(step));
    if matches!(pml, Some(None)) {
        return false;
    }
    detach(table, part, gather);
    true
}

/// Takes the table away that serves `part`, if there is one and it is empty. The caller has no page-table lock.
pub(crate) fn take_empty_table<P: Platform>(
    pmd: PmdRef<P>,
    part: AddrRange,
    gather: &mut Gather<P>,
) {
    let pml = P::enforces(Safeguard::ReclaimPmdLock).then(|| pmd.lock());
    let Some(table) = pte_offset_map_nolock(pmd) else {
        return;
    };
    let same = pml.is_some() && pmd.lockptr() == table.lockptr();
    let _ptl = (!same || !P::enforces(Safeguard::CompareLocks)).then(|| {
        table
            .lockptr()
            .lock(Step::Pmd("ptl", pmd.mm.id, part.start))
    });
    if !P::enforces(Safeguard::ReclaimRescan) || table.is_empty(part) {
        detach(&table, part, gather);
    }
}

/// The upper entry names the table no more; walkers that know it are flushed, or waited for, before it is freed.
fn detach<P: Platform>(table: &PteMap<P>, part: AddrRange, gather: &mut Gather<P>) {
    table.pmd.clear("pmd_clear");
    flush_before_make(table.pmd.mm, part);
    accounting::mm_dec_nr_ptes::<P>(&table.pmd.mm);
    gather.add_table(table.seen.pfn(), part);
}
