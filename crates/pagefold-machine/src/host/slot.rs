//! What of a CPU others can see: whether it is inside a section, and what it has been asked to forget.
//!
//! A CPU here is a thread. It is *inside* while it uses a translation or walks page tables: in an access to memory of its
//! process, or in the engine's sections with interrupts off. An interrupt reaches a real CPU between two instructions; a flush
//! reaches a thread between two sections.
//!
//! ## A flush, and why no stale translation is used after it
//!
//! ```text
//! flusher                                    CPU, per access
//!   (entry was changed)                        section.swap(inside)         SeqCst
//!   fence                             F1       if requests_pending.load()   SeqCst
//!   for each CPU of the process:                   forget what is requested
//!       add request; requests_pending = true   translate, access
//!   fence                             F2       section.store(outside)       Release
//!   for each CPU of the process:
//!       wait while it is in the section
//!       that it is seen in               Acquire
//! ```
//!
//! Both sides first write, then read what the other writes (Dekker). By the single order of sequentially consistent operations
//! and fences, at least one sees the other (C++20 [atomics.order] 4: if the flusher reads `section` from before the
//! `swap`, then F2 comes before the `swap`; if the CPU reads `requests_pending` from before the request, its read comes before
//! F2; but the `swap` comes before the read).
//!
//! * If the flusher sees the CPU inside, it waits until `section` changes. The change is a release that it acquires, so the
//!   accesses of that section happened before the flush returns. It waits for that section only: the number in
//!   `section` is another one in the next, of which the following holds.
//! * If the CPU sees the request, it forgets before it translates. It has read what the flusher released, and so
//!   a walk reads the changed entry.
//!
//! A thread can become a CPU of the process meanwhile. Its caches are empty then, and it puts a fence between the store that
//! says so and its first walk. If the flusher does not see that store, F1 comes before that fence, and so the walk reads the
//! changed entry.
//!
//! Sections with interrupts off (`get_user_pages_fast`) cache nothing, and forget nothing: a flush waits for those that it sees,
//! and a fence at their beginning makes the others read the changed entry, as in the last paragraph.
//!
//! ## Why nobody waits for ever
//!
//! Inside a section a thread waits for nothing but the lock of its own requests, under which nobody waits. A thread that
//! flushes is not inside (it is in the engine, not in an access, and has its interrupts on), so threads that flush each
//! other do not wait for each other, whatever locks they have. A thread that was preempted inside goes on some time:
//! who waits gives the processor away.

use std::hint;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
use std::thread;

use pagefold::addr::AddrRange;
use pagefold::platform::FlushKind;
use parking_lot::Mutex;

use super::requests::Requests;

/// Threads that can use the machine at the same time.
const SLOTS: usize = 256;

static TABLE: [CpuSlot; SLOTS] = [const { CpuSlot::new() }; SLOTS];
/// Slots from here on were never used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// In an access; or not in a section, if no bit is set.
const IN_ACCESS: u64 = 1;
/// With interrupts off.
const IN_IRQ_OFF: u64 = 2;
/// Counts sections.
const NEXT: u64 = 4;

/// No process.
const NOBODY: usize = 0;

/// The public part of a CPU.
#[repr(align(128))]
pub(super) struct CpuSlot {
    taken: AtomicBool,
    /// The section that the thread is in: what sort, and a number that no other section of this slot has.
    section: AtomicU64,
    /// The address of the address space whose translations may be cached.
    mm: AtomicUsize,
    requests_pending: AtomicBool,
    requests: Mutex<Requests>,
    /// Free frames that the thread keeps.
    pub(super) magazine: AtomicUsize,
}

impl CpuSlot {
    const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            section: AtomicU64::new(0),
            mm: AtomicUsize::new(NOBODY),
            requests_pending: AtomicBool::new(false),
            requests: Mutex::new(Requests::NONE),
            magazine: AtomicUsize::new(0),
        }
    }

    /// Takes a slot for the current thread.
    ///
    /// # Panics
    /// If there are too many threads.
    pub(super) fn claim() -> &'static Self {
        for (number, slot) in TABLE.iter().enumerate() {
            if !slot.taken.load(Relaxed)
                && slot
                    .taken
                    .compare_exchange(false, true, AcqRel, Relaxed)
                    .is_ok()
            {
                USED.fetch_max(number + 1, SeqCst);
                return slot;
            }
        }
        panic!("the machine has {SLOTS} CPUs, and as many threads use it");
    }

    /// Gives the slot back. The thread is outside and runs no process.
    pub(super) fn release(&self) {
        self.taken.store(false, Release);
    }

    /// All slots that are in use, and some that are not.
    pub(super) fn all() -> &'static [Self] {
        &TABLE[..USED.load(SeqCst)]
    }

    /// Says that from now on the thread uses translations of the address space at `mm`. Its caches are empty.
    pub(super) fn attach(&self, mm: usize) {
        let busy = self.mm.swap(mm, SeqCst) != NOBODY;
        assert!(!busy, "a thread is one CPU");
        fence(SeqCst);
    }

    /// Says that the thread uses no translation any more. What it had been asked to forget is of no interest.
    pub(super) fn detach(&self) {
        self.mm.store(NOBODY, Release);
        self.take_pending();
    }

    /// Begins an access. Before anything is translated, [`take_requests`](Self::take_requests) is to be called.
    #[inline(always)]
    pub(super) fn enter_access(&self) -> Section<'_> {
        let next = self.section.load(Relaxed) + NEXT;
        debug_assert_eq!(next & (NEXT - 1), 0, "sections of accesses do not nest");
        self.section.swap(next | IN_ACCESS, SeqCst);
        Section(self)
    }

    /// Begins a section with interrupts off.
    #[inline]
    pub(super) fn enter_irq_off(&self) {
        let next = self.section.load(Relaxed) + NEXT;
        self.section.swap(next | IN_IRQ_OFF, SeqCst);
        fence(SeqCst);
    }

    /// Ends the section that the thread is in.
    #[inline(always)]
    pub(super) fn leave(&self) {
        let now = self.section.load(Relaxed);
        self.section.store(now & !(NEXT - 1), Release);
    }

    /// What the thread has to forget before it goes on.
    #[inline(always)]
    pub(super) fn take_requests(&self) -> Option<Requests> {
        self.requests_pending
            .load(SeqCst)
            .then(|| self.take_pending())
    }

    #[cold]
    fn take_pending(&self) -> Requests {
        let mut requests = self.requests.lock();
        self.requests_pending.store(false, Relaxed);
        std::mem::replace(&mut requests, Requests::NONE)
    }

    fn request(&self, range: AddrRange, kind: FlushKind) {
        let mut requests = self.requests.lock();
        requests.add(range, kind);
        self.requests_pending.store(true, SeqCst);
    }

    /// Waits until the thread has left the section that it is in now, if that is one of the `sections`.
    fn wait_outside(&self, sections: u64) {
        let seen = self.section.load(Acquire);
        if seen & sections == 0 {
            return;
        }
        let mut tries = 0_u32;
        while self.section.load(Acquire) == seen {
            tries += 1;
            if tries < 100 {
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// An access that is under way. It ends when this is dropped.
pub(super) struct Section<'a>(&'a CpuSlot);

impl Drop for Section<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Makes all CPUs that run the process with the address space at `mm` forget translations, and waits until none uses one
/// that it had. Not in a section.
pub(super) fn shoot_down(mm: usize, range: AddrRange, kind: FlushKind) {
    fence(SeqCst);
    for slot in CpuSlot::all() {
        if slot.mm.load(Relaxed) == mm {
            slot.request(range, kind);
        }
    }
    fence(SeqCst);
    for slot in CpuSlot::all() {
        // Whose tables a thread with interrupts off walks is not known.
        let accesses = if slot.mm.load(Acquire) == mm {
            IN_ACCESS
        } else {
            0
        };
        slot.wait_outside(accesses | IN_IRQ_OFF);
    }
}

/// Waits until every thread has been outside a section once.
pub(super) fn sync_walkers() {
    fence(SeqCst);
    for slot in CpuSlot::all() {
        slot.wait_outside(IN_ACCESS | IN_IRQ_OFF);
    }
}
