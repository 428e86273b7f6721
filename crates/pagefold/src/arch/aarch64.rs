//! Entries as AArch64 has them in stage 1 with 4 KiB pages (Arm ARM, D8.3), with the software bits that Linux gives them.
//!
//! | bits | page or block | table |
//! |---|---|---|
//! | 0 | valid | 1 |
//! | 1 | 1 for a page, 0 for a block | 1 |
//! | 2-4 | index of the memory type: 0, normal memory | |
//! | 6 | AP\[1\]: user | |
//! | 7 | AP\[2\]: read-only | |
//! | 8, 9 | inner shareable | |
//! | 10 | accessed | |
//! | 11 | not global; if bit 0 is clear, a page that may not be accessed (Linux: `PTE_PRESENT_INVALID`) | |
//! | 12-47 | frame number | frame number |
//! | 51 | dirty bit modifier: writable | |
//! | 53, 54 | execution forbidden | |
//! | 55, 58 | dirty, userfaultfd write-protect (software) | |
//!
//! There is no dirty bit as such. A writable page has bit 51; it is clean while it is also read-only. A write by hardware makes
//! it not read-only (`FEAT_HAFDBS`). Bit 55 keeps what a page that is not writable any more was. So a page is dirty
//! if either says so.
//!
//! A word whose bit 0 is clear is all software's; that of a page that may not be accessed is otherwise as if it were set.

use super::pte::{DIRTY, HUGE, INACCESSIBLE, NUMBER, PRESENT, TABLE, UFFD_WP, WRITABLE, YOUNG};
use super::{Format, PTE_LEVEL, Pte};

const VALID: u64 = 1 << 0;
const NOT_BLOCK: u64 = 1 << 1;
const USER: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const FRAME: u64 = 0x0000_ffff_ffff_f000;
const DIRTY_BIT_MODIFIER: u64 = 1 << 51;
const NO_EXECUTE: u64 = 1 << 53 | 1 << 54;
const SOFTWARE_DIRTY: u64 = 1 << 55;
const SOFTWARE_UFFD_WP: u64 = 1 << 58;
/// What all pages have.
const PAGE: u64 = VALID | USER | INNER_SHAREABLE | NOT_GLOBAL | NO_EXECUTE;

/// AArch64 with `LEVELS` levels of tables of 4 KiB: 3 (39-bit addresses) or 4 (48-bit addresses).
#[derive(Debug)]
pub struct AArch64<const LEVELS: u32>;

const fn bit(bits: u64, is: u64, becomes: u64) -> u64 {
    if bits & is != 0 { becomes } else { 0 }
}

impl<const LEVELS: u32> Format for AArch64<LEVELS> {
    #[inline(always)]
    fn levels() -> u32 {
        LEVELS
    }

    /// Arm ARM, D8.16.1.
    #[inline(always)]
    fn break_before_make() -> bool {
        true
    }

    #[inline(always)]
    fn encode(pte: Pte, level: u32) -> u64 {
        let bits = pte.raw();
        if !pte.is_present() {
            return bits;
        }
        if pte.is_table() {
            return bits & FRAME | VALID | NOT_BLOCK;
        }
        let dirty = pte.is_dirty();
        let page = if pte.is_accessible() {
            PAGE
        } else {
            PAGE & !VALID
        };
        bits & FRAME
            | page
            | if level == PTE_LEVEL { NOT_BLOCK } else { 0 }
            | bit(bits, YOUNG, ACCESSED)
            | bit(bits, WRITABLE, DIRTY_BIT_MODIFIER)
            | bit(bits, UFFD_WP, SOFTWARE_UFFD_WP)
            | if dirty { SOFTWARE_DIRTY } else { 0 }
            | if dirty && pte.is_writable() {
                0
            } else {
                READ_ONLY
            }
    }

    #[inline(always)]
    fn decode(word: u64, level: u32) -> Pte {
        if word & (VALID | NOT_GLOBAL) == 0 {
            return Pte::from_raw(word & super::pte::NOT_PRESENT);
        }
        let frame = word & FRAME & NUMBER | PRESENT;
        if level > PTE_LEVEL && word & (VALID | NOT_BLOCK) == VALID | NOT_BLOCK {
            return Pte::from_raw(frame | TABLE);
        }
        let written = word & (DIRTY_BIT_MODIFIER | READ_ONLY) == DIRTY_BIT_MODIFIER;
        Pte::from_raw(
            frame
                | if level > PTE_LEVEL { HUGE } else { 0 }
                | bit(!word, VALID, INACCESSIBLE)
                | bit(word, ACCESSED, YOUNG)
                | bit(word, DIRTY_BIT_MODIFIER, WRITABLE)
                | bit(word, SOFTWARE_UFFD_WP, UFFD_WP)
                | if written { DIRTY } else { 0 }
                | bit(word, SOFTWARE_DIRTY, DIRTY),
        )
    }
}
