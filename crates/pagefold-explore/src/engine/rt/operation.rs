//! What a checked thread does to what others see.

use super::announce::{Announced, announce, announce_on, take_turn};
use super::{CURRENT, Turn, with, with_or};
use crate::engine::Mode;
use crate::engine::object::{Object, Shape};
use crate::engine::op::{Kind, Op};
use crate::sync::atomic::Ordering;

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
