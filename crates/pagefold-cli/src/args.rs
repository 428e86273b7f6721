//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use pagefold::protocol::{Protocol, Safeguard, SafeguardSet};
use pagefold_explore::Config;
use pagefold_litmus::Memory;

use crate::linux::args as linux;
use crate::plan::Selection;
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
    #[command(after_long_help = linux::DETAILS)]
    Linux(linux::LinuxArgs),
    /// What `linux --kernel` runs in the guest
    #[command(hide = true)]
    LinuxGuest(linux::LinuxGuestArgs),
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
