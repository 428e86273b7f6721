//! The engine: the state of one exploration, and one step of it.
//!
//! An exploration runs on one OS thread. Checked threads are coroutines; each *announces* its next
//! visible operation, the engine picks who goes on, and the picked thread *commits* its
//! announced operation and runs on to its next one. A thread picked twice in a row does not leave
//! its stack.
//!
//! | module | idea |
//! |---|---|
//! | [`op`] | operations and when two of them commute |
//! | [`object`], [`state`] | what operations work on |
//! | [`log`], [`clock`] | the events of the execution and happens-before |
//! | [`race`], [`grace`] | which pairs of events can be reversed |
//! | [`search`], [`tree`] | which schedules are left to try |
//! | [`preempt`] | searching only interleavings with few preemptions |
//! | [`locks`], [`blocked`] | what is forbidden with locks; who waits for whom |
//! | [`cache`] | which states were explored before |
//! | [`memory`] | what loads may see, other than the newest value |
//! | [`script`], [`guide`] | following a given schedule, recording a trace; following a trace in edited code |
//! | [`snapshot`], [`stacks`] | beginning in the middle of an execution |
//! | [`threads`], [`rt`] | threads, and how primitives reach the engine |

pub(crate) mod blocked;
pub(crate) mod cache;
pub(crate) mod clock;
pub(crate) mod grace;
pub(crate) mod guide;
pub(crate) mod locks;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod object;
pub(crate) mod op;
pub(crate) mod preempt;
pub(crate) mod race;
pub(crate) mod rt;
pub(crate) mod sample;
pub(crate) mod script;
pub(crate) mod search;
pub(crate) mod snapshot;
pub(crate) mod stacks;
pub(crate) mod state;
pub(crate) mod threads;
pub(crate) mod tree;

use std::borrow::Cow;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};

use self::cache::Cache;
use self::grace::Section;
use self::locks::Order;
use self::log::Log;
use self::memory::Model;
use self::memory::tso::FLUSHER;
use self::object::{Object, Objects, Shape};
use self::op::{Access, Kind, Op};
use self::preempt::Preemptions;
use self::race::Tie;
use self::sample::Sampler;
use self::script::Script;
use self::search::{Next, Stop};
use self::snapshot::Snapshots;
use self::stacks::Stacks;
use self::threads::{Held, Slot, ThreadSet, bit};
use self::tree::Tree;
use crate::config::{Config, MAX_THREADS, Memory, Search};
use crate::observer::SearchStep;
use crate::report::kind;
use crate::trace::TraceStep;

/// A checked thread's coroutine.
pub(crate) type Fiber = Coroutine<(), (), (), &'static mut DefaultStack>;

/// How operations are treated at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As events.
    Normal,
    /// Directly, by the program's wish.
    Quiet,
    /// Directly, as a thread of this execution panicked and its destructors run.
    Unwinding,
    /// Directly and without ever waiting: the execution is over, and what is left is destroyed.
    Inert,
}

/// Something that broke, without its trace.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) kind: Cow<'static, str>,
    pub(crate) message: String,
    /// The thread it broke in; `None` if it is a matter of all.
    pub(crate) thread: Option<usize>,
}

pub(crate) struct Engine {
    pub(crate) mode: Mode,
    /// Whether code of the program runs, be it destructors.
    pub(crate) in_program: bool,
    /// The running thread.
    pub(crate) current: usize,
    /// How many events this execution has executed.
    pub(crate) step: u32,
    pub(crate) next: Next,
    /// Threads that have not ended, and flushers whose buffers are not empty.
    pub(crate) live: ThreadSet,
    /// Threads that are being destroyed.
    pub(crate) destroying: ThreadSet,
    /// How many threads this execution has had.
    pub(crate) threads: usize,
    pub(crate) slots: Vec<Slot>,
    pub(crate) log: Log,
    pub(crate) tree: Tree,
    pub(crate) objects: Objects,
    pub(crate) sections: Vec<Section>,
    order: Order,
    pub(crate) memory: Model,
    /// The number of the first flusher, which limits the number of threads.
    pub(crate) first_flusher: usize,
    pub(crate) broken: Option<Broken>,

    search: Search,
    /// How many preemptions there may be.
    pub(crate) preemptions: Preemptions,
    /// Picks threads by chance, if the search samples.
    pub(crate) sampler: Option<Sampler>,
    /// States explored before, if they are to be remembered.
    pub(crate) cache: Option<Box<Cache>>,
    newest_first: bool,
    max_steps: u32,

    script: Script,
    /// What is explored, for traces.
    pub(crate) program: String,
    /// The trace so far, while recording.
    pub(crate) recorded: Option<Vec<TraceStep>>,

    /// The coroutines of the threads; see [`crate::fiber`] for who may touch one.
    pub(crate) fibers: Box<[UnsafeCell<Option<Fiber>>]>,
    /// The threads that have a coroutine, and are suspended in it or have not begun.
    pub(crate) suspended: ThreadSet,
    pub(crate) stacks: Stacks,
    pub(crate) snapshots: Snapshots,

    /// What the search does, if somebody watches.
    pub(crate) watched_steps: Option<Vec<SearchStep>>,

    // Kept to be used again.
    ties: Vec<(usize, Tie)>,
    races: Vec<usize>,
    scratch: Vec<u32>,
}

impl Engine {
    pub(crate) fn new(config: &Config) -> Self {
        let mut log = Log::new();
        let first_flusher = match config.memory {
            Memory::Sc | Memory::Ra => MAX_THREADS,
            Memory::Tso => FLUSHER,
        };
        if first_flusher != MAX_THREADS {
            log.clocks.reserve_threads(MAX_THREADS);
        }
        Self {
            mode: Mode::Normal,
            in_program: false,
            current: 0,
            step: 0,
            next: Next::Stop(Stop::Complete),
            live: 0,
            destroying: 0,
            threads: 0,
            slots: (0..MAX_THREADS).map(|_| Slot::new()).collect(),
            log,
            tree: Tree::default(),
            objects: Objects::new(),
            sections: Vec::new(),
            order: Order::default(),
            memory: Model::new(config.memory),
            first_flusher,
            broken: None,
            search: config.search,
            preemptions: Preemptions::new(config.max_preemptions),
            sampler: Sampler::new(config.search),
            cache: config.remembers().then(|| Box::new(Cache::new(config))),
            newest_first: config.newest_first,
            max_steps: config.max_steps,
            script: Script::None,
            program: config.program.clone(),
            recorded: None,
            fibers: (0..MAX_THREADS).map(|_| UnsafeCell::new(None)).collect(),
            suspended: 0,
            stacks: Stacks::new(config.stack_size),
            snapshots: Snapshots::new(config.rewinds()),
            watched_steps: None,
            ties: Vec::new(),
            races: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Prepares for an execution.
    pub(crate) fn restart(&mut self) {
        self.mode = Mode::Normal;
        self.current = 0;
        self.step = 0;
        self.live = 0;
        self.threads = 0;
        self.objects.restart();
        self.sections.clear();
        self.order.clear();
        self.preemptions.restart();
        self.memory.restart();
        if self.cache.as_ref().is_some_and(|cache| cache.records()) {
            self.recorded = Some(Vec::new());
        }
        self.broken = None;
    }

    /// Tells whoever watches the search.
    #[inline]
    pub(crate) fn watch_step(&mut self, step: impl FnOnce() -> SearchStep) {
        if let Some(steps) = &mut self.watched_steps {
            steps.push(step());
        }
    }

    /// How operations are treated now.
    #[inline]
    pub(crate) fn mode(&mut self) -> Mode {
        if self.mode == Mode::Unwinding && !std::thread::panicking() {
            // The program caught its panic and goes on.
            self.mode = Mode::Normal;
        }
        self.mode
    }

    /// Makes a thread known. `None` if there are too many; the execution stops then.
    pub(crate) fn spawn(
        &mut self,
        name: Cow<'static, str>,
        op: Op,
        forgettable: bool,
    ) -> Option<usize> {
        let thread = self.threads;
        if thread == self.first_flusher {
            self.next = Next::Stop(Stop::TooManyThreads);
            return None;
        }
        self.threads += 1;
        self.live |= bit(thread);
        self.log.clocks.reserve_threads(self.threads);
        let (origin, last) = if thread == 0 {
            ((0, 0), 0)
        } else {
            let parent = &mut self.slots[self.current];
            parent.spawned += 1;
            ((race::as_number(self.current), parent.spawned), parent.last)
        };
        self.slots[thread].begin(name, origin, last, op, forgettable);
        self.spawn_view(thread);
        if self.memory.tso().is_some() {
            let idle = Op::plain(Kind::Flush, 0);
            self.slots[FLUSHER + thread].begin(Cow::Borrowed(""), (0, 0), 0, idle, true);
        }
        self.cache_spawn(thread, origin.1);
        Some(thread)
    }

    /// The number of `object`.
    #[inline]
    pub(crate) fn id_of(&mut self, object: &Object, shape: Shape) -> u32 {
        match self.objects.lookup(object) {
            Some(id) => id,
            None => self.register(object, shape),
        }
    }

    #[cold]
    pub(crate) fn register(&mut self, object: &Object, shape: Shape) -> u32 {
        let address = object.address();
        self.settle_moved(object);
        // The log may hold events of the future of a replayed prefix; only the past counts.
        let origin = self.log.ranges.iter().rev().find(|range| {
            range.event < self.step && object::in_range(address, range.start, range.len)
        });
        let origin = origin.map_or(0, |range| range.event + 1);
        let id = self.objects.register(object, shape, origin);
        self.cache_object(object.get(), origin);
        id
    }

    /// Goes back to the objects registered up to `mark`; `false` if these never were.
    pub(crate) fn reset_objects_to(&mut self, mark: u32) -> bool {
        let known = self.objects.reset_to(mark);
        if known {
            self.cache_reset(mark);
        }
        known
    }

    /// Executes what `thread` announced.
    #[inline]
    pub(crate) fn commit(&mut self, thread: usize) {
        self.current = thread;
        self.count_preemption(thread);
        let index = self.step as usize;
        if self.memory.is_weak() {
            self.begin_weak(thread, index);
        }
        if index < self.log.len() {
            let event = self.log.event(index);
            let op = self.slots[thread].op;
            if event.kind != op.kind || event.object != op.object {
                self.nondeterminism(thread);
            }
            if op.kind == Kind::WriteRange {
                // The memory may be elsewhere this time.
                let (start, len) = op.range();
                self.log.move_range(log::as_u32(index), start, len);
            }
        } else {
            if !self.tree.is_settled(index) {
                self.tree.states += 1;
                self.watch_step(|| SearchStep::Event {
                    event: index,
                    thread,
                });
            }
            self.append(thread);
            if self.cache.is_some() {
                self.cache_event(thread, self.step);
            }
        }
        self.step += 1;
        let slot = &mut self.slots[thread];
        slot.last = self.step;
        slot.seq += 1;
        if slot.reading.depth > 0 && slot.reading.section.is_none() {
            slot.reading.section = Some(log::as_u32(self.sections.len()));
            self.sections.push(Section {
                thread: race::as_number(thread),
                first: self.step - 1,
                last: None,
            });
        }
        if slot.op.kind.is_on_lock() {
            self.account(thread);
        }
        if self.memory.is_weak() {
            self.end_weak(thread, index);
        }
        if self.recorded.is_some() {
            self.record(thread);
        }
    }

    /// Keeps the list of locks in the hands of `thread`.
    #[inline]
    pub(crate) fn account(&mut self, thread: usize) {
        let op = &self.slots[thread].op;
        let exclusive = match op.access() {
            Access::AcquireExclusive | Access::TryExclusive => true,
            Access::AcquireShared | Access::TryShared => false,
            Access::ReleaseExclusive | Access::ReleaseShared => {
                self.let_go(thread, op.object);
                return;
            }
            Access::Downgrade => {
                let object = op.object;
                for held in &mut self.slots[thread].held {
                    if held.object == object {
                        held.exclusive = false;
                    }
                }
                return;
            }
            Access::None if op.kind == Kind::BufferRelease => {
                self.let_go(thread, op.object);
                return;
            }
            Access::None | Access::Read | Access::ReadExclusive | Access::Write | Access::Add => {
                return;
            }
        };
        let object = op.object;
        let class = match self.objects.entry(object).shape {
            Shape::Lock(class) => Some(class),
            Shape::Cpu(_) => None,
            // Only locks are acquired.
            Shape::Atomic | Shape::Counter | Shape::Cell | Shape::Meeting(_) => return,
        };
        let step = self.step.saturating_sub(1);
        self.slots[thread].held.push(Held {
            object,
            exclusive,
            class,
            step,
        });
    }

    /// Takes a lock off the list of those in the hands of `thread`.
    fn let_go(&mut self, thread: usize, object: u32) {
        let held = &mut self.slots[thread].held;
        if let Some(at) = held.iter().rposition(|held| held.object == object) {
            held.remove(at);
        }
    }

    /// Whether the pending operation of `thread` can be executed.
    #[inline]
    fn is_enabled(&self, thread: usize) -> bool {
        let waits = self.slots[thread].op.kind.may_wait() || self.memory.is_weak();
        !waits || self.is_wait_over(thread)
    }

    /// As [`is_enabled`](Self::is_enabled), of an operation that may have to wait.
    fn is_wait_over(&self, thread: usize) -> bool {
        let op = &self.slots[thread].op;
        if self.memory.is_weak()
            && let Some(enabled) = self.is_enabled_weak(thread)
        {
            return enabled;
        }
        match op.kind {
            Kind::AcquireExclusive => state::is_free(op.word()),
            Kind::AcquireShared => state::is_shareable(op.word()),
            Kind::Await | Kind::Claim => Self::holds(op, op.word()),
            Kind::Relax => self.has_changed(thread),
            Kind::Join => self.live & (1 << op.argument) == 0,
            Kind::GracePeriod => {
                self.grace_is_over(usize::try_from(op.argument).expect("an index of the log"))
            }
            _ => true,
        }
    }

    /// Whether something that `thread` watches has been changed by another thread.
    fn has_changed(&self, thread: usize) -> bool {
        let watched = &self.slots[thread].watched;
        watched
            .iter()
            .any(|&(object, since)| self.has_changed_since(object, since, thread))
    }

    /// Whether another thread than `thread` has changed an object after event `since`.
    pub(crate) fn has_changed_since(&self, object: u32, since: u32, thread: usize) -> bool {
        let Some(since) = self.in_memory_since(object, since) else {
            return false;
        };
        self.log
            .chain(object, &self.objects)
            .take_while(|&(event, _)| event > since as usize)
            // A log that was kept holds events to come.
            .filter(|&(event, _)| event < self.step as usize)
            .any(|(event, access)| access.changes() && self.log.event(event).owner() != thread)
    }

    /// Notes what the current thread has read in this round of a retry loop. `false` if nothing.
    pub(crate) fn watch(&mut self) -> bool {
        self.cache_relax();
        let slot = &mut self.slots[self.current];
        slot.watched.clear();
        let mut next = if slot.seq == 0 { 0 } else { slot.last };
        while let Some(index) = next.checked_sub(1) {
            let event = self.log.event(index as usize);
            if event.kind == Kind::Relax {
                break;
            }
            // A load may have found its value in the buffer, and touched nothing.
            let reads = matches!(event.access, Access::Read | Access::ReadExclusive)
                || matches!(event.kind, Kind::Load | Kind::Await);
            if reads {
                // What counts is the first look of the round: if the object changed after it, the
                // round has worked with an old value, and the next one may go another way.
                match slot
                    .watched
                    .iter_mut()
                    .find(|(object, _)| *object == event.object)
                {
                    Some((_, since)) => *since = index,
                    None => slot.watched.push((event.object, index)),
                }
            }
            next = event.previous_of_thread;
        }
        !slot.watched.is_empty()
    }

    /// Whether the predicate of a wait holds for `value`.
    pub(crate) fn holds(op: &Op, value: u64) -> bool {
        let Some(predicate) = op.predicate else {
            return true;
        };
        rt::outside(|| {
            // SAFETY: the thread that announced the wait is suspended in `rt::wait`, which
            // borrows the predicate.
            let predicate = unsafe { &*predicate };
            // A predicate that panics is let pass, to panic in its own thread.
            catch_unwind(AssertUnwindSafe(|| predicate(value))).unwrap_or(true)
        })
    }

    /// The current thread ends.
    pub(crate) fn finish(&mut self, thread: usize) {
        self.current = thread;
        let slot = &self.slots[thread];
        let leak = if let Some(held) = slot.held.first() {
            Some(format!(
                "holding {}, {}",
                self.name_of(held.object),
                since(held.step)
            ))
        } else if slot.reading.depth > 0 {
            Some("inside an RCU read section".to_owned())
        } else {
            None
        };
        self.live &= !bit(thread);
        self.slots[thread].ended = true;
        self.cache_end(thread);
        if let Some(leak) = leak {
            let message = format!("{} ends {leak}", self.slots[thread].name);
            self.break_off(kind::LEAK.into(), message);
        }
    }

    /// The current thread panicked.
    pub(crate) fn panicked(&mut self, thread: usize, message: &str) {
        self.current = thread;
        self.live &= !bit(thread);
        self.slots[thread].ended = true;
        let message = format!("{} panicked: {message}", self.slots[thread].name);
        self.break_off(kind::PANIC.into(), message);
    }

    /// Something broke in the current thread. The first one counts.
    pub(crate) fn break_off(&mut self, kind: Cow<'static, str>, message: String) {
        if self.broken.is_none() {
            self.broken = Some(Broken {
                kind,
                message,
                thread: Some(self.current),
            });
        }
        self.next = Next::Stop(Stop::Violation);
    }

    /// The program does not do under a schedule what it did under the same schedule before.
    #[cold]
    fn nondeterminism(&mut self, thread: usize) -> Next {
        let message = format!(
            "step {} of the same schedule is another one this time (in {}); the program must \
             depend on nothing but the schedule",
            self.step, self.slots[thread].name
        );
        // Whoever runs now has to leave its own stack, so it stays the current one.
        self.break_off(kind::NONDETERMINISM.into(), message);
        self.next
    }

    pub(crate) fn name_of(&self, object: u32) -> String {
        self.objects.entry(object).shape.name(object)
    }

    /// The way out of the stack of the current thread.
    pub(crate) fn yielder(&self) -> *const Yielder<(), ()> {
        self.slots[self.current].yielder
    }
}

/// "since step 3".
pub(crate) fn since(step: u32) -> String {
    format!("taken at step {step}")
}
