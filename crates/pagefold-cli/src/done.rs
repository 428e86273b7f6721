//! A run that is over: what came out, and whether that is what was expected.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pagefold_explore::{Bound, Config, Search, Violation};
use pagefold_litmus::{Memory, Verdict};
use pagefold_machine::model::{Checked, Outcome};

use crate::exit::Status;
use crate::plan::{self, Run};

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    /// What was run.
    pub(crate) run: Run<'a>,
    /// What came out.
    pub(crate) checked: Checked,
    /// How long it took.
    pub(crate) time: Duration,
    /// The file that the trace was saved to.
    pub(crate) saved: Option<PathBuf>,
}

/// How what came out compares with what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// Nothing was expected.
    None,
    /// The same.
    AsExpected,
    /// Something else.
    Unexpected,
    /// The search was not exhaustive, so there is nothing to compare.
    Undecided,
}

impl Done<'_> {
    /// What came out, in a word.
    pub(crate) fn word(&self) -> &'static str {
        word(&self.checked.outcome)
    }

    /// What came out, with the name of what is broken.
    pub(crate) fn verdict(&self) -> String {
        match self.broken() {
            Some(kind) => format!("{} {kind}", self.word()),
            None => self.word().to_owned(),
        }
    }

    /// The name of what is broken.
    pub(crate) fn broken(&self) -> Option<String> {
        match &self.checked.outcome {
            Outcome::Broken(violation) => Some(violation.kind.to_string()),
            Outcome::Exception(kind) => Some(kind.name().to_owned()),
            _ => None,
        }
    }

    /// What there is to show: how it breaks, or the witness of an `exists`.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        match &self.checked.outcome {
            Outcome::Broken(violation) | Outcome::Allowed(violation) => Some(violation),
            Outcome::Holds
            | Outcome::Exception(_)
            | Outcome::Forbidden
            | Outcome::NotExhausted(_) => None,
        }
    }

    /// Why the search was not exhaustive, and what would help.
    pub(crate) fn bound(&self) -> Option<String> {
        bound(&self.checked.outcome)
    }

    /// Whether this is what was expected.
    pub(crate) fn comparison(&self) -> Comparison {
        let Some(expected) = self.run.expected else {
            return Comparison::None;
        };
        let same = match (&self.checked.outcome, expected) {
            (Outcome::NotExhausted(_), _) => return Comparison::Undecided,
            (Outcome::Broken(_), Verdict::Broken(Some(name)))
            | (Outcome::Exception(_), Verdict::Exception(Some(name))) => {
                self.broken().as_ref() == Some(name)
            }
            (Outcome::Broken(_), Verdict::Broken(None))
            | (Outcome::Exception(_), Verdict::Exception(None))
            | (Outcome::Holds, Verdict::Holds)
            | (Outcome::Allowed(_), Verdict::Allowed)
            | (Outcome::Forbidden, Verdict::Forbidden) => true,
            _ => false,
        };
        if same {
            Comparison::AsExpected
        } else {
            Comparison::Unexpected
        }
    }

    /// Whether this should be otherwise.
    pub(crate) fn is_bad(&self) -> bool {
        match self.comparison() {
            Comparison::AsExpected | Comparison::Undecided => false,
            Comparison::Unexpected => true,
            Comparison::None => matches!(self.checked.outcome, Outcome::Broken(_)),
        }
    }

    /// The command that shows this again, from its trace if that was saved.
    pub(crate) fn reproduce(&self, bounds: &Config) -> String {
        if let Some(path) = &self.saved {
            return format!("pagefold replay {}", quote(path));
        }
        let rules = self.run.rules;
        let mut command = format!(
            "pagefold check {} --protocol {}",
            quote(&self.run.loaded.path),
            rules.protocol.name
        );
        for name in rules.without_names() {
            command.push_str(" --without ");
            command.push_str(name);
        }
        for (set, option) in [(rules.unsplit, " --unsplit"), (rules.strict, " --strict")] {
            if set {
                command.push_str(option);
            }
        }
        if rules.memory != Memory::Sc {
            command.push_str(" --memory ");
            command.push_str(rules.memory.name());
        }
        if !self.is_bad() {
            command.push_str(" --trace");
        }
        let default = Config::default();
        let usual = match bounds.search {
            Search::Reduced | Search::EveryInterleaving => default.max_executions,
            Search::RandomWalk { seed } => {
                command.push_str(&format!(" --random {seed} --strategy walk"));
                plan::SAMPLE
            }
            Search::Pos { seed } => {
                command.push_str(&format!(" --random {seed} --strategy pos"));
                plan::SAMPLE
            }
            Search::Pct { seed, depth } => {
                command.push_str(&format!(" --random {seed} --depth {depth}"));
                plan::SAMPLE
            }
        };
        if bounds.max_executions != usual {
            command.push_str(&format!(" --bound {}", bounds.max_executions));
        }
        if let Some(limit) = bounds.max_preemptions {
            command.push_str(&format!(" --preemptions {limit}"));
        }
        if bounds.max_steps != default.max_steps {
            command.push_str(&format!(" --steps {}", bounds.max_steps));
        }
        command
    }
}

/// What came out, in a word.
pub(crate) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Holds => "holds",
        Outcome::Exception(_) => "exception",
        Outcome::Broken(_) => "broken",
        Outcome::Allowed(_) => "allowed",
        Outcome::Forbidden => "forbidden",
        Outcome::NotExhausted(_) => "not exhausted",
    }
}

/// Why a search was not exhaustive, and what would help.
pub(crate) fn bound(outcome: &Outcome) -> Option<String> {
    match *outcome {
        Outcome::NotExhausted(Bound::Executions(n)) => {
            Some(format!("given up after {n} executions (--bound)"))
        }
        Outcome::NotExhausted(Bound::Steps(n)) => Some(format!(
            "an execution was cut off after {n} steps (--steps)"
        )),
        Outcome::NotExhausted(Bound::Sample(n)) => {
            Some(format!("{n} executions were looked at, chosen by chance"))
        }
        Outcome::NotExhausted(Bound::Preemptions(n)) => Some(format!(
            "only interleavings with at most {n} preemptions were looked at (--preemptions)"
        )),
        Outcome::NotExhausted(Bound::Threads(n)) => {
            Some(format!("an execution had more than {n} threads"))
        }
        Outcome::NotExhausted(Bound::Program(what)) => Some(format!(
            "stopped at the bound: {what}. The modelled machine had none left in an execution, which was given up there"
        )),
        Outcome::Holds
        | Outcome::Exception(_)
        | Outcome::Broken(_)
        | Outcome::Allowed(_)
        | Outcome::Forbidden => None,
    }
}

/// A verdict as a scenario writes it.
pub(crate) fn describe(verdict: &Verdict) -> String {
    match verdict.violation() {
        Some(violation) => format!("{} {violation}", verdict.word()),
        None => verdict.word().to_owned(),
    }
}

/// What all runs together come to.
pub(crate) fn status(done: &[Done<'_>]) -> Status {
    if done.iter().any(Done::is_bad) {
        Status::Broken
    } else if done.iter().any(|done| done.bound().is_some()) {
        Status::NotExhausted
    } else {
        Status::Fine
    }
}

/// A path as a shell reads it.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    let text = if text.starts_with('-') {
        format!("./{text}")
    } else {
        text
    };
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
