//! Entries as x86-64 has them (Intel SDM volume 3, 5.5.4), with the software bits that Linux gives them.
//!
//! | bits | page | table |
//! |---|---|---|
//! | 0, 2 | present, user | as a page |
//! | 1 | writable | 1 |
//! | 5, 6 | accessed, dirty | not looked at |
//! | 7 | huge page (in an upper table) | 0 |
//! | 8 | 1 if bit 0 is clear: a page that may not be accessed (Linux: `_PAGE_PROTNONE`) | 0 |
//! | 10 | userfaultfd write-protect (software) | 0 |
//! | 12-51 | frame number | frame number |
//! | 63 | execution forbidden | 0 |
//!
//! A word whose bit 0 is clear is all software's; that of a page that may not be accessed is otherwise as if it were
//! set. A page that is dirty and not writable is written down as such, which
//! means a shadow stack where those are in use; here they are not.

use super::pte::{
    DIRTY, HUGE, INACCESSIBLE, NOT_PRESENT, NUMBER, PRESENT, TABLE, UFFD_WP, WRITABLE, YOUNG,
};
use super::{Format, PTE_LEVEL, Pte};

const USER: u64 = 1 << 2;
const NO_EXECUTE: u64 = 1 << 63;
/// The bits that are in the same place in a word and in a [`Pte`], whether it is present or not.
const SAME: u64 =
    PRESENT | WRITABLE | YOUNG | DIRTY | HUGE | INACCESSIBLE | UFFD_WP | NUMBER | NOT_PRESENT;

/// x86-64 with `LEVELS` levels of tables. Hardware has 4, or 5 (57-bit addresses). A machine of few addresses leaves the
/// topmost away and has 3.
#[derive(Debug)]
pub struct X86_64<const LEVELS: u32>;

impl<const LEVELS: u32> X86_64<LEVELS> {
    /// The number of levels.
    pub const LEVELS: u32 = LEVELS;
}

impl<const LEVELS: u32> Format for X86_64<LEVELS> {
    #[inline(always)]
    fn levels() -> u32 {
        LEVELS
    }

    /// Software may replace an entry and flush afterwards (SDM volume 3, 5.10.4.3).
    #[inline(always)]
    fn break_before_make() -> bool {
        false
    }

    #[inline(always)]
    fn encode(pte: Pte, _: u32) -> u64 {
        let bits = pte.raw();
        if !pte.is_present() {
            bits
        } else if pte.is_table() {
            bits & NUMBER | PRESENT | WRITABLE | USER
        } else if pte.is_accessible() {
            bits | USER | NO_EXECUTE
        } else {
            (bits | USER | NO_EXECUTE) & !PRESENT
        }
    }

    #[inline(always)]
    fn decode(word: u64, level: u32) -> Pte {
        let is_table = level > PTE_LEVEL && word & (PRESENT | HUGE) == PRESENT;
        Pte::from_raw(if is_table {
            word & NUMBER | PRESENT | TABLE
        } else if word & (PRESENT | INACCESSIBLE) == INACCESSIBLE {
            word & SAME | PRESENT
        } else {
            word & SAME & !INACCESSIBLE
        })
    }
}
