//! Runs scenarios on a real Linux kernel, to hold what it does against what the model allows.
//!
//! A scenario's `mm` is a process, an actor a thread in it, an object a memory file; calls are the system calls, and loads
//! and stores are instructions. `geometry.rs` says how the few pages of a scenario lie in real huge pages, `plan.rs` what
//! has no counterpart, `look.rs` how page tables are seen from outside.
//!
//! The way of a run: [`Machine::claim`] makes sure that nobody else does the same, and that the kernel has what is
//! needed. [`Machine::run`] makes a controller (`race.rs`), which forks a process for each address space (`worker.rs`) and
//! leads them through one iteration after the other: mappings are made, the set-up is run, threads race from one start
//! line (`board.rs`) after delays drawn by chance (`aim.rs`: where it is known where they should meet), the `final` statements look, everything is taken away. What the registers hold
//! then is an *outcome*, and [`Ran`] says how often each came.
//!
//! It runs as root on people's machines. It touches only its own processes and memory files. It changes
//! settings only if it is told that it may ([`Limits::khugepaged`]), and puts them back. Each wait is bounded. A process dies with the one that made it.

mod aim;
mod board;
mod differential;
pub mod engine;
pub mod events;
mod execute;
mod geometry;
mod kernel;
pub mod kernel_log;
mod khugepaged;
mod limits;
mod look;
mod plan;
mod processor;
pub mod qemu;
mod race;
mod random;
mod report;
mod sys;
mod worker;

use std::cell::OnceCell;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use pagefold_litmus::{Actor, Scenario, Span};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

pub use aim::{Aim, Meeting, Point};
pub use differential::{Cases, Differed, Differing, Known};
pub use kernel::{Kernel, Version};
pub use plan::NoCounterpart;
pub use race::Limits;
pub use report::{Count, Outcome, Ran, Seen};

use events::Instance;
use khugepaged::Khugepaged;
use plan::Program;
use race::Threads;
use sys::kvm;

/// How often, and after what time, is looked whether other threads are gone.
const LOOKS: u32 = 200;
const LOOK: Duration = Duration::from_millis(5);

/// The kernel that this program runs on, which nobody else uses in this way meanwhile.
#[derive(Debug)]
pub struct Machine {
    /// The kernel.
    pub kernel: Kernel,
    zero_page: u64,
    /// What notes events, once that was asked for. It stays, since the kernel changes its code when that begins and when it ends.
    instance: OnceCell<Instance>,
    /// Locked until the end.
    _lock: File,
}

/// Why something cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unable {
    /// The scenario has no counterpart on any kernel, or none yet.
    NoCounterpart(NoCounterpart),
    /// This machine does not have what is needed.
    Missing(String),
    /// Nothing would come of it.
    Pointless(String),
}

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCounterpart(reason) => reason.fmt(f),
            Self::Missing(what) => write!(f, "missing: {what}"),
            Self::Pointless(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Unable {}

impl From<NoCounterpart> for Unable {
    fn from(reason: NoCounterpart) -> Self {
        Self::NoCounterpart(reason)
    }
}

impl Machine {
    /// Takes the machine for this process, until the value is dropped.
    ///
    /// # Errors
    /// If the machine lacks what every scenario needs, or somebody else has it.
    pub fn claim() -> Result<Self, Unable> {
        let kernel = Kernel::running().map_err(Unable::Missing)?;
        if let Some(what) = kernel.lacks() {
            return Err(Unable::Missing(what));
        }
        let lock = lock().map_err(Unable::Missing)?;
        let memory = sys::memory::claim_region().and_then(|()| look::zero_page());
        let zero_page = memory
            .map_err(|error| Unable::Missing(format!("the addresses of scenarios: {error}")))?;
        Ok(Self {
            kernel,
            zero_page,
            instance: OnceCell::new(),
            _lock: lock,
        })
    }

    /// Runs a scenario until a limit is met, with threads that meet where `aim` says or else anywhere. This process must have one
    /// thread only, as it forks.
    ///
    /// # Errors
    /// If the scenario or the machine is not made for it.
    pub fn run(
        &self,
        scenario: &Scenario,
        limits: Limits,
        aim: Option<&Aim>,
    ) -> Result<Ran, Unable> {
        self.run_program(&Program::new(scenario)?, limits, Threads::Race(aim))
    }

    /// Runs a scenario in the same way, but its threads one after the other, and notes the events of collapses.
    ///
    /// # Errors
    /// As for [`run`](Self::run), or if the kernel does not trace.
    pub fn trace(&self, scenario: &Scenario, limits: Limits) -> Result<Ran, Unable> {
        let program = Program::new(scenario)?;
        in_turn(&program)?;
        let instance = self.instance().map_err(Unable::Missing)?;
        let mut ran = self.run_program(&program, limits, Threads::InTurn(instance))?;
        ran.events.clone_from(&instance.enabled);
        if !kvm::is_there() {
            // Nobody follows, so nobody is told.
            ran.events.retain(|event| event != events::RANGE);
        }
        Ok(ran)
    }

    /// What notes events, with nothing in it.
    fn instance(&self) -> Result<&Instance, String> {
        let instance = match self.instance.get() {
            Some(instance) => instance,
            None => {
                let made = Instance::new()?;
                self.instance.get_or_init(|| made)
            }
        };
        let emptied = instance.take().map(drop);
        emptied.map_err(|error| format!("the trace: {error}"))?;
        Ok(instance)
    }

    fn run_program(
        &self,
        program: &Program<'_>,
        limits: Limits,
        threads: Threads<'_>,
    ) -> Result<Ran, Unable> {
        if let Some(what) = self.kernel.lacks_for(program) {
            return Err(Unable::Missing(what));
        }
        if !is_alone() {
            let what = "a process of one thread to fork from: this one has more";
            return Err(Unable::Missing(what.to_owned()));
        }
        let shmem_denied = program.scenario.shmem_denied;
        let _khugepaged = match (program.scans() || shmem_denied, limits.khugepaged) {
            (true, true) => Some(Khugepaged::take(shmem_denied).map_err(|error| {
                Unable::Missing(format!("khugepaged, whose settings are changed: {error}"))
            })?),
            (true, false) if program.has_limits() => {
                let what = "leave to change the settings of khugepaged, which keeps to limits alone (--khugepaged)";
                return Err(Unable::Missing(what.to_owned()));
            }
            (true, false) if shmem_denied && !kernel::denies_shmem() => {
                let what = "leave to write `deny` to `shmem_enabled` (--khugepaged)";
                return Err(Unable::Missing(what.to_owned()));
            }
            _ => None,
        };
        let mut log = kernel::Log::listen();
        let mut ran = race::run(program, self.zero_page, limits, threads)
            .map_err(|error| Unable::Missing(format!("processes and memory files: {error}")))?;
        ran.complaints = log.complaints();
        ran.hides_poison = !kernel::tells_of_poison();
        Ok(ran)
    }

    /// Runs random sequences on this kernel and on the engine, which should show the same. This process must have one
    /// thread only, as it forks. `tell` hears how far it is after each.
    ///
    /// # Errors
    /// If the machine is not made for it.
    pub fn differ(&self, wanted: &Cases, tell: impl FnMut(&Differed)) -> Result<Differed, Unable> {
        differential::run(self, wanted, tell)
    }
}

/// Whether a scenario has a counterpart on a real kernel.
///
/// # Errors
/// Why it has none.
pub fn has_counterpart(scenario: &Scenario) -> Result<(), NoCounterpart> {
    Program::new(scenario).map(drop)
}

/// Whether threads of a scenario are virtual CPUs.
#[must_use]
pub fn needs_kvm(scenario: &Scenario) -> bool {
    let mut threads = scenario.threads.iter();
    threads.any(|thread| matches!(thread.actor, Actor::Vcpu(_)))
}

/// Whether the threads of a scenario can run one after the other on a real kernel.
///
/// # Errors
/// Why they cannot.
pub fn takes_turns(scenario: &Scenario) -> Result<(), NoCounterpart> {
    in_turn(&Program::new(scenario)?)
}

fn in_turn(program: &Program<'_>) -> Result<(), NoCounterpart> {
    if program.can_take_turns() {
        return Ok(());
    }
    let reason = "threads of a process that is forked meanwhile do not run one after the other";
    Err(NoCounterpart {
        reason: reason.to_owned(),
        span: Span::START,
    })
}

/// What stands for something else in the run of a scenario than it says, in words.
#[must_use]
pub fn remarks(scenario: &Scenario) -> Vec<&'static str> {
    plan::remarks(scenario)
}

/// The registers of a scenario that are left empty, as no kernel tells what should be in them.
#[must_use]
pub fn unknown(scenario: &Scenario) -> Vec<usize> {
    plan::unknown(scenario)
}

/// Whether this process has one thread. One that was waited for may take a moment until it is gone for the kernel as well.
fn is_alone() -> bool {
    let count = || fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    for _ in 0..LOOKS {
        if count() == 1 {
            return true;
        }
        thread::sleep(LOOK);
    }
    false
}

/// The lock of who uses the machine in this way.
fn lock() -> Result<File, String> {
    let directory = ["/run", "/tmp"].map(PathBuf::from);
    let directory = directory.into_iter().find(|directory| directory.is_dir());
    let path = directory.unwrap_or_default().join("pagefold-linux.lock");
    let say = |error: Errno| format!("{}: {error}", path.display());
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(say)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(Errno::WOULDBLOCK) => Err(format!(
            "the machine: another `pagefold linux` has it ({})",
            path.display()
        )),
        Err(error) => Err(say(error)),
    }
}
