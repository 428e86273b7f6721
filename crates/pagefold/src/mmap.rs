//! The system calls that change the set of VMAs: mmap, munmap, exit.
//!
//! Locks: `mmap_lock` for writing while the set changes. munmap then gives it up for writing and unmaps with it held for
//! reading only ("downgraded tail"): the VMAs are not in the set any more, but their page tables are still there and are
//! being freed. Whoever works with `mmap_lock` for reading must therefore have found a VMA in the set before it
//! walks page tables at an address.
//!
//! Several VMAs may share a table. It is freed with the last of them; and not before all that go together have been zapped
//! and have left the lists of their objects, so that nobody comes to it through another one.

use crate::accounting::Fact;
use crate::addr::{AddrRange, PageIndex, VirtAddr};
use crate::arch::Format;
use crate::collapse::huge_range_from;
use crate::collapse::khugepaged::{khugepaged_enter, khugepaged_exit};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::mprotect::Protection;
use crate::page_cache::{Mapping, Residence};
use crate::page_table::{pmd_offset, pte_offset_map};
use crate::platform::{Link, Order, Platform, RefCount};
use crate::protocol::Safeguard;
use crate::rmap::{link_vma, put_anon_vma_of_vma, unlink_anon_vma, unlink_vma};
use crate::step::Step;
use crate::userfault::Event;
use crate::userfault::change::Change;
use crate::vma::{
    VM_ACCOUNT, VM_MAYWRITE, VM_READ, VM_SHARED, VM_WRITE, Vma, join_around, split_around,
};
use crate::zap::{Markers, free_pgtables, zap_range};

/// Why the set of VMAs was not changed. The errno that Linux returns has the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmapError {
    /// Something is mapped there already (EEXIST).
    Exists,
    /// The range is empty or reaches beyond the address space (EINVAL).
    Invalid,
    /// Others were in the way all the time: try again (EAGAIN).
    Again,
    /// Nothing is mapped there, or no frame is free (ENOMEM).
    NoMemory,
    /// The file is not open for that (EACCES).
    Access,
    /// Nothing is mapped at the address of a system call that moves it, or an access would raise a signal (EFAULT).
    Fault,
    /// A page is poisoned (EHWPOISON).
    HwPoison,
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
            Self::Access => "EACCES",
            Self::Fault => "EFAULT",
            Self::HwPoison => "EHWPOISON",
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
    /// `MAP_SHARED`; of a file, through a descriptor that was opened for reading.
    Shared,
    /// `MAP_SHARED` of a file that the caller has [open for writing](crate::filemap::open_write), and has not closed before this is done.
    SharedWritable,
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

/// Maps an object or anonymous memory at `range`, readable and, unless it is shared with a file that is not open for writing, writable. (Linux: `mmap` with `MAP_FIXED_NOREPLACE`)
///
/// # Errors
/// [`MmapError::Exists`] if the range is not free.
pub fn mmap<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    backing: Backing<P>,
) -> Result<(), MmapError> {
    if !is_user_range::<P>(range) {
        return Err(MmapError::Invalid);
    }
    mm.mmap_write_lock();
    let free = mm.find_first_vma(range).is_none();
    if free {
        // See `filemap`.
        let read_only = matches!(
            &backing,
            Backing::Object { mapping, sharing: Sharing::Shared, .. } if mapping.is_file()
        );
        let (access, protection) = if read_only {
            (VM_READ, Protection::Read)
        } else {
            (VM_READ | VM_WRITE | VM_MAYWRITE, Protection::ReadWrite)
        };
        let vma = match backing {
            Backing::Object {
                mapping,
                pgoff,
                sharing,
            } => {
                let kind = match sharing {
                    Sharing::Shared | Sharing::SharedWritable => VM_SHARED,
                    Sharing::Private => VM_ACCOUNT,
                };
                Vma::new(mm, range, Some(mapping), pgoff, access | kind)
            }
            Backing::Anonymous => {
                let pgoff = PageIndex(range.start.page());
                Vma::new(mm, range, None, pgoff, access | VM_ACCOUNT)
            }
        };
        P::observe(Fact::Permitted(mm.id, range, protection));
        link_vma(vma);
        mm.insert_vma(vma);
        join_around(mm, range);
        if huge_range_from(vma, range.start).is_some() {
            khugepaged_enter(mm);
        }
    }
    mm.mmap_write_unlock();
    if free { Ok(()) } else { Err(MmapError::Exists) }
}

/// Whether a range is not empty and lies in what the tables reach.
pub(crate) fn is_user_range<P: Platform>(range: AddrRange) -> bool {
    let pages = (P::PTRS_PER_TABLE as u64).pow(P::Format::levels());
    range.start < range.end && range.end.page() <= pages
}

/// Unmaps all that is mapped in a range.
///
/// # Errors
/// [`MmapError::Invalid`] for a range that is none.
pub fn munmap<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    if !is_user_range::<P>(range) {
        return Err(MmapError::Invalid);
    }
    mm.mmap_write_lock();
    let detached = Detached::take(mm, range);
    mm.mmap_write_downgrade();
    if let Some(detached) = &detached {
        detached.unmap();
    }
    mm.mmap_read_unlock();
    if let Some(detached) = detached {
        detached.free();
    }
    Ok(())
}

/// Neighbouring VMAs that have left the set, still linked to each other.
pub(crate) struct Detached<P: Platform> {
    first: Ref<P, Vma<P>>,
    last: Ref<P, Vma<P>>,
}

impl<P: Platform> Detached<P> {
    /// Takes a range out of the set of VMAs; VMAs at its ends are cut. `None` if nothing is mapped there. The caller has
    /// `mmap_lock` for writing.
    pub(crate) fn take(mm: Ref<P, Mm<P>>, range: AddrRange) -> Option<Self> {
        split_around(mm, range);
        let first = mm.find_first_vma(range)?;
        let mut last = first;
        while let Some(next) = last
            .next
            .load_protected()
            .filter(|vma| vma.range.overlaps(range))
        {
            last = next;
        }
        let detached = Self { first, last };
        for vma in detached.vmas() {
            // Who unmaps takes it up again when it has given its locks back.
            let _begun = Change::begin(vma, Event::Unmap, vma.range);
            vma.start_write();
        }
        mm.remove_vmas(first, last);
        detached.vmas().for_each(|vma| vma.mark_detached());
        Some(detached)
    }

    /// Both, unmapped and still to be [freed](Self::free). Who found one of these VMAs before it left the set, and follows its
    /// link, comes to others that have left it: it finds nothing there, or what it finds is marked as detached, so it takes `mmap_lock`.
    pub(crate) fn and(self, more: Self) -> Self {
        P::step(Step::Mm("link unmapped VMAs", self.last.mm.id));
        self.last.next.assign(Some(more.first));
        Self {
            first: self.first,
            last: more.last,
        }
    }

    fn vmas(&self) -> impl Iterator<Item = Ref<P, Vma<P>>> + use<P> {
        let last = self.last;
        core::iter::successors(Some(self.first), move |vma| {
            vma.next.load_protected().filter(|_| *vma != last)
        })
    }

    /// Unmaps the pages and frees the tables. The caller has `mmap_lock`, so that nothing new is mapped next to them.
    pub(crate) fn unmap(&self) {
        for vma in self.vmas() {
            zap_range(vma, vma.range, Markers::Drop);
        }
        let unlink = || {
            for vma in self.vmas() {
                unlink_anon_vma(vma);
                unlink_vma(vma);
                P::observe(Fact::Unregistered(vma.mm.id, vma.range));
            }
        };
        let first = P::enforces(Safeguard::UnlinkBeforeFree);
        if first {
            unlink();
        }
        for vma in self.vmas() {
            let next = vma.next.load_protected().filter(|_| vma != self.last);
            free_pgtables(vma.mm, vma, next);
        }
        if !first {
            unlink();
        }
        for vma in self.vmas() {
            P::observe(Fact::Permitted(vma.mm.id, vma.range, Protection::None));
        }
    }

    /// Tells who wanted to know that the VMAs go, and frees them, as they are in no list any more. No lock is held.
    pub(crate) fn free(self) {
        for vma in self.vmas() {
            if let Some(change) = Change::begun(vma, Event::Unmap, vma.range) {
                change.tell();
            }
        }
        self.vmas().for_each(free_vma);
    }
}

/// Whether a page is mapped at `addr`, or one of the object is cached that could be, looked up without a lock of the object.
///
/// # Errors
/// [`MmapError::NoMemory`] if nothing is mapped there.
pub fn mincore<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<bool, MmapError> {
    mm.mmap_read_lock();
    let cached = mm.find_vma(addr).map(|vma| {
        let found = match vma.mapping {
            _ if is_mapped(mm, addr) => Residence::Cached,
            Some(mapping) => mapping.residence(vma.index_of(addr)),
            None => Residence::Hole,
        };
        if found == Residence::Hole && vma.is_uffd_missing_protected() {
            P::observe(Fact::HoleSeen(mm.id, addr));
        }
        found == Residence::Cached
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
        None => pmd.read_once("read pmd").is_leaf(),
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
    khugepaged_exit(mm);
    mm.mmap_read_lock();
    let mut next = mm.vmas.load_protected();
    while let Some(vma) = next {
        zap_range(vma, vma.range, Markers::Drop);
        P::observe(Fact::Permitted(mm.id, vma.range, Protection::None));
        next = vma.next.load_protected();
    }
    mm.mmap_read_unlock();
    // Whoever is no thread of the process, and so did not keep it from ending, has it for reading while it walks page tables.
    let locked = P::enforces(Safeguard::ExitMmapLock);
    if locked {
        mm.mmap_write_lock();
    }
    while let Some(vma) = mm.vmas.load_protected() {
        vma.start_write();
        mm.remove_vmas(vma, vma);
        vma.mark_detached();
        unlink_anon_vma(vma);
        unlink_vma(vma);
        P::observe(Fact::Unregistered(mm.id, vma.range));
        free_pgtables(mm, vma, None);
        free_vma(vma);
    }
    if locked {
        mm.mmap_write_unlock();
    }
}

/// Counts one more thread that uses the address space; the caller is one.
pub fn mmget<P: Platform>(mm: Ref<P, Mm<P>>) {
    P::step(Step::Mm("mm_users++", mm.id));
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
pub(crate) fn free_vma<P: Platform>(vma: Ref<P, Vma<P>>) {
    let free = move || {
        put_anon_vma_of_vma(vma);
        // SAFETY: nobody can find the VMA any more: it has left the set of VMAs and the lists of its family and object, and who
        // found it under RCU before has left the read section. Who held one of its locks or `mmap_lock` gave it back before the
        // VMA was removed.
        unsafe { vma.free() };
    };
    if P::enforces(Safeguard::DeferVmaFree) {
        P::call_rcu(free);
    } else {
        free();
    }
}
