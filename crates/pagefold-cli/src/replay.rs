//! `pagefold replay`.

use std::io::Write;

use pagefold_explore::Replay;
use pagefold_machine::model::{self, RunConfig};

use crate::args::ReplayArgs;
use crate::exit::{Failure, Status};
use crate::load;
use crate::recording::Recording;
use crate::report::columns;
use crate::terminal::{Ink, Terminal};

/// The name of what stands for the witness of an `exists`.
const WITNESS: &str = "witness";

/// Runs a saved trace again and says whether the same comes out.
pub(crate) fn replay(
    args: &ReplayArgs,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let recording = Recording::read(&args.file)?;
    let scenario = load::scenario(&recording.source, &recording.file)?;
    // The trace is followed to its end, however short the bound was set.
    let length = u32::try_from(recording.trace.steps.len()).unwrap_or(u32::MAX);
    let steps = recording.steps.max(length.saturating_add(1));
    let config = recording.rules.config(
        &RunConfig::new(recording.rules.protocol)
            .bounds
            .max_steps(steps),
    );
    let replay = model::replay(&scenario, &config, &recording.trace)
        .map_err(|limit| Failure::file(&args.file, limit))?;

    let title = format!("{} {}", scenario.name, recording.rules);
    writeln!(out, "{}", terminal.paint(Ink::Title, title))?;
    writeln!(
        out,
        "recorded: {}: {}",
        recording.violation.kind, recording.violation.message
    )?;
    writeln!(out)?;
    columns::grid(&replay.trace, &scenario, args.full_trace).write(terminal, out)?;
    writeln!(out)?;
    let (ink, verdict, status) = conclude(&recording, &replay);
    writeln!(out, "{}", terminal.paint(ink, verdict))?;
    Ok(status)
}

fn conclude(recording: &Recording, replay: &Replay) -> (Ink, String, Status) {
    if let Some(divergence) = &replay.divergence {
        let verdict = format!(
            "diverged from the trace at step {}: expected {}, got {}",
            divergence.step, divergence.expected, divergence.got
        );
        return (Ink::Bad, verdict, Status::BadInput);
    }
    let recorded = &recording.violation.kind;
    let Some(violation) = &replay.violation else {
        let verdict = format!("followed to the end, but not reproduced: no {recorded}");
        return (Ink::Open, verdict, Status::Fine);
    };
    let kind = violation.kind.to_string();
    let message = &violation.message;
    if kind == WITNESS {
        return (
            Ink::Good,
            format!("reproduced: {kind}: {message}"),
            Status::Fine,
        );
    }
    let verdict = if kind == *recorded {
        format!("reproduced: {kind}: {message}")
    } else {
        format!("not reproduced: instead of {recorded} came {kind}: {message}")
    };
    (Ink::Bad, verdict, Status::Broken)
}
