//! Condition variables.

use std::fmt;
use std::sync::LockResult;

use super::MutexGuard;
use super::meeting::Meeting;
use crate::engine::object;

static CONDVAR: object::Sort = object::Sort {
    name: "condvar",
    waits: &["waits to be notified through"],
};

/// As [`std::sync::Condvar`].
///
/// * [`notify_one`](Self::notify_one) wakes *any* one of those that wait, and each choice is explored. It wakes nobody who begins
///   to wait later: a notification without a waiter is lost.
/// * Nobody wakes without being notified. Code that relies on that is not found to be broken; a loop around the wait is still
///   needed on a real machine.
/// * A [timeout](Self::wait_timeout) passes at any time, or never.
///
/// A thread is *woken* when it goes on, not when it is notified. Which of several goes on is decided by who
/// runs first, which is the same: nobody can tell a notified thread that does not run yet from one that is not notified yet.
pub struct Condvar {
    meeting: Meeting<Waiters>,
}

/// Who waits, and what for: threads as sets of their numbers.
struct Waiters {
    waiting: u64,
    /// One set for each notification that nobody made use of yet: those that waited when it came. There are never more than
    /// threads that wait.
    ///
    /// A thread uses the oldest one that is meant for it. What is left is then meant for as many others as possible, so that
    /// the rest can be used up by the rest, as if each notification had picked its thread at once.
    notified: Vec<u64>,
}

impl Waiters {
    /// Who could go on.
    fn word(&self) -> u64 {
        self.notified.iter().fold(0, |all, &set| all | set)
    }

    fn begin(&mut self, thread: u64) {
        self.waiting |= thread;
    }

    fn notify_one(&mut self) {
        if self.notified.len() < self.waiting.count_ones() as usize {
            self.notified.push(self.waiting);
        }
    }

    fn notify_all(&mut self) {
        self.notified = vec![self.waiting; self.waiting.count_ones() as usize];
    }

    /// `thread` does not wait any longer. Whether it was notified.
    fn end(&mut self, thread: u64) -> bool {
        let mine = self.notified.iter().position(|set| set & thread != 0);
        if let Some(mine) = mine {
            self.notified.remove(mine);
        }
        self.waiting &= !thread;
        for set in &mut self.notified {
            *set &= !thread;
        }
        mine.is_some()
    }
}

/// Whether a wait ended without a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A condition variable that nobody waits for.
    #[must_use]
    pub const fn new() -> Self {
        let waiters = Waiters {
            waiting: 0,
            notified: Vec::new(),
        };
        Self {
            meeting: Meeting::new(&CONDVAR, 0, waiters),
        }
    }

    /// Releases the mutex, waits to be notified, and takes the mutex again.
    ///
    /// # Errors
    ///
    /// Never: nothing is poisoned.
    ///
    /// # Panics
    ///
    /// Outside an exploration, where nobody could end the wait.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let me = self.begin();
        let mutex = guard.mutex();
        drop(guard);
        self.meeting.claim(
            0,
            |woken| woken & me != 0,
            |_, _, waiters| {
                waiters.end(me);
                (waiters.word(), (), "woken")
            },
        );
        Ok(mutex.acquire())
    }

    /// Waits as long as `condition` holds.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), but may end at any time without a notification. How long the timeout is makes no
    /// difference: the exploration knows no time.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        _timeout: std::time::Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let me = self.begin();
        let mutex = guard.mutex();
        drop(guard);
        let notified = self.meeting.update(|_, _, waiters| {
            let notified = waiters.end(me);
            let name = if notified { "woken" } else { "time is out" };
            (waiters.word(), notified, name)
        });
        Ok((mutex.acquire(), WaitTimeoutResult(!notified)))
    }

    /// Wakes one of those that wait.
    pub fn notify_one(&self) {
        self.meeting.update(|_, _, waiters| {
            waiters.notify_one();
            (waiters.word(), (), "notify one")
        });
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.meeting.update(|_, _, waiters| {
            waiters.notify_all();
            (waiters.word(), (), "notify all")
        });
    }

    /// The current thread is counted among those that wait, from before it releases the mutex on. It is returned as a set.
    fn begin(&self) -> u64 {
        self.meeting.update(|turn, _, waiters| {
            // Outside an exploration there is one thread, and no wait ends.
            let me = 1 << (turn.thread() % 64);
            waiters.begin(me);
            (waiters.word(), me, "begin to wait")
        })
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Waiters;

    fn waiters(numbers: &[u32]) -> Waiters {
        Waiters {
            waiting: numbers.iter().map(|number| 1 << number).sum(),
            notified: Vec::new(),
        }
    }

    #[test]
    fn nobody_who_comes_later_is_woken() {
        let mut waiters = waiters(&[0]);
        waiters.notify_one();
        waiters.begin(1 << 1);
        assert_eq!(waiters.word(), 1);
        // The second notification cannot be for 0, which goes on anyway; and 1 takes it.
        waiters.notify_one();
        assert_eq!(waiters.word(), 0b11);
        assert!(waiters.end(1 << 1));
        assert_eq!(waiters.word(), 1);
    }

    #[test]
    fn notifications_without_a_waiter_are_lost() {
        let mut waiters = waiters(&[]);
        waiters.notify_one();
        waiters.notify_all();
        waiters.begin(1);
        assert_eq!(waiters.word(), 0);
        waiters.notify_one();
        waiters.notify_one();
        assert!(waiters.end(1));
        waiters.begin(1);
        assert_eq!(waiters.word(), 0, "the second one had nobody to wake");
    }

    #[test]
    fn the_oldest_notification_is_used_first() {
        let mut waiters = waiters(&[0, 1]);
        waiters.notify_one();
        waiters.begin(1 << 2);
        waiters.notify_one();
        // If 0 used up the second one, 2 could not be woken by the first.
        assert!(waiters.end(1));
        assert_eq!(waiters.word(), 0b110);
        assert!(waiters.end(1 << 2));
        assert_eq!(waiters.word(), 0);
        assert_eq!(waiters.waiting, 0b10);
    }

    #[test]
    fn all_are_woken() {
        let mut waiters = waiters(&[3, 5]);
        waiters.notify_one();
        waiters.notify_all();
        assert!(waiters.end(1 << 5));
        assert!(waiters.end(1 << 3));
        assert_eq!(waiters.word(), 0);
    }
}
