//! The engine's values against simple models of them.

use std::collections::BTreeSet;

use pagefold::addr::{AddrRange, PageIndex, VirtAddr};
use pagefold::collapse::ScanResult;
use pagefold::lock_order::LockClass;
use pagefold::protocol::{Safeguard, SafeguardSet};
use proptest::prelude::*;

fn range() -> impl Strategy<Value = AddrRange> {
    (0_u64..40, 0_u64..20)
        .prop_map(|(start, pages)| AddrRange::pages(VirtAddr::of_page(start), pages))
}

/// The pages of a range, one by one.
fn pages(range: AddrRange) -> BTreeSet<u64> {
    (range.start.page()..range.end.page()).collect()
}

proptest! {
    #[test]
    fn ranges_are_sets_of_pages(a in range(), b in range(), page in 0_u64..64, offset in 0_u64..4096) {
        let addr = VirtAddr(VirtAddr::of_page(page).0 + offset);
        prop_assert_eq!(a.contains(addr), pages(a).contains(&page));
        prop_assert_eq!(
            a.overlaps(b) && !pages(a).is_empty() && !pages(b).is_empty(),
            pages(a).intersection(&pages(b)).next().is_some()
        );
        if !pages(b).is_empty() {
            prop_assert_eq!(a.covers(b), pages(b).is_subset(&pages(a)));
        }
    }

    #[test]
    fn a_huge_page_starts_at_the_last_multiple(page in 0_u64..1 << 36, shift in 1_u32..10) {
        let size = 1_usize << shift;
        let start = VirtAddr::of_page(page).huge_start(size).page();
        prop_assert_eq!(start % size as u64, 0);
        prop_assert!(start <= page && page - start < size as u64);
        prop_assert_eq!(PageIndex(page).huge_start(size), PageIndex(start));
    }

    #[test]
    fn safeguards_form_sets(chosen in proptest::collection::btree_set(0..Safeguard::ALL.len(), 0..12)) {
        let set = chosen
            .iter()
            .fold(SafeguardSet::EMPTY, |set, index| set.with(Safeguard::ALL[*index]));
        let found: BTreeSet<usize> = set.iter().map(|safeguard| safeguard as usize).collect();
        prop_assert_eq!(&found, &chosen);
        for (index, safeguard) in Safeguard::ALL.iter().enumerate() {
            prop_assert_eq!(set.contains(*safeguard), chosen.contains(&index));
        }
        prop_assert_eq!(set.union(SafeguardSet::EMPTY), set);
    }
}

#[test]
fn results_have_linux_names_and_errnos() {
    let names: BTreeSet<&str> = ScanResult::ALL.iter().map(|result| result.name()).collect();
    assert_eq!(names.len(), ScanResult::ALL.len(), "names are unique");
    for result in ScanResult::ALL {
        assert!(result.name().starts_with("SCAN_"));
        let succeeded = matches!(result, ScanResult::Succeed | ScanResult::PmdMapped);
        assert_eq!(result.errno().is_empty(), succeeded, "{result}");
    }
}

#[test]
fn the_lock_order_lists_each_class_at_its_rank() {
    for (index, class) in LockClass::ALL.iter().enumerate() {
        assert_eq!(class.rank() as usize, index);
    }
    let sleeping: Vec<bool> = LockClass::ALL.iter().map(|class| class.sleeps()).collect();
    assert!(
        sleeping.is_sorted_by(|a, b| a >= b),
        "no sleeping lock is taken under a spinning one"
    );
}

/// `madvise_collapse_errno` of Linux 6.12 has these, and `EINVAL` for all others. Pages that are written give a result of their own
/// only since 7.0.
#[test]
fn errnos_are_those_of_madvise_collapse_errno() {
    for result in ScanResult::ALL {
        let expected = match result {
            ScanResult::Succeed | ScanResult::PmdMapped => "",
            ScanResult::AllocHugePageFail => "ENOMEM",
            ScanResult::ExceedNonePte => "EBUSY",
            ScanResult::PageCount
            | ScanResult::PageLock
            | ScanResult::PageFilled
            | ScanResult::PageDirtyOrWriteback => "EAGAIN",
            _ => "EINVAL",
        };
        assert_eq!(result.errno(), expected, "{result}");
    }
}

/// The loop of `madvise_collapse` of Linux 6.12 goes on after these, as what they say is of one huge page's range only.
#[test]
fn madvise_collapse_goes_on_after_some_results() {
    let next: Vec<&str> = ScanResult::ALL
        .iter()
        .filter(|result| result.goes_on())
        .map(|result| result.name())
        .collect();
    assert_eq!(
        next,
        [
            "SCAN_SUCCEED",
            "SCAN_PMD_MAPPED",
            "SCAN_PMD_NULL",
            "SCAN_PTE_NON_PRESENT",
            "SCAN_PTE_UFFD_WP",
            "SCAN_PAGE_RO",
            "SCAN_PAGE_NULL",
            "SCAN_LACK_REFERENCED_PAGE",
            "SCAN_PAGE_COMPOUND",
            "SCAN_PAGE_LOCK",
            "SCAN_PAGE_COUNT",
        ]
    );
}
