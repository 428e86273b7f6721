//! How code in a checked thread reaches the engine.
//!
//! The engine of the exploration that runs on this OS thread is found through a thread-local
//! pointer, which is null outside explorations. Access is by [`with`], which lends the engine out
//! exclusively for the time of a call that neither switches stacks nor runs code of the program
//! (the one exception, predicates, hides the engine: [`outside`]). So two borrows never overlap.

use std::borrow::Cow;
use std::cell::Cell;
use std::ptr;

use super::object::{Object, Shape};
use super::op::{Kind, Op};
use super::search::{Next, Stop};
use super::threads::ThreadNumber;
use super::{Engine, Mode, state};
use crate::report::kind;
use crate::sync::atomic::Ordering;

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

/// Lends out the engine, if there is one.
#[expect(
    clippy::inline_always,
    reason = "on the path of every operation; as a call, what the closure has captured goes through memory"
)]
#[inline(always)]
pub(crate) fn with<R>(f: impl FnOnce(&mut Engine) -> R) -> Option<R> {
    with_or(None, |engine| Some(f(engine)))
}

/// Lends out the engine, or returns `otherwise` if there is none.
#[expect(
    clippy::inline_always,
    reason = "on the path of every operation; as a call, what the closure has captured goes through memory"
)]
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

/// How an operation was let through, and for whom.
///
/// A number of two bytes, as it is returned from every operation: in a register, other than structs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum How {
    /// As an event.
    Event,
    /// As an event, in a recorded execution.
    Recorded,
    /// In a quiet section.
    Quiet,
    /// While an abandoned or panicked thread is destroyed.
    Inert,
    /// Outside an exploration.
    Outside,
}

/// Marks a turn about which the cache wants to know what is written.
const OBSERVED: u8 = 1 << 7;

/// Marks a turn of an execution in which the memory model has a say in what is read and written.
const WEAK: u8 = 1 << 6;

impl Turn {
    const OUTSIDE: Self = Self::new(state::OUTSIDE, How::Outside);

    #[inline]
    const fn new(thread: ThreadNumber, how: How) -> Self {
        Self(u16::from_be_bytes([how as u8, thread]))
    }

    #[inline]
    fn is_weak(self) -> bool {
        self.0.to_be_bytes()[0] & WEAK != 0
    }

    #[inline]
    fn weak_in(self, engine: &Engine) -> Self {
        let [how, thread] = self.0.to_be_bytes();
        let weak = if engine.memory.is_weak() { WEAK } else { 0 };
        Self(u16::from_be_bytes([how | weak, thread]))
    }

    /// Who executes it.
    #[inline]
    pub(crate) fn thread(self) -> ThreadNumber {
        self.0.to_be_bytes()[1]
    }

    /// Has the cache told what is written, if there is one that does not know yet.
    #[inline]
    fn observed_by(self, engine: &Engine) -> Self {
        let [how, thread] = self.0.to_be_bytes();
        let observed = if engine.cache_observes() { OBSERVED } else { 0 };
        Self(u16::from_be_bytes([how | observed, thread]))
    }

    /// Writes to the object of the operation.
    #[inline]
    pub(crate) fn set(self, object: &Object, word: u64) {
        if !self.is_weak() || with(|engine| engine.weak_set(object, word)) != Some(false) {
            object.set(word);
        }
        if self.0.to_be_bytes()[0] & OBSERVED != 0 {
            with(|engine| engine.cache_word(object, word, true));
        }
    }

    #[inline]
    fn is(self, how: How) -> bool {
        self.0.to_be_bytes()[0] & !(OBSERVED | WEAK) == how as u8
    }

    /// Adds the outcome to the label of the event, if it was not given one by the program.
    #[inline]
    pub(crate) fn outcome(self, f: impl FnOnce() -> String) {
        if self.is(How::Recorded) {
            let outcome = f();
            with(|engine| engine.record_outcome(&outcome));
        }
    }

    /// What the operation reads from `object`.
    #[inline]
    pub(crate) fn get(self, object: &Object) -> u64 {
        if self.is_weak()
            && let Some(Some(word)) = with(|engine| engine.weak_get(object))
        {
            return word;
        }
        object.get()
    }

    /// Whether the operation was not an event, so that its condition may not hold.
    #[inline]
    pub(crate) fn is_direct(self) -> bool {
        !self.is(How::Event) && !self.is(How::Recorded)
    }

    /// Called if the operation should wait and was not an event, so that nobody can end the wait.
    /// Returns only when things are being destroyed.
    #[cold]
    pub(crate) fn cannot_wait(self, what: impl FnOnce(&mut Engine) -> String) {
        if self.is(How::Quiet) {
            let message = with(what).unwrap_or_default();
            fail(kind::BLOCKED_IN_QUIET.into(), message);
        }
        assert!(
            !self.is(How::Outside),
            "nothing can end this wait outside an exploration"
        );
    }
}

/// Writes to an object without an operation.
pub(crate) fn set_quiet(object: &Object, word: u64) {
    object.set(word);
    with(|engine| engine.cache_word(object, word, false));
}

/// Executes an operation on an object: returns when it is this thread's turn to do it.
#[inline]
pub(crate) fn visible(object: &Object, shape: Shape, kind: Kind, argument: u64) -> Turn {
    ordered(object, shape, kind, argument, Ordering::SeqCst)
}

/// As [`visible`], asking for an order.
#[inline]
pub(crate) fn ordered(
    object: &Object,
    shape: Shape,
    kind: Kind,
    argument: u64,
    order: Ordering,
) -> Turn {
    ordered_unless(object, shape, kind, argument, order, None)
}

/// Whether an access is one of those that come after a `SeqCst` fence in a model with views.
#[inline]
fn needs_fence(shape: Shape, kind: Kind, order: Ordering, failure: Option<Ordering>) -> bool {
    (order == Ordering::SeqCst || failure == Some(Ordering::SeqCst))
        && matches!(shape, Shape::Atomic)
        && matches!(
            kind,
            Kind::Load | Kind::Store | Kind::Rmw | Kind::CompareExchange
        )
        && with(|engine| engine.memory.ra().is_some() && engine.mode() == Mode::Normal)
            == Some(true)
}

#[cold]
fn fence_before_access() {
    visible_plain(Op::plain(Kind::FenceSeqCst, 0));
}

/// As [`ordered`], asking for another order if it fails.
#[inline]
fn ordered_unless(
    object: &Object,
    shape: Shape,
    kind: Kind,
    argument: u64,
    order: Ordering,
    failure: Option<Ordering>,
) -> Turn {
    let engine = CURRENT.get();
    if engine.is_null() {
        return Turn::OUTSIDE;
    }
    if needs_fence(shape, kind, order, failure) {
        fence_before_access();
    }
    // SAFETY: as in `with_or`.
    let engine = unsafe { &mut *engine };
    if let Some(failure) = failure {
        engine.slots[engine.current].op.failure = failure;
    }
    let id = match engine.objects.lookup(object) {
        Some(id) => id,
        None => engine.register(object, shape),
    };
    take_turn(announce_on(engine, id, object, kind, argument, order))
}

/// Executes a wait until `predicate` holds for the object's word: an `Await` or a `Claim`.
pub(crate) fn wait(
    object: &Object,
    shape: Shape,
    kind: Kind,
    argument: u64,
    predicate: &dyn Fn(u64) -> bool,
) -> Turn {
    let announced = with_or(Announced::OUTSIDE, |engine| {
        let id = engine.id_of(object, shape);
        // SAFETY: only the lifetime changes. The engine calls the predicate while the operation is
        // pending, and this function does not return before it is executed or abandoned.
        let predicate: &'static dyn Fn(u64) -> bool = unsafe { std::mem::transmute(predicate) };
        let op = Op {
            kind,
            order: Ordering::Acquire,
            failure: Ordering::Acquire,
            object: id,
            target: object,
            argument,
            length: 0,
            predicate: Some(predicate),
        };
        announce(engine, op)
    });
    take_turn(announced)
}

/// Executes an operation on no object or several.
pub(crate) fn visible_plain(op: Op) -> Turn {
    take_turn(with_or(Announced::OUTSIDE, |engine| announce(engine, op)))
}

/// Executes a compare-exchange with `expected`.
#[inline]
pub(crate) fn compare_exchange(
    object: &Object,
    expected: u64,
    success: Ordering,
    failure: Ordering,
) -> Turn {
    let kind = Kind::CompareExchange;
    ordered_unless(
        object,
        Shape::Atomic,
        kind,
        expected,
        success,
        Some(failure),
    )
}

/// Executes a fence.
#[inline]
pub(crate) fn fence(order: Ordering) {
    let has_views = with(|engine| {
        let has_views = engine.mode() == Mode::Normal && engine.memory.ra().is_some();
        if has_views && order != Ordering::SeqCst {
            engine.local_fence(order);
        }
        has_views
    });
    if order != Ordering::SeqCst {
        return;
    }
    if has_views == Some(true) {
        visible_plain(Op::plain(Kind::FenceSeqCst, 0));
    } else {
        drain();
    }
}

/// Waits until the stores of the current thread have reached memory.
pub(crate) fn drain() {
    let buffered =
        with(|engine| engine.mode() == Mode::Normal && engine.has_buffered(engine.current));
    if buffered == Some(true) {
        visible_plain(Op::plain(Kind::Fence, 0));
    }
}

/// What came of announcing an operation.
///
/// Two numbers, for the reason given at [`Turn`].
#[derive(Clone, Copy)]
struct Announced {
    /// If not null, somebody else goes first, or the execution stops: the way off this stack.
    away: *const corosensei::Yielder<(), ()>,
    /// Otherwise the operation is executed.
    turn: Turn,
}

impl Announced {
    const OUTSIDE: Self = Self::go(Turn::OUTSIDE);

    #[inline]
    const fn go(turn: Turn) -> Self {
        Self {
            away: ptr::null(),
            turn,
        }
    }

    #[inline]
    fn away(engine: &Engine) -> Self {
        Self {
            away: engine.yielder(),
            turn: Turn::OUTSIDE,
        }
    }
}

/// Announces an operation on an object, for the current thread.
///
/// Not inlined, and its parts are written where they belong one by one, as a copy of a whole `Op`
/// that was just put together stalls.
#[inline(never)]
fn announce_on(
    engine: &mut Engine,
    object: u32,
    target: *const Object,
    kind: Kind,
    argument: u64,
    order: Ordering,
) -> Announced {
    let me = engine.current;
    let op = &mut engine.slots[me].op;
    op.kind = kind;
    op.order = order;
    op.object = object;
    op.target = target;
    op.argument = argument;
    op.length = 0;
    op.predicate = None;
    decide(engine, me)
}

fn announce(engine: &mut Engine, op: Op) -> Announced {
    let me = engine.current;
    engine.slots[me].op = op;
    decide(engine, me)
}

/// Who executes an operation now that `me` has announced one?
#[inline]
fn decide(engine: &mut Engine, me: usize) -> Announced {
    if engine.mode() != Mode::Normal {
        return execute_directly(engine, me);
    }
    if engine.memory.is_weak() {
        engine.announce_weak();
    }
    if engine.is_forbidden() {
        return Announced::away(engine);
    }
    if engine.schedule() == Next::Thread(me) && !engine.wants_snapshot() {
        engine.commit(me);
        if engine.broken.is_none() {
            return Announced::go(turn(engine));
        }
    }
    Announced::away(engine)
}

#[inline]
fn turn(engine: &Engine) -> Turn {
    let how = if engine.recorded.is_some() {
        How::Recorded
    } else {
        How::Event
    };
    Turn::new(super::race::as_number(engine.current), how)
        .observed_by(engine)
        .weak_in(engine)
}

#[cold]
fn execute_directly(engine: &mut Engine, me: usize) -> Announced {
    let how = match engine.mode {
        Mode::Normal => How::Event,
        Mode::Quiet => {
            engine.account(me);
            // Not an event, but it may tell the thread something.
            if engine.cache_observes() {
                engine.cache_event(me, engine.step);
            }
            How::Quiet
        }
        Mode::Unwinding => How::Inert,
        Mode::Inert if std::thread::panicking() => How::Inert,
        // The thread is to be destroyed, but caught the unwinding: unwind it further.
        Mode::Inert => return Announced::away(engine),
    };
    let turn = Turn::new(super::race::as_number(me), how);
    Announced::go(turn.observed_by(engine))
}

#[inline]
fn take_turn(announced: Announced) -> Turn {
    if announced.away.is_null() {
        announced.turn
    } else {
        come_back(announced.away)
    }
}

/// Leaves the stack, and executes the announced operation when it is this thread's turn.
fn come_back(yielder: *const corosensei::Yielder<(), ()>) -> Turn {
    suspend(yielder);
    let announced = with_or(Announced::OUTSIDE, |engine| {
        let me = engine.current;
        engine.commit(me);
        if engine.broken.is_none() {
            Announced::go(turn(engine))
        } else {
            Announced::away(engine)
        }
    });
    if !announced.away.is_null() {
        leave(announced.away);
    }
    announced.turn
}

/// Leaves the stack of the current thread until it is picked again.
#[inline]
fn suspend(yielder: *const corosensei::Yielder<(), ()>) {
    // SAFETY: `yielder` is that of the current thread, whose stack we are on; it lives at the
    // bottom of that stack. A thread that has not begun does not announce anything.
    unsafe { (*yielder).suspend(()) }
}

/// Leaves the stack of the current thread for good.
fn leave(yielder: *const corosensei::Yielder<(), ()>) -> ! {
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
