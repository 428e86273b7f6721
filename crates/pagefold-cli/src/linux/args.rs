//! The command line of `pagefold linux`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use pagefold::protocol::Protocol;
use pagefold_linux::Limits;

use super::reproduce::Target;
use crate::args::Format;
use crate::exit::Failure;
use crate::vocabulary;

/// What `--help` says behind the options.
pub(crate) const DETAILS: &str = "\
Each `mm` is a process, each actor a thread in it, each object a memory file, each call the system call. A page of a
scenario is represented by one real page; its half of a real huge page comes along. In each iteration everything is
made anew, the set-up is run, the threads start at once, after delays drawn by chance from SEED, and what the registers
hold at the end is an outcome. Outcomes are compared with those that a search of the same scenario finds, under the
protocol of the kernel's version or the given one: whatever the kernel shows must be among them. If it is not, the
scenario language's machine and the kernel are not alike, and one of the two is wrong.

The kernel itself has references to pages now and then. MADV_COLLAPSE then says EAGAIN, and what comes of that is not
held against it.

Needs root, and a kernel that makes huge pages when it is asked to (Linux 6.1); says what is missing. A scenario with
something that no kernel does when it is asked to, or with what is not run yet (devices, khugepaged,
monitors ...), is skipped with the reason. Touches nothing but its own processes and memory files; one at a time.

--events compares the order of what a collapse does, not outcomes of races: the ranges that followers of an address space are told
of (a virtual machine without a CPU makes them visible), flushes, and the names of results, as the kernel's trace events
tell them, with the steps of the model under the same protocol. The threads run one after the other. Flushes may be put off and
joined; but what is taken from the process that collapses has to be flushed in time. It uses a tracing instance of its own.

--kernel boots a bzImage in QEMU, with this program as its first process, and nothing from any disk. What the kernel says
against itself in its log (bad counts, warnings, lockdep, KASAN, a panic) is a verdict, too. If it dies, or does not
answer any more, it is booted again for the scenarios that are left. The guide is docs/linux.md.

--from takes a violation that `pagefold check --save` wrote. Its scenario is raced with start delays swept around those of
the trace, and the report says where a thread has to stop for the others: in which function of Linux, between which two
steps of the trace. A kernel that was built with a delay (mdelay) at that place shows a race that it shows
hardly ever otherwise; --delay tells how long it is. What is allowed is still what the protocol of the kernel's version
allows, not what broke in the model. The guide is docs/from-trace.md.

--random draws sequences of calls and accesses instead, in which nobody races, and runs each step by step on the running
kernel and on the engine at 512 entries a table. After each step both must show the same: what the call gave, what each
entry says (pagemap, page by page), what mapped pages hold, which pages objects have. A difference is shrunk and printed
as a scenario, and the exit status is 1. Where the two are known to differ is said at the end. Needs Linux 6.8.

Exit status:
  0  all outcomes seen are allowed, of all scenarios that could be run
  1  an outcome is not allowed, or a thread hung, or the kernel's log complained
  2  bad input, and nothing was run; or the results could not be written
  3  as 0, but the search did not get through, so that it is open whether something is allowed
  4  nothing could be run

JSON (--format json), one object:
  version  1
  kernel   the release | null: this machine cannot run scenarios
  guest    kvm|tcg: the kernel ran in QEMU | null
  seed
  from     null | { scenario, rules, kind, message, delay: milliseconds,
                    places: [{ thread, statement, after: STEP, before: STEP,
                               opens: STEP | null: there is none before `after`,
                               closes: STEP | null: there is none behind `before`,
                               others: [{ thread, statements: [] }] }] },
           with STEP { step: its number in the trace, label, function: of Linux | null: user space }
  runs     [{ scenario, file, protocol, verdict: allowed|forbidden|open|skipped,
              reason: why skipped, open, or why the run ended early | null,
              iterations, seconds, registers: [name],
              outcomes: [{ values: [number | word | null: not written], seen, disturbed: how many of these
                           while MADV_COLLAPSE said EAGAIN, allowed: true|false|null: not known }],
              complaints: [part of the kernel's log], remarks: [what stands for something else],
              order: null: without --events | { expected: [event], seen: [{ events: [event], iterations,
                                                difference: text | null }] } }]
  besides  [{ during: scenario | null: before the first, text }]: what else the log of the guest complains of
  summary  { runs, allowed, forbidden, open, skipped, seconds, status }";

/// `pagefold linux`.
#[derive(Debug, clap::Args)]
pub(crate) struct LinuxArgs {
    /// Scenarios, or directories with *.litmus files at any depth
    #[arg(
        value_name = "FILE or DIR",
        default_value = "litmus",
        conflicts_with = "from"
    )]
    pub(crate) paths: Vec<PathBuf>,
    /// Compare with this protocol [default: that of the kernel's version]
    #[arg(
        short, long, value_name = "NAME",
        value_parser = vocabulary::protocol_parser(), hide_possible_values = true,
    )]
    pub(crate) protocol: Option<Protocol>,
    /// Do not race: run the threads one after the other, and compare the order of what collapses do by the kernel's trace events
    #[arg(long, conflicts_with = "from")]
    pub(crate) events: bool,
    #[command(flatten)]
    pub(crate) race: RaceArgs,
    /// Give the search for what is allowed up after so many executions
    #[arg(
        long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    pub(crate) bound: u64,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) random: RandomArgs,
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
}

/// `pagefold linux --random`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Random sequences")]
pub(crate) struct RandomArgs {
    /// No scenarios: sequences of calls drawn from SEED, on the running kernel and on the engine, step by step
    #[arg(long, value_name = "SEED", conflicts_with_all = ["paths", "kernel", "iterations", "seconds", "seed", "bound", "format"])]
    pub(crate) random: Option<u64>,
    /// So many sequences
    #[arg(
        long, value_name = "N", default_value_t = 10_000, requires = "random",
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    pub(crate) cases: u64,
    /// End after so many differences
    #[arg(long, value_name = "N", default_value = "1", requires = "random")]
    pub(crate) differences: NonZeroUsize,
}

/// How long is raced, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct RaceArgs {
    /// End with a scenario after so many iterations
    #[arg(
        long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    pub(crate) iterations: u64,
    /// End with a scenario after so many seconds
    #[arg(
        long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
    )]
    pub(crate) seconds: u64,
    /// What delays and places are drawn from
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Have khugepaged itself do the scans: its settings and `shmem_enabled` are changed meanwhile, for all of the machine
    #[arg(long)]
    pub(crate) khugepaged: bool,
    /// Race the scenario of this trace of a violation, aimed at what the trace shows, and say where a delay in the kernel would help
    #[arg(long, value_name = "TRACE.json")]
    pub(crate) from: Option<PathBuf>,
    /// With --from: the kernel was built with a delay of so many milliseconds at that place
    #[arg(
        long, value_name = "MS", default_value_t = 0, requires = "from",
        value_parser = clap::value_parser!(u64).range(..=100),
    )]
    pub(crate) delay: u64,
}

impl RaceArgs {
    /// What that comes to for a scenario.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            iterations: self.iterations,
            time: Duration::from_secs(self.seconds),
            seed: self.seed,
            khugepaged: self.khugepaged,
        }
    }

    /// What is to be reproduced, if something is.
    pub(crate) fn target(&self) -> Result<Option<Target>, Failure> {
        let read = |path| Target::read(path, Duration::from_millis(self.delay));
        self.from.as_deref().map(read).transpose()
    }
}

/// `pagefold linux --kernel`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "In QEMU")]
pub(crate) struct GuestArgs {
    /// Not on the running kernel: boot this one in QEMU
    #[arg(long, value_name = "BZIMAGE")]
    pub(crate) kernel: Option<PathBuf>,
    /// Who runs the guest's instructions [default: kvm if it can, or else tcg]
    #[arg(long, value_enum, requires = "kernel")]
    pub(crate) accel: Option<Accel>,
    /// CPUs of the guest
    #[arg(
        long, value_name = "N", default_value_t = 2, requires = "kernel",
        value_parser = clap::value_parser!(u32).range(1..=64),
    )]
    pub(crate) cpus: u32,
    /// Memory of the guest
    #[arg(
        long, value_name = "MIB", default_value_t = 1024, requires = "kernel",
        value_parser = clap::value_parser!(u32).range(512..=65_536),
    )]
    pub(crate) memory: u32,
    /// More parameters for the kernel
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        requires = "kernel"
    )]
    pub(crate) append: String,
    /// Write the kernel's log to FILE
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub(crate) kernel_log: Option<PathBuf>,
}

/// What the guest of `pagefold linux --kernel` runs.
#[derive(Debug, clap::Args)]
pub(crate) struct LinuxGuestArgs {
    /// Scenarios
    pub(crate) paths: Vec<PathBuf>,
    /// As in `pagefold linux`
    #[arg(long)]
    pub(crate) events: bool,
    #[command(flatten)]
    pub(crate) race: RaceArgs,
}

/// Who runs a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// The processor
    Kvm,
    /// QEMU
    Tcg,
}
