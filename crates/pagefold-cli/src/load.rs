//! From paths to scenarios that can run.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pagefold_litmus::{Diagnostic, Diagnostics, Scenario};
use pagefold_machine::model;

use crate::exit::Failure;
use crate::vocabulary;

/// The largest file that is read at all.
const FILE_BYTES: u64 = 1 << 26;

/// A scenario and where it comes from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The file, as the user named it.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) source: String,
    /// What the text says.
    pub(crate) scenario: Scenario,
}

/// Loads the scenarios in these files and directories, in this order, those of a directory sorted.
///
/// Everything that is wrong with any of them is in the failure.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Vec<Loaded>, Failure> {
    let mut problems = Vec::new();
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        match collect(path) {
            Ok(found) => {
                for file in found {
                    if !files.contains(&file) {
                        files.push(file);
                    }
                }
            }
            Err(failure) => problems.push(failure),
        }
    }
    let mut scenarios = Vec::new();
    for path in files {
        match load_file(path) {
            Ok(loaded) => scenarios.push(loaded),
            Err(failure) => problems.push(failure),
        }
    }
    join(problems).map(|()| scenarios)
}

/// All problems as one.
fn join(problems: Vec<Failure>) -> Result<(), Failure> {
    let mut messages = Vec::new();
    for problem in problems {
        match problem {
            Failure::Input(message) => messages.push(message),
            Failure::Machine(_) | Failure::Output(_) => return Err(problem),
        }
    }
    if messages.is_empty() {
        Ok(())
    } else {
        Err(Failure::Input(messages.join("\n\n")))
    }
}

/// The scenario files that `path` stands for: itself, or those below it.
fn collect(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::file(path, plain(&error)))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    descend(path, &mut found)?;
    if found.is_empty() {
        return Err(Failure::file(path, "no *.litmus file in this directory"));
    }
    found.sort();
    Ok(found)
}

/// Adds the scenario files below a directory. Links to directories are not followed.
fn descend(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let at = |error: io::Error| Failure::file(directory, plain(&error));
    for entry in fs::read_dir(directory).map_err(at)? {
        let entry = entry.map_err(at)?;
        let path = entry.path();
        if entry.file_type().map_err(at)?.is_dir() {
            descend(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "litmus")
        {
            found.push(path);
        }
    }
    Ok(())
}

fn load_file(path: PathBuf) -> Result<Loaded, Failure> {
    let source = read(&path)?;
    let scenario = scenario(&source, &path.display().to_string())?;
    Ok(Loaded {
        path,
        source,
        scenario,
    })
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::file(path, plain(&error)))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Failure::file(
            path,
            format_args!("larger than {FILE_BYTES} bytes"),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |line| line.chars().count())
            + 1;
        Failure::input(format_args!(
            "{}:{line}:{column}: not UTF-8: byte {:#04x}",
            path.display(),
            error.as_bytes()[valid]
        ))
    })
}

/// Parses a scenario and sees whether the model has room for it.
pub(crate) fn scenario(source: &str, file_name: &str) -> Result<Scenario, Failure> {
    let color = console::colors_enabled_stderr();
    let scenario = vocabulary::parse(source, file_name)
        .map_err(|diagnostics| Failure::Input(diagnostics.render(source, color)))?;
    match model::fits(&scenario) {
        Ok(()) => Ok(scenario),
        Err(limit) => {
            let diagnostics = Diagnostics {
                file_name: file_name.to_owned(),
                list: vec![Diagnostic {
                    message: limit.message,
                    span: limit.span,
                    label: "this is too much for it".to_owned(),
                    related: None,
                    help: None,
                }],
                omitted: 0,
            };
            Err(Failure::Input(diagnostics.render(source, color)))
        }
    }
}

/// What went wrong, without the number that the operating system has for it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}
