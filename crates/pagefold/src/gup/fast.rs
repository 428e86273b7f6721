//! The walk without locks (Linux: `get_user_pages_fast_only`).
//!
//! It takes no lock. Interrupts are off, and a grace period waits for that, so that no table is freed meanwhile. It
//! does not rely on a flush waiting for it, as not every machine flushes by interrupts. It may see entries that are being taken
//! away; so it first takes a reference, then looks at the entries again. A remover first clears the entry, then gives
//! the entry's reference back, then (collapse) looks at the references. At least one of them sees the other, since both change the
//! one count: if the walk's reference comes first, the remover counts it; if it comes later, it has acquired what the
//! remover released, and the second look finds the entry gone. No full barrier is needed for that. Fork and UFFDIO_MOVE look only at
//! pins, which are counted a step later: so there is a barrier between that and the second looks (`grab`).

use super::{Purpose, give_back, grab, must_unshare, unpin_user_page};
use crate::addr::{Pfn, VirtAddr};
use crate::arch::Pte;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_table::{pmd_offset, pte_offset_map_copy};
use crate::platform::{Platform, Word};
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::sync::IrqGuard;
use crate::zero::is_zero_page;

/// The page at `addr` with a reference, if it is mapped and may be accessed so, without waiting for anybody.
/// (Linux: `get_user_pages_fast_only`)
pub fn get_user_page_fast<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
) -> Option<Pfn> {
    walk(mm, addr, write, Purpose::Get)
}

/// As [`get_user_page_fast`], with a pin. (Linux: `pin_user_pages_fast_only`)
pub fn pin_user_page_fast<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
) -> Option<Pfn> {
    pin(mm, addr, write, Purpose::Pin)
}

/// The walk for a pin: fork is watched for.
pub(super) fn pin<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
    purpose: Purpose,
) -> Option<Pfn> {
    let seq = &mm.write_protect_seq;
    P::step(Step::Mm("gup: read write_protect_seq", mm.id));
    // The barrier behind the pin comes between this and the second look at the entry: who sees the number that a fork ended with sees the
    // entry as that left it.
    let before = seq.read_once();
    if before % 2 == 1 {
        return None;
    }
    let pfn = walk(mm, addr, write, purpose)?;
    P::step(Step::Mm("gup: recheck write_protect_seq", mm.id));
    if seq.read_once() != before {
        unpin_user_page::<P>(pfn);
        return None;
    }
    Some(pfn)
}

/// The walk without locks. (Linux: `gup_fast_pgd_range`)
fn walk<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
    purpose: Purpose,
) -> Option<Pfn> {
    let _irq = P::enforces(Safeguard::GupIrqOff).then(IrqGuard::<P>::save);
    let pmd = pmd_offset(mm, addr)?;
    let value = pmd.read_dependent("gup: read pmd");
    if value.is_huge() {
        let pages = P::PTRS_PER_TABLE as u64;
        let pfn = value.pfn().add((addr.page() % pages) as usize);
        if may_take_zeros::<P>(value, pfn, write, purpose) {
            return Some(pfn);
        }
        let folio = grab::<P>(value, pfn, write, purpose)?;
        let shared = must_ask::<P>(folio, folio.pfn(), purpose);
        if pmd.read_once("gup: recheck pmd") != value || shared {
            give_back::<P>(folio, purpose);
            return None;
        }
        return Some(pfn);
    }
    let table = pte_offset_map_copy(pmd, value)?;
    let pte = table.read_dependent(addr);
    if may_take_zeros::<P>(pte, pte.pfn(), write, purpose) {
        return Some(pte.pfn());
    }
    let folio = grab::<P>(pte, pte.pfn(), write, purpose)?;
    let moved = P::enforces(Safeguard::GupRecheckPmd) && pmd.read_once("gup: recheck pmd") != value
        || P::enforces(Safeguard::GupRecheckPte) && table.read_once(addr) != pte;
    let shared = must_ask::<P>(folio, pte.pfn(), purpose);
    if moved || shared {
        give_back::<P>(folio, purpose);
        return None;
    }
    Some(pte.pfn())
}

/// Whether an entry maps a page of zeros that is taken as it is: it has no count that could be looked at.
fn may_take_zeros<P: Platform>(entry: Pte, pfn: Pfn, write: bool, purpose: Purpose) -> bool {
    purpose == Purpose::Get && !write && entry.is_present() && is_zero_page::<P>(pfn)
}

/// Whether it takes a look at the VMA to know if the page may be taken as it is. (Linux: `gup_must_unshare` without a VMA,
/// `gup_fast_folio_allowed`)
fn must_ask<P: Platform>(folio: Folio, page: Pfn, purpose: Purpose) -> bool {
    purpose == Purpose::LongTerm && !folio.is_anon::<P>() || must_unshare::<P>(folio, page, purpose)
}
