//! The system calls that change the set of VMAs: mmap, munmap, exit.
//!
//! Locks: `mmap_lock` for writing while the set changes. munmap then gives it up for writing and unmaps with it held for
//! reading only ("downgraded tail"): the VMA is not in the set any more, but its page tables are still there and are
//! being freed. Whoever works with `mmap_lock` for reading must therefore have found a VMA in the set before it
//! walks page tables at an address.

use crate::accounting::Fact;
use crate::addr::{AddrRange, PageIndex, VirtAddr};
use crate::arch::Format;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_cache::Mapping;
use crate::page_table::{pmd_offset, pte_offset_map};
use crate::platform::{Link, Order, Platform, RefCount};
use crate::rmap::{link_vma, put_anon_vma_of_vma};
use crate::step::Step;
use crate::userfault::Event;
use crate::userfault::change::Change;
use crate::vma::{VM_SHARED, Vma};
use crate::zap::{Markers, free_pgtables, zap_range};

/// Why the set of VMAs was not changed. The errno that Linux returns has the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmapError {
    /// Something is mapped there already (EEXIST).
    Exists,
    /// The range is empty or reaches beyond the address space, or no VMA has exactly this range (EINVAL).
    Invalid,
    /// Others were in the way all the time: try again (EAGAIN).
    Again,
    /// Nothing is mapped there, or no frame is free (ENOMEM).
    NoMemory,
}

impl MmapError {
    /// The name of the errno.
    #[must_use]
    pub const fn errno(self) -> &'static str {
        match self {
            Self::Exists => "EEXIST",
            Self::Invalid => "EINVAL",
            Self::Again => "EAGAIN",
            Self::NoMemory => "ENOMEM",
        }
    }
}

impl core::fmt::Display for MmapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.errno())
    }
}

impl core::error::Error for MmapError {}

/// Whether writes go to the object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// `MAP_SHARED`
    Shared,
    /// `MAP_PRIVATE`
    Private,
}

/// What a new mapping shows.
pub enum Backing<P: Platform> {
    /// An object, from a page on.
    Object {
        /// The object.
        mapping: Ref<P, Mapping<P>>,
        /// Its page at the start of the range.
        pgoff: PageIndex,
        /// Where writes go.
        sharing: Sharing,
    },
    /// Private memory of zeros (`MAP_ANONYMOUS | MAP_PRIVATE`). Anonymous memory that is shared is an object.
    Anonymous,
}

/// Maps an object or anonymous memory at `range`, readable and writable. (Linux: `mmap` with `MAP_FIXED_NOREPLACE`)
///
/// # Errors
/// [`MmapError::Exists`] if the range is not free.
pub fn mmap<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    backing: Backing<P>,
) -> Result<(), MmapError> {
    if range.start >= range.end || range.end.page() > max_pages::<P>() {
        return Err(MmapError::Invalid);
    }
    mm.mmap_write_lock();
    let free = mm.is_free(range);
    if free {
        let vma = match backing {
            Backing::Object {
                mapping,
                pgoff,
                sharing,
            } => {
                let flags = match sharing {
                    Sharing::Shared => VM_SHARED,
                    Sharing::Private => 0,
                };
                Vma::new(mm, range, Some(mapping), pgoff, flags)
            }
            Backing::Anonymous => Vma::new(mm, range, None, PageIndex(range.start.page()), 0),
        };
        link_vma(vma);
        mm.insert_vma(vma);
    }
    mm.mmap_write_unlock();
    if free { Ok(()) } else { Err(MmapError::Exists) }
}

/// Virtual pages of an address space: what its tables reach.
fn max_pages<P: Platform>() -> u64 {
    (P::PTRS_PER_TABLE as u64).pow(P::Format::levels())
}

/// Unmaps the VMA whose range is exactly `range`.
///
/// # Errors
/// [`MmapError::Invalid`] if there is none.
pub fn munmap<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    mm.mmap_write_lock();
    let Some(vma) = mm.find_vma(range.start).filter(|vma| vma.range == range) else {
        mm.mmap_write_unlock();
        return Err(MmapError::Invalid);
    };
    let change = Change::begin(vma, Event::Unmap, range);
    vma.start_write();
    mm.remove_vma(vma);
    vma.mark_detached();
    mm.mmap_write_downgrade();
    zap_range(vma, range, Markers::Drop);
    free_pgtables(mm, vma);
    mm.mmap_read_unlock();
    free_vma(vma);
    if let Some(change) = change {
        change.tell();
    }
    Ok(())
}

/// Whether the page of the object that is mapped at `addr` is cached, looked up without a lock of the object; for
/// anonymous memory, whether a page is mapped.
///
/// # Errors
/// [`MmapError::NoMemory`] if nothing is mapped there.
pub fn mincore<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<bool, MmapError> {
    mm.mmap_read_lock();
    let cached = mm.find_vma(addr).map(|vma| {
        let cached = match vma.mapping {
            Some(mapping) => mapping.is_cached(vma.index_of(addr)),
            None => is_mapped(mm, addr),
        };
        if !cached && vma.is_uffd_missing_protected() {
            P::observe(Fact::HoleSeen(mm.id, addr));
        }
        cached
    });
    mm.mmap_read_unlock();
    cached.ok_or(MmapError::NoMemory)
}

/// Whether a page is mapped at `addr` now.
fn is_mapped<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> bool {
    let Some(pmd) = pmd_offset(mm, addr) else {
        return false;
    };
    match pte_offset_map(pmd) {
        Some(table) => table.read_once(addr).is_present(),
        None => pmd.read_once("read pmd").is_huge(),
    }
}

/// Ends the use of an address space by a thread; the last one takes it apart. (Linux: `mmput`, `exit_mmap`)
///
/// The address space itself and its top-level table stay until [`mmdrop`].
pub fn exit_mm<P: Platform>(mm: Ref<P, Mm<P>>) {
    P::step(Step::Mm("mm_users--", mm.id));
    if !mm.mm_users.put(1) {
        return;
    }
    mm.mmap_read_lock();
    let mut next = mm.vmas.load_protected();
    while let Some(vma) = next {
        zap_range(vma, vma.range, Markers::Drop);
        next = vma.next.load_protected();
    }
    mm.mmap_read_unlock();
    mm.mmap_write_lock();
    while let Some(vma) = mm.vmas.load_protected() {
        vma.start_write();
        mm.remove_vma(vma);
        vma.mark_detached();
        free_pgtables(mm, vma);
        free_vma(vma);
    }
    mm.mmap_write_unlock();
}

/// Counts one more thread that uses the address space; the caller is one.
pub fn mmget<P: Platform>(mm: Ref<P, Mm<P>>) {
    mm.mm_users.get(1);
}

/// Frees an address space that [`exit_mm`] has taken apart, with its top-level table. (Linux: `mmdrop`)
///
/// # Safety
/// Nobody uses the address space: no operation on it is under way, nor a collapse of an object that it mapped, which may
/// have it on its list of address spaces to flush; no CPU runs it, no secondary MMU follows it. No reference to it is
/// followed afterwards.
pub unsafe fn mmdrop<P: Platform>(mm: Ref<P, Mm<P>>) {
    debug_assert!(
        mm.vmas.load_protected().is_none(),
        "an address space is taken apart before it is freed"
    );
    P::free_frames(mm.root(), Order::Small);
    // SAFETY: the caller says that nobody follows a reference to the address space any more. VMAs that wait for the end of
    // a grace period do not follow theirs.
    unsafe { mm.free() };
}

/// As [`mmget`], by one who is not such a thread, unless the last has gone. Whether it did; [`exit_mm`] gives it back.
/// It comes in no order to anything: who found the address space sees it, and all that changes in it has locks.
#[must_use]
pub fn mmget_not_zero<P: Platform>(mm: Ref<P, Mm<P>>) -> bool {
    P::step(Step::Mm("mmget_not_zero", mm.id));
    mm.mm_users.try_get()
}

/// Frees a VMA that is in no list any more, after a grace period: who found it under RCU may be trying its lock.
fn free_vma<P: Platform>(vma: Ref<P, Vma<P>>) {
    P::call_rcu(move || {
        put_anon_vma_of_vma(vma);
        // SAFETY: nobody can find the VMA any more: it has left the set of VMAs and the lists of its family and object, and who
        // found it under RCU before has left the read section. Who held one of its locks or `mmap_lock` gave it back before the
        // VMA was removed.
        unsafe { vma.free() };
    });
}
