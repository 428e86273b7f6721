//! What a collapse does that others see, in its order: ranges that followers are told of, flushes, results. Linux has trace events for
//! these, so that the order can be held against a real kernel's.
//!
//! It is noted where nothing runs but one thread after the other. What Linux spares itself is left out: a walk from a page to its
//! entries ends there when nothing maps the page any more, and is not begun if nothing does, while the engine's goes to the end, and
//! so tells of more ranges.

use std::cell::RefCell;

use pagefold::accounting::Fact;
use pagefold::addr::{AddrRange, VirtAddr};
use pagefold::collapse::{Part, ScanResult};
use pagefold_litmus::{Backing, MappingId, MmId, Scenario};

use super::PTRS_PER_TABLE;

/// A collapse that a process asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collapse {
    /// Whose it is.
    pub mm: MmId,
    /// What it does.
    pub steps: Vec<Step>,
}

/// Something that others see of a collapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Followers are told of pages of a mapping.
    Range {
        /// Where they are mapped.
        mapping: MappingId,
        /// The first one.
        page: usize,
        /// How many.
        pages: usize,
        /// Something was mapped there that is taken away.
        takes: bool,
    },
    /// Translation caches forget pages of an address space.
    Flush(MmId),
    /// A part of it has ended.
    Ended(Part, ScanResult),
}

/// What is noted on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// An address space asks for a collapse.
    Begin(u32),
    End,
    Flush(u32),
    Range(u32, AddrRange),
    Unmapped,
    Ended(Part, ScanResult),
}

thread_local! {
    static NOTES: RefCell<Option<Vec<Note>>> = const { RefCell::new(None) };
}

/// What is noted while `run` runs.
pub(crate) fn noted(run: impl FnOnce()) -> Vec<Note> {
    NOTES.set(Some(Vec::new()));
    run();
    NOTES.take().unwrap_or_default()
}

/// Notes something, if anything is to be noted.
pub(crate) fn note(note: Note) {
    NOTES.with_borrow_mut(|notes| {
        if let Some(notes) = notes {
            notes.push(note);
        }
    });
}

/// Notes what the engine tells.
pub(crate) fn note_fact(fact: Fact) {
    match fact {
        Fact::Invalidates(mm, range) => note(Note::Range(mm, range)),
        Fact::Mapped(_, _, -1) => note(Note::Unmapped),
        Fact::TableRemoved(..) => note(Note::Unmapped),
        Fact::Ended(part, result) => note(Note::Ended(part, result)),
        _ => {}
    }
}

/// The collapses that notes tell of. `place` says what is mapped at an address: which page of a mapping.
pub(crate) fn collapses(
    scenario: &Scenario,
    place: impl Fn(MmId, VirtAddr) -> Option<(MappingId, usize)>,
    notes: &[Note],
) -> Vec<Collapse> {
    let mut collapses = Vec::new();
    let mut open: Option<Collapse> = None;
    for note in notes {
        match (*note, &mut open) {
            (Note::Begin(mm), _) => {
                open = Some(Collapse {
                    mm: MmId::new(mm as usize),
                    steps: Vec::new(),
                });
            }
            (Note::End, _) => {
                if let Some(mut done) = open.take() {
                    spare_walks(scenario, &mut done.steps);
                    collapses.push(done);
                }
            }
            (_, None) => {}
            (Note::Flush(mm), Some(collapse)) => {
                collapse.steps.push(Step::Flush(MmId::new(mm as usize)));
            }
            (Note::Range(mm, range), Some(collapse)) => {
                if let Some((mapping, page)) = place(MmId::new(mm as usize), range.start) {
                    collapse.steps.push(Step::Range {
                        mapping,
                        page,
                        pages: (range.end.page() - range.start.page()) as usize,
                        takes: false,
                    });
                }
            }
            (Note::Unmapped, Some(collapse)) => {
                let last = collapse.steps.iter_mut().rev();
                let mut ranges = last.filter_map(|step| match step {
                    Step::Range { takes, .. } => Some(takes),
                    _ => None,
                });
                if let Some(takes) = ranges.next() {
                    *takes = true;
                }
            }
            (Note::Ended(part, result), Some(collapse)) => {
                collapse.steps.push(Step::Ended(part, result));
            }
        }
    }
    collapses
}

/// Leaves out what a walk from a page of an object does when nothing maps the page any more.
fn spare_walks(scenario: &Scenario, steps: &mut Vec<Step>) {
    let mut kept = Vec::with_capacity(steps.len());
    // From here on, all that was kept is of one walk that has found nothing since.
    let mut idle = 0;
    let mut walk = None;
    for step in steps.drain(..) {
        let this = page_walked(scenario, step);
        if this.is_none() || this != walk {
            kept.truncate(if walk.is_some() { idle } else { kept.len() });
            idle = kept.len();
        }
        walk = this;
        kept.push(step);
        if matches!(step, Step::Range { takes: true, .. }) {
            idle = kept.len();
        }
    }
    if walk.is_some() {
        kept.truncate(idle);
    }
    *steps = kept;
}

/// The page of an object, if the step is one of a walk from there to its entries: those are told of page by page.
fn page_walked(scenario: &Scenario, step: Step) -> Option<(usize, usize)> {
    let Step::Range {
        mapping,
        page,
        pages,
        ..
    } = step
    else {
        return None;
    };
    match scenario[mapping].backing {
        Backing::Object(object) if pages < PTRS_PER_TABLE => Some((object.index(), page)),
        _ => None,
    }
}
