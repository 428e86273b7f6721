//! The search sees all that chance sees: the same ends, and nothing that breaks where it found nothing.
//!
//! It leaves out executions in which the same happens in the same order at each place. If chance comes to an end that the search does not
//! have, something depends on an order that the search does not know of: an event is missing, or an oracle looks at what is no event.

use pagefold_explore::Search;
use pagefold_machine::model::{Outcome, outcomes};

use crate::read::{FOLDERS, config, library};

/// Longer searches are left out: they take long.
const FEW: u64 = 2_000;

/// Executions by chance for each run.
const CHANCES: u64 = 50;

#[test]
fn chance_sees_nothing_that_the_search_does_not() {
    let mut compared = 0;
    for (path, scenario) in FOLDERS.into_iter().flat_map(library) {
        for row in &scenario.expectations {
            let mut config = config(row);
            config.bounds = config.bounds.max_executions(FEW);
            let searched = outcomes(&scenario, &config).expect("the scenario is small enough");
            if !matches!(searched.outcome, Outcome::Holds | Outcome::Exception(_)) {
                continue;
            }
            config.bounds = config.bounds.max_executions(CHANCES);
            for seed in [1, 2] {
                config.bounds = config.bounds.search(Search::Pos { seed });
                let seen = outcomes(&scenario, &config).expect("the scenario is small enough");
                let name = path.display();
                assert!(
                    matches!(seen.outcome, Outcome::NotExhausted(_)),
                    "{name} {row:?}: {:?}, and by chance, seed {seed}: {:?}",
                    searched.outcome,
                    seen.outcome
                );
                let unknown: Vec<_> = seen.registers.difference(&searched.registers).collect();
                assert!(
                    unknown.is_empty(),
                    "{name} {row:?}: ends by chance alone, seed {seed}: {unknown:?}"
                );
            }
            compared += 1;
        }
    }
    assert!(compared > 350, "runs that were compared: {compared}");
}
