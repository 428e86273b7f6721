//! Entries as x86-64 has them (Intel SDM volume 3, 5.5.4), with the software bits that Linux gives them.
//!
//! | bits | present entry | not present |
//! |---|---|---|
//! | 0 | present | 0 |
//! | 1 | writable | marker: userfaultfd write-protect |
//! | 2 | user | marker: userfaultfd poison |
//! | 5, 6 | accessed, dirty | |
//! | 7 | huge page (in an upper table) | |
//! | 10 | userfaultfd write-protect (software) | |
//! | 12-51 | frame number | |

use core::fmt;

use crate::addr::{PAGE_SHIFT, Pfn};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const HUGE: u64 = 1 << 7;
const UFFD_WP: u64 = 1 << 10;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const MARKER_UFFD_WP: u64 = 1 << 1;
const MARKER_POISON: u64 = 1 << 2;

/// What a non-present entry without a page remembers (Linux: `pte_marker`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marker {
    /// The page is write-protected by userfaultfd once it is there.
    UffdWp,
    /// An access raises SIGBUS, as if the memory had failed.
    Poison,
}

/// A page-table entry, of any level.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pte(u64);

impl Pte {
    /// The empty entry.
    pub const NONE: Self = Self(0);

    /// The entry that a word of a page table holds.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
    /// The word of the entry.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
    /// A user page in frame `pfn`.
    #[must_use]
    pub const fn page(pfn: Pfn, writable: bool) -> Self {
        let writable = if writable { WRITABLE } else { 0 };
        Self(pfn.0 << PAGE_SHIFT | PRESENT | USER | writable)
    }
    /// A huge user page that starts at frame `pfn`, for an upper table.
    #[must_use]
    pub const fn huge(pfn: Pfn, writable: bool) -> Self {
        Self(Self::page(pfn, writable).0 | HUGE)
    }
    /// A lower table in frame `pfn`, for an upper table.
    #[must_use]
    pub const fn table(pfn: Pfn) -> Self {
        Self(pfn.0 << PAGE_SHIFT | PRESENT | USER | WRITABLE)
    }
    /// An entry without a page that remembers something.
    #[must_use]
    pub const fn marker(marker: Marker) -> Self {
        match marker {
            Marker::UffdWp => Self(MARKER_UFFD_WP),
            Marker::Poison => Self(MARKER_POISON),
        }
    }

    /// Whether nothing is there.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// Whether a page or table is there.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }
    /// Whether the entry of an upper table maps a huge page.
    #[must_use]
    pub const fn is_huge(self) -> bool {
        self.0 & (PRESENT | HUGE) == PRESENT | HUGE
    }
    /// Whether the entry of an upper table names a lower table.
    #[must_use]
    pub const fn is_table(self) -> bool {
        self.0 & (PRESENT | HUGE) == PRESENT
    }
    /// Whether the page may be written.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0 & (PRESENT | WRITABLE) == PRESENT | WRITABLE
    }
    /// Whether a present page is write-protected by userfaultfd.
    #[must_use]
    pub const fn is_uffd_wp(self) -> bool {
        self.0 & (PRESENT | UFFD_WP) == PRESENT | UFFD_WP
    }
    /// What a non-present entry remembers.
    #[must_use]
    pub const fn as_marker(self) -> Option<Marker> {
        if self.is_present() {
            None
        } else if self.0 & MARKER_POISON != 0 {
            Some(Marker::Poison)
        } else if self.0 & MARKER_UFFD_WP != 0 {
            Some(Marker::UffdWp)
        } else {
            None
        }
    }
    /// The frame of a present entry.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        Pfn((self.0 & FRAME) >> PAGE_SHIFT)
    }
    /// The present entry, with writing forbidden and userfaultfd told about writes.
    #[must_use]
    pub const fn mk_uffd_wp(self) -> Self {
        Self(self.0 & !WRITABLE | UFFD_WP)
    }
    /// The present entry without the userfaultfd protection. Writing stays forbidden; the next write faults and
    /// is let through.
    #[must_use]
    pub const fn clear_uffd_wp(self) -> Self {
        Self(self.0 & !UFFD_WP)
    }
    /// The present entry, with writing allowed.
    #[must_use]
    pub const fn mk_writable(self) -> Self {
        Self(self.0 | WRITABLE)
    }
}

impl fmt::Debug for Pte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        if let Some(marker) = self.as_marker() {
            return match marker {
                Marker::UffdWp => f.write_str("uffd-wp marker"),
                Marker::Poison => f.write_str("poison marker"),
            };
        }
        let huge = if self.is_huge() { "huge " } else { "" };
        write!(f, "{huge}frame {}", self.pfn().0)?;
        if !self.is_writable() {
            f.write_str(" read-only")?;
        }
        if self.is_uffd_wp() {
            f.write_str(" uffd-wp")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_neither_a_page_nor_nothing() {
        for marker in [Marker::UffdWp, Marker::Poison] {
            let pte = Pte::marker(marker);
            assert!(!pte.is_none() && !pte.is_present() && !pte.is_uffd_wp());
            assert_eq!(pte.as_marker(), Some(marker));
        }
    }

    #[test]
    fn protection_is_undone_but_for_the_write_permission() {
        let pte = Pte::page(Pfn(9), true);
        let protected = pte.mk_uffd_wp();
        assert!(protected.is_uffd_wp() && !protected.is_writable());
        assert_eq!(protected.clear_uffd_wp(), Pte::page(Pfn(9), false));
        assert_eq!(protected.pfn(), pte.pfn());
    }

    #[test]
    fn an_upper_entry_is_a_table_or_a_huge_page() {
        assert!(Pte::table(Pfn(3)).is_table() && !Pte::table(Pfn(3)).is_huge());
        assert!(Pte::huge(Pfn(3), false).is_huge() && !Pte::huge(Pfn(3), false).is_table());
    }
}
