//! The constants that calls take, each set in one table.

use crate::ids::MmId;

/// A set of named constants, of which an argument takes one.
pub(crate) trait Constant: Copy + PartialEq + 'static {
    /// The members under their names.
    const MEMBERS: &'static [(&'static str, Self)];
    /// The names alone, in the same order.
    const NAMES: &'static [&'static str];

    /// The member written `name`.
    fn from_name(name: &str) -> Option<Self> {
        Self::MEMBERS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, member)| *member)
    }
}

macro_rules! constants {
    ($($(#[doc = $doc:literal])+ $set:ident {
        $($(#[doc = $member_doc:literal])+ $member:ident = $name:literal;)*
    })*) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum $set {
                $($(#[doc = $member_doc])+ $member,)*
            }

            impl $set {
                /// The constant as it is written.
                pub const fn name(self) -> &'static str {
                    match self {
                        $(Self::$member => $name,)*
                    }
                }
            }

            impl Constant for $set {
                const MEMBERS: &'static [(&'static str, Self)] = &[$(($name, Self::$member)),*];
                const NAMES: &'static [&'static str] = &[$($name),*];
            }
        )*

        /// The names of all constants.
        pub(crate) const CONSTANTS: &[&str] = &[$($($name),*),*];
    };
}

constants! {
    /// Whether the writes of a mapping reach the object.
    Sharing {
        /// They do.
        Shared = "MAP_SHARED";
        /// They go to private copies.
        Private = "MAP_PRIVATE";
    }
    /// What `madvise` is asked to do.
    Advice {
        /// Replace the small pages by a huge one now.
        Collapse = "MADV_COLLAPSE";
        /// Drop what is mapped.
        DontNeed = "MADV_DONTNEED";
        /// Note that the pages were not used lately.
        Cold = "MADV_COLD";
        /// Move pages out.
        PageOut = "MADV_PAGEOUT";
        /// Drop what is mapped, and make each access raise SIGSEGV.
        GuardInstall = "MADV_GUARD_INSTALL";
        /// Allow accesses again.
        GuardRemove = "MADV_GUARD_REMOVE";
        /// Want huge pages: the first access may bring one.
        HugePage = "MADV_HUGEPAGE";
        /// Want none.
        NoHugePage = "MADV_NOHUGEPAGE";
        /// Map the pages, as reads would.
        PopulateRead = "MADV_POPULATE_READ";
        /// Map the pages, as writes would.
        PopulateWrite = "MADV_POPULATE_WRITE";
    }
    /// Something that `mprotect` allows.
    Prot {
        /// Nothing.
        None = "PROT_NONE";
        /// Reading.
        Read = "PROT_READ";
        /// Writing; only together with reading.
        Write = "PROT_WRITE";
    }
    /// What is asked of a page that is held.
    Foll {
        /// A reference to it.
        Get = "FOLL_GET";
        /// A pin, for long.
        Longterm = "FOLL_LONGTERM";
        /// That it can be written; only together with a pin.
        Write = "FOLL_WRITE";
    }
    /// How UFFDIO_COPY and UFFDIO_CONTINUE map the page.
    FillMode {
        /// Write-protected.
        Protect = "MODE_WP";
    }
    /// What UFFDIO_MOVE does where there is nothing to move.
    MoveMode {
        /// It goes on.
        SkipHoles = "ALLOW_SRC_HOLES";
    }
    /// An event that userfaultfd reports.
    UffdMode {
        /// A fault on a page that is not there.
        Missing = "MISSING";
        /// A write to a page that is write-protected.
        Wp = "WP";
        /// A fault on a page that the object has and that is not mapped.
        Minor = "MINOR";
        /// Changes of the layout: `madvise(x, MADV_DONTNEED)` and `munmap(x)` wait until they were read of.
        Changes = "CHANGES";
        /// Forks: the child's mapping is registered too, with a userfaultfd of its own, and fork waits until it was read of.
        EventFork = "EVENT_FORK";
        /// Moves: `mremap(x, y)` takes the registration along, and waits until it was read of.
        EventRemap = "EVENT_REMAP";
        /// Not an event: a write takes the protection away by itself (`UFFD_FEATURE_WP_ASYNC`).
        WpAsync = "WP_ASYNC";
        /// Not an event of its own: who faults gets SIGBUS and does not wait (`UFFD_FEATURE_SIGBUS`).
        Sigbus = "SIGBUS_ON_FAULT";
    }
}

/// The events for which a mapping is registered with userfaultfd, and how; at least one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UffdModes(u8);

impl UffdModes {
    /// These modes.
    pub fn of(modes: &[UffdMode]) -> Self {
        Self(modes.iter().fold(0, |bits, mode| bits | 1 << *mode as u8))
    }

    /// Whether the mode is among them.
    pub fn has(self, mode: UffdMode) -> bool {
        self.0 & 1 << mode as u8 != 0
    }

    /// Adds a mode; false if it was there already.
    pub(crate) fn insert(&mut self, mode: UffdMode) -> bool {
        let new = !self.has(mode);
        self.0 |= 1 << mode as u8;
        new
    }

    /// The modes one by one.
    pub fn iter(self) -> impl Iterator<Item = UffdMode> {
        UffdMode::MEMBERS
            .iter()
            .map(|(_, mode)| *mode)
            .filter(move |mode| self.has(*mode))
    }
}

/// What `mprotect` leaves allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// `PROT_NONE`
    None,
    /// `PROT_READ`
    Read,
    /// `PROT_READ|PROT_WRITE`
    ReadWrite,
}

impl Permission {
    /// What the constants say together, if that makes sense.
    pub(crate) fn of(constants: &[Prot]) -> Option<Self> {
        match constants {
            [Prot::None] => Some(Self::None),
            [Prot::Read] => Some(Self::Read),
            [Prot::Read, Prot::Write] | [Prot::Write, Prot::Read] => Some(Self::ReadWrite),
            _ => None,
        }
    }

    /// The constants for it.
    pub(crate) const fn constants(self) -> &'static [Prot] {
        match self {
            Self::None => &[Prot::None],
            Self::Read => &[Prot::Read],
            Self::ReadWrite => &[Prot::Read, Prot::Write],
        }
    }
}

/// How a page is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// `FOLL_GET`: by a reference that is no pin, as a pipe holds what vmsplice put into it.
    Reference,
    /// `FOLL_LONGTERM`: by a pin, to read it.
    ReadPin,
    /// `FOLL_LONGTERM|FOLL_WRITE`: by a pin, to read and write it, as io_uring holds its fixed buffers.
    WritePin,
}

impl Hold {
    /// What the constants say together, if that makes sense.
    pub(crate) fn of(constants: &[Foll]) -> Option<Self> {
        match constants {
            [Foll::Get] => Some(Self::Reference),
            [Foll::Longterm] => Some(Self::ReadPin),
            [Foll::Longterm, Foll::Write] | [Foll::Write, Foll::Longterm] => Some(Self::WritePin),
            _ => None,
        }
    }

    /// The constants for it.
    pub(crate) const fn constants(self) -> &'static [Foll] {
        match self {
            Self::Reference => &[Foll::Get],
            Self::ReadPin => &[Foll::Longterm],
            Self::WritePin => &[Foll::Longterm, Foll::Write],
        }
    }
}

/// Whether a shared mapping of a file is one of a descriptor that was opened for writing; no third argument: for reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Writable(pub bool);

/// Whether a page that is filled in is write-protected; no last argument: it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProtectNew(pub bool);

/// Whether UFFDIO_MOVE goes on where there is nothing to move; no last argument: that is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SkipHoles(pub bool);

/// What `scan` looks through: one address space, or, without an argument, all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(pub Option<MmId>);

/// How many pages of a range `scan` accepts that are missing, shared or in swap; `None` as khugepaged usually does: no argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limit(pub Option<u64>);

/// What `uffdio_writeprotect` does to the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protection {
    /// Marks it, so that the next write is an event: no second argument.
    #[default]
    Protect,
    /// Takes the mark away and wakes who waits: second argument 0.
    Unprotect,
}
