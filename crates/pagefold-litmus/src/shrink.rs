//! From a scenario to the shortest one that still has a certain property.
//!
//! Parts are left out one after the other, the largest first, and each that is not needed stays out; when all
//! were tried, those that are left are tried again, until none can be spared. So at the end the property is lost
//! with *any* further part: no single one is left that could go. Nothing depends on chance or time.

use std::collections::HashSet;

use crate::{Scenario, Vocabulary, parse};

/// A scenario that was made as short as it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// What is left.
    pub scenario: Scenario,
    /// What was left out, in this order, each as it was called when it was.
    pub dropped: Vec<String>,
    /// How many scenarios were tried.
    pub probes: usize,
}

/// Leaves out of `scenario` what is not needed for `keeps` to be true. It is called only for good scenarios, never
/// twice for the same, and should say the same each time.
///
/// What is said about the scenario, its description and expectations, is left out in any case.
pub fn shrink(
    scenario: &Scenario,
    vocabulary: &Vocabulary<'_>,
    mut keeps: impl FnMut(&Scenario) -> bool,
) -> Shrunk {
    let mut shrunk = Shrunk {
        scenario: scenario.bare(),
        dropped: Vec::new(),
        probes: 0,
    };
    let mut tried = HashSet::from([shrunk.scenario.to_string()]);
    loop {
        let before = shrunk.dropped.len();
        let mut next = 0;
        while let Some(part) = shrunk.scenario.parts().get(next) {
            let text = shrunk.scenario.without(part);
            let shorter = (!tried.contains(&text))
                .then(|| parse(&text, "", vocabulary).ok())
                .flatten();
            tried.insert(text);
            if let Some(shorter) = shorter {
                shrunk.probes += 1;
                if keeps(&shorter) {
                    shrunk.dropped.push(shrunk.scenario.describe_part(part));
                    shrunk.scenario = shorter;
                    // What was the next part has its number now.
                    continue;
                }
            }
            next += 1;
        }
        if shrunk.dropped.len() == before {
            return shrunk;
        }
    }
}
