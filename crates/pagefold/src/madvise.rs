//! `madvise`: what a process says of its pages. (`MADV_COLLAPSE` is in [`collapse`](crate::collapse).)
//!
//! Locks: whoever asks keeps the VMA in place with its lock for reading, or with `mmap_lock` for reading; the rest is what
//! `zap.rs` takes.

use crate::addr::AddrRange;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::mmap::MmapError;
use crate::platform::Platform;
use crate::vma::Vma;
use crate::zap::discard_range;

/// Gives up the pages of a range; the mapping stays. (Linux: `madvise(MADV_DONTNEED)`)
///
/// # Errors
/// [`MmapError::Invalid`] if no VMA covers the range.
pub fn dontneed<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) -> Result<(), MmapError> {
    with_vma(mm, range, |vma| discard_range(vma, range)).ok_or(MmapError::Invalid)
}

/// What `advise` gives for the VMA that covers `range`, which stays meanwhile; `None` if there is none.
///
/// Tries with the lock of the VMA alone, but not where userfaultfd is to be told of it, for which `mmap_lock` is needed.
fn with_vma<P: Platform, R>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    advise: impl FnOnce(Ref<P, Vma<P>>) -> R,
) -> Option<R> {
    if P::protocol().madvise_under_vma_lock
        && let Some(vma) = mm.lock_vma_under_rcu(range.start)
    {
        if vma.range.covers(range) && !vma.is_uffd_armed_protected() {
            let result = advise(vma);
            vma.end_read();
            return Some(result);
        }
        vma.end_read();
    }
    mm.mmap_read_lock();
    let vma = mm
        .find_vma(range.start)
        .filter(|vma| vma.range.covers(range));
    let result = vma.map(advise);
    mm.mmap_read_unlock();
    result
}
