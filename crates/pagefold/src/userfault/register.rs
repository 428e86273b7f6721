//! Which VMAs are watched, and for what.
//!
//! Guarantees: once registration returns, no fault goes on that began without it. Once it has ended, no protection is left
//! that nobody would lift, and nobody waits any more.
//!
//! Locks, in order: `mmap_lock` and VMA lock, both for writing; where a registration for protections ends, the lock of each table.

use crate::accounting::Fact;
use crate::addr::AddrRange;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::mprotect::{Protection, change_protection};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::tlb::EVERYTHING;
use crate::userfault::writeprotect::unprotect;
use crate::userfault::{UffdError, Userfaultfd};
use crate::vma::{
    VM_UFFD, VM_UFFD_MINOR, VM_UFFD_MISSING, VM_UFFD_WP, Vma, join_around, split_around,
};

/// Which accesses raise events.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Modes {
    /// Accesses to pages that are not there.
    pub missing: bool,
    /// Accesses to pages that the object has, but that are not mapped.
    pub minor: bool,
    /// Writes to protected pages.
    pub wp: bool,
}

/// Registers what is mapped in a range. (Linux: `UFFDIO_REGISTER`)
///
/// # Errors
/// [`UffdError::Invalid`] without a VMA, or if anonymous memory is to be registered for pages that an object has, or if one is
/// of a file; none is registered then.
pub fn register<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    userfaultfd: Ref<P, Userfaultfd<P>>,
    modes: Modes,
) -> Result<(), UffdError> {
    let missing = if modes.missing { VM_UFFD_MISSING } else { 0 };
    let minor = if modes.minor { VM_UFFD_MINOR } else { 0 };
    let wp = if modes.wp { VM_UFFD_WP } else { 0 };
    mm.mmap_write_lock();
    let refuses = |vma: &Ref<P, Vma<P>>| match vma.mapping {
        None => modes.minor,
        Some(mapping) => mapping.is_file(),
    };
    let is_empty = mm.find_first_vma(range).is_none();
    let result = if is_empty || vmas_in(mm, range).any(|vma| refuses(&vma)) {
        Err(UffdError::Invalid)
    } else {
        split_around(mm, range);
        change_vmas(mm, range, |vma| {
            let flags = vma.flags_protected() | missing | minor | wp;
            let changes = vma.userfaultfd() != Some(userfaultfd) || vma.flags_protected() != flags;
            if changes {
                if P::enforces(Safeguard::RegisterVmaLock) {
                    vma.start_write();
                }
                vma.set_userfaultfd(Some(userfaultfd));
                vma.set_flags(flags);
            }
            changes
        });
        // Once this returns, the process may look for holes: `collapse_file` closes them, then looks at the flags.
        P::smp_mb();
        Ok(())
    };
    mm.mmap_write_unlock();
    result
}

/// Visits the VMAs in a range. One that the visit changes, which it says, is joined with neighbours that it has become like. The caller has
/// `mmap_lock` for writing.
fn change_vmas<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    visit: impl Fn(Ref<P, Vma<P>>) -> bool,
) {
    let AddrRange { mut start, end } = range;
    while start < end
        && let Some(vma) = mm.find_first_vma(AddrRange { start, end })
    {
        let visited = vma.range;
        if visit(vma) {
            join_around(mm, visited);
        }
        start = visited.end;
    }
}

/// The VMAs in a range. The caller has `mmap_lock` for writing.
fn vmas_in<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
) -> impl Iterator<Item = Ref<P, Vma<P>>> {
    mm.vmas_protected()
        .filter(move |vma| vma.range.overlaps(range))
}

/// Ends the registrations in a range; protections and markers go. (Linux: `UFFDIO_UNREGISTER`)
///
/// # Errors
/// [`UffdError::Invalid`] without a VMA.
pub fn unregister<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), UffdError> {
    mm.mmap_write_lock();
    let is_empty = mm.find_first_vma(range).is_none();
    split_around(mm, range);
    change_vmas(mm, range, |vma| {
        let registered = vma.userfaultfd().is_some();
        if registered {
            end_registration(vma);
        }
        registered
    });
    mm.mmap_write_unlock();
    if is_empty {
        Err(UffdError::Invalid)
    } else {
        Ok(())
    }
}

/// Ends all registrations with a userfaultfd. (Linux: `userfaultfd_release`)
pub fn close<P: Platform>(mm: Ref<P, Mm<P>>, userfaultfd: Ref<P, Userfaultfd<P>>) {
    mm.mmap_write_lock();
    change_vmas(mm, EVERYTHING, |vma| {
        let registered = vma.userfaultfd() == Some(userfaultfd);
        if registered {
            end_registration(vma);
        }
        registered
    });
    mm.mmap_write_unlock();
    userfaultfd.hang_up();
}

/// The caller has `mmap_lock` for writing.
fn end_registration<P: Platform>(vma: Ref<P, Vma<P>>) {
    if P::enforces(Safeguard::RegisterVmaLock) {
        vma.start_write();
    }
    if vma.is_uffd_wp_protected() && P::enforces(Safeguard::UnprotectOnClose) {
        let mut page = vma.range.start;
        while vma.range.contains(page) {
            unprotect(vma, page);
            page = page.add_pages(1);
        }
        // What the entries allow is what those of a VMA may that is registered so: each write is to be looked at. A page of an object may
        // be written again by the next one; a huge page is taken away by it first. (Linux: `uffd_wp_range` with `vm_page_prot`)
        if vma.is_shared() && vma.protection() == Protection::ReadWrite {
            change_protection(vma, Protection::Read);
        }
    }
    vma.set_flags(vma.flags_protected() & !VM_UFFD);
    P::observe(Fact::Unregistered(vma.mm.id, vma.range));
    if let Some(userfaultfd) = vma.userfaultfd()
        && P::enforces(Safeguard::WakeOnClose)
    {
        userfaultfd.wake(vma.range);
    }
    vma.set_userfaultfd(None);
}
