//! `pagefold check --list`: what would run.

use std::io::{self, Write};
use std::ptr;

use crate::done;
use crate::plan::Run;
use crate::terminal::{Ink, Terminal};

/// Lists the runs below their scenarios.
pub(crate) fn print(runs: &[Run<'_>], terminal: Terminal, out: &mut dyn Write) -> io::Result<()> {
    for runs in runs.chunk_by(|run, next| ptr::eq(run.loaded, next.loaded)) {
        let Some(Run { loaded, .. }) = runs.first() else {
            continue;
        };
        writeln!(
            out,
            "{}  {}",
            terminal.paint(Ink::Title, &loaded.scenario.name),
            terminal.paint(Ink::Faint, loaded.path.display())
        )?;
        let description = loaded.scenario.description.as_deref();
        if let Some(line) = description.and_then(|text| text.lines().next()) {
            writeln!(out, "    {}", line.trim_end())?;
        }
        for run in runs {
            match run.expected {
                Some(expected) => writeln!(out, "    {}: {}", run.rules, done::describe(expected))?,
                None => writeln!(out, "    {}", run.rules)?,
            }
        }
    }
    Ok(())
}
