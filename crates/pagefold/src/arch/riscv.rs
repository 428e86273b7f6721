//! Entries as RISC-V has them in Sv39, Sv48 and Sv57 (privileged specification, 12.4), with a software bit for userfaultfd.
//!
//! | bits | page | table |
//! |---|---|---|
//! | 0 | valid | 1 |
//! | 1, 2, 3 | readable, writable, executable: 1, ?, 0 | 0 |
//! | 4 | user | 0 |
//! | 6, 7 | accessed, dirty | 0 |
//! | 8 | 1 if bit 0 is clear: a page that may not be accessed (software) | 0 |
//! | 9 | userfaultfd write-protect (software) | 0 |
//! | 10-53 | frame number (40 bits of it are used) | frame number |
//!
//! Which of the two an entry is, its own bits say: pages are readable, tables are not. Its level says whether a page is huge.
//! A word whose bit 0 is clear is all software's; that of a page that may not be accessed is otherwise as if it were set.

use super::pte::{
    DIRTY, HUGE, INACCESSIBLE, NOT_PRESENT, NUMBER, PRESENT, TABLE, UFFD_WP, WRITABLE, YOUNG,
};
use super::{Format, PTE_LEVEL, Pte};
use crate::addr::PAGE_SHIFT;

const VALID: u64 = 1 << 0;
const READABLE: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const USER: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 6;
const WRITTEN: u64 = 1 << 7;
const SOFTWARE_INACCESSIBLE: u64 = 1 << 8;
const SOFTWARE_UFFD_WP: u64 = 1 << 9;
/// From the place of the frame number in a [`Pte`] to that in a word.
const SHIFT: u32 = PAGE_SHIFT - 10;
const FRAME: u64 = NUMBER >> SHIFT;

/// RISC-V with `LEVELS` levels of tables: 3 (Sv39), 4 (Sv48), 5 (Sv57).
#[derive(Debug)]
pub struct RiscV<const LEVELS: u32>;

const fn bit(bits: u64, is: u64, becomes: u64) -> u64 {
    if bits & is != 0 { becomes } else { 0 }
}

impl<const LEVELS: u32> Format for RiscV<LEVELS> {
    #[inline(always)]
    fn levels() -> u32 {
        LEVELS
    }

    /// Until the fence, an implementation may use the old entry or the new (12.2.1).
    #[inline(always)]
    fn break_before_make() -> bool {
        false
    }

    #[inline(always)]
    fn encode(pte: Pte, _: u32) -> u64 {
        let bits = pte.raw();
        if !pte.is_present() {
            return bits;
        }
        let frame = (bits & NUMBER) >> SHIFT;
        if pte.is_table() {
            return frame | VALID;
        }
        let is_there = if pte.is_accessible() {
            VALID
        } else {
            SOFTWARE_INACCESSIBLE
        };
        frame
            | is_there
            | READABLE
            | USER
            | bit(bits, WRITABLE, WRITE)
            | bit(bits, YOUNG, ACCESSED)
            | bit(bits, DIRTY, WRITTEN)
            | bit(bits, UFFD_WP, SOFTWARE_UFFD_WP)
    }

    #[inline(always)]
    fn decode(word: u64, level: u32) -> Pte {
        if word & (VALID | SOFTWARE_INACCESSIBLE) == 0 {
            return Pte::from_raw(word & NOT_PRESENT);
        }
        let frame = (word & FRAME) << SHIFT | PRESENT;
        if level > PTE_LEVEL && word & (READABLE | WRITE | EXECUTE) == 0 {
            return Pte::from_raw(frame | TABLE);
        }
        Pte::from_raw(
            frame
                | if level > PTE_LEVEL { HUGE } else { 0 }
                | bit(!word, VALID, INACCESSIBLE)
                | bit(word, WRITE, WRITABLE)
                | bit(word, ACCESSED, YOUNG)
                | bit(word, WRITTEN, DIRTY)
                | bit(word, SOFTWARE_UFFD_WP, UFFD_WP),
        )
    }
}
