//! The walk with locks, which faults pages in (Linux: `__get_user_pages`, `faultin_page`).
//!
//! Guarantee: what is got is what the entry names while the lock of its table is held, and the entry allows the access then.
//! That a fault has just made it so is not enough to know: the lock was given up since, and the process may have discarded its
//! copy and read the page of the object again (CVE-2016-5195, CVE-2022-2590).
//!
//! Locks, in order: `mmap_lock` for reading, given up while a userfaultfd is waited for; those of faults; pmd lock or lock of
//! the table. A table may be taken away at any time before its lock is held: then there is nothing, and the next fault makes one.
//! Fork is kept out by `mmap_lock`, so no look at `write_protect_seq` is needed.

use super::{Purpose, must_unshare};
use crate::addr::{Pfn, VirtAddr};
use crate::arch::Pte;
use crate::fault::{FaultError, Want, fault_in};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_table::{pmd_offset, pte_offset_map_lock};
use crate::platform::Platform;
use crate::protocol::Safeguard;

/// Why a page cannot be had.
pub(crate) enum GupError<P: Platform> {
    /// Nothing is mapped there.
    NoVma,
    /// The VMA does not allow the access.
    NotPermitted,
    /// An access would end so.
    Fault(FaultError<P>),
}

impl<P: Platform> GupError<P> {
    /// What an access would meet.
    pub(super) fn into_fault(self) -> FaultError<P> {
        match self {
            Self::NoVma | Self::NotPermitted => FaultError::SigSegv,
            Self::Fault(error) => error,
        }
    }
}

/// Has the page at `addr` mapped, so that it can be accessed without a fault until somebody unmaps it again.
/// (Linux: `faultin_page_range`)
pub(crate) fn populate<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
) -> Result<(), GupError<P>> {
    get(mm, addr, write, Purpose::Populate).map(|_| ())
}

/// The page at `addr`, with what the purpose asks for.
pub(super) fn get<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
    purpose: Purpose,
) -> Result<Pfn, GupError<P>> {
    mm.mmap_read_lock();
    let mut copied = false;
    let result = loop {
        let Some(vma) = mm.find_vma(addr) else {
            break Err(GupError::NoVma);
        };
        if !vma.protection().permits(write) {
            break Err(GupError::NotPermitted);
        }
        let must_be_writable = write && (!copied || P::enforces(Safeguard::GupRecheckWrite));
        let want = match follow_page(mm, addr, must_be_writable, purpose) {
            Followed::Found(pfn) => break Ok(pfn),
            Followed::Shared => Want::Own,
            Followed::Nothing if write => Want::Write,
            Followed::Nothing => Want::Read,
        };
        match fault_in(vma, addr, want) {
            Ok(()) => copied = write,
            Err(FaultError::Userfault(userfaultfd, waiter)) => {
                mm.mmap_read_unlock();
                userfaultfd.wait(waiter);
                mm.mmap_read_lock();
            }
            Err(error) => break Err(GupError::Fault(error)),
        }
    };
    mm.mmap_read_unlock();
    result
}

/// What is there.
enum Followed {
    /// The page, which was taken.
    Found(Pfn),
    /// Nothing that may be accessed so.
    Nothing,
    /// A private page that others have as well.
    Shared,
}

/// Takes the page that an entry names, under the lock of its table. (Linux: `follow_page_mask`)
fn follow_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    write: bool,
    purpose: Purpose,
) -> Followed {
    let Some(pmd) = pmd_offset(mm, addr) else {
        return Followed::Nothing;
    };
    if pmd.read_once("gup: read pmd").is_huge() {
        let _pml = pmd.lock();
        let value = pmd.load_protected();
        if !value.is_huge() {
            return Followed::Nothing;
        }
        let pages = P::PTRS_PER_TABLE as u64;
        let page = value.pfn().add((addr.page() % pages) as usize);
        return follow_entry::<P>(value, page, write, purpose);
    }
    let Some(table) = pte_offset_map_lock(pmd) else {
        return Followed::Nothing;
    };
    let pte = table.get(addr);
    follow_entry::<P>(pte, pte.pfn(), write, purpose)
}

/// Takes the page that `entry`, the lock of whose table the caller has, allows to access so.
fn follow_entry<P: Platform>(entry: Pte, page: Pfn, write: bool, purpose: Purpose) -> Followed {
    if !entry.is_accessible() || (write && !entry.is_writable()) {
        return Followed::Nothing;
    }
    if page == P::zero_page() || purpose == Purpose::Populate {
        return Followed::Found(page);
    }
    // The entry has a reference, so the folio can be had while the table's lock is held.
    let folio = Folio::of::<P>(page);
    let exclusive_in = if entry.is_huge() { folio.pfn() } else { page };
    if must_unshare::<P>(folio, exclusive_in, purpose) {
        return Followed::Shared;
    }
    folio.get::<P>(1);
    if purpose == Purpose::Pin {
        folio.pin::<P>();
    }
    Followed::Found(page)
}
