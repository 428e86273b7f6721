//! What is looked at after each step, on the real kernel and on the engine alike.
//!
//! Nothing of it changes what it looks at: contents are read only of pages that are mapped, or that an object has.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::areas::{Area, Counts};
use crate::report::Seen;

/// What an entry says of its page: some of the following.
pub(crate) type State = u16;

/// A page is mapped.
pub(crate) const PRESENT: State = 1;
/// By a huge page.
pub(crate) const HUGE: State = 1 << 1;
/// It is one of an object.
pub(crate) const OF_OBJECT: State = 1 << 2;
/// It is the page of zeros.
pub(crate) const ZERO: State = 1 << 3;
/// It is protected by userfaultfd; so is the place of one that is not there.
pub(crate) const UFFD_WP: State = 1 << 4;
/// Accesses raise SIGSEGV.
pub(crate) const GUARD: State = 1 << 5;
/// Accesses raise SIGBUS.
pub(crate) const POISON: State = 1 << 6;
/// It is in swap.
pub(crate) const SWAPPED: State = 1 << 7;
/// Nobody else maps it.
pub(crate) const EXCLUSIVE: State = 1 << 8;

/// Their names, in the order of the bits.
const NAMES: [&str; 9] = [
    "present",
    "huge",
    "of an object",
    "zeros",
    "uffd-wp",
    "guard",
    "poison",
    "swapped",
    "exclusive",
];

/// A state in words.
pub(crate) fn describe(state: State) -> String {
    let names = NAMES.iter().enumerate();
    let names: Vec<&str> = names
        .filter(|(bit, _)| state >> bit & 1 != 0)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// Pages one after the other, counted from the start of the region, whose entries say the same; never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) first: usize,
    pub(crate) pages: usize,
    pub(crate) state: State,
}

/// Adds a page, behind those that were added before.
pub(crate) fn push(runs: &mut Vec<Run>, page: usize, state: State) {
    if state == 0 {
        return;
    }
    match runs.last_mut() {
        Some(run) if run.state == state && run.first + run.pages == page => run.pages += 1,
        _ => runs.push(Run {
            first: page,
            pages: 1,
            state,
        }),
    }
}

/// What a page that represents others holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// The mapping, or the object.
    pub(crate) of: usize,
    /// The page of the scenario.
    pub(crate) page: usize,
    /// The word at its beginning.
    pub(crate) value: u64,
}

/// An address space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Space {
    /// What entries say.
    pub(crate) runs: Vec<Run>,
    /// What mapped pages hold.
    pub(crate) contents: Vec<Content>,
    /// What is mapped where, and what of it is there.
    pub(crate) areas: Vec<Area>,
    /// All that is there: on the engine, what its books say, which it keeps as entries change; on the real kernel, the sum of the
    /// areas, for what it keeps itself is not exact at any time and has more than the region in it.
    pub(crate) books: Counts,
    /// Where a huge page of an object reaches behind the end of that, in pages counted as those of runs are; only the engine says so.
    pub(crate) behind_end: Vec<Range<usize>>,
}

/// An object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cache {
    /// Its size in pages.
    pub(crate) size: usize,
    /// The pages that it has.
    pub(crate) runs: Vec<Run>,
    /// What they hold.
    pub(crate) contents: Vec<Content>,
    /// Where it has huge pages: the first page of each; only the engine says so.
    pub(crate) huge: Vec<usize>,
}

/// All of it, after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observed {
    /// What the step gave.
    pub(crate) given: Option<Seen>,
    /// The address spaces that there are.
    pub(crate) spaces: Vec<Option<Space>>,
    /// The objects.
    pub(crate) objects: Vec<Cache>,
    /// The pages that the step accesses or populates; only the engine says so.
    pub(crate) accessed: Option<Range<usize>>,
}
