//! What is mapped where in an address space of the engine, and how much of it is there, as the `smaps` of a real kernel says it.

use pagefold::accounting::PageKind;
use pagefold::mm::Mm;
use pagefold::platform::{Counter, Platform};
use pagefold::vma::{
    VM_READ, VM_SHARED, VM_UFFD_MINOR, VM_UFFD_MISSING, VM_UFFD_WP, VM_WRITE, Vma,
};
use pagefold::{Ref, is_zero_page};
use pagefold_machine::host::Host;

use super::observe::Looked;
use crate::differential::areas::{self, Area, Counts, Rights};
use crate::sys::memory::{PAGE, REGION};

/// What each flag of a VMA is called where the two sides are compared.
const RIGHTS: [(u64, Rights); 6] = [
    (VM_READ, areas::READ),
    (VM_WRITE, areas::WRITE),
    (VM_SHARED, areas::SHARED),
    (VM_UFFD_MISSING, areas::UFFD_MISSING),
    (VM_UFFD_WP, areas::UFFD_WP),
    (VM_UFFD_MINOR, areas::UFFD_MINOR),
];

impl Looked {
    /// What the entry adds to the numbers.
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        counts.swap += usize::from(self.pte.as_swap().is_some());
        if !self.pte.is_page() || is_zero_page::<Host>(self.pte.pfn()) {
            return counts;
        }
        let folio = Host::frame(self.pte.pfn()).folio_head();
        counts.rss += 1;
        let huge = if Host::frame(folio).is_anon() {
            counts.anonymous += 1;
            &mut counts.huge_anonymous
        } else {
            &mut counts.huge_shmem
        };
        *huge += usize::from(self.huge.is_some());
        counts
    }
}

/// The areas, with what the entries say is there.
pub(super) fn areas_of(mm: Ref<Host, Mm<Host>>, looked: &[Looked]) -> Vec<Area> {
    let area_of = |vma: Ref<Host, Vma<Host>>| {
        let pages = vma.range.start.page() as usize..vma.range.end.page() as usize;
        let mut counts = Counts::default();
        let inside = looked.iter().filter(|look| pages.contains(&look.page));
        inside.for_each(|look| counts.add(look.counts()));
        Area {
            first: pages.start - REGION.start / PAGE,
            pages: pages.len(),
            rights: rights_of(vma),
            object: vma
                .mapping
                .map(|object| (object.id as usize, vma.pgoff.0 as usize)),
            counts,
        }
    };
    mm.vmas_protected().map(area_of).collect()
}

fn rights_of(vma: Ref<Host, Vma<Host>>) -> Rights {
    let flags = vma.flags_protected();
    let rights = RIGHTS.iter().filter(|(flag, _)| flags & flag != 0);
    rights.fold(0, |rights, (_, right)| rights | right)
}

/// What the books say is there; what is mapped by huge pages, which they do not say, as the entries have it.
pub(super) fn books_of(mm: Ref<Host, Mm<Host>>, looked: &[Looked]) -> Counts {
    let mut counts = Counts::default();
    looked.iter().for_each(|look| counts.add(look.counts()));
    let number = |counter: &<Host as Platform>::Counter| counter.get() as usize;
    let anonymous = number(mm.rss(PageKind::Anon));
    Counts {
        rss: number(mm.rss(PageKind::Shmem)) + anonymous,
        anonymous,
        swap: number(mm.swap_entries()),
        ..counts
    }
}
