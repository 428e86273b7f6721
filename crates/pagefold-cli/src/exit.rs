//! How the command ends.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The exit statuses of a command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// As it should be.
    Fine = 0,
    /// Something is broken, or not as expected.
    Broken = 1,
    /// The input does not fit what it is run on.
    BadInput = 2,
    /// Nothing is broken as far as was looked, but a bound was met.
    NotExhausted = 3,
    /// Nothing could be run on this machine.
    Skipped = 4,
}

impl Status {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What is wrong with the input, ready to be shown.
    Input(String),
    /// What this machine lacks, ready to be shown.
    Machine(String),
    /// Standard output takes no more.
    Output(io::Error),
}

impl Failure {
    /// Bad input, in one sentence.
    pub(crate) fn input(message: impl fmt::Display) -> Self {
        Self::Input(format!("error: {message}"))
    }

    /// Something in the file system that does not work.
    pub(crate) fn file(path: &Path, error: impl fmt::Display) -> Self {
        Self::input(format_args!("{}: {error}", path.display()))
    }

    /// Tells the user, unless nobody listens any more.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Input(message) | Self::Machine(message) => eprintln!("{message}"),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Self::Output(error) => eprintln!("error: standard output: {error}"),
        }
        match self {
            Self::Machine(_) => Status::Skipped.into(),
            Self::Input(_) | Self::Output(_) => Status::BadInput.into(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
