//! The words of each format: round trips, and kinds of entries that are told apart.

use pagefold::arch::{AArch64, Format, PMD_LEVEL, PTE_LEVEL, Pte, RiscV, X86_64};
use proptest::prelude::*;

use super::value::{absent, frame, huge_page, small_page};

/// What is encoded is decoded to the same, and another entry is another word.
fn assert_round_trip<F: Format>(pte: Pte, other: Pte, level: u32) {
    let word = F::encode(pte, level);
    assert_eq!(F::decode(word, level), pte);
    assert_eq!(
        word == F::encode(other, level),
        pte == other,
        "{pte:?}, {other:?}"
    );
    assert_eq!(
        word & 1 != 0,
        pte.is_accessible() || pte.is_table(),
        "hardware looks at bit 0 first"
    );
    assert_eq!(word == 0, pte.is_none(), "a cleared table is empty");
}

macro_rules! formats {
    ($($name:ident: $format:ty, $levels:literal, $break_before_make:literal;)+) => {
        $(mod $name {
            use super::*;

            proptest! {
                #[test]
                fn small_pages(pte in small_page(), other in prop_oneof![small_page(), absent()]) {
                    assert_round_trip::<$format>(pte, other, PTE_LEVEL);
                }

                #[test]
                fn upper_entries(
                    pte in prop_oneof![huge_page(), frame().prop_map(Pte::table)],
                    other in prop_oneof![huge_page(), frame().prop_map(Pte::table), absent()],
                    level in PMD_LEVEL..$levels,
                ) {
                    assert_round_trip::<$format>(pte, other, level);
                }

                #[test]
                fn pages_that_may_not_be_accessed(
                    small in small_page(), huge in huge_page(),
                    other in prop_oneof![small_page(), absent()], level in PMD_LEVEL..$levels,
                ) {
                    assert_round_trip::<$format>(small.mk_inaccessible(), other, PTE_LEVEL);
                    assert_round_trip::<$format>(huge.mk_inaccessible(), huge, level);
                }

                #[test]
                fn entries_without_a_page(pte in absent(), other in absent(), level in PTE_LEVEL..$levels) {
                    assert_round_trip::<$format>(pte, other, level);
                }
            }

            #[test]
            fn geometry() {
                assert_eq!(<$format>::levels(), $levels);
                assert_eq!(<$format>::break_before_make(), $break_before_make);
            }
        })+
    };
}

formats! {
    x86_64_3: X86_64<3>, 3, false;
    x86_64_4: X86_64<4>, 4, false;
    x86_64_5: X86_64<5>, 5, false;
    aarch64_3: AArch64<3>, 3, true;
    aarch64_4: AArch64<4>, 4, true;
    sv39: RiscV<3>, 3, false;
    sv48: RiscV<4>, 4, false;
    sv57: RiscV<5>, 5, false;
}
