//! The engine at full size, 512 entries a table, does what the model, of two entries a table, allows.
//!
//! The order in which the engine runs a scenario is one that the model has as well; so what it comes to is among what the model's search
//! under the same protocol finds. For the kernel's own tests (`litmus/selftests`), of one actor each, there is seldom more than one. What
//! needs more than one actor at a time is ignored, with the reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use pagefold::protocol::{Protocol, Safeguard};
use pagefold_linux::{Outcome, engine};
use pagefold_litmus::{Scenario, Vocabulary};
use pagefold_machine::model::{self, Kind, RunConfig};

/// Places of the pages that are tried.
const SEEDS: u64 = 4;

/// How far the model's search may go. It is far enough for all of one actor.
const EXECUTIONS: u64 = 2000;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for folder in ["selftests", "thread", "safeguards", "system"] {
        for path in scenarios(folder) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{folder}/{stem}");
            trials.push(Trial::ignorable_test(name, move || agrees(&path)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn scenarios(folder: &str) -> Vec<PathBuf> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../litmus");
    let entries = fs::read_dir(library.join(folder)).expect("the library is in the repository");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "litmus")
        })
        .collect();
    paths.sort();
    paths
}

fn parse(path: &Path) -> Result<Scenario, Failed> {
    let source = fs::read_to_string(path)?;
    let protocols: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.name).collect();
    let safeguards: Vec<&str> = Safeguard::ALL
        .iter()
        .map(|safeguard| safeguard.name())
        .collect();
    let mut violations: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    violations.extend(pagefold_explore::kind::ALL);
    let vocabulary = Vocabulary {
        protocols: &protocols,
        safeguards: &safeguards,
        violations: &violations,
    };
    pagefold_litmus::parse(&source, &path.display().to_string(), &vocabulary)
        .map_err(|diagnostics| diagnostics.render(&source, false).into())
}

/// Runs a scenario on the engine, with its pages at several places, and compares.
fn agrees(path: &Path) -> Result<Completion, Failed> {
    let scenario = parse(path)?;
    let mut config = RunConfig::new(engine::PROTOCOL);
    config.bounds = config.bounds.max_executions(EXECUTIONS);
    let outcomes = model::outcomes(&scenario, &config).map_err(|error| error.message)?;
    if let model::Outcome::Broken(violation) = outcomes.outcome {
        return Ok(Completion::ignored_with(format!(
            "broken: {}",
            violation.kind
        )));
    }
    let through = !matches!(outcomes.outcome, model::Outcome::NotExhausted(_));
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        match engine::run(&scenario, seed) {
            Ok(outcome) => seen.insert(outcome),
            Err(why) => return Ok(Completion::ignored_with(why.reason)),
        };
    }
    let allowed: BTreeSet<Outcome> = outcomes
        .registers
        .into_iter()
        .map(|values| {
            values
                .into_iter()
                .map(|value| value.map(Into::into))
                .collect()
        })
        .collect();
    match seen.iter().find(|outcome| !allowed.contains(*outcome)) {
        None => Ok(Completion::Completed),
        Some(_) if !through => Ok(Completion::ignored_with(
            "the model's search is not through",
        )),
        Some(outcome) => {
            let names = scenario.registers.iter().map(|register| &register.name);
            let named: Vec<_> = names.zip(outcome).collect();
            let more = outcome.get(scenario.registers.len()..).unwrap_or_default();
            Err(format!("not allowed: {named:?} {more:?}, but: {allowed:?}").into())
        }
    }
}
