//! What was seen, and how it compares with what is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pagefold_litmus::{Symbol, Value};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::events::Collapse;
use crate::kernel_log::Complaint;

/// What a register holds after an iteration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Seen {
    /// The content of a page, a count, or 0 for a call that succeeded.
    Number(u64),
    /// The name of an error or a signal; also of one that the language has no word for.
    Word(String),
}

impl Seen {
    pub(crate) fn errno(error: Errno) -> Self {
        let number = error.raw_os_error();
        let known = [
            (Errno::ACCESS, Symbol::EACCES),
            (Errno::AGAIN, Symbol::EAGAIN),
            (Errno::BADF, Symbol::EBADF),
            (Errno::BUSY, Symbol::EBUSY),
            (Errno::EXIST, Symbol::EEXIST),
            (Errno::FAULT, Symbol::EFAULT),
            (Errno::HWPOISON, Symbol::EHWPOISON),
            (Errno::INTR, Symbol::EINTR),
            (Errno::INVAL, Symbol::EINVAL),
            (Errno::IO, Symbol::EIO),
            (Errno::NOENT, Symbol::ENOENT),
            (Errno::NOMEM, Symbol::ENOMEM),
            (Errno::NOSPC, Symbol::ENOSPC),
            (Errno::PERM, Symbol::EPERM),
            (Errno::SRCH, Symbol::ESRCH),
        ];
        match known.iter().find(|(known, _)| *known == error) {
            Some((_, symbol)) => Self::Word(symbol.name().to_owned()),
            None => Self::Word(format!("errno {number}")),
        }
    }
}

impl From<Value> for Seen {
    fn from(value: Value) -> Self {
        match value {
            Value::Number(number) => Self::Number(number),
            Value::Symbol(symbol) => Self::Word(symbol.name().to_owned()),
        }
    }
}

impl From<Symbol> for Seen {
    fn from(symbol: Symbol) -> Self {
        Value::Symbol(symbol).into()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// What the registers hold after an iteration, by their number; `None` was never written.
pub type Outcome = Vec<Option<Seen>>;

/// How often an outcome was seen.
///
/// The kernel itself holds references to pages now and then (per-CPU lists of pages on their way to LRU lists, compaction ...),
/// which no scenario speaks of and the model does not have. `MADV_COLLAPSE` then says EAGAIN. So an iteration in which it did so is
/// *disturbed*: what came out is not held against the kernel if it is not allowed. So is one in which UFFDIO_MOVE of several pages stopped in
/// the middle of a group, which is one page to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// In iterations that were not disturbed.
    pub clean: u64,
    /// In others.
    pub disturbed: u64,
}

impl Count {
    /// In any iteration.
    pub fn all(self) -> u64 {
        self.clean + self.disturbed
    }
}

/// What came out of the iterations of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// How often each outcome was seen.
    pub counts: BTreeMap<Outcome, Count>,
    /// Why there were no more iterations, if something went wrong that is no outcome: a thread that did not end, a
    /// process that died. It is as bad as an outcome that is not allowed.
    pub stuck: Option<String>,
    /// What the kernel complained of meanwhile.
    pub complaints: Vec<Complaint>,
    /// How often collapses were seen to do what, one after the other in an iteration; empty if that was not looked at.
    pub collapses: BTreeMap<Vec<Collapse>, u64>,
    /// The trace events that were looked at.
    pub events: Vec<String>,
    /// The kernel does not tell an access to a poisoned page from another one that ends in SIGBUS: it is built without
    /// `CONFIG_MEMORY_FAILURE`.
    pub hides_poison: bool,
}

impl Ran {
    /// What this kernel shows where the model has `value`.
    pub fn shows(&self, value: Value) -> Seen {
        match value {
            Value::Symbol(Symbol::HWPOISON) if self.hides_poison => Symbol::SIGBUS.into(),
            value => value.into(),
        }
    }

    /// How many iterations there were.
    pub fn iterations(&self) -> u64 {
        self.counts.values().map(|count| count.all()).sum()
    }

    /// Those seen that are not allowed, and do not come from a disturbance.
    pub fn forbidden<'a>(
        &'a self,
        allowed: &'a BTreeSet<Outcome>,
    ) -> impl Iterator<Item = &'a Outcome> {
        let clean = self.counts.iter().filter(|(_, count)| count.clean > 0);
        clean
            .map(|(outcome, _)| outcome)
            .filter(|outcome| !allowed.contains(*outcome))
    }

    /// Those allowed that were not seen.
    pub fn unseen<'a>(
        &'a self,
        allowed: &'a BTreeSet<Outcome>,
    ) -> impl Iterator<Item = &'a Outcome> {
        allowed
            .iter()
            .filter(|outcome| !self.counts.contains_key(*outcome))
    }
}
