//! What is shown while the workers work: on standard error, and only if that is a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pagefold_explore as explore;
use pagefold_machine::model::Tick;

use crate::plan::Run;

/// Counts the executions of all workers, and knows how far each run is.
#[derive(Debug, Default)]
pub(crate) struct Executions {
    all: AtomicU64,
    /// How far the runs are which have something to say about that.
    runs: Mutex<BTreeMap<usize, explore::Progress>>,
}

impl Executions {
    /// Takes note of what a run of this number tells.
    pub(crate) fn note(&self, run: usize, tick: Tick) {
        match tick {
            Tick::Execution => {
                self.all.fetch_add(1, Ordering::Relaxed);
            }
            Tick::Progress(progress) => {
                if let Ok(mut runs) = self.runs.lock() {
                    runs.insert(run, progress);
                }
            }
        }
    }

    /// How far a run is, in words.
    fn describe(&self, run: usize) -> String {
        let progress = self
            .runs
            .lock()
            .ok()
            .and_then(|runs| runs.get(&run).copied());
        match progress {
            Some(progress) if progress.done > 0.0 => format!(
                " (about {} % of {:.1e} executions)",
                (progress.done * 100.0).floor(),
                progress.estimate()
            ),
            _ => String::new(),
        }
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
        let first = self.running.first().copied();
        let run = first.and_then(|index| Some((index, self.runs.get(index)?)));
        let all = executions.all.load(Ordering::Relaxed);
        self.bar.set_message(match run {
            Some((index, run)) => format!(
                "{all} executions; {} {}{}",
                run.loaded.scenario.name,
                run.rules,
                executions.describe(index)
            ),
            None => format!("{all} executions"),
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
