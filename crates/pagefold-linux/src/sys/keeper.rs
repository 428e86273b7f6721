//! Somebody who puts things in order when this process has gone, whichever way it goes.
//!
//! A *keeper* is a process that waits at a pipe. It does what it is there for when it is let go, or when the last one is gone that has the other
//! end: this process, and those it made, which die with it. No terminal reaches the keeper, and it dies with nobody. It is a copy of this
//! process, so that the lock on the machine (`lib.rs`), too, stays taken until it is through.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::process;

/// A keeper, which is let go and waited for when this is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// The end of the pipe that it does not wait at.
    line: File,
    pid: Pid,
}

impl Keeper {
    /// One that will do this. This process must have one thread only, as it forks.
    pub(crate) fn new(at_the_end: impl FnOnce()) -> io::Result<Self> {
        let (wait, line) = pipe_with(PipeFlags::CLOEXEC)?;
        let (mut wait, line) = (File::from(wait), File::from(line));
        let number = line.as_raw_fd();
        let pid = process::fork_alone(|| {
            // SAFETY: the number is that of the keeper's copy of the pipe's other end, which nothing in it uses: `line` is the maker's,
            // and the keeper ends without dropping its copy of that.
            unsafe { rustix::io::close(number) };
            // It is let go; or the end comes. Signals that could interrupt it are ignored.
            let _ = wait.read(&mut [0]);
            at_the_end();
        })?;
        Ok(Self { line, pid })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.line.write(&[1]);
        process::wait(self.pid);
    }
}
