//! VMAs in the place of others.
//!
//! Guarantee: whoever looks at an address without `mmap_lock` finds, at every moment, a VMA that is right for it, or one that
//! sends it to `mmap_lock`; and who walks the list of an object or of a family misses no page.
//!
//! A VMA's range does not change: the VMA is replaced. In the lists of the object and of the family the new ones take the
//! place of the old ones under one lock of the list. In the address space they take it by one store: a
//! fault that finds an old one waits in vain for its lock, since it is write-locked and then marked as gone, and one
//! that finds a new one finds it write-locked until `mmap_lock` is released.
//!
//! Page tables are not touched: a table, or a huge entry, may serve several VMAs.
//!
//! Locks, in order: `mmap_lock` for writing and the VMA locks of the old ones for writing (the caller's); `anon_vma`, then
//! `i_mmap_rwsem`, each for writing.

use crate::handle::Ref;
use crate::mm::Mm;
use crate::mmap::free_vma;
use crate::platform::Platform;
use crate::rmap;
use crate::vma::Vma;

/// Puts new VMAs, write-locked and known to nobody, in the place of neighbours, which cover the same addresses. Both by ascending address.
pub(super) fn replace<P: Platform>(
    mm: Ref<P, Mm<P>>,
    old: &[Ref<P, Vma<P>>],
    new: &[Ref<P, Vma<P>>],
) {
    // First: who finds a new one by the object's list looks whether it has private pages.
    rmap::anon_vma_replace(old, new);
    rmap::replace_vmas(old, new);
    mm.replace_vmas(old, new);
    for vma in old {
        vma.mark_detached();
        free_vma(*vma);
    }
}
