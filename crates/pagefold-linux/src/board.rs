//! What the processes of a run tell each other, in memory that they share.
//!
//! One writer at a time: the controller writes what a worker is to do, then counts up its `request`; the worker does it, then
//! sets its `answer` to that number. Of a race the controller writes everything before it counts up `race`, and reads the registers
//! when `left` is 0. Both are acquired and released, which is the order of everything else.

use std::hint;
use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::thread;
use std::time::{Duration, Instant};

use pagefold_litmus::limits::{MAPPINGS, MMS, OBJECTS, REGISTERS, THREADS};
use pagefold_litmus::{MmId, Symbol, Value};
use rustix::io::Errno;
use rustix::thread::futex;

use crate::geometry::Spread;
use crate::report::Seen;
use crate::sys::access::Signal;
use crate::sys::remote::Process;
use crate::sys::shared::Shareable;

/// Processes: one for each address space, and one for who is outside of them.
pub(crate) const WORKERS: usize = MMS + 1;

/// Tasks that can be asked for at once.
pub(crate) const TASKS: usize = 16;

/// Looks at a word, before it is waited for in the kernel, by those who wait for a task that is short. Nobody else looks
/// more than once: the CPUs are for the threads of the race.
const SPINS: u32 = 500;

/// Looks of a thread at the start line before it lets others use its CPU.
const LOOKS: u32 = 2_000;

/// The memory.
#[derive(Debug)]
pub(crate) struct Board {
    /// Of each worker.
    pub(crate) desks: [Desk; WORKERS],
    /// Of each thread.
    pub(crate) seats: [Seat; THREADS],
    /// The content of each register, packed.
    registers: [AtomicU64; REGISTERS],
    /// Where pages are.
    pub(crate) spread: Spread,
    /// Races begun.
    pub(crate) race: AtomicU32,
    /// Threads at the start line.
    arrived: AtomicU32,
    /// Threads that wait for each other there.
    starters: AtomicU32,
    /// Not 0: the threads do not race, but run one after the other.
    pub(crate) in_turn: AtomicU32,
    /// The thread whose turn it is then.
    turn: AtomicU32,
    /// Threads that have not ended.
    pub(crate) left: AtomicU32,
    /// Those of them that are no monitors.
    pub(crate) racers: AtomicU32,
    /// The number of each mapping's userfaultfd, in the process that made it.
    pub(crate) uffds: [AtomicI32; MAPPINGS],
    /// Who has which file open for writing, counted.
    pub(crate) writers: [AtomicU32; OBJECTS],
    /// The next sector that is free for a pin.
    pub(crate) sectors: AtomicU32,
    /// A collapse gave up for a reason that may lie outside of the scenario.
    pub(crate) disturbed: AtomicU32,
}

// SAFETY: it consists of atomics, and zero is a value of each.
unsafe impl Shareable for Board {}

/// What a worker is asked for.
#[derive(Debug)]
pub(crate) struct Desk {
    /// One after the other; so many of them.
    tasks: [AtomicU64; TASKS],
    count: AtomicU32,
    request: AtomicU32,
    answer: AtomicU32,
    /// Its process; 0 before there is one.
    pub(crate) pid: AtomicI32,
    /// It has been forked in this iteration.
    pub(crate) forked: AtomicU32,
    /// Threads that have called `exit` in this iteration.
    pub(crate) exited: AtomicU32,
    /// Those of them that the controller does not wait for any more.
    pub(crate) gone: AtomicU32,
}

/// How a thread starts and how long it takes.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Nanoseconds to wait after the start.
    pub(crate) delay: AtomicU64,
    /// Nanoseconds from there to its end.
    pub(crate) took: AtomicU64,
    /// It has ended.
    pub(crate) done: AtomicU32,
}

/// A task of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Make the mappings of the start.
    Build,
    /// Run a part of the set-up.
    Setup(usize),
    /// Take over the userfaultfds whose events are waited for outside.
    TakeOver,
    /// Give what belongs to monitors to them, and begin the threads, if that is not done yet.
    Spawn,
    /// Say that the mappings may become huge (`MADV_HUGEPAGE`).
    Advise,
    /// Run a `final`.
    Final(usize),
    /// Take everything away; a process that was forked ends.
    Clear,
}

impl Task {
    fn pack(self) -> u64 {
        match self {
            Self::Build => 0,
            Self::Setup(phase) => 1 | (phase as u64) << 8,
            Self::Spawn => 2,
            Self::Final(phase) => 3 | (phase as u64) << 8,
            Self::Clear => 4,
            Self::TakeOver => 5,
            Self::Advise => 6,
        }
    }

    fn unpack(packed: u64) -> Self {
        let phase = (packed >> 8) as usize;
        match packed & 0xff {
            0 => Self::Build,
            1 => Self::Setup(phase),
            2 => Self::Spawn,
            3 => Self::Final(phase),
            4 => Self::Clear,
            5 => Self::TakeOver,
            _ => Self::Advise,
        }
    }
}

impl Desk {
    /// Asks for tasks, one after the other; the number to wait for.
    pub(crate) fn ask(&self, tasks: &[Task]) -> u32 {
        for (place, task) in self.tasks[..tasks.len()].iter().zip(tasks) {
            place.store(task.pack(), Relaxed);
        }
        self.count.store(tasks.len() as u32, Relaxed);
        let number = self.request.fetch_add(1, AcqRel).wrapping_add(1);
        wake(&self.request);
        number
    }

    /// Whether the request was answered, which is waited for a while.
    pub(crate) fn answered(&self, number: u32, patience: Duration) -> bool {
        wait_until(&self.answer, SPINS, Some(patience), |answer| {
            answer == number
        })
    }

    /// The last request that was answered.
    pub(crate) fn last(&self) -> u32 {
        self.answer.load(Acquire)
    }

    /// Waits for a request after that of this number. Nobody writes to its tasks before it is answered.
    pub(crate) fn next(&self, last: u32) -> (u32, impl Iterator<Item = Task>) {
        wait_until(&self.request, SPINS, None, |request| request != last);
        let number = self.request.load(Acquire);
        let tasks = &self.tasks[..self.count.load(Relaxed) as usize];
        (
            number,
            tasks.iter().map(|task| Task::unpack(task.load(Relaxed))),
        )
    }

    /// Answers.
    pub(crate) fn answer(&self, number: u32) {
        self.answer.store(number, Release);
        wake(&self.answer);
    }
}

/// What a statement gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// A number.
    Number(u64),
    /// An error.
    Errno(Errno),
    /// A signal.
    Signal(Signal),
    /// Nobody knows: nothing is held against anybody.
    Unknown,
}

impl From<Result<(), Errno>> for Given {
    fn from(result: Result<(), Errno>) -> Self {
        result.map_or_else(Self::Errno, |()| Self::Number(0))
    }
}

impl From<Result<u64, Errno>> for Given {
    fn from(result: Result<u64, Errno>) -> Self {
        result.map_or_else(Self::Errno, Self::Number)
    }
}

impl Given {
    fn pack(self) -> u64 {
        match self {
            Self::Number(number) => 1 | number << 2,
            Self::Errno(error) => 2 | u64::from(error.raw_os_error().unsigned_abs()) << 2,
            Self::Signal(signal) => 3 | (signal as u64) << 2,
            Self::Unknown => 0,
        }
    }

    fn unpack(packed: u64) -> Option<Seen> {
        let payload = packed >> 2;
        Some(match packed & 3 {
            0 => return None,
            1 => Seen::Number(payload),
            2 => Seen::errno(Errno::from_raw_os_error(payload as i32)),
            _ => Seen::from(Value::Symbol(match payload {
                0 => Symbol::SIGSEGV,
                1 => Symbol::SIGBUS,
                _ => Symbol::HWPOISON,
            })),
        })
    }
}

impl Board {
    /// The process of an address space.
    pub(crate) fn process(&self, mm: MmId) -> Result<Process, Errno> {
        Process::open(self.desks[mm.index()].pid.load(Relaxed))
    }

    /// Sets a register.
    pub(crate) fn set(&self, register: usize, given: Given) {
        self.registers[register].store(given.pack(), Relaxed);
    }

    /// What the first registers hold.
    pub(crate) fn registers(&self, count: usize) -> Vec<Option<Seen>> {
        let registers = self.registers[..count].iter();
        registers
            .map(|register| Given::unpack(register.load(Relaxed)))
            .collect()
    }

    /// Makes ready for an iteration of so many threads, of which so many are no monitors, and so many wait for each other at the
    /// start.
    pub(crate) fn reset(&self, threads: usize, racers: usize, starters: usize) {
        for register in &self.registers {
            register.store(0, Relaxed);
        }
        for desk in &self.desks {
            desk.forked.store(0, Relaxed);
            desk.exited.store(0, Relaxed);
            desk.gone.store(0, Relaxed);
        }
        for seat in &self.seats {
            seat.done.store(0, Relaxed);
        }
        for writers in &self.writers {
            writers.store(0, Relaxed);
        }
        self.sectors.store(0, Relaxed);
        self.disturbed.store(0, Relaxed);
        self.arrived.store(0, Relaxed);
        self.turn.store(0, Relaxed);
        self.starters.store(starters as u32, Relaxed);
        self.racers.store(racers as u32, Relaxed);
        self.left.store(threads as u32, Release);
    }

    /// Begins the race.
    pub(crate) fn start(&self) {
        self.race.fetch_add(1, AcqRel);
        wake(&self.race);
    }

    /// Waits for the race after that of this number.
    pub(crate) fn next_race(&self, last: u32) -> u32 {
        wait_until(&self.race, 0, None, |race| race != last);
        self.race.load(Acquire)
    }

    /// The start line: all go on at once.
    pub(crate) fn line_up(&self) {
        let starters = self.starters.load(Relaxed);
        self.arrived.fetch_add(1, AcqRel);
        let mut looks = 0_u32;
        while self.arrived.load(Acquire) < starters {
            hint::spin_loop();
            looks += 1;
            if looks.is_multiple_of(LOOKS) {
                // There may be more threads than CPUs.
                thread::yield_now();
            }
        }
    }

    /// So many threads that are no monitors have ended, or will never begin. Whether no other is left.
    pub(crate) fn end_racers(&self, threads: u32) -> bool {
        self.racers.fetch_sub(threads, AcqRel) == threads
    }

    /// Whether nothing comes any more that a monitor could wait for.
    pub(crate) fn racers_ended(&self) -> bool {
        self.racers.load(Acquire) == 0
    }

    /// Waits for the turn of a thread, if threads do not race.
    pub(crate) fn await_turn(&self, thread: usize) {
        if self.in_turn.load(Relaxed) != 0 {
            wait_until(&self.turn, 0, None, |turn| turn as usize == thread);
        }
    }

    /// It is the next one's turn.
    pub(crate) fn end_turn(&self) {
        if self.in_turn.load(Relaxed) != 0 {
            self.turn.fetch_add(1, AcqRel);
            wake(&self.turn);
        }
    }

    /// So many threads have ended, or will never begin.
    pub(crate) fn leave(&self, threads: u32) {
        if self.left.fetch_sub(threads, AcqRel) == threads {
            wake(&self.left);
        }
    }

    /// Whether the race is over, which is waited for a while.
    pub(crate) fn is_over(&self, patience: Duration) -> bool {
        wait_until(&self.left, 0, Some(patience), |left| left == 0)
    }
}

/// Waits until a word is as it should be, or patience is over. First looks at it so many times.
fn wait_until(
    word: &AtomicU32,
    spins: u32,
    patience: Option<Duration>,
    wanted: impl Fn(u32) -> bool,
) -> bool {
    for _ in 0..spins {
        if wanted(word.load(Acquire)) {
            return true;
        }
        hint::spin_loop();
    }
    let end = patience.map(|patience| Instant::now() + patience);
    loop {
        let value = word.load(Acquire);
        if wanted(value) {
            return true;
        }
        let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
        if rest == Some(Duration::ZERO) {
            return false;
        }
        let timeout = rest.map(|rest| futex::Timespec {
            tv_sec: rest.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: rest.subsec_nanos().into(),
        });
        // However it ends, the word is looked at again.
        let _ = futex::wait(word, futex::Flags::empty(), value, timeout.as_ref());
    }
}

/// Wakes all who wait for a word.
fn wake(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX.unsigned_abs());
}
