//! `MADV_COLLAPSE`: the process itself asks for huge pages.
//!
//! Guarantee: as for each huge page alone. The range is gone through VMA by VMA.
//!
//! Locks: `mmap_lock` for reading, to look at one VMA and at what its first huge page consists of; given up before that is collapsed.

use core::fmt;

use super::{Caller, ScanResult, Subject, collapse_one, collapse_subject, huge_range_from};
use crate::addr::{AddrRange, VirtAddr};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::Platform;
use crate::vma::Vma;

/// Why `MADV_COLLAPSE` did not make all of its range huge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CollapseError {
    /// Nothing is mapped in a part of the range; the rest is huge (ENOMEM).
    NotMapped,
    /// The last result that was not a success.
    Refused(ScanResult),
}

impl CollapseError {
    /// The name of the errno.
    #[must_use]
    pub const fn errno(self) -> &'static str {
        match self {
            Self::NotMapped => "ENOMEM",
            Self::Refused(result) => result.errno(),
        }
    }
}

impl fmt::Display for CollapseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMapped => f.write_str("not mapped"),
            Self::Refused(result) => result.fmt(f),
        }
    }
}

impl core::error::Error for CollapseError {}

/// Collapses every huge page's worth of `range` (Linux: `madvise(MADV_COLLAPSE)`), calling `report` with the result of each.
///
/// A range that could not be collapsed does not keep it from the next one, if the reason is of that range alone; but a VMA that did not
/// become huge ends it. It is a success if all became huge, or were so before; also if there is no whole huge page in the range,
/// as long as the VMA has room for one.
///
/// # Errors
/// Why not; what was collapsed stays so.
pub fn madvise_collapse<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    mut report: impl FnMut(VirtAddr, ScanResult),
) -> Result<(), CollapseError> {
    let mut result = Ok(());
    let mut addr = range.start;
    while addr < range.end {
        let end = range.end;
        mm.mmap_read_lock();
        let found = mm
            .find_first_vma(AddrRange { start: addr, end })
            .map(|vma| Part::of(vma, addr, end));
        mm.mmap_read_unlock();
        let Some(part) = found else {
            return Err(CollapseError::NotMapped);
        };
        let part = part.map_err(CollapseError::Refused)?;
        if part.range.start > addr {
            result = Err(CollapseError::NotMapped);
        }
        part.collapse(mm, &mut report)
            .map_err(CollapseError::Refused)?;
        addr = part.range.end;
    }
    result
}

/// What a VMA has of a range.
struct Part<P: Platform> {
    range: AddrRange,
    /// The first huge page's worth of it, which was looked at together with the VMA.
    first: Option<(VirtAddr, Subject<P>)>,
}

impl<P: Platform> Part<P> {
    /// The part of a VMA from `start` to before `end`, unless the VMA has no room for a huge page, may have none, or is anonymous memory that nothing
    /// was ever written to. The caller has `mmap_lock`. (Linux: `thp_vma_allowable_order`)
    fn of(vma: Ref<P, Vma<P>>, start: VirtAddr, end: VirtAddr) -> Result<Self, ScanResult> {
        let unused = vma.is_anonymous() && !vma.has_anon_vma("read anon_vma");
        let denied = Caller::Madvise.is_denied(vma.mapping);
        if unused || denied || huge_range_from(vma, vma.range.start).is_none() {
            return Err(ScanResult::VmaCheck);
        }
        let range = AddrRange {
            start: start.max(vma.range.start),
            end: end.min(vma.range.end),
        };
        let first = huge_range_from(vma, range.start).filter(|huge| range.covers(*huge));
        Ok(Self {
            range,
            first: first.map(|huge| (huge.start, Subject::of(vma, huge.start))),
        })
    }

    fn collapse(
        &self,
        mm: Ref<P, Mm<P>>,
        report: &mut impl FnMut(VirtAddr, ScanResult),
    ) -> Result<(), ScanResult> {
        let Some((first, subject)) = &self.first else {
            return Ok(());
        };
        let mut last = Ok(());
        let mut addr = *first;
        loop {
            let result = if addr == *first {
                collapse_subject(mm, addr, subject, Caller::Madvise)
            } else {
                collapse_one(mm, addr, Caller::Madvise)
            };
            report(addr, result);
            if !matches!(result, ScanResult::Succeed | ScanResult::PmdMapped) {
                last = Err(result);
            }
            let next = AddrRange::pages(addr, P::PTRS_PER_TABLE as u64).end;
            let huge = AddrRange::pages(next, P::PTRS_PER_TABLE as u64);
            if !result.goes_on() || !self.range.covers(huge) {
                return last;
            }
            addr = next;
        }
    }
}
