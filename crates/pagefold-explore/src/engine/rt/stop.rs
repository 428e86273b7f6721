//! Leaving the stack of a checked thread: until it is picked again, or for good.

use std::borrow::Cow;

use super::{is_active, is_checked, with};
use crate::engine::object::{Object, Shape};
use crate::engine::op::{Kind, Op};
use crate::engine::search::{Next, Stop};
use crate::engine::{Engine, Mode};
use crate::report::kind;

/// Leaves the stack of the current thread until it is picked again.
#[inline]
pub(super) fn suspend(yielder: *const corosensei::Yielder<(), ()>) {
    // SAFETY: `yielder` is that of the current thread, whose stack we are on; it lives at the
    // bottom of that stack. A thread that has not begun does not announce anything.
    unsafe { (*yielder).suspend(()) }
}

/// Leaves the stack of the current thread for good.
pub(super) fn leave(yielder: *const corosensei::Yielder<(), ()>) -> ! {
    loop {
        suspend(yielder);
    }
}

/// Stops this execution: something is broken.
pub(crate) fn fail(kind: Cow<'static, str>, message: String) -> ! {
    stop_here(|engine| engine.break_off(kind.clone(), message.clone()));
    panic!("{kind}: {message}")
}

/// Stops this execution: the program has run out of something.
pub(crate) fn run_out(what: &'static str) -> ! {
    stop_here(|engine| engine.next = Next::Stop(Stop::RanOut(what)));
    panic!("no {what} left")
}

/// Leaves the current thread for good, for the reason that `note` gives; returns only where nothing is checked.
fn stop_here(note: impl FnOnce(&mut Engine)) {
    let yielder = with(|engine| match engine.mode() {
        Mode::Normal | Mode::Quiet => {
            // Its last operation is done and must not be taken for a pending one: what that borrowed
            // may be gone.
            engine.slots[engine.current].op = Op::plain(Kind::Start, 0);
            note(engine);
            Some(engine.yielder())
        }
        Mode::Unwinding | Mode::Inert => None,
    });
    if let Some(yielder) = yielder.flatten() {
        leave(yielder)
    }
}

/// Stops this execution although nothing is broken; `engine.next` says why.
pub(crate) fn leave_for_good() -> ! {
    match with(|engine| engine.yielder()) {
        Some(yielder) => leave(yielder),
        None => unreachable!("only called with an engine"),
    }
}

/// The current thread releases a lock which it does not hold. Returns only when things are being
/// destroyed.
#[cold]
pub(crate) fn not_held(object: &Object, shape: Shape) {
    if !is_active() {
        panic!("a lock is released that is not held");
    }
    if is_checked() {
        let message = with(|engine| {
            let id = engine.id_of(object, shape);
            let name = &engine.slots[engine.current].name;
            format!("{name} releases {}, which it does not hold", shape.name(id))
        });
        fail(kind::NOT_HELD.into(), message.unwrap_or_default());
    }
}
