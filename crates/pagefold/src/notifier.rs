//! MMU notifiers: secondary MMUs learn what happens to an address space they follow.
//!
//! Guarantee: a range is announced (`NotifierRange::start`) before its entries change and until the change is done
//! (its drop). In between, a subscriber maps nothing that it looked up before; pages may be given away only when
//! all subscribers have forgotten them.
//!
//! `start` may sleep, so no spin lock is held. Two kinds of followers exist: those with a table of their
//! own ([`kvm`](crate::kvm)), which act on start and end; and IOMMUs that walk the process's tables (shared virtual
//! addressing), which have no use for start and end and are flushed like another CPU,
//! see [`SecondaryTlb`].

use crate::accounting::Fact;
use crate::addr::AddrRange;
use crate::handle::Ref;
use crate::kvm::Kvm;
use crate::mm::Mm;
use crate::platform::{FlushKind, Link, Platform};
use crate::protocol::SecondaryTlb;
use crate::step::Step;

/// A follower of an address space.
pub struct Subscription<P: Platform> {
    pub(crate) kvm: Ref<P, Kvm<P>>,
    pub(crate) next: P::Link<Subscription<P>>,
}

/// A range whose entries are changing. The end is announced when this is dropped, so that no start is without end.
#[must_use]
pub(crate) struct NotifierRange<P: Platform> {
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
}

impl<P: Platform> NotifierRange<P> {
    /// Announces that entries of `range` will change. (Linux: `mmu_notifier_invalidate_range_start`)
    pub(crate) fn start(mm: Ref<P, Mm<P>>, range: AddrRange) -> Self {
        P::step(Step::Mm("mmu_notifier start", mm.id));
        P::observe(Fact::Invalidates(mm.id, range));
        for kvm in subscribers(mm) {
            kvm.invalidate_range_start(range);
        }
        Self { mm, range }
    }
}

impl<P: Platform> Drop for NotifierRange<P> {
    fn drop(&mut self) {
        P::step(Step::Mm("mmu_notifier end", self.mm.id));
        for kvm in subscribers(self.mm) {
            kvm.invalidate_range_end();
        }
        if P::protocol().secondary_tlb == SecondaryTlb::NotifierEnd {
            P::flush_secondary_tlb(self.mm, self.range, FlushKind::LeavesAndTables);
        }
    }
}

/// Subscribes a follower. The caller is the only one who uses the address space yet.
pub(crate) fn subscribe<P: Platform>(mm: Ref<P, Mm<P>>, kvm: Ref<P, Kvm<P>>) {
    let subscription = Ref::new(Subscription {
        kvm,
        next: P::Link::new(mm.subscriptions.load_protected()),
    });
    mm.subscriptions.store_protected(Some(subscription));
}

/// The list changes only before the address space is shared and after the last user left.
fn subscribers<P: Platform>(mm: Ref<P, Mm<P>>) -> impl Iterator<Item = Ref<P, Kvm<P>>> {
    core::iter::successors(mm.subscriptions.load_protected(), |subscription| {
        subscription.next.load_protected()
    })
    .map(|subscription| subscription.kvm)
}
