//! Shared objects: the header inside each primitive, and the table of those seen in this execution.
//!
//! The *value* of an object (the number in an atomic, the holders of a lock) lives in the
//! primitive, so that a program which restores its world by copying memory restores it, too. What
//! the search knows about the object (its history of accesses) lives in the table, under a number
//! which the primitive remembers. Numbers are given out at the first use in an execution. As
//! executions which share a prefix do the same things in it, they give out the same numbers in it.

use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::memory::shadow;
use crate::class::LockClass;

/// The header of each primitive.
///
/// Atomics of the standard library make primitives `Sync` without a promise of ours; as only one
/// OS thread runs an exploration, relaxed accesses, which cost what plain ones do, are enough.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Object {
    word: AtomicU64,
    id: AtomicU32,
    /// The epoch in which a store was buffered: the value is in the [`shadow`] then.
    epoch: AtomicU32,
}

impl Object {
    pub(crate) const fn new(word: u64) -> Self {
        Self {
            word: AtomicU64::new(word),
            id: AtomicU32::new(0),
            epoch: AtomicU32::new(shadow::NEVER),
        }
    }

    /// The value in memory.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        if self.epoch.load(Relaxed) != shadow::NEVER && self.is_shadowed() {
            return shadow::get(self.id());
        }
        self.word.load(Relaxed)
    }

    /// The value as the current thread sees it: its own stores first.
    #[inline]
    pub(crate) fn view(&self) -> u64 {
        if self.epoch.load(Relaxed) != shadow::NEVER
            && self.is_shadowed()
            && let Some(Some(word)) =
                super::rt::with(|engine| engine.forwarded(engine.current, self.id()))
        {
            return word;
        }
        self.get()
    }

    /// The number that the object was given last.
    #[inline]
    pub(crate) fn id(&self) -> u32 {
        self.id.load(Relaxed)
    }

    /// Whether the value is in the shadow.
    #[cold]
    pub(crate) fn is_shadowed(&self) -> bool {
        let epoch = self.epoch.load(Relaxed);
        epoch != shadow::NEVER && epoch == shadow::epoch()
    }

    /// Has the value in the shadow, to the end of the execution.
    pub(crate) fn use_shadow(&self) {
        if !self.is_shadowed() {
            shadow::set(self.id(), self.word.load(Relaxed));
            self.epoch.store(shadow::epoch(), Relaxed);
        }
    }

    /// Has `word` as the value, in the object itself.
    pub(crate) fn leave_shadow(&self, word: u64) {
        self.epoch.store(shadow::NEVER, Relaxed);
        self.word.store(word, Relaxed);
    }

    /// Sets the word, of which the cache is not told: see [`Turn::set`](super::rt::Turn::set) and
    /// [`set_quiet`](super::rt::set_quiet).
    #[inline]
    pub(crate) fn set(&self, word: u64) {
        self.word.store(word, Relaxed);
        if self.epoch.load(Relaxed) != shadow::NEVER && self.is_shadowed() {
            shadow::set(self.id(), word);
        }
    }

    #[inline]
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

/// What sort of object a header belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// An atomic number.
    Atomic,
    /// A counter whose additions commute.
    Counter,
    /// A lock, exclusive or shared.
    Lock(&'static LockClass),
    /// The interrupt state of a CPU, a lock of its own sort.
    Cpu(u32),
    /// Plain memory.
    Cell,
    /// Where threads wait for each other.
    Meeting(&'static Sort),
}

/// What messages say of an object at which threads wait for each other.
#[derive(Debug)]
pub(crate) struct Sort {
    /// Its name.
    pub(crate) name: &'static str,
    /// What a thread does that waits there, by the argument of the operation.
    pub(crate) waits: &'static [&'static str],
}

impl Shape {
    /// The name of object number `id` in traces and messages.
    pub(crate) fn name(self, id: u32) -> String {
        match self {
            Self::Atomic => format!("a{id}"),
            Self::Counter => format!("c{id}"),
            Self::Cell => format!("cell#{id}"),
            Self::Lock(class) => format!("{}#{id}", class.name),
            Self::Cpu(cpu) => format!("interrupts of cpu{cpu}"),
            Self::Meeting(meeting) => format!("{}#{id}", meeting.name),
        }
    }
}

/// What the table knows of an object.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The last event on it, as index + 1: the head of its chain in the log.
    pub(crate) last: u32,
    /// A `write_range` which covered the place of the object before its first use, as index + 1.
    pub(crate) origin: u32,
    /// Where it is.
    pub(crate) address: usize,
    /// What it is.
    pub(crate) shape: Shape,
}

/// The objects of the current execution. Number 0 stands for "no object".
#[derive(Debug)]
pub(crate) struct Objects {
    entries: Vec<Entry>,
    /// The next number to give out.
    next: u32,
    /// The lowest number that a cell has had in any execution.
    first_cell: u32,
}

impl Objects {
    pub(crate) fn new() -> Self {
        let nothing = Entry {
            last: 0,
            origin: 0,
            address: 0,
            shape: Shape::Atomic,
        };
        Self {
            entries: vec![nothing],
            next: 1,
            first_cell: u32::MAX,
        }
    }

    /// The number of `object`, if it has one in this execution.
    ///
    /// A number left over from another execution or another place is told by the address, so a
    /// `static` and an object that was moved are registered afresh. Losing the history at a move is
    /// right: whoever moves an object has it to himself.
    #[inline]
    pub(crate) fn lookup(&self, object: &Object) -> Option<u32> {
        let id = object.id.load(Relaxed);
        (id < self.next && self.entries[id as usize].address == object.address()).then_some(id)
    }

    /// Gives `object` a number.
    #[cold]
    pub(crate) fn register(&mut self, object: &Object, shape: Shape, origin: u32) -> u32 {
        let id = self.next;
        self.next += 1;
        object.id.store(id, Relaxed);
        if matches!(shape, Shape::Cell) {
            self.first_cell = self.first_cell.min(id);
        }
        let address = object.address();
        if let Some(entry) = self.entries.get_mut(id as usize) {
            // The same object in an earlier execution. Its chain is that of the prefix which both
            // share.
            entry.address = address;
            entry.shape = shape;
            entry.origin = origin;
        } else {
            self.entries.push(Entry {
                last: 0,
                origin,
                address,
                shape,
            });
        }
        id
    }

    #[inline]
    pub(crate) fn entry(&self, id: u32) -> &Entry {
        &self.entries[id as usize]
    }

    #[inline]
    pub(crate) fn entry_mut(&mut self, id: u32) -> &mut Entry {
        &mut self.entries[id as usize]
    }

    /// Whether there may be cells among the objects of this execution.
    pub(crate) fn may_have_cells(&self) -> bool {
        self.first_cell < self.next
    }

    /// The numbers given out so far.
    pub(crate) fn mark(&self) -> u32 {
        self.next
    }

    /// Goes back to the numbers given out at `mark`; `false` if these were never given out.
    pub(crate) fn reset_to(&mut self, mark: u32) -> bool {
        let known = mark >= 1 && mark as usize <= self.entries.len();
        if known {
            self.next = mark;
        }
        known
    }

    /// Forgets all numbers, at the start of an execution.
    pub(crate) fn restart(&mut self) {
        self.next = 1;
    }

    /// The objects within a range of addresses.
    pub(crate) fn within(&self, start: usize, len: usize) -> impl Iterator<Item = u32> + '_ {
        (1..self.next).filter(move |&id| in_range(self.entry(id).address, start, len))
    }
}

/// Whether `address` lies in the `len` bytes from `start`.
#[inline]
pub(crate) fn in_range(address: usize, start: usize, len: usize) -> bool {
    address.wrapping_sub(start) < len
}
