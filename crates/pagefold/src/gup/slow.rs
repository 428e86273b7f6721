//! The walk with locks, which faults pages in (Linux: `__get_user_pages`, `faultin_page`).
//!
//! Guarantee: what is got is what the entry names while the lock of its table is held, and the entry allows the access then.
//! That a fault has just made it so is not enough to know: the lock was given up since, and the process may have discarded its
//! copy and read the page of the object again.
//!
//! Who writes by force gets no entry that allows it, as the process must not write. What he may write is a page that belongs to this
//! process alone, and nothing else tells that: not that a fault has made a copy (CVE-2016-5195), nor that and an entry that is
//! dirty, as that of the object's page may be as well (CVE-2022-2590).
//!
//! Locks, in order: `mmap_lock` for reading, given up while a userfaultfd is waited for; those of faults; pmd lock or lock of
//! the table. A table may be taken away at any time before its lock is held: then there is nothing, and the next fault makes one.
//! Fork is kept out by `mmap_lock`, so no look at `write_protect_seq` is needed.

use super::{Purpose, must_unshare};
use crate::addr::{Pfn, VirtAddr};
use crate::arch::Pte;
use crate::fault::{FaultError, Force, Want, fault_in};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_table::{pmd_offset, pte_offset_map_lock};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::vma::Vma;
use crate::zero::is_zero_page;

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
    get(mm, addr, Access::allowed(write), Purpose::Populate).map(|_| ())
}

/// What is to be done with a page.
#[derive(Clone, Copy)]
pub(super) struct Access {
    /// It is written.
    pub(super) write: bool,
    /// The mapping need not allow it. (Linux: `FOLL_FORCE`)
    pub(super) force: bool,
}

impl Access {
    /// What the mapping has to allow.
    pub(super) fn allowed(write: bool) -> Self {
        let force = false;
        Self { write, force }
    }

    /// (Linux: `check_vma_flags`)
    fn is_permitted<P: Platform>(self, vma: &Vma<P>, purpose: Purpose) -> bool {
        if self.write && purpose == Purpose::LongTerm && vma.wants_writenotify() {
            return false;
        }
        let by_force = self.force && !(self.write && vma.is_shared());
        by_force || vma.protection().permits(self.write)
    }
}

/// The page at `addr`, with what the purpose asks for.
pub(super) fn get<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    access: Access,
    purpose: Purpose,
) -> Result<Pfn, GupError<P>> {
    mm.mmap_read_lock();
    let result = get_locked(mm, addr, access, purpose);
    mm.mmap_read_unlock();
    result
}

/// As [`get`]. The caller has `mmap_lock` for reading, which is given up while a userfaultfd is waited for.
pub(super) fn get_locked<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    access: Access,
    purpose: Purpose,
) -> Result<Pfn, GupError<P>> {
    let mut copied = false;
    loop {
        let vma = mm.find_vma(addr).ok_or(GupError::NoVma)?;
        if !access.is_permitted(&vma, purpose) {
            return Err(GupError::NotPermitted);
        }
        let follow = Follow {
            vma,
            access,
            purpose,
            copied,
        };
        let want = match follow.page(addr) {
            Followed::Found(pfn) => return Ok(pfn),
            Followed::Shared => Want::Own,
            Followed::Nothing if access.write => Want::Write,
            Followed::Nothing => Want::Read,
        };
        let force = if access.force { Force::Yes } else { Force::No };
        match fault_in(vma, addr, want, force) {
            Ok(()) => copied = access.write,
            Err(FaultError::Userfault(userfaultfd, waiter)) => {
                mm.mmap_read_unlock();
                userfaultfd.wait(waiter);
                mm.mmap_read_lock();
            }
            Err(error) => return Err(GupError::Fault(error)),
        }
    }
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

/// One look at an entry.
struct Follow<P: Platform> {
    vma: Ref<P, Vma<P>>,
    access: Access,
    purpose: Purpose,
    /// A fault has made the page one that may be written.
    copied: bool,
}

impl<P: Platform> Follow<P> {
    /// Takes the page that an entry names, under the lock of its table. (Linux: `follow_page_mask`)
    fn page(&self, addr: VirtAddr) -> Followed {
        let Some(pmd) = pmd_offset(self.vma.mm, addr) else {
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
            return self.entry(value, page);
        }
        let Some(table) = pte_offset_map_lock(pmd) else {
            return Followed::Nothing;
        };
        let pte = table.get(addr);
        self.entry(pte, pte.pfn())
    }

    /// Takes the page that `entry`, the lock of whose table the caller has, allows to access so.
    fn entry(&self, entry: Pte, page: Pfn) -> Followed {
        let accessible = entry.is_accessible() || self.access.force && entry.is_present();
        if !accessible || self.access.write && !self.may_write(entry) {
            return Followed::Nothing;
        }
        // Who reads for long is to see what the process writes later. (Linux: `gup_must_unshare`)
        let unshares = self.purpose == Purpose::LongTerm
            && P::enforces(Safeguard::UnshareForPin)
            && !self.vma.is_shared();
        if is_zero_page::<P>(page) && unshares {
            return Followed::Shared;
        }
        if is_zero_page::<P>(page) || self.purpose == Purpose::Populate {
            return Followed::Found(page);
        }
        // The entry has a reference, so the folio can be had while the table's lock is held.
        let folio = Folio::of::<P>(page);
        let of_object = unshares && !folio.is_anon::<P>();
        if of_object || must_unshare::<P>(folio, marked::<P>(entry, page), self.purpose) {
            return Followed::Shared;
        }
        folio.get::<P>(1);
        if self.purpose.is_pin() {
            folio.pin::<P>();
        }
        Followed::Found(page)
    }

    /// Whether the page that an entry names may be written. (Linux: `can_follow_write_pte`)
    fn may_write(&self, entry: Pte) -> bool {
        if entry.is_writable() {
            return true;
        }
        if !self.access.force || self.vma.protection().permits(true) {
            return false;
        }
        if self.copied && !P::enforces(Safeguard::GupRecheckWrite) {
            return true;
        }
        if self.copied && !P::enforces(Safeguard::ForceExclusive) {
            return entry.is_dirty();
        }
        !entry.is_uffd_wp() && is_own::<P>(entry)
    }
}

/// Whether an entry names a private page that belongs to this process alone.
fn is_own<P: Platform>(entry: Pte) -> bool {
    let page = entry.pfn();
    if is_zero_page::<P>(page) {
        return false;
    }
    let folio = Folio::of::<P>(page);
    folio.is_anon::<P>() && Folio::is_exclusive::<P>(marked::<P>(entry, page))
}

/// The page that says for that in `page` whether it belongs to one process alone.
fn marked<P: Platform>(entry: Pte, page: Pfn) -> Pfn {
    if entry.is_huge() {
        Folio::of::<P>(page).pfn()
    } else {
        page
    }
}
