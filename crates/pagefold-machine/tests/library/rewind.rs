//! A run whose executions begin in the middle comes out the same, to the last figure, as one whose executions all begin at the start.

use pagefold_machine::model::check;

use crate::read::{FOLDERS, config, library};

/// Longer runs are left out: executing everything again takes long.
const FEW: u64 = 1_000;

#[test]
fn executions_that_begin_in_the_middle_come_out_the_same() {
    let mut compared = 0;
    for (path, scenario) in FOLDERS.into_iter().flat_map(library) {
        for row in &scenario.expectations {
            let mut config = config(row);
            config.bounds = config.bounds.max_executions(FEW);
            let rewound = check(&scenario, &config).expect("the scenario is small enough");
            if rewound.executions == FEW {
                continue;
            }
            config.bounds = config.bounds.rewind(false);
            let afresh = check(&scenario, &config).expect("the scenario is small enough");
            assert!(
                format!("{rewound:?}") == format!("{afresh:?}"),
                "{} {row:?}: {} executions, but from the start {}",
                path.display(),
                rewound.executions,
                afresh.executions
            );
            compared += 1;
        }
    }
    assert!(compared > 350, "runs that were compared: {compared}");
}
