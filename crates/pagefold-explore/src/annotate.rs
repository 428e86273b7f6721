//! What a program can tell the checker besides its operations.

use crate::engine::op::{Kind, Op};
use crate::engine::{Mode, rt};

/// Reports that something is wrong: stops this execution here. `kind` names the sort of violation.
///
/// Outside an exploration, and while an abandoned execution is destroyed, it panics.
pub fn fail(kind: &'static str, message: String) -> ! {
    rt::fail(kind.into(), message)
}

/// Gives this execution up, since the program has run out of something (`what`, in the plural) that it was given a fixed number of.
/// Nothing is broken, but what would have come was not looked at: unless something else breaks, the verdict is
/// [`NotExhausted`](crate::Verdict::NotExhausted).
///
/// Outside an exploration, and while an abandoned execution is destroyed, it panics.
pub fn run_out(what: &'static str) -> ! {
    rt::run_out(what)
}

/// Executes the operations in `f` directly: they are no events, and nobody else runs in between.
///
/// For setting up and for final checks, while no other thread runs. An operation in `f` that would
/// have to wait is a violation.
///
/// Under a [memory model](crate::Memory) with store buffers, the stores of the calling thread reach
/// memory first, which is an event if there are any.
pub fn quiet<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Mode>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(mode) = self.0 {
                rt::with(|engine| {
                    if engine.mode == Mode::Quiet {
                        engine.mode = mode;
                    }
                });
            }
        }
    }
    rt::drain();
    let _restore = Restore(rt::with(|engine| {
        let mode = engine.mode();
        if mode == Mode::Normal {
            engine.mode = Mode::Quiet;
        }
        mode
    }));
    f()
}

/// Names the next visible operation of this thread in traces. `f` is only called while a trace
/// is recorded, and not inside [`quiet`], where operations are no events.
#[inline]
pub fn label(f: impl FnOnce() -> String) {
    if is_recording() && !is_quiet() {
        let label = f();
        rt::with(|engine| engine.slots[engine.current].label = Some(label));
    }
}

/// Adds a remark to the trace, after the last operation of this thread. `f` is only called while a
/// trace is recorded.
#[inline]
pub fn note(f: impl FnOnce() -> String) {
    if is_recording() {
        let note = f();
        rt::with(|engine| engine.record_note(note));
    }
}

#[inline]
fn is_recording() -> bool {
    rt::with(|engine| engine.recorded.is_some()) == Some(true)
}

/// Whether the caller is a checked thread of an exploration.
#[must_use]
pub fn is_exploring() -> bool {
    rt::is_active()
}

/// Whether the caller is inside [`quiet`].
#[must_use]
pub fn is_quiet() -> bool {
    rt::with(|engine| engine.mode == Mode::Quiet) == Some(true)
}

/// How many shared objects have been registered in this execution: a mark to go back to with
/// [`reset_objects_to`].
///
/// Objects are registered, and numbered, at their first use. A program that builds its world once,
/// in the first execution, and restores it by copying memory in later ones takes the mark after
/// building, and goes back to it after each restoring, so that objects keep their numbers.
#[must_use]
pub fn object_mark() -> u32 {
    rt::with(|engine| engine.objects.mark()).unwrap_or(1)
}

/// Has the objects registered up to `mark` count as registered in this execution, without any
/// access so far. To be called before the first visible operation on any of them.
///
/// # Panics
///
/// If `mark` was not returned by [`object_mark`] in an earlier execution of this exploration.
pub fn reset_objects_to(mark: u32) {
    let known = rt::with(|engine| engine.reset_objects_to(mark)).unwrap_or(true);
    assert!(known, "no object mark of this exploration: {mark}");
}

/// A use of a shared object in the `len` bytes from `start`, by another thread, of which this thread does not know under a
/// [memory model](crate::Memory) with views: nothing orders the two, though the use was executed before. Giving back
/// a [reference](crate::sync::RefCount) is none. Without an event.
#[must_use]
pub fn unknown_use(start: *const u8, len: usize) -> Option<String> {
    rt::with(|engine| engine.unknown_use(start.addr(), len)).flatten()
}

/// Writes, in one event, to every shared object whose place lies in the `len` bytes from `start`:
/// what freeing memory does to whoever still uses it.
///
/// The values of the objects are not changed, and nothing is read through `start`.
pub fn write_range(start: *const u8, len: usize) {
    let argument = u64::try_from(start.addr()).expect("addresses have at most 64 bits");
    rt::visible_plain(Op {
        length: len,
        ..Op::plain(Kind::WriteRange, argument)
    });
}
