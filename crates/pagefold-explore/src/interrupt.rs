//! CPUs with interrupts.
//!
//! Disabled interrupts are a lock of the CPU: who disables them keeps handlers from running on it.

use std::borrow::Cow;

use crate::engine::object::{Object, Shape};
use crate::engine::op::{Kind, Op};
use crate::engine::{rt, state};
use crate::fiber;
use crate::report::kind;
use crate::thread::{self, ThreadId, require_exploration};

/// A CPU.
#[derive(Debug)]
#[repr(C)]
pub struct Cpu {
    object: Object,
    id: u32,
}

/// An interrupt on its way; see [`Cpu::ipi`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Ipi {
    handler: Option<ThreadId>,
}

impl Ipi {
    /// Waits until the handler has run.
    pub fn join(self) {
        if let Some(handler) = self.handler {
            thread::join_spinning(handler);
        }
    }

    /// Leaves the handler to itself.
    pub fn detach(self) {}
}

impl Cpu {
    /// A CPU with interrupts enabled.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self {
            object: Object::new(0),
            id,
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    fn shape(&self) -> Shape {
        Shape::Cpu(self.id)
    }

    /// Disables interrupts: waits for a handler that runs, and keeps others from starting.
    pub fn disable(&self) {
        let turn = rt::visible(&self.object, self.shape(), Kind::AcquireExclusive, 0);
        if !state::is_free(self.object.get()) {
            turn.cannot_wait(|_| format!("disables interrupts of cpu{} in a handler", self.id));
        }
        turn.set(&self.object, state::exclusive(turn.thread()));
    }

    /// Enables interrupts again.
    pub fn enable(&self) {
        if !self.are_disabled_here() && rt::is_checked() {
            let message = format!(
                "enables interrupts of cpu{}, which it has not disabled",
                self.id
            );
            rt::fail(kind::NOT_HELD.into(), message);
        }
        let turn = rt::visible(&self.object, self.shape(), Kind::ReleaseExclusive, 0);
        turn.set(&self.object, 0);
    }

    /// Whether the calling thread has disabled interrupts. Not an event.
    #[must_use]
    pub fn are_disabled_here(&self) -> bool {
        state::owner(self.object.view()) == Some(rt::current_number())
    }

    /// Sends an interrupt: `f` runs in a thread of its own, with interrupts disabled, as soon as
    /// they are enabled. Outside an exploration it runs at once.
    ///
    /// The CPU must outlive the handler; it does if it lives as long as the program, or until the
    /// handler was joined.
    pub fn ipi(self: &std::rc::Rc<Self>, f: impl FnOnce() + 'static) -> Ipi {
        if !rt::is_active() {
            f();
            return Ipi { handler: None };
        }
        let cpu = std::rc::Rc::clone(self);
        // SAFETY: the closure is `'static`, the thread is not forgettable, and `cpu`, which the
        // closure owns, keeps the object alive as long as the thread.
        unsafe { self.send(false, move || cpu.handle(f)) }
    }

    /// As [`ipi`](Self::ipi), without an owner for the CPU, by a thread that may be forgotten.
    ///
    /// # Safety
    ///
    /// As [`thread::spawn_forgettable`]; and the CPU must stay in its place until the handler has
    /// run or the execution has ended.
    ///
    /// # Panics
    ///
    /// Outside an exploration.
    pub unsafe fn ipi_forgettable(&self, f: impl FnOnce() + 'static) -> Ipi {
        require_exploration();
        let cpu: *const Self = self;
        let handler = move || {
            // SAFETY: the caller keeps the CPU in its place.
            let cpu = unsafe { &*cpu };
            cpu.handle(f);
        };
        // SAFETY: the caller's promises.
        unsafe { self.send(true, handler) }
    }

    /// # Safety
    ///
    /// The CPU must stay in its place as long as the thread exists. If `forgettable`, it must be
    /// harmless to forget the handler and its stack.
    unsafe fn send(&self, forgettable: bool, handler: impl FnOnce() + 'static) -> Ipi {
        rt::visible_plain(Op::plain(Kind::Ipi, 0));
        let object = rt::with(|engine| engine.id_of(&self.object, self.shape())).unwrap_or(0);
        let enter = Op {
            object,
            target: &self.object,
            ..Op::plain(Kind::AcquireExclusive, 0)
        };
        // SAFETY: the handler is `'static`, and the rest is the caller's promise.
        let thread = unsafe { fiber::spawn(Cow::Borrowed("ipi"), enter, forgettable, handler) };
        Ipi {
            handler: thread.map(ThreadId::new),
        }
    }

    /// The body of a handler's thread, whose first operation was to disable interrupts.
    fn handle(&self, f: impl FnOnce()) {
        rt::set_quiet(&self.object, state::exclusive(rt::current_number()));
        f();
        self.enable();
    }
}
