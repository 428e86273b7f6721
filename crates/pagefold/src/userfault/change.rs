//! Changes of the layout that a monitor has to know of before it fills pages again: MADV_DONTNEED, munmap.
//!
//! Guarantees: when MADV_DONTNEED or munmap returns, it was read that pages were given up, so that a monitor that reads and fills
//! in one thread fills no page later with what it held before. From before the change until it was read of, fillers are told to try
//! again: what they find there need not be what they know of.
//!
//! Locks: events are waited for with no lock held. That a change is under way is set with `mmap_lock` held, for writing where the
//! VMA goes, so that no filler who has `mmap_lock` for reading is in the middle of filling then.

use crate::addr::AddrRange;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::userfault::{Event, Userfaultfd};
use crate::vma::Vma;

/// A change that is under way, and who is to be told.
#[must_use = "fillers are kept waiting until it was told"]
pub(crate) struct Change<P: Platform> {
    mm: Ref<P, Mm<P>>,
    userfaultfd: Ref<P, Userfaultfd<P>>,
    message: (Event, AddrRange),
}

impl<P: Platform> Change<P> {
    /// Begins a change, if somebody wants to be told. The caller has `mmap_lock`. (Linux: `userfaultfd_remove`,
    /// `userfaultfd_unmap_prep`)
    pub(crate) fn begin(vma: Ref<P, Vma<P>>, event: Event, range: AddrRange) -> Option<Self> {
        Self::begun(vma, event, range).inspect(|change| change.mm.begin_change())
    }

    /// The change that was [begun](Self::begin), for a VMA that was taken out of its address space since.
    pub(crate) fn begun(vma: Ref<P, Vma<P>>, event: Event, range: AddrRange) -> Option<Self> {
        let userfaultfd = vma.userfaultfd().filter(|userfaultfd| {
            userfaultfd.features().changes && P::enforces(Safeguard::TellChange)
        })?;
        Some(Self {
            mm: vma.mm,
            userfaultfd,
            message: (event, range),
        })
    }

    /// Tells, and waits until that was read. No lock is held. (Linux: `userfaultfd_event_wait_completion`)
    pub(crate) fn tell(self) {
        let (event, range) = self.message;
        self.userfaultfd.tell_change(event, range);
        self.mm.end_change();
    }
}
