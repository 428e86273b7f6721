//! Events: a fault that user space has to resolve waits until it has.
//!
//! Guarantee: a fault waits only for what has not happened yet, and is woken when it has happened.
//!
//! Why that is enough: a filler first changes the entry, then counts a wake-up. A fault reads the count, then the entry, and
//! sleeps only while the count is as it was; both may be wrong by then only to the side of looking once more.

use crate::accounting::Fact;
use crate::addr::VirtAddr;
use crate::arch::Marker;
use crate::fault::FaultError;
use crate::handle::Ref;
use crate::page_table::{PteMap, pmd_offset, pte_offset_map};
use crate::platform::{Counter, Platform, Word};
use crate::step::Step;
use crate::vma::Vma;

/// A userfaultfd: where events go and waiters are woken.
pub struct Userfaultfd<P: Platform> {
    /// Changes whenever waiters shall look again.
    wakeups: P::Word,
    /// Events raised.
    events: P::Counter,
    /// Faults get SIGBUS instead of waiting (`UFFD_FEATURE_SIGBUS`).
    sigbus: bool,
}

impl<P: Platform> Userfaultfd<P> {
    /// A userfaultfd. With `sigbus`, faults do not wait but raise SIGBUS.
    #[must_use]
    pub fn new(sigbus: bool) -> Ref<P, Self> {
        Ref::new(Self {
            wakeups: P::Word::new(0),
            events: P::Counter::new(0),
            sigbus,
        })
    }

    /// Events raised so far.
    pub fn events(&self) -> i64 {
        self.events.get()
    }

    /// Waits until waiters are woken after `seen`.
    pub(crate) fn wait(&self, seen: u64) {
        P::step(Step::Named("wait for userfaultfd"));
        self.wakeups.wait_while(seen);
    }

    /// Makes waiters look again, after what they wait for was done. Fillers have `mmap_lock` for reading only, so two may be
    /// here at once: each changes the number.
    pub(super) fn wake(&self) {
        P::step(Step::Named("wake userfaultfd waiters"));
        self.wakeups.inc_release();
    }
}

/// Raises an event for a fault and says what the faulting thread does then: it gives back its locks and waits, or
/// gets SIGBUS, or tries again because the page came meanwhile. (Linux: `handle_userfault`)
pub(crate) fn handle_userfault<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    reason: Reason,
) -> Result<(), FaultError<P>> {
    let Some(userfaultfd) = vma.userfaultfd() else {
        return Err(FaultError::SigBus);
    };
    userfaultfd.events.add(1);
    if reason == Reason::Missing {
        P::observe(Fact::MissingEvent(vma.mm.id, addr));
    }
    if userfaultfd.sigbus {
        return Err(FaultError::SigBus);
    }
    // The order matters: a filler first changes the entry, then wakes (release). Who sees its number sees the entry, and who
    // does not will not wait for long.
    P::step(Step::Named("read userfaultfd wakeups"));
    let seen = userfaultfd.wakeups.load_acquire();
    if must_wait(vma, addr, reason) {
        Err(FaultError::Userfault(userfaultfd, seen))
    } else {
        Ok(())
    }
}

/// What a fault met.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Missing,
    WriteProtected,
}

/// Whether the page is still as the fault found it. (Linux: `userfaultfd_must_wait`)
fn must_wait<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr, reason: Reason) -> bool {
    let Some(pmd) = pmd_offset(vma.mm, addr) else {
        return true;
    };
    let Some(table): Option<PteMap<P>> = pte_offset_map(pmd) else {
        return !pmd.read_once("read pmd").is_huge();
    };
    let pte = table.read_once(addr);
    match reason {
        Reason::Missing => {
            let ends = [Some(Marker::Poison), Some(Marker::Guard)].contains(&pte.as_marker());
            !pte.is_present() && !ends
        }
        Reason::WriteProtected => pte.is_uffd_wp() || pte.as_marker() == Some(Marker::UffdWp),
    }
}
