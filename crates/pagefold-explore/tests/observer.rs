//! Watching a search: what an [`Observer`] is told is what the search does.

use pagefold_explore::sync::Arc;
use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::{Config, Ended, Observer, Progress, SearchStep, explore_observed, thread};

#[derive(Default)]
struct Notes {
    ends: Vec<String>,
    steps: Vec<SearchStep>,
    progress: Vec<Progress>,
}

impl Observer for &mut Notes {
    fn ended(&mut self, ended: Ended<'_>) {
        self.ends.push(format!("{ended:?}"));
    }

    fn progress(&mut self, progress: Progress) {
        self.progress.push(progress);
    }

    fn watches_steps(&self) -> bool {
        true
    }

    fn step(&mut self, step: SearchStep) {
        self.steps.push(step);
    }
}

/// So many threads that increment one word.
fn adders(threads: usize) -> impl Fn() {
    move || {
        let word = Arc::new(AtomicU32::new(0));
        for _ in 0..threads {
            let word = Arc::clone(&word);
            thread::spawn(move || word.fetch_add(1, SeqCst));
        }
    }
}

#[test]
fn every_step_of_a_small_search() {
    let mut notes = Notes::default();
    let config = Config::default().newest_first(false);
    let report = explore_observed(&config, adders(2), &mut notes);
    assert_eq!(notes.ends, ["Complete", "Complete"]);
    let event = |event, thread| SearchStep::Event { event, thread };
    assert_eq!(
        notes.steps,
        [
            // The main thread starts, then each of the others starts and adds.
            event(0, 0),
            event(1, 1),
            event(2, 1),
            event(3, 2),
            event(4, 2),
            // The additions can come the other way round: the second thread starts before the first adds.
            SearchStep::Race {
                earlier: 2,
                later: 4
            },
            SearchStep::Choice {
                event: 2,
                thread: 2
            },
            SearchStep::Back {
                event: 2,
                thread: 2
            },
            event(2, 2),
            event(3, 2),
            event(4, 1),
            SearchStep::Race {
                earlier: 3,
                later: 4
            },
        ],
        "{:#?}",
        notes.steps
    );
    let events = notes
        .steps
        .iter()
        .filter(|step| matches!(step, SearchStep::Event { .. }));
    assert_eq!(events.count() as u64, report.states);
}

#[test]
fn the_estimate_gets_better() {
    let mut notes = Notes::default();
    let report = explore_observed(&Config::default(), adders(7), &mut notes);
    assert_eq!(report.executions, 5_040);
    let executions: Vec<_> = notes.progress.iter().map(|at| at.executions).collect();
    assert_eq!(executions, [1_024, 2_048, 3_072, 4_096]);
    let mut done = 0.0;
    for progress in &notes.progress {
        assert!(progress.done > done && progress.done < 1.0, "{progress:?}");
        done = progress.done;
    }
    let last = notes.progress.last().expect("there are four");
    let error = last.estimate() / 5_040.0;
    assert!((0.5..2.0).contains(&error), "{last:?}");
}
