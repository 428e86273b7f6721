//! Where the values of objects live to which stores were buffered.
//!
//! A buffered store reaches memory when its thread is somewhere else, and may have given up the
//! object: it may have been dropped or moved in the meantime, as plain Rust allows without telling
//! anybody. So nothing is ever written through a pointer that was kept. Instead, when a store is
//! buffered, which happens while the object is borrowed, the object is marked with the *epoch*, the
//! number of the execution; from then on to the end of the execution its value is the word in a
//! table, under its number. Reaching memory writes to the table, and whoever has the object in
//! hand and finds the mark looks there.
//!
//! The table is that of the OS thread and not part of the engine, so that objects can be looked at
//! after the execution, by an observer. It is emptied when the next execution starts. A mark of an
//! earlier epoch means nothing: the object (a `static`, or restored by copying memory) has its
//! value in itself. An epoch would be mistaken for another one if an object kept its mark for
//! exactly 2^32 executions.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The epoch that never is: that of objects without a mark.
pub(crate) const NEVER: u32 = 0;

/// Epochs differ between OS threads.
static NEXT: AtomicU32 = AtomicU32::new(1);

struct Shadow {
    epoch: u32,
    words: Vec<u64>,
}

thread_local! {
    static SHADOW: RefCell<Shadow> = const {
        RefCell::new(Shadow {
            epoch: NEVER,
            words: Vec::new(),
        })
    };
}

/// Begins an epoch.
pub(crate) fn begin() {
    let mut epoch = NEXT.fetch_add(1, Relaxed);
    if epoch == NEVER {
        epoch = NEXT.fetch_add(1, Relaxed);
    }
    SHADOW.with_borrow_mut(|shadow| {
        shadow.epoch = epoch;
        shadow.words.clear();
    });
}

/// The epoch of this OS thread.
pub(crate) fn epoch() -> u32 {
    SHADOW.with_borrow(|shadow| shadow.epoch)
}

/// The value of object number `id`, 0 if it has none here.
pub(crate) fn get(id: u32) -> u64 {
    SHADOW.with_borrow(|shadow| shadow.words.get(id as usize).copied().unwrap_or(0))
}

/// Sets the value of object number `id`.
pub(crate) fn set(id: u32, word: u64) {
    SHADOW.with_borrow_mut(|shadow| {
        let at = id as usize;
        if at >= shadow.words.len() {
            shadow.words.resize(at + 1, 0);
        }
        shadow.words[at] = word;
    });
}
