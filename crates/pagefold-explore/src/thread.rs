//! Checked threads.

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::engine::op::{Kind, Op};
use crate::engine::rt;
use crate::fiber;

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
    result: Rc<Cell<Option<T>>>,
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
        if let Some(thread) = self.thread {
            join(thread);
        }
        self.result
            .take()
            .ok_or_else(|| Box::new("the thread was abandoned") as _)
    }

    /// The thread.
    ///
    /// # Panics
    ///
    /// If the thread was "spawned" while an abandoned execution was destroyed.
    #[must_use]
    pub fn thread(&self) -> ThreadId {
        self.thread
            .expect("nothing is spawned while an abandoned execution is destroyed")
    }
}

/// Spawns a thread. Its name is what traces and messages call it.
///
/// # Panics
///
/// Outside an exploration.
pub fn spawn<T: 'static>(
    name: impl Into<Cow<'static, str>>,
    f: impl FnOnce() -> T + 'static,
) -> JoinHandle<T> {
    require_exploration();
    let result = Rc::new(Cell::new(None));
    let slot = Rc::clone(&result);
    let body = move || slot.set(Some(f()));
    // SAFETY: the closure is `'static`, and the thread is not forgettable.
    let thread = unsafe { fiber::spawn(name.into(), Op::plain(Kind::Start, 0), false, body) };
    if size_of::<T>() != 0
        && let Some(thread) = thread
    {
        rt::with(|engine| engine.slots[thread].result = true);
    }
    JoinHandle {
        thread: thread.map(ThreadId::new),
        result,
    }
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

fn wait_for(thread: ThreadId, spinning: bool) {
    let op = Op {
        length: spinning.into(),
        ..Op::plain(Kind::Join, thread.0.into())
    };
    let turn = rt::visible_plain(op);
    if rt::with(|engine| engine.live & (1 << thread.0) != 0) == Some(true) {
        turn.cannot_wait(|engine| {
            format!(
                "{} waits for the end of {}",
                engine.slots[engine.current].name,
                engine.slots[thread.index()].name
            )
        });
    }
}

/// The calling thread.
///
/// # Panics
///
/// Outside an exploration.
#[must_use]
pub fn current() -> ThreadId {
    let current = rt::with(|engine| engine.current);
    ThreadId::new(current.expect("`thread::current` is called inside an exploration"))
}

/// The end of a round of a retry loop: [`hint::relax`](crate::hint::relax).
pub fn yield_now() {
    crate::hint::relax();
}
