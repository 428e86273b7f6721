//! Where pagefold and Linux are known to differ, and why.
//!
//! Each row says when a difference is of its sort. The two sides are not in the same state any more then, so that the sequence ends
//! there, and is counted under the name of the row. What is not in this table is a bug of one side.

use pagefold_litmus::{
    Advice, Backing, Call, MappingId, MappingPage, MmId, Scenario, Statement, StatementKind,
    UffdMode,
};

use super::compare::What;
use super::observe::{EXCLUSIVE, HUGE, OF_OBJECT, Observed, PRESENT, UFFD_WP, ZERO};
use crate::geometry::HALVES;
use crate::report::Seen;

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

/// A step after which the two sides differ, and what came before.
pub(super) struct Situation<'a> {
    pub(super) scenario: &'a Scenario,
    /// The steps up to this one.
    pub(super) steps: &'a [(MmId, &'a Statement)],
    pub(super) engine: &'a Observed,
    pub(super) what: &'a [What],
}

/// The table.
const EXPLAINED: &[Explained] = &[
    Explained {
        known: Known {
            name: "mremap-of-several",
            why: "Linux moves several mappings by one mremap since 6.17; pagefold moves one, and says EFAULT",
        },
        // Where the two gave the same all the same, mappings may be elsewhere from then on.
        applies: |at| at.engine.moves_several,
    },
    Explained {
        known: Known {
            name: "guards-and-collapse",
            why: "until 6.19 Linux has no mark for mappings that may have guards, so that collapse goes on where pagefold refuses it",
        },
        // Which pages of objects became huge may be seen later.
        applies: |at| !at.hangs() && at.collapses_after_guards(),
    },
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
        applies: |at| {
            let cuts = |call: &Call| matches!(call, Call::Truncate(..) | Call::FallocatePunch(_));
            let collapses = |call: &Call| matches!(call, Call::Madvise(_, Advice::Collapse));
            at.before(cuts) && at.before(collapses) && at.maps_more()
        },
    },
    Explained {
        known: Known {
            name: "joined-mappings",
            why: "Linux joins neighbours that have become equal, so that there is room for a huge page, or a fault maps pages of both; \
                  pagefold keeps them apart",
        },
        // That there was room may be seen later, when they are not equal any more.
        applies: |at| {
            let mut spaces = at.engine.spaces.iter().flatten();
            spaces.any(|space| space.joinable)
                || (at.engine.collapses_apart && at.gains_huge_pages())
        },
    },
    Explained {
        known: Known {
            name: "part-of-a-huge-page-grows-cold",
            why: "MADV_COLD and MADV_PAGEOUT of a part of a huge page split it in Linux, with its entries; pagefold leaves it alone",
        },
        applies: |at| {
            let cold = Advice::Cold;
            let advice = match at.call() {
                Some(Call::Madvise(_, advice)) => advice,
                _ => return false,
            };
            let entries = |what: &What| matches!(what, What::Entries { .. });
            let collapses = |call: &Call| matches!(call, Call::Madvise(_, Advice::Collapse));
            (advice == cold || advice == Advice::PageOut)
                && at.before(collapses)
                && at.what.iter().all(entries)
        },
    },
    Explained {
        known: Known {
            name: "zeros-for-private-mappings",
            why: "UFFDIO_ZEROPAGE puts the shared page of zeros into a private mapping of an object in Linux, and a private page in \
                  pagefold",
        },
        applies: |at| {
            let zeros = |what: &What| match what {
                What::Entries { kernel, engine, .. } => {
                    kernel & (PRESENT | ZERO) == PRESENT | ZERO
                        && engine & (PRESENT | OF_OBJECT | ZERO) == PRESENT
                }
                _ => false,
            };
            matches!(at.call(), Some(Call::UffdioZeropage(_))) && at.what.iter().all(zeros)
        },
    },
    Explained {
        known: Known {
            name: "large-folio-at-a-write",
            why: "since 6.11 a write that faults on a page of a huge page of shmem, where a table is, maps all of it by small entries; \
                  pagefold maps the page",
        },
        applies: |at| at.page().is_some() && at.maps_whole_folios(),
    },
    Explained {
        known: Known {
            name: "registered-right-behind",
            why: "collapse of a range with holes also asks who is registered for the page right behind it in Linux, whose interval has its \
                  end in it; pagefold asks those of the range",
        },
        applies: |at| {
            matches!(at.call(), Some(Call::Madvise(_, Advice::Collapse)))
                && at.is_registered_behind()
        },
    },
    Explained {
        known: Known {
            name: "huge-page-after-a-registration",
            why: "when a registration for protections ends, Linux takes the right to write from huge pages that are not dirty, so that the \
                  next write takes such a page out of the table first; pagefold leaves them as they are",
        },
        applies: |at| at.ends_registration() && at.loses_huge_pages(),
    },
    Explained {
        known: Known {
            name: "huge-page-behind-the-end",
            why: "since 6.18 a fault on a huge page of shmem that reaches behind the end maps also what is there, by small entries; \
              pagefold raises SIGBUS",
        },
        applies: |at| at.page().is_some_and(|page| at.is_behind_end(page)),
    },
];

/// The row that a difference is of.
pub(super) fn explain(situation: &Situation<'_>) -> Option<Known> {
    let row = EXPLAINED.iter().find(|row| (row.applies)(situation));
    row.map(|row| row.known)
}

impl Situation<'_> {
    fn call(&self) -> Option<Call> {
        self.steps.last().and_then(|step| call_of(step.1))
    }

    /// Whether there was such a call, this step included.
    fn before(&self, wanted: impl Fn(&Call) -> bool) -> bool {
        let calls = self.steps.iter().filter_map(|step| call_of(step.1));
        calls.into_iter().any(|call| wanted(&call))
    }

    /// Whether a collapse came after guards were put up.
    fn collapses_after_guards(&self) -> bool {
        let calls = self.steps.iter().filter_map(|step| call_of(step.1));
        calls
            .skip_while(|call| !matches!(call, Call::Madvise(_, Advice::GuardInstall)))
            .any(|call| matches!(call, Call::Madvise(_, Advice::Collapse)))
    }

    /// Whether the step does not end on the real kernel.
    fn hangs(&self) -> bool {
        matches!(self.what, [What::Hang(_)])
    }

    /// Whether all that differs is that Linux maps more pages of objects.
    fn maps_more(&self) -> bool {
        maps_more(self.what.iter())
    }

    /// Whether all that differs is that Linux maps more pages, none of which was there, where a huge page of an object was made.
    fn maps_whole_folios(&self) -> bool {
        let collapses = |call: &Call| matches!(call, Call::Madvise(_, Advice::Collapse));
        self.before(collapses) && self.maps_more()
    }

    /// Whether a registration has ended, by itself or by another one.
    fn ends_registration(&self) -> bool {
        self.before(|call| {
            matches!(
                call,
                Call::UffdUnregister(_) | Call::UffdClose(_) | Call::UffdRegister(..)
            )
        })
    }

    /// Whether it begins with huge pages of objects that are there no more on Linux.
    fn loses_huge_pages(&self) -> bool {
        let huge = PRESENT | HUGE | OF_OBJECT;
        let mut entries = self.what.iter().filter_map(|what| match what {
            What::Entries { kernel, engine, .. } => Some((kernel, engine)),
            _ => None,
        });
        entries.clone().next().is_some()
            && entries.all(|(kernel, engine)| kernel & HUGE == 0 && engine & huge == huge)
    }

    /// Whether all that differs is that Linux has huge pages of objects where pagefold has none.
    fn gains_huge_pages(&self) -> bool {
        let huge = PRESENT | HUGE | OF_OBJECT;
        self.what.iter().all(|what| match what {
            What::Entries { kernel, engine, .. } => kernel & huge == huge && engine & HUGE == 0,
            _ => false,
        })
    }

    /// Whether somebody hears of missing pages of an object behind its first huge page, by a registration that there is or was.
    fn is_registered_behind(&self) -> bool {
        let reaches = |id: MappingId| {
            self.scenario.pages(id) > HALVES
                && matches!(self.scenario[id].backing, Backing::Object(_))
        };
        let from_start = self.scenario.mappings.iter().enumerate();
        let from_start =
            from_start.filter_map(|(id, mapping)| Some((MappingId::new(id), mapping.uffd?)));
        let calls = self.steps.iter().filter_map(|step| match call_of(step.1)? {
            Call::UffdRegister(id, modes) => Some((id, modes)),
            _ => None,
        });
        from_start
            .chain(calls)
            .any(|(id, modes)| modes.has(UffdMode::Missing) && reaches(id))
    }

    /// The page that the step accesses.
    fn page(&self) -> Option<MappingPage> {
        let statement = self.steps.last()?.1;
        match statement.kind {
            StatementKind::Load { page, .. } | StatementKind::Store { page, .. } => Some(page),
            StatementKind::Call {
                call:
                    Call::Gup(page)
                    | Call::GupWrite(page, _)
                    | Call::ProcMemRead(page)
                    | Call::ProcMemWrite(page, _),
                ..
            } => Some(page),
            StatementKind::Call {
                call: Call::Madvise(range, Advice::PopulateRead | Advice::PopulateWrite),
                ..
            } => {
                let (first, pages) = self.scenario.pages_of(range);
                Some(MappingPage {
                    mapping: range.mapping,
                    page: first + pages - 1,
                })
            }
            _ => None,
        }
    }

    /// Whether the step is about pages behind where an object was cut, whichever is mapped there by now, and all that differs is
    /// what it gives, or that Linux maps more.
    fn is_behind_end(&self, page: MappingPage) -> bool {
        let refused = ["SIGBUS", "EFAULT"].map(|word| Some(Seen::Word(word.into())));
        let refused = refused.contains(&self.engine.given);
        // Where an mremap has brought other pages here, its number does not say which it is; that it is refused does.
        let cut = |call: &Call| match call {
            Call::Truncate(_, pages) => refused || *pages as usize <= page.page,
            _ => false,
        };
        let given = |what: &&What| matches!(what, What::Given(_));
        self.before(cut) && maps_more(self.what.iter().filter(|what| !given(what)))
    }
}

/// Whether all that differs is that Linux maps more pages of objects.
fn maps_more<'w>(what: impl IntoIterator<Item = &'w What>) -> bool {
    let small = PRESENT | OF_OBJECT;
    what.into_iter().all(|what| match what {
        What::Entries { kernel, engine, .. } => {
            let more = kernel & (small | HUGE | UFFD_WP) == small && *engine == 0;
            // That somebody maps more pages means that others have fewer for themselves.
            let shared = kernel ^ engine == EXCLUSIVE && kernel & small == small;
            more || shared
        }
        _ => false,
    })
}

fn call_of(statement: &Statement) -> Option<Call> {
    match statement.kind {
        StatementKind::Call { call, .. } => Some(call),
        _ => None,
    }
}
