//! Vector clocks, one row for each event, in one growing table.
//!
//! Row `e` says for each thread how many of its events happen before `e` or are `e`. The width of
//! a row is the number of threads, rounded up; when a thread beyond the width appears, the table is
//! rebuilt, which happens a few times in a whole exploration.

/// How many threads a row has room for at first.
const WIDTH: usize = 8;

#[derive(Debug)]
pub(crate) struct Clocks {
    rows: Vec<u32>,
    width: usize,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            width: WIDTH,
        }
    }

    #[inline]
    pub(crate) fn row(&self, event: usize) -> &[u32] {
        &self.rows[event * self.width..][..self.width]
    }

    /// Begins the row of the next event, as a copy of the row of `previous`.
    #[inline]
    pub(crate) fn begin(&mut self, previous: Option<usize>) {
        match previous {
            Some(previous) => {
                let start = previous * self.width;
                self.rows.extend_from_within(start..start + self.width);
            }
            None => self.rows.resize(self.rows.len() + self.width, 0),
        }
    }

    /// The row begun last.
    #[inline]
    pub(crate) fn last(&self) -> &[u32] {
        &self.rows[self.rows.len() - self.width..]
    }

    /// Adds what `event`, an earlier one, knows to the row begun last.
    #[inline]
    pub(crate) fn join(&mut self, event: usize) {
        let before = self.rows.len() - self.width;
        let (rows, last) = self.rows.split_at_mut(before);
        let theirs = &rows[event * self.width..][..self.width];
        for (mine, theirs) in last.iter_mut().zip(theirs) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Says in the row begun last that it knows `seq` events of `thread`.
    #[inline]
    pub(crate) fn set(&mut self, thread: usize, seq: u32) {
        let start = self.rows.len() - self.width;
        self.rows[start + thread] = seq;
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
    use super::Clocks;

    #[test]
    fn rows_survive_widening() {
        let mut clocks = Clocks::new();
        clocks.begin(None);
        clocks.set(0, 1);
        clocks.set(7, 2);
        clocks.reserve_threads(20);
        clocks.begin(None);
        clocks.set(19, 3);
        clocks.join(0);
        assert_eq!(
            (clocks.row(0)[0], clocks.row(0)[7], clocks.row(0)[19]),
            (1, 2, 0)
        );
        assert_eq!(
            (clocks.last()[0], clocks.last()[7], clocks.last()[19]),
            (1, 2, 3)
        );
        clocks.truncate(1);
        clocks.begin(Some(0));
        assert_eq!(clocks.last(), clocks.row(0));
    }
}
