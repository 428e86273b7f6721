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
//!
//! A *pin* says that the page will be read or written other than through the process's entry, so it has to stay the process's
//! page: fork gives the child a copy of it. Who pins a private page therefore looks whether a fork has been under way meanwhile
//! ([`fork`](crate::fork)), and takes no private page that is shared with other processes: the process would get a copy of that
//! when it writes.
//!
//! The page of zeros is never counted, and never pinned.

use crate::addr::{Pfn, VirtAddr};
use crate::arch::Pte;
use crate::fault::{FaultError, handle_user_fault};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_table::{pmd_offset, pte_offset_map_copy};
use crate::platform::{Platform, Word};
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::sync::IrqGuard;

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
    let seq = &mm.write_protect_seq;
    P::step(Step::Mm("gup: read write_protect_seq", mm.id));
    // Before the walk: who sees the number that a fork ended with sees the entries as that left them.
    let before = seq.load_acquire();
    if before % 2 == 1 {
        return None;
    }
    let pfn = walk(mm, addr, write, Purpose::Pin)?;
    // After the pin: see `fork`.
    P::smp_mb();
    P::step(Step::Mm("gup: recheck write_protect_seq", mm.id));
    if seq.read_once() != before {
        unpin_user_page::<P>(pfn);
        return None;
    }
    Some(pfn)
}

/// What a reference is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To know the page (`FOLL_GET`).
    Get,
    /// To read or write it (`FOLL_PIN`).
    Pin,
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
        let folio = grab::<P>(value, pfn, write, purpose)?;
        let shared = purpose == Purpose::Pin
            && folio.is_anon::<P>()
            && !Folio::is_exclusive::<P>(folio.pfn());
        if pmd.read_once("gup: recheck pmd") != value || shared {
            give_back::<P>(folio, purpose);
            return None;
        }
        return Some(pfn);
    }
    let table = pte_offset_map_copy(pmd, value)?;
    let pte = table.read_dependent(addr);
    if purpose == Purpose::Get && !write && pte.is_present() && pte.pfn() == P::zero_page() {
        return Some(pte.pfn());
    }
    let folio = grab::<P>(pte, pte.pfn(), write, purpose)?;
    let moved = P::enforces(Safeguard::GupRecheckPmd) && pmd.read_once("gup: recheck pmd") != value
        || P::enforces(Safeguard::GupRecheckPte) && table.read_once(addr) != pte;
    let shared =
        purpose == Purpose::Pin && folio.is_anon::<P>() && !Folio::is_exclusive::<P>(pte.pfn());
    if moved || shared {
        give_back::<P>(folio, purpose);
        return None;
    }
    Some(pte.pfn())
}

/// A reference to the folio of an entry that allows the access.
fn grab<P: Platform>(entry: Pte, pfn: Pfn, write: bool, purpose: Purpose) -> Option<Folio> {
    if !entry.is_accessible() || (write && !entry.is_writable()) || pfn == P::zero_page() {
        return None;
    }
    let folio = Folio::of::<P>(pfn);
    if !folio.try_get::<P>() {
        return None;
    }
    if purpose == Purpose::Pin {
        folio.pin::<P>();
    }
    if Folio::of::<P>(pfn) != folio {
        give_back::<P>(folio, purpose);
        return None;
    }
    Some(folio)
}

fn give_back<P: Platform>(folio: Folio, purpose: Purpose) {
    match purpose {
        Purpose::Get => folio.put::<P>(1),
        Purpose::Pin => folio.unpin::<P>(),
    }
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
    if pfn != P::zero_page() {
        Folio::of::<P>(pfn).put::<P>(1);
    }
}

/// Gives a page back that was pinned and written to: no entry need know of that. (Linux: `unpin_user_pages_dirty_lock`)
pub fn unpin_user_page_dirty<P: Platform>(pfn: Pfn) {
    let folio = Folio::of::<P>(pfn);
    folio.mark_dirty::<P>();
    folio.unpin::<P>();
}

/// Gives a page back that was pinned.
pub fn unpin_user_page<P: Platform>(pfn: Pfn) {
    Folio::of::<P>(pfn).unpin::<P>();
}
