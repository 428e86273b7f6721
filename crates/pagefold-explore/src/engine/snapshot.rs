//! Beginning an execution in the middle.
//!
//! Two executions that follow each other have a prefix in common, which is most of both. If the program has a [`World`], the
//! prefix is not executed again but put back: the world, the stacks of the threads, and what the engine knows of the
//! execution. The log of the prefix is kept anyway.
//!
//! **Why it comes out the same.** A thread that is suspended is its stack and the place in it where it was left. The prefix
//! is determined by the schedule, so executing it again would lead to these very bytes. (That a program which depends on something
//! else is noticed less often is the price.)
//!
//! **When.** Where the search goes back to, it will come to again: everything below the new choice is explored first. So a
//! snapshot is taken there, on the way, if the nearest one is more than a few events off; those of a path that
//! was left are forgotten. A thread leaves its stack for that even if it is picked again.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::grace::Section;
use super::locks::Order;
use super::preempt::Preemptions;
use super::threads::{Slot, ThreadSet, members};
use super::{Engine, Fiber, rt};
use crate::world::World;

/// What executing so many events again costs is about what a snapshot does.
const SPACING: u32 = 32;

/// The snapshots of the current path.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// Whether they may be taken at all.
    enabled: bool,
    /// The one nearest to the start first.
    taken: Vec<Snapshot>,
    /// Kept to be used again.
    spare: Vec<Snapshot>,
    /// Before which event the next one is to be taken.
    due: Option<u32>,
}

/// All there is between two events.
#[derive(Default)]
struct Snapshot {
    step: u32,
    current: usize,
    live: ThreadSet,
    suspended: ThreadSet,
    threads: usize,
    slots: Vec<Slot>,
    /// The numbers of objects that were given out.
    objects: u32,
    sections: Vec<Section>,
    order: Order,
    preemptions: Preemptions,
    /// For each suspended thread its coroutine, and what of `stacks` is its own.
    fibers: Vec<(MaybeUninit<Fiber>, usize)>,
    stacks: Vec<u8>,
    world: Vec<u8>,
}

impl Snapshots {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            ..Self::default()
        }
    }

    /// Forgets those that are not on the path to event `step`, where the next execution differs, and wants one there if it would be
    /// of use.
    pub(crate) fn go_back(&mut self, step: u32) {
        self.forget_after(step);
        let nearest = self.taken.last().map_or(0, |snapshot| snapshot.step);
        self.due = (self.enabled && step - nearest >= SPACING).then_some(step);
    }

    /// Forgets those taken after event `step`, and wants none.
    pub(crate) fn forget_after(&mut self, step: u32) {
        self.due = None;
        while let Some(snapshot) = self.taken.pop_if(|snapshot| snapshot.step > step) {
            self.spare.push(snapshot);
        }
    }
}

impl Engine {
    /// Whether a snapshot is to be taken before the next event.
    #[inline]
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.snapshots.due == Some(self.step)
    }

    /// Whether all there is can be put back: each thread may be forgotten, and none has anything in the engine that is part of the
    /// program.
    fn is_snapshot_possible(&self) -> bool {
        self.recorded.is_none()
            && self.slots[..self.threads]
                .iter()
                .all(|slot| slot.forgettable && slot.token.is_none() && slot.label.is_none())
    }
}

/// Takes a snapshot of the execution, whose threads are all suspended; without a world, takes none ever.
pub(crate) fn take(world: Option<&dyn World>) {
    let snapshot = rt::with(|engine| {
        engine.snapshots.due = None;
        if !engine.is_snapshot_possible() {
            return None;
        }
        let mut snapshot = engine.snapshots.spare.pop().unwrap_or_default();
        engine.snapshots.enabled = world.is_some() && snapshot.save(engine);
        engine.snapshots.enabled.then_some(snapshot)
    });
    let (Some(mut snapshot), Some(world)) = (snapshot.flatten(), world) else {
        return;
    };
    snapshot.world.clear();
    rt::outside(|| world.save(&mut snapshot.world));
    rt::with(|engine| engine.snapshots.taken.push(snapshot));
}

/// Begins an execution with the last snapshot. `false` if there is none.
///
/// # Safety
///
/// No thread of the program exists, and the snapshot was taken of this program and `world`.
pub(crate) unsafe fn begin(world: &dyn World) -> bool {
    let Some(snapshot) = rt::with(|engine| engine.snapshots.taken.pop()).flatten() else {
        return false;
    };
    // SAFETY: the snapshot's bytes were written by this world, and the caller says that no thread exists.
    rt::outside(|| unsafe { world.restore(&snapshot.world) });
    rt::with(|engine| {
        // SAFETY: no coroutine exists, by the contract of this function.
        unsafe { snapshot.restore(engine) };
        engine.snapshots.taken.push(snapshot);
    });
    true
}

impl Snapshot {
    /// Saves what the engine has. `false` if it is not known where a thread was left.
    fn save(&mut self, engine: &Engine) -> bool {
        self.step = engine.step;
        self.current = engine.current;
        self.live = engine.live;
        self.suspended = engine.suspended;
        self.threads = engine.threads;
        self.slots.resize_with(engine.threads, Slot::new);
        for (saved, slot) in self.slots.iter_mut().zip(&engine.slots) {
            saved.clone_from(slot);
        }
        self.objects = engine.objects.mark();
        self.sections.clone_from(&engine.sections);
        self.order.go_back_to(&engine.order);
        self.preemptions = engine.preemptions;
        self.fibers.clear();
        self.stacks.clear();
        members(engine.suspended).all(|thread| self.save_fiber(engine, thread))
    }

    fn save_fiber(&mut self, engine: &Engine, thread: usize) -> bool {
        let cell = engine.fibers[thread].get();
        // SAFETY: the thread is suspended, so nobody has taken its cell, and we are not on its stack.
        let Some(fiber) = (unsafe { &*cell }) else {
            return false;
        };
        // SAFETY: a place of that size that is not looked at as a coroutine before it is put back.
        let copy = unsafe {
            std::ptr::from_ref(fiber)
                .cast::<MaybeUninit<Fiber>>()
                .read()
        };
        let bounds = engine.stacks.bounds(thread);
        let Some(left) = left_at(&copy, &bounds) else {
            return false;
        };
        let used = bounds.end - left;
        // SAFETY: the bytes between where a suspended coroutine was left and the base of its stack are mapped and belong to nobody
        // that runs. Some of them may never have been written; they are copied as bytes of memory that was zeroed when it
        // was mapped.
        let bytes = unsafe {
            std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(left), used)
        };
        self.stacks.extend_from_slice(bytes);
        self.fibers.push((copy, used));
        true
    }

    /// Puts everything back in the engine.
    ///
    /// # Safety
    ///
    /// No coroutine exists.
    unsafe fn restore(&self, engine: &mut Engine) {
        engine.step = self.step;
        engine.current = self.current;
        engine.live = self.live;
        engine.suspended = self.suspended;
        engine.threads = self.threads;
        for (slot, saved) in engine.slots.iter_mut().zip(&self.slots) {
            slot.clone_from(saved);
        }
        engine.objects.reset_to(self.objects);
        engine.sections.clone_from(&self.sections);
        engine.order.go_back_to(&self.order);
        engine.preemptions.go_back_to(self.preemptions);
        let mut bytes = &self.stacks[..];
        for (thread, (fiber, used)) in members(self.suspended).zip(&self.fibers) {
            let (own, rest) = bytes.split_at(*used);
            bytes = rest;
            let base = engine.stacks.bounds(thread).end;
            let left = std::ptr::with_exposed_provenance_mut::<u8>(base - used);
            // SAFETY: the bytes below the base are those of the stack of this thread, which no coroutine uses.
            unsafe { left.copy_from_nonoverlapping(own.as_ptr(), *used) };
            // SAFETY: the cells live as long as the engine, and no coroutine is in this one. What is put there was a
            // coroutine that was left where its stack says again; the stack is the one it had lent. The one that it was copied of is gone
            // without having dropped anything: its thread was forgettable.
            unsafe {
                engine.fibers[thread]
                    .get()
                    .write(Some(fiber.assume_init_read()))
            };
        }
    }
}

/// Where on its stack a suspended coroutine was left, its lowest byte in use.
///
/// The coroutine knows and does not tell. But what it holds are a few words, of which two are addresses on its stack: that one, and
/// the one where it began, which is not below. `None` if that is not so.
fn left_at(fiber: &MaybeUninit<Fiber>, stack: &Range<usize>) -> Option<usize> {
    const WORDS: usize = size_of::<Fiber>() / size_of::<usize>();
    const { assert!(WORDS * size_of::<usize>() == size_of::<Fiber>()) };
    let words = std::ptr::from_ref(fiber).cast::<[MaybeUninit<usize>; WORDS]>();
    // SAFETY: a coroutine has the size and at least the alignment of so many words.
    let words = unsafe { words.read() };
    // SAFETY: a coroutine consists of pointers and numbers of the size of a word, and of things without a size.
    let words = words.map(|word| unsafe { word.assume_init() });
    let mut left = None;
    let mut found = 0;
    for word in words.into_iter().filter(|word| stack.contains(word)) {
        left = Some(left.map_or(word, |other: usize| other.min(word)));
        found += 1;
    }
    left.filter(|_| found == 2)
}
