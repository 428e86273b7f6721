//! Announcing an operation: who goes first, this thread or another one?

use std::ptr;

use super::stop::{leave, suspend};
use super::turn::{How, Turn, turn};
use super::with_or;
use crate::engine::object::Object;
use crate::engine::op::{Kind, Op};
use crate::engine::race::as_number;
use crate::engine::search::Next;
use crate::engine::{Engine, Mode};
use crate::sync::atomic::Ordering;

/// What came of announcing an operation.
///
/// Two numbers, for the reason given at [`Turn`].
#[derive(Clone, Copy)]
pub(super) struct Announced {
    /// If not null, somebody else goes first, or the execution stops: the way off this stack.
    away: *const corosensei::Yielder<(), ()>,
    /// Otherwise the operation is executed.
    turn: Turn,
}

impl Announced {
    pub(super) const OUTSIDE: Self = Self::go(Turn::OUTSIDE);

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
pub(super) fn announce_on(
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

pub(super) fn announce(engine: &mut Engine, op: Op) -> Announced {
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
    let turn = Turn::new(as_number(me), how);
    Announced::go(turn.observed_by(engine))
}

#[inline]
pub(super) fn take_turn(announced: Announced) -> Turn {
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
