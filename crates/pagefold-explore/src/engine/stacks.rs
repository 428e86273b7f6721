//! The stacks of the checked threads.
//!
//! A thread always gets the stack of its number. So what was saved of a stack can be put back in its place: nobody else has got
//! the stack meanwhile.

use std::ops::Range;
use std::ptr::NonNull;

use corosensei::stack::{DefaultStack, Stack as _};

struct Made {
    stack: NonNull<DefaultStack>,
    /// The addresses that belong to it.
    bounds: Range<usize>,
}

pub(crate) struct Stacks {
    /// By the number of the thread; made when first asked for.
    made: Vec<Option<Made>>,
    /// Bytes of each.
    size: usize,
}

impl Stacks {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            made: Vec::new(),
            size,
        }
    }

    /// The stack of a thread.
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    ///
    /// # Safety
    ///
    /// What is returned may be used only until it is lent again or given up, or these stacks are dropped.
    #[inline]
    pub(crate) unsafe fn lend(&mut self, thread: usize) -> &'static mut DefaultStack {
        if thread >= self.made.len() {
            self.made.resize_with(thread + 1, || None);
        }
        let size = self.size;
        let made = self.made[thread].get_or_insert_with(|| Made::new(size));
        // SAFETY: the pointer came from a box, which lives until `give_up` or `drop`. By the contract of this function, whoever
        // had it lent before uses it no more.
        unsafe { made.stack.as_mut() }
    }

    /// The addresses of the stack of a thread, which was lent before; empty if it was not.
    pub(crate) fn bounds(&self, thread: usize) -> Range<usize> {
        match self.made.get(thread) {
            Some(Some(made)) => made.bounds.clone(),
            _ => 0..0,
        }
    }

    /// Leaves the stack of a thread to whoever may still have references into it, for good.
    pub(crate) fn give_up(&mut self, thread: usize) {
        self.made[thread] = None;
    }
}

impl Made {
    #[cold]
    fn new(size: usize) -> Self {
        let stack = DefaultStack::new(size)
            .unwrap_or_else(|error| panic!("no memory for the stack of a checked thread: {error}"));
        let bounds = stack.limit().get()..stack.base().get();
        Self {
            stack: NonNull::from(Box::leak(Box::new(stack))),
            bounds,
        }
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        for made in self.made.iter().flatten() {
            // SAFETY: the pointer came from a box and was not given up; by the contract of `lend` nobody uses it any more.
            drop(unsafe { Box::from_raw(made.stack.as_ptr()) });
        }
    }
}
