//! `pagefold linux --random`: sequences by chance on the running kernel and on the engine.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use pagefold_linux::{Cases, Differed, Differing, Machine};

use super::args::LinuxArgs;
use super::report;
use crate::exit::{Failure, Status};
use crate::terminal::{Ink, Terminal};

/// How often is told how far it is, at most.
const TELL: Duration = Duration::from_secs(10);

/// Runs sequences and reports.
pub(crate) fn differential(
    args: &LinuxArgs,
    seed: u64,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let machine = Machine::claim();
    let protocol = match (args.protocol, &machine) {
        (Some(protocol), _) => protocol,
        (None, Ok(machine)) => machine.kernel.protocol(),
        (None, Err(_)) => pagefold::protocol::Protocol::DEFAULT,
    };
    let kernel = machine.as_ref().map(|machine| &machine.kernel);
    report::head(kernel, None, protocol, seed, terminal, out)?;
    let Ok(machine) = machine else {
        return Ok(Status::Skipped);
    };
    let wanted = Cases {
        seed,
        cases: args.random.cases,
        differences: args.random.differences.get(),
        protocol,
    };
    let begin = Instant::now();
    let mut told = begin;
    let mut shown = 0;
    let mut output = Ok(());
    let differed = machine.differ(&wanted, |differed| {
        for differing in &differed.found[shown..] {
            if output.is_ok() {
                output = difference(differing, terminal, out);
            }
        }
        shown = differed.found.len();
        if told.elapsed() > TELL {
            told = Instant::now();
            eprintln!("{}", summary(differed, begin.elapsed()));
        }
    });
    output?;
    let differed = match differed {
        Ok(differed) => differed,
        Err(why) => {
            writeln!(out, "{}", terminal.paint(Ink::Open, why))?;
            return Ok(Status::Skipped);
        }
    };
    writeln!(out, "\n{}", summary(&differed, begin.elapsed()))?;
    if !differed.explained.is_empty() {
        writeln!(out, "went to where the two are known to differ:")?;
    }
    for (known, count) in &differed.explained {
        writeln!(out, "  {count} {}: {}", known.name, known.why)?;
    }
    report::complaints(&differed.complaints, terminal, out)?;
    let fine = differed.found.is_empty() && differed.complaints.is_empty();
    Ok(if fine { Status::Fine } else { Status::Broken })
}

/// A difference. The scenario comes first, so that it can be cut out.
fn difference(differing: &Differing, terminal: Terminal, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}", differing.text)?;
    let title = format!("case {}: after {}", differing.case, differing.step);
    writeln!(out, "{}", terminal.paint(Ink::Bad, title))?;
    for what in &differing.what {
        writeln!(out, "  {what}")?;
    }
    writeln!(out, "  {} sequences tried to shorten it", differing.probes)?;
    out.flush()
}

fn summary(differed: &Differed, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    format!(
        "{} sequences of {} steps in {seconds:.1} s, {:.0} a second: {} differ, {} only once",
        differed.cases,
        differed.steps,
        differed.cases as f64 / seconds,
        differed.found.len(),
        differed.unsteady,
    )
}
