//! How code in a checked thread reaches the engine.
//!
//! The engine of the exploration that runs on this OS thread is found through a thread-local
//! pointer, which is null outside explorations. Access is by [`with`], which lends the engine out
//! exclusively for the time of a call that neither switches stacks nor runs code of the program
//! (the one exception, predicates, hides the engine: [`outside`]). So two borrows never overlap.
//!
//! What a thread does is an operation ([`operation`]): it is announced ([`announce`]), and let through when it is the thread's
//! turn ([`turn`]), or never, as the execution is over ([`stop`]).

mod announce;
mod operation;
mod stop;
mod turn;

use std::cell::Cell;
use std::ptr;

use super::object::Object;
use super::{Engine, Mode, state};

pub(crate) use operation::{
    compare_exchange, drain, fence, ordered, set_quiet, visible, visible_plain, wait,
};
pub(crate) use stop::{fail, leave_for_good, not_held, run_out};
pub(crate) use turn::Turn;

thread_local! {
    static CURRENT: Cell<*mut Engine> = const { Cell::new(ptr::null_mut()) };
}

/// Makes `engine` the one of this OS thread and returns the one before.
///
/// # Safety
///
/// Until the next call, `engine` must be null or point to an engine that nobody else uses.
pub(crate) unsafe fn install(engine: *mut Engine) -> *mut Engine {
    CURRENT.replace(engine)
}

/// Whether an exploration runs on this OS thread, and this is code of its program.
#[inline]
pub(crate) fn is_active() -> bool {
    !CURRENT.get().is_null()
}

#[inline(always)]
pub(crate) fn with<R>(f: impl FnOnce(&mut Engine) -> R) -> Option<R> {
    with_or(None, |engine| Some(f(engine)))
}

#[inline(always)]
fn with_or<R>(otherwise: R, f: impl FnOnce(&mut Engine) -> R) -> R {
    let engine = CURRENT.get();
    if engine.is_null() {
        return otherwise;
    }
    // SAFETY: by the contract of `install` the pointer is good and nobody else's. There is no
    // other borrow from it: all are made here, and last as long as a call of an `f`, all of which
    // are in this crate; none of them calls `with`, switches to another stack, or runs code of the
    // program other than through `outside`.
    f(unsafe { &mut *engine })
}

/// Runs code of the program on behalf of the engine: primitives in it are plain values.
pub(crate) fn outside<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(*mut Engine);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(ptr::null_mut()));
    f()
}

/// The number of the current thread, as locks store it.
#[inline]
pub(crate) fn current_number() -> u8 {
    with(|engine| super::race::as_number(engine.current)).unwrap_or(state::OUTSIDE)
}

/// Whether operations are checked: inside an exploration, and not while things are destroyed.
pub(crate) fn is_checked() -> bool {
    with(|engine| matches!(engine.mode(), Mode::Normal | Mode::Quiet)) == Some(true)
}

/// Whether the current thread shares a lock. Outside an exploration: whether anyone does.
pub(crate) fn holds_shared(object: &Object) -> bool {
    let shared = with(|engine| {
        engine.objects.lookup(object).is_some_and(|id| {
            let held = &engine.slots[engine.current].held;
            held.iter().any(|held| held.object == id && !held.exclusive)
        })
    });
    shared.unwrap_or_else(|| state::sharers(object.get()) > 0)
}
