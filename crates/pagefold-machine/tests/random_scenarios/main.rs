//! Random scenarios: nothing that processes, devices, monitors and kernel threads do to each other breaks the merged protocols.
//!
//! No condition is needed: the oracles know what each page holds. Whatever this finds is a bug of the engine or of an oracle.
//! `PAGEFOLD_SEED` and `PAGEFOLD_CASES` choose others and more, `PAGEFOLD_EXECUTIONS` how long each is searched, `PAGEFOLD_MEMORY`
//! (`tso`, `ra`) under what memory model; a failure prints the scenario.

mod generate;

use std::env;

use pagefold::protocol::Protocol;
use pagefold_explore::{Bound, Search};
use pagefold_litmus::{Memory, Scenario};
use pagefold_machine::model::{Outcome, RunConfig, check};

use generate::Generator;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

fn memory() -> Memory {
    let name = env::var("PAGEFOLD_MEMORY").unwrap_or_default();
    Memory::ALL
        .into_iter()
        .find(|memory| memory.name() == name)
        .unwrap_or(Memory::Sc)
}

/// What came of a scenario that did not break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    All,
    Some,
    /// The modelled machine is too small for it.
    Nothing,
}

/// Explores the scenario to the end, or, where that is too far, for a while and then by chance.
fn explore(
    scenario: &Scenario,
    protocol: Protocol,
    unsplit: bool,
    seed: u64,
) -> Result<Seen, String> {
    let most = number("PAGEFOLD_EXECUTIONS", 1_000);
    let searches = [(Search::Reduced, most), (Search::Pos { seed }, most / 3)];
    for (search, executions) in searches {
        let mut config = RunConfig::new(protocol);
        config.unsplit = unsplit;
        config.memory = memory();
        config.bounds = config.bounds.search(search).max_executions(executions);
        let Ok(checked) = check(scenario, &config) else {
            return Ok(Seen::Nothing);
        };
        match checked.outcome {
            Outcome::NotExhausted(Bound::Program(_)) => return Ok(Seen::Nothing),
            Outcome::Broken(violation) => return Err(violation.to_string()),
            Outcome::Holds | Outcome::Exception(_) if search == Search::Reduced => {
                return Ok(Seen::All);
            }
            _ => {}
        }
    }
    Ok(Seen::Some)
}

#[test]
fn nothing_breaks_the_merged_protocols() {
    let seed = number("PAGEFOLD_SEED", 1);
    let cases = number("PAGEFOLD_CASES", 80);
    println!("seed {seed}");
    let mut generator = Generator::new(seed);
    let (mut all, mut nothing) = (0, 0);
    for case in 0..cases {
        let (source, scenario) = generator.scenario();
        for (protocol, unsplit) in [
            (Protocol::LINUX_6_6, false),
            (Protocol::LINUX_6_14, false),
            (Protocol::LINUX_6_14, true),
            (Protocol::LINUX_6_4, false),
        ] {
            match explore(&scenario, protocol, unsplit, seed + case) {
                Ok(seen) => {
                    all += u64::from(seen == Seen::All);
                    nothing += u64::from(seen == Seen::Nothing);
                }
                Err(violation) => panic!(
                    "seed {seed}, case {case}, {protocol}, unsplit {unsplit}:\n{source}\n{violation}"
                ),
            }
        }
    }
    println!(
        "{all} of {} explored to the end, {nothing} too large",
        4 * cases
    );
    assert!(2 * all > cases, "many of them are explored to the end");
    assert!(10 * nothing < cases, "few of them are too large");
}
