//! A step after which the two sides differ: what came before it, and what differs. The table asks of it whether a difference is of a
//! sort that is known.

use std::ops::Range;

use pagefold_litmus::{Advice, Call, MmId, Statement};
use pagefold_machine::host::PTRS_PER_TABLE;

use super::compare::What;
use super::observe::{EXCLUSIVE, HUGE, Marks, OF_OBJECT, Observed, PRESENT, State, UFFD_WP, ZERO};
use super::sequence::call_of;
use crate::kernel::Version;
use crate::report::Seen;

/// Pages that a fault maps around itself, at most.
const FAULT_AROUND: usize = 16;

/// Some of what only the engine knows of an address space.
type Stretches = fn(&Marks) -> &[Range<usize>];

/// A step after which the two sides differ, and what came before.
pub(super) struct Situation<'a> {
    /// That of the kernel.
    pub(super) version: Version,
    /// The steps up to this one, and who took them.
    pub(super) steps: &'a [(MmId, &'a Statement)],
    /// What the engine showed after each of them; nothing if the kernel's side did not come that far.
    pub(super) engine: &'a [Observed],
    pub(super) what: &'a [What],
}

impl Situation<'_> {
    pub(super) fn call(&self) -> Option<Call> {
        self.steps.last().and_then(|step| call_of(step.1))
    }

    /// What the engine shows now.
    pub(super) fn now(&self) -> Option<&Observed> {
        self.engine.last()
    }

    /// Whether there was such a call, this step included.
    pub(super) fn before(&self, wanted: impl Fn(&Call) -> bool) -> bool {
        let mut calls = self.steps.iter().filter_map(|step| call_of(step.1));
        calls.any(|call| wanted(&call))
    }

    /// Whether the step does not end on the real kernel.
    pub(super) fn hangs(&self) -> bool {
        matches!(self.what, [What::Hang(_)])
    }

    /// Whether the step accesses pages or populates a range.
    pub(super) fn accesses(&self) -> bool {
        let about = self.now().is_some_and(|now| !now.about.is_empty());
        about && !self.moves() && !is_collapse(self.call())
    }

    /// Whether the step moves pages.
    fn moves(&self) -> bool {
        matches!(self.call(), Some(Call::Mremap(..) | Call::UffdioMove(..)))
    }

    /// Whether pagefold refuses the step, which is to move pages out of such a stretch, or into one.
    pub(super) fn moves_as_one(&self, stretches: Stretches) -> bool {
        let mm = self.steps[self.steps.len() - 1].0;
        let mut about = self.now().into_iter().flat_map(|now| &now.about);
        self.moves()
            && self.gives(&["EFAULT", "EINVAL"])
            && about.any(|pages| self.is_inside(mm, pages, stretches))
    }

    /// Whether the engine gave one of these words, or nothing, as for a store.
    pub(super) fn gives(&self, words: &[&str]) -> bool {
        match self.now().map(|now| &now.given) {
            Some(Some(Seen::Word(given))) => words.contains(&given.as_str()),
            Some(None) => true,
            _ => false,
        }
    }

    /// Whether the step is about pages of such a stretch.
    pub(super) fn is_about(&self, stretches: Stretches) -> bool {
        self.was_about(self.steps.len() - 1, stretches, Range::clone)
    }

    /// Whether a step was about pages of such a stretch, when what it was about is taken to be that large.
    fn was_about(
        &self,
        step: usize,
        stretches: Stretches,
        reach: impl Fn(&Range<usize>) -> Range<usize>,
    ) -> bool {
        let mut about = self
            .engine
            .get(step)
            .into_iter()
            .flat_map(|seen| &seen.about);
        about.any(|about| {
            let reach = reach(about);
            let mut stretches = self.stretches(step, self.steps[step].0, stretches).iter();
            stretches.any(|stretch| stretch.start < reach.end && reach.start < stretch.end)
        })
    }

    /// Those of an address space after a step.
    fn stretches(&self, step: usize, mm: MmId, stretches: Stretches) -> &[Range<usize>] {
        let space = self.engine.get(step).and_then(|seen| {
            let space = seen.spaces.get(mm.index())?;
            space.as_ref()
        });
        space.map_or(&[], |space| stretches(&space.marks))
    }

    /// Whether a step was a collapse in whose huge pages there is such a stretch.
    fn was_collapse_of(&self, step: usize, stretches: Stretches) -> bool {
        let huge = |about: &Range<usize>| {
            let start = about.start / PTRS_PER_TABLE * PTRS_PER_TABLE;
            start..about.end.next_multiple_of(PTRS_PER_TABLE)
        };
        is_collapse(call_of(self.steps[step].1)) && self.was_about(step, stretches, huge)
    }

    /// Whether all that differs is what a collapse of such a stretch does that pagefold refuses: the step is one, or an earlier one
    /// was, whose huge page is seen only now.
    pub(super) fn collapses_more(&self, stretches: Stretches) -> bool {
        let (now, before) = (self.steps.len() - 1, 0..self.steps.len() - 1);
        if self.was_collapse_of(now, stretches) {
            return self.what.iter().all(|what| match what {
                What::Given(_) => self.gives(&["EINVAL"]),
                // Holes are filled.
                What::Pages(_) => true,
                What::Entries { kernel, engine, .. } => {
                    gains_huge_page(*kernel, *engine)
                        || loses_page(*kernel, *engine)
                        || keeps_protection(*kernel, *engine)
                        || shares_otherwise(*kernel, *engine)
                        || is_left_alone(*kernel, *engine)
                }
                _ => false,
            });
        }
        before
            .into_iter()
            .any(|step| self.was_collapse_of(step, stretches))
            && self.all_entries(|_, _, kernel, engine| maps_huge(kernel, engine))
    }

    /// Whether all that differs is what a fault in such a stretch maps: more pages of it, also by a huge page; or others around.
    pub(super) fn faults_differently(&self, stretches: Stretches) -> bool {
        let now = self.steps.len() - 1;
        let around = |pages: &Range<usize>| {
            let mut about = self.now().into_iter().flat_map(|now| &now.about);
            about.any(|about| {
                let around = about.start.saturating_sub(FAULT_AROUND)..about.end + FAULT_AROUND;
                around.start <= pages.start && pages.end <= around.end
            })
        };
        self.accesses()
            && self.all_entries(|mm, pages, kernel, engine| {
                let differs = maps_more(kernel, engine)
                    || gains_huge_page(kernel, engine)
                    || loses_page(kernel, engine) && around(pages);
                let inside = mm == self.steps[now].0 && self.is_inside(mm, pages, stretches);
                inside && differs || shares_otherwise(kernel, engine)
            })
    }

    /// Whether all that differs is that fork copies more entries of such a stretch.
    pub(super) fn copies_more(&self, stretches: Stretches) -> bool {
        let Some(Call::Fork(child)) = self.call() else {
            return false;
        };
        self.all_entries(|mm, pages, kernel, engine| {
            let copies = kernel & (PRESENT | HUGE) == PRESENT && engine == 0;
            mm == child && copies && self.is_inside(mm, pages, stretches)
                || is_shared(kernel, engine)
        })
    }

    /// Whether all that differs is that a fault maps more pages of such a stretch by small entries, wherever it is.
    pub(super) fn maps_more_of(&self, stretches: Stretches) -> bool {
        self.accesses()
            && self.all_entries(|mm, pages, kernel, engine| {
                maps_more(kernel, engine) && self.is_inside(mm, pages, stretches)
                    || is_shared(kernel, engine)
            })
    }

    /// Whether pages are within such a stretch.
    fn is_inside(&self, mm: MmId, pages: &Range<usize>, stretches: Stretches) -> bool {
        let mut stretches = self.stretches(self.steps.len() - 1, mm, stretches).iter();
        stretches.any(|all| all.start <= pages.start && pages.end <= all.end)
    }

    /// Whether all that differs is that Linux maps more pages of objects by small entries.
    pub(super) fn maps_more(&self) -> bool {
        self.all_entries(|_, _, kernel, engine| {
            maps_more(kernel, engine) || is_shared(kernel, engine)
        })
    }

    /// Whether all that differs is that an access that pagefold refuses goes through, and that Linux maps more pages of objects: by small
    /// entries, or in such a stretch by a huge one.
    pub(super) fn goes_through(&self, stretches: Stretches) -> bool {
        let maps = |mm, pages: &Range<usize>, kernel, engine| {
            maps_more(kernel, engine)
                || maps_huge(kernel, engine) && self.is_inside(mm, pages, stretches)
        };
        self.accesses()
            && self.gives(&["SIGBUS", "EFAULT", "EIO"])
            && self.what.iter().all(|what| match what {
                What::Given(_) => true,
                What::Entries {
                    mm,
                    pages,
                    kernel,
                    engine,
                    ..
                } => maps(*mm, pages, *kernel, *engine) || is_shared(*kernel, *engine),
                _ => false,
            })
    }

    /// Whether all that differs is what division of a huge page does to its entries, and who else maps the pages: those of an object are taken
    /// away, but for their protection, private ones that hold nothing but zeros are given up.
    pub(super) fn divides_huge_pages(&self) -> bool {
        self.all_entries(|_, _, kernel, engine| {
            gains_huge_page(engine, kernel)
                || loses_page(kernel, engine)
                || keeps_protection(kernel, engine)
                || gives_up_zeros(kernel, engine)
                || shares_otherwise(kernel, engine)
        })
    }

    /// Whether all that differs are entries of this kind.
    pub(super) fn all_entries(
        &self,
        wanted: impl Fn(MmId, &Range<usize>, State, State) -> bool,
    ) -> bool {
        self.what.iter().all(|what| match what {
            What::Entries {
                mm,
                pages,
                kernel,
                engine,
                ..
            } => wanted(*mm, pages, *kernel, *engine),
            _ => false,
        })
    }

    /// Whether an object had a huge page that it has no more.
    pub(super) fn lost_huge_page(&self) -> bool {
        let Some(now) = self.now() else {
            return false;
        };
        self.engine.iter().any(|seen| {
            let mut objects = seen.objects.iter().zip(&now.objects);
            objects.any(|(then, now)| then.huge.iter().any(|page| !now.huge.contains(page)))
        })
    }
}

fn is_collapse(call: Option<Call>) -> bool {
    matches!(call, Some(Call::Madvise(_, Advice::Collapse)))
}

/// A page of an object that only Linux maps, by a small entry.
fn maps_more(kernel: State, engine: State) -> bool {
    let small = PRESENT | OF_OBJECT;
    kernel & (small | HUGE | UFFD_WP) == small && engine == 0
}

/// That somebody maps more pages means that others have fewer for themselves.
fn is_shared(kernel: State, engine: State) -> bool {
    let of_object = PRESENT | OF_OBJECT;
    kernel & of_object == of_object && engine == kernel | EXCLUSIVE
}

/// As others map more or fewer pages.
fn shares_otherwise(kernel: State, engine: State) -> bool {
    is_shared(kernel, engine) || is_shared(engine, kernel)
}

/// A huge page that only the first of the two has.
fn gains_huge_page(one: State, other: State) -> bool {
    let huge = PRESENT | HUGE;
    one & huge == huge && other & HUGE == 0
}

/// A huge page of an object, by a huge entry that only Linux has.
fn maps_huge(kernel: State, engine: State) -> bool {
    gains_huge_page(kernel, engine) && kernel & OF_OBJECT != 0
}

/// A page of an object that only pagefold maps still; where it was, Linux has its write protection.
fn keeps_protection(kernel: State, engine: State) -> bool {
    let small = PRESENT | OF_OBJECT | UFFD_WP;
    kernel == UFFD_WP && engine & (small | HUGE) == small
}

/// A page of an object that only pagefold maps, by a small entry; so it is where Linux took the table away.
fn loses_page(kernel: State, engine: State) -> bool {
    let small = PRESENT | OF_OBJECT;
    kernel == 0 && engine & (small | HUGE | UFFD_WP) == small
}

/// A private page that was shared, and is nobody else's any more on Linux.
fn is_left_alone(kernel: State, engine: State) -> bool {
    engine == PRESENT && kernel == PRESENT | EXCLUSIVE
}

/// A private page, mapped by a small entry, of which Linux has made the page of zeros.
fn gives_up_zeros(kernel: State, engine: State) -> bool {
    kernel == PRESENT | ZERO && engine == PRESENT | EXCLUSIVE
}
