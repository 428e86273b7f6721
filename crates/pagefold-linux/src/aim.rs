//! Where threads should meet, if that is known: start delays around it.
//!
//! A thread's way is measured as it runs, and a point of it is a share of that. This is an estimate: nobody knows where in a
//! system call a real kernel spends its time. So the delays are swept around it, closely in some iterations and over the
//! whole way in others.

use std::time::Duration;

use crate::random::Random;

/// How far around the estimate is swept, in parts of the way.
const SWEEPS: [f64; 3] = [1.0 / 16.0, 1.0 / 4.0, 1.0];

/// No thread waits longer than this, in nanoseconds.
const LONGEST: f64 = 500e6;

/// Where threads should meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Aim {
    /// Any of these; not empty.
    pub meetings: Vec<Meeting>,
    /// So long the kernel was made to wait at the first point of a meeting.
    pub delay: Duration,
}

/// A moment at which several threads are at certain points.
#[derive(Clone, Debug, PartialEq)]
pub struct Meeting {
    /// Who has to be passed by the others.
    pub first: Point,
    /// The others.
    pub others: Vec<Point>,
}

/// A point on the way of a thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The thread, by its number in the scenario.
    pub thread: usize,
    /// What part of its way it has gone: 0 at its beginning, 1 at its end.
    pub gone: f64,
}

impl Aim {
    /// Draws for each thread how many nanoseconds it waits after the start, if their ways are about so long.
    pub(crate) fn draw(&self, random: &mut Random, ways: &[u64]) -> Vec<u64> {
        let meeting = &self.meetings[random.below(self.meetings.len())];
        let stay = self.delay.as_nanos() as f64;
        let way = ways[meeting.first.thread] as f64;
        // The measured way has the kernel's delay in it.
        let work = if way > stay { way - stay } else { way };
        let slack = work * SWEEPS[random.below(SWEEPS.len())];
        let mut between = |from: f64, to: f64| from + (to - from) * random.unit();
        // Relative to the start of the first thread.
        let mut starts: Vec<f64> = ways.iter().map(|_| between(0.0, work)).collect();
        starts[meeting.first.thread] = 0.0;
        let there = work * meeting.first.gone;
        for other in &meeting.others {
            let needs = ways[other.thread] as f64 * other.gone;
            starts[other.thread] = between(there - slack, there + stay + slack) - needs;
        }
        let earliest = starts.iter().copied().fold(0.0, f64::min);
        let waits = starts
            .iter()
            .map(|start| (start - earliest).min(LONGEST) as u64);
        waits.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn aim(delay: Duration) -> Aim {
        let first = Point {
            thread: 0,
            gone: 0.5,
        };
        let others = vec![Point {
            thread: 1,
            gone: 0.0,
        }];
        Aim {
            meetings: vec![Meeting { first, others }],
            delay,
        }
    }

    fn waits(delay: Duration, ways: &[u64]) -> Vec<Vec<u64>> {
        let mut random = Random::new(1);
        let aim = aim(delay);
        (0..3000).map(|_| aim.draw(&mut random, ways)).collect()
    }

    #[test]
    fn starts_lie_around_the_point_and_everywhere() {
        let way = 8 * MILLISECOND;
        let waits = waits(Duration::ZERO, &[way, MILLISECOND]);
        let lags: Vec<i64> = waits.iter().map(|w| w[1] as i64 - w[0] as i64).collect();
        let within = |slack: u64| {
            let near = |lag: &&i64| lag.abs_diff(4 * MILLISECOND as i64) <= slack;
            lags.iter().filter(near).count()
        };
        // A third of them within a sixteenth, of the others a quarter and a sixteenth.
        assert!(
            (1200..1450).contains(&within(way / 16)),
            "{}",
            within(way / 16)
        );
        assert_eq!(within(way), lags.len());
        assert!(within(way / 2) < lags.len());
        // Nobody waits for nothing.
        assert!(waits.iter().all(|w| w.contains(&0)));
    }

    #[test]
    fn a_delay_in_the_kernel_is_met_from_its_beginning_to_its_end() {
        let delay = Duration::from_millis(5);
        let waits = waits(delay, &[6 * MILLISECOND, MILLISECOND]);
        let lags = waits.iter().map(|w| w[1] as i64 - w[0] as i64);
        let in_delay = lags
            .filter(|lag| (500_000..5_500_000).contains(lag))
            .count();
        // The way without it is one millisecond long, so that most starts fall into it.
        assert!(in_delay > 2400, "{in_delay}");
    }

    #[test]
    fn nobody_waits_before_ways_are_known() {
        let mut random = Random::new(1);
        assert_eq!(aim(Duration::ZERO).draw(&mut random, &[0, 0]), [0, 0]);
    }
}
