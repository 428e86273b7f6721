//! `pagefold check`.

use std::io::Write;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Instant;

use crate::args::{CheckArgs, Format};
use crate::done::{self, Done};
use crate::exit::{Failure, Status};
use crate::list;
use crate::load;
use crate::plan;
use crate::progress::Progress;
use crate::recording::Folder;
use crate::report::{json, text};
use crate::run;
use crate::terminal::Terminal;

/// Loads, runs, reports.
pub(crate) fn check(
    args: &CheckArgs,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let start = Instant::now();
    let scenarios = load::load(&args.paths)?;
    let runs = args.rules.selection().runs(&scenarios);
    if args.list {
        list::print(&runs, terminal, out)?;
        return Ok(Status::Fine);
    }
    let bounds = plan::bounds(args);
    let mut folder = args.save.as_deref().map(Folder::create).transpose()?;
    let jobs = args
        .jobs
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);

    let lines = text::Lines::new(&runs, terminal);
    if args.format == Format::Text {
        lines.titles(out)?;
    }
    let mut all: Vec<Done<'_>> = Vec::with_capacity(runs.len());
    let mut progress = Progress::new(&runs);
    run::run_all(
        &runs,
        &bounds,
        jobs,
        &mut progress,
        |index, checked, time| {
            let done = Done {
                run: runs[index],
                checked,
                time,
                saved: None,
            };
            if args.format == Format::Text {
                lines.line(&done, out)?;
            }
            all.push(done);
            Ok(())
        },
    )?;
    progress.clear();
    if let Some(folder) = &mut folder {
        for done in &mut all {
            done.saved = folder.save(done, &bounds)?;
        }
    }

    match args.format {
        Format::Text => {
            let details = text::Details {
                every_trace: args.trace || all.len() == 1,
                every_step: args.full_trace,
                bounds: &bounds,
                terminal,
            };
            details.write(&all, out)?;
            text::summary(&all, start.elapsed(), terminal, out)?;
        }
        Format::Json => json::write(&all, &bounds, start.elapsed(), out)?,
    }
    Ok(done::status(&all))
}
