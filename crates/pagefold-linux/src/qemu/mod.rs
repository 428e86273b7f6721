//! Boots a kernel image in QEMU, runs this program in it, and brings back what that says and what the kernel says of itself.
//!
//! [`run`] puts this program (`program`), the files that the command needs and a note of what to do into an archive (`initramfs`),
//! which the kernel unpacks as its root; the kernel starts the program as its first process (`guest`). Its output comes back in
//! frames (`frame`) over the second serial line; the first one carries the kernel's log, in which [`crate::kernel_log`] looks for
//! complaints. `machine` is the process of QEMU, `disks` what it has for swap and files, `modules` the kernel's KVM, `watch` who listens to it.
//!
//! Guaranteed: the machine is gone when `run` returns, also if that fails or this process is killed; nothing is written to a disk of the host; time,
//! memory and what is kept of the log are bounded.

mod disks;
mod frame;
mod guest;
mod initramfs;
mod machine;
mod modules;
mod program;
mod watch;

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use disks::{Disks, Here};
use initramfs::Initramfs;
use machine::Machine;
use watch::Watch;

use crate::kernel_log::Complaint;

pub use guest::{Job, job, mark, serve};
pub use machine::{Accelerator, examine};

/// A guest that runs under KVM says its first word sooner than this. Where it says nothing, KVM cannot run it.
const KVM_FIRST_WORD: Duration = Duration::from_secs(3);

/// A machine and the kernel to boot.
#[derive(Clone, Debug)]
pub struct Config {
    /// The kernel: a bzImage.
    pub kernel: PathBuf,
    /// Who runs it; none: KVM if that works, or else TCG.
    pub accelerator: Option<Accelerator>,
    /// Number of processors.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory: u32,
    /// More parameters for the kernel.
    pub append: String,
    /// All that it may take, from the start to the end of the command.
    pub time: Duration,
}

impl Config {
    /// This kernel on a machine of two processors.
    #[must_use]
    pub fn new(kernel: PathBuf) -> Self {
        Self {
            kernel,
            accelerator: None,
            cpus: 2,
            memory: 1024,
            append: String::new(),
            time: Duration::from_secs(600),
        }
    }

    /// What the kernel is told: to log to the first serial line from the beginning, warnings included; to use the checks it has; to
    /// make huge pages of nothing that does not ask for it; to trust its timer, which an emulated machine on a busy host serves late; and
    /// to end the machine when it is broken beyond going on, which it is when it has used what was freed: who spins on a freed lock spins for
    /// ever, and KASAN says so each time.
    fn command_line(&self) -> String {
        format!(
            "rdinit=/init transparent_hugepage=madvise earlyprintk=serial,ttyS0,115200 console=ttyS0,115200 loglevel=6 page_table_check=on kasan.fault=panic \
             no_timer_check oops=panic panic=-1 {}",
            self.append
        )
        .trim_end()
        .to_owned()
    }
}

/// What to run in the guest: this program with other arguments.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The arguments.
    pub args: Vec<String>,
    /// The directory to run in. It needs not exist here.
    pub directory: PathBuf,
    /// Files with their contents; relative paths begin at `directory`.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Whether it uses KVM, which the kernel may have as modules.
    pub kvm: bool,
}

/// What happens while the guest runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// KVM does not run this kernel: QEMU said this, or nothing.
    NoKvm(&'a str),
    /// The guest is up.
    Started {
        /// Who runs it.
        accelerator: Accelerator,
        /// The release of its kernel.
        release: &'a str,
        /// Since it was started.
        after: Duration,
    },
    /// The command wrote this to its standard output.
    Output(&'a [u8]),
    /// The command wrote this to its standard error.
    Error(&'a [u8]),
}

/// Who is told of events, and may break it all off.
pub type OnEvent<'a> = &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The command ended with this status.
    Exit(i32),
    /// The command was ended by this signal.
    Signal(i32),
    /// The machine ended before the command did.
    Died,
    /// Time was up, or it was broken off, before the command ended.
    Late,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How the command ended.
    pub end: End,
    /// What the kernel said against itself.
    pub complaints: Vec<Complaint>,
    /// The kernel's log, up to a bound.
    pub log: String,
}

/// Why nothing could be run, in words for the user.
#[derive(Debug)]
pub struct Unable(pub String);

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unable {}

impl From<io::Error> for Unable {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Boots, runs the payload, and waits for its end.
///
/// # Errors
///
/// If the payload did not begin.
pub fn run(config: &Config, payload: &Payload, on_event: OnEvent<'_>) -> Result<Outcome, Unable> {
    let qemu = machine::find()?;
    examine(&config.kernel)?;
    let disks = Disks::new()?;
    let archive = archive(config, payload, disks.here())?;
    let may_try_kvm = config.accelerator.is_none() && Path::new("/dev/kvm").exists();
    if may_try_kvm {
        let machine = Machine::start(&qemu, config, Accelerator::Kvm, &archive, &disks)?;
        let watch = Watch::new(Accelerator::Kvm).until_its_end(
            machine,
            KVM_FIRST_WORD,
            config.time,
            on_event,
        )?;
        if !watch.is_silent() {
            return watch.outcome();
        }
        if on_event(Event::NoKvm(&watch.errors())).is_break() {
            return watch.outcome();
        }
    }
    let accelerator = config.accelerator.unwrap_or(Accelerator::Tcg);
    let machine = Machine::start(&qemu, config, accelerator, &archive, &disks)?;
    Watch::new(accelerator)
        .until_its_end(machine, config.time, config.time, on_event)?
        .outcome()
}

/// This program, its libraries, modules of the kernel, the files of the payload, and the note of what to do.
fn archive(config: &Config, payload: &Payload, disks: Here) -> Result<Vec<u8>, Unable> {
    let mut archive = Initramfs::new();
    let program = program::this()?;
    archive.file(Path::new("/init"), &program);
    let libraries = program::libraries(&program)?.into_iter();
    let libraries = libraries.map(|library| (library.clone(), library));
    let modules: Vec<_> = if payload.kvm {
        modules::of(&config.kernel).collect()
    } else {
        Vec::new()
    };
    for (file, place) in libraries.chain(modules.iter().cloned()) {
        let content =
            fs::read(&file).map_err(|error| Unable(format!("{}: {error}", file.display())))?;
        archive.file(&place, &content);
    }
    archive.directory(&payload.directory);
    for (path, content) in &payload.files {
        archive.file(&payload.directory.join(path), content);
    }
    let job = Job {
        args: payload.args.clone(),
        directory: payload.directory.clone(),
        disks,
        kvm: payload.kvm,
        modules: modules.into_iter().map(|(_, place)| place).collect(),
    };
    let job = serde_json::to_vec(&job).map_err(io::Error::from)?;
    archive.file(Path::new(guest::JOB), &job);
    Ok(archive.finish())
}
