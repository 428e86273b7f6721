//! Traces: an interleaving as a list of named steps, and its file format.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An interleaving: who did what, one visible operation after the other.
///
/// Steps carry names and not only thread numbers, so that a trace recorded from one version of a
/// program says where another version departs from it (see [`replay`](crate::replay)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The version of the format, [`Trace::VERSION`].
    pub version: u32,
    /// What was run: the [`program`](crate::Config::program) of the configuration.
    pub program: String,
    /// The names of the threads, in the order in which they were spawned.
    pub threads: Vec<String>,
    /// The steps.
    pub steps: Vec<TraceStep>,
}

/// One step of a [`Trace`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// The thread, as an index into [`Trace::threads`].
    pub thread: u16,
    /// What it did.
    pub label: String,
    /// The object that it did it to, if it is one. An object without a name of its own has a number, which holds only within
    /// this trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Whether another thread of this trace does something to the same object that the order with this step matters to.
    /// The other steps are a thread's own business.
    pub shared: bool,
    /// It is not the thread itself that does something: a store that it executed before reaches memory,
    /// under a [memory model](crate::Memory) with store buffers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reaches_memory: bool,
    /// In which of several ways it took place, under a [memory model](crate::Memory) that lets loads see
    /// old values: 0 with the newest value, or as the newest one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub variant: u16,
    /// Remarks of the program which belong after this step (see [`note`](crate::note)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "called by serde")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// Why a text is not a trace.
#[derive(Debug)]
pub enum TraceError {
    /// It is not JSON of the expected form.
    Syntax(serde_json::Error),
    /// It is of another version of the format.
    Version(u32),
    /// A step names a thread that is not in the list.
    Thread {
        /// The step.
        step: usize,
        /// The thread it names.
        thread: u16,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "not a trace: {error}"),
            Self::Version(version) => write!(
                f,
                "a trace of format version {version}, where version {} is understood; it has to be recorded again",
                Trace::VERSION
            ),
            Self::Thread { step, thread } => {
                write!(f, "step {step} is of thread {thread}, which has no name")
            }
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Syntax(error) => Some(error),
            Self::Version(_) | Self::Thread { .. } => None,
        }
    }
}

impl Trace {
    /// The version of the format which this crate writes and reads.
    pub const VERSION: u32 = 2;

    /// The trace as the text of a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers always serialize")
    }

    /// Reads back what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// If the text is no trace, or of another version of the format.
    pub fn from_json(text: &str) -> Result<Self, TraceError> {
        /// The part of the format that no version changes.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text).map_err(TraceError::Syntax)?;
        if version != Self::VERSION {
            return Err(TraceError::Version(version));
        }
        let trace: Self = serde_json::from_str(text).map_err(TraceError::Syntax)?;
        trace.validate()?;
        Ok(trace)
    }

    /// Whether it is what this crate would have written: for a trace that was read as a part of
    /// something else. What is not valid cannot be [replayed](crate::replay).
    ///
    /// # Errors
    ///
    /// If it is of another version of the format, or a step is of no thread.
    pub fn validate(&self) -> Result<(), TraceError> {
        if self.version != Self::VERSION {
            return Err(TraceError::Version(self.version));
        }
        for (step, TraceStep { thread, .. }) in self.steps.iter().enumerate() {
            if usize::from(*thread) >= self.threads.len() {
                return Err(TraceError::Thread {
                    step,
                    thread: *thread,
                });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Trace {
    /// One line for each step; the name of the thread stands where it changes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .threads
            .iter()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0);
        let mut previous = None;
        for (number, step) in self.steps.iter().enumerate() {
            let thread = usize::from(step.thread);
            let name = match self.threads.get(thread) {
                Some(name) if previous != Some(thread) => name.as_str(),
                _ => "",
            };
            previous = Some(thread);
            writeln!(f, "{number:>4}  {name:<width$}  {}", step.label)?;
            for note in &step.notes {
                writeln!(f, "      {:<width$}    # {note}", "")?;
            }
        }
        Ok(())
    }
}
