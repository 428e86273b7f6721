//! Where pagefold and Linux are known to differ, and why.
//!
//! Each row says when a difference is of its sort: by what was done, by what only the engine knows of the two sides' state until
//! then, which was the same, and by what differs. The two are not in the same state any more then, so that the sequence ends
//! there, and is counted under the name of the row. What is not in this table is a bug of one side.

use pagefold_litmus::{Advice, Call};

use super::situation::Situation;
use crate::kernel::Version;

/// A way in which the two are known to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// What it is called.
    pub name: &'static str,
    /// Why the two differ.
    pub why: &'static str,
}

/// A row of the table.
struct Explained {
    known: Known,
    applies: fn(&Situation<'_>) -> bool,
}

/// The table.
const EXPLAINED: &[Explained] = &[
    Explained {
        known: Known {
            name: "guard-over-a-protection",
            why: "Linux (6.18) tries for ever to install a guard where a page that is not there is write-protected by userfaultfd; \
                  pagefold puts the guard there",
        },
        applies: |at| {
            // What was there leaves its protection behind.
            let protects = |call: &Call| match call {
                Call::UffdioWriteprotect(..) => true,
                Call::UffdioCopy(_, _, mode) | Call::UffdioContinue(_, mode) => mode.0,
                _ => false,
            };
            matches!(at.call(), Some(Call::Madvise(_, Advice::GuardInstall)))
                && at.before(protects)
                && at.hangs()
        },
    },
    Explained {
        known: Known {
            name: "folios-of-all-sizes",
            why: "a huge folio that is cut becomes folios of several sizes in Linux, each of which a fault maps as a whole; in pagefold it \
              becomes small ones",
        },
        applies: |at| at.accesses() && at.lost_huge_page() && at.maps_more(),
    },
    Explained {
        known: Known {
            name: "huge-page-behind-the-end",
            why: "since 6.18 a fault on a huge page of shmem that reaches behind the end, also one shortly behind it, maps also what is \
                  there, by small entries; pagefold maps nothing there, and raises SIGBUS",
        },
        applies: |at| {
            at.version >= Version(6, 18)
                && (at.accesses_behind_end() && at.goes_through() || at.maps_more_behind_end())
        },
    },
];

/// The row that a difference is of.
pub(super) fn explain(situation: &Situation<'_>) -> Option<Known> {
    let row = EXPLAINED.iter().find(|row| (row.applies)(situation));
    row.map(|row| row.known)
}
