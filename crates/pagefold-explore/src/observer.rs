//! Watching a search.

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended<'a> {
    /// Every thread ran to its end.
    Complete,
    /// It was abandoned because it repeats an earlier one.
    Redundant,
    /// It was cut off at [`Config::max_steps`](crate::Config::max_steps), had too many threads, or [ran out](crate::run_out) of something.
    CutOff,
    /// It broke something: the kind of the violation.
    Broken(&'a str),
}

/// What the search does besides running the program: for teaching, and to find out why a program
/// has so many executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchStep {
    /// A thread executes an operation at the end of the path, as event number `event`.
    Event {
        /// Its number on the path, from 0.
        event: usize,
        /// The thread.
        thread: usize,
    },
    /// Two events could happen the other way round.
    Race {
        /// The one that came first.
        earlier: usize,
        /// The one that came later. It may not be executed yet, but be announced and blocked.
        later: usize,
    },
    /// A thread is to be tried in the place of an event.
    Choice {
        /// The event.
        event: usize,
        /// The thread.
        thread: usize,
    },
    /// The search goes back, to have a thread go on in the place of an event.
    Back {
        /// The event.
        event: usize,
        /// The thread.
        thread: usize,
    },
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Executions so far.
    pub executions: u64,
    /// Which part of the tree of schedules is done, from 0 to 1, if what is still to be found were
    /// like what was found. Early on the tree looks smaller than it is.
    pub done: f64,
}

impl Progress {
    /// How many executions there will be, by this estimate. Infinite if nothing can be said yet.
    #[must_use]
    pub fn estimate(&self) -> f64 {
        self.executions as f64 / self.done
    }
}

/// Is told what a search does. All calls come from outside the program that is explored.
///
/// Closures that take an [`Ended`] are observers of the ends of executions.
pub trait Observer {
    /// An execution has ended.
    fn ended(&mut self, ended: Ended<'_>);

    /// Called from time to time, after an execution. With several workers, by the one that owns the
    /// root of the tree, about what it has done itself.
    fn progress(&mut self, progress: Progress) {
        let _ = progress;
    }

    /// Whether [`step`](Self::step) is to be called. Asked once.
    fn watches_steps(&self) -> bool {
        false
    }

    /// The search has done this during the execution that ends now, or has gone back after it. Called
    /// before [`ended`](Self::ended), in the order of what happened.
    fn step(&mut self, step: SearchStep) {
        let _ = step;
    }
}

impl<F: FnMut(Ended<'_>)> Observer for F {
    fn ended(&mut self, ended: Ended<'_>) {
        self(ended);
    }
}
