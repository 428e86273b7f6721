//! The words of each format, put together by somebody else from the same meaning.
//!
//! For x86-64 that is the crate `x86_64` (MIT or Apache-2.0), for AArch64 `aarch64-paging` (MIT or Apache-2.0), both of them in
//! use by kernels and hypervisors. What there is for RISC-V can be built for RISC-V only, so that the test has the
//! specification's table of bits instead.

use aarch64_paging::descriptor::{El1Attributes, PagingAttributes};
use pagefold::addr::PAGE_SHIFT;
use pagefold::arch::{AArch64, Format, PMD_LEVEL, PTE_LEVEL, Pte, RiscV, X86_64};
use proptest::prelude::*;
use x86_64::PhysAddr;
use x86_64::structures::paging::page_table::{PageTableEntry, PageTableFlags};

use super::value::{frame, huge_page, small_page};

fn level_of(pte: Pte) -> u32 {
    if pte.is_huge() { PMD_LEVEL } else { PTE_LEVEL }
}

fn address(pte: Pte) -> u64 {
    pte.pfn().0 << PAGE_SHIFT
}

/// The flags for which `is` says so.
fn chosen<const N: usize, T: Copy>(flags: [(bool, T); N]) -> impl Iterator<Item = T> {
    flags
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, flag)| flag)
}

fn x86_64_page(pte: Pte) -> PageTableFlags {
    let fixed =
        PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE | PageTableFlags::NO_EXECUTE;
    chosen([
        (pte.is_writable(), PageTableFlags::WRITABLE),
        (pte.is_young(), PageTableFlags::ACCESSED),
        (pte.is_dirty(), PageTableFlags::DIRTY),
        (pte.is_huge(), PageTableFlags::HUGE_PAGE),
        (pte.is_uffd_wp(), PageTableFlags::BIT_10),
    ])
    .fold(fixed, PageTableFlags::union)
}

fn x86_64_word(pte: Pte, flags: PageTableFlags) -> u64 {
    let mut entry = PageTableEntry::new();
    entry.set_addr(PhysAddr::new(address(pte)), flags);
    entry.addr().as_u64() | entry.flags().bits()
}

fn aarch64_page(pte: Pte) -> El1Attributes {
    let fixed = El1Attributes::VALID
        | El1Attributes::ATTRIBUTE_INDEX_0
        | El1Attributes::USER
        | El1Attributes::INNER_SHAREABLE
        | El1Attributes::NON_GLOBAL
        | El1Attributes::PXN
        | El1Attributes::UXN;
    chosen([
        (!pte.is_huge(), El1Attributes::TABLE_OR_PAGE),
        (pte.is_young(), El1Attributes::ACCESSED),
        (pte.is_writable(), El1Attributes::DBM),
        (
            !(pte.is_writable() && pte.is_dirty()),
            El1Attributes::READ_ONLY,
        ),
        (pte.is_dirty(), El1Attributes::SWFLAG_0),
        (pte.is_uffd_wp(), El1Attributes::SWFLAG_3),
    ])
    .fold(fixed, El1Attributes::union)
}

/// Privileged specification, figure "Sv39 page table entry": V, R, W, X, U, G, A, D, two bits of software's, frame number.
fn riscv_page(pte: Pte) -> u64 {
    const V: u64 = 0x01;
    const R: u64 = 0x02;
    const W: u64 = 0x04;
    const U: u64 = 0x10;
    const A: u64 = 0x40;
    const D: u64 = 0x80;
    const RSW_HIGH: u64 = 0x200;
    chosen([
        (pte.is_writable(), W),
        (pte.is_young(), A),
        (pte.is_dirty(), D),
        (pte.is_uffd_wp(), RSW_HIGH),
    ])
    .sum::<u64>()
        + (V + R + U)
        + pte.pfn().0 * 0x400
}

proptest! {
    #[test]
    fn pages_of_x86_64(pte in prop_oneof![small_page(), huge_page()]) {
        let expected = x86_64_word(pte, x86_64_page(pte));
        prop_assert_eq!(X86_64::<4>::encode(pte, level_of(pte)), expected);
    }

    #[test]
    fn tables_of_x86_64(pte in frame().prop_map(Pte::table)) {
        let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE | PageTableFlags::USER_ACCESSIBLE;
        prop_assert_eq!(X86_64::<4>::encode(pte, PMD_LEVEL), x86_64_word(pte, flags));
        // Hardware marks tables as accessed, which says nothing here.
        let touched = x86_64_word(pte, flags | PageTableFlags::ACCESSED);
        prop_assert_eq!(X86_64::<4>::decode(touched, PMD_LEVEL), pte);
    }

    #[test]
    fn pages_of_aarch64(pte in prop_oneof![small_page(), huge_page()]) {
        let expected = address(pte) | aarch64_page(pte).bits() as u64;
        prop_assert_eq!(AArch64::<4>::encode(pte, level_of(pte)), expected);
    }

    #[test]
    fn tables_of_aarch64(pte in frame().prop_map(Pte::table)) {
        let flags = El1Attributes::VALID | El1Attributes::TABLE_OR_PAGE;
        prop_assert_eq!(AArch64::<4>::encode(pte, PMD_LEVEL), address(pte) | flags.bits() as u64);
    }

    /// A write by hardware makes a page that is read-only with a dirty bit modifier writable in fact.
    #[test]
    fn a_write_by_aarch64_hardware_is_dirty(pte in small_page()) {
        let page = pte.mk_writable().mk_clean();
        let word = AArch64::<4>::encode(page, PTE_LEVEL);
        let written = word & !(El1Attributes::READ_ONLY.bits() as u64);
        prop_assert_eq!(AArch64::<4>::decode(written, PTE_LEVEL), page.mk_dirty());
    }

    #[test]
    fn a_page_of_aarch64_changes_in_place_what_may_be_changed_in_place(pte in prop_oneof![small_page(), huge_page()]) {
        for changed in [
            pte.mk_writable(), pte.wrprotect(), pte.mk_young(), pte.mk_old(), pte.mk_dirty(), pte.mk_clean(),
            pte.mk_uffd_wp(), pte.clear_uffd_wp(),
        ] {
            prop_assert!(El1Attributes::is_bbm_safe(aarch64_page(pte), aarch64_page(changed)));
        }
    }

    #[test]
    fn entries_of_riscv(pte in prop_oneof![small_page(), huge_page()], table in frame().prop_map(Pte::table)) {
        prop_assert_eq!(RiscV::<3>::encode(pte, level_of(pte)), riscv_page(pte));
        prop_assert_eq!(RiscV::<4>::encode(pte, level_of(pte)), riscv_page(pte));
        prop_assert_eq!(RiscV::<4>::encode(table, PMD_LEVEL), table.pfn().0 * 0x400 + 1);
    }
}
