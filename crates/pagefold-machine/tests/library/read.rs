//! The scenario library, as tests read it.

use std::fs;
use std::path::{Path, PathBuf};

use pagefold::protocol::{Protocol, Safeguard, SafeguardSet};
use pagefold_litmus::{Expectation, Scenario, Vocabulary};
use pagefold_machine::model::{Kind, RunConfig};

/// All folders of the library.
pub(crate) const FOLDERS: [&str; 5] = ["thread", "safeguards", "system", "memory", "selftests"];

pub(crate) fn library(folder: &str) -> Vec<(PathBuf, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../litmus")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the library is in the repository")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "litmus")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has scenarios", folder.display());
    files
        .into_iter()
        .map(|path| {
            let scenario = parse(&path);
            (path, scenario)
        })
        .collect()
}

fn parse(path: &Path) -> Scenario {
    let source = fs::read_to_string(path).expect("it can be read");
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
        .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(&source, false)))
}

pub(crate) fn config(row: &Expectation) -> RunConfig {
    let protocol = Protocol::by_name(&row.protocol).expect("the parser knows the names");
    let mut config = RunConfig::new(protocol);
    config.without = row
        .without
        .iter()
        .map(|name| safeguard(name))
        .fold(SafeguardSet::EMPTY, SafeguardSet::with);
    config.unsplit = row.unsplit;
    config.strict = row.strict;
    config.memory = row.memory;
    config
}

pub(crate) fn safeguard(name: &str) -> Safeguard {
    *Safeguard::ALL
        .iter()
        .find(|safeguard| safeguard.name() == name)
        .expect("the parser knows the names")
}
