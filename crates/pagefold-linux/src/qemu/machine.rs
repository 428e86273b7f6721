//! A QEMU process and what comes out of it.
//!
//! No process outlives this one: QEMU is killed when its [`Machine`] is dropped, and by the kernel if the thread that started it ends
//! in any other way. No file is left either: the archive and the disks are anonymous ones, and the lines are pipes. What is read is bounded.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;
use rustix::process::Signal;

use super::disks::Disks;
use super::{Config, Unable};

const QEMU: &str = "qemu-system-x86_64";

const INSTALL: &str = "install it: apt-get install qemu-system-x86 (Debian, Ubuntu), dnf install qemu-system-x86-core (Fedora)";

/// Who runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor, by way of /dev/kvm.
    Kvm,
    /// QEMU itself, with a thread for each processor.
    Tcg,
}

impl Accelerator {
    /// What QEMU calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    fn options(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// Something that the machine put out.
#[derive(Debug)]
pub(super) enum Said {
    /// On its first serial line, where the kernel's log goes.
    Log(Vec<u8>),
    /// On its second one, where frames go.
    Report(Vec<u8>),
    /// QEMU itself, on its standard error.
    Error(Vec<u8>),
}

/// A machine that runs.
#[derive(Debug)]
pub(super) struct Machine {
    child: Child,
    /// What it puts out; disconnected when it is gone.
    pub(super) said: Receiver<Said>,
}

/// Where QEMU is.
pub(super) fn find() -> Result<PathBuf, Unable> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(QEMU))
        .find(|file| file.is_file())
        .ok_or_else(|| Unable(format!("{QEMU} is not in PATH; {INSTALL}")))
}

/// Whether `path` is a kernel that can be booted as it is: not, for one, the uncompressed `vmlinux`.
///
/// # Errors
///
/// What it is instead.
pub fn examine(path: &Path) -> Result<(), Unable> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(0x206).read_to_end(&mut head))
        .map_err(|error| Unable(format!("{}: {error}", path.display())))?;
    if head.get(0x202..0x206) == Some(b"HdrS") {
        return Ok(());
    }
    let path = path.display();
    Err(Unable(format!(
        "{path}: not a bzImage (a kernel's build has it as arch/x86/boot/bzImage, an installed one as /boot/vmlinuz-*)"
    )))
}

impl Machine {
    /// Starts `config.kernel` with this archive.
    pub(super) fn start(
        qemu: &Path,
        config: &Config,
        accelerator: Accelerator,
        archive: &[u8],
        disks: &Disks,
    ) -> io::Result<Self> {
        let mut initramfs = File::from(rustix::fs::memfd_create("initramfs", MemfdFlags::CLOEXEC)?);
        initramfs.write_all(archive)?;
        let (report, report_end) = io::pipe()?;
        let (log, log_end) = io::pipe()?;
        let line = |fd: BorrowedFd<'_>| format!("/dev/fd/{}", fd.as_raw_fd());
        let inherited = [OwnedFd::from(initramfs), report_end.into(), log_end.into()];
        let [initramfs, report_end, log_end] = &inherited;
        let mut raw: Vec<RawFd> = inherited.iter().map(AsRawFd::as_raw_fd).collect();

        let mut command = Command::new(qemu);
        command
            .args(accelerator.options())
            .args(["-smp", &config.cpus.to_string()])
            .args(["-m", &config.memory.to_string()])
            .args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"])
            .arg("-kernel")
            .arg(fs::canonicalize(&config.kernel)?)
            .args(["-initrd", &line(initramfs.as_fd())])
            .args(["-append", &config.command_line()]);
        for (name, end) in [("log", log_end), ("report", report_end)] {
            let device = format!("file,id={name},path={}", line(end.as_fd()));
            let serial = format!("chardev:{name}");
            command.args(["-chardev", &device, "-serial", &serial]);
        }
        command.args(["-device", "nvme,id=disks,serial=pagefold"]);
        for (image, (name, namespace)) in disks.all() {
            let path = line(image.as_fd());
            let drive = format!("if=none,id={name},format=raw,cache=unsafe,file={path}");
            let device = format!("nvme-ns,bus=disks,drive={name},nsid={namespace}");
            command.args(["-drive", &drive, "-device", &device]);
            raw.push(image.as_raw_fd());
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec only calls that are allowed in a signal handler are made: three system calls, which allocate
        // nothing and take no lock; errors are made of numbers. The descriptors are open in the child, as it is a copy of this
        // process, which keeps them in `inherited` and `disks` until `spawn` has returned.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                // If the parent was gone before, nobody sends the signal.
                if rustix::process::getppid() != Some(parent) {
                    return Err(io::ErrorKind::NotConnected.into());
                }
                for &fd in &raw {
                    rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(fd), FdFlags::empty())?;
                }
                Ok(())
            });
        }
        let mut child = command.spawn()?;
        drop(inherited);

        let (sender, said) = sync_channel(64);
        if let Some(errors) = child.stderr.take() {
            listen(errors, sender.clone(), Said::Error);
        }
        listen(log, sender.clone(), Said::Log);
        listen(report, sender, Said::Report);
        Ok(Self { child, said })
    }

    /// Ends it, if it has not ended, and says how it did.
    pub(super) fn end(mut self) -> io::Result<ExitStatus> {
        self.kill()
    }

    fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Passes on what comes from a pipe, in a thread that ends with it, or when nobody wants it any more.
fn listen(
    mut pipe: impl Read + Send + 'static,
    sender: SyncSender<Said>,
    what: fn(Vec<u8>) -> Said,
) {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 14];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(what(buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
}
