//! `pagefold linux` where there is no Linux on x86-64: it says so. Everything else runs there.

use std::io::Write;

use crate::exit::{Failure, Status};
use crate::terminal::Terminal;
use args::{LinuxArgs, LinuxGuestArgs};

/// The command line of `pagefold linux`.
pub(crate) mod args {
    use std::ffi::OsString;

    /// What `--help` says behind the options.
    pub(crate) const DETAILS: &str = "This pagefold was not built for Linux on x86-64, and has no real kernel to hold scenarios against.";

    /// `pagefold linux`.
    #[derive(Debug, clap::Args)]
    pub(crate) struct LinuxArgs {
        /// Whatever was asked for
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        _rest: Vec<OsString>,
    }

    pub(crate) use LinuxArgs as LinuxGuestArgs;
}

/// There is no guest here.
pub(crate) fn serve_as_guest() {}

/// Says that there is no kernel.
pub(crate) fn linux(_: &LinuxArgs, _: Terminal, _: &mut dyn Write) -> Result<Status, Failure> {
    Err(Failure::Machine(format!(
        "pagefold linux needs Linux on x86-64, and this is {} on {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    )))
}

/// As [`linux`].
pub(crate) fn race(args: &LinuxGuestArgs, out: &mut dyn Write) -> Result<Status, Failure> {
    linux(args, Terminal::stdout(), out)
}
