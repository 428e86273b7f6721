//! Events: who waits until user space has read or resolved something.
//!
//! Guarantees: a fault waits only for what has not happened yet, and is woken when it has happened. A change of the layout waits
//! until somebody has read of it.
//!
//! Locks: `lock`, a spin lock inside all others. It guards the list of those who wait. Who waits is on the list from before it
//! looks whether there is still anything to wait for until it goes on, and owns its place there.
//!
//! Why that is enough: who resolves a fault changes the entry, then wakes those on the list. A fault puts itself on the list, then
//! looks at the entry. Both take the lock in between, so either the fault is on the list, or it sees the new entry.

use crate::accounting::Fact;
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::Marker;
use crate::fault::FaultError;
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::mm::Mm;
use crate::page_table::{PteMap, pmd_offset, pte_offset_map};
use crate::platform::{Counter, Link, Platform, RawLock, Word};
use crate::step::Step;
use crate::sync::LockGuard;
use crate::vma::Vma;

/// What a userfaultfd does besides raising events.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Features {
    /// Faults get SIGBUS instead of waiting (`UFFD_FEATURE_SIGBUS`).
    pub sigbus: bool,
    /// A write takes the protection of its page away by itself: what is still protected has not been written since
    /// (`UFFD_FEATURE_WP_ASYNC`).
    pub wp_async: bool,
    /// That pages are given up or unmapped are events as well (`UFFD_FEATURE_EVENT_REMOVE`, `UFFD_FEATURE_EVENT_UNMAP`).
    pub changes: bool,
    /// A registration goes to children, with a userfaultfd of their own, and that is an event (`UFFD_FEATURE_EVENT_FORK`).
    pub fork: bool,
    /// A registration goes along when the mapping moves, and that is an event (`UFFD_FEATURE_EVENT_REMAP`).
    pub remap: bool,
}

impl Features {
    /// Whether it is to be told of changes of this kind.
    pub(super) fn tell(self, event: Event) -> bool {
        match event {
            Event::Remove | Event::Unmap => self.changes,
            Event::Fork => self.fork,
            Event::Remap(_) => self.remap,
            Event::Missing | Event::Minor | Event::WriteProtected => false,
        }
    }
}

/// What somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A page is missing. (`UFFD_EVENT_PAGEFAULT`)
    Missing,
    /// A page is in the cache and not mapped. (`UFFD_PAGEFAULT_FLAG_MINOR`)
    Minor,
    /// A page is protected against the write. (`UFFD_PAGEFAULT_FLAG_WP`)
    WriteProtected,
    /// Pages are about to be given up; the mapping stays. (`UFFD_EVENT_REMOVE`)
    Remove,
    /// The range is not mapped any more. (`UFFD_EVENT_UNMAP`)
    Unmap,
    /// A child was made, which has the range too. (`UFFD_EVENT_FORK`)
    Fork,
    /// The range has moved to where this is. (`UFFD_EVENT_REMAP`)
    Remap(VirtAddr),
}

impl Event {
    /// Whether it is over once it was read: nothing is to be resolved.
    const fn is_change(self) -> bool {
        match self {
            Self::Missing | Self::Minor | Self::WriteProtected => false,
            Self::Remove | Self::Unmap | Self::Fork | Self::Remap(_) => true,
        }
    }
}

/// What a reader is told.
pub struct Message<P: Platform> {
    /// What it is.
    pub event: Event,
    /// Where.
    pub range: AddrRange,
    /// For a fork, the userfaultfd of the child.
    pub child: Option<Ref<P, Userfaultfd<P>>>,
}

impl<P: Platform> Clone for Message<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for Message<P> {}

/// One who waits. (Linux: `userfaultfd_wait_queue`)
pub(crate) struct Waiter<P: Platform> {
    message: Message<P>,
    /// The next on the list.
    next: P::Link<Waiter<P>>,
    /// Somebody was told.
    read: P::Word,
    /// Changes when there is nothing to wait for any more.
    woken: P::Word,
}

/// A userfaultfd: where events go and waiters are woken.
pub struct Userfaultfd<P: Platform> {
    /// The address space that it is about.
    pub mm: Ref<P, Mm<P>>,
    features: Features,
    lock: P::Lock,
    /// Who waits, the first to come first.
    waiters: P::Link<Waiter<P>>,
    /// Changes when there is something new for readers.
    news: P::Word,
    /// Nobody will read what is still to come.
    hung_up: P::Word,
    /// Events raised.
    events: P::Counter,
}

impl<P: Platform> Userfaultfd<P> {
    /// A userfaultfd.
    #[must_use]
    pub fn new(mm: Ref<P, Mm<P>>, features: Features) -> Ref<P, Self> {
        Ref::new(Self {
            mm,
            features,
            lock: P::Lock::new(LockClass::Userfaultfd),
            waiters: P::Link::new(None),
            news: P::Word::new(0),
            hung_up: P::Word::new(0),
            events: P::Counter::new(0),
        })
    }

    /// Events raised so far.
    pub fn events(&self) -> i64 {
        self.events.get()
    }

    /// What it was made to do.
    pub(crate) fn features(&self) -> Features {
        self.features
    }

    /// Waits for an event that nobody has read. `None` when the reader was told to [give up](Self::hang_up).
    ///
    /// The first to come is read first. (Linux reads faults before other events.)
    pub fn read(&self) -> Option<Message<P>> {
        loop {
            let seen = {
                let _guard = self.lock();
                let unread = self
                    .waiters()
                    .find(|waiter| waiter.read.load_protected() == 0);
                if let Some(waiter) = unread {
                    waiter.read.store_protected(1);
                    if waiter.message.event.is_change() {
                        waiter.wake();
                    }
                    return Some(waiter.message);
                }
                if self.hung_up.load_protected() != 0 {
                    return None;
                }
                self.news.load_protected()
            };
            P::step(Step::Named("wait for userfaultfd news"));
            self.news.wait_while(seen);
        }
    }

    /// Ends the waits of readers, once there is nothing to read, and of those who want to be read.
    pub fn hang_up(&self) {
        let _guard = self.lock();
        self.hung_up.store_protected(1);
        for waiter in self.waiters() {
            if waiter.message.event.is_change() {
                waiter.wake();
            }
        }
        self.post_news();
    }

    /// Makes readers look at the list again. The caller has the lock, as readers have when they see how much they know.
    fn post_news(&self) {
        let news = self.news.load_protected() + 1;
        P::step(Step::Named("userfaultfd news"));
        self.news.write_once(news);
    }

    /// Makes faults on pages of `range` look again, after what they wait for was done.
    pub(super) fn wake(&self, range: AddrRange) {
        let _guard = self.lock();
        for waiter in self.waiters() {
            if !waiter.message.event.is_change() && waiter.message.range.overlaps(range) {
                waiter.wake();
            }
        }
    }

    fn lock(&self) -> LockGuard<'_, P::Lock> {
        P::step(Step::Named("userfaultfd lock"));
        LockGuard::lock(&self.lock)
    }

    /// Who waits. The caller has the lock.
    fn waiters(&self) -> impl Iterator<Item = Ref<P, Waiter<P>>> {
        core::iter::successors(self.waiters.load_protected(), |waiter| {
            waiter.next.load_protected()
        })
    }

    /// Puts somebody at the end of the list and tells readers.
    fn enqueue(&self, message: Message<P>) -> Ref<P, Waiter<P>> {
        let waiter = Ref::new(Waiter {
            message,
            next: P::Link::new(None),
            read: P::Word::new(0),
            woken: P::Word::new(0),
        });
        let _guard = self.lock();
        match self.waiters().last() {
            Some(last) => last.next.store_protected(Some(waiter)),
            None => self.waiters.store_protected(Some(waiter)),
        }
        if message.event.is_change() && self.hung_up.load_protected() != 0 {
            waiter.wake();
        }
        self.post_news();
        waiter
    }

    /// Takes somebody off the list; its owner calls this, once. Whether somebody was told.
    fn dequeue(&self, waiter: Ref<P, Waiter<P>>) -> bool {
        let read = {
            let _guard = self.lock();
            let after = waiter.next.load_protected();
            let before = self
                .waiters()
                .find(|other| other.next.load_protected() == Some(waiter));
            match before {
                Some(before) => before.next.store_protected(after),
                None => self.waiters.store_protected(after),
            }
            waiter.read.load_protected() != 0
        };
        // SAFETY: others find a waiter only on the list, and use it only under the lock; it is off the list, and its
        // owner does not use it again.
        unsafe { waiter.free() };
        read
    }

    /// Waits until the waiter is woken, and takes it off the list. Whether somebody was told.
    pub(crate) fn wait(&self, waiter: Ref<P, Waiter<P>>) -> bool {
        P::step(Step::Named("wait for userfaultfd"));
        waiter.woken.wait_while(0);
        self.dequeue(waiter)
    }

    /// Tells of a change and waits until that was read. Whether it was: not if nobody reads any more. The caller holds no lock.
    pub(super) fn tell_change(&self, message: Message<P>) -> bool {
        self.events.add(1);
        let waiter = self.enqueue(message);
        self.wait(waiter)
    }
}

impl<P: Platform> Waiter<P> {
    /// The caller has the lock of the list.
    fn wake(&self) {
        P::step(Step::Named("wake userfaultfd waiter"));
        self.woken.write_once(1);
    }
}

/// Raises an event for a fault and says what the faulting thread does then: it gives back its locks and waits, or
/// gets SIGBUS, or tries again because the page came meanwhile. (Linux: `handle_userfault`)
pub(crate) fn handle_userfault<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    event: Event,
) -> Result<(), FaultError<P>> {
    let Some(userfaultfd) = vma.userfaultfd() else {
        return Err(FaultError::SigBus);
    };
    userfaultfd.events.add(1);
    if event == Event::Missing {
        P::observe(Fact::MissingEvent(vma.mm.id, addr));
    }
    if userfaultfd.features.sigbus {
        return Err(FaultError::SigBus);
    }
    let waiter = userfaultfd.enqueue(Message {
        event,
        range: AddrRange::pages(addr, 1),
        child: None,
    });
    if must_wait(vma, addr, event) {
        Err(FaultError::Userfault(userfaultfd, waiter))
    } else {
        userfaultfd.dequeue(waiter);
        Ok(())
    }
}

/// Whether the page is still as the fault found it. (Linux: `userfaultfd_must_wait`)
fn must_wait<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr, event: Event) -> bool {
    let missing = event != Event::WriteProtected;
    let Some(pmd) = pmd_offset(vma.mm, addr) else {
        return missing;
    };
    let Some(table): Option<PteMap<P>> = pte_offset_map(pmd) else {
        return missing && !pmd.read_once("read pmd").is_leaf();
    };
    let pte = table.read_once(addr);
    if missing {
        let ends = [Some(Marker::Poison), Some(Marker::Guard)].contains(&pte.as_marker());
        !pte.is_present() && pte.as_swap().is_none() && pte.as_migration().is_none() && !ends
    } else {
        pte.is_uffd_wp() || pte.as_marker() == Some(Marker::UffdWp)
    }
}
