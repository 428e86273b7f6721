//! The memory of a modelled world.
//!
//! A search abandons executions by the hundred thousand, in the middle of whatever they were doing. So the whole world (frames,
//! CPUs, the engine's objects, the oracles' books) lives in one block that is restored by one copy: nothing is
//! unwound, nothing leaks, nothing is allocated.
//!
//! What an object is made of is not known to everybody at once under release and acquire: who follows a reference to it without
//! having been told of it (by a dependency on what was published, or by a lock) would see the memory as it was before, and is
//! caught.
//!
//! Objects are never reused within an execution. Freeing one marks it dead, as an event that conflicts with
//! every use of the locks and words in it; whoever follows a reference to a dead object is caught, and so is who frees one without
//! knowing of every use, under release and acquire.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use pagefold::platform::Handle;
use pagefold_explore as explore;
use pagefold_explore::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::violation::{self, Kind};

/// Bytes of a world. A world that needs more is a scenario beyond the limits, which are checked before.
const SIZE: usize = 256 * 1024;
const ALIGN: usize = 64;

/// A block of memory from which objects are carved.
#[derive(Debug)]
pub(crate) struct Arena {
    block: NonNull<u8>,
    used: Cell<usize>,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let layout = Self::layout();
        // SAFETY: the layout has a size above zero.
        let block = unsafe { alloc_zeroed(layout) };
        let Some(block) = NonNull::new(block) else {
            handle_alloc_error(layout)
        };
        Self {
            block,
            used: Cell::new(0),
        }
    }

    fn layout() -> Layout {
        Layout::from_size_align(SIZE, ALIGN).expect("the size is a multiple of the alignment")
    }

    /// Puts an object into the block. Its destructor never runs.
    pub(crate) fn place<T>(&self, value: T) -> Option<NonNull<T>> {
        let start = self.used.get().next_multiple_of(align_of::<T>());
        let end = start.checked_add(size_of::<T>())?;
        if end > SIZE || align_of::<T>() > ALIGN {
            return None;
        }
        self.used.set(end);
        // SAFETY: `start..end` lies in the block, is aligned for T, and belongs to nobody yet.
        let place = unsafe { self.block.add(start) }.cast::<T>();
        // SAFETY: as above.
        unsafe { place.write(value) };
        Some(place)
    }

    /// All objects in the block.
    ///
    /// # Safety
    /// Only objects of type `T`, whose alignment is at most that of the block, were put into it. It is not restored to fewer while
    /// this is in use.
    pub(crate) unsafe fn all<T>(&self) -> &[T] {
        let len = self.used.get() / size_of::<T>();
        // SAFETY: by the contract of this function, the first bytes are so many objects, one right behind the other.
        unsafe { std::slice::from_raw_parts(self.block.cast().as_ptr(), len) }
    }

    /// Puts so many objects of a type into the block, one right behind the other.
    pub(crate) fn place_slice<T>(&self, make: impl Fn() -> T, len: usize) -> Option<NonNull<[T]>> {
        let mut first = None;
        for _ in 0..len {
            let place = self.place(make())?;
            first.get_or_insert(place);
        }
        Some(NonNull::slice_from_raw_parts(
            first.unwrap_or(NonNull::dangling()),
            len,
        ))
    }

    /// Appends a copy of what was placed so far.
    pub(crate) fn save(&self, saved: &mut Vec<u8>) {
        // SAFETY: the first `used` bytes of the block are initialised: the block was zeroed, and nobody writes while
        // this OS thread is here.
        let bytes = unsafe { std::slice::from_raw_parts(self.block.as_ptr(), self.used.get()) };
        saved.extend_from_slice(bytes);
    }

    /// Makes the block what it was when it was saved.
    ///
    /// # Safety
    /// `saved` was saved from this block, and no reference into the block is in use.
    pub(crate) unsafe fn restore(&self, saved: &[u8]) {
        // SAFETY: the copy is not longer than the block it was taken from; the caller says that nobody looks.
        unsafe {
            self.block
                .copy_from_nonoverlapping(NonNull::from(saved).cast(), saved.len());
        }
        self.used.set(saved.len());
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the block came from `alloc_zeroed` with this layout.
        unsafe { dealloc(self.block.as_ptr(), Self::layout()) };
    }
}

/// An object with the mark of whether it lives.
#[repr(C)]
struct Slot<T> {
    alive: Cell<bool>,
    /// Whether it was made while others could look.
    fresh: Cell<bool>,
    /// Stands for all that the object is made of: written once, by who made it.
    made: AtomicU64,
    value: T,
}

/// A reference to an object of the engine.
pub struct ModelPtr<T>(NonNull<Slot<T>>);

// SAFETY: a reference is used only by the checked threads of one exploration, which all run on one OS thread.
unsafe impl<T> Send for ModelPtr<T> {}

impl<T> ModelPtr<T> {
    pub(crate) fn new(arena: &Arena, value: T) -> Self {
        let slot = Slot {
            alive: Cell::new(true),
            fresh: Cell::new(false),
            made: AtomicU64::new(0),
            value,
        };
        match arena.place(slot) {
            Some(slot) => Self(slot),
            None => explore::run_out("objects of the engine"),
        }
    }

    /// Has the making of the object count as a write by the current thread, which others may not know of.
    pub(crate) fn note_making(self) {
        let slot = self.slot();
        explore::label(|| format!("make a {}", short_name::<T>()));
        slot.made.store(1, Relaxed);
        slot.fresh.set(true);
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The reference that [`to_bits`](Self::to_bits) made these of; `None` for 0.
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        let address = usize::try_from(bits).expect("bits are an address");
        NonNull::new(std::ptr::with_exposed_provenance_mut(address)).map(Self)
    }

    fn slot(&self) -> &Slot<T> {
        // SAFETY: the slot was placed in the arena of this world, which outlives every execution in which a reference to
        // it is found; dead objects stay in place.
        unsafe { self.0.as_ref() }
    }

    /// Ends the life of the object.
    pub(crate) fn kill(self) {
        let slot = self.slot();
        if !slot.alive.get() {
            violation::fail(
                Kind::UseAfterFree,
                format!("a {} is freed twice", short_name::<T>()),
            );
        }
        let (start, len) = (self.0.as_ptr().cast(), size_of::<Slot<T>>());
        explore::write_range(start, len);
        if let Some(unknown) = explore::unknown_use(start, len) {
            violation::fail(
                Kind::UseAfterFree,
                format!(
                    "a {} is freed, and nothing orders that after the last use: {unknown}",
                    short_name::<T>()
                ),
            );
        }
        slot.alive.set(false);
    }
}

fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    let base = name.split('<').next().unwrap_or(name);
    base.rsplit("::").next().unwrap_or(base)
}

impl<T> Deref for ModelPtr<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        let slot = self.slot();
        if !slot.alive.get() {
            violation::fail(
                Kind::UseAfterFree,
                format!("a {} is used after it was freed", short_name::<T>()),
            );
        }
        if slot.fresh.get() && !slot.made.is_known_quiet() {
            violation::fail(
                Kind::UseAfterFree,
                format!(
                    "a {} is used by who may see what its memory held before",
                    short_name::<T>()
                ),
            );
        }
        &slot.value
    }
}

impl<T> Clone for ModelPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ModelPtr<T> {}

impl<T> PartialEq for ModelPtr<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for ModelPtr<T> {}

impl<T> fmt::Debug for ModelPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:p}", short_name::<T>(), self.0)
    }
}

impl<T: 'static> Handle<T> for ModelPtr<T> {}
