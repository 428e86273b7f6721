//! The workers.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use pagefold_explore::Config;
use pagefold_machine::model::{self, Checked};

use crate::plan::Run;
use crate::progress::{Executions, Progress};

/// How often the display of the progress is brought up to date.
const TICK: Duration = Duration::from_millis(100);

/// What a worker tells.
enum Event {
    /// It began with the run of this number.
    Started(usize),
    /// It is through with it.
    Finished(usize, Checked, Duration),
}

/// Runs all, several at a time, and hands over what came out, in the order of the runs.
pub(crate) fn run_all(
    runs: &[Run<'_>],
    bounds: &Config,
    jobs: NonZeroUsize,
    progress: &mut Progress<'_>,
    mut done: impl FnMut(usize, Checked, Duration) -> io::Result<()>,
) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let executions = Executions::default();
    thread::scope(|scope| {
        let (sender, events) = mpsc::channel();
        for _ in 0..jobs.get().min(runs.len()) {
            let sender = sender.clone();
            scope.spawn(|| work(runs, bounds, jobs, &next, &executions, sender));
        }
        drop(sender);
        let mut waiting: Vec<Option<(Checked, Duration)>> = runs.iter().map(|_| None).collect();
        let mut handed_over = 0;
        loop {
            match events.recv_timeout(TICK) {
                Ok(Event::Started(index)) => progress.started(index),
                Ok(Event::Finished(index, checked, time)) => {
                    progress.finished(index);
                    waiting[index] = Some((checked, time));
                    while let Some((checked, time)) =
                        waiting.get_mut(handed_over).and_then(Option::take)
                    {
                        progress.suspended(|| done(handed_over, checked, time))?;
                        handed_over += 1;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            progress.show(&executions);
        }
    })
}

/// Takes one run after the other, until there are no more or nobody wants to know.
///
/// Each run has one thread, as long as there are enough runs left to keep all of them busy.
fn work(
    runs: &[Run<'_>],
    bounds: &Config,
    jobs: NonZeroUsize,
    next: &AtomicUsize,
    executions: &Executions,
    sender: Sender<Event>,
) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(run) = runs.get(index) else {
            return;
        };
        if sender.send(Event::Started(index)).is_err() {
            return;
        }
        let start = Instant::now();
        let mut config = run.rules.config(bounds);
        let idle = jobs.get().saturating_sub(runs.len() - index);
        config.workers = config.workers.saturating_add(idle);
        let checked = model::check_observed(&run.loaded.scenario, &config, |tick| {
            executions.note(index, tick);
        })
        .expect("what was loaded fits the model");
        if sender
            .send(Event::Finished(index, checked, start.elapsed()))
            .is_err()
        {
            return;
        }
    }
}
