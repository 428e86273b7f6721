//! Schedules by chance, for programs that are too large to explore.
//!
//! What sampling covers: nothing for certain. Each execution is picked independently of those before, so what is likely to be
//! found in one is all but certain to be found in many; but the absence of a violation proves nothing.
//!
//! * A **random walk** picks each step's thread anew, and so switches all the time. That one thread gets `k` steps ahead of another
//!   has a probability of about `2^-k`.
//! * **PCT** (Burckhardt and others, ASPLOS 2010) gives each thread a random priority, always runs the highest, and at `depth - 1`
//!   random steps makes the running thread the lowest; it finds a violation that needs `depth` ordered events with a
//!   probability of at least `1 / (n k^(depth - 1))` in each execution, for n threads and k steps.
//! * **POS** (partial order sampling; Yuan and others, CAV 2018) gives each pending *operation* a random priority and runs the highest. Those that conflict
//!   with it then draw anew, and so does the thread's next. What does not conflict keeps its priority, so that steps which
//!   make no difference do not drown those that do: that a pending operation is overtaken by `k` operations of another thread that do
//!   not conflict with it has a probability of `1 / (k + 1)`. Every class of interleavings can be picked. It has no parameter, and
//!   knows nothing of how many steps there are.
//!
//! Every choice comes from the seed: the same seed gives the same executions.

use super::threads::{ThreadSet, members};
use crate::config::{MAX_THREADS, Search};

#[derive(Clone, Copy, Debug)]
enum Strategy {
    Walk,
    Pct { depth: u32 },
    Pos,
}

/// Where the choices of a sampling search come from.
#[derive(Debug)]
pub(crate) struct Sampler {
    strategy: Strategy,
    random: u64,
    /// The priorities of this execution; 0 where none was given yet.
    priorities: [u64; MAX_THREADS],
    /// The steps at which the running thread loses its priority, and which it then has.
    changes: Vec<(u32, u64)>,
    /// Steps of the longest execution so far.
    longest: u32,
}

/// Priorities that are drawn lie above those that are left after a change.
const DRAWN: u64 = 1 << 32;

impl Sampler {
    /// The sampler of a search, if it is one that samples.
    pub(crate) fn new(search: Search) -> Option<Self> {
        let (seed, strategy) = match search {
            Search::RandomWalk { seed } => (seed, Strategy::Walk),
            Search::Pct { seed, depth } => (seed, Strategy::Pct { depth }),
            Search::Pos { seed } => (seed, Strategy::Pos),
            Search::Reduced | Search::EveryInterleaving => return None,
        };
        let mut sampler = Self {
            strategy,
            // splitmix64 of the seed, which is never all zeros for xorshift.
            random: seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            priorities: [0; MAX_THREADS],
            changes: Vec::new(),
            longest: 1,
        };
        sampler.next_execution(1);
        Some(sampler)
    }

    /// Prepares for an execution; the one before had so many steps.
    pub(crate) fn next_execution(&mut self, steps: u32) {
        self.longest = self.longest.max(steps);
        self.priorities = [0; MAX_THREADS];
        self.changes.clear();
        let depth = match self.strategy {
            Strategy::Pct { depth } => depth,
            Strategy::Walk | Strategy::Pos => 0,
        };
        for priority in 1..u64::from(depth) {
            let step = self.below(u64::from(self.longest));
            let step = u32::try_from(step).expect("below a number of steps");
            self.changes.push((step, priority));
        }
    }

    /// Who of `enabled`, which is not empty, goes at `step`; `current` went before, and what it did makes a difference for
    /// `affected`.
    pub(crate) fn pick(
        &mut self,
        enabled: ThreadSet,
        affected: ThreadSet,
        current: usize,
        step: u32,
    ) -> usize {
        match self.strategy {
            Strategy::Walk => {
                let chosen = self.below(u64::from(enabled.count_ones()));
                let chosen = usize::try_from(chosen).expect("below the number of threads");
                return members(enabled).nth(chosen).expect("below their number");
            }
            Strategy::Pct { .. } => self.draw(enabled),
            Strategy::Pos => {
                for thread in members(affected) {
                    self.priorities[thread] = 0;
                }
                self.draw(enabled);
            }
        }
        for change in 0..self.changes.len() {
            if self.changes[change].0 == step {
                self.priorities[current] = self.changes[change].1;
            }
        }
        members(enabled)
            .max_by_key(|&thread| self.priorities[thread])
            .expect("somebody is enabled")
    }

    /// Which of the ways in which an event can take place.
    pub(crate) fn pick_variant(&mut self, variants: u16) -> u16 {
        match variants {
            0 | 1 => 0,
            _ => u16::try_from(self.below(variants.into())).unwrap_or(0),
        }
    }

    /// Gives priorities to those that have none.
    fn draw(&mut self, threads: ThreadSet) {
        for thread in members(threads) {
            if self.priorities[thread] == 0 {
                self.priorities[thread] = DRAWN + self.below(DRAWN);
            }
        }
    }

    /// A number below `bound`, which is not 0. (xorshift64*)
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let value = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (value * bound) >> 32
    }
}
