//! The platform's words, counters and locks, each an event of the explorer.

use pagefold::handle::Ref;
use pagefold::lock_order::LockClass;
use pagefold::platform::{Counter, Link, RawLock, RawRwSem, RefCount, Word};
use pagefold_explore as explore;
use pagefold_explore::sync::atomic::AtomicU64;
use pagefold_explore::sync::atomic::Ordering::{self, Acquire, Relaxed};

use super::arena::ModelPtr;
use super::site::{self, Asked};
use super::{Model, world};

const READ: &str = "read under lock";
const WRITTEN: &str = "write under lock";
/// What a trace calls accesses to words that a lock protects.
pub const UNDER_LOCK: [&str; 2] = [READ, WRITTEN];

/// A word of memory. If it lies in a frame, each use checks that the frame is in use.
#[derive(Debug)]
#[repr(transparent)]
pub struct ModelWord(AtomicU64);

impl ModelWord {
    /// Called after each use of the word: the use came too late if the frame is free by now.
    #[inline]
    fn check(&self) {
        world::check_content_at(std::ptr::from_ref(self).cast());
    }

    fn load(&self, order: Ordering) -> u64 {
        let value = self.0.load(order);
        self.check();
        value
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
        self.check();
        world::note_write_at(std::ptr::from_ref(self).cast(), value);
    }
}

impl Word for ModelWord {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    fn read_once(&self) -> u64 {
        self.load(Relaxed)
    }
    #[track_caller]
    fn read_dependent(&self) -> u64 {
        self.load(site::order(Asked::Dependency))
    }
    #[track_caller]
    fn load_acquire(&self) -> u64 {
        self.load(site::order(Asked::Acquire))
    }
    fn write_once(&self, value: u64) {
        self.store(value, Relaxed);
    }
    #[track_caller]
    fn store_release(&self, value: u64) {
        self.store(value, site::order(Asked::Release));
    }
    fn xchg_relaxed(&self, value: u64) -> u64 {
        let old = self.0.swap(value, Relaxed);
        self.check();
        world::note_write_at(std::ptr::from_ref(self).cast(), value);
        old
    }
    // The caller says that a lock protects the word. That is to be checked, not believed: an access that is protected costs
    // an event, but no execution.
    fn load_protected(&self) -> u64 {
        explore::label(|| READ.into());
        self.load(Relaxed)
    }
    fn store_protected(&self, value: u64) {
        explore::label(|| WRITTEN.into());
        self.store(value, Relaxed);
    }
    fn wait_while(&self, value: u64) {
        self.0.wait_until(|now| now != value);
    }
}

impl ModelWord {
    /// Reads an entry as hardware that walks page tables does: what it names is read afterwards.
    pub(crate) fn read_by_walk(&self) -> u64 {
        self.load(Acquire)
    }

    /// Notes in an entry that was read what hardware does with it, as one step: not if the entry has changed meanwhile. Whether
    /// it did.
    pub(crate) fn mark_by_walk(&self, seen: u64, marked: u64) -> bool {
        let done = self
            .0
            .compare_exchange(seen, marked, Acquire, Acquire)
            .is_ok();
        self.check();
        done
    }

    /// The word, for oracles.
    pub(crate) fn peek(&self) -> u64 {
        self.check();
        self.0.load_quiet()
    }

    /// Sets the word of a frame that nobody else can look at now.
    pub(crate) fn poke(&self, value: u64) {
        self.0.store_quiet(value);
    }
}

/// A counter, whose additions commute.
#[derive(Debug)]
pub struct ModelCounter(explore::sync::Counter);

impl Counter for ModelCounter {
    fn new(value: i64) -> Self {
        Self(explore::sync::Counter::new(value))
    }
    fn add(&self, delta: i64) {
        self.0.add(delta);
    }
    fn get(&self) -> i64 {
        self.0.get()
    }
}

impl ModelCounter {
    /// The value, for oracles.
    pub(crate) fn peek(&self) -> i64 {
        self.0.get_quiet()
    }
}

/// A reference count.
#[derive(Debug)]
pub struct ModelRefCount(explore::sync::RefCount);

impl RefCount for ModelRefCount {
    fn new(value: u64) -> Self {
        Self(explore::sync::RefCount::new(value))
    }
    fn get(&self, n: u64) {
        self.0.get(n);
    }
    #[track_caller]
    fn get_release(&self, n: u64) {
        self.0.get_ordered(n, site::order(Asked::Release));
    }
    fn try_get(&self) -> bool {
        self.0.try_get()
    }
    #[track_caller]
    fn try_get_acquire(&self) -> bool {
        self.0.try_get_ordered(site::order(Asked::Acquire))
    }
    #[track_caller]
    fn put(&self, n: u64) -> bool {
        let order = match (site::order(Asked::Release), site::order(Asked::Acquire)) {
            (Ordering::Release, Acquire) => Ordering::AcqRel,
            (Ordering::Release, _) => Ordering::Release,
            (_, order) => order,
        };
        self.0.put_ordered(n, order)
    }
    fn put_relaxed(&self, n: u64) {
        self.0.put_ordered(n, Relaxed);
    }
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
    fn read(&self) -> u64 {
        self.0.read()
    }
    #[track_caller]
    fn read_acquire(&self) -> u64 {
        self.0.read_ordered(site::order(Asked::Acquire))
    }
    fn freeze(&self, expected: u64) -> bool {
        self.0.freeze(expected)
    }
    #[track_caller]
    fn unfreeze(&self, value: u64) {
        self.0.set_ordered(value, site::order(Asked::Release));
    }
    #[track_caller]
    fn init(&self, value: u64) {
        if world::is_used_again(std::ptr::from_ref(self).cast()) {
            self.0.set_ordered(value, site::order(Asked::Release));
        } else {
            // Nobody has found the frame before.
            self.0.set_quiet(value);
        }
    }
}

impl ModelRefCount {
    /// The count, for oracles.
    pub(crate) fn peek(&self) -> u64 {
        self.0.get_quiet()
    }
}

/// The explorer's description of each of the engine's lock classes.
static CLASSES: [explore::LockClass; LockClass::ALL.len()] = {
    let mut classes = [const { explore::LockClass::spin("") }; LockClass::ALL.len()];
    let mut i = 0;
    while i < classes.len() {
        let class = LockClass::ALL[i];
        let described = if class.sleeps() {
            explore::LockClass::sleep(class.name())
        } else {
            explore::LockClass::spin(class.name())
        };
        classes[i] = described.ranked(class.rank());
        i += 1;
    }
    classes
};

fn class_of(class: LockClass) -> &'static explore::LockClass {
    &CLASSES[class.rank() as usize]
}

/// A lock. The lock of a page table is checked as a word of a frame is.
#[derive(Debug)]
pub struct ModelLock {
    raw: explore::sync::RawLock,
    guards_table: bool,
}

impl ModelLock {
    fn check(&self) {
        if self.guards_table {
            world::check_frame_of(std::ptr::from_ref(self).cast());
        }
    }
}

impl RawLock for ModelLock {
    fn new(class: LockClass) -> Self {
        Self {
            raw: explore::sync::RawLock::new(class_of(class)),
            guards_table: matches!(class, LockClass::Ptl | LockClass::Pml),
        }
    }
    fn lock(&self) {
        self.raw.lock();
        self.check();
    }
    fn lock_nested(&self) {
        self.raw.lock_nested();
        self.check();
    }
    fn try_lock(&self) -> bool {
        let locked = self.raw.try_lock();
        self.check();
        locked
    }
    fn unlock(&self) {
        self.check();
        self.raw.unlock();
    }
}

/// A reader-writer semaphore.
#[derive(Debug)]
pub struct ModelRwSem(explore::sync::RawRwSem);

impl RawRwSem for ModelRwSem {
    fn new(class: LockClass) -> Self {
        Self(explore::sync::RawRwSem::new(class_of(class)))
    }
    fn read(&self) {
        self.0.read();
    }
    fn try_read(&self) -> bool {
        self.0.try_read()
    }
    fn read_unlock(&self) {
        self.0.read_unlock();
    }
    fn write(&self) {
        self.0.write();
    }
    fn write_nested(&self) {
        self.0.write_out_of_order();
    }
    fn try_write(&self) -> bool {
        self.0.try_write()
    }
    fn write_unlock(&self) {
        self.0.write_unlock();
    }
    fn downgrade(&self) {
        self.0.downgrade();
    }
}

/// A place for a reference.
#[derive(Debug)]
pub struct ModelLink(AtomicU64);

fn bits<T>(target: Option<Ref<Model, T>>) -> u64 {
    target.map_or(0, |target| target.raw().to_bits())
}

fn target<T>(bits: u64) -> Option<Ref<Model, T>> {
    ModelPtr::from_bits(bits).map(Ref::from_raw)
}

impl<T: 'static> Link<Model, T> for ModelLink {
    fn new(to: Option<Ref<Model, T>>) -> Self {
        Self(AtomicU64::new(bits(to)))
    }
    #[track_caller]
    fn dereference(&self) -> Option<Ref<Model, T>> {
        target(self.0.load(site::order(Asked::Dependency)))
    }
    fn is_set(&self) -> bool {
        self.0.load(Relaxed) != 0
    }
    #[track_caller]
    fn assign(&self, to: Option<Ref<Model, T>>) {
        self.0.store(bits(to), site::order(Asked::Release));
    }
    fn load_protected(&self) -> Option<Ref<Model, T>> {
        explore::label(|| READ.into());
        target(self.0.load(Relaxed))
    }
    fn store_protected(&self, to: Option<Ref<Model, T>>) {
        explore::label(|| WRITTEN.into());
        self.0.store(bits(to), Relaxed);
    }
}
