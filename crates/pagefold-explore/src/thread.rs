//! Checked threads, as in [`std::thread`].
//!
//! What is spawned need not be [`Send`]: all threads of an exploration run on one OS thread.

mod parking;
mod scope;

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::engine::op::{Kind, Op};
use crate::engine::rt;
use crate::fiber;

pub(crate) use self::parking::Token;
pub use self::parking::{Thread, current, park};
pub use self::scope::{Scope, ScopedJoinHandle, scope};

/// A thread of the current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(u8);

impl ThreadId {
    /// The number of the thread: 0 is the main thread, others follow in the order of spawning.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }

    pub(crate) fn new(thread: usize) -> Self {
        Self(crate::engine::race::as_number(thread))
    }
}

/// Owned permission to wait for a thread's end and take its result.
pub struct JoinHandle<T> {
    thread: Option<ThreadId>,
    result: ResultSlot<T>,
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}

impl<T> JoinHandle<T> {
    /// Waits for the end of the thread.
    ///
    /// # Errors
    ///
    /// Only while an abandoned execution is destroyed, if the thread has no result. (A thread that
    /// panics ends the execution.)
    pub fn join(self) -> Result<T, Box<dyn Any + Send>> {
        finish(self.thread, &self.result)
    }

    /// The thread.
    ///
    /// # Panics
    ///
    /// If the thread was "spawned" while an abandoned execution was destroyed.
    #[must_use]
    pub fn thread(&self) -> Thread {
        known(self.thread)
    }
}

/// Spawns a thread. Traces and messages call it by its number: see [`spawn_named`].
///
/// # Panics
///
/// Outside an exploration.
pub fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    spawn_named(next_name(), f)
}

/// What a thread is called that is given no name.
fn next_name() -> Cow<'static, str> {
    let number = rt::with(|engine| engine.threads).unwrap_or(0);
    Cow::Owned(format!("thread {number}"))
}

/// As [`std::thread::Builder`]; [`spawn_named`] is shorter.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
}

impl Builder {
    /// What is to be a thread without a name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives it a name.
    #[must_use]
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Spawns it.
    ///
    /// # Errors
    ///
    /// Never.
    ///
    /// # Panics
    ///
    /// Outside an exploration.
    pub fn spawn<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> io::Result<JoinHandle<T>> {
        Ok(spawn_named(self.into_name(), f))
    }

    /// Spawns it in a scope.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn spawn_scoped<'scope, T: 'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: impl FnOnce() -> T + 'scope,
    ) -> io::Result<ScopedJoinHandle<'scope, T>> {
        Ok(scope.spawn_named(self.into_name(), f))
    }

    fn into_name(self) -> Cow<'static, str> {
        self.name.map_or_else(next_name, Cow::Owned)
    }
}

/// Spawns a thread. Its name is what traces and messages call it.
///
/// # Panics
///
/// Outside an exploration.
pub fn spawn_named<T: 'static>(
    name: impl Into<Cow<'static, str>>,
    f: impl FnOnce() -> T + 'static,
) -> JoinHandle<T> {
    // SAFETY: the closure is `'static`.
    let (thread, result) = unsafe { spawn_with_result(name.into(), f) };
    JoinHandle { thread, result }
}

/// Where a thread leaves its result.
type ResultSlot<T> = Rc<Cell<Option<T>>>;

/// Spawns a thread; returns it, unless an abandoned execution is destroyed, and where its result will be.
///
/// # Safety
///
/// What `f` borrows must be valid until the thread has ended or is destroyed.
unsafe fn spawn_with_result<T>(
    name: Cow<'static, str>,
    f: impl FnOnce() -> T,
) -> (Option<ThreadId>, ResultSlot<T>) {
    require_exploration();
    rt::drain();
    let result = Rc::new(Cell::new(None));
    let slot = Rc::clone(&result);
    let body = move || slot.set(Some(f()));
    // SAFETY: what is borrowed lives long enough by the contract of this function, and the thread is not forgettable.
    let thread = unsafe { fiber::spawn(name, Op::plain(Kind::Start, 0), false, body) };
    if size_of::<T>() != 0
        && let Some(thread) = thread
    {
        rt::with(|engine| engine.slots[thread].result = true);
    }
    (thread.map(ThreadId::new), result)
}

/// Waits for the end of a thread and takes its result.
fn finish<T>(thread: Option<ThreadId>, result: &ResultSlot<T>) -> Result<T, Box<dyn Any + Send>> {
    if let Some(thread) = thread {
        join(thread);
    }
    result
        .take()
        .ok_or_else(|| Box::new("the thread was abandoned") as _)
}

fn known(thread: Option<ThreadId>) -> Thread {
    Thread::new(thread.expect("nothing is spawned while an abandoned execution is destroyed"))
}

/// Spawns a thread that may be forgotten, which makes abandoning an execution cheap.
///
/// # Safety
///
/// It must be harmless to forget `f` before it is called and, at each visible operation in it,
/// everything that its frames own.
///
/// # Panics
///
/// Outside an exploration, and while an abandoned execution is destroyed.
pub unsafe fn spawn_forgettable(
    name: impl Into<Cow<'static, str>>,
    f: impl FnOnce() + 'static,
) -> ThreadId {
    require_exploration();
    rt::drain();
    // SAFETY: the closure is `'static`; that it may be forgotten is the caller's promise.
    let thread = unsafe { fiber::spawn(name.into(), Op::plain(Kind::Start, 0), true, f) };
    ThreadId::new(thread.expect("nothing is spawned while an abandoned execution is destroyed"))
}

pub(crate) fn require_exploration() {
    assert!(
        rt::is_active(),
        "threads can only be spawned inside an exploration"
    );
}

/// Waits for the end of a thread.
pub fn join(thread: ThreadId) {
    wait_for(thread, false);
}

/// Waits for the end of a thread without sleeping, so that it may be done with a spin lock held: how a CPU waits for
/// interrupts that it sent.
pub(crate) fn join_spinning(thread: ThreadId) {
    wait_for(thread, true);
}

fn is_live(thread: ThreadId) -> bool {
    rt::with(|engine| engine.live & (1 << thread.0) != 0) == Some(true)
}

fn wait_for(thread: ThreadId, spinning: bool) {
    let op = Op {
        length: spinning.into(),
        ..Op::plain(Kind::Join, thread.0.into())
    };
    let turn = rt::visible_plain(op);
    if is_live(thread) {
        turn.cannot_wait(|engine| {
            format!(
                "{} waits for the end of {}",
                engine.slots[engine.current].name,
                engine.slots[thread.index()].name
            )
        });
    }
}

/// The end of a round of a retry loop: [`hint::relax`](crate::hint::relax).
pub fn yield_now() {
    crate::hint::relax();
}
