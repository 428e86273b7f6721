//! Getting at user pages (Linux: `mm/gup.c`).
//!
//! Guarantee: a page that was got stays where it is: it is not freed, and a huge page is not made of a copy of it, since
//! collapse counts references after it took the mappings away.
//!
//! [`fast`] walks without locks; if that finds nothing, [`slow`] walks with them, and faults pages in.
//!
//! A *pin* says that the page will be read or written other than through the process's entry, so it has to stay the process's
//! page: fork gives the child a copy of it. Who pins a private page therefore looks whether a fork has been under way meanwhile
//! ([`fork`](crate::fork)), and takes no private page that is shared with other processes: the process would get a copy of that
//! when it writes, and the pin would go on reading the page of the others. It is unshared first: the process gets its copy now.
//!
//! Who pins a page *for long*, to read it, wants to see what the process writes later. So the process gets a page of its own in a private
//! mapping also where it has only read yet: a page of the object, or the page of zeros, would stay as it is.
//!
//! The page of zeros is never counted, and a pin of it is none.

pub mod fast;
pub mod slow;

use crate::addr::{Pfn, VirtAddr};
use crate::arch::Pte;
use crate::fault::FaultError;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::Platform;
use crate::protocol::Safeguard;

use crate::zero::is_zero_page;
pub use fast::{get_user_page_fast, pin_user_page_fast};
use slow::Access;

/// What a reference is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// None is taken: the page has to be mapped, no more (`MADV_POPULATE_READ`).
    Populate,
    /// To know the page (`FOLL_GET`).
    Get,
    /// To read or write it (`FOLL_PIN`).
    Pin,
    /// As `Pin`, for as long as the process may go on using the page (`FOLL_LONGTERM`).
    LongTerm,
}

impl Purpose {
    /// Whether the reference is a pin.
    fn is_pin(self) -> bool {
        matches!(self, Self::Pin | Self::LongTerm)
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
    match get_user_page_fast(mm, addr, write) {
        Some(pfn) => Ok(pfn),
        None => slow::get(mm, addr, Access::allowed(write), Purpose::Get)
            .map_err(slow::GupError::into_fault),
    }
}

/// Has the page at `addr` accessed by `access`, which is given its frame, although the process itself may not be allowed to access it so. A private page is
/// written then that the process cannot write; a shared mapping is not written by force.
/// (Linux: `access_remote_vm` with `FOLL_FORCE`, as for `/proc/PID/mem`)
///
/// The reference is no pin, which fork would heed. So fork is kept out until the page was accessed, by `mmap_lock`: a page that it shares
/// meanwhile would be written for both processes.
///
/// # Errors
/// What an access of the process itself would have met, were it allowed.
pub fn access_remote_vm<P: Platform, R>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
    access: impl FnOnce(Pfn) -> R,
) -> Result<R, FaultError<P>> {
    let forced = Access { write, force: true };
    let early = !P::enforces(Safeguard::RemoteUnderMmapLock);
    mm.mmap_read_lock();
    let found = slow::get_locked(mm, addr, forced, Purpose::Get);
    if early {
        mm.mmap_read_unlock();
    }
    let result = found.map(|pfn| {
        let result = access(pfn);
        if write {
            put_user_page_dirty::<P>(pfn);
        } else {
            put_user_page::<P>(pfn);
        }
        result
    });
    if !early {
        mm.mmap_read_unlock();
    }
    result.map_err(slow::GupError::into_fault)
}

/// As [`get_user_page`], with a pin. (Linux: `pin_user_pages_fast`)
///
/// # Errors
/// As [`get_user_page`].
pub fn pin_user_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
) -> Result<Pfn, FaultError<P>> {
    pin(mm, addr, write, Purpose::Pin)
}

/// As [`pin_user_page`], for long: who only reads sees all that the process writes until it gives the page up.
/// (Linux: `pin_user_pages_fast` with `FOLL_LONGTERM`)
///
/// # Errors
/// As [`pin_user_page`]; a page of a file cannot be written for long, as nobody would know when it is dirty.
pub fn pin_user_page_longterm<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
) -> Result<Pfn, FaultError<P>> {
    pin(mm, addr, write, Purpose::LongTerm)
}

fn pin<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
    purpose: Purpose,
) -> Result<Pfn, FaultError<P>> {
    match fast::pin(mm, addr, write, purpose) {
        Some(pfn) => Ok(pfn),
        None => {
            slow::get(mm, addr, Access::allowed(write), purpose).map_err(slow::GupError::into_fault)
        }
    }
}

/// Whether a page is a private one that others have as well, which is not pinned as it is. (Linux: `gup_must_unshare`)
fn must_unshare<P: Platform>(folio: Folio, page: Pfn, purpose: Purpose) -> bool {
    purpose.is_pin()
        && P::enforces(Safeguard::UnshareForPin)
        && folio.is_anon::<P>()
        && !Folio::is_exclusive::<P>(page)
}

/// A reference to the folio of an entry that allows the access.
fn grab<P: Platform>(entry: Pte, pfn: Pfn, write: bool, purpose: Purpose) -> Option<Folio> {
    if !entry.is_accessible() || (write && !entry.is_writable()) || is_zero_page::<P>(pfn) {
        return None;
    }
    let folio = Folio::of::<P>(pfn);
    if !folio.try_get::<P>() {
        return None;
    }
    if purpose.is_pin() {
        folio.pin::<P>();
        // The pin comes before the second looks, at the entry and at `write_protect_seq`: whoever changes one of these and then
        // looks for pins sees this one, or is seen. (Linux: `smp_mb__after_atomic` in `try_grab_folio_fast`)
        P::smp_mb();
    }
    if Folio::of::<P>(pfn) != folio {
        give_back::<P>(folio, purpose);
        return None;
    }
    Some(folio)
}

fn give_back<P: Platform>(folio: Folio, purpose: Purpose) {
    match purpose {
        Purpose::Populate => {}
        Purpose::Get => folio.put::<P>(1),
        Purpose::Pin | Purpose::LongTerm => folio.unpin::<P>(),
    }
}

/// Gives a page back that was got.
pub fn put_user_page<P: Platform>(pfn: Pfn) {
    if !is_zero_page::<P>(pfn) {
        Folio::of::<P>(pfn).put::<P>(1);
    }
}

/// Gives a page back that was got and written to: no entry need know of that. (Linux: `set_page_dirty_lock`)
pub fn put_user_page_dirty<P: Platform>(pfn: Pfn) {
    if !is_zero_page::<P>(pfn) {
        Folio::of::<P>(pfn).mark_dirty::<P>();
    }
    put_user_page::<P>(pfn);
}

/// Gives a page back that was pinned and written to: no entry need know of that. (Linux: `unpin_user_pages_dirty_lock`)
pub fn unpin_user_page_dirty<P: Platform>(pfn: Pfn) {
    let folio = Folio::of::<P>(pfn);
    // Without the folio lock: see `Folio::write_out`.
    P::smp_mb();
    folio.mark_dirty::<P>();
    folio.unpin::<P>();
}

/// Gives a page back that was pinned.
pub fn unpin_user_page<P: Platform>(pfn: Pfn) {
    if !is_zero_page::<P>(pfn) {
        Folio::of::<P>(pfn).unpin::<P>();
    }
}
