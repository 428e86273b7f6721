//! Settings of the machine that are others for a while.
//!
//! Guarantee: each is what it was when this process has gone, whichever way it goes. A *keeper*, a process that is told what they were,
//! waits at a pipe, and puts them back when the last one is gone that has the other end: this process, and those it made, which die with
//! it. No terminal reaches the keeper, and it dies with nobody. It is a copy of this process, so that the lock on the machine
//! (`lib.rs`), too, stays taken until it is through.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::process;

/// Settings that are put back when this is dropped.
#[derive(Debug)]
pub(crate) struct Settings {
    saved: Vec<(PathBuf, String)>,
    /// The end of the pipe that the keeper waits at.
    line: File,
    keeper: Pid,
}

impl Settings {
    /// Remembers these. This process must have one thread only, as it forks.
    pub(crate) fn keep(paths: &[PathBuf]) -> io::Result<Self> {
        let saved = paths
            .iter()
            .map(|path| {
                let text = fs::read_to_string(path)?;
                Ok((path.clone(), chosen(&text).to_owned()))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let (wait, line) = pipe_with(PipeFlags::CLOEXEC)?;
        let (mut wait, line) = (File::from(wait), File::from(line));
        let number = line.as_raw_fd();
        let keeper = process::fork_alone(|| {
            // SAFETY: the number is that of the keeper's copy of the pipe's other end, which nothing in it uses: `line` is the maker's,
            // and the keeper ends without dropping its copy of that.
            unsafe { rustix::io::close(number) };
            // Somebody writes there who has put them back; or the end comes.
            if !matches!(wait.read(&mut [0]), Ok(1)) {
                put_back(&saved);
            }
        })?;
        Ok(Self {
            saved,
            line,
            keeper,
        })
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        put_back(&self.saved);
        let _ = self.line.write(&[1]);
        process::wait(self.keeper);
    }
}

/// Changes a setting.
pub(crate) fn set(path: &Path, value: impl ToString) -> io::Result<()> {
    fs::write(path, value.to_string())
}

fn put_back(saved: &[(PathBuf, String)]) {
    for (path, value) in saved {
        if let Err(error) = set(path, value) {
            eprintln!(
                "pagefold linux: {} was `{value}`, and cannot be made so again: {error}",
                path.display()
            );
        }
    }
}

/// What a setting is: all of the text, or the word in brackets.
pub(crate) fn chosen(text: &str) -> &str {
    let bracketed = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    bracketed.map_or(text.trim(), |(chosen, _)| chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_the_word_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen("511\n"), "511");
    }
}
