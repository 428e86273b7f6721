//! khugepaged's list of address spaces.
//!
//! Guarantee: each address space in which private pages or pages of an object may become huge is looked through once in each pass
//! of khugepaged, until it ends; and its place in the list is freed once, by the end of the process or by khugepaged, whoever
//! comes later.
//!
//! Locks: `lock`, which spins, for the list and for which place is being scanned. It is not held while an address space is scanned.
//!
//! Why that is enough: khugepaged is no thread of the processes, and does not count as one (`mm_users`). So a process may end while it
//! is scanned. Its end then leaves the place in the list to khugepaged, which sees when it goes on that the process has ended. The
//! address space itself stays until [`mmdrop`](crate::mmap::mmdrop).
//!
//! Linux' `khugepaged_exit` also takes `mmap_lock` for writing, if the address space is being scanned, so that khugepaged is not in its
//! page tables when they are taken apart. Here, as in Linux by now, the end of a process takes `mmap_lock` for that itself.

use crate::addr::VirtAddr;
use crate::collapse::{Limits, ScanResult, khugepaged_scan_mm};
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::mm::Mm;
use crate::platform::{Link, Platform, RawLock};
use crate::protocol::Safeguard;
use crate::step::Step;

/// khugepaged.
pub struct Khugepaged<P: Platform> {
    lock: P::Lock,
    /// The places of the address spaces (Linux: `khugepaged_scan.mm_head`).
    slots: P::Link<MmSlot<P>>,
    /// The one that is being scanned (Linux: `khugepaged_scan.mm_slot`).
    scanning: P::Link<MmSlot<P>>,
}

/// The place of an address space in the list.
pub(crate) struct MmSlot<P: Platform> {
    mm: Ref<P, Mm<P>>,
    next: P::Link<MmSlot<P>>,
}

impl<P: Platform> Khugepaged<P> {
    /// One that knows of no address space.
    #[must_use]
    pub fn new() -> Ref<P, Self> {
        Ref::new(Self {
            lock: P::Lock::new(LockClass::KhugepagedMmLock),
            slots: P::Link::new(None),
            scanning: P::Link::new(None),
        })
    }

    /// Has `khugepaged` look after `mm`, which is new and empty: from now on, mappings that may become huge are told to it.
    pub fn watch(khugepaged: Ref<P, Self>, mm: Ref<P, Mm<P>>) {
        mm.khugepaged.store_protected(Some(khugepaged));
    }

    /// One pass through all address spaces. (Linux: `khugepaged_do_scan`)
    pub fn scan(&self, limits: Limits, mut report: impl FnMut(VirtAddr, ScanResult)) {
        let mut next = self.begin();
        while let Some(slot) = next {
            khugepaged_scan_mm(slot.mm, limits, &mut report);
            next = self.go_on(slot);
        }
    }

    fn lock(&self) {
        P::step(Step::Named("khugepaged_mm_lock"));
        self.lock.lock();
    }

    fn begin(&self) -> Option<Ref<P, MmSlot<P>>> {
        self.lock();
        let first = self.slots.load_protected();
        self.scanning.store_protected(first);
        self.lock.unlock();
        first
    }

    /// Goes on to the next place. If the process has ended meanwhile, its place is freed. (Linux: `collect_mm_slot`)
    fn go_on(&self, slot: Ref<P, MmSlot<P>>) -> Option<Ref<P, MmSlot<P>>> {
        self.lock();
        let next = slot.next.load_protected();
        self.scanning.store_protected(next);
        let ended = slot.mm.is_exiting();
        if ended {
            self.unlink(slot);
        }
        self.lock.unlock();
        if ended {
            free_slot(slot);
        }
        next
    }

    /// Takes a place out of the list. The caller has the lock.
    fn unlink(&self, slot: Ref<P, MmSlot<P>>) {
        slot.mm.khugepaged_slot.store_protected(None);
        let after = slot.next.load_protected();
        let mut next = self.slots.load_protected();
        if next == Some(slot) {
            self.slots.store_protected(after);
            return;
        }
        while let Some(other) = next {
            next = other.next.load_protected();
            if next == Some(slot) {
                other.next.store_protected(after);
                return;
            }
        }
    }
}

fn free_slot<P: Platform>(slot: Ref<P, MmSlot<P>>) {
    P::step(Step::Named("mm_slot_free"));
    // SAFETY: it is not in the list any more, nor named by its address space, and khugepaged is not at it; others do not look for it.
    unsafe { slot.free() };
}

/// Puts an address space on the list that has got a mapping which may become huge. The caller has its `mmap_lock` for writing.
/// (Linux: `khugepaged_enter_vma`)
pub(crate) fn khugepaged_enter<P: Platform>(mm: Ref<P, Mm<P>>) {
    let Some(khugepaged) = mm.khugepaged.load_protected() else {
        return;
    };
    if mm.khugepaged_slot.load_protected().is_some() {
        return;
    }
    let slot = Ref::new(MmSlot {
        mm,
        next: P::Link::new(None),
    });
    khugepaged.lock();
    slot.next.store_protected(khugepaged.slots.load_protected());
    khugepaged.slots.store_protected(Some(slot));
    mm.khugepaged_slot.store_protected(Some(slot));
    khugepaged.lock.unlock();
}

/// Puts the child on the list if the parent is. The caller has the `mmap_lock` of both for writing. (Linux: `khugepaged_fork`)
pub(crate) fn khugepaged_fork<P: Platform>(parent: Ref<P, Mm<P>>, child: Ref<P, Mm<P>>) {
    if parent.khugepaged_slot.load_protected().is_some() {
        khugepaged_enter(child);
    }
}

/// Takes an address space off the list that nobody uses any more. If khugepaged is at it, that is left to it.
/// (Linux: `khugepaged_exit`)
pub(crate) fn khugepaged_exit<P: Platform>(mm: Ref<P, Mm<P>>) {
    let Some(khugepaged) = mm.khugepaged.load_protected() else {
        return;
    };
    khugepaged.lock();
    let scanning = khugepaged.scanning.load_protected();
    let slot = mm
        .khugepaged_slot
        .load_protected()
        .filter(|slot| scanning != Some(*slot) || !P::enforces(Safeguard::ExitKeepsScannedSlot));
    if let Some(slot) = slot {
        khugepaged.unlink(slot);
    }
    khugepaged.lock.unlock();
    if let Some(slot) = slot {
        free_slot(slot);
    }
}
