//! RCU by the epochs of `crossbeam-epoch`.
//!
//! The engine opens and closes read sections by calls that nest; here a thread counts them and is pinned from the
//! first to the last.
//!
//! Callbacks run on whatever thread opens a read section or calls [`call`] at the right time. So they must take no lock that
//! a thread can have then; the engine's callbacks only free memory.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;

use crossbeam_epoch::{Collector, Guard, LocalHandle};

static COLLECTOR: LazyLock<Collector> = LazyLock::new(Collector::new);
static QUEUED: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);

/// A thread's part. The guard comes before the handle, so that it is dropped first.
struct Reader {
    nest: Cell<usize>,
    guard: Cell<Option<Guard>>,
    handle: LocalHandle,
}

thread_local! {
    static READER: Reader = Reader {
        nest: Cell::new(0),
        guard: Cell::new(None),
        handle: COLLECTOR.register(),
    };
}

/// Opens a read section.
#[inline]
pub(super) fn read_lock() {
    READER.with(|reader| {
        if reader.nest.get() == 0 {
            // Pinning may run callbacks, so nothing is noted before it.
            let guard = reader.handle.pin();
            reader.guard.set(Some(guard));
        }
        reader.nest.set(reader.nest.get() + 1);
    });
}

/// Closes a read section.
#[inline]
pub(super) fn read_unlock() {
    READER.with(|reader| {
        let nest = reader.nest.get() - 1;
        reader.nest.set(nest);
        if nest == 0 {
            drop(reader.guard.take());
        }
    });
}

/// Runs `callback` once all read sections that are open now are closed.
///
/// It is handed over to all threads at once: a thread that goes to sleep leaves nothing behind that only it could run.
pub(super) fn call(callback: impl FnOnce() + Send + 'static) {
    QUEUED.fetch_add(1, Relaxed);
    READER.with(|reader| {
        let guard = reader.handle.pin();
        guard.defer(move || {
            callback();
            DONE.fetch_add(1, Release);
        });
        guard.flush();
    });
}

/// Runs callbacks that are due, if there are any, and lets time go on for the others unless this is a read section.
pub(super) fn collect() {
    READER.with(|reader| reader.handle.pin().flush());
}

/// Waits until no callback is left that was queued. Not in a read section.
pub(super) fn barrier() {
    assert!(
        READER.with(|reader| reader.nest.get()) == 0,
        "a read section waits for its own end"
    );
    loop {
        // In this order: if the two are equal, all that were queued when `DONE` was read had run.
        let done = DONE.load(Acquire);
        if done == QUEUED.load(Relaxed) {
            return;
        }
        collect();
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_callback_waits_for_sections_that_nest() {
        let ran = Arc::new(AtomicBool::new(false));
        let (opened, is_open) = mpsc::channel();
        let (close, may_close) = mpsc::channel::<()>();
        let reader = thread::spawn({
            let ran = Arc::clone(&ran);
            move || {
                read_lock();
                read_lock();
                read_unlock();
                opened.send(()).unwrap();
                may_close.recv().unwrap();
                let early = ran.load(Acquire);
                read_unlock();
                early
            }
        });
        is_open.recv().unwrap();
        call({
            let ran = Arc::clone(&ran);
            move || ran.store(true, Release)
        });
        for _ in 0..1000 {
            collect();
        }
        close.send(()).unwrap();
        assert!(
            !reader.join().unwrap(),
            "the callback ran in a read section"
        );
        barrier();
        assert!(ran.load(Acquire));
    }
}
