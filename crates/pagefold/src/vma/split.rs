//! Cutting VMAs, so that a part can be changed or unmapped (Linux: `__split_vma`).
//!
//! The VMA is [replaced](super::replace) by two with the same object, flags, `anon_vma` and userfaultfd. A huge entry that the cut goes
//! through stays: who then changes a part of what it maps splits it. (Linux splits it here.)

use super::replace::replace;
use crate::addr::{AddrRange, VirtAddr};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::Platform;

/// Cuts the VMA that `addr` lies in, if it lies within one. The caller has `mmap_lock` for writing.
fn split_at<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) {
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
    replace(mm, &[old], &[old.part(below), old.part(above)]);
}

/// Cuts at both ends of a range, so that it consists of whole VMAs. The caller has `mmap_lock` for writing.
pub(crate) fn split_around<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) {
    split_at(mm, range.start);
    split_at(mm, range.end);
}
