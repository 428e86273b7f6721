//! Vector clocks, one row for each event, in one growing table.
//!
//! Row `e` says for each thread how many of its events happen before `e` or are `e`. The width of
//! a row is the number of threads, rounded up; when a thread beyond the width appears, the table is
//! rebuilt, which happens a few times in a whole exploration.

use crate::config::MAX_THREADS;

/// A clock that is being put together.
pub(crate) type Wide = [u32; MAX_THREADS];

#[derive(Debug)]
pub(crate) struct Clocks {
    rows: Vec<u32>,
    width: usize,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            width: 8,
        }
    }

    #[inline]
    pub(crate) fn row(&self, event: usize) -> &[u32] {
        &self.rows[event * self.width..][..self.width]
    }

    /// Adds what `event` knows to `clock`.
    #[inline]
    pub(crate) fn join(&self, clock: &mut Wide, event: usize) {
        for (mine, theirs) in clock.iter_mut().zip(self.row(event)) {
            *mine = (*mine).max(*theirs);
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, clock: &Wide) {
        self.rows.extend_from_slice(&clock[..self.width]);
    }

    #[inline]
    pub(crate) fn truncate(&mut self, events: usize) {
        self.rows.truncate(events * self.width);
    }

    /// Makes rows wide enough for `threads` threads.
    #[inline]
    pub(crate) fn reserve_threads(&mut self, threads: usize) {
        if threads > self.width {
            self.widen(threads.next_power_of_two());
        }
    }

    #[cold]
    fn widen(&mut self, width: usize) {
        let mut rows = Vec::with_capacity(self.rows.len() / self.width * width);
        for row in self.rows.chunks_exact(self.width) {
            rows.extend_from_slice(row);
            rows.resize(rows.len() + width - self.width, 0);
        }
        self.rows = rows;
        self.width = width;
    }
}

#[cfg(test)]
mod tests {
    use super::{Clocks, Wide};

    #[test]
    fn rows_survive_widening() {
        let mut clocks = Clocks::new();
        let mut first: Wide = [0; _];
        (first[0], first[7]) = (1, 2);
        clocks.push(&first);
        clocks.reserve_threads(20);
        let mut second: Wide = [0; _];
        second[19] = 3;
        clocks.join(&mut second, 0);
        clocks.push(&second);
        assert_eq!(
            (clocks.row(0)[0], clocks.row(0)[7], clocks.row(0)[19]),
            (1, 2, 0)
        );
        assert_eq!(
            (clocks.row(1)[0], clocks.row(1)[7], clocks.row(1)[19]),
            (1, 2, 3)
        );
        clocks.truncate(1);
        clocks.push(&second);
        assert_eq!(clocks.row(1)[19], 3);
    }
}
