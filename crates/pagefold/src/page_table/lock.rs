//! Which lock guards which table.

use crate::addr::Pfn;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::{Platform, RawLock};
use crate::protocol::Safeguard;
use crate::step::Step;

/// The lock of a page table: the table's own, or that of the whole address space.
pub(crate) enum PtLock<P: Platform> {
    /// Split: the lock in the metadata of a table of small-page entries.
    Ptl(Pfn),
    /// Split: the lock in the metadata of a table of huge-page entries.
    Pml(Pfn),
    /// Not split: `mm->page_table_lock`.
    Mm(Ref<P, Mm<P>>),
}

impl<P: Platform> Clone for PtLock<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for PtLock<P> {}

impl<P: Platform> PartialEq for PtLock<P> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ptl(a), Self::Ptl(b)) | (Self::Pml(a), Self::Pml(b)) => a == b,
            (Self::Mm(a), Self::Mm(b)) => a == b,
            _ => false,
        }
    }
}

impl<P: Platform> PtLock<P> {
    fn with_raw<R>(&self, use_lock: impl FnOnce(&P::Lock) -> R) -> R {
        match self {
            Self::Ptl(table) => use_lock(&P::frame(*table).ptl),
            Self::Pml(table) => use_lock(&P::frame(*table).pml),
            Self::Mm(mm) => use_lock(&mm.page_table_lock),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ptl(_) => "ptl",
            Self::Pml(_) => "pmd_lock",
            Self::Mm(_) => "page_table_lock",
        }
    }

    /// Takes the lock while that of another table is held; the caller says why this cannot deadlock.
    pub(crate) fn lock_nested(self, step: Step) -> PtLockGuard<P> {
        P::step(step);
        self.with_raw(|lock| lock.lock_nested());
        PtLockGuard(self)
    }

    /// Takes the lock. `step` is what the trace calls it.
    pub(crate) fn lock(self, step: Step) -> PtLockGuard<P> {
        P::step(step);
        self.with_raw(|lock| lock.lock());
        PtLockGuard(self)
    }

    /// Takes the locks of two tables, or the one that both have. Whoever takes two of an address space while others may as well
    /// comes by here, and takes them in the order of the tables: so none of them has what another one waits for.
    /// (Linux: `double_pt_lock`)
    pub(crate) fn lock_two(
        self,
        other: Self,
        step: Step,
    ) -> (PtLockGuard<P>, Option<PtLockGuard<P>>) {
        let swap = P::enforces(Safeguard::OrderMoveLocks) && other.table() < self.table();
        let (first, second) = if swap { (other, self) } else { (self, other) };
        let guard = first.lock(step);
        (guard, (second != first).then(|| second.lock_nested(step)))
    }

    /// The table that the lock is of; none, if it is that of a whole address space.
    fn table(&self) -> Option<Pfn> {
        match self {
            Self::Ptl(table) | Self::Pml(table) => Some(*table),
            Self::Mm(_) => None,
        }
    }

    /// Takes the lock if it is free: the way to a lock that comes earlier in the lock order.
    pub(crate) fn try_lock(self, step: Step) -> Option<PtLockGuard<P>> {
        P::step(step);
        self.with_raw(RawLock::try_lock).then(|| PtLockGuard(self))
    }
}

/// A held page-table lock.
pub(crate) struct PtLockGuard<P: Platform>(PtLock<P>);

impl<P: Platform> Drop for PtLockGuard<P> {
    fn drop(&mut self) {
        P::step(Step::Named(match self.0.name() {
            "ptl" => "unlock ptl",
            "pmd_lock" => "unlock pmd_lock",
            _ => "unlock page_table_lock",
        }));
        self.0.with_raw(|lock| lock.unlock());
    }
}
