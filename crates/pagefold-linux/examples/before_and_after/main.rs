//! What the series "mm/khugepaged: retract_page_tables() without mmap or vma lock" is for, measured on real kernels.
//!
//! ```text
//! cargo run --release -p pagefold-linux --example before_and_after -- [BZIMAGE...]
//! ```
//!
//! Two processes map the same object. It is collapsed, huge page by huge page; how many page tables the other process loses is seen in
//! its `VmPTE`; how long it has to wait, it measures itself. This is done with the other process idle, and with its `mmap_lock` busy; on the running kernel, and on each kernel image
//! that is given, in QEMU. How to read the result: docs/before-and-after.md.

mod delay;
mod experiment;
mod mapper;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pagefold_linux::qemu::{self, Config, End, Event, Payload, Unable};

use experiment::Measured;

/// A kernel that takes longer for a few collapses does not do them.
const TIME: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    if let Some(job) = qemu::job() {
        qemu::serve(&job);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["map", object, load] => mapper::run(object, load).map_err(Unable::from),
        ["measure-guest"] => experiment::measure(true)
            .map_err(Unable::from)
            .map(|measured| {
                println!("{}", measured.line());
            }),
        _ => compare(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(unable) => {
            eprintln!("error: {unable}");
            ExitCode::from(4)
        }
    }
}

/// The running kernel and those in these files.
fn compare(kernels: &[&str]) -> Result<(), Unable> {
    Measured::show_head();
    let mut all = vec![(experiment::measure(false)?, "running")];
    all[0].0.show("running");
    for kernel in kernels {
        let measured = boot(kernel)?;
        measured.show("QEMU");
        all.push((measured, "QEMU"));
    }
    Measured::show_waits_head();
    for (measured, place) in &all {
        measured.show_waits(place);
    }
    Ok(())
}

/// The same in QEMU.
fn boot(kernel: &str) -> Result<Measured, Unable> {
    let mut config = Config::new(PathBuf::from(kernel));
    config.time = TIME;
    let payload = Payload {
        args: vec!["measure-guest".to_owned()],
        directory: PathBuf::from("/"),
        files: Vec::new(),
        kvm: false,
    };
    let mut output = Vec::new();
    let outcome = qemu::run(&config, &payload, &mut |event| {
        if let Event::Output(bytes) | Event::Error(bytes) = event {
            output.extend_from_slice(bytes);
        }
        ControlFlow::Continue(())
    })?;
    for complaint in &outcome.complaints {
        println!(
            "{kernel} says against itself ({}):\n{complaint}",
            complaint.kind
        );
    }
    let output = String::from_utf8_lossy(&output);
    match (outcome.end, Measured::parse(output.trim())) {
        (End::Exit(0), Some(measured)) => Ok(measured),
        (end, _) => Err(Unable(format!("{kernel}: {end:?}: {output}"))),
    }
}
