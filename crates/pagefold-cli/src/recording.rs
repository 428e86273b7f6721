//! Traces as files: each holds what is needed to run it again.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use pagefold::protocol::Protocol;
use pagefold_explore::{Config, Replay, Trace};
use pagefold_litmus::{Memory, Scenario};
use pagefold_machine::model::{self, RunConfig, ScenarioLimit};
use serde::{Deserialize, Serialize};

use crate::done::Done;
use crate::exit::Failure;
use crate::load;
use crate::plan::{self, Rules};

/// What such a file says it is.
const FORMAT: &str = "pagefold trace";
/// The version of the format that is written and read.
const VERSION: u32 = 3;
/// Longer names are cut off: file systems have a limit.
const NAME_BYTES: usize = 200;

/// The part of the format that no version changes.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    format: String,
    version: u32,
    scenario: ScenarioText,
    rules: RulesText,
    /// No execution is longer.
    steps: u32,
    violation: Violation,
    /// The explorer's own format, which has a version of its own.
    trace: Trace,
}

/// The part of the explorer's format that no version changes.
#[derive(Deserialize)]
struct TracePreamble {
    trace: TraceVersion,
}

#[derive(Deserialize)]
struct TraceVersion {
    version: u32,
}

/// A scenario and where it came from.
#[derive(Serialize, Deserialize)]
struct ScenarioText {
    file: String,
    source: String,
}

/// A protocol with its options, by name.
#[derive(Serialize, Deserialize)]
struct RulesText {
    protocol: String,
    without: Vec<String>,
    unsplit: bool,
    strict: bool,
    memory: String,
}

/// What the trace ends in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Violation {
    /// Its name.
    pub(crate) kind: String,
    /// What happened.
    pub(crate) message: String,
}

/// A trace with what is needed to run it again.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    /// Where the scenario came from.
    pub(crate) file: String,
    /// Its text.
    pub(crate) source: String,
    /// The rules that it ran under.
    pub(crate) rules: Rules,
    /// No execution is longer.
    pub(crate) steps: u32,
    /// What the trace ends in.
    pub(crate) violation: Violation,
    /// The trace.
    pub(crate) trace: Trace,
}

impl Recording {
    /// Reads a file that [`Folder::save`] wrote.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = load::read(path)?;
        Self::parse(&text).map_err(|message| Failure::file(path, message))
    }

    /// Runs the trace again, of this scenario.
    pub(crate) fn replay(&self, scenario: &Scenario) -> Result<Replay, ScenarioLimit> {
        // The trace is followed to its end, however short the bound was set.
        let length = u32::try_from(self.trace.steps.len()).unwrap_or(u32::MAX);
        let steps = self.steps.max(length.saturating_add(1));
        let bounds = RunConfig::new(self.rules.protocol).bounds.max_steps(steps);
        model::replay(scenario, &self.rules.config(&bounds), &self.trace)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let no_trace = |error: serde_json::Error| format!("not a trace of pagefold: {error}");
        let preamble: Preamble = serde_json::from_str(text).map_err(no_trace)?;
        if preamble.format != FORMAT {
            return Err(format!(
                "not a trace of pagefold: its format is {:?}",
                preamble.format
            ));
        }
        let TracePreamble { trace } = match preamble.version {
            VERSION => serde_json::from_str(text).map_err(no_trace)?,
            version => return Err(outdated(version, VERSION)),
        };
        if trace.version != Trace::VERSION {
            return Err(outdated(trace.version, Trace::VERSION));
        }
        let file: File = serde_json::from_str(text).map_err(no_trace)?;
        file.trace.validate().map_err(|error| error.to_string())?;
        let protocol = Protocol::by_name(&file.rules.protocol)
            .ok_or_else(|| format!("no protocol has the name {:?}", file.rules.protocol))?;
        let without = plan::safeguards(&file.rules.without)
            .ok_or_else(|| format!("not all are safeguards: {:?}", file.rules.without))?;
        let memory = Memory::by_name(&file.rules.memory)
            .ok_or_else(|| format!("no memory model has the name {:?}", file.rules.memory))?;
        Ok(Self {
            file: file.scenario.file,
            source: file.scenario.source,
            rules: Rules {
                protocol,
                without,
                unsplit: file.rules.unsplit,
                strict: file.rules.strict,
                memory,
            },
            steps: file.steps,
            violation: file.violation,
            trace: file.trace,
        })
    }
}

/// Why a file of another version cannot be read, and what to do.
fn outdated(version: u32, understood: u32) -> String {
    format!(
        "a trace of format version {version}, where version {understood} is understood; record it again with \
         `pagefold check SCENARIO --save DIR`"
    )
}

/// A directory that traces are saved to.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The names given so far.
    names: HashSet<String>,
}

impl Folder {
    /// The directory at `path`, made if it does not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|error| Failure::file(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            names: HashSet::new(),
        })
    }

    /// Saves the trace of a run if it has one, and says where.
    pub(crate) fn save(
        &mut self,
        done: &Done<'_>,
        bounds: &Config,
    ) -> Result<Option<PathBuf>, Failure> {
        let Some(violation) = done.violation() else {
            return Ok(None);
        };
        let rules = done.run.rules;
        let name = self.name(done);
        let path = self.path.join(name);
        let file = File {
            format: FORMAT.to_owned(),
            version: VERSION,
            scenario: ScenarioText {
                file: done.run.loaded.path.display().to_string(),
                source: done.run.loaded.source.clone(),
            },
            rules: RulesText {
                protocol: rules.protocol.name.to_owned(),
                without: rules
                    .without_names()
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
                unsplit: rules.unsplit,
                strict: rules.strict,
                memory: rules.memory.name().to_owned(),
            },
            steps: bounds.max_steps,
            violation: Violation {
                kind: violation.kind.to_string(),
                message: violation.message.clone(),
            },
            trace: violation.trace.clone(),
        };
        let written = serde_json::to_string_pretty(&file)
            .map_err(std::io::Error::from)
            .and_then(|text| fs::write(&path, text + "\n"));
        match written {
            Ok(()) => Ok(Some(path)),
            Err(error) => Err(Failure::file(&path, error)),
        }
    }

    /// A name that no other trace of this invocation has.
    fn name(&mut self, done: &Done<'_>) -> String {
        let rules = done.run.rules.to_string();
        let mut stem = format!("{} {rules}", done.run.loaded.scenario.name)
            .replace(", ", "+")
            .replace(' ', ".");
        stem.truncate(stem.floor_char_boundary(NAME_BYTES));
        let mut name = format!("{stem}.json");
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{stem}.{number}.json");
            number += 1;
        }
        name
    }
}
