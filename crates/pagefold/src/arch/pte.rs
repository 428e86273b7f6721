//! What an entry means.
//!
//! | entry | what it says |
//! |---|---|
//! | none | nothing |
//! | page | a frame, or for a huge page the first of its frames; writable, young, dirty, write-protected by userfaultfd; or inaccessible |
//! | table | the frame of a lower table |
//! | marker | no page, but something to remember |
//! | swap entry | where the page is that was moved out |
//! | migration entry | which page was there, that is on its way to another frame; in an upper table, a huge one |
//!
//! The value is packed into a word so that it is passed in a register and compared at once. The places of its bits are those of
//! x86-64 where that has one, so that its [format](super::X86_64) has next to nothing to do. Nobody outside of `arch` sees them.

use core::fmt;

use crate::addr::{PAGE_SHIFT, Pfn};

pub(super) const PRESENT: u64 = 1 << 0;
pub(super) const WRITABLE: u64 = 1 << 1;
pub(super) const YOUNG: u64 = 1 << 5;
pub(super) const DIRTY: u64 = 1 << 6;
pub(super) const HUGE: u64 = 1 << 7;
/// The page is there, and hardware does not know it.
pub(super) const INACCESSIBLE: u64 = 1 << 8;
pub(super) const UFFD_WP: u64 = 1 << 10;
pub(super) const TABLE: u64 = 1 << 11;
/// The frame number, or the number of a swap slot: 40 bits.
pub(super) const NUMBER: u64 = 0x000f_ffff_ffff_f000;

// Of entries that are not present:
const SWAP: u64 = 1 << 1;
const MARKER: u64 = 1 << 7;
const EXCLUSIVE: u64 = 1 << 5;
const MARKER_POISON: u64 = 1 << 5;
const MARKER_GUARD: u64 = 1 << 6;
/// What a migration entry has set, and nothing else.
const MIGRATION: u64 = SWAP | MARKER;
const MIGRATION_WRITABLE: u64 = 1 << 6;

/// All bits that an entry which is not present can have.
pub(super) const NOT_PRESENT: u64 = SWAP | MARKER | EXCLUSIVE | MARKER_GUARD | UFFD_WP | NUMBER;

/// What a non-present entry without a page remembers (Linux: `pte_marker`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marker {
    /// The page is write-protected by userfaultfd once it is there.
    UffdWp,
    /// An access raises SIGBUS, as if the memory had failed.
    Poison,
    /// A guard region: an access raises SIGSEGV.
    Guard,
}

impl Marker {
    /// All markers.
    pub const ALL: [Self; 3] = [Self::UffdWp, Self::Poison, Self::Guard];
}

/// Where a page is that was moved out, and what its entry said (Linux: `swp_entry_t` and the software bits next to it).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Swap {
    /// The number of the slot: less than 2^40.
    pub slot: u64,
    /// Nobody else maps the page.
    pub exclusive: bool,
    /// The page is write-protected by userfaultfd.
    pub uffd_wp: bool,
}

/// Which page an entry mapped that is on its way to another frame, and what the entry said (Linux: `migration_entry`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migration {
    /// The frame that the page leaves; of a huge page the first one.
    pub pfn: Pfn,
    /// The process may write the page once it has arrived, unless it was told otherwise since.
    pub writable: bool,
    /// Nobody else maps the page.
    pub exclusive: bool,
    /// The page is write-protected by userfaultfd.
    pub uffd_wp: bool,
}

/// A page-table entry, of any level.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pte(u64);

impl Pte {
    /// The empty entry.
    pub const NONE: Self = Self(0);

    /// The value whose bits these are; those of a format's word that have their place here.
    pub(super) const fn from_raw(bits: u64) -> Self {
        Self(bits)
    }
    /// The bits.
    pub(super) const fn raw(self) -> u64 {
        self.0
    }

    /// A user page in frame `pfn`, accessed a moment ago (Linux: `mk_pte`, whose `vm_page_prot` says so).
    #[must_use]
    pub const fn page(pfn: Pfn, writable: bool) -> Self {
        let writable = if writable { WRITABLE } else { 0 };
        Self(pfn.0 << PAGE_SHIFT & NUMBER | PRESENT | YOUNG | writable)
    }
    /// A huge user page that starts at frame `pfn`, for an upper table.
    #[must_use]
    pub const fn huge(pfn: Pfn, writable: bool) -> Self {
        Self(Self::page(pfn, writable).0 | HUGE)
    }
    /// A lower table in frame `pfn`, for an upper table.
    #[must_use]
    pub const fn table(pfn: Pfn) -> Self {
        Self(pfn.0 << PAGE_SHIFT & NUMBER | PRESENT | TABLE)
    }
    /// An entry without a page that remembers something.
    #[must_use]
    pub const fn marker(marker: Marker) -> Self {
        match marker {
            Marker::UffdWp => Self(MARKER | UFFD_WP),
            Marker::Poison => Self(MARKER | MARKER_POISON),
            Marker::Guard => Self(MARKER | MARKER_GUARD),
        }
    }
    /// An entry of a page that was moved out.
    #[must_use]
    pub const fn swap(swap: Swap) -> Self {
        let exclusive = if swap.exclusive { EXCLUSIVE } else { 0 };
        let uffd_wp = if swap.uffd_wp { UFFD_WP } else { 0 };
        Self(swap.slot << PAGE_SHIFT & NUMBER | SWAP | exclusive | uffd_wp)
    }

    /// An entry of a page that is on its way to another frame.
    #[must_use]
    pub const fn migration(migration: Migration) -> Self {
        let writable = if migration.writable {
            MIGRATION_WRITABLE
        } else {
            0
        };
        let exclusive = if migration.exclusive { EXCLUSIVE } else { 0 };
        let uffd_wp = if migration.uffd_wp { UFFD_WP } else { 0 };
        Self(migration.pfn.0 << PAGE_SHIFT & NUMBER | MIGRATION | writable | exclusive | uffd_wp)
    }

    /// Whether nothing is there.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// Whether a page or table is there, be it one that may not be accessed.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }
    /// Whether a page is there, small or huge.
    #[must_use]
    pub const fn is_page(self) -> bool {
        self.0 & (PRESENT | TABLE) == PRESENT
    }
    /// Whether there is a page that may be accessed. (Linux: not `pte_protnone`)
    #[must_use]
    pub const fn is_accessible(self) -> bool {
        self.is_page() && self.0 & INACCESSIBLE == 0
    }
    /// Whether the entry of an upper table maps a huge page.
    #[must_use]
    pub const fn is_huge(self) -> bool {
        self.0 & (PRESENT | HUGE) == PRESENT | HUGE
    }
    /// Whether the entry of an upper table names a lower table.
    #[must_use]
    pub const fn is_table(self) -> bool {
        self.0 & (PRESENT | TABLE) == PRESENT | TABLE
    }
    /// Whether there is a page that may be written.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0 & (PRESENT | WRITABLE) == PRESENT | WRITABLE
    }
    /// Whether there is a page that was accessed since it was last made [old](Self::mk_old).
    #[must_use]
    pub const fn is_young(self) -> bool {
        self.0 & (PRESENT | YOUNG) == PRESENT | YOUNG
    }
    /// Whether there is a page that was written since it was last made [clean](Self::mk_clean).
    #[must_use]
    pub const fn is_dirty(self) -> bool {
        self.0 & (PRESENT | DIRTY) == PRESENT | DIRTY
    }
    /// Whether there is a page that is write-protected by userfaultfd.
    #[must_use]
    pub const fn is_uffd_wp(self) -> bool {
        self.0 & (PRESENT | UFFD_WP) == PRESENT | UFFD_WP
    }
    /// What an entry without a page remembers.
    #[must_use]
    pub const fn as_marker(self) -> Option<Marker> {
        if self.0 & (PRESENT | MIGRATION) != MARKER {
            None
        } else if self.0 & MARKER_GUARD != 0 {
            Some(Marker::Guard)
        } else if self.0 & MARKER_POISON != 0 {
            Some(Marker::Poison)
        } else {
            Some(Marker::UffdWp)
        }
    }
    /// Where the page is that was moved out.
    #[must_use]
    pub const fn as_swap(self) -> Option<Swap> {
        if self.0 & (PRESENT | MIGRATION) != SWAP {
            return None;
        }
        Some(Swap {
            slot: (self.0 & NUMBER) >> PAGE_SHIFT,
            exclusive: self.0 & EXCLUSIVE != 0,
            uffd_wp: self.0 & UFFD_WP != 0,
        })
    }
    /// Which page was there that is on its way to another frame.
    #[must_use]
    pub const fn as_migration(self) -> Option<Migration> {
        if self.0 & (PRESENT | MIGRATION) != MIGRATION {
            return None;
        }
        Some(Migration {
            pfn: self.pfn(),
            writable: self.0 & MIGRATION_WRITABLE != 0,
            exclusive: self.0 & EXCLUSIVE != 0,
            uffd_wp: self.0 & UFFD_WP != 0,
        })
    }
    /// Whether the entry of an upper table serves a huge page's worth of addresses by itself: it maps a huge page, or stands for one that
    /// is on its way to other frames.
    #[must_use]
    pub const fn is_leaf(self) -> bool {
        self.is_huge() || self.as_migration().is_some()
    }
    /// The frame of a page or table.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        Pfn((self.0 & NUMBER) >> PAGE_SHIFT)
    }

    /// The entry of one small page of a huge page, as it would be alone.
    #[must_use]
    pub const fn piece(self, page: usize) -> Self {
        self.small(Pfn(self.pfn().0 + page as u64))
    }
    /// An entry of a small page in frame `pfn` that says all else that this one says of a huge page.
    #[must_use]
    pub const fn small(self, pfn: Pfn) -> Self {
        Self(self.0 & !(HUGE | NUMBER) | pfn.0 << PAGE_SHIFT & NUMBER)
    }
    /// The page's entry, with writing allowed.
    #[must_use]
    pub const fn mk_writable(self) -> Self {
        Self(self.0 | WRITABLE)
    }
    /// The page's entry, with writing forbidden. (Linux: `pte_wrprotect`)
    #[must_use]
    pub const fn wrprotect(self) -> Self {
        Self(self.0 & !WRITABLE)
    }
    /// The page's entry, with all access forbidden. (Linux: `pte_modify` with `PAGE_NONE`)
    #[must_use]
    pub const fn mk_inaccessible(self) -> Self {
        Self(self.wrprotect().0 | INACCESSIBLE)
    }
    /// The page's entry, with reading allowed.
    #[must_use]
    pub const fn mk_accessible(self) -> Self {
        Self(self.0 & !INACCESSIBLE)
    }
    /// The page's entry, accessed.
    #[must_use]
    pub const fn mk_young(self) -> Self {
        Self(self.0 | YOUNG)
    }
    /// The page's entry, not accessed yet.
    #[must_use]
    pub const fn mk_old(self) -> Self {
        Self(self.0 & !YOUNG)
    }
    /// The page's entry, written to.
    #[must_use]
    pub const fn mk_dirty(self) -> Self {
        Self(self.0 | DIRTY)
    }
    /// The page's entry, not written to yet.
    #[must_use]
    pub const fn mk_clean(self) -> Self {
        Self(self.0 & !DIRTY)
    }
    /// The page's entry, with writing forbidden and userfaultfd told about writes.
    #[must_use]
    pub const fn mk_uffd_wp(self) -> Self {
        Self(self.wrprotect().0 | UFFD_WP)
    }
    /// The page's entry without the userfaultfd protection. Writing stays forbidden; the next write faults and
    /// is let through.
    #[must_use]
    pub const fn clear_uffd_wp(self) -> Self {
        Self(self.0 & !UFFD_WP)
    }
}

impl fmt::Debug for Pte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        match self.as_marker() {
            Some(Marker::UffdWp) => return f.write_str("uffd-wp marker"),
            Some(Marker::Poison) => return f.write_str("poison marker"),
            Some(Marker::Guard) => return f.write_str("guard marker"),
            None => {}
        }
        if let Some(swap) = self.as_swap() {
            write!(f, "swap slot {}", swap.slot)?;
            return f.write_str(match (swap.exclusive, swap.uffd_wp) {
                (false, false) => "",
                (true, false) => " exclusive",
                (false, true) => " uffd-wp",
                (true, true) => " exclusive uffd-wp",
            });
        }
        if let Some(migration) = self.as_migration() {
            write!(f, "migration of frame {}", migration.pfn.0)?;
            for (is, word) in [
                (migration.writable, " writable"),
                (migration.exclusive, " exclusive"),
                (migration.uffd_wp, " uffd-wp"),
            ] {
                if is {
                    f.write_str(word)?;
                }
            }
            return Ok(());
        }
        if self.is_table() {
            return write!(f, "table {}", self.pfn().0);
        }
        let huge = if self.is_huge() { "huge " } else { "" };
        write!(f, "{huge}frame {}", self.pfn().0)?;
        for (is, word) in [
            (!self.is_accessible(), " inaccessible"),
            (self.is_accessible() && !self.is_writable(), " read-only"),
            (self.is_uffd_wp(), " uffd-wp"),
            (!self.is_young(), " old"),
            (self.is_dirty(), " dirty"),
        ] {
            if is {
                f.write_str(word)?;
            }
        }
        Ok(())
    }
}
