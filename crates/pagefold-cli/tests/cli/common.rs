//! What the tests share: a directory with scenarios, and the command run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The scenario that the project began with: broken under `posted-v1`, and known to be.
pub(crate) fn uffd() -> String {
    let source = include_str!("../../../../litmus/thread/uffd-copy-vs-retract.litmus");
    let (scenario, _) = source.split_once("expect").unwrap();
    format!("{scenario}expect {{ posted-v1: broken table-not-empty; linux-6.6: holds; }}\n")
}

/// Two readers. What they read is not what `condition` says, unless it says so.
pub(crate) fn readers(name: &str, condition: &str, expect: &str) -> String {
    format!(
        "MM {name}
(* Two readers of one mapping.
   They do not disturb each other. *)
{{
    shmem f[2] = {{ 1, 2 }};
    mm A {{ x: mmap(f, MAP_SHARED); }}
}}
P0 (A) {{ r = x[0]; }}
P1 (A) {{ s = x[1]; }}
{condition}
{expect}
"
    )
}

/// A directory to run the command in.
pub(crate) struct Place {
    directory: TempDir,
}

/// What the command did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// A directory with these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let place = Self {
            directory: TempDir::new().unwrap(),
        };
        for (name, text) in files {
            place.write(name, text);
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The command, ready to be run here; what follows are its arguments, separated by blanks.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold"));
        command
            .current_dir(self.directory.path())
            .args(arguments.split(' '));
        command
    }

    /// Runs the command.
    pub(crate) fn run(&self, arguments: &str) -> Ran {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().unwrap();
        let ran = Ran {
            status: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        };
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }
}

impl Ran {
    /// The output without what differs from run to run, or with each change of the engine: times, numbers, and the
    /// steps of traces.
    pub(crate) fn stable(&self) -> String {
        let mut lines = Vec::new();
        for line in self.out.lines() {
            let step = line.trim_start();
            let in_trace = line.starts_with("  ") && step.starts_with(|c: char| c.is_ascii_digit());
            if in_trace || line.starts_with("-----") {
                continue;
            }
            lines.push(without_numbers(line));
        }
        lines.join("\n")
    }
}

/// The line without what follows two blanks and begins with a digit, and without its time.
fn without_numbers(line: &str) -> String {
    let line = match line.rsplit_once(", ") {
        Some((summary, time))
            if time.ends_with('s') && time.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            format!("{summary}, [time]")
        }
        _ => line.to_owned(),
    };
    let is_number = |cell: &str| cell.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let cells: Vec<&str> = line
        .split("  ")
        .enumerate()
        .filter(|(index, cell)| *index == 0 || !is_number(cell))
        .map(|(_, cell)| cell)
        .collect();
    cells.join("  ").trim_end().to_owned()
}
