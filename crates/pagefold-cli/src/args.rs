//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use pagefold::protocol::{Protocol, Safeguard, SafeguardSet};
use pagefold_explore::Config;
use pagefold_linux::Limits;
use pagefold_litmus::Memory;

use crate::exit::Failure;
use crate::plan::Selection;
use crate::reproduce::Target;
use crate::vocabulary;

const EXAMPLES: &str = "\
Examples:
  pagefold check litmus/thread
      Runs every scenario of the folder under the protocols that it has expectations for.
  pagefold check my.litmus --protocol posted-v1
      Settles one question: holds, or the shortest interleaving found that breaks it.
  pagefold check my.litmus --without recheck_anon_vma
      The same rules with one safeguard removed.
  pagefold check litmus/memory --memory ra
      The same questions where CPUs see each other's writes late, unless an order forbids it.
  pagefold check litmus --save traces && pagefold replay traces/NAME.json
      Keeps what broke as files, and runs one of them again, step by step.
  pagefold linux litmus/thread
      Races the same scenarios on the running kernel: does it do only what is allowed?
  pagefold linux --kernel arch/x86/boot/bzImage litmus/thread
      The same on a kernel that was just built, in QEMU.
  pagefold shrink my.litmus --protocol posted-v1 --save small.litmus
      Leaves out of a scenario what it does not need to break.

`pagefold protocols`, `safeguards`, `actors`, `calls` and `violations` list the names that scenarios and options use.";

const CHECK_DETAILS: &str = "\
Which runs:
  Each line of a scenario's `expect` is one run. A scenario without `expect` runs once, under the
  default protocol.
  --protocol selects the lines of those protocols; a scenario that has none for one of them runs
  under it without expectation.
  --without, --unsplit and --strict replace the options of the lines: there is then one run for
  each scenario and protocol, compared with a line only if that has the very same options.
  --memory selects the lines of that memory model; of a scenario that has none, each line is run
  under it without expectation.

Exit status:
  0  every run as expected; without expectation, anything but `broken` counts as fine
  1  something broken without being expected to, or otherwise not as expected
  2  bad input, and nothing was run; or the results could not be written
  3  as 0, but something was not exhausted within --bound and --steps, or only sampled

JSON (--format json), one object:
  version  1
  runs     [{ scenario, file, protocol, without: [], unsplit, strict, memory: sc|tso|ra,
              verdict: holds|broken|exception|allowed|forbidden|not-exhausted,
              kind: the violation's name | null, message: string | null,
              expected: string | null, as_expected: true|false| null: nothing to compare,
              executions, hunted, redundant, states, longest, seconds,
              trace: null | { events, context_switches, preemptions,
                              steps: [{ thread, label, notes: [] }] },
              reproduce: command | null }]
  summary  { runs, as_expected, unexpected, broken, not_exhausted, seconds, status }";

const SHRINK_DETAILS: &str = "\
Address spaces, objects, threads, mappings, statements, rounds of loops, pages and contents are left out, one after
the other, as long as a violation of the same kind remains under the same rules. At the end no single one of them can
be left out. Each scenario on the way is searched within --bound.

If the rules allow several runs, it is the first that breaks, with those first that are expected to.

Exit status:
  0  shrunk, if only by nothing
  2  bad input, or nothing breaks

JSON (--format json), one object:
  version  1
  scenario, file, protocol, without: [], unsplit, strict, memory
  kind, message  the violation
  probes   how many scenarios were tried
  dropped  [what was left out, in this order]
  source   the text of the scenario
  trace    as in `pagefold check`";

const ORDERINGS_DETAILS: &str = "\
An order is a dependent read, an acquire, a release or a full barrier. One place of the engine at a time loses its order, and
every run that passes the place is searched under the memory model ra, for full barriers also tso. The table says
which scenario breaks then, and how. That none breaks proves nothing: see \"Orderings\" in ARCHITECTURE.md.

The runs are the lines of the scenarios that expect nothing to break, without those that name a memory model. What breaks under
the model with all orders in place is left out.";

const LINUX_DETAILS: &str = "\
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
as a scenario, and the exit status is 1. Where the two are known to differ is said at the end. Needs Linux 6.7.

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

const REPLAY_DETAILS: &str = "\
The file stands alone: it holds the scenario, the protocol and its options, and every step. With --scenario,
another version of the scenario is run instead; if it is another one, a remark says so.

Steps that matter to other threads have to come again, in the same order and with the same outcome. If one does
not, the replay stops and names it. Steps that are a thread's own business may have come or gone since; they are
counted. After the end of the trace the execution goes on, with as few context switches as possible.

Exit status:
  0  the trace was followed to its end and no violation came, or it is the witness of an `exists`
  1  the violation came again, or another one
  2  not a trace that can be read, or what runs now diverges from it";

/// Checks memory-management litmus tests: explores every interleaving of the page-table code under a model checker.
#[derive(Debug, Parser)]
#[command(name = "pagefold", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check scenarios and compare with what they expect
    #[command(after_long_help = CHECK_DETAILS)]
    Check(CheckArgs),
    /// Run a saved trace again, step by step
    #[command(after_long_help = REPLAY_DETAILS)]
    Replay(ReplayArgs),
    /// Find the shortest scenario that breaks in the same way
    #[command(after_long_help = SHRINK_DETAILS)]
    Shrink(ShrinkArgs),
    /// Race scenarios on the running Linux, or on another in QEMU, and compare with what is allowed
    #[command(after_long_help = LINUX_DETAILS)]
    Linux(LinuxArgs),
    /// What `linux --kernel` runs in the guest
    #[command(hide = true)]
    LinuxGuest(LinuxGuestArgs),
    /// Find out what each order that the engine asks of memory is needed for
    #[command(after_long_help = ORDERINGS_DETAILS)]
    Orderings(OrderingsArgs),
    /// List the protocols: versions of the rules
    Protocols,
    /// List the safeguards, which --without removes
    Safeguards,
    /// List who can race in a scenario
    Actors,
    /// List what a scenario can do
    Calls,
    /// List the violations that are looked for
    Violations,
}

/// `pagefold check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Scenarios, or directories with *.litmus files at any depth
    #[arg(value_name = "FILE or DIR", default_value = "litmus")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
    /// Runs at the same time [default: one for each CPU]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Give a run up after so many executions [default: 50000000; with --random 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) bound: Option<u64>,
    /// Do not explore: look at --bound executions, chosen by chance from SEED. Proves nothing
    #[arg(long, value_name = "SEED")]
    pub(crate) random: Option<u64>,
    /// With --random: how executions are chosen
    #[arg(long, value_enum, default_value_t, requires = "random")]
    pub(crate) strategy: Strategy,
    /// With --strategy pct: ordered steps that a violation may need to be found likely
    #[arg(
        long, value_name = "N", default_value_t = 3, requires = "random",
        value_parser = clap::value_parser!(u32).range(1..=64),
    )]
    pub(crate) depth: u32,
    /// Look only at interleavings with at most so many preemptions: switches from a thread that could have gone on
    #[arg(long, value_name = "N", conflicts_with = "random")]
    pub(crate) preemptions: Option<u32>,
    /// Cut an execution off after so many steps
    #[arg(
        long, value_name = "N", default_value_t = Config::default().max_steps,
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    pub(crate) steps: u32,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Show the trace of every violation and witness, also of those that are as expected
    #[arg(long)]
    pub(crate) trace: bool,
    /// Show every step of a trace, also those that nobody else could notice
    #[arg(long)]
    pub(crate) full_trace: bool,
    /// Write the trace of every violation and witness to a file in DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) save: Option<PathBuf>,
    /// List what would run, and run nothing
    #[arg(long, conflicts_with_all = ["format", "save", "trace", "full_trace", "jobs"])]
    pub(crate) list: bool,
}

/// Under which rules is run.
#[derive(Debug, clap::Args)]
pub(crate) struct RulesArgs {
    /// Run under this protocol; can be repeated
    #[arg(
        short, long, value_name = "NAME", value_delimiter = ',',
        value_parser = vocabulary::protocol_parser(), hide_possible_values = true,
    )]
    pub(crate) protocol: Vec<Protocol>,
    /// Remove this safeguard; can be repeated
    #[arg(
        short, long, value_name = "SAFEGUARD", value_delimiter = ',',
        value_parser = vocabulary::safeguard_parser(), hide_possible_values = true,
    )]
    pub(crate) without: Vec<Safeguard>,
    /// One lock for all page tables of an address space, instead of one for each
    #[arg(long)]
    pub(crate) unsplit: bool,
    /// Documented exceptions count as violations
    #[arg(long)]
    pub(crate) strict: bool,
    /// What a load may see: sc, the newest value; tso, as on x86; ra, what the orders of accesses ask for
    #[arg(
        long, value_name = "sc|tso|ra",
        value_parser = vocabulary::memory_parser(), hide_possible_values = true,
    )]
    pub(crate) memory: Option<Memory>,
}

impl RulesArgs {
    /// What that comes to.
    pub(crate) fn selection(&self) -> Selection {
        let mut protocols = Vec::new();
        for protocol in &self.protocol {
            if !protocols.contains(protocol) {
                protocols.push(*protocol);
            }
        }
        let without = self.without.iter().copied();
        Selection {
            protocols,
            without: without.fold(SafeguardSet::EMPTY, SafeguardSet::with),
            unsplit: self.unsplit,
            strict: self.strict,
            memory: self.memory,
        }
    }
}

/// `pagefold shrink`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShrinkArgs {
    /// The scenario
    #[arg(value_name = "SCENARIO")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
    /// A scenario does not count as broken if nothing is found within so many executions
    #[arg(
        long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    pub(crate) bound: u64,
    /// Cut an execution off after so many steps
    #[arg(
        long, value_name = "N", default_value_t = Config::default().max_steps,
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    pub(crate) steps: u32,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Show every step of the trace, also those that nobody else could notice
    #[arg(long)]
    pub(crate) full_trace: bool,
    /// Write the scenario to FILE, too
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

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
    /// Have khugepaged itself do the scans: its settings are changed meanwhile, for all of the machine
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

/// `pagefold orderings`.
#[derive(Debug, clap::Args)]
pub(crate) struct OrderingsArgs {
    /// Scenarios, or directories with *.litmus files at any depth
    #[arg(value_name = "FILE or DIR", default_value = "litmus/memory")]
    pub(crate) paths: Vec<PathBuf>,
    /// Places that are looked at at the same time [default: one for each CPU]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Give a run up after so many executions
    #[arg(
        long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    pub(crate) bound: u64,
}

/// `pagefold replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// A file written by `pagefold check --save`
    #[arg(value_name = "TRACE.json")]
    pub(crate) file: PathBuf,
    /// Run this scenario along the trace, instead of the one in the file
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// Show every step, also those that nobody else could notice
    #[arg(long)]
    pub(crate) full_trace: bool,
}

/// How executions are chosen by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// Each step's thread anew
    Walk,
    /// Threads have priorities, which change at few steps
    #[default]
    Pct,
    /// Operations have priorities, drawn anew when something conflicts
    Pos,
}

/// How to report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
}
