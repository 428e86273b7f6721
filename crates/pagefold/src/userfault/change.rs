//! Changes of the layout that a monitor has to know of before it fills pages again: MADV_DONTNEED, munmap, mremap, fork.
//!
//! Guarantees: when such a call returns, it was read that pages were given up, moved or copied, so that a monitor that reads and fills
//! in one thread fills no page later with what it held before. From before the change until it was read of, fillers are told to try
//! again: what they find there need not be what they know of.
//!
//! Locks: events are waited for with no lock held. That a change is under way is set with `mmap_lock` held, for writing where the
//! VMA goes, moves or is copied, so that no filler who has `mmap_lock` for reading is in the middle of filling then.

use crate::addr::{AddrRange, VirtAddr};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::userfault::{Event, Message, Userfaultfd, close};
use crate::vma::{VM_UFFD, Vma};

/// A change that is under way, and who is to be told.
#[must_use = "fillers are kept waiting until it was told"]
pub(crate) struct Change<P: Platform> {
    userfaultfd: Ref<P, Userfaultfd<P>>,
    message: Message<P>,
}

impl<P: Platform> Change<P> {
    /// Begins a change, if somebody wants to be told. The caller has `mmap_lock`. (Linux: `userfaultfd_remove`,
    /// `userfaultfd_unmap_prep`, `mremap_userfaultfd_prep`)
    pub(crate) fn begin(vma: Ref<P, Vma<P>>, event: Event, range: AddrRange) -> Option<Self> {
        Self::begun(vma, event, range).inspect(|change| change.mm().begin_change())
    }

    /// The change that was [begun](Self::begin), for a VMA that was taken out of its address space since.
    pub(crate) fn begun(vma: Ref<P, Vma<P>>, event: Event, range: AddrRange) -> Option<Self> {
        let userfaultfd = vma.userfaultfd().filter(|userfaultfd| {
            userfaultfd.features().tell(event) && P::enforces(Safeguard::TellChange)
        })?;
        let message = Message {
            event,
            range,
            child: None,
        };
        Some(Self {
            userfaultfd,
            message,
        })
    }

    fn mm(&self) -> Ref<P, Mm<P>> {
        self.userfaultfd.mm
    }

    /// Tells, and waits until that was read. No lock is held. (Linux: `userfaultfd_event_wait_completion`)
    pub(crate) fn tell(self) {
        let read = self.userfaultfd.tell_change(self.message);
        if let Some(child) = self.message.child.filter(|_| !read) {
            // Nobody knows of it.
            close(child.mm, child);
        }
        self.mm().end_change();
    }

    /// Nothing has changed after all.
    pub(crate) fn cancel(self) {
        self.mm().end_change();
    }
}

/// Has a new VMA, to which the pages of another one of the process move, be registered as that is, if the userfaultfd follows moves. It
/// is not registered otherwise. Nobody knows of the new VMA yet. (Linux: `mremap_userfaultfd_prep`)
pub(crate) fn follow_move<P: Platform>(
    from: Ref<P, Vma<P>>,
    to: Ref<P, Vma<P>>,
    target: VirtAddr,
) -> Option<Change<P>> {
    let change = Change::begin(from, Event::Remap(target), from.range);
    if change.is_none() {
        unregister_new(to);
    }
    change
}

/// A new VMA is not registered. Nobody knows of it yet. (Linux: `userfaultfd_reset_ctx`)
fn unregister_new<P: Platform>(vma: Ref<P, Vma<P>>) {
    vma.set_userfaultfd(None);
    vma.set_flags(vma.flags_protected() & !VM_UFFD);
}

/// Children's userfaultfds, of which their monitors are to be told.
pub(crate) struct Forks<P: Platform> {
    first: Option<Ref<P, Fork<P>>>,
}

struct Fork<P: Platform> {
    parent: Ref<P, Userfaultfd<P>>,
    child: Ref<P, Userfaultfd<P>>,
    range: AddrRange,
    next: Option<Ref<P, Fork<P>>>,
}

impl<P: Platform> Forks<P> {
    pub(crate) const fn new() -> Self {
        Self { first: None }
    }

    /// Has the VMA of a child be registered as that of its parent, with the child's own userfaultfd, if the parent's follows forks.
    /// Else it is not registered. The caller has both `mmap_lock`s for writing, and nobody knows of the new VMA yet.
    /// (Linux: `dup_userfaultfd`)
    pub(crate) fn inherit(&mut self, new: Ref<P, Vma<P>>, old: Ref<P, Vma<P>>) {
        let parent = old
            .userfaultfd()
            .filter(|userfaultfd| userfaultfd.features().tell(Event::Fork));
        let Some(parent) = parent else {
            unregister_new(new);
            return;
        };
        let known = self.iter().find(|fork| fork.parent == parent);
        let fork = known.unwrap_or_else(|| {
            old.mm.begin_change();
            let fork = Ref::new(Fork {
                parent,
                child: Userfaultfd::new(new.mm, parent.features()),
                range: old.range,
                next: self.first,
            });
            self.first = Some(fork);
            fork
        });
        new.set_userfaultfd(Some(fork.child));
    }

    fn iter(&self) -> impl Iterator<Item = Ref<P, Fork<P>>> {
        core::iter::successors(self.first, |fork| fork.next)
    }

    /// Tells, and waits until that was read; nobody is told if the child was not `made` after all. No lock is held.
    /// (Linux: `dup_userfaultfd_complete`, `dup_userfaultfd_fail`)
    pub(crate) fn finish(self, made: bool) {
        let mut next = self.first;
        while let Some(fork) = next {
            next = fork.next;
            let message = Message {
                event: Event::Fork,
                range: fork.range,
                child: Some(fork.child),
            };
            let change = Change {
                userfaultfd: fork.parent,
                message,
            };
            // SAFETY: only this list names it.
            unsafe { fork.free() };
            if made {
                change.tell();
            } else {
                change.cancel();
            }
        }
    }
}
