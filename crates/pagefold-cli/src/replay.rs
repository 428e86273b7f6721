//! `pagefold replay`.

use std::io::Write;

use pagefold_explore::Replay;

use crate::args::ReplayArgs;
use crate::exit::{Failure, Status};
use crate::load;
use crate::recording::Recording;
use crate::report::columns;
use crate::terminal::{Ink, Terminal};

/// The name of what stands for the witness of an `exists`.
pub(crate) const WITNESS: &str = "witness";

/// Runs a saved trace again and says whether the same comes out.
pub(crate) fn replay(
    args: &ReplayArgs,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let recording = Recording::read(&args.file)?;
    let scenario = match &args.scenario {
        Some(path) => load::scenario(&load::read(path)?, &path.display().to_string())?,
        None => load::scenario(&recording.source, &recording.file)?,
    };
    let replay = recording
        .replay(&scenario)
        .map_err(|limit| Failure::file(&args.file, limit))?;

    let title = format!("{} {}", scenario.name, recording.rules);
    writeln!(out, "{}", terminal.paint(Ink::Title, title))?;
    writeln!(
        out,
        "recorded: {}: {}",
        recording.violation.kind, recording.violation.message
    )?;
    let fingerprint = scenario.fingerprint();
    if fingerprint != recording.trace.program {
        let remark = format!(
            "remark: this is not the scenario that was recorded: {fingerprint}, not {}",
            recording.trace.program
        );
        writeln!(out, "{}", terminal.paint(Ink::Open, remark))?;
    }
    writeln!(out)?;
    columns::grid(&replay.trace, &scenario, args.full_trace).write(terminal, out)?;
    writeln!(out)?;
    for line in course(&recording, &replay) {
        writeln!(out, "{line}")?;
    }
    let (ink, verdict, status) = conclude(&recording, &replay);
    writeln!(out, "{}", terminal.paint(ink, verdict))?;
    Ok(status)
}

/// How far the trace was followed, and with which differences.
fn course(recording: &Recording, replay: &Replay) -> Vec<String> {
    let mut lines = Vec::new();
    let steps = replay.trace.steps.len();
    if let Some(end) = replay.recorded {
        lines.push(match end.checked_sub(1) {
            Some(last) if end < steps => format!(
                "the recorded part ends with step {last}; the {} after it were not recorded",
                count(steps - end)
            ),
            Some(last) => format!("the recorded part ends with step {last}, the last one"),
            None => "nothing was recorded".to_owned(),
        });
    } else if replay.divergence.is_none() {
        let left = recording.trace.steps.len() - replay.followed;
        lines.push(format!("the recorded part would go on for {}", count(left)));
    }
    if replay.added + replay.missing > 0 {
        lines.push(format!(
            "{} of a thread's own new, {} missing",
            count(replay.added),
            replay.missing
        ));
    }
    lines
}

fn count(steps: usize) -> String {
    format!("{steps} {}", if steps == 1 { "step" } else { "steps" })
}

fn conclude(recording: &Recording, replay: &Replay) -> (Ink, String, Status) {
    if let Some(divergence) = &replay.divergence {
        let verdict = format!("diverged from the trace at {divergence}");
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
