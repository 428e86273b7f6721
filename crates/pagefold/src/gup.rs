//! Getting at user pages (Linux: `mm/gup.c`).
//!
//! Guarantee: a page that was got stays where it is: it is not freed, and a huge page is not made of a copy of it, since
//! collapse counts references after it took the mappings away.
//!
//! The fast walk takes no lock. Interrupts are off, and a grace period waits for that, so that no table is freed meanwhile. It
//! does not rely on a flush waiting for it, as not every machine flushes by interrupts. It may see entries that are being taken
//! away; so it first takes a reference, then looks at the entries again. A remover first clears the entry, then gives
//! the entry's reference back, then (collapse) looks at the references. At least one of them sees the other, since both change the
//! one count: if the walk's reference comes first, the remover counts it; if it comes later, it has acquired what the
//! remover released, and the second look finds the entry gone. No full barrier is needed for that.

use crate::addr::{Pfn, VirtAddr};
use crate::arch::Pte;
use crate::fault::{FaultError, handle_user_fault};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_table::{pmd_offset, pte_offset_map_copy};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::sync::IrqGuard;

/// The page at `addr` with a reference, if it is mapped and may be accessed so, without waiting for anybody.
/// (Linux: `get_user_pages_fast_only`)
pub fn get_user_page_fast<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
) -> Option<Pfn> {
    let _irq = P::enforces(Safeguard::GupIrqOff).then(IrqGuard::<P>::save);
    let pmd = pmd_offset(mm, addr)?;
    let value = pmd.read_dependent("gup: read pmd");
    if value.is_huge() {
        let pages = P::PTRS_PER_TABLE as u64;
        let pfn = value.pfn().add((addr.page() % pages) as usize);
        let folio = grab::<P>(value, pfn, write)?;
        if pmd.read_once("gup: recheck pmd") != value {
            folio.put::<P>(1);
            return None;
        }
        return Some(pfn);
    }
    let table = pte_offset_map_copy(pmd, value)?;
    let pte = table.read_dependent(addr);
    let folio = grab::<P>(pte, pte.pfn(), write)?;
    let moved = pmd.read_once("gup: recheck pmd") != value
        || P::enforces(Safeguard::GupRecheckPte) && table.read_once(addr) != pte;
    if moved {
        folio.put::<P>(1);
        return None;
    }
    Some(pte.pfn())
}

/// A reference to the folio of an entry that allows the access.
fn grab<P: Platform>(entry: Pte, pfn: Pfn, write: bool) -> Option<Folio> {
    if !entry.is_present() || (write && !entry.is_writable()) {
        return None;
    }
    let folio = Folio::of::<P>(pfn);
    if !folio.try_get::<P>() {
        return None;
    }
    if Folio::of::<P>(pfn) != folio {
        folio.put::<P>(1);
        return None;
    }
    Some(folio)
}

/// The page at `addr` with a reference; faults it in if need be. (Linux: `get_user_pages_fast`)
///
/// # Errors
/// What an access of the process itself would have met.
pub fn get_user_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
) -> Result<Pfn, FaultError<P>> {
    loop {
        if let Some(pfn) = get_user_page_fast(mm, addr, write) {
            return Ok(pfn);
        }
        handle_user_fault(mm, addr, write)?;
    }
}

/// Gives a page back that was got.
pub fn put_user_page<P: Platform>(pfn: Pfn) {
    Folio::of::<P>(pfn).put::<P>(1);
}
