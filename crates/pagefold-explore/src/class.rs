//! Lock classes: what the checker must know of a lock besides who holds it.

/// A sort of locks. All locks of a class obey the same rules.
#[derive(Debug, PartialEq, Eq)]
pub struct LockClass {
    /// Its name in traces and messages.
    pub name: &'static str,
    /// Whether waiting for it may put the thread to sleep.
    pub kind: LockKind,
    /// Its place in the lock order: locks are taken by rising rank. Without one, any order is
    /// allowed as long as all executions of all threads agree on it.
    pub rank: Option<u32>,
}

/// How threads wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// By spinning: the holder must not sleep.
    Spin,
    /// By sleeping: must not be taken where sleeping is forbidden.
    Sleep,
}

impl LockClass {
    /// A class of spin locks without a rank.
    #[must_use]
    pub const fn spin(name: &'static str) -> Self {
        Self {
            name,
            kind: LockKind::Spin,
            rank: None,
        }
    }

    /// A class of sleeping locks without a rank.
    #[must_use]
    pub const fn sleep(name: &'static str) -> Self {
        Self {
            name,
            kind: LockKind::Sleep,
            rank: None,
        }
    }

    /// The same class with a rank.
    #[must_use]
    pub const fn ranked(mut self, rank: u32) -> Self {
        self.rank = Some(rank);
        self
    }
}
