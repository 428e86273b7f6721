//! What is shown while the workers work: on standard error, and only if that is a terminal.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::Run;

/// Counts the executions of all workers.
#[derive(Debug, Default)]
pub(crate) struct Executions(AtomicU64);

impl Executions {
    /// One more.
    pub(crate) fn count_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How far the workers are.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    runs: &'a [Run<'a>],
    running: BTreeSet<usize>,
    bar: ProgressBar,
}

impl<'a> Progress<'a> {
    /// Nothing done yet.
    pub(crate) fn new(runs: &'a [Run<'a>]) -> Self {
        let bar =
            ProgressBar::with_draw_target(Some(runs.len() as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{pos}/{len} runs {bar:24} {elapsed} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self {
            runs,
            running: BTreeSet::new(),
            bar,
        }
    }

    /// A run was begun.
    pub(crate) fn started(&mut self, index: usize) {
        self.running.insert(index);
    }

    /// A run is over.
    pub(crate) fn finished(&mut self, index: usize) {
        self.running.remove(&index);
        self.bar.inc(1);
    }

    /// Brings the display up to date: it names the run that all output waits for.
    pub(crate) fn show(&self, executions: &Executions) {
        let run = self.running.first().and_then(|index| self.runs.get(*index));
        let executions = executions.0.load(Ordering::Relaxed);
        self.bar.set_message(match run {
            Some(run) => format!(
                "{executions} executions; {} {}",
                run.loaded.scenario.name, run.rules
            ),
            None => format!("{executions} executions"),
        });
    }

    /// Does something that may write to the terminal.
    pub(crate) fn suspended<T>(&self, f: impl FnOnce() -> T) -> T {
        self.bar.suspend(f)
    }

    /// Takes the display away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
