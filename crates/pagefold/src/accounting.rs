//! The books: resident pages and page tables of each address space, mappings of each frame.
//!
//! What Linux calls `mm->rss_stat`, `mm_dec_nr_ptes` and `page_table_check`. A wrong balance is how most lost pages
//! show up on a running kernel ("BUG: Bad rss-counter state"), so every change of an entry goes through here.
//!
//! [`Fact`]s tell an oracle of the machine what a step meant, where the words alone do not say it.

use crate::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use crate::collapse::{Part, ScanResult};
use crate::mm::Mm;
use crate::mprotect::Protection;
use crate::platform::{Counter, Platform};
use crate::protocol::Safeguard;
use crate::step::Step;

/// What kind of page an entry maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageKind {
    /// A page of a shmem object.
    Shmem,
    /// A private page of one process.
    Anon,
}

/// Something an oracle wants to know.
#[derive(Clone, Copy, Debug)]
pub enum Fact {
    /// The page at an address is now a private one; its content is in the frame.
    PrivatePage(u32, VirtAddr, Pfn),
    /// The page at an address is now a private one, in this frame, and holds what the page there held before.
    PrivateCopy(u32, VirtAddr, Pfn),
    /// Fork gave a child (the second) a mapping of a range that its parent (the first) has.
    ForkedRange(u32, u32, AddrRange),
    /// Fork gave a child (the second) the private page that its parent (the first) has at an address, in this frame.
    ForkedPage(u32, u32, VirtAddr, Pfn),
    /// Fork gave a child (the second) the page that its parent (the first) has at an address, and that is in swap or on its way to another
    /// frame.
    ForkedAbsent(u32, u32, VirtAddr),
    /// The private page at an address is back from swap, in this frame.
    SwappedIn(u32, VirtAddr, Pfn),
    /// The private page at an address has moved from the first of these frames to the second, with what it held when it was copied.
    Migrated(u32, VirtAddr, Pfn, Pfn),
    /// Fork is done: nobody can write any more to pages that the parent shares with its child.
    Forked(u32, u32),
    /// Page `index` of an object was a hole and is now the content of the frame.
    Filled(u32, PageIndex, Pfn),
    /// Collapse fills page `index` of an object, which was a hole, with zeros.
    HoleFilled(u32, PageIndex),
    /// Page `index` of an object was given up: it was in the frame, or in swap, and is a hole now.
    Emptied(u32, PageIndex, Option<Pfn>),
    /// The page of a file in this frame is not cached any more; the disk has it.
    Uncached(Pfn),
    /// Page `index` of an object, which has its place in the cache, was overwritten with zeros.
    Zeroed(u32, PageIndex),
    /// The private pages and markers in a range were given up on purpose (munmap, exit, MADV_DONTNEED).
    Discarded(u32, AddrRange),
    /// The private page at an address was given up on purpose; its marker stays (MADV_DONTNEED).
    DiscardedPage(u32, VirtAddr),
    /// An entry of the page at an address was emptied that named this frame, which is not the process's own: of an object, or the one of
    /// zeros. It can still be used there until the address is [`Forgotten`](Self::Forgotten), or the frame is free.
    Unmapped(u32, VirtAddr, Pfn),
    /// What was discarded, or unmapped, in a range cannot be reached through translation caches any more.
    Forgotten(u32, AddrRange),
    /// A write-protect marker or bit was set for an address.
    Protected(u32, VirtAddr),
    /// A write-protect marker or bit was removed on purpose.
    Unprotected(u32, VirtAddr),
    /// A poison marker was set for an address.
    Poisoned(u32, VirtAddr),
    /// Userfaultfd put a page where such a mark was.
    Unpoisoned(u32, VirtAddr),
    /// A guard was set for an address; what else was there is given up.
    Guarded(u32, VirtAddr),
    /// The guard of an address was removed on purpose.
    Unguarded(u32, VirtAddr),
    /// A frame is mapped once more (+1) or once less (-1) as a page of the kind: page_table_check.
    Mapped(Pfn, PageKind, i32),
    /// A page table was taken from an address space and will be freed.
    TableRemoved(Pfn, u32, AddrRange),
    /// An entry was about to be used that names no table, where the protocol relies on locks that keep the table.
    MissingTable(u32, VirtAddr),
    /// A process learned, by asking, that the page at an address that it has registered MISSING is a hole.
    HoleSeen(u32, VirtAddr),
    /// A range is not registered any more, or its VMA has left the list of its object: no events are promised for it.
    Unregistered(u32, AddrRange),
    /// A range is mapped, or will be, at other addresses as well, and goes on there as far as those reach.
    Remapped(u32, AddrRange, AddrRange),
    /// The private pages and markers of a range are moved to other addresses. They can be used at the old ones until those are
    /// [`Forgotten`](Self::Forgotten).
    Moved(u32, AddrRange, VirtAddr),
    /// From now on accesses to a range may do so much, and no more.
    Permitted(u32, AddrRange, Protection),
    /// The page at an address is missing and a userfaultfd event for it was raised.
    MissingEvent(u32, VirtAddr),
    /// Followers of an address space are told that the entries of a range will change.
    Invalidates(u32, AddrRange),
    /// A part of a collapse ended so.
    Ended(Part, ScanResult),
}

/// Counts `pages` more (or, negative, less) resident pages.
pub(crate) fn add_mm_counter<P: Platform>(mm: &Mm<P>, kind: PageKind, pages: i64) {
    if P::enforces(Safeguard::CountRss) {
        P::step(Step::Mm(
            match kind {
                PageKind::Shmem => "count shmem rss of",
                PageKind::Anon => "count anon rss of",
            },
            mm.id,
        ));
        mm.rss(kind).add(pages);
    }
}

/// Counts `entries` more (or, negative, less) pages that are in swap.
pub(crate) fn add_swap_entries<P: Platform>(mm: &Mm<P>, entries: i64) {
    P::step(Step::Mm("count swap entries of", mm.id));
    mm.swap_entries().add(entries);
}

/// Counts one more page table.
pub(crate) fn mm_inc_nr_ptes<P: Platform>(mm: &Mm<P>) {
    P::step(Step::Mm("mm_inc_nr_ptes", mm.id));
    mm.nr_ptes.add(1);
}

/// Counts one page table less.
pub(crate) fn mm_dec_nr_ptes<P: Platform>(mm: &Mm<P>) {
    if P::enforces(Safeguard::CountTables) {
        P::step(Step::Mm("mm_dec_nr_ptes", mm.id));
        mm.nr_ptes.add(-1);
    }
}
