//! Processes: forks that cannot outlive those who made them.

use std::process;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use super::{errno, result};

/// Ends the process if it is dropped, by a panic.
struct NoWayBack;

impl Drop for NoWayBack {
    fn drop(&mut self) {
        process::abort();
    }
}

/// Forks. The child runs `child` and nothing else, and dies with the thread that made it.
pub(crate) fn fork(child: impl FnOnce()) -> Result<Pid, Errno> {
    let parent = rustix::process::getpid();
    // SAFETY: `child` uses no lock that another thread of the parent may hold: the threads of a worker that are not
    // in a scenario's statement wait, and statements take no lock and allocate nothing. The allocator is made usable by libc.
    match unsafe { libc::fork() } {
        -1 => Err(errno()),
        0 => {
            let _abort = NoWayBack;
            let dies = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            // The parent may have been gone before that.
            if dies.is_err() || rustix::process::getppid() != Some(parent) {
                exit(1);
            }
            child();
            exit(0);
        }
        pid => Ok(Pid::from_raw(pid).expect("a child has a number")),
    }
}

/// Forks. The child runs `child` and nothing else; no terminal reaches it, and it lives on when its maker is gone.
pub(crate) fn fork_alone(child: impl FnOnce()) -> Result<Pid, Errno> {
    // SAFETY: there is no other thread in the parent that could hold a lock: the caller says so.
    match unsafe { libc::fork() } {
        -1 => Err(errno()),
        0 => {
            let _abort = NoWayBack;
            let _ = rustix::process::setsid();
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
                // SAFETY: to ignore a signal needs no handler.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            child();
            exit(0);
        }
        pid => Ok(Pid::from_raw(pid).expect("a child has a number")),
    }
}

/// Mounts a file system so that only this process sees it, and those that it forks later.
pub(crate) fn mount_for_us_alone(kind: &str, place: &str) -> Result<(), Errno> {
    // SAFETY: the process gets a copy of what is mounted; no descriptor and no memory changes.
    result(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    rustix::mount::mount(kind, place, kind, MountFlags::empty(), None)
}

/// Ends this process at once, with all its threads.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: nothing runs after it.
    unsafe { libc::_exit(status) }
}

/// Waits until a child has ended.
pub(crate) fn wait(child: Pid) {
    while matches!(
        rustix::process::waitpid(Some(child), WaitOptions::empty()),
        Err(Errno::INTR)
    ) {}
}

/// Whether a child has ended, which it is then waited for.
pub(crate) fn has_ended(child: Pid) -> bool {
    ended_with(child).is_some()
}

/// The status that a child has ended with, if it has; a signal, and whatever else is wrong, is -1.
pub(crate) fn ended_with(child: Pid) -> Option<i32> {
    match rustix::process::waitpid(Some(child), WaitOptions::NOHANG) {
        Ok(None) => None,
        Ok(Some((_, status))) => Some(status.exit_status().unwrap_or(-1)),
        Err(_) => Some(-1),
    }
}

/// Ends a child.
pub(crate) fn kill(child: Pid) {
    let _ = rustix::process::kill_process(child, Signal::KILL);
    wait(child);
}
