//! The first process of the guest: this program as `/init`.
//!
//! It lays out the file systems that programs expect, runs the command that it finds in [`JOB`], passes on what that writes, and powers
//! the machine off whatever happened: the host waits for no more than that, and has its own bound if it does not come.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use kvm_ioctls::VmFd;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot, uname};
use rustix::termios::tcdrain;
use serde::{Deserialize, Serialize};

use super::disks::Here;
use super::frame::{CHUNK, End, Frame};
use super::modules;
use crate::kernel_log::MARKER;
use crate::sys::kvm;

/// Where the host puts what is to be done.
pub(super) const JOB: &str = "/pagefold-job.json";

/// The serial line for frames; the first one is the kernel's.
const LINE: &str = "/dev/ttyS1";

/// What the kernel finds out with a delay about a process that has ended, it does within this: grace periods, delayed work.
const AFTERMATH: Duration = Duration::from_millis(300);

/// What to do in the guest.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The arguments of the command; the program is this one.
    pub(super) args: Vec<String>,
    /// The directory that it runs in.
    pub(super) directory: PathBuf,
    /// The disks that there are.
    pub(super) disks: Here,
    /// Whether KVM is used.
    pub(super) kvm: bool,
    /// The modules for it.
    pub(super) modules: Vec<PathBuf>,
}

/// The job, if this process is the first one of a guest of [`super::run`]. None in any other: then it is an ordinary command.
#[must_use]
pub fn job() -> Option<Job> {
    if std::process::id() != 1 {
        return None;
    }
    let text = fs::read_to_string(JOB).ok()?;
    serde_json::from_str(&text).ok()
}

/// Does the job and turns the machine off.
pub fn serve(job: &Job) -> ! {
    match lay_out().and_then(|()| OpenOptions::new().write(true).open(LINE)) {
        Ok(line) => {
            job.disks.attach();
            let _kvm = job.kvm.then(|| with_one_cpu(|| kvm(&job.modules)));
            let line = Mutex::new(line);
            let end = command(job, &line).unwrap_or_else(|error| End::Unable(error.to_string()));
            thread::sleep(AFTERMATH);
            send(&line, &Frame::Ended(end));
            // What is still in the kernel's buffer would be lost.
            let _ = tcdrain(&*line.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Err(error) => {
            eprintln!("pagefold: the guest cannot be set up, with {LINE} for its report: {error}")
        }
    }
    loop {
        let _ = reboot(RebootCommand::PowerOff);
        thread::sleep(Duration::from_secs(1));
    }
}

/// Loads the modules, and makes a virtual machine that does nothing but be there.
///
/// With its first one, and after its last one, the kernel changes the code of its scheduler (`preempt_notifier_key`), by way of a breakpoint.
/// QEMU's own processors sometimes run into it when another one has already taken it away again, and the kernel dies of that.
fn kvm(modules: &[PathBuf]) -> Option<VmFd> {
    for module in modules {
        // Some are for other machines than this one.
        let _ = modules::load(module);
    }
    kvm::idle()
}

/// Does something while only the first CPU runs, if the kernel can do that.
fn with_one_cpu<T>(work: impl FnOnce() -> T) -> T {
    let switches: Vec<PathBuf> = (1..)
        .map(|cpu| PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online")))
        .take_while(|switch| switch.exists())
        .collect();
    let turn = |to: &str| {
        for switch in &switches {
            let _ = fs::write(switch, to);
        }
    };
    turn("0");
    let done = work();
    turn("1");
    done
}

/// The file systems. Those that a kernel may lack are missed by who needs them.
fn lay_out() -> io::Result<()> {
    let needed = [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "devtmpfs")];
    for (place, kind) in needed {
        attach(place, kind)
            .map_err(|error| io::Error::new(error.kind(), format!("{kind} on {place}: {error}")))?;
    }
    let wanted = [
        ("/tmp", "tmpfs"),
        ("/dev/shm", "tmpfs"),
        ("/sys/kernel/debug", "debugfs"),
        ("/sys/kernel/tracing", "tracefs"),
    ];
    for (place, kind) in wanted {
        let _ = attach(place, kind);
    }
    Ok(())
}

fn attach(place: &str, kind: &str) -> io::Result<()> {
    if !Path::new(place).is_dir() {
        fs::create_dir_all(place)?;
    }
    match mount(kind, place, kind, MountFlags::empty(), None) {
        // Some kernels mount /dev by themselves.
        Err(rustix::io::Errno::BUSY) => Ok(()),
        result => Ok(result?),
    }
}

/// Runs the command to its end.
fn command(job: &Job, line: &Mutex<File>) -> io::Result<End> {
    let release = uname().release().to_string_lossy().into_owned();
    send(line, &Frame::Started { release });
    mark("the command");
    let mut child = Command::new("/proc/self/exe")
        .args(&job.args)
        .current_dir(&job.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| pass_on(stdout, false, line));
        scope.spawn(|| pass_on(stderr, true, line));
    });
    let status = child.wait()?;
    Ok(match status.code() {
        Some(code) => End::Exit(code),
        None => End::Signal(status.signal().unwrap_or(0)),
    })
}

/// Says in the kernel's log what runs from here on.
pub fn mark(name: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // At the level of warnings, so that it comes out where they do.
        let _ = log.write_all(format!("<4>{MARKER}{name}\n").as_bytes());
    }
}

/// All that comes from a pipe, until nobody can write to it any more.
fn pass_on(pipe: Option<impl Read>, error: bool, line: &Mutex<File>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; CHUNK];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        send(line, &Frame::output(error, &buffer[..count]));
    }
}

/// A frame that cannot be sent is missed by the host, which sees then that something is wrong.
fn send(line: &Mutex<File>, frame: &Frame) {
    let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = line.write_all(frame.line().as_bytes());
}
