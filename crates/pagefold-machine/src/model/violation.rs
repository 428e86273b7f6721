//! What counts as broken, and how it is called.

use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The invariants that the oracles watch.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Kind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name by which a scenario expects it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The invariant, in words.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

kinds! {
    /// Nobody (CPU, device, kernel code) uses a frame or an object after it was freed, or as it was in an
    /// earlier life.
    UseAfterFree = "use-after-free",
    /// A page table is freed only when it is empty: no page is lost with it.
    TableNotEmpty = "table-not-empty",
    /// A marker stays as long as its VMA keeps the feature.
    MarkerLost = "marker-lost",
    /// No page is write-protected for userfaultfd that nobody asked to protect.
    MarkerStray = "marker-stray",
    /// Each load equals the last store to that page of the object, or to the private copy.
    Content = "content",
    /// No access goes through that mprotect forbade, or to what was unmapped, after the call returned.
    Protection = "protection",
    /// The counts of resident pages equal what the page tables map.
    Rss = "rss",
    /// The count of page tables equals the tables that are attached.
    NrPtes = "nr-ptes",
    /// The count of mappings of a folio equals the entries that map it.
    Mapcount = "mapcount",
    /// The references to a folio are those of its mappings and of the page cache; it is freed with the last.
    Refcount = "refcount",
    /// The count of a swap slot equals the swap entries that name it; one that none names is free. Each address space counts its own.
    Swap = "swap",
    /// No frame is lost: each is free or in use.
    Leak = "leak",
    /// No frame is mapped both as a private page and as a page of an object, nor freed while it is mapped.
    PageTableCheck = "page-table-check",
    /// A private page that several processes map belongs to none of them alone, and none may write it.
    Exclusive = "exclusive",
    /// After all flushes, translation caches agree with the page tables.
    StaleTranslation = "stale-translation",
    /// Where the architecture asks for it, an entry is emptied and flushed before it names another frame or has another size.
    BreakBeforeMake = "break-before-make",
    /// A secondary MMU maps only what the address space maps.
    SecondaryMapping = "secondary-mapping",
    /// A page of an object that was stored to is dirty: its folio, or an entry that maps it. What was written to a file is on the
    /// disk, or in its cache and dirty.
    DirtyLost = "dirty-lost",
    /// The count of huge pages of a file equals those that its cache has.
    NrThps = "nr-thps",
    /// The count of an object's blocks equals the pages that it has, in its cache or in swap.
    Blocks = "blocks",
    /// A file that is open for writing has no huge pages in its cache.
    HugeWhileWritten = "huge-while-written",
    /// Nothing behind the end of an object is cached or mapped, but for a huge page that reaches over the end.
    BeyondEnd = "beyond-end",
    /// What is mapped as a page of an object is the page that the object has.
    Orphan = "orphan",
    /// No RETRY entry is left in a page cache.
    RetryEntry = "retry-entry",
    /// A hole that a process registered MISSING saw as a hole is not filled without an event.
    UffdMissing = "uffd-missing",
    /// The table that is used is there, where the protocol relies on locks that keep it.
    MissingTable = "missing-table",
    /// Memory that has gone bad is read only by who can do without its content.
    MachineCheck = "machine-check",
    /// The condition of the scenario.
    Condition = "condition",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Stops this execution: an invariant is broken.
#[cold]
pub(crate) fn fail(kind: Kind, message: String) -> ! {
    pagefold_explore::fail(kind.name(), message)
}
