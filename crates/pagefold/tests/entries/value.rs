//! What an entry means, apart from any format (the ideas of Linux' `debug_vm_pgtable`, as properties).

use pagefold::addr::Pfn;
use pagefold::arch::{Marker, Migration, Pte, Swap};
use proptest::prelude::*;

/// A change of a page's entry, and the question that it answers with yes or no.
struct Toggle {
    name: &'static str,
    on: fn(Pte) -> Pte,
    off: fn(Pte) -> Pte,
    is: fn(Pte) -> bool,
}

const TOGGLES: [Toggle; 3] = [
    Toggle {
        name: "writable",
        on: Pte::mk_writable,
        off: Pte::wrprotect,
        is: Pte::is_writable,
    },
    Toggle {
        name: "young",
        on: Pte::mk_young,
        off: Pte::mk_old,
        is: Pte::is_young,
    },
    Toggle {
        name: "dirty",
        on: Pte::mk_dirty,
        off: Pte::mk_clean,
        is: Pte::is_dirty,
    },
];

/// Frames that every format has room for.
pub(crate) fn frame() -> impl Strategy<Value = Pfn> {
    (0_u64..1 << 36).prop_map(Pfn)
}

/// The entry of a small page.
pub(crate) fn small_page() -> impl Strategy<Value = Pte> {
    (frame(), any::<[bool; 4]>()).prop_map(|(pfn, bits)| with(Pte::page(pfn, false), bits))
}

/// The entry of a huge page.
pub(crate) fn huge_page() -> impl Strategy<Value = Pte> {
    (0_u64..1 << 27, any::<[bool; 4]>())
        .prop_map(|(number, bits)| with(Pte::huge(Pfn(number << 9), false), bits))
}

fn with(page: Pte, [writable, young, dirty, uffd_wp]: [bool; 4]) -> Pte {
    let mut pte = page.mk_old();
    if uffd_wp {
        pte = pte.mk_uffd_wp();
    }
    for (toggle, is) in TOGGLES.iter().zip([writable, young, dirty]) {
        if is {
            pte = (toggle.on)(pte);
        }
    }
    pte
}

/// An entry with neither page nor table.
pub(crate) fn absent() -> impl Strategy<Value = Pte> {
    let swap =
        (0_u64..1 << 40, any::<bool>(), any::<bool>()).prop_map(|(slot, exclusive, uffd_wp)| {
            Pte::swap(Swap {
                slot,
                exclusive,
                uffd_wp,
            })
        });
    prop_oneof![
        1 => Just(Pte::NONE),
        3 => proptest::sample::select(&Marker::ALL[..]).prop_map(Pte::marker),
        6 => swap,
        6 => migration().prop_map(Pte::migration),
    ]
}

fn migration() -> impl Strategy<Value = Migration> {
    (frame(), any::<[bool; 3]>()).prop_map(|(pfn, [writable, exclusive, uffd_wp])| Migration {
        pfn,
        writable,
        exclusive,
        uffd_wp,
    })
}

/// Exactly one of these is every entry.
fn kinds(pte: Pte) -> [bool; 6] {
    [
        pte.is_none(),
        pte.is_page(),
        pte.is_table(),
        pte.as_marker().is_some(),
        pte.as_swap().is_some(),
        pte.as_migration().is_some(),
    ]
}

fn assert_is_one_kind(pte: Pte) {
    let kinds = kinds(pte);
    assert_eq!(
        kinds.iter().filter(|is| **is).count(),
        1,
        "{pte:?}: {kinds:?}"
    );
    assert_eq!(pte.is_present(), pte.is_page() || pte.is_table());
    assert!(!pte.is_huge() || pte.is_page());
    if !pte.is_page() {
        assert!(TOGGLES.iter().all(|toggle| !(toggle.is)(pte)), "{pte:?}");
        assert!(!pte.is_uffd_wp());
    }
}

proptest! {
    #[test]
    fn toggles_of_a_page_are_independent(pte in prop_oneof![small_page(), huge_page()]) {
        for (number, toggle) in TOGGLES.iter().enumerate() {
            for (changed, is) in [((toggle.on)(pte), true), ((toggle.off)(pte), false)] {
                prop_assert_eq!((toggle.is)(changed), is, "{}", toggle.name);
                for (other, unchanged) in TOGGLES.iter().enumerate().filter(|(other, _)| *other != number) {
                    prop_assert_eq!((unchanged.is)(changed), (unchanged.is)(pte), "{} {}", number, other);
                }
                prop_assert_eq!(changed.is_uffd_wp(), pte.is_uffd_wp());
                prop_assert_eq!((changed.pfn(), changed.is_huge()), (pte.pfn(), pte.is_huge()));
                prop_assert!(changed.is_page());
            }
            prop_assert_eq!((toggle.off)((toggle.on)(pte)), (toggle.off)(pte));
            prop_assert_eq!((toggle.on)((toggle.off)(pte)), (toggle.on)(pte));
        }
    }

    #[test]
    fn protection_by_userfaultfd_takes_the_permission_and_nothing_else(pte in prop_oneof![small_page(), huge_page()]) {
        let protected = pte.mk_uffd_wp();
        prop_assert!(protected.is_uffd_wp() && !protected.is_writable());
        prop_assert_eq!(protected.clear_uffd_wp(), pte.clear_uffd_wp().wrprotect());
        prop_assert_eq!((protected.is_young(), protected.is_dirty()), (pte.is_young(), pte.is_dirty()));
        prop_assert_eq!(protected.pfn(), pte.pfn());
    }

    #[test]
    fn what_may_not_be_accessed_is_a_page_all_the_same(pte in prop_oneof![small_page(), huge_page()]) {
        let forbidden = pte.mk_inaccessible();
        assert_is_one_kind(forbidden);
        prop_assert!(pte.is_accessible() && !forbidden.is_accessible() && !forbidden.is_writable());
        prop_assert_eq!(forbidden.mk_accessible(), pte.wrprotect());
        prop_assert_eq!((forbidden.pfn(), forbidden.is_huge()), (pte.pfn(), pte.is_huge()));
        prop_assert_eq!(forbidden.is_uffd_wp(), pte.is_uffd_wp());
    }

    #[test]
    fn every_entry_is_of_one_kind(
        page in small_page(), huge in huge_page(), table in frame().prop_map(Pte::table), absent in absent(),
    ) {
        for pte in [page, huge, table, absent] {
            assert_is_one_kind(pte);
        }
        prop_assert!(huge.is_huge() && !page.is_huge() && !table.is_huge());
    }

    #[test]
    fn a_swap_entry_gives_back_what_was_put_in(slot in 0_u64..1 << 40, exclusive: bool, uffd_wp: bool) {
        let swap = Swap { slot, exclusive, uffd_wp };
        prop_assert_eq!(Pte::swap(swap).as_swap(), Some(swap));
    }

    #[test]
    fn a_migration_entry_gives_back_what_was_put_in(migration in migration()) {
        let pte = Pte::migration(migration);
        prop_assert_eq!(pte.as_migration(), Some(migration));
        prop_assert!(pte.is_leaf());
    }

    #[test]
    fn a_piece_of_a_huge_page_is_a_small_page_like_it(pte in huge_page(), page in 0_usize..512) {
        let piece = pte.piece(page);
        prop_assert!(piece.is_page() && !piece.is_huge());
        prop_assert_eq!(piece.pfn(), pte.pfn().add(page));
        for toggle in &TOGGLES {
            prop_assert_eq!((toggle.is)(piece), (toggle.is)(pte), "{}", toggle.name);
        }
        prop_assert_eq!(piece.is_uffd_wp(), pte.is_uffd_wp());
    }
}

#[test]
fn a_new_page_is_young_and_clean() {
    for writable in [false, true] {
        for pte in [Pte::page(Pfn(9), writable), Pte::huge(Pfn(8), writable)] {
            assert!(pte.is_young() && !pte.is_dirty() && !pte.is_uffd_wp());
            assert_eq!(pte.is_writable(), writable);
        }
    }
}

#[test]
fn a_marker_gives_back_what_was_put_in() {
    for marker in Marker::ALL {
        assert_eq!(Pte::marker(marker).as_marker(), Some(marker));
    }
}
