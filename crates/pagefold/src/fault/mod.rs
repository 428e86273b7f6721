//! Page faults (Linux: `mm/memory.c`).
//!
//! Guarantees: when a fault returns `Ok`, the access is tried again, and either goes through or meets something that
//! changed meanwhile. `file` maps pages of objects, `anon` those of anonymous memory, `huge` huge ones, `swap` brings pages back that were
//! moved out, `wp` makes what is mapped writable.
//!
//! Locks, in order: VMA lock or `mmap_lock` for reading, folio lock, pmd lock or lock of the table.
//! The table that a fault finds may be taken away at any time before its lock is held: `None` from
//! `pte_offset_map_lock` makes the fault start over.

mod anon;
mod file;
mod huge;
mod swap;
mod wp;

use core::fmt;

use crate::accounting::{Fact, PageKind};
use crate::addr::{PageIndex, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::migrate;
use crate::mm::Mm;
use crate::page_table::{PteLocked, pmd_alloc, pte_offset_map_lock, pte_offset_map_nolock};
use crate::platform::Platform;
use crate::rmap::{add_mapping, anon_vma_prepare};
use crate::userfault::{Userfaultfd, Waiter};
use crate::vma::Vma;

pub(crate) use file::do_set_pmd;

/// Why an access cannot go on.
pub enum FaultError<P: Platform> {
    /// No VMA there, or one that does not allow the access, or a guard region (SIGSEGV).
    SigSegv,
    /// Behind the end of the object, or a userfaultfd that asks for it (SIGBUS).
    SigBus,
    /// A poison marker (SIGBUS, `BUS_MCEERR_AR`).
    HwPoison,
    /// No frame is free.
    OutOfMemory,
    /// Waiting for user space to fill or unprotect the page.
    #[expect(private_interfaces, reason = "nobody outside gets one")]
    Userfault(Ref<P, Userfaultfd<P>>, Ref<P, Waiter<P>>),
    /// The VMA lock is not enough: try again with `mmap_lock`.
    NeedsMmapLock,
}

impl<P: Platform> fmt::Debug for FaultError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SigSegv => "SIGSEGV",
            Self::SigBus => "SIGBUS",
            Self::HwPoison => "HWPOISON",
            Self::OutOfMemory => "ENOMEM",
            Self::Userfault(..) => "waiting for userfaultfd",
            Self::NeedsMmapLock => "needs mmap_lock",
        })
    }
}

pub(crate) type Fault<P> = Result<(), FaultError<P>>;

/// Handles a fault of a thread of `mm` at `addr`. The thread then tries its access again.
///
/// Tries with the lock of the VMA alone, then with `mmap_lock`. Waits for userfaultfd with no lock held.
///
/// # Errors
/// The signal that the thread gets; never [`FaultError::Userfault`] nor [`FaultError::NeedsMmapLock`].
pub fn handle_user_fault<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr, write: bool) -> Fault<P> {
    let mut result = Err(FaultError::NeedsMmapLock);
    if P::protocol().file_faults_under_vma_lock
        && let Some(vma) = mm.lock_vma_under_rcu(addr)
    {
        result = handle_mm_fault(Vmf::new(vma, addr, write, true));
        vma.end_read();
    }
    if matches!(result, Err(FaultError::NeedsMmapLock)) {
        mm.mmap_read_lock();
        result = match mm.find_vma(addr) {
            Some(vma) => {
                let want = if write { Want::Write } else { Want::Read };
                fault_in(vma, addr, want, Force::No)
            }
            None => Err(FaultError::SigSegv),
        };
        mm.mmap_read_unlock();
    }
    if let Err(FaultError::Userfault(userfaultfd, waiter)) = result {
        userfaultfd.wait(waiter);
        return Ok(());
    }
    result
}

/// What a fault is to make possible.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Reading the page.
    Read,
    /// Writing it.
    Write,
    /// Reading it as a page of the process's own, in a private mapping; it becomes not writable by that.
    /// (Linux: `FAULT_FLAG_UNSHARE`)
    Own,
}

/// Whether a fault is one of somebody who may do more than the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    /// It is not.
    No,
    /// It is: what the VMA allows is not asked for. Entries say all the same what the process may do.
    Yes,
}

/// One fault on behalf of somebody who has `mmap_lock` for reading.
///
/// # Errors
/// [`FaultError::Userfault`] is for the caller to wait for, with no lock held; never [`FaultError::NeedsMmapLock`].
pub(crate) fn fault_in<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    want: Want,
    force: Force,
) -> Fault<P> {
    handle_mm_fault(Vmf {
        unshare: want == Want::Own,
        forced: force == Force::Yes,
        ..Vmf::new(vma, addr, want == Want::Write, false)
    })
}

/// One fault.
struct Vmf<P: Platform> {
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    write: bool,
    /// The page, of a private mapping, is to become the process's own without being written.
    unshare: bool,
    /// What the VMA allows does not matter.
    forced: bool,
    /// Only the VMA lock is held, not `mmap_lock`.
    vma_lock_only: bool,
    /// What the entry held when the fault began.
    orig: Pte,
}

impl<P: Platform> Vmf<P> {
    fn new(vma: Ref<P, Vma<P>>, addr: VirtAddr, write: bool, vma_lock_only: bool) -> Self {
        Self {
            vma,
            addr,
            write,
            unshare: false,
            forced: false,
            vma_lock_only,
            orig: Pte::NONE,
        }
    }

    fn index(&self) -> PageIndex {
        self.vma.index_of(self.addr)
    }

    /// Whether the entry is not as it was when the fault began.
    fn changed(&self, table: &PteLocked<P>) -> bool {
        table.get(self.addr) != self.orig
    }
}

/// Linux: `handle_mm_fault`, `handle_pte_fault`.
fn handle_mm_fault<P: Platform>(mut vmf: Vmf<P>) -> Fault<P> {
    if !vmf.forced && !vmf.vma.protection().permits(vmf.write) {
        return Err(FaultError::SigSegv);
    }
    let pmd = pmd_alloc(vmf.vma.mm, vmf.addr).ok_or(FaultError::OutOfMemory)?;
    let value = pmd.read_once("read pmd");
    if value.is_huge() {
        if !(value.is_accessible() || vmf.forced && vmf.write) {
            // Somebody is changing it, with the lock held. (Linux: `huge_pmd_set_accessed`)
            drop(pmd.lock());
            return Ok(());
        }
        if (vmf.write || vmf.unshare) && !value.is_writable() {
            wp::do_huge_pmd_wp_page(&vmf, pmd, value);
        }
        if !vmf.unshare || vmf.vma.is_anonymous() {
            return Ok(());
        }
        // Nothing is mapped now. A read would map the huge page again, and the process get no page of its own.
    }
    if value.as_migration().is_some() {
        migrate::wait(pmd, vmf.addr);
        return Ok(());
    }
    if value.is_none()
        && vmf.vma.is_anonymous()
        && huge::do_huge_anonymous_page(&vmf, pmd)? == huge::Outcome::Done
    {
        return Ok(());
    }
    if value.is_table() {
        let Some(table) = pte_offset_map_nolock(pmd) else {
            return Ok(());
        };
        // Whoever goes to the page that it names compares it under the lock first.
        vmf.orig = table.read_once(vmf.addr);
    }
    match vmf.orig.as_marker() {
        Some(Marker::Poison) => return Err(FaultError::HwPoison),
        Some(Marker::Guard) => return Err(FaultError::SigSegv),
        Some(Marker::UffdWp) | None => {}
    }
    if let Some(entry) = vmf.orig.as_swap() {
        return swap::do_swap_page(&vmf, pmd, entry);
    }
    if vmf.orig.as_migration().is_some() {
        migrate::wait(pmd, vmf.addr);
        return Ok(());
    }
    if !vmf.orig.is_present() {
        return match vmf.vma.mapping {
            Some(mapping) => file::do_fault(&vmf, mapping, pmd),
            None => anon::do_anonymous_page(&vmf, pmd),
        };
    }
    if (vmf.write || vmf.unshare) && !vmf.orig.is_writable() {
        return wp::do_wp_page(&mut vmf, pmd);
    }
    // Somebody else has mapped it; or the entry is gone and was read too early to see that. Having held the lock, the next look
    // sees what this one may have missed. (Linux looks at the entry again under the lock as well.)
    drop(pte_offset_map_lock(pmd));
    Ok(())
}
/// Attaches an `anon_vma`, for which the VMA lock is not enough. (Linux: `vmf_anon_prepare`)
fn prepare_private<P: Platform>(vmf: &Vmf<P>) -> Fault<P> {
    if vmf.vma.has_anon_vma("read anon_vma") {
        return Ok(());
    }
    if vmf.vma_lock_only {
        return Err(FaultError::NeedsMmapLock);
    }
    anon_vma_prepare(vmf.vma);
    Ok(())
}

/// Maps a new private page that holds what was there before: a copy of the page of the object or of the page that was shared
/// with other processes, or zeros.
fn set_anon_pte<P: Platform>(vmf: &Vmf<P>, table: &PteLocked<P>, folio: Folio) {
    let (vma, addr) = (vmf.vma, vmf.addr);
    let mut pte = Pte::page(folio.pfn(), !vmf.unshare).mk_dirty();
    let kept = vmf.unshare && vmf.orig.is_uffd_wp();
    if kept || table.get(addr).as_marker() == Some(Marker::UffdWp) {
        pte = pte.mk_uffd_wp();
    }
    let anon_vma = vma.anon_vma_of_page();
    folio.set_anon::<P>(anon_vma, vma.index_of(addr));
    add_mapping(folio, vma, 1, PageKind::Anon);
    P::observe(Fact::PrivateCopy(vma.mm.id, addr, folio.pfn()));
    table.set(addr, vma.protect(pte));
}
