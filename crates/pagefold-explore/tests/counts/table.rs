//! The rows of the table.

use crate::memory::Body;
use crate::notation::{LETTERS, parse};

/// The expectations of GenMC's own tests under sequential consistency.
pub(crate) const GENMC: &str = "GenMC";
/// Counted by Nidhugg.
pub(crate) const NIDHUGG: &str = "Nidhugg";
/// The papers on source sets and on observers.
pub(crate) const PAPERS: &str = "papers";
/// A formula.
pub(crate) const FORMULA: &str = "formula";
/// Our program, counted by GenMC, Nidhugg and a prototype.
pub(crate) const OURS: &str = "GenMC and Nidhugg, of our program";

/// What the main thread does after it has spawned the others.
pub(crate) enum Main {
    Ends,
    Runs(Body),
    /// Waits for the others first.
    Joins(Body),
}

/// A row of the table.
pub(crate) struct Program {
    pub(crate) name: String,
    /// Where the number comes from.
    pub(crate) source: &'static str,
    pub(crate) classes: u64,
    /// Distinct final values, where they are known.
    pub(crate) finals: Option<usize>,
    pub(crate) words: Vec<u32>,
    pub(crate) locks: usize,
    pub(crate) threads: Vec<Body>,
    pub(crate) main: Main,
    /// Some executions end in a deadlock.
    pub(crate) may_block: bool,
}

pub(crate) fn program(
    name: impl Into<String>,
    source: &'static str,
    classes: u64,
    threads: Vec<Body>,
) -> Program {
    Program {
        name: name.into(),
        source,
        classes,
        finals: None,
        words: vec![0; LETTERS],
        locks: 1,
        threads,
        main: Main::Ends,
        may_block: false,
    }
}

/// A program without conditions, in the notation of [`parse`].
pub(crate) fn litmus(name: &str, classes: u64, text: &str) -> Program {
    program(name, GENMC, classes, parse(text))
}

impl Program {
    pub(crate) fn finals(self, n: usize) -> Self {
        Self {
            finals: Some(n),
            ..self
        }
    }

    pub(crate) fn words(self, words: Vec<u32>) -> Self {
        Self { words, ..self }
    }

    pub(crate) fn locks(self, locks: usize) -> Self {
        Self { locks, ..self }
    }

    pub(crate) fn main(self, main: Main) -> Self {
        Self { main, ..self }
    }

    pub(crate) fn may_block(self) -> Self {
        Self {
            may_block: true,
            ..self
        }
    }
}
