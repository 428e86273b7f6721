//! Visible operations: what a thread announces, and how it touches an object.

use super::object::Object;
use super::state;
use crate::sync::atomic::Ordering;

/// What a thread is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The thread begins. Independent of everything.
    Start,
    Load,
    Store,
    /// A read-modify-write which always writes.
    Rmw,
    /// Writes if the word equals the argument, otherwise reads.
    CompareExchange,
    /// A commuting addition.
    Add,
    /// An addition of one, unless the value is zero.
    TryGet,
    /// A subtraction which tells whether the value becomes zero.
    Put,
    /// A load that waits until a predicate holds.
    Await,
    /// A wait until a predicate holds, and the write that makes use of it, in one.
    Claim,
    /// The end of a round of a retry loop; waits until something that was read has changed.
    Relax,
    AcquireExclusive,
    AcquireShared,
    TryExclusive,
    TryShared,
    ReleaseExclusive,
    ReleaseShared,
    /// From exclusive to shared.
    Downgrade,
    /// A write to every object in a range of addresses.
    WriteRange,
    /// Waits for the end of a thread.
    Join,
    /// Asks for a grace period. Independent of everything: a point in time to measure from.
    Call,
    /// Sends an interrupt. Independent of everything.
    Ipi,
    /// Waits for the grace period asked for by the `Call` in the argument.
    GracePeriod,
    /// A store that goes to the buffer of its thread. Independent of everything.
    BufferStore,
    /// The release of a lock, by such a store.
    BufferRelease,
    /// A store in a buffer reaches memory; the length is not 0 if it is the release of a lock.
    Flush,
    /// Waits until the buffer of the thread is empty. Independent of everything.
    Fence,
    /// A `SeqCst` fence under a model with views.
    FenceSeqCst,
}

impl Kind {
    /// Whether the operation takes a lock or lets go of one.
    #[inline]
    pub(crate) fn is_on_lock(self) -> bool {
        matches!(
            self,
            Self::AcquireExclusive
                | Self::AcquireShared
                | Self::TryExclusive
                | Self::TryShared
                | Self::ReleaseExclusive
                | Self::ReleaseShared
                | Self::Downgrade
                | Self::BufferRelease
        )
    }

    /// Whether there are states in which the operation cannot be executed, under sequential consistency.
    #[inline]
    pub(crate) fn may_wait(self) -> bool {
        matches!(
            self,
            Self::AcquireExclusive
                | Self::AcquireShared
                | Self::Await
                | Self::Claim
                | Self::Relax
                | Self::Join
                | Self::GracePeriod
        )
    }

    /// Whether the operation commutes with every other.
    pub(crate) fn is_neutral(self) -> bool {
        matches!(self, Self::Start | Self::Call | Self::Ipi | Self::Fence) || self.is_buffered()
    }

    /// Whether to let it be executed is the scheduler's decision that matters: it does not commute with
    /// all others, and is not the doing of the memory.
    pub(crate) fn is_scheduled(self) -> bool {
        !self.is_neutral() && self != Self::Flush
    }

    /// Whether the operation writes to the buffer of its thread.
    pub(crate) fn is_buffered(self) -> bool {
        matches!(self, Self::BufferStore | Self::BufferRelease)
    }
}

/// An announced operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    /// What an atomic access asks for.
    pub(crate) order: Ordering,
    /// What a compare-exchange asks for if it fails.
    pub(crate) failure: Ordering,
    /// The number of the object, 0 if none or several.
    pub(crate) object: u32,
    /// The object. Valid while the operation is pending: the thread that announced it is
    /// suspended in a method of the primitive, which borrows it.
    pub(crate) target: *const Object,
    /// The expected value, the start of the range, the thread to join, the index of the `Call`, the references given back, which of an
    /// object's waits it is, or for an acquisition how it is to the lock order: 0 in order, 1 nested, 2 exempt.
    pub(crate) argument: u64,
    /// The length of the range; for a `Join`, not 0 if it spins.
    pub(crate) length: usize,
    /// The predicate of an `Await` or a `Claim`. Valid while the operation is pending, as `target`.
    pub(crate) predicate: Option<*const dyn Fn(u64) -> bool>,
}

impl Op {
    pub(crate) const fn plain(kind: Kind, argument: u64) -> Self {
        Self {
            kind,
            order: Ordering::SeqCst,
            failure: Ordering::SeqCst,
            object: 0,
            target: std::ptr::null(),
            argument,
            length: 0,
            predicate: None,
        }
    }

    /// The addresses a `WriteRange` writes to: start and length.
    #[inline]
    pub(crate) fn range(&self) -> (usize, usize) {
        (
            usize::try_from(self.argument).expect("an address"),
            self.length,
        )
    }

    /// The word of the object, 0 if there is none.
    #[inline]
    pub(crate) fn word(&self) -> u64 {
        if self.target.is_null() {
            return 0;
        }
        // SAFETY: not null, and valid for the reasons given at the field.
        unsafe { (*self.target).get() }
    }

    /// How the operation touches its object if it is executed in the present state.
    #[inline]
    pub(crate) fn access(&self) -> Access {
        match self.kind {
            Kind::Load | Kind::Await | Kind::Relax => Access::Read,
            Kind::Store | Kind::Rmw | Kind::Claim | Kind::WriteRange | Kind::FenceSeqCst => {
                Access::Write
            }
            Kind::CompareExchange if self.word() == self.argument => Access::Write,
            Kind::CompareExchange => Access::Read,
            Kind::Add => Access::Add,
            Kind::TryGet if self.word() != 0 => Access::Add,
            Kind::TryGet => Access::Read,
            // Before it is executed, and without knowing what else goes on: an addition only if far from zero. See
            // `Engine::access_of_put` for the rest.
            Kind::Put if self.word() > self.argument.saturating_add(1) => Access::Add,
            Kind::Put => Access::Write,
            Kind::AcquireExclusive => Access::AcquireExclusive,
            Kind::AcquireShared => Access::AcquireShared,
            Kind::TryExclusive if state::is_free(self.word()) => Access::TryExclusive,
            Kind::TryExclusive => Access::Read,
            Kind::TryShared if state::is_shareable(self.word()) => Access::TryShared,
            Kind::TryShared => Access::ReadExclusive,
            Kind::ReleaseExclusive => Access::ReleaseExclusive,
            Kind::ReleaseShared => Access::ReleaseShared,
            Kind::Downgrade => Access::Downgrade,
            Kind::Flush if self.length != 0 => Access::ReleaseExclusive,
            Kind::Flush => Access::Write,
            Kind::Start
            | Kind::Join
            | Kind::Call
            | Kind::Ipi
            | Kind::GracePeriod
            | Kind::BufferStore
            | Kind::BufferRelease
            | Kind::Fence => Access::None,
        }
    }
}

/// How an event touches an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Access {
    None,
    /// Reads the value or, of a lock, who holds it. A failed attempt to take a lock exclusively is
    /// one.
    Read,
    /// Reads of a lock only whether it is held exclusively: a failed attempt to share it.
    ReadExclusive,
    Write,
    Add,
    AcquireExclusive,
    AcquireShared,
    /// A successful attempt.
    TryExclusive,
    /// A successful attempt.
    TryShared,
    ReleaseExclusive,
    ReleaseShared,
    Downgrade,
}

impl Access {
    const COUNT: usize = 12;

    /// The access as a set of one.
    #[inline]
    pub(crate) const fn bit(self) -> u16 {
        1 << self as u8
    }

    /// Whether the order of two accesses to one object by different threads can matter.
    ///
    /// The relation, and why pairs that are missing from it commute:
    ///
    /// * Reads of any sort commute; additions commute, as their results cannot be seen.
    /// * A *blocking* acquisition and a release are never both possible in one state in a way that
    ///   their order would matter: either the release is of a section that excludes the
    ///   acquisition, then the acquisition is disabled before it, or it is of a compatible
    ///   section, and then the release changes nothing for it.
    /// * An *attempt* is never disabled, so it depends on everything that may decide it: an
    ///   exclusive one on each acquisition and release, a shared one on the exclusive ones.
    /// * A `Write` to a lock is its memory being freed; it depends on everything.
    #[inline]
    pub(crate) fn conflicts(self, other: Self) -> bool {
        CONFLICTS[self as usize] & other.bit() != 0
    }

    /// Whether it conflicts with any of a set of accesses.
    #[inline]
    pub(crate) fn conflicts_with_any(self, others: u16) -> bool {
        CONFLICTS[self as usize] & others != 0
    }

    /// Whether the access may change what a reader of the object sees.
    #[inline]
    pub(crate) fn changes(self) -> bool {
        Self::Read.conflicts(self)
    }
}

/// [`Access::conflicts`] as a table.
const CONFLICTS: [u16; Access::COUNT] = {
    use Access::*;
    const fn set(table: &mut [u16; Access::COUNT], a: Access, others: &[Access]) {
        let mut i = 0;
        while i < others.len() {
            table[a as usize] |= others[i].bit();
            table[others[i] as usize] |= a.bit();
            i += 1;
        }
    }
    let mut table = [0; Access::COUNT];
    let exclusive = [AcquireExclusive, TryExclusive, ReleaseExclusive, Downgrade];
    let shared = [AcquireShared, TryShared, ReleaseShared];
    let acquisitions = [AcquireExclusive, AcquireShared, TryExclusive, TryShared];
    set(&mut table, Write, &[Read, ReadExclusive, Write, Add]);
    set(&mut table, Write, &exclusive);
    set(&mut table, Write, &shared);
    set(&mut table, Add, &[Read]);
    set(&mut table, Read, &exclusive);
    set(&mut table, Read, &shared);
    set(&mut table, ReadExclusive, &exclusive);
    set(&mut table, AcquireExclusive, &acquisitions);
    set(&mut table, TryExclusive, &acquisitions);
    set(
        &mut table,
        TryExclusive,
        &[ReleaseExclusive, ReleaseShared, Downgrade],
    );
    set(&mut table, TryShared, &[ReleaseExclusive, Downgrade]);
    table
};

#[cfg(test)]
mod tests {
    use super::Access::{self, *};

    const ALL: [Access; Access::COUNT] = [
        None,
        Read,
        ReadExclusive,
        Write,
        Add,
        AcquireExclusive,
        AcquireShared,
        TryExclusive,
        TryShared,
        ReleaseExclusive,
        ReleaseShared,
        Downgrade,
    ];

    #[test]
    fn conflicts_are_symmetric() {
        for a in ALL {
            for b in ALL {
                assert_eq!(a.conflicts(b), b.conflicts(a), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn what_commutes() {
        for (a, b) in [
            (Read, Read),
            (Add, Add),
            (AcquireShared, AcquireShared),
            (AcquireShared, TryShared),
            (AcquireExclusive, ReleaseExclusive),
            (AcquireShared, ReleaseShared),
            (ReadExclusive, AcquireShared),
            (Read, ReadExclusive),
        ] {
            assert!(!a.conflicts(b), "{a:?} {b:?}");
        }
        for (a, b) in [
            (Read, ReleaseShared),
            (Read, AcquireShared),
            (ReadExclusive, Downgrade),
            (TryExclusive, ReleaseShared),
            (Add, Read),
        ] {
            assert!(a.conflicts(b), "{a:?} {b:?}");
        }
        // Freed memory is touched by everything.
        assert!(ALL.iter().all(|&a| a == None || a.conflicts(Write)));
    }
}
