//! The command `pagefold`: checks memory-management litmus tests under a model checker.
//!
//! A thin layer over the libraries. `check` goes through these modules in this order: [`load`] (files to scenarios),
//! [`plan`] (scenarios to runs), [`run`] (workers), [`done`] (what came out, against what was expected), [`report`].
//! [`linux`] races scenarios on a real kernel instead, where there is one.
//! [`replay`], [`shrink`] and [`orderings`] are the other commands that run something.

mod args;
mod check;
mod done;
mod exit;
mod grid;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "elsewhere.rs"]
mod linux;
mod list;
mod load;
mod orderings;
mod plan;
mod progress;
mod recording;
mod replay;
mod report;
mod run;
mod shrink;
mod tables;
mod terminal;
mod vocabulary;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use exit::{Failure, Status};
use terminal::Terminal;

fn main() -> ExitCode {
    linux::serve_as_guest();
    let args = Args::parse();
    let mut out = io::stdout().lock();
    match execute(&args.command, &mut out) {
        Ok(status) => status.into(),
        Err(failure) => failure.report(),
    }
}

fn execute(command: &Command, out: &mut dyn Write) -> Result<Status, Failure> {
    let terminal = Terminal::stdout();
    let status = match command {
        Command::Check(args) => check::check(args, terminal, out)?,
        Command::Replay(args) => replay::replay(args, terminal, out)?,
        Command::Shrink(args) => shrink::shrink(args, terminal, out)?,
        Command::Linux(args) => linux::linux(args, terminal, out)?,
        Command::LinuxGuest(args) => linux::race(args, out)?,
        Command::Orderings(args) => orderings::orderings(args, terminal, out)?,
        Command::Protocols => tables::print(&tables::protocols(), terminal, out)?,
        Command::Safeguards => tables::print(&tables::safeguards(), terminal, out)?,
        Command::Actors => tables::print(&tables::actors(), terminal, out)?,
        Command::Calls => tables::print(&tables::calls(), terminal, out)?,
        Command::Violations => tables::print(&tables::violations(), terminal, out)?,
    };
    out.flush()?;
    Ok(status)
}
