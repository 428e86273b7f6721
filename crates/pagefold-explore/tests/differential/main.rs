//! The reduced search against the enumeration of every interleaving, on random programs.
//!
//! For each program, both must see the same set of ends: the observations of all threads and the
//! final values, with how the execution ended (completely, in a deadlock, in a livelock). And where
//! something breaks, the minimized trace must show it again when replayed.
//!
//! `EXPLORE_FUZZ_PROGRAMS` sets how many programs are compared, `EXPLORE_FUZZ_SEED` the first
//! seed. A failure prints the seed and the program.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use pagefold_explore::interrupt::Cpu;
use pagefold_explore::sync::atomic::{AtomicU64, Ordering::SeqCst};
use pagefold_explore::sync::{Counter, LockClass, RawLock, RawRwSem, RefCount};
use pagefold_explore::{
    Config, Ended, Report, Search, Verdict, explore, explore_observed, fail, hint, kind, quiet,
    rcu, replay, thread,
};

/// A small generator of random numbers (xorshift64*), so that a seed means the same for ever.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A statement of a random program.
#[derive(Clone, Debug)]
enum Op {
    Load(usize),
    Store(usize, u64),
    FetchAdd(usize),
    Cas(usize, u64, u64),
    CounterAdd,
    CounterGet,
    Await(usize, u64),
    /// Retry until the value is another one.
    RetryWhile(usize, u64),
    /// Retry until the compare-exchange succeeds, at most twice.
    RetryCas(usize, u64, u64),
    /// Retry until the lock is taken, at most twice, and release it.
    RetryLock(usize),
    Lock(usize, Vec<Op>),
    /// Hold the spin lock, in which sleeping is forbidden, but which read sections may take.
    Spin(Vec<Op>),
    TryLock(usize, Vec<Op>),
    Read(Vec<Op>),
    TryRead(Vec<Op>),
    /// The second part is run as a reader, after a downgrade.
    Write(Vec<Op>, Option<Vec<Op>>),
    TryWrite(Vec<Op>, Option<Vec<Op>>),
    Rcu(Vec<Op>),
    /// Wait for readers in a callback (whose observations are of the given log), and go on.
    Call(usize, Vec<Op>),
    Synchronize,
    /// Free both atomics of the pair.
    Free,
    /// Use one of them, and see whether it was freed.
    Use(usize),
    /// Take a reference, unless there is none left, and give it back; the last one frees.
    Reference(Vec<Op>),
    /// Give back one of the references that there are at first.
    Put,
    /// Look at the number of references.
    References,
    IrqOff(Vec<Op>),
    /// Interrupt, whose handler's observations are of the given log; wait for it or not.
    Ipi(usize, Vec<Op>, bool),
}

/// What may stand where a statement is wanted.
#[derive(Clone, Copy)]
struct Place {
    depth: u32,
    /// Sleeping is allowed.
    sleep: bool,
    /// Interrupts may be disabled, or sent and waited for.
    irq: bool,
    /// Locks may be taken.
    locks: bool,
    rcu: bool,
}

struct Generator {
    random: Random,
    logs: usize,
    /// Which sort of statements the program is about.
    theme: u64,
    /// How many of the first references are given back.
    puts: u64,
}

impl Generator {
    fn body(&mut self, max: u64, place: Place) -> Vec<Op> {
        (0..self.random.below(max) + 1)
            .map(|_| self.op(place))
            .collect()
    }

    fn inner(&mut self, place: Place) -> Vec<Op> {
        let place = Place {
            depth: place.depth + 1,
            ..place
        };
        self.body(2, place)
    }

    fn downgrade(&mut self, place: Place) -> Option<Vec<Op>> {
        self.random.chance(35).then(|| self.inner(place))
    }

    fn atomic(&mut self) -> Op {
        let a = self.random.below(2) as usize;
        match self.random.below(8) {
            0..=2 => Op::Load(a),
            3 | 4 => Op::Store(a, self.random.below(3)),
            5 => Op::FetchAdd(a),
            6 => Op::Cas(a, self.random.below(2), self.random.below(3)),
            _ if self.random.chance(60) => Op::CounterAdd,
            _ => Op::CounterGet,
        }
    }

    fn op(&mut self, place: Place) -> Op {
        if place.depth >= 2 || self.random.chance(35) {
            return self.atomic();
        }
        let theme = if self.random.chance(80) {
            self.theme
        } else {
            self.random.below(7)
        };
        let a = self.random.below(2) as usize;
        let atomic = Place {
            sleep: false,
            ..place
        };
        match theme {
            0 if place.locks => match self.random.below(5) {
                0 | 1 => Op::Lock(a, self.inner(place)),
                2 | 3 => Op::TryLock(a, self.inner(place)),
                _ => Op::RetryLock(a),
            },
            1 if place.locks => match self.random.below(4) {
                0 => {
                    let locks = self.random.chance(30);
                    Op::Read(self.inner(Place { locks, ..place }))
                }
                1 => Op::TryRead(self.inner(place)),
                2 => {
                    let inner = self.inner(place);
                    Op::Write(inner, self.downgrade(place))
                }
                _ => {
                    let inner = self.inner(place);
                    Op::TryWrite(inner, self.downgrade(place))
                }
            },
            2 if place.sleep => match self.random.below(4) {
                0 | 1 => Op::Await(a, self.random.below(2)),
                2 => Op::RetryWhile(a, self.random.below(2)),
                _ => Op::RetryCas(a, self.random.below(2), self.random.below(3)),
            },
            3 | 4 if place.rcu => match self.random.below(9) {
                0..=2 => {
                    let rcu = self.random.chance(30);
                    Op::Rcu(self.inner(Place {
                        locks: false,
                        rcu,
                        ..atomic
                    }))
                }
                3 | 4 => {
                    self.logs += 1;
                    let log = self.logs - 1;
                    let inner = Place {
                        depth: 1,
                        sleep: false,
                        irq: false,
                        locks: false,
                        rcu: false,
                    };
                    let mut body = self.inner(inner);
                    if self.random.chance(50) {
                        body.push(Op::Free);
                    }
                    Op::Call(log, body)
                }
                5 if place.sleep && self.random.chance(50) => Op::Synchronize,
                5 => {
                    let locks = false;
                    Op::Spin(self.inner(Place {
                        locks,
                        irq: false,
                        ..atomic
                    }))
                }
                6 if self.random.chance(50) => Op::RetryWhile(a, self.random.below(2)),
                6 => Op::Use(a),
                _ => Op::Free,
            },
            3 | 4 if self.random.chance(30) => Op::Use(a),
            3 | 4 if self.random.chance(50) => Op::RetryWhile(a, self.random.below(2)),
            3 | 4 if self.random.chance(60) => {
                let locks = false;
                Op::Spin(self.inner(Place {
                    locks,
                    irq: false,
                    ..atomic
                }))
            }
            6 => match self.random.below(6) {
                0..=2 => Op::Reference(self.inner(place)),
                3 | 4 if self.puts < REFERENCES => {
                    self.puts += 1;
                    Op::Put
                }
                3 | 4 => Op::Use(a),
                _ => Op::References,
            },
            5 if place.irq => {
                if self.random.chance(40) {
                    Op::IrqOff(self.inner(Place {
                        irq: false,
                        locks: false,
                        rcu: false,
                        ..atomic
                    }))
                } else {
                    self.logs += 1;
                    let log = self.logs - 1;
                    let inner = Place {
                        depth: 1,
                        sleep: false,
                        irq: false,
                        locks: false,
                        rcu: false,
                    };
                    Op::Ipi(
                        log,
                        self.inner(inner),
                        place.sleep && self.random.chance(50),
                    )
                }
            }
            _ => self.atomic(),
        }
    }
}

fn generate(seed: u64) -> (Vec<Vec<Op>>, usize) {
    let mut random = Random::new(seed);
    for _ in 0..4 {
        random.next();
    }
    let threads = 2 + random.below(2);
    let theme = random.below(7);
    let mut generator = Generator {
        random,
        logs: threads as usize,
        theme,
        puts: 0,
    };
    let place = Place {
        depth: 0,
        sleep: true,
        irq: true,
        locks: true,
        rcu: true,
    };
    let bodies = (0..threads)
        .map(|_| generator.body(if threads == 2 { 4 } else { 2 }, place))
        .collect();
    (bodies, generator.logs)
}

/// Of one rank, so that all locks may be nested in any order: deadlocks are wanted here, not a
/// violation that stops an execution before its end.
static LOCK: LockClass = LockClass::sleep("lock").ranked(1);
static SPIN: LockClass = LockClass::spin("spin").ranked(1);
static SEM: LockClass = LockClass::sleep("sem").ranked(1);

#[repr(C)]
struct World {
    atomics: [AtomicU64; 2],
    pair: [AtomicU64; 2],
    freed: AtomicU64,
    references: RefCount,
    counter: Counter,
    locks: [RawLock; 3],
    sem: RawRwSem,
    cpu: Rc<Cpu>,
    logs: Rc<RefCell<Vec<Vec<u64>>>>,
    /// A use after free is a violation instead of an observation.
    strict: bool,
    /// What the threads see is their result.
    results: bool,
    /// The threads forget what they saw after each statement.
    checkpoints: bool,
}

/// How many references there are at first.
const REFERENCES: u64 = 2;

/// What a use of memory observes that is not freed; one more if it is.
const FRESH: u64 = 60;
const USE_AFTER_FREE: &str = "use after free";

impl World {
    fn new(logs: Rc<RefCell<Vec<Vec<u64>>>>, strict: bool) -> Self {
        Self {
            strict,
            results: false,
            checkpoints: false,
            atomics: Default::default(),
            pair: Default::default(),
            freed: AtomicU64::new(0),
            references: RefCount::new(REFERENCES),
            counter: Counter::new(0),
            locks: [
                RawLock::new(&LOCK),
                RawLock::new(&LOCK),
                RawLock::new(&SPIN),
            ],
            sem: RawRwSem::new(&SEM),
            cpu: Rc::new(Cpu::new(0)),
            logs,
        }
    }

    /// Uses all objects, so that they have their names before the threads race.
    fn touch(&self) {
        quiet(|| {
            for atomic in self.atomics.iter().chain(&self.pair) {
                atomic.load(SeqCst);
            }
            let _ = self.references.read();
            let _ = self.counter.get();
            for lock in &self.locks {
                lock.lock_nested();
                lock.unlock();
            }
            self.sem.read();
            self.sem.read_unlock();
            self.cpu.disable();
            self.cpu.enable();
        });
    }

    fn see(&self, log: usize, value: u64) {
        self.logs.borrow_mut()[log].push(value);
    }

    fn run(self: &Rc<Self>, log: usize, body: &[Op]) {
        for op in body {
            self.step(log, op);
        }
    }

    fn step(self: &Rc<Self>, log: usize, op: &Op) {
        match op {
            Op::Load(a) => self.see(log, self.atomics[*a].load(SeqCst)),
            Op::Store(a, v) => self.atomics[*a].store(*v, SeqCst),
            Op::FetchAdd(a) => self.see(log, self.atomics[*a].fetch_add(1, SeqCst)),
            Op::Cas(a, from, to) => {
                let result = self.atomics[*a].compare_exchange(*from, *to, SeqCst, SeqCst);
                self.see(log, result.unwrap_or_else(|v| 10 + v));
            }
            Op::CounterAdd => self.counter.add(1),
            Op::CounterGet => self.see(log, self.counter.get() as u64),
            Op::Await(a, v) => {
                let v = *v;
                self.see(log, self.atomics[*a].wait_until(|now| now != v));
            }
            Op::RetryWhile(a, v) => {
                while self.atomics[*a].load(SeqCst) == *v {
                    self.see(log, 20);
                    hint::relax();
                }
            }
            Op::RetryCas(a, from, to) => {
                for _ in 0..2 {
                    if self.atomics[*a]
                        .compare_exchange(*from, *to, SeqCst, SeqCst)
                        .is_ok()
                    {
                        self.see(log, 30);
                        return;
                    }
                    hint::relax();
                }
            }
            Op::RetryLock(l) => {
                for _ in 0..2 {
                    if self.locks[*l].held_by_current_quiet() {
                        return;
                    }
                    if self.locks[*l].try_lock() {
                        self.see(log, 31);
                        self.locks[*l].unlock();
                        return;
                    }
                    hint::relax();
                }
            }
            Op::Lock(l, body) => {
                if self.locks[*l].held_by_current_quiet() {
                    return self.run(log, body);
                }
                self.locks[*l].lock_nested();
                self.run(log, body);
                self.locks[*l].unlock();
            }
            Op::TryLock(l, body) => {
                let taken = self.locks[*l].try_lock();
                self.see(log, 40 + u64::from(taken));
                if taken {
                    self.run(log, body);
                    self.locks[*l].unlock();
                }
            }
            Op::Spin(body) => self.step(log, &Op::Lock(2, body.clone())),
            Op::Read(body) => {
                if self.sem.written_by_current_quiet() {
                    return self.run(log, body);
                }
                self.sem.read_nested();
                self.run(log, body);
                self.sem.read_unlock();
            }
            Op::TryRead(body) => {
                let taken = self.sem.try_read();
                self.see(log, 42 + u64::from(taken));
                if taken {
                    self.run(log, body);
                    self.sem.read_unlock();
                }
            }
            Op::Write(body, rest) => {
                if self.sem.written_by_current_quiet() || self.sem.shared_by_current_quiet() {
                    return self.run(log, body);
                }
                self.sem.write_nested();
                self.written(log, body, rest.as_deref());
            }
            Op::TryWrite(body, rest) => {
                let taken = self.sem.try_write();
                self.see(log, 44 + u64::from(taken));
                if taken {
                    self.written(log, body, rest.as_deref());
                }
            }
            Op::Rcu(body) => {
                rcu::read_lock();
                self.run(log, body);
                rcu::read_unlock();
            }
            Op::Call(callback, body) => {
                let (world, callback, body) = (Rc::clone(self), *callback, body.clone());
                rcu::call(move || world.run(callback, &body));
            }
            Op::Synchronize => {
                rcu::synchronize();
                self.see(log, 50);
            }
            Op::Free => {
                pagefold_explore::write_range(self.pair.as_ptr().cast(), size_of_val(&self.pair));
                self.freed.store_quiet(1);
            }
            Op::Use(a) => {
                let value = self.pair[*a].load(SeqCst);
                let freed = self.freed.load_quiet();
                if self.strict && freed == 1 {
                    fail(USE_AFTER_FREE, "used after it was freed".to_owned());
                }
                self.see(log, value + FRESH + freed);
            }
            Op::Reference(body) => {
                let taken = self.references.try_get();
                self.see(log, 70 + u64::from(taken));
                if taken {
                    self.run(log, body);
                    self.step(log, &Op::Put);
                }
            }
            Op::Put => {
                let last = self.references.put(1);
                self.see(log, 72 + u64::from(last));
                if last {
                    self.step(log, &Op::Free);
                }
            }
            Op::References => self.see(log, 80 + self.references.read()),
            Op::IrqOff(body) => {
                if self.cpu.are_disabled_here() {
                    return self.run(log, body);
                }
                self.cpu.disable();
                self.run(log, body);
                self.cpu.enable();
            }
            Op::Ipi(handler, body, wait) => {
                let (world, handler, body) = (Rc::clone(self), *handler, body.clone());
                let ipi = self.cpu.ipi(move || world.run(handler, &body));
                let may_sleep = !self.cpu.are_disabled_here() && !rcu::is_reading();
                if *wait && may_sleep {
                    ipi.join()
                } else {
                    ipi.detach()
                }
            }
        }
    }

    fn written(self: &Rc<Self>, log: usize, body: &[Op], rest: Option<&[Op]>) {
        self.run(log, body);
        match rest {
            Some(rest) => {
                self.sem.downgrade();
                self.run(log, rest);
                self.sem.read_unlock();
            }
            None => self.sem.write_unlock(),
        }
    }
}

/// Starts the threads of a program.
fn start(world: &Rc<World>, program: &[Vec<Op>]) {
    for (number, body) in program.iter().enumerate() {
        let (world, body) = (Rc::clone(world), body.clone());
        if world.results {
            thread::spawn_named("t", move || {
                world.run(number, &body);
                true
            });
        } else {
            thread::spawn_named("t", move || {
                for (statement, op) in body.iter().enumerate() {
                    if world.checkpoints {
                        hint::checkpoint(statement as u64);
                    }
                    world.step(number, op);
                }
            });
        }
    }
}

/// Looks for violations, a use after free being one, and checks what is made of them: that they
/// are found if and only if `ends` says so, that the minimized trace is a trace of the program, and
/// that it shows the violation. Returns whether there was one.
fn check_violation(program: &[Vec<Op>], logs: usize, ends: &Ends, cache: bool) -> bool {
    let body = || {
        let logs = Rc::new(RefCell::new(vec![Vec::new(); logs]));
        start(&Rc::new(World::new(logs, true)), program);
    };
    let mut possible: BTreeSet<_> = ends.iter().map(|(kind, ..)| kind.as_str()).collect();
    possible.remove("complete");
    if ends
        .iter()
        .any(|(_, logs, _)| logs.iter().flatten().any(|&value| value == FRESH + 1))
    {
        possible.insert(USE_AFTER_FREE);
    }
    let config = Config::default().minimize_executions(50).cache(cache);
    let violation = match explore(&config, body).verdict {
        Verdict::Broken(violation) => violation,
        Verdict::Holds => {
            assert!(
                possible.is_empty(),
                "found nothing, where there is {possible:?}"
            );
            return false;
        }
        Verdict::NotExhausted(bound) => panic!("{bound}"),
    };
    assert!(
        possible.contains(&*violation.kind),
        "{possible:?} expected: {violation}"
    );
    assert!(
        !violation
            .message
            .contains("running the same schedule again"),
        "{violation}"
    );
    let replayed = replay(&config, &violation.trace, body);
    assert_eq!(replayed.divergence, None, "{violation}");
    let again = replayed.violation.expect("the violation of the trace");
    assert_eq!(
        (&again.kind, &again.message),
        (&violation.kind, &violation.message)
    );
    assert_eq!(again.trace, violation.trace);
    true
}

type Ends = BTreeSet<(String, Vec<Vec<u64>>, [u64; 3])>;

/// How a program is explored.
#[derive(Clone, Copy)]
struct How {
    search: Search,
    newest_first: bool,
    cache: bool,
    /// What the threads see is their result.
    results: bool,
    checkpoints: bool,
    /// Objects are used before the threads are started.
    touch: bool,
    limit: u64,
}

/// All ends of a program. `None` if there are too many executions.
fn ends(program: &[Vec<Op>], logs: usize, how: How) -> Option<(Ends, Report)> {
    let seen = Rc::new(RefCell::new(vec![Vec::new(); logs]));
    let world: Rc<RefCell<Option<Rc<World>>>> = Rc::default();
    let mut ends = Ends::new();
    let config = Config::default()
        .search(how.search)
        .newest_first(how.newest_first)
        .cache(how.cache)
        .max_executions(how.limit)
        .max_truncated(u64::MAX)
        .minimize_executions(u64::MAX);
    let (seen2, world2) = (Rc::clone(&seen), Rc::clone(&world));
    let report = explore_observed(
        &config,
        || {
            for log in seen2.borrow_mut().iter_mut() {
                log.clear();
            }
            let new = World {
                results: how.results,
                checkpoints: how.checkpoints,
                ..World::new(Rc::clone(&seen2), false)
            };
            let new = Rc::new(new);
            *world2.borrow_mut() = Some(Rc::clone(&new));
            if how.touch {
                new.touch();
            }
            start(&new, program);
        },
        |ended: Ended<'_>| {
            let how = match ended {
                Ended::Complete => "complete",
                Ended::Broken(kind) => kind,
                Ended::Redundant | Ended::CutOff => return,
            };
            let world = world.borrow();
            let Some(world) = world.as_ref() else { return };
            let [a, b] = &world.atomics;
            let values = [
                a.load_quiet(),
                b.load_quiet(),
                world.counter.get_quiet() as u64,
            ];
            ends.insert((how.to_owned(), seen.borrow().clone(), values));
        },
    );
    match report.verdict {
        Verdict::NotExhausted(_) => None,
        Verdict::Broken(_) if report.executions >= how.limit => None,
        _ => Some((ends, report)),
    }
}

/// The ends as the cache keeps them apart: without what ended threads have seen, unless that is
/// their result.
fn cached(ends: &Ends, results: usize) -> Ends {
    let cached = ends
        .iter()
        .map(|(kind, logs, values)| (kind.clone(), logs[..results].to_vec(), *values));
    cached.collect()
}

/// Whether an end is one that was stopped in the middle. Such an execution hides what its threads
/// would have done next, so all that can be asked for then is that the program is found broken in
/// such a way.
fn stopped(ends: &Ends) -> bool {
    ends.iter()
        .any(|(kind, ..)| !MAXIMAL.contains(&kind.as_str()))
}

fn compare(seed: u64, what: &str, program: &[Vec<Op>], expected: &Ends, got: &Ends) {
    assert!(
        if stopped(expected) {
            stopped(got) && got.is_subset(expected)
        } else {
            got == expected
        },
        "seed {seed}, {what}: {program:#?}\nmissing: {:#?}\nsurplus: {:#?}",
        expected.difference(got).collect::<Vec<_>>(),
        got.difference(expected).collect::<Vec<_>>()
    );
}

/// How executions end that are not stopped in the middle.
const MAXIMAL: [&str; 3] = ["complete", kind::DEADLOCK, kind::LIVELOCK];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn reduced_search_sees_every_end() {
    let debug = cfg!(debug_assertions);
    let wanted = number("EXPLORE_FUZZ_PROGRAMS", 2_000);
    let first = number("EXPLORE_FUZZ_SEED", 1);
    let limit = number("EXPLORE_FUZZ_LIMIT", if debug { 250 } else { 20_000 });
    let (mut compared, mut skipped, mut broken) = (0, 0, 0);
    let (mut all, mut few, mut complete) = (0, 0, 0);
    // By variant.
    let (mut cache, mut cut) = ([0; 3], [0; 3]);
    let mut kinds = std::collections::BTreeMap::<String, u64>::new();
    for seed in first.. {
        if compared == wanted {
            break;
        }
        let (program, logs) = generate(seed);
        let how = How {
            search: Search::EveryInterleaving,
            newest_first: false,
            cache: false,
            results: false,
            checkpoints: false,
            touch: false,
            limit,
        };
        let Some((expected, every)) = ends(&program, logs, how) else {
            skipped += 1;
            continue;
        };
        let how = How {
            search: Search::Reduced,
            // What the search tries first must not matter.
            newest_first: seed % 2 == 0,
            limit: u64::MAX,
            ..how
        };
        let (got, reduced) = ends(&program, logs, how).expect("the reduced search has no limit");
        compare(seed, "reduced", &program, &expected, &got);
        let variants = [
            ("cached", false, false),
            ("cached, with results", true, false),
            ("cached, with checkpoints", false, true),
        ];
        for (variant, (what, results, checkpoints)) in variants.into_iter().enumerate() {
            let how = How {
                cache: true,
                results,
                checkpoints,
                touch: seed % 4 != 3,
                ..how
            };
            let (got, report) = ends(&program, logs, how).expect("there is no limit");
            let kept = if results { program.len() } else { 0 };
            let (expected, got) = (cached(&expected, kept), cached(&got, kept));
            compare(seed, what, &program, &expected, &got);
            cache[variant] += report.executions - report.cut;
            cut[variant] += report.cut;
        }
        let shown = std::panic::catch_unwind(|| {
            let shown = check_violation(&program, logs, &expected, false);
            assert_eq!(check_violation(&program, logs, &expected, true), shown);
            shown
        });
        broken += u64::from(shown.unwrap_or_else(|_| panic!("seed {seed}: {program:#?}")));
        for (kind, ..) in &expected {
            *kinds.entry(kind.clone()).or_default() += 1;
        }
        all += every.executions;
        few += reduced.executions;
        complete += reduced.complete;
        compared += 1;
    }
    println!(
        "{compared} programs compared ({skipped} too large), {all} interleavings, {few} executions \
         ({complete} complete), with cache {cache:?} and {cut:?} cut, {broken} broken, ends: {kinds:?}"
    );
}
