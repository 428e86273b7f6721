//! `madvise`: what a process says of its pages. (`MADV_COLLAPSE` is in [`collapse`](crate::collapse).)
//!
//! Locks: `mmap_lock` for reading, so that the VMA stays; the rest is what `zap.rs` takes.

use crate::addr::AddrRange;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::mmap::MmapError;
use crate::platform::Platform;
use crate::zap::{Markers, zap_range};

/// Gives up the pages of a range; the mapping stays. (Linux: `madvise(MADV_DONTNEED)`)
///
/// # Errors
/// [`MmapError::Invalid`] if no VMA covers the range.
pub fn dontneed<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    mm.mmap_read_lock();
    let vma = mm
        .find_vma(range.start)
        .filter(|vma| vma.range.covers(range));
    if let Some(vma) = vma {
        zap_range(vma, range, Markers::Keep);
    }
    mm.mmap_read_unlock();
    vma.map(|_| ()).ok_or(MmapError::Invalid)
}
