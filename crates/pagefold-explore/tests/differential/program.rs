//! Programs: what their threads do, as data that can be printed and made smaller.

use std::fmt;

/// A program: the statements of each thread, which all start together.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) threads: Vec<Body>,
    /// How many logs of observations there are: one for each thread, and one for each body that is
    /// run by a thread of its own.
    pub(crate) logs: usize,
}

pub(crate) type Body = Vec<Op>;

/// A statement. What it does must not depend on what its thread saw in earlier ones, except for what
/// it holds: before each statement of a thread there may be a checkpoint.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Load(usize),
    Store(usize, u64),
    Swap(usize, u64),
    FetchAdd(usize),
    FetchMax(usize, u64),
    Cas(usize, u64, u64),
    /// A compare-exchange loop that ends when nobody interferes.
    Update(usize),
    CounterAdd,
    CounterGet,
    CounterSet(u64),
    Await(usize, u64),
    /// Retry until the value is another one.
    RetryWhile(usize, u64),
    /// Retry until the compare-exchange succeeds, at most twice.
    RetryCas(usize, u64, u64),
    /// Retry until the lock is taken, at most twice, and release it.
    RetryLock(usize),
    /// If the value is this one.
    If(usize, u64, Body),
    Lock(usize, Body),
    /// Hold the spin lock, in which sleeping is forbidden, but which read sections may take.
    Spin(Body),
    TryLock(usize, Body),
    Read(Body),
    TryRead(Body),
    /// The second part is run as a reader, after a downgrade.
    Write(Body, Option<Body>),
    TryWrite(Body, Option<Body>),
    /// With the mutex, whose content is changed.
    Mutex(u64, Body),
    TryMutex(u64, Body),
    /// With the content of the lock shared.
    View(Body),
    TryView(Body),
    /// With the content of the lock changed, and then, perhaps, shared.
    Change(u64, Body, Option<Body>),
    TryChange(u64, Body, Option<Body>),
    Rcu(Body),
    /// Wait for readers in a callback (whose observations are of the given log), and go on.
    Call(usize, Body),
    Synchronize,
    /// Free what can be freed.
    Free,
    /// Use one of the words that can be freed, and see whether they were.
    Use(usize),
    /// Attempt the lock that can be freed, and see whether it was.
    UseLock,
    /// Take a reference, unless there is none left, and give it back; the last one frees.
    Reference(Body),
    /// Take a reference, unless there is none left, then another one, and give both back.
    References(Body),
    /// Give back one of the references that there are at first.
    Put,
    /// Look at the number of references.
    CountReferences,
    IrqOff(Body),
    /// Interrupt, whose handler's observations are of the given log; wait for it or not.
    Ipi(usize, Body, bool),
    /// Another thread, with its log and body; what is done meanwhile; whether to wait for it then.
    Spawn(usize, Body, Body, bool),
    /// Something forbidden.
    Break(Break),
}

/// What is forbidden.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Break {
    Fail,
    Panic,
    RecursiveLock,
    /// Against ranks.
    WrongOrder,
    /// Of two locks without ranks: the second one first.
    OneOrder(bool),
    NotHeld,
    SleepInAtomic,
    Leak,
}

impl Op {
    /// The statements it consists of.
    pub(crate) fn bodies(&mut self) -> Vec<&mut Body> {
        match self {
            Self::If(_, _, body)
            | Self::Lock(_, body)
            | Self::Spin(body)
            | Self::TryLock(_, body)
            | Self::Read(body)
            | Self::TryRead(body)
            | Self::Mutex(_, body)
            | Self::TryMutex(_, body)
            | Self::View(body)
            | Self::TryView(body)
            | Self::Rcu(body)
            | Self::Call(_, body)
            | Self::Reference(body)
            | Self::References(body)
            | Self::IrqOff(body)
            | Self::Ipi(_, body, _) => vec![body],
            Self::Write(body, rest)
            | Self::TryWrite(body, rest)
            | Self::Change(_, body, rest)
            | Self::TryChange(_, body, rest) => std::iter::once(body).chain(rest).collect(),
            Self::Spawn(_, body, meanwhile, _) => vec![body, meanwhile],
            Self::Load(_)
            | Self::Store(..)
            | Self::Swap(..)
            | Self::FetchAdd(_)
            | Self::FetchMax(..)
            | Self::Cas(..)
            | Self::Update(_)
            | Self::CounterAdd
            | Self::CounterGet
            | Self::CounterSet(_)
            | Self::Await(..)
            | Self::RetryWhile(..)
            | Self::RetryCas(..)
            | Self::RetryLock(_)
            | Self::Synchronize
            | Self::Free
            | Self::Use(_)
            | Self::UseLock
            | Self::Put
            | Self::CountReferences
            | Self::Break(_) => Vec::new(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let pad = "    ".repeat(depth);
        let block = |f: &mut fmt::Formatter<'_>, head: &str, body: &Body| {
            writeln!(f, "{pad}{head} {{")?;
            write_body(f, body, depth + 1)?;
            writeln!(f, "{pad}}}")
        };
        let guarded = |f: &mut fmt::Formatter<'_>, head: &str, body: &Body, rest: &Option<Body>| {
            writeln!(f, "{pad}{head} {{")?;
            write_body(f, body, depth + 1)?;
            if let Some(rest) = rest {
                writeln!(f, "{pad}    downgrade();")?;
                write_body(f, rest, depth + 1)?;
            }
            writeln!(f, "{pad}}}")
        };
        match self {
            Self::Load(a) => writeln!(f, "{pad}see(x{a}.load());"),
            Self::Store(a, v) => writeln!(f, "{pad}x{a}.store({v});"),
            Self::Swap(a, v) => writeln!(f, "{pad}see(x{a}.swap({v}));"),
            Self::FetchAdd(a) => writeln!(f, "{pad}see(x{a}.fetch_add(1));"),
            Self::FetchMax(a, v) => writeln!(f, "{pad}see(x{a}.fetch_max({v}));"),
            Self::Cas(a, from, to) => {
                writeln!(f, "{pad}see(x{a}.compare_exchange({from}, {to}));")
            }
            Self::Update(a) => writeln!(f, "{pad}see(x{a}.fetch_update(|x| x + 2));"),
            Self::CounterAdd => writeln!(f, "{pad}counter.add(1);"),
            Self::CounterGet => writeln!(f, "{pad}see(counter.get());"),
            Self::CounterSet(v) => writeln!(f, "{pad}counter.set({v});"),
            Self::Await(a, v) => writeln!(f, "{pad}see(x{a}.wait_until(|x| x != {v}));"),
            Self::RetryWhile(a, v) => writeln!(f, "{pad}while x{a}.load() == {v} {{ relax(); }}"),
            Self::RetryCas(a, from, to) => writeln!(
                f,
                "{pad}twice {{ x{a}.compare_exchange({from}, {to}) or relax() }}"
            ),
            Self::RetryLock(l) => writeln!(f, "{pad}twice {{ lock{l}.try_lock() or relax() }}"),
            Self::If(a, v, body) => block(f, &format!("if x{a}.load() == {v}"), body),
            Self::Lock(l, body) => block(f, &format!("lock{l}.lock()"), body),
            Self::Spin(body) => block(f, "spin.lock()", body),
            Self::TryLock(l, body) => block(f, &format!("if lock{l}.try_lock()"), body),
            Self::Read(body) => block(f, "sem.read()", body),
            Self::TryRead(body) => block(f, "if sem.try_read()", body),
            Self::Write(body, rest) => guarded(f, "sem.write()", body, rest),
            Self::TryWrite(body, rest) => guarded(f, "if sem.try_write()", body, rest),
            Self::Mutex(v, body) => block(f, &format!("mutex.lock() <- {v}"), body),
            Self::TryMutex(v, body) => block(f, &format!("if mutex.try_lock() <- {v}"), body),
            Self::View(body) => block(f, "rwlock.read()", body),
            Self::TryView(body) => block(f, "if rwlock.try_read()", body),
            Self::Change(v, body, rest) => {
                guarded(f, &format!("rwlock.write() <- {v}"), body, rest)
            }
            Self::TryChange(v, body, rest) => {
                guarded(f, &format!("if rwlock.try_write() <- {v}"), body, rest)
            }
            Self::Rcu(body) => block(f, "rcu::read()", body),
            Self::Call(log, body) => block(f, &format!("rcu::call(log {log}) ||"), body),
            Self::Synchronize => writeln!(f, "{pad}rcu::synchronize();"),
            Self::Free => writeln!(f, "{pad}free();"),
            Self::Use(a) => writeln!(f, "{pad}see(freeable.x{a}.load());"),
            Self::UseLock => writeln!(f, "{pad}see(freeable.lock.try_lock());"),
            Self::Reference(body) => block(f, "if references.try_get()", body),
            Self::References(body) => block(f, "if references.try_get() and get(1)", body),
            Self::Put => writeln!(f, "{pad}see(references.put(1));"),
            Self::CountReferences => writeln!(f, "{pad}see(references.read());"),
            Self::IrqOff(body) => block(f, "cpu.disable()", body),
            Self::Ipi(log, body, wait) => {
                block(f, &format!("cpu.ipi(log {log}, join: {wait}) ||"), body)
            }
            Self::Spawn(log, body, meanwhile, join) => {
                block(f, &format!("spawn(log {log}, join: {join}) ||"), body)?;
                block(f, "meanwhile", meanwhile)
            }
            Self::Break(what) => writeln!(f, "{pad}break rule {what:?};"),
        }
    }
}

fn write_body(f: &mut fmt::Formatter<'_>, body: &Body, depth: usize) -> fmt::Result {
    body.iter().try_for_each(|op| op.write(f, depth))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, body) in self.threads.iter().enumerate() {
            writeln!(f, "thread {number} {{")?;
            write_body(f, body, 1)?;
            writeln!(f, "}}")?;
        }
        Ok(())
    }
}
