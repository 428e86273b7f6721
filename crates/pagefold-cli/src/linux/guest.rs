//! `pagefold linux --kernel`: scenarios are raced in a guest, and compared here.
//!
//! The guest is given the scenarios that have a counterpart, in their order, and runs [`race`] on them: a line of JSON for each, as soon
//! as it is through. A guest that ends before its last scenario has broken on the first that is left; that is this scenario's result, and
//! another guest gets the rest. So each guest brings at least one result, and the number of boots is bounded.

use std::fs::{self, File};
use std::io::{self, Write};
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use pagefold_linux::events::Collapse;
use pagefold_linux::kernel_log::Complaint;
use pagefold_linux::qemu::{self, Accelerator, Config, End, Event, Payload};
use pagefold_linux::{Count, Kernel, Machine, Outcome, Ran, Unable};
use serde::{Deserialize, Serialize};

use super::args::{Accel, GuestArgs, LinuxGuestArgs};
use super::{Session, run, unfit};
use crate::exit::{Failure, Status};
use crate::load::{self, Loaded};

/// A guest is up within this.
const BOOT: Duration = Duration::from_secs(120);

/// What a scenario may take longer than it was told to.
const SLACK: Duration = Duration::from_secs(60);

/// The trace of `--from`, in the guest.
const TRACE: &str = "trace.json";

/// What came of a scenario in the guest.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    time: Duration,
    result: Result<Raced, String>,
}

/// A [`Ran`] that JSON can say: there, names are text.
#[derive(Debug, Serialize, Deserialize)]
struct Raced {
    counts: Vec<(Outcome, Count)>,
    stuck: Option<String>,
    complaints: Vec<Complaint>,
    collapses: Vec<(Vec<Collapse>, u64)>,
    events: Vec<String>,
    hides_poison: bool,
}

impl From<Ran> for Raced {
    fn from(ran: Ran) -> Self {
        Self {
            counts: ran.counts.into_iter().collect(),
            stuck: ran.stuck,
            complaints: ran.complaints,
            collapses: ran.collapses.into_iter().collect(),
            events: ran.events,
            hides_poison: ran.hides_poison,
        }
    }
}

impl From<Raced> for Ran {
    fn from(raced: Raced) -> Self {
        Self {
            counts: raced.counts.into_iter().collect(),
            stuck: raced.stuck,
            complaints: raced.complaints,
            collapses: raced.collapses.into_iter().collect(),
            events: raced.events,
            hides_poison: raced.hides_poison,
        }
    }
}

/// In the guest: races the scenarios on its kernel.
pub(crate) fn race(args: &LinuxGuestArgs, out: &mut dyn Write) -> Result<Status, Failure> {
    let target = args.race.target()?;
    let aim = target.as_ref().map(|target| &target.aim);
    let machine = Machine::claim();
    for loaded in load::load(&args.paths)? {
        qemu::mark(&loaded.scenario.name);
        let begin = Instant::now();
        let ran = match &machine {
            Ok(machine) => {
                let limits = args.race.limits();
                run(machine, &loaded.scenario, args.events, limits, aim)
            }
            Err(why) => Err(why.clone()),
        };
        let line = Line {
            time: begin.elapsed(),
            result: ran.map(Raced::from).map_err(|why| match why {
                Unable::NoCounterpart(reason) => reason.to_string(),
                Unable::Missing(what) | Unable::Pointless(what) => what,
            }),
        };
        serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(Status::Fine)
}

/// What the guest said.
#[derive(Debug)]
enum Said {
    Started(Accelerator, String),
    Line(Line),
}

/// Races `scenarios` on the kernel `image`.
pub(crate) fn linux<'a>(
    image: &Path,
    scenarios: &'a [Loaded],
    session: &mut Session<'a, '_>,
) -> Result<(), Failure> {
    qemu::examine(image).map_err(Failure::input)?;
    if let Some(file) = &session.args.guest.kernel_log {
        fs::write(file, "").map_err(|error| Failure::file(file, error))?;
    }
    let mut left: Vec<&Loaded> = scenarios.iter().collect();
    while left
        .iter()
        .any(|loaded| unfit(loaded, session.args).is_none())
    {
        left = boot(image, left, session)?;
    }
    skip_unfit(&mut left.into_iter().peekable(), session)?;
    Ok(())
}

/// Up to the first that a guest runs.
fn skip_unfit<'a>(
    left: &mut Peekable<impl Iterator<Item = &'a Loaded>>,
    session: &mut Session<'a, '_>,
) -> io::Result<()> {
    while let Some((loaded, why)) = left
        .peek()
        .and_then(|loaded| Some((*loaded, unfit(loaded, session.args)?)))
    {
        left.next();
        session.take(loaded, Err(why), Duration::ZERO)?;
    }
    Ok(())
}

/// Boots a guest for these scenarios; those that are left when it has ended.
fn boot<'a>(
    image: &Path,
    scenarios: Vec<&'a Loaded>,
    session: &mut Session<'a, '_>,
) -> Result<Vec<&'a Loaded>, Failure> {
    let config = config(
        image,
        &session.args.guest,
        scenarios.len(),
        session.args.race.limits().time,
    );
    let payload = payload(&scenarios, session)?;
    let mut left = scenarios.into_iter().peekable();
    let mut told = Vec::new();
    let outcome = thread::scope(|scope| {
        let (sender, said) = channel();
        let run = scope.spawn(move || {
            let mut output = Vec::new();
            qemu::run(&config, &payload, &mut |event| {
                hear(event, &mut output, &sender)
            })
        });
        for said in said {
            match said {
                Said::Started(accelerator, release) => {
                    let kernel = Kernel::of(&release).map_err(Unable::Missing);
                    session.begin(kernel.as_ref(), Some(accelerator))?;
                    skip_unfit(&mut left, session)?;
                }
                Said::Line(line) => {
                    let Some(loaded) = left.next() else { break };
                    let ran = line.result.map(Ran::from).map_err(Unable::Missing);
                    told.extend(ran.iter().flat_map(|ran| ran.complaints.clone()));
                    session.take(loaded, ran, line.time)?;
                    skip_unfit(&mut left, session)?;
                }
            }
        }
        let outcome = run.join().expect("booting does not panic");
        outcome.map_err(|unable| Failure::Machine(format!("error: {unable}")))
    })?;
    if let Some(file) = &session.args.guest.kernel_log {
        // One guest after the other, if a kernel dies.
        let append = || {
            File::options()
                .append(true)
                .open(file)?
                .write_all(outcome.log.as_bytes())
        };
        append().map_err(|error| Failure::file(file, error))?;
    }
    let besides = outcome.complaints.iter();
    let mut besides: Vec<Complaint> = besides
        .filter(|complaint| !told.iter().any(|told| complaint.is_like(told)))
        .cloned()
        .collect();
    if let Some(loaded) = left.next() {
        let name = &loaded.scenario.name;
        let its = |complaint: &mut Complaint| complaint.during.as_ref() == Some(name);
        let ran = Ran {
            stuck: Some(how(&outcome.end, &outcome.tail())),
            complaints: besides.extract_if(.., its).collect(),
            ..Ran::default()
        };
        session.take(loaded, Ok(ran), Duration::ZERO)?;
        skip_unfit(&mut left, session)?;
    }
    session.besides.extend(besides);
    Ok(left.collect())
}

/// The machine.
fn config(image: &Path, args: &GuestArgs, scenarios: usize, time: Duration) -> Config {
    let scenarios = u32::try_from(scenarios).unwrap_or(u32::MAX);
    Config {
        accelerator: args.accel.map(|accel| match accel {
            Accel::Kvm => Accelerator::Kvm,
            Accel::Tcg => Accelerator::Tcg,
        }),
        cpus: args.cpus,
        memory: args.memory,
        append: args.append.clone(),
        time: (time + SLACK)
            .saturating_mul(scenarios)
            .saturating_add(BOOT),
        ..Config::new(image.to_owned())
    }
}

/// The command that the guest runs, and its files.
fn payload(scenarios: &[&Loaded], session: &Session<'_, '_>) -> Result<Payload, Failure> {
    let race = &session.args.race;
    let mut args = vec![
        "linux-guest".to_owned(),
        format!("--iterations={}", race.iterations),
        format!("--seconds={}", race.seconds),
        format!("--seed={}", race.seed),
    ];
    if race.khugepaged {
        args.push("--khugepaged".to_owned());
    }
    let mut files = Vec::new();
    if let Some(trace) = &race.from {
        files.push((PathBuf::from(TRACE), load::read(trace)?.into_bytes()));
        args.extend([format!("--from={TRACE}"), format!("--delay={}", race.delay)]);
    }
    if session.args.events {
        args.push("--events".to_owned());
    }
    let fit = scenarios
        .iter()
        .filter(|loaded| unfit(loaded, session.args).is_none());
    let mut kvm = session.args.events;
    for (index, loaded) in fit.enumerate() {
        kvm |= pagefold_linux::needs_kvm(&loaded.scenario);
        let name = format!("{index}.litmus");
        files.push((PathBuf::from(&name), loaded.source.clone().into_bytes()));
        args.push(name);
    }
    Ok(Payload {
        args,
        directory: PathBuf::from("/scenarios"),
        files,
        kvm,
    })
}

/// Passes on what the guest says; nobody listens any more if the results cannot be written.
fn hear(event: Event<'_>, output: &mut Vec<u8>, listener: &Sender<Said>) -> ControlFlow<()> {
    let send = |said| match listener.send(said) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    match event {
        Event::NoKvm(why) => {
            let why = if why.is_empty() {
                "it says nothing"
            } else {
                why
            };
            eprintln!("remark: KVM does not run this kernel, so QEMU does ({why})");
        }
        Event::Error(bytes) => eprint!("{}", String::from_utf8_lossy(bytes)),
        Event::Started {
            accelerator,
            release,
            ..
        } => send(Said::Started(accelerator, release.to_owned()))?,
        Event::Output(bytes) => {
            output.extend_from_slice(bytes);
            while let Some(end) = output.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = output.drain(..=end).collect();
                if let Ok(line) = serde_json::from_slice(&line) {
                    send(Said::Line(line))?;
                }
            }
        }
    }
    ControlFlow::Continue(())
}

/// Why a guest brought no more results.
fn how(end: &End, tail: &str) -> String {
    let how = match end {
        End::Exit(status) => format!("the command in the guest ended early, with status {status}"),
        End::Signal(signal) => format!("the command in the guest was ended by signal {signal}"),
        End::Died => "the guest's kernel died".to_owned(),
        End::Late => "nothing came from the guest any more".to_owned(),
    };
    format!("{how}; its log ends:\n{tail}")
}
