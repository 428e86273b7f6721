//! Threads as coroutines: starting one, leaving it, getting rid of it.
//!
//! A coroutine stays in its place while it runs: moving it out and back costs more than the switch.
//! Its cell belongs to whoever has taken its thread out of [`Engine::suspended`]: the driver while it runs
//! the thread, [`destroy`] while it gets rid of it. Both put the thread back, or the cell is empty.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::engine::object::Object;
use crate::engine::op::Op;
use crate::engine::search::Stop;
use crate::engine::{Broken, Engine, Fiber, Mode, rt, snapshot};
use crate::panic_hook;
use crate::world::World;

/// Makes a new thread that is to run `body` once its operation `first` is executed.
///
/// Returns its number. If there are too many threads, the execution stops; `None` only if it is
/// being destroyed already.
///
/// # Safety
///
/// What `body` borrows must be valid until the thread has ended or is destroyed. If `forgettable`, it must be harmless to forget
/// `body` and, whenever the thread is suspended, everything on its stack.
pub(crate) unsafe fn spawn<'a>(
    name: Cow<'static, str>,
    first: Op,
    forgettable: bool,
    body: impl FnOnce() + 'a,
) -> Option<usize> {
    if rt::with(|engine| matches!(engine.mode(), Mode::Unwinding | Mode::Inert)) != Some(false) {
        return None;
    }
    let Some(thread) = rt::with(|engine| engine.spawn(name, first, forgettable)).flatten() else {
        rt::leave_for_good()
    };
    // SAFETY: the coroutine that had the stack before is done: it was one of an earlier execution.
    let stack = rt::with(|engine| unsafe { engine.stacks.lend(thread) })
        .expect("the engine is installed as long as executions run");
    // SAFETY: by the contract of this function, what `body` borrows is valid until the coroutine is
    // finished, unwound or reset, each of which happens within the execution.
    let fiber: Fiber = unsafe {
        Coroutine::with_stack_unchecked(stack, move |yielder: &Yielder<(), ()>, ()| {
            run(thread, yielder, body);
        })
    };
    let cell = rt::with(|engine| engine.fibers[thread].get());
    if let Some(cell) = cell {
        // SAFETY: the cells live as long as the engine. The thread is new, so it is not suspended and
        // has not run: nobody uses its cell, and there is no coroutine in it.
        unsafe { cell.write(Some(fiber)) };
        rt::with(|engine| engine.suspended |= 1 << thread);
    }
    Some(thread)
}

/// The life of a thread, on its own stack.
fn run(thread: usize, yielder: &Yielder<(), ()>, body: impl FnOnce()) {
    rt::with(|engine| {
        engine.slots[thread].yielder = yielder;
        engine.commit(thread);
    });
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(()) => {
            rt::with(|engine| match engine.mode {
                // The thread was to be destroyed, but its code caught that. It has ended now.
                Mode::Inert => engine.live &= !(1 << thread),
                Mode::Normal | Mode::Quiet | Mode::Unwinding => {
                    engine.mode = Mode::Normal;
                    engine.finish(thread);
                }
            });
        }
        Err(payload) => {
            if rt::with(|engine| engine.mode == Mode::Inert) == Some(true) {
                // The unwinding by which the thread is destroyed; it goes on to the coroutine's
                // root, which expects it.
                resume_unwind(payload);
            }
            let message = panic_hook::message(payload.as_ref());
            rt::with(|engine| engine.panicked(thread, &message));
        }
    }
}

/// Takes the coroutine of `thread` for the caller, if it is suspended.
fn take(engine: &mut Engine, thread: usize) -> Option<*mut Option<Fiber>> {
    if engine.suspended & (1 << thread) == 0 {
        return None;
    }
    engine.suspended &= !(1 << thread);
    Some(engine.fibers[thread].get())
}

/// Empties the cell of the coroutine of `thread`, which is done.
fn recycle(engine: &mut Engine, thread: usize, cell: &mut Option<Fiber>) {
    if let Some(fiber) = cell.take()
        && !fiber.done()
    {
        std::mem::forget(fiber);
        engine.stacks.give_up(thread);
    }
}

/// Runs `thread` until it leaves its stack. Returns whether it has ended.
fn resume(thread: usize) -> bool {
    let cell = rt::with(|engine| {
        engine.current = thread;
        engine.in_program = true;
        take(engine, thread)
    });
    let Some(cell) = cell.flatten() else {
        return true;
    };
    // SAFETY: the cells live as long as the engine, which is installed as long as executions run.
    // `take` made this one ours until the thread is among the suspended ones again.
    let cell = unsafe { &mut *cell };
    let Some(fiber) = cell else { return true };
    let result = fiber.resume(());
    rt::with(|engine| {
        engine.in_program = false;
        match result {
            CoroutineResult::Yield(()) => {
                engine.suspended |= 1 << thread;
                false
            }
            CoroutineResult::Return(()) => {
                recycle(engine, thread, cell);
                true
            }
        }
    })
    .unwrap_or(true)
}

/// Runs an execution from where it is to its end, whatever that is, and cleans up after it.
pub(crate) fn run_to_end(world: Option<&dyn World>) -> (Stop, Option<Broken>) {
    use crate::engine::search::Next;

    let stop = loop {
        match rt::with(|engine| engine.next) {
            Some(Next::Thread(thread)) => {
                if rt::with(|engine| engine.wants_snapshot()) == Some(true) {
                    snapshot::take(world);
                }
                if resume(thread) {
                    rt::with(|engine| {
                        if engine.broken.is_none() {
                            engine.schedule();
                        }
                    });
                }
            }
            Some(Next::Stop(stop)) => break stop,
            None => unreachable!("the engine is installed as long as executions run"),
        }
    };
    let broken = rt::with(|engine| {
        // In the middle of a replayed prefix there is nothing new to reverse.
        let at_end = engine.step as usize == engine.log.len();
        if at_end && matches!(stop, Stop::Violation | Stop::Blocked | Stop::Truncated) {
            engine.reverse_blocked();
        }
        engine.finish_script();
        engine.mode = Mode::Inert;
        engine.in_program = true;
        engine.broken.take()
    });
    if stop != Stop::Complete {
        destroy_threads();
    }
    rt::with(|engine| engine.in_program = false);
    (stop, broken.flatten())
}

/// Gets rid of all threads that have not ended.
fn destroy_threads() {
    let threads = rt::with(|engine| engine.threads).unwrap_or(0);
    // The newest first, as threads may have borrowed from those in whose scope they were spawned.
    for thread in (0..threads).rev() {
        destroy(thread);
    }
}

/// Gets rid of a thread.
pub(crate) fn destroy(thread: usize) {
    let taken = rt::with(|engine| {
        let cell = take(engine, thread)?;
        engine.live &= !(1 << thread);
        engine.destroying |= 1 << thread;
        Some((
            cell,
            engine.slots[thread].forgettable,
            std::mem::replace(&mut engine.current, thread),
        ))
    });
    let Some((cell, forgettable, current)) = taken.flatten() else {
        return;
    };
    // SAFETY: the cells live as long as the engine, which is installed as long as executions run.
    // `take` made this one ours for good: the thread is not among the suspended ones again.
    let cell = unsafe { &mut *cell };
    if let Some(fiber) = cell {
        if forgettable {
            // SAFETY: whoever spawned the thread promised that what is on its stack may be forgotten
            // whenever it is suspended, and it is; frames of this crate own nothing.
            unsafe { fiber.force_reset() };
        } else if let Err(payload) = catch_unwind(AssertUnwindSafe(|| fiber.force_unwind())) {
            // A destructor panicked. The execution is over and has its verdict.
            drop(payload);
        }
    }
    rt::with(|engine| {
        engine.current = current;
        engine.destroying &= !(1 << thread);
        recycle(engine, thread, cell);
    });
}

/// Makes way for a destructor that runs while an execution is destroyed and wants a lock: destroys
/// the other threads that hold it first, so that they have let go of its content.
///
/// If the destructor is one of a scoped thread, its scope's owner cannot make way: the thread may have borrowed
/// from the owner's stack. That leaves no way to go on.
pub(crate) fn evict_holders(object: &Object) {
    let holders = rt::with(|engine| {
        if engine.mode != Mode::Inert {
            return Vec::new();
        }
        let Some(id) = engine.objects.lookup(object) else {
            return Vec::new();
        };
        (0..engine.threads)
            .filter(|&thread| thread != engine.current)
            .filter(|&thread| {
                engine.slots[thread]
                    .held
                    .iter()
                    .any(|held| held.object == id)
            })
            .collect()
    });
    for holder in holders.unwrap_or_default() {
        if rt::with(|engine| engine.is_borrowed_from(holder)) == Some(true) {
            eprintln!(
                "in an abandoned execution, a destructor of a scoped thread takes a lock that the scope's owner holds"
            );
            std::process::abort();
        }
        destroy(holder);
    }
}

/// An engine that is installed while this lives.
pub(crate) struct Installed {
    engine: *mut Engine,
    previous: *mut Engine,
}

impl Installed {
    pub(crate) fn new(engine: Engine) -> Self {
        panic_hook::install();
        let engine = Box::into_raw(Box::new(engine));
        // SAFETY: the pointer is good until `drop`, which puts the previous one back, and nobody
        // else knows it.
        let previous = unsafe { rt::install(engine) };
        Self { engine, previous }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // SAFETY: the previous pointer was good when this one took its place, and whoever
        // installed it cannot have left since: its frame is below ours.
        unsafe { rt::install(self.previous) };
        // SAFETY: the pointer came from `Box::into_raw`, and nobody can reach it any more.
        drop(unsafe { Box::from_raw(self.engine) });
    }
}
