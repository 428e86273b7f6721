//! Cutting VMAs, so that a part can be changed or unmapped (Linux: `__split_vma`).
//!
//! Guarantee: whoever looks at an address without `mmap_lock` finds, at every moment, a VMA that is right for it, or one that
//! sends it to `mmap_lock`; and who walks the list of an object misses no page.
//!
//! The VMA is not changed but replaced by two new ones with the same object, flags, `anon_vma` and userfaultfd. In the
//! lists of the object and of the family they take its place under one lock of the list. In the address space they take its place by one store: a
//! fault that finds the old one waits in vain for its lock, since it is write-locked and then marked as gone, and one
//! that finds a new one finds it write-locked until `mmap_lock` is released.
//!
//! Page tables are not touched: a table, or a huge entry, may serve several VMAs. Who then changes a part of what a huge entry
//! maps splits it. (Linux splits it here.) Adjacent VMAs that have become equal are not joined.
//!
//! Locks, in order: `mmap_lock` for writing (the caller's), VMA lock for writing, `anon_vma`, `i_mmap_rwsem`, each for
//! writing.

use crate::addr::{AddrRange, VirtAddr};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::mmap::free_vma;
use crate::platform::Platform;
use crate::rmap;

/// Cuts the VMA that `addr` lies in, if it lies within one. The caller has `mmap_lock` for writing.
pub(crate) fn split_at<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) {
    let Some(old) = mm.find_vma(addr).filter(|vma| vma.range.start != addr) else {
        return;
    };
    old.start_write();
    let below = AddrRange {
        start: old.range.start,
        end: addr,
    };
    let above = AddrRange {
        start: addr,
        end: old.range.end,
    };
    let parts = [old.part(below), old.part(above)];
    // First: who finds a part by the object's list looks whether it has private pages.
    rmap::anon_vma_replace(old, parts);
    rmap::replace_vma(old, parts);
    mm.replace_vma(old, parts);
    old.mark_detached();
    free_vma(old);
}

/// Cuts at both ends of a range, so that it consists of whole VMAs. The caller has `mmap_lock` for writing.
pub(crate) fn split_around<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) {
    split_at(mm, range.start);
    split_at(mm, range.end);
}
