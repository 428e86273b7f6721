//! A step after which the two sides differ: what came before it, and what differs. The table asks of it whether a difference is of a
//! sort that is known.

use std::ops::Range;

use pagefold_litmus::{Call, MmId, Statement};

use super::compare::What;
use super::observe::{EXCLUSIVE, HUGE, OF_OBJECT, Observed, PRESENT, State, UFFD_WP};
use super::sequence::call_of;
use crate::kernel::Version;
use crate::report::Seen;

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
        self.now().is_some_and(|now| now.accessed.is_some())
    }

    /// Whether the engine gave one of these words, or nothing, as for a store.
    pub(super) fn gives(&self, words: &[&str]) -> bool {
        match self.now().map(|now| &now.given) {
            Some(Some(Seen::Word(given))) => words.contains(&given.as_str()),
            Some(None) => true,
            _ => false,
        }
    }

    /// Whether the step accesses what is behind the end of an object, in a huge page of it.
    pub(super) fn accesses_behind_end(&self) -> bool {
        let mm = self.steps[self.steps.len() - 1].0;
        let accessed = self.now().and_then(|now| now.accessed.as_ref());
        accessed.is_some_and(|accessed| {
            let mut behind = self.behind_end(mm).iter();
            behind.any(|behind| behind.start < accessed.end && accessed.start < behind.end)
        })
    }

    fn behind_end(&self, mm: MmId) -> &[Range<usize>] {
        let space = self.now().and_then(|seen| {
            let space = seen.spaces.get(mm.index())?;
            space.as_ref()
        });
        space.map_or(&[], |space| &space.behind_end)
    }

    /// Whether all that differs is that a fault also maps pages by small entries that are behind the end.
    pub(super) fn maps_more_behind_end(&self) -> bool {
        let is_behind = |mm, pages: &Range<usize>| {
            let mut behind = self.behind_end(mm).iter();
            behind.any(|behind| behind.start <= pages.start && pages.end <= behind.end)
        };
        self.accesses()
            && self.all_entries(|mm, pages, kernel, engine| {
                maps_more(kernel, engine) && is_behind(mm, pages) || is_shared(kernel, engine)
            })
    }

    /// Whether all that differs is that Linux maps more pages of objects by small entries.
    pub(super) fn maps_more(&self) -> bool {
        self.all_entries(|_, _, kernel, engine| {
            maps_more(kernel, engine) || is_shared(kernel, engine)
        })
    }

    /// Whether all that differs is that an access that pagefold refuses goes through, and that Linux maps more pages of objects.
    pub(super) fn goes_through(&self) -> bool {
        self.accesses()
            && self.gives(&["SIGBUS", "EFAULT", "EIO"])
            && self.what.iter().all(|what| match what {
                What::Given(_) => true,
                What::Entries { kernel, engine, .. } => {
                    maps_more(*kernel, *engine) || is_shared(*kernel, *engine)
                }
                _ => false,
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
