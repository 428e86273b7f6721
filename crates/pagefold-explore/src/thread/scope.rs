//! Threads that may borrow from the one that waits for them.
//!
//! A scope does not return before its threads have ended, so they may borrow whatever outlives it. If the execution is
//! abandoned in between, stacks are unwound; then those of the scope's threads go first, as they may use what
//! they have borrowed until the last of their destructors is done.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{ResultSlot, Thread, ThreadId, join, next_name, require_exploration};
use crate::engine::rt;
use crate::fiber;

/// Where scoped threads are spawned: see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    /// The thread that waits for the others.
    owner: ThreadId,
    threads: RefCell<Vec<ThreadId>>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Owned permission to wait for a scoped thread's end and take its result.
pub struct ScopedJoinHandle<'scope, T> {
    thread: Option<ThreadId>,
    result: ResultSlot<T>,
    _scope: PhantomData<&'scope ()>,
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the end of the thread.
    ///
    /// # Errors
    ///
    /// Only while an abandoned execution is destroyed, as for [`JoinHandle::join`](super::JoinHandle::join).
    pub fn join(self) -> Result<T, Box<dyn Any + Send>> {
        super::finish(self.thread, &self.result)
    }

    /// The thread.
    ///
    /// # Panics
    ///
    /// If the thread was "spawned" while an abandoned execution was destroyed.
    #[must_use]
    pub fn thread(&self) -> Thread {
        super::known(self.thread)
    }
}

/// As [`std::thread::scope`]: threads spawned in `f` are waited for, and may borrow what outlives the call.
///
/// A panic in `f` goes on when they have ended.
///
/// A destructor in a scoped thread must not wait for a lock that the owner of the scope holds meanwhile. This may hold in each execution of
/// the program, but where an execution is abandoned, the destructor could neither wait nor have the owner make way; it panics then, which
/// aborts the process.
///
/// # Panics
///
/// Outside an exploration.
pub fn scope<'env, T>(f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> T {
    require_exploration();
    let scope = Scope {
        owner: super::current().id(),
        threads: RefCell::new(Vec::new()),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let _end = End(&scope.threads);
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    if rt::is_checked() {
        // More may be spawned while one is waited for.
        let mut next = 0;
        loop {
            let thread = scope.threads.borrow().get(next).copied();
            let Some(thread) = thread else { break };
            join(thread);
            next += 1;
        }
    }
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

/// The end of a scope: when this is dropped, the scope's threads have ended, or are destroyed.
struct End<'a>(&'a RefCell<Vec<ThreadId>>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        for thread in self.0.take() {
            fiber::destroy(thread.index());
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a thread. Traces and messages call it by its number: see [`spawn_named`](Self::spawn_named).
    pub fn spawn<T: 'scope>(
        &'scope self,
        f: impl FnOnce() -> T + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        self.spawn_named(next_name(), f)
    }

    /// Spawns a thread. Its name is what traces and messages call it.
    pub fn spawn_named<T: 'scope>(
        &'scope self,
        name: impl Into<Cow<'static, str>>,
        f: impl FnOnce() -> T + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        // SAFETY: what the closure borrows outlives `'scope`, which ends after `scope` has returned or was unwound. Either way
        // the `End` there was dropped, before which each thread of the scope has ended or was destroyed.
        let (thread, result) = unsafe { super::spawn_with_result(name.into(), f) };
        if let Some(thread) = thread {
            self.threads.borrow_mut().push(thread);
            rt::with(|engine| engine.slots[thread.index()].scope_of = Some(self.owner.0));
        }
        ScopedJoinHandle {
            thread,
            result,
            _scope: PhantomData,
        }
    }
}
