//! How the pages of a scenario lie in real ones.
//!
//! A table of the model maps two pages, a real one 512. So each half of a real huge page is a *group* that stands for one page of the
//! scenario, and one page of the group *represents* it. Loads, stores and pins are those of the representative. Calls
//! on ranges (madvise, munmap, a hole ...) are those of whole groups. What makes a page be there makes its group be there
//! too: contents of objects and the set-up from the start, the race where that can matter to others ([`Program::whole`]).
//! So a range is full, has holes or is empty where the scenario's is, which is what userfaultfd asks, and khugepaged by its limits.
//!
//! Where neither is in a scenario, nobody asks. Most races are then *sparse*: representatives are all that is there of a group from the start, which
//! saves hundreds of pages that would be filled, copied and freed each time. The others are as above, since collapse takes other ways past holes.
//!
//! The border of the groups and the representatives are drawn anew for each iteration, so that collapse, which works from
//! page to page, meets them at all places. They are the same in all huge pages, so that whole huge pages that move to other places
//! (mremap) have their groups where these are looked for. Both representatives are within the 64 KiB that one read fault maps, as both pages
//! of the model are.
//!
//! Where khugepaged may bring pages back from swap, which it does if half of them are in use, and where a page moves to the place of the other one of a
//! huge page, the groups are of the same size, and each has its representative at the same place. Then no read fault maps both.
//!
//! [`Program::whole`]: crate::plan::Program::whole

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::random::Random;
use crate::sys::Address;
use crate::sys::memory::{HUGE, PAGE, Pages, REGION};

/// Pages of a scenario in a huge page.
pub(crate) const HALVES: usize = 2;

/// Small pages in a real huge page.
pub(crate) const SMALL: usize = HUGE / PAGE;

/// Pages that a read fault maps at once.
const AROUND: usize = 16;

/// Huge pages that a mapping can have.
const HUGE_PAGES: usize = 4;

/// Pages of a scenario that a mapping or an object can have.
pub(crate) const MAX_PAGES: usize = HALVES * HUGE_PAGES;

/// Bytes from the start of a mapping to the start of the next one: the largest one, and as much again that is not mapped.
const STRIDE: usize = 2 * HUGE_PAGES * HUGE;

/// Where the pages are in this iteration.
#[derive(Debug, Default)]
pub(crate) struct Spread(AtomicU64);

/// How each huge page is divided: the representatives, and where the second half begins; and whether only the representatives are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Division {
    first: usize,
    border: usize,
    second: usize,
    sparse: bool,
}

impl Spread {
    /// Draws other places, in groups of the same size if it is to be `even`, of which only the representatives are there if it is to be `sparse`.
    pub(crate) fn draw(&self, random: &mut Random, even: bool, sparse: bool) {
        let division = if even {
            let first = random.below(SMALL / 2);
            Division {
                first,
                border: SMALL / 2,
                second: SMALL / 2 + first,
                sparse,
            }
        } else {
            let window = random.below(SMALL / AROUND) * AROUND;
            let first = random.below(AROUND - 1);
            let second = first + 1 + random.below(AROUND - 1 - first);
            let border = first + 1 + random.below(second - first);
            Division {
                first: window + first,
                border: window + border,
                second: window + second,
                sparse,
            }
        };
        let places = division.first | division.border << 16 | division.second << 32;
        let packed = places | usize::from(division.sparse) << 48;
        self.0.store(packed as u64, Relaxed);
    }

    fn division(&self) -> Division {
        let packed = self.0.load(Relaxed) as usize;
        Division {
            first: packed & 0xffff,
            border: packed >> 16 & 0xffff,
            second: packed >> 32 & 0xffff,
            sparse: packed >> 48 != 0,
        }
    }

    /// The real page that represents a page, counted from the start of the object or mapping.
    pub(crate) fn representative(&self, page: usize) -> usize {
        let division = self.division();
        let within = if page.is_multiple_of(HALVES) {
            division.first
        } else {
            division.second
        };
        page / HALVES * SMALL + within
    }

    /// The first real page of the group of a page; of the page behind the last one it is where the last one ends.
    pub(crate) fn group_start(&self, page: usize) -> usize {
        let start = page / HALVES * SMALL;
        if page.is_multiple_of(HALVES) {
            start
        } else {
            start + self.division().border
        }
    }

    /// Whether only representatives are there from the start.
    pub(crate) fn is_sparse(&self) -> bool {
        self.division().sparse
    }

    /// The real pages of an object that are there for one page of it from the start.
    pub(crate) fn filled(&self, page: usize) -> Range<usize> {
        if self.is_sparse() {
            let representative = self.representative(page);
            representative..representative + 1
        } else {
            self.group_start(page)..self.group_start(page + 1)
        }
    }

    /// The bytes of so many pages of an object.
    pub(crate) fn bytes(&self, pages: usize) -> usize {
        self.group_start(pages) * PAGE
    }

    /// The address of a page of the mapping in a slot.
    pub(crate) fn address(&self, slot: usize, page: usize) -> Address {
        start_of(slot).add(self.representative(page) * PAGE)
    }

    /// The group of a page of the mapping in a slot.
    pub(crate) fn group(&self, slot: usize, page: usize) -> Pages {
        self.range(slot, page, 1)
    }

    /// So many groups, from that of `first`.
    pub(crate) fn range(&self, slot: usize, first: usize, pages: usize) -> Pages {
        let start = self.group_start(first) * PAGE;
        let end = self.group_start(first + pages) * PAGE;
        Pages::new(start_of(slot).add(start), end - start)
    }

    /// Whether so many bytes are none, one, or more of so many groups, from that of `first`.
    pub(crate) fn is_border(&self, first: usize, pages: usize, bytes: usize) -> bool {
        (0..=pages).any(|count| self.range(0, first, count).bytes == bytes)
    }
}

/// Pages of a scenario by where they are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The place of the mapping.
    pub(crate) slot: usize,
    /// The first page.
    pub(crate) page: usize,
    /// How many.
    pub(crate) pages: usize,
}

impl Spread {
    /// What is at the addresses from `start` to before `end`: the page that is represented by just that, or whole huge pages.
    pub(crate) fn place(&self, start: usize, end: usize) -> Option<Place> {
        let offset = start
            .checked_sub(REGION.start)
            .filter(|_| end <= REGION.end)?;
        let bytes = end.checked_sub(start)?;
        let (slot, within) = (offset / STRIDE, offset % STRIDE);
        if bytes == PAGE {
            let mut pages = 0..MAX_PAGES;
            let page = pages.find(|page| self.representative(*page) == within / PAGE)?;
            return Some(Place {
                slot,
                page,
                pages: 1,
            });
        }
        let whole = bytes > 0 && bytes.is_multiple_of(HUGE) && within.is_multiple_of(HUGE);
        whole.then(|| Place {
            slot,
            page: within / HUGE * HALVES,
            pages: bytes / HUGE * HALVES,
        })
    }
}

/// The first huge page of the mapping in a slot, however much of it is mapped.
pub(crate) fn first_huge(slot: usize) -> Pages {
    Pages::new(start_of(slot), HUGE)
}

/// The slot of a mapping, and the number of the real page in it, at an address.
pub(crate) fn place(address: u64) -> Option<(usize, usize)> {
    let offset = usize::try_from(address).ok()?.checked_sub(REGION.start)?;
    Some((offset / STRIDE, offset % STRIDE / PAGE))
}

/// The page of the region that is at an address.
pub(crate) fn address(address: u64) -> Option<Address> {
    let offset = usize::try_from(address).ok()?.checked_sub(REGION.start)?;
    Some(Address::new(offset / PAGE * PAGE))
}

/// Where the mapping in a slot begins.
fn start_of(slot: usize) -> Address {
    Address::new(slot * STRIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_everything_and_have_their_representatives() {
        let spread = Spread::default();
        let mut random = Random::new(1);
        for number in 0..1000 {
            let (even, sparse) = (number % 2 == 0, number % 3 == 0);
            spread.draw(&mut random, even, sparse);
            assert_eq!(spread.is_sparse(), sparse);
            for page in 0..MAX_PAGES {
                let (start, end) = (spread.group_start(page), spread.group_start(page + 1));
                let representative = spread.representative(page);
                assert!(start <= representative && representative < end);
                let filled = if sparse {
                    representative..representative + 1
                } else {
                    start..end
                };
                assert_eq!(spread.filled(page), filled);
            }
            assert_eq!(spread.group_start(MAX_PAGES), HUGE_PAGES * SMALL);
            if even {
                for page in 0..MAX_PAGES {
                    let first = page * SMALL / 2;
                    assert_eq!(spread.group_start(page), first);
                    let within = spread.representative(page) - first;
                    assert_eq!(within, spread.representative(0));
                }
            }
            for huge in 0..HUGE_PAGES {
                let first = spread.representative(HALVES * huge);
                let second = spread.representative(HALVES * huge + 1);
                assert_eq!(first / AROUND == second / AROUND, !even);
            }
        }
    }
    #[test]
    fn a_border_is_where_a_group_begins_or_ends() {
        let spread = Spread::default();
        spread.draw(&mut Random::new(1), false, false);
        let group = |page| spread.group(0, page).bytes;
        for bytes in [0, group(1), group(1) + group(2)] {
            assert!(spread.is_border(1, 2, bytes));
        }
        assert!(!spread.is_border(1, 2, PAGE));
        assert!(!spread.is_border(1, 2, group(1) + PAGE));
        assert!(!spread.is_border(1, 1, group(1) + group(2)));
    }
}
