//! Read-copy-update: read sections and grace periods.
//!
//! A grace period asked for by a call waits for every read section unless the call happens before
//! the start of the section. That is never shorter than a real grace period; see the limits in the
//! [crate documentation](crate#what-is-explored-and-what-is-not).
//!
//! ```
//! use pagefold_explore::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
//! use pagefold_explore::{check, rcu, thread};
//! use std::sync::Arc;
//!
//! check(|| {
//!     let published = Arc::new(AtomicBool::new(true));
//!     let content = Arc::new(AtomicU32::new(42));
//!     let (p, c) = (Arc::clone(&published), Arc::clone(&content));
//!     thread::spawn_named("reader", move || {
//!         let _section = rcu::read();
//!         if p.load(SeqCst) {
//!             assert_eq!(c.load(SeqCst), 42); // not reused yet
//!         }
//!     });
//!     published.store(false, SeqCst);
//!     rcu::call(move || content.store(0, SeqCst));
//! });
//! ```

use std::borrow::Cow;

use crate::engine::op::{Kind, Op};
use crate::engine::rt;
use crate::fiber;
use crate::report::kind;
use crate::thread::{ThreadId, require_exploration};

/// Enters a read section. Sections nest. Not an event.
#[inline]
pub fn read_lock() {
    rt::with(|engine| engine.read_lock());
}

/// Leaves a read section. Not an event.
///
/// Leaving a section that was not entered is a violation.
#[inline]
pub fn read_unlock() {
    if rt::with(|engine| engine.read_unlock()) == Some(false) {
        rt::fail(
            kind::NOT_HELD.into(),
            "leaves an RCU read section it is not in".to_owned(),
        );
    }
}

/// Enters a read section and leaves it when the result is dropped.
#[must_use]
pub fn read() -> ReadSection {
    read_lock();
    ReadSection {
        _not_send: std::marker::PhantomData,
    }
}

/// A read section; see [`read`].
#[derive(Debug)]
pub struct ReadSection {
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for ReadSection {
    fn drop(&mut self) {
        // A section of a thread that is being destroyed may have been entered before.
        rt::with(|engine| engine.read_unlock());
    }
}

/// Whether the calling thread is in a read section.
#[must_use]
pub fn is_reading() -> bool {
    rt::with(|engine| engine.slots[engine.current].reading.depth > 0).unwrap_or(false)
}

/// Has `f` run after a grace period, by a thread of its own. Outside an exploration it runs at
/// once.
pub fn call(f: impl FnOnce() + 'static) -> Option<ThreadId> {
    if !rt::is_active() {
        f();
        return None;
    }
    // SAFETY: the closure is `'static`, and the thread is not forgettable.
    unsafe { call_with(f, false) }
}

/// As [`call`], by a thread that may be forgotten.
///
/// # Safety
///
/// As [`thread::spawn_forgettable`](crate::thread::spawn_forgettable).
///
/// # Panics
///
/// Outside an exploration, and while an abandoned execution is destroyed.
pub unsafe fn call_forgettable(f: impl FnOnce() + 'static) -> ThreadId {
    require_exploration();
    // SAFETY: the caller's promise.
    let thread = unsafe { call_with(f, true) };
    thread.expect("nothing is spawned while an abandoned execution is destroyed")
}

/// # Safety
///
/// If `forgettable`, as [`call_forgettable`].
unsafe fn call_with(f: impl FnOnce() + 'static, forgettable: bool) -> Option<ThreadId> {
    let wait = Op::plain(Kind::GracePeriod, ask());
    // SAFETY: the closure is `'static`, and the rest is the caller's promise.
    let thread = unsafe { fiber::spawn(Cow::Borrowed("rcu callback"), wait, forgettable, f) };
    thread.map(ThreadId::new)
}

/// Waits for a grace period.
pub fn synchronize() {
    if rt::is_active() {
        let call = ask();
        let turn = rt::visible_plain(Op::plain(Kind::GracePeriod, call));
        if rt::with(|engine| engine.has_open_section()) == Some(true) {
            turn.cannot_wait(|engine| {
                format!(
                    "{} waits for a grace period",
                    engine.slots[engine.current].name
                )
            });
        }
    }
}

/// The event a grace period is measured from.
fn ask() -> u64 {
    rt::visible_plain(Op::plain(Kind::Call, 0));
    rt::with(|engine| u64::from(engine.slots[engine.current].last.saturating_sub(1))).unwrap_or(0)
}
