//! What programs work on, and what their statements do to it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pagefold_explore::interrupt::Cpu;
use pagefold_explore::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use pagefold_explore::sync::{Counter, LockClass, Mutex, RawLock, RawRwSem, RefCount, RwLock};
use pagefold_explore::{fail, hint, quiet, rcu, thread, write_range};

use crate::program::{Body, Break, Op, Program};

/// Of one rank, so that all locks may be nested in any order: deadlocks are wanted here, not a
/// violation that stops an execution before its end.
static LOCK: LockClass = LockClass::sleep("lock").ranked(1);
static SPIN: LockClass = LockClass::spin("spin").ranked(1);
static SEM: LockClass = LockClass::sleep("sem").ranked(1);
static CONTENT: LockClass = LockClass::sleep("content").ranked(1);
static LOW: LockClass = LockClass::sleep("low").ranked(2);
static HIGH: LockClass = LockClass::sleep("high").ranked(3);
static ONE: LockClass = LockClass::sleep("one");
static OTHER: LockClass = LockClass::sleep("other");

/// How many references there are at first.
pub(crate) const REFERENCES: u64 = 2;

/// What a use of memory observes that is not freed; one more if it is.
const FRESH: u64 = 1 << 40;
pub(crate) const USE_AFTER_FREE: &str = "use after free";

/// Variants of how a program is run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variant {
    /// A use after free is a violation instead of an observation.
    pub(crate) strict: bool,
    /// What the threads see is their result.
    pub(crate) results: bool,
    /// The threads forget what they saw before each statement.
    pub(crate) checkpoints: bool,
    /// Objects are used before the threads are started.
    pub(crate) touch: bool,
}

/// What may be freed.
#[repr(C)]
struct Freeable {
    words: [AtomicU64; 2],
    lock: RawLock,
}

pub(crate) struct World {
    variant: Variant,
    atomics: [AtomicU64; 2],
    freeable: Freeable,
    freed: Cell<bool>,
    references: RefCount,
    counter: Counter,
    locks: [RawLock; 2],
    spin: RawLock,
    sem: RawRwSem,
    mutex: Mutex<u64>,
    rwlock: RwLock<u64>,
    /// What is in the locks, to look at when it is over.
    contents: [Cell<u64>; 2],
    /// By rank.
    ordered: [RawLock; 2],
    /// Without ranks.
    unordered: [RawLock; 2],
    cpu: Rc<Cpu>,
    logs: RefCell<Vec<Log>>,
}

/// What a thread has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Log {
    pub(crate) seen: Vec<u64>,
    /// It has ended.
    pub(crate) ended: bool,
}

/// Where a thread is.
#[derive(Clone, Copy)]
struct At {
    log: usize,
    /// Which statement it is in, of its thread: the numbers of the statements around it, four bits
    /// each.
    place: u64,
}

impl At {
    /// The second part of a statement.
    fn rest(self) -> Self {
        Self {
            place: self.place << 4 | 0xf,
            ..self
        }
    }
}

impl World {
    pub(crate) fn new(logs: usize, variant: Variant) -> Self {
        Self {
            variant,
            atomics: Default::default(),
            freeable: Freeable {
                words: Default::default(),
                lock: RawLock::new(&LOCK),
            },
            freed: Cell::new(false),
            references: RefCount::new(REFERENCES),
            counter: Counter::new(0),
            locks: [RawLock::new(&LOCK), RawLock::new(&LOCK)],
            spin: RawLock::new(&SPIN),
            sem: RawRwSem::new(&SEM),
            mutex: Mutex::with_class(0, &CONTENT),
            rwlock: RwLock::with_class(0, &CONTENT),
            contents: Default::default(),
            ordered: [RawLock::new(&LOW), RawLock::new(&HIGH)],
            unordered: [RawLock::new(&ONE), RawLock::new(&OTHER)],
            cpu: Rc::new(Cpu::new(0)),
            logs: RefCell::new(vec![Log::default(); logs]),
        }
    }

    /// Starts the threads of a program.
    pub(crate) fn start(self: &Rc<Self>, program: &Program) {
        if self.variant.touch {
            self.touch();
        }
        for (number, body) in program.threads.iter().enumerate() {
            let run = self.thread(number, body);
            if self.variant.results {
                thread::spawn_named("t", run);
            } else {
                thread::spawn_named("t", move || {
                    run();
                });
            }
        }
    }

    /// Uses all objects, so that they have their names before the threads race.
    fn touch(&self) {
        quiet(|| {
            for atomic in self.atomics.iter().chain(&self.freeable.words) {
                atomic.load(SeqCst);
            }
            let _ = self.references.read();
            let _ = self.counter.get();
            let locks = [&self.spin, &self.freeable.lock];
            for lock in self.locks.iter().chain(locks) {
                lock.lock_nested();
                lock.unlock();
            }
            self.sem.read();
            self.sem.read_unlock();
            drop(self.mutex.lock().unwrap());
            drop(self.rwlock.read().unwrap());
            self.cpu.disable();
            self.cpu.enable();
        });
    }

    /// The values of everything that is shared.
    pub(crate) fn values(&self) -> Vec<u64> {
        let locks = [&self.spin, &self.freeable.lock];
        let locks = self.locks.iter().chain(locks).chain(&self.ordered);
        let mut values: Vec<u64> = self.atomics.iter().map(AtomicU64::load_quiet).collect();
        values.extend(self.contents.iter().map(Cell::get));
        values.extend(locks.map(|lock| u64::from(lock.is_locked_quiet())));
        values.extend([
            self.counter.get_quiet().cast_unsigned(),
            self.references.get_quiet(),
            u64::from(self.freed.get()),
            u64::from(self.sem.is_written_quiet()),
            self.sem.readers_quiet(),
        ]);
        values
    }

    pub(crate) fn logs(&self) -> Vec<Log> {
        self.logs.borrow().clone()
    }

    /// Whether an observation is one of freed memory.
    pub(crate) fn is_use_after_free(seen: u64) -> bool {
        seen >= FRESH && seen % 2 == 1
    }

    fn see(&self, at: At, value: u64) {
        self.logs.borrow_mut()[at.log].seen.push(value);
    }

    fn run(self: &Rc<Self>, at: At, body: &[Op]) {
        for (number, op) in (1..).zip(body) {
            let at = At {
                place: at.place << 4 | number,
                ..at
            };
            if self.variant.checkpoints {
                // Which body it is depends on what the spawning thread saw.
                hint::checkpoint((at.log as u64) << 32 | at.place);
            }
            self.step(at, op);
        }
    }

    /// The body of a thread of its own. Its result is what it saw last.
    fn thread(self: &Rc<Self>, log: usize, body: &Body) -> impl FnOnce() -> u64 + use<> {
        let (world, body) = (Rc::clone(self), body.clone());
        move || {
            world.run(At { log, place: 0 }, &body);
            let log = &mut world.logs.borrow_mut()[log];
            log.ended = true;
            log.seen.last().copied().unwrap_or(0)
        }
    }

    fn step(self: &Rc<Self>, at: At, op: &Op) {
        match op {
            Op::Load(a) => self.see(at, self.atomics[*a].load(Relaxed)),
            Op::Store(a, v) => self.atomics[*a].store(*v, Relaxed),
            Op::Swap(a, v) => self.see(at, self.atomics[*a].swap(*v, SeqCst)),
            Op::FetchAdd(a) => self.see(at, self.atomics[*a].fetch_add(1, SeqCst)),
            Op::FetchMax(a, v) => self.see(at, self.atomics[*a].fetch_max(*v, SeqCst)),
            Op::Cas(a, from, to) => {
                let result = self.atomics[*a].compare_exchange(*from, *to, SeqCst, SeqCst);
                self.see(at, result.unwrap_or_else(|v| 10 + v));
            }
            Op::Update(a) => {
                let result = self.atomics[*a].fetch_update(SeqCst, SeqCst, |x| Some(x + 2));
                self.see(at, result.expect("there is always a new value"));
            }
            Op::CounterAdd => self.counter.add(1),
            Op::CounterGet => self.see(at, self.counter.get().cast_unsigned()),
            Op::CounterSet(v) => self.counter.set(v.cast_signed()),
            Op::Await(a, v) => {
                let v = *v;
                self.see(at, self.atomics[*a].wait_until(|now| now != v));
            }
            Op::RetryWhile(a, v) => {
                while self.atomics[*a].load(Relaxed) == *v {
                    self.see(at, 20);
                    hint::relax();
                }
            }
            Op::RetryCas(a, from, to) => {
                for _ in 0..2 {
                    let result = self.atomics[*a].compare_exchange(*from, *to, SeqCst, SeqCst);
                    if result.is_ok() {
                        return self.see(at, 30);
                    }
                    hint::relax();
                }
            }
            Op::RetryLock(l) => self.retry_lock(at, &self.locks[*l]),
            Op::If(a, v, body) => {
                if self.atomics[*a].load(Relaxed) == *v {
                    self.run(at, body);
                }
            }
            Op::Lock(l, body) => self.lock(at, &self.locks[*l], body),
            Op::Spin(body) => self.lock(at, &self.spin, body),
            Op::TryLock(l, body) => {
                let taken = self.locks[*l].try_lock();
                self.see(at, 40 + u64::from(taken));
                if taken {
                    self.run(at, body);
                    self.locks[*l].unlock();
                }
            }
            Op::Read(_) | Op::TryRead(_) | Op::Write(..) | Op::TryWrite(..) => {
                self.semaphore(at, op);
            }
            Op::Mutex(..)
            | Op::TryMutex(..)
            | Op::View(_)
            | Op::TryView(_)
            | Op::Change(..)
            | Op::TryChange(..) => self.contents(at, op),
            Op::Rcu(body) => {
                rcu::read_lock();
                self.run(at, body);
                rcu::read_unlock();
            }
            Op::Call(callback, body) => {
                let run = self.thread(*callback, body);
                rcu::call(move || {
                    run();
                });
            }
            Op::Synchronize => {
                rcu::synchronize();
                self.see(at, 50);
            }
            Op::Free => self.free(),
            Op::Use(a) => {
                let value = self.freeable.words[*a].load(Relaxed);
                self.used(at, value);
            }
            Op::UseLock => {
                let taken = self.freeable.lock.try_lock();
                self.used(at, u64::from(taken));
                if taken {
                    self.freeable.lock.unlock();
                }
            }
            Op::Reference(body) => {
                let taken = self.references.try_get();
                self.see(at, 70 + u64::from(taken));
                if taken {
                    self.run(at, body);
                    self.put(at, 1);
                }
            }
            Op::References(body) => {
                let taken = self.references.try_get();
                self.see(at, 70 + u64::from(taken));
                if taken {
                    self.references.get(1);
                    self.run(at, body);
                    self.put(at, 2);
                }
            }
            Op::Put => self.put(at, 1),
            Op::CountReferences => self.see(at, 80 + self.references.read()),
            Op::IrqOff(body) => {
                if self.cpu.are_disabled_here() {
                    return self.run(at, body);
                }
                self.cpu.disable();
                self.run(at, body);
                self.cpu.enable();
            }
            Op::Ipi(handler, body, wait) => {
                let run = self.thread(*handler, body);
                let ipi = self.cpu.ipi(move || {
                    run();
                });
                let may_wait = !self.cpu.are_disabled_here() && !rcu::is_reading();
                if *wait && may_wait {
                    ipi.join();
                } else {
                    ipi.detach();
                }
            }
            Op::Spawn(child, body, meanwhile, join) => {
                let child = thread::spawn_named("child", self.thread(*child, body));
                self.run(at, meanwhile);
                if *join {
                    self.see(at, child.join().unwrap());
                }
            }
            Op::Break(rule) => self.break_rule(*rule),
        }
    }

    fn lock(self: &Rc<Self>, at: At, lock: &RawLock, body: &[Op]) {
        if lock.held_by_current_quiet() {
            return self.run(at, body);
        }
        lock.lock_nested();
        self.run(at, body);
        lock.unlock();
    }

    fn retry_lock(&self, at: At, lock: &RawLock) {
        for _ in 0..2 {
            if lock.held_by_current_quiet() {
                return;
            }
            if lock.try_lock() {
                self.see(at, 31);
                return lock.unlock();
            }
            hint::relax();
        }
    }

    fn semaphore(self: &Rc<Self>, at: At, op: &Op) {
        match op {
            Op::Read(body) => {
                if self.sem.written_by_current_quiet() {
                    return self.run(at, body);
                }
                self.sem.read_nested();
                self.run(at, body);
                self.sem.read_unlock();
            }
            Op::TryRead(body) => {
                let taken = self.sem.try_read();
                self.see(at, 42 + u64::from(taken));
                if taken {
                    self.run(at, body);
                    self.sem.read_unlock();
                }
            }
            Op::Write(body, rest) => {
                if self.sem.written_by_current_quiet() || self.sem.shared_by_current_quiet() {
                    return self.run(at, body);
                }
                self.sem.write_nested();
                self.written(at, body, rest.as_deref());
            }
            Op::TryWrite(body, rest) => {
                let taken = self.sem.try_write();
                self.see(at, 44 + u64::from(taken));
                if taken {
                    self.written(at, body, rest.as_deref());
                }
            }
            _ => unreachable!("{op:?} is not about the semaphore"),
        }
    }

    fn written(self: &Rc<Self>, at: At, body: &[Op], rest: Option<&[Op]>) {
        self.run(at, body);
        match rest {
            Some(rest) => {
                self.sem.downgrade();
                self.run(at.rest(), rest);
                self.sem.read_unlock();
            }
            None => self.sem.write_unlock(),
        }
    }

    fn contents(self: &Rc<Self>, at: At, op: &Op) {
        let change = |content: &mut u64, lock: usize, value: u64| {
            self.see(at, *content);
            *content = *content * 3 + value;
            self.contents[lock].set(*content);
        };
        match op {
            Op::Mutex(..) | Op::TryMutex(..) => {
                let (guard, value, body) = match op {
                    Op::Mutex(value, body) => (self.mutex.lock().ok(), value, body),
                    Op::TryMutex(value, body) => (self.mutex.try_lock().ok(), value, body),
                    _ => unreachable!("one of the two"),
                };
                match guard {
                    Some(mut guard) => {
                        change(&mut guard, 0, *value);
                        self.run(at, body);
                    }
                    None => self.see(at, 46),
                }
            }
            Op::View(body) | Op::TryView(body) => {
                let guard = match op {
                    Op::View(_) => self.rwlock.read().ok(),
                    _ => self.rwlock.try_read().ok(),
                };
                match guard {
                    Some(guard) => {
                        self.see(at, *guard);
                        self.run(at, body);
                    }
                    None => self.see(at, 47),
                }
            }
            Op::Change(value, body, rest) | Op::TryChange(value, body, rest) => {
                let guard = match op {
                    Op::Change(..) => self.rwlock.write().ok(),
                    _ => self.rwlock.try_write().ok(),
                };
                match guard {
                    Some(mut guard) => {
                        change(&mut guard, 1, *value);
                        self.run(at, body);
                        if let Some(rest) = rest {
                            let guard = guard.downgrade();
                            self.run(at.rest(), rest);
                            self.see(at, *guard);
                        }
                    }
                    None => self.see(at, 48),
                }
            }
            _ => unreachable!("{op:?} is not about contents of locks"),
        }
    }

    fn free(&self) {
        let freeable: *const Freeable = &self.freeable;
        write_range(freeable.cast(), size_of_val(&self.freeable));
        self.freed.set(true);
    }

    fn used(&self, at: At, value: u64) {
        let freed = self.freed.get();
        if self.variant.strict && freed {
            fail(USE_AFTER_FREE, "used after it was freed".to_owned());
        }
        self.see(at, FRESH + 2 * value + u64::from(freed));
    }

    fn put(&self, at: At, n: u64) {
        let last = self.references.put(n);
        self.see(at, 72 + u64::from(last));
        if last {
            self.free();
        }
    }

    fn break_rule(&self, rule: Break) {
        // What stops an execution is no event of its own, so it takes one for its place to be chosen.
        self.atomics[0].load(SeqCst);
        let [low, high] = &self.ordered;
        match rule {
            Break::Fail => fail("forbidden", "as told".to_owned()),
            Break::Panic => panic!("as told"),
            Break::RecursiveLock => {
                low.lock();
                low.lock();
            }
            Break::WrongOrder => {
                high.lock();
                low.lock();
                low.unlock();
                high.unlock();
            }
            Break::OneOrder(swapped) => {
                let [one, other] = &self.unordered;
                let (one, other) = if swapped { (other, one) } else { (one, other) };
                one.lock();
                other.lock();
                other.unlock();
                one.unlock();
            }
            Break::NotHeld => high.unlock(),
            Break::SleepInAtomic => {
                if !self.spin.held_by_current_quiet() {
                    self.spin.lock_nested();
                }
                high.lock();
                high.unlock();
                self.spin.unlock();
            }
            Break::Leak => {
                if !high.held_by_current_quiet() {
                    high.lock();
                }
            }
        }
    }
}
