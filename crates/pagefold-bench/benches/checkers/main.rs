//! The same small programs under pagefold-explore, loom 0.7 and shuttle 0.9: how many executions each
//! needs to look at all interleavings, and how long that takes.
//!
//! `cargo bench -p pagefold-bench`, about a minute. The checkers take turns, so that
//! none of them has the machine at a better time than the others. What takes less than a second
//! is repeated: the seconds are the median of several rounds, a round the mean of as many explorations
//! as fit into a moment. An exploration that is stopped at a bound says what it got done by then.
//!
//! Where executions are few, what they take is mostly the set-up of an exploration; executions/s
//! says nothing about the checker then.
//!
//! The checkers do not answer quite the same question. loom also explores what weak memory may do;
//! the others run everything as `SeqCst`. shuttle is made for sampling, and its exhaustive scheduler
//! has no reduction.

mod checker;
mod programs;

use std::fs;
use std::time::{Duration, Instant};

use self::checker::{Bounds, Checker, Exploration};
use self::programs::{PROGRAMS, Program};

const BOUNDS: Bounds = Bounds {
    executions: 5_000_000,
    time: Duration::from_secs(10),
};

const ROUNDS: usize = 5;
/// What takes longer is not repeated.
const LONG: Duration = Duration::from_secs(1);
/// A round of something short.
const MOMENT: Duration = Duration::from_millis(50);

/// One program under one checker.
struct Case {
    program: &'static dyn Program,
    checker: Checker,
    /// Of the last exploration; `None` before the first.
    last: Option<Exploration>,
    /// For each round, the mean of its explorations.
    seconds: Vec<f64>,
}

impl Case {
    fn possible(&self) -> bool {
        self.program.threads() <= self.checker.max_threads()
    }

    fn round(&mut self) {
        let long = self.last.as_ref().is_some_and(|last| last.time >= LONG);
        if !self.possible() || long {
            return;
        }
        let start = Instant::now();
        let mut explorations = 0;
        while explorations == 0 || start.elapsed() < MOMENT {
            self.last = Some(self.checker.explore(self.program, BOUNDS));
            explorations += 1;
        }
        self.seconds
            .push(start.elapsed().as_secs_f64() / f64::from(explorations));
    }

    fn print(&mut self) {
        let (name, checker) = (self.program.name(), self.checker);
        let classes = self.program.classes();
        print!("{name:<12} {classes:>7}  {checker:<16} ");
        let Some(last) = &self.last else {
            println!("cannot: {} threads at most", self.checker.max_threads());
            return;
        };
        self.seconds.sort_by(f64::total_cmp);
        let median = self.seconds[self.seconds.len() / 2];
        println!(
            "{:>10}  {:<8} {median:>11.6} {:>12.0} {:>6}",
            last.executions,
            if last.finished { "finished" } else { "stopped" },
            last.executions as f64 / median,
            self.seconds.len(),
        );
    }
}

fn load() -> String {
    fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".into(), |s| s.trim().to_owned())
}

fn main() {
    // Cargo passes arguments meant for its own harness.
    checker::install_panic_hooks();
    println!("load at start: {}", load());
    let mut cases: Vec<Case> = PROGRAMS
        .iter()
        .flat_map(|&program| {
            Checker::ALL.map(|checker| Case {
                program,
                checker,
                last: None,
                seconds: Vec::new(),
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        for case in &mut cases {
            case.round();
        }
    }
    println!("load at end:   {}", load());
    println!(
        "bounds: {} executions, {} s\n",
        BOUNDS.executions,
        BOUNDS.time.as_secs()
    );
    println!(
        "{:<12} {:>7}  {:<16} {:>10}  {:<8} {:>11} {:>12} {:>6}",
        "program", "classes", "checker", "executions", "end", "seconds", "executions/s", "rounds"
    );
    for case in &mut cases {
        case.print();
    }
}
