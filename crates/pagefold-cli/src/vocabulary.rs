//! The names that the user may write: protocols, safeguards, violations.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use pagefold::protocol::{Protocol, Safeguard};
use pagefold_explore::kind;
use pagefold_litmus::{Diagnostics, Memory, Scenario, Shrunk, Vocabulary};
use pagefold_machine::model::Kind;

/// The violations that the explorer finds by itself, and what each is about.
const EXPLORER: &[(&str, &str)] = &[
    (
        kind::DEADLOCK,
        "Someone can always go on, until all have ended.",
    ),
    (kind::LIVELOCK, "What a retry loop waits for comes."),
    (kind::RECURSIVE_LOCK, "Nobody takes a lock that it holds."),
    (kind::LOCK_ORDER, "Locks are taken in one order everywhere."),
    (
        kind::NOT_HELD,
        "Nobody releases a lock that it does not hold.",
    ),
    (
        kind::SLEEP_IN_ATOMIC,
        "Nobody sleeps under a spin lock, in a read section, or with interrupts off.",
    ),
    (
        kind::LEAK,
        "Who ends holds no lock, is in no read section, and has its interrupts on.",
    ),
    (kind::PANIC, "The code does not panic."),
    (
        kind::BLOCKED_IN_QUIET,
        "Set-up and final statements, which run alone, do not wait.",
    ),
    (
        kind::NONDETERMINISM,
        "The same schedule gives the same execution.",
    ),
];

/// All violations: the name, and what should be true instead.
pub(crate) fn violations() -> impl Iterator<Item = (&'static str, &'static str)> {
    let machine = Kind::ALL.iter().map(|kind| (kind.name(), kind.describe()));
    machine
        .chain(EXPLORER.iter().copied())
        .map(|(name, description)| (name, description.trim()))
}

/// What should be true instead of the violation `name`.
pub(crate) fn describe_violation(name: &str) -> Option<&'static str> {
    violations()
        .find(|(other, _)| *other == name)
        .map(|(_, description)| description)
}

/// The safeguard of that name.
pub(crate) fn safeguard(name: &str) -> Option<Safeguard> {
    Safeguard::ALL
        .iter()
        .copied()
        .find(|safeguard| safeguard.name() == name)
}

/// Parses a scenario that may use all of these names.
pub(crate) fn parse(source: &str, file_name: &str) -> Result<Scenario, Diagnostics> {
    with_all(|vocabulary| pagefold_litmus::parse(source, file_name, vocabulary))
}

/// Shrinks a scenario that may use all of these names.
pub(crate) fn shrink(scenario: &Scenario, keeps: impl FnMut(&Scenario) -> bool) -> Shrunk {
    with_all(|vocabulary| pagefold_litmus::shrink(scenario, vocabulary, keeps))
}

fn with_all<R>(f: impl FnOnce(&Vocabulary<'_>) -> R) -> R {
    let protocols: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.name).collect();
    let safeguards: Vec<&str> = Safeguard::ALL
        .iter()
        .map(|safeguard| safeguard.name())
        .collect();
    let violations: Vec<&str> = violations().map(|(name, _)| name).collect();
    f(&Vocabulary {
        protocols: &protocols,
        safeguards: &safeguards,
        violations: &violations,
    })
}

/// Reads a protocol from the command line.
pub(crate) fn protocol_parser() -> impl TypedValueParser<Value = Protocol> {
    PossibleValuesParser::new(Protocol::ALL.iter().map(|protocol| protocol.name))
        .try_map(|name| Protocol::by_name(&name).ok_or("no such protocol"))
}

/// Reads a memory model from the command line.
pub(crate) fn memory_parser() -> impl TypedValueParser<Value = Memory> {
    PossibleValuesParser::new(Memory::ALL.map(Memory::name))
        .try_map(|name| Memory::by_name(&name).ok_or("no such memory model"))
}

/// Reads a safeguard from the command line.
pub(crate) fn safeguard_parser() -> impl TypedValueParser<Value = Safeguard> {
    PossibleValuesParser::new(Safeguard::ALL.iter().map(|safeguard| safeguard.name()))
        .try_map(|name| safeguard(&name).ok_or("no such safeguard"))
}
