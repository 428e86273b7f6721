//! Which VMAs are watched, and for what.
//!
//! Guarantee: once registration returns, no fault goes on that began without it.
//!
//! Locks, in order: `mmap_lock` and VMA lock, both for writing.

use crate::addr::VirtAddr;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::userfault::writeprotect::unprotect;
use crate::userfault::{UffdError, Userfaultfd};
use crate::vma::{VM_UFFD_MISSING, VM_UFFD_WP, Vma};

/// Which accesses raise events.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Modes {
    /// Accesses to pages that are not there.
    pub missing: bool,
    /// Writes to protected pages.
    pub wp: bool,
}

/// Registers the VMA at `addr`. (Linux: `UFFDIO_REGISTER`)
///
/// # Errors
/// [`UffdError::NoEntry`] without a VMA.
pub fn register<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    userfaultfd: Ref<P, Userfaultfd<P>>,
    modes: Modes,
) -> Result<(), UffdError> {
    let missing = if modes.missing { VM_UFFD_MISSING } else { 0 };
    let wp = if modes.wp { VM_UFFD_WP } else { 0 };
    change_registration(mm, addr, |vma| {
        vma.set_userfaultfd(Some(userfaultfd));
        vma.set_flags(vma.flags_protected() | missing | wp);
        // Once this returns, the process may look for holes: `collapse_file` closes them, then looks at the flags.
        P::smp_mb();
    })
}

/// Ends the registration of the VMA at `addr`; its protections and markers go. (Linux: `UFFDIO_UNREGISTER`)
///
/// # Errors
/// [`UffdError::NoEntry`] without a VMA.
pub fn unregister<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    change_registration(mm, addr, |vma| {
        if vma.is_uffd_wp_protected() {
            let mut page = vma.range.start;
            while vma.range.contains(page) {
                unprotect(vma, page);
                page = page.add_pages(1);
            }
        }
        vma.set_flags(vma.flags_protected() & !(VM_UFFD_MISSING | VM_UFFD_WP));
        if let Some(userfaultfd) = vma.userfaultfd() {
            userfaultfd.wake();
        }
        vma.set_userfaultfd(None);
    })
}

fn change_registration<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    change: impl FnOnce(Ref<P, Vma<P>>),
) -> Result<(), UffdError> {
    mm.mmap_write_lock();
    let result = match mm.find_vma(addr) {
        Some(vma) => {
            if P::enforces(Safeguard::RegisterVmaLock) {
                vma.start_write();
            }
            change(vma);
            Ok(())
        }
        None => Err(UffdError::NoEntry),
    };
    mm.mmap_write_unlock();
    result
}
