//! What the programs share, and what they do to it.

use pagefold_explore::quiet;
use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, Counter, LockClass, Mutex, RawLock, RawRwSem, RefCount, RwLock};

use crate::table::Program;

/// The shared state of all programs here.
pub(crate) struct Memory {
    pub(crate) x: Vec<AtomicU32>,
    pub(crate) counter: Counter,
    pub(crate) references: RefCount,
    pub(crate) locks: Vec<RawLock>,
    pub(crate) sem: RawRwSem,
    pub(crate) mutex: Mutex<u32>,
    pub(crate) rwlock: RwLock<u32>,
}

/// More than there are threads that take one: giving one back is never the last.
const REFERENCES: u64 = 8;

/// All of one rank: the programs nest them as they like.
static LOCK: LockClass = LockClass::sleep("lock").ranked(1);
static SEM: LockClass = LockClass::sleep("sem");

impl Memory {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            x: program.words.iter().copied().map(AtomicU32::new).collect(),
            counter: Counter::new(0),
            references: RefCount::new(REFERENCES),
            locks: (0..program.locks).map(|_| RawLock::new(&LOCK)).collect(),
            sem: RawRwSem::new(&SEM),
            mutex: Mutex::new(0),
            rwlock: RwLock::new(0),
        }
    }

    /// Uses all objects, so that they have their names before the threads race.
    pub(crate) fn touch(&self) {
        quiet(|| {
            for word in &self.x {
                word.load(SeqCst);
            }
            let _ = (self.counter.get(), self.references.read());
            for lock in &self.locks {
                lock.lock_nested();
                lock.unlock();
            }
            self.sem.read();
            self.sem.read_unlock();
            drop(self.mutex.lock().unwrap());
            drop(self.rwlock.read().unwrap());
        });
    }

    pub(crate) fn read(&self, i: usize) -> u32 {
        self.x[i].load(SeqCst)
    }

    pub(crate) fn write(&self, i: usize, value: u32) {
        self.x[i].store(value, SeqCst);
    }

    pub(crate) fn add(&self, i: usize, value: u32) -> u32 {
        self.x[i].fetch_add(value, SeqCst)
    }

    pub(crate) fn cas(&self, i: usize, from: u32, to: u32) -> bool {
        self.x[i].compare_exchange(from, to, SeqCst, SeqCst).is_ok()
    }

    pub(crate) fn wait(&self, i: usize, predicate: impl Fn(u32) -> bool) -> u32 {
        self.x[i].wait_until(predicate)
    }

    /// The execution does not count: it ends in a deadlock.
    pub(crate) fn give_up(&self, i: usize) {
        self.x[i].wait_until(|_| false);
    }

    pub(crate) fn lock(&self, i: usize) {
        self.locks[i].lock_nested();
    }

    pub(crate) fn unlock(&self, i: usize) {
        self.locks[i].unlock();
    }

    /// The values of everything.
    pub(crate) fn finals(&self) -> Vec<u64> {
        let words = self.x.iter().map(|word| word.load_quiet().into());
        let counts = [
            self.counter.get_quiet().cast_unsigned(),
            self.references.get_quiet(),
        ];
        words.chain(counts).collect()
    }
}

pub(crate) type Body = Arc<dyn Fn(&Memory)>;

pub(crate) fn body(f: impl Fn(&Memory) + 'static) -> Body {
    Arc::new(f)
}

pub(crate) fn times(n: u32, f: impl Fn(u32) -> Body) -> Vec<Body> {
    (0..n).map(f).collect()
}
