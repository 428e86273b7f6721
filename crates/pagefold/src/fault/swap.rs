//! Faults on pages that were moved out to swap.
//!
//! Guarantee: the page comes back once, as it was. All who want it get the one folio that is in the swap cache for its slot, and
//! each process replaces its own entry.
//!
//! Locks: those of [`fault`](super), lock of the table, lock of the swap slot. Whoever put a folio into the swap cache holds its lock
//! until the content is there; reclaim holds it until the page is moved out. While that is waited for, everything may change:
//! so the entry is looked at again, and whether the folio is still that of the slot. The entry alone does not tell, as the slot may have
//! been freed, and used again for another page of the same address.

use super::{Fault, FaultError, Vmf};
use crate::accounting::{self, Fact, PageKind};
use crate::arch::{Pte, Swap};
use crate::folio::Folio;
use crate::page_table::{PmdRef, pte_offset_map_lock};
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::add_mapping;
use crate::swap::{self, Inserted};

/// Brings a page back. (Linux: `do_swap_page`)
pub(super) fn do_swap_page<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>, entry: Swap) -> Fault<P> {
    let Some(folio) = read_page::<P>(entry.slot)? else {
        // Somebody else has brought it back, or nobody wants it any more.
        return Ok(());
    };
    if map_page(vmf, pmd, entry, folio) {
        swap::put::<P>(entry.slot);
    }
    folio.unlock::<P>();
    folio.put::<P>(1);
    Ok(())
}

/// The folio with the content of a slot, locked and with a reference. `None` if the slot is not in use any more.
fn read_page<P: Platform>(slot: u64) -> Result<Option<Folio>, FaultError<P>> {
    if let Some(folio) = swap::find::<P>(slot) {
        folio.lock::<P>();
        return Ok(Some(folio));
    }
    let folio = Folio::alloc::<P>(Order::Small, true).ok_or(FaultError::OutOfMemory)?;
    folio.lock_new::<P>();
    folio.set_unowned::<P>();
    if P::enforces(Safeguard::SwapInByCache) {
        let other = match swap::insert::<P>(slot, folio) {
            Inserted::Yes => None,
            Inserted::Other(other) => Some(Some(other)),
            Inserted::Gone => Some(None),
        };
        if let Some(other) = other {
            folio.unlock::<P>();
            folio.put::<P>(1);
            if let Some(other) = other {
                other.lock::<P>();
            }
            return Ok(other);
        }
    }
    P::swap_in(slot, folio.pfn());
    folio.mark_uptodate::<P>();
    Ok(Some(folio))
}

/// Has the entry name the page. Whether it did: not if the entry is another's by now.
fn map_page<P: Platform>(vmf: &Vmf<P>, pmd: PmdRef<P>, entry: Swap, folio: Folio) -> bool {
    let Some(table) = pte_offset_map_lock(pmd) else {
        return false;
    };
    if P::enforces(Safeguard::RecheckSwapEntry) && vmf.changed(&table) {
        return false;
    }
    if P::enforces(Safeguard::SwapInByCache)
        && P::enforces(Safeguard::RecheckSwapCache)
        && !swap::is_cached::<P>(entry.slot, Some(folio))
    {
        return false;
    }
    // A page of this process alone, which is about to write it. Else the next write finds out whether it has to be copied.
    let mut pte = Pte::page(folio.pfn(), entry.exclusive && vmf.write).mk_dirty();
    if entry.uffd_wp {
        pte = pte.mk_uffd_wp();
    }
    // Only now is it known to be the page of this address: UFFDIO_MOVE may have given the slot to another one.
    folio.adopt::<P>(vmf.vma.anon_vma_of_page(), vmf.index());
    if entry.exclusive {
        Folio::set_exclusive::<P>(folio.pfn(), true);
    }
    folio.get::<P>(1);
    add_mapping(folio, vmf.vma, 1, PageKind::Anon);
    accounting::add_swap_entries(&*vmf.vma.mm, -1);
    P::observe(Fact::SwappedIn(vmf.vma.mm.id, vmf.addr, folio.pfn()));
    table.set(vmf.addr, vmf.vma.protect(pte));
    true
}
