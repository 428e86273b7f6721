//! What the engine knows of each thread of the current execution.

use std::borrow::Cow;
use std::rc::Rc;

use corosensei::Yielder;

use super::Engine;
use super::op::{Kind, Op};
use crate::class::LockClass;
use crate::thread::Token;

/// The number of a thread in its execution, in the order of spawning.
pub(crate) type ThreadNumber = u8;

/// A set of threads.
pub(crate) type ThreadSet = u64;

#[inline]
pub(crate) const fn bit(thread: usize) -> ThreadSet {
    1 << thread
}

/// The members of a set, the lowest number first.
#[inline]
pub(crate) fn members(mut set: ThreadSet) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = first(set)?;
        set &= set - 1;
        Some(lowest)
    })
}

#[inline]
pub(crate) fn first(set: ThreadSet) -> Option<usize> {
    (set != 0).then_some(set.trailing_zeros() as usize)
}

#[inline]
pub(crate) fn last(set: ThreadSet) -> Option<usize> {
    set.checked_ilog2().map(|thread| thread as usize)
}

impl Engine {
    /// Whether a thread that is being destroyed may have borrowed from the stack of `owner`, which waits for it in a
    /// scope.
    pub(crate) fn is_borrowed_from(&self, owner: usize) -> bool {
        let stands = self.suspended & bit(owner) != 0;
        stands
            && members(self.destroying).any(|thread| {
                let mut scope = self.slots[thread].scope_of;
                while let Some(above) = scope.filter(|&above| usize::from(above) != owner) {
                    scope = self.slots[usize::from(above)].scope_of;
                }
                scope.is_some()
            })
    }
}

/// A lock in the hands of a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) object: u32,
    pub(crate) exclusive: bool,
    /// `None` for the interrupt state of a CPU.
    pub(crate) class: Option<&'static LockClass>,
    /// The step at which it was taken.
    pub(crate) step: u32,
}

/// The read section a thread is in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// How often `read_lock` was called without its `read_unlock`.
    pub(crate) depth: u32,
    /// The number of the section in the list of all sections, once it has an event.
    pub(crate) section: Option<u32>,
}

/// A thread of the current execution.
pub(crate) struct Slot {
    pub(crate) name: Cow<'static, str>,
    /// The thread that spawned it and how many that one had spawned before: an identity which,
    /// other than the number, is the same in all interleavings.
    pub(crate) origin: (ThreadNumber, u16),
    /// How many threads it has spawned.
    pub(crate) spawned: u16,
    /// Whether it came to its end, or panicked.
    pub(crate) ended: bool,
    /// What it announced.
    pub(crate) op: Op,
    /// Its last event, as index + 1; before the first the last one of the spawning thread.
    pub(crate) last: u32,
    /// How many events it has executed.
    pub(crate) seq: u32,
    /// Whether it hands a value to whoever joins it.
    pub(crate) result: bool,
    /// Whether its stack and all it owns may be forgotten.
    pub(crate) forgettable: bool,
    /// How to leave its stack. Valid from its first step to its end: it lives at the bottom of the
    /// thread's own stack.
    pub(crate) yielder: *const Yielder<(), ()>,
    pub(crate) held: Vec<Held>,
    pub(crate) reading: Reading,
    /// What the pending `Relax` waits for: objects, and the event that read them as index.
    pub(crate) watched: Vec<(u32, u32)>,
    /// The name given to the next operation.
    pub(crate) label: Option<String>,
    /// Whether it may go on when it parks; made when it is first asked for.
    pub(crate) token: Option<Rc<Token>>,
    /// The thread in whose scope it was spawned, on whose stack it may have borrowed.
    pub(crate) scope_of: Option<ThreadNumber>,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            name: Cow::Borrowed(""),
            origin: (0, 0),
            spawned: 0,
            ended: false,
            op: Op::plain(Kind::Start, 0),
            last: 0,
            seq: 0,
            result: false,
            forgettable: false,
            yielder: std::ptr::null(),
            held: Vec::new(),
            reading: Reading::default(),
            watched: Vec::new(),
            label: None,
            token: None,
            scope_of: None,
        }
    }

    /// Makes the slot that of a new thread.
    pub(crate) fn begin(
        &mut self,
        name: Cow<'static, str>,
        origin: (ThreadNumber, u16),
        last: u32,
        op: Op,
        forgettable: bool,
    ) {
        self.name = name;
        self.origin = origin;
        self.spawned = 0;
        self.ended = false;
        self.op = op;
        self.last = last;
        self.seq = 0;
        self.result = false;
        self.forgettable = forgettable;
        self.yielder = std::ptr::null();
        self.held.clear();
        self.reading = Reading::default();
        self.watched.clear();
        self.label = None;
        self.token = None;
        self.scope_of = None;
    }
}

impl Clone for Slot {
    fn clone(&self) -> Self {
        let mut slot = Self::new();
        slot.clone_from(self);
        slot
    }

    /// Keeps what memory it has.
    fn clone_from(&mut self, other: &Self) {
        let Self {
            name,
            origin,
            spawned,
            ended,
            op,
            last,
            seq,
            result,
            forgettable,
            yielder,
            held,
            reading,
            watched,
            label,
            token,
            scope_of,
        } = other;
        self.name.clone_from(name);
        self.origin = *origin;
        self.spawned = *spawned;
        self.ended = *ended;
        self.op = *op;
        self.last = *last;
        self.seq = *seq;
        self.result = *result;
        self.forgettable = *forgettable;
        self.yielder = *yielder;
        self.held.clone_from(held);
        self.reading = *reading;
        self.watched.clone_from(watched);
        self.label.clone_from(label);
        self.token.clone_from(token);
        self.scope_of = *scope_of;
    }
}
