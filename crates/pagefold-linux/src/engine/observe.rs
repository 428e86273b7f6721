//! All that can be seen after a step, as `differential/` looks at a real kernel.

use std::collections::HashMap;
use std::ops::Range;

use pagefold::addr::{AddrRange, PageIndex, Pfn};
use pagefold::arch::{Marker, Pte};
use pagefold::page_cache::{Entry, Mapping};
use pagefold::platform::Platform;
use pagefold::vma::Vma;
use pagefold::{Ref, is_zero_page};
use pagefold_litmus::{MappingPage, MmId, Statement};
use pagefold_machine::host::{Host, PTRS_PER_TABLE};

use super::Engine;
use super::areas::{areas_of, books_of};
use super::look::Upper;
use super::memory::read_frame;
use crate::differential::observe::{self, Cache, Content, Observed, Space, State};
use crate::differential::sequence::Accessed;
use crate::report::Seen;
use crate::sys::memory::{PAGE, REGION};

/// The first page of the region.
const START: usize = REGION.start / PAGE;

/// An entry that is not empty.
pub(super) struct Looked {
    pub(super) page: usize,
    pub(super) pte: Pte,
    /// If it is of a huge page, the first frame of that.
    pub(super) huge: Option<Pfn>,
}

impl Engine<'_> {
    /// All of it, after a step that gave this.
    pub(crate) fn observe(&self, step: &Statement, given: Option<Seen>) -> Observed {
        let mms = 0..self.processes.len();
        let mut maps = HashMap::new();
        let looks: Vec<Option<Vec<Looked>>> = mms
            .map(|id| {
                let there = self.is_there(MmId::new(id));
                there.then(|| self.entries(MmId::new(id), &mut maps))
            })
            .collect();
        let spaces = looks.iter().enumerate();
        let spaces = spaces.map(|(id, looked)| {
            let looked = looked.as_ref()?;
            Some(self.space(MmId::new(id), looked, &maps))
        });
        Observed {
            given,
            spaces: spaces.collect(),
            objects: (0..self.objects.len()).map(|id| self.cache(id)).collect(),
            accessed: Accessed::by(step).map(|accessed| self.pages_of(accessed)),
        }
    }

    /// Where that is. Of a page its representative is accessed.
    fn pages_of(&self, accessed: Accessed) -> Range<usize> {
        pages(match accessed {
            Accessed::Page(page) => AddrRange::pages(self.representative(page), 1),
            Accessed::Range(range) => self.range(range),
        })
    }

    /// The entries of an address space; counts who maps which frame.
    fn entries(&self, id: MmId, maps: &mut HashMap<Pfn, u32>) -> Vec<Looked> {
        let mut looked = Vec::new();
        for (mapping, _) in self.scenario.mappings_of(id) {
            let range = self.whole(mapping);
            let (mut page, end) = (range.start.page() as usize, range.end.page() as usize);
            while page < end {
                let next = (page / PTRS_PER_TABLE + 1) * PTRS_PER_TABLE;
                let upper = Upper::of(self.mm(id), page);
                let huge = match upper {
                    Upper::Nothing => {
                        page = next;
                        continue;
                    }
                    Upper::Table(_) => None,
                    Upper::Huge(pte) => Some(pte.pfn()),
                };
                for page in page..next.min(end) {
                    let pte = upper.entry(page);
                    if pte.is_none() {
                        continue;
                    }
                    if pte.is_page() {
                        *maps.entry(pte.pfn()).or_default() += 1;
                    }
                    looked.push(Looked { page, pte, huge });
                }
                page = next;
            }
        }
        looked
    }

    fn space(&self, id: MmId, looked: &[Looked], maps: &HashMap<Pfn, u32>) -> Space {
        let mut space = Space {
            areas: areas_of(self.mm(id), looked),
            books: books_of(self.mm(id), looked),
            behind_end: self
                .mm(id)
                .vmas_protected()
                .filter_map(behind_end)
                .collect(),
            ..Space::default()
        };
        for look in looked {
            observe::push(&mut space.runs, look.page - START, look.state(maps));
        }
        for (mapping, _) in self.scenario.mappings_of(id) {
            for page in 0..self.scenario.pages(mapping) {
                let pte = self.entry(MappingPage { mapping, page });
                if pte.is_page() {
                    space.contents.push(Content {
                        of: mapping.index(),
                        page,
                        value: read_frame(pte.pfn()),
                    });
                }
            }
        }
        space
    }

    fn cache(&self, id: usize) -> Cache {
        let object = self.objects[id];
        let size = object.pages_protected() as usize;
        let mut cache = Cache {
            size,
            ..Cache::default()
        };
        let frame = |index: usize| match object.load_protected(PageIndex(index as u64)) {
            Entry::Folio(folio) => {
                let first = Host::frame(folio.pfn()).folio_head();
                let offset = if Host::frame(first).is_huge() {
                    index % PTRS_PER_TABLE
                } else {
                    0
                };
                Some(first.add(offset))
            }
            _ => None,
        };
        cache.huge = (0..size)
            .step_by(PTRS_PER_TABLE)
            .filter(|first| has_huge(object, *first))
            .collect();
        for index in 0..size {
            let state = if frame(index).is_some() {
                observe::PRESENT
            } else {
                0
            };
            observe::push(&mut cache.runs, index, state);
        }
        for page in 0..self.scenario.objects[id].pages() {
            let index = self.spread.representative(page);
            if let Some(pfn) = (index < size).then(|| frame(index)).flatten() {
                cache.contents.push(Content {
                    of: id,
                    page,
                    value: read_frame(pfn),
                });
            }
        }
        cache
    }
}

impl Looked {
    /// What the entry says. Linux says of all pages of a huge entry whether the *first* one is mapped by nobody else.
    fn state(&self, maps: &HashMap<Pfn, u32>) -> State {
        let pte = self.pte;
        let mut state = if self.huge.is_some() {
            observe::HUGE
        } else {
            0
        };
        if pte.is_page() {
            state |= observe::PRESENT;
            if is_zero_page::<Host>(pte.pfn()) {
                state |= observe::ZERO;
            } else {
                let folio = Host::frame(pte.pfn()).folio_head();
                if !Host::frame(folio).is_anon() {
                    state |= observe::OF_OBJECT;
                }
                if maps.get(&self.huge.unwrap_or(pte.pfn())) == Some(&1) {
                    state |= observe::EXCLUSIVE;
                }
            }
            if pte.is_uffd_wp() {
                state |= observe::UFFD_WP;
            }
        }
        state |= match pte.as_marker() {
            Some(Marker::UffdWp) => observe::UFFD_WP,
            Some(Marker::Poison) => observe::POISON,
            Some(Marker::Guard) => observe::GUARD,
            None => 0,
        };
        if let Some(swap) = pte.as_swap() {
            state |= observe::SWAPPED;
            if swap.uffd_wp {
                state |= observe::UFFD_WP;
            }
        }
        state
    }
}

/// What a mapping has of the huge page in which its object ends, behind that end.
fn behind_end(vma: Ref<Host, Vma<Host>>) -> Option<Range<usize>> {
    let object = vma.mapping?;
    let size = object.pages_protected() as usize;
    let huge = size / PTRS_PER_TABLE * PTRS_PER_TABLE;
    if huge == size || !has_huge(object, huge) {
        return None;
    }
    let (mapped, first) = (pages(vma.range), vma.pgoff.0 as usize);
    let behind = size.max(first)..(huge + PTRS_PER_TABLE).min(first + mapped.len());
    let place = |index: usize| mapped.start + index - first;
    (!behind.is_empty()).then(|| place(behind.start)..place(behind.end))
}

/// Whether an object has a huge page that begins there.
fn has_huge(object: Ref<Host, Mapping<Host>>, first: usize) -> bool {
    match object.load_protected(PageIndex(first as u64)) {
        Entry::Folio(folio) => Host::frame(Host::frame(folio.pfn()).folio_head()).is_huge(),
        _ => false,
    }
}

/// Pages of the region.
fn pages(range: AddrRange) -> Range<usize> {
    range.start.page() as usize - START..range.end.page() as usize - START
}
