//! What cuts have saved, and what they have cost.
//!
//! A cut has reversals tried that the subtree in its place might not have asked for. One that asks for nothing new
//! only takes away: what is explored with such cuts alone is part of what is explored without a cache. Any other
//! one can cost more than it saves, and how much is known only later. So a cut may ask for something new only
//! while all cuts so far have saved more than they have cost, by [`RESERVE`] executions.
//!
//! A subtree that is cut saves as many executions as the stored one took, or would have taken without cuts.
//! What is explored below a choice that nobody but a cut asked for is what cuts cost.

/// So many executions must have been saved, over what was spent, before a cut may cost something. Without a
/// reserve small programs take more executions with the cache than without it: what is spent
/// on a choice is found out only when it has been explored.
const RESERVE: u64 = 1_000;

/// The account of one exploration, in executions.
#[derive(Debug, Default)]
pub(super) struct Savings {
    saved: u64,
    spent: u64,
}

impl Savings {
    /// Whether a cut may be made that saves `gain` executions and asks for `new` choices.
    pub(super) fn afford(&self, gain: u64, new: u32) -> bool {
        new == 0 || self.saved + gain >= self.spent + u64::from(new) + RESERVE
    }

    pub(super) fn save(&mut self, executions: u64) {
        self.saved += executions;
    }

    /// An execution ended below a choice that only a cut had asked for.
    pub(super) fn spend(&mut self) {
        self.spent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{RESERVE, Savings};

    #[test]
    fn what_costs_nothing_is_always_afforded_and_the_rest_from_savings() {
        let mut savings = Savings::default();
        assert!(savings.afford(0, 0));
        assert!(!savings.afford(RESERVE, 1));
        assert!(savings.afford(RESERVE + 1, 1));
        savings.save(RESERVE + 2);
        assert!(savings.afford(0, 2) && !savings.afford(0, 3));
        savings.spend();
        assert!(savings.afford(0, 1) && !savings.afford(0, 2));
    }
}
