//! From scenarios to runs.

use std::fmt;

use pagefold::protocol::{Protocol, SafeguardSet};
use pagefold_explore::{Config, Search};
use pagefold_litmus::{Expectation, Memory, Verdict};
use pagefold_machine::model::RunConfig;

use crate::args::{CheckArgs, Strategy};
use crate::load::Loaded;
use crate::vocabulary;

/// Executions that are looked at if they are chosen by chance, and nothing else is said.
pub(crate) const SAMPLE: u64 = 10_000;

/// How is searched, and how far.
pub(crate) fn bounds(args: &CheckArgs) -> Config {
    let mut bounds = RunConfig::new(Protocol::DEFAULT)
        .bounds
        .max_steps(args.steps);
    bounds.max_preemptions = args.preemptions;
    let (search, executions) = match args.random {
        None => (Search::Reduced, bounds.max_executions),
        Some(seed) => {
            let search = match args.strategy {
                Strategy::Walk => Search::RandomWalk { seed },
                Strategy::Pct => Search::Pct {
                    seed,
                    depth: args.depth,
                },
                Strategy::Pos => Search::Pos { seed },
            };
            (search, SAMPLE)
        }
    };
    bounds
        .search(search)
        .max_executions(args.bound.unwrap_or(executions))
}

/// A protocol with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The safeguards that are removed.
    pub(crate) without: SafeguardSet,
    /// One lock for all page tables of an address space.
    pub(crate) unsplit: bool,
    /// Documented exceptions count as violations.
    pub(crate) strict: bool,
    /// What a load may see.
    pub(crate) memory: Memory,
}

impl Rules {
    /// A protocol as it is.
    fn plain(protocol: Protocol) -> Self {
        Self {
            protocol,
            without: SafeguardSet::EMPTY,
            unsplit: false,
            strict: false,
            memory: Memory::Sc,
        }
    }

    /// Those that a line of `expect` speaks of; its names have been checked by the parser.
    fn of(expectation: &Expectation) -> Option<Self> {
        Some(Self {
            protocol: Protocol::by_name(&expectation.protocol)?,
            without: safeguards(&expectation.without)?,
            unsplit: expectation.unsplit,
            strict: expectation.strict,
            memory: expectation.memory,
        })
    }

    /// The run under these rules.
    pub(crate) fn config(self, bounds: &Config) -> RunConfig {
        RunConfig {
            protocol: self.protocol,
            without: self.without,
            unsplit: self.unsplit,
            strict: self.strict,
            memory: self.memory,
            bounds: bounds.clone(),
            ..RunConfig::new(self.protocol)
        }
    }

    /// The names of the safeguards that are removed.
    pub(crate) fn without_names(self) -> Vec<&'static str> {
        self.without
            .iter()
            .map(|safeguard| safeguard.name())
            .collect()
    }
}

/// As in a line of `expect`.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.name)?;
        if self.unsplit {
            f.write_str(" unsplit")?;
        }
        if self.strict {
            f.write_str(" strict")?;
        }
        if self.memory != Memory::Sc {
            write!(f, " {}", self.memory.name())?;
        }
        if self.without != SafeguardSet::EMPTY {
            write!(f, " without {}", self.without_names().join(", "))?;
        }
        Ok(())
    }
}

/// The set of the safeguards of these names, if there are all.
pub(crate) fn safeguards(names: &[String]) -> Option<SafeguardSet> {
    names.iter().try_fold(SafeguardSet::EMPTY, |set, name| {
        Some(set.with(vocabulary::safeguard(name)?))
    })
}

/// One scenario under one set of rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// The scenario.
    pub(crate) loaded: &'a Loaded,
    /// The rules.
    pub(crate) rules: Rules,
    /// What should come out, if the scenario says.
    pub(crate) expected: Option<&'a Verdict>,
}

/// What the user wants to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// These protocols; if empty, those that the scenarios speak of.
    pub(crate) protocols: Vec<Protocol>,
    /// With these options instead of those that the scenarios speak of.
    pub(crate) without: SafeguardSet,
    /// The same.
    pub(crate) unsplit: bool,
    /// The same.
    pub(crate) strict: bool,
    /// The same, if given.
    pub(crate) memory: Option<Memory>,
}

impl Selection {
    /// The runs, in the order of the scenarios, and of the lines of each.
    pub(crate) fn runs<'a>(&self, scenarios: &'a [Loaded]) -> Vec<Run<'a>> {
        scenarios
            .iter()
            .flat_map(|loaded| self.runs_of(loaded))
            .collect()
    }

    fn runs_of<'a>(&self, loaded: &'a Loaded) -> Vec<Run<'a>> {
        let rows: Vec<Run<'a>> = loaded
            .scenario
            .expectations
            .iter()
            .filter_map(|expectation| {
                Some(Run {
                    loaded,
                    rules: Rules::of(expectation)?,
                    expected: Some(&expectation.verdict),
                })
            })
            .collect();
        let unexpecting = |rules| Run {
            loaded,
            rules,
            expected: None,
        };
        if self.has_options() {
            let exactly = |protocol| {
                let rules = Rules {
                    protocol,
                    without: self.without,
                    unsplit: self.unsplit,
                    strict: self.strict,
                    memory: self.memory.unwrap_or_default(),
                };
                let row = rows.iter().find(|row| row.rules == rules);
                row.copied().unwrap_or(unexpecting(rules))
            };
            return self.protocols_or_default().map(exactly).collect();
        }
        let rows = match self.memory {
            Some(memory) => under(memory, &rows),
            None => rows,
        };
        if self.protocols.is_empty() && !rows.is_empty() {
            return rows;
        }
        let mut runs = Vec::new();
        for protocol in self.protocols_or_default() {
            let before = runs.len();
            runs.extend(rows.iter().filter(|row| row.rules.protocol == protocol));
            if runs.len() == before {
                runs.push(unexpecting(Rules {
                    memory: self.memory.unwrap_or_default(),
                    ..Rules::plain(protocol)
                }));
            }
        }
        runs
    }

    fn has_options(&self) -> bool {
        self.without != SafeguardSet::EMPTY || self.unsplit || self.strict
    }

    fn protocols_or_default(&self) -> impl Iterator<Item = Protocol> {
        let default = self.protocols.is_empty().then_some(Protocol::DEFAULT);
        self.protocols.iter().copied().chain(default)
    }
}

/// The rows of one memory model. If there are none, the rules of all rows, each once, under this model, without
/// expectation.
fn under<'a>(memory: Memory, rows: &[Run<'a>]) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = rows
        .iter()
        .filter(|row| row.rules.memory == memory)
        .copied()
        .collect();
    if !runs.is_empty() {
        return runs;
    }
    for row in rows {
        let rules = Rules {
            memory,
            ..row.rules
        };
        if runs.iter().all(|run| run.rules != rules) {
            runs.push(Run {
                rules,
                expected: None,
                ..*row
            });
        }
    }
    runs
}
