//! Pages of objects: those of a file go when the disk has them, those of shmem are moved out to swap.
//!
//! Guarantee: a page that went comes back as it was, whoever wrote to it until it went, and by whichever means. A page that
//! somebody has got stays where it is, but is not mapped any more.
//!
//! Locks, in order: folio lock, `i_mmap_rwsem`, (notifier), lock of a table; then `xa_lock`.
//!
//! Why that is enough: nobody maps the page while it is locked, and once it is unmapped and flushed (by who unmapped it, if it was
//! written, before the lock of the table was given up) nobody writes it any more but who has a reference. It is marked as clean, and then written out, in its place in the cache. It leaves the cache only if nobody
//! has a reference then, and nobody has marked it as dirty meanwhile; who finds it in its slot gets no reference in between. Then
//! nobody can have written it since, and whoever wants it next reads it from where it was written to. A page of a file is not locked
//! while it is written, and so may have been mapped again: then its entries have references.
//!
//! Markers of userfaultfd stay in the entries. A table that was retracted has no entries to be emptied: it is skipped, and what
//! maps the object then is a huge entry, or nothing. Huge folios stay.

use crate::filemap;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{Entry, Mapping};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::rmap::try_to_unmap;
use crate::step::Step;
use crate::swap;
use crate::tlb::UnmapBatch;

/// Takes a folio out of memory that was found in the cache, with a reference, and [locked](lock); unlocks it. Whether it did.
pub(super) fn reclaim_folio<P: Platform>(mapping: Ref<P, Mapping<P>>, folio: Folio) -> bool {
    let mut batch = UnmapBatch::<P>::new();
    try_to_unmap(folio, mapping, &mut batch);
    if P::enforces(Safeguard::FlushBeforePageout) {
        P::step(Step::Named("try_to_unmap_flush"));
        batch.flush();
    }
    if mapping.is_file() && folio.is_dirty::<P>() {
        // The lock is given up meanwhile.
        folio.get::<P>(1);
        filemap::write_back(mapping, folio);
        if !lock(mapping, folio) {
            return false;
        }
    }
    let removed = if mapping.is_file() {
        mapping.remove_clean(folio, Entry::None)
    } else {
        move_to_swap(mapping, folio)
    };
    folio.unlock::<P>();
    removed
}

/// Locks the folio, if that takes no waiting and it can be had at all.
pub(super) fn lock<P: Platform>(mapping: Ref<P, Mapping<P>>, folio: Folio) -> bool {
    if !folio.try_lock::<P>() {
        return false;
    }
    let written = || {
        mapping.is_file()
            && P::enforces(Safeguard::ReclaimSkipsWriteback)
            && folio.is_writeback::<P>()
    };
    // Somebody may have taken it out of the cache since it was found there.
    let can_be_had = mapping.owns(folio) && !written();
    if !can_be_had {
        folio.unlock::<P>();
    }
    can_be_had
}

/// Moves a locked folio of shmem, which is not mapped, out to swap. Whether it did.
fn move_to_swap<P: Platform>(mapping: Ref<P, Mapping<P>>, folio: Folio) -> bool {
    let Some(slot) = swap::alloc::<P>() else {
        return false;
    };
    folio.write_out::<P>(|| P::swap_out(slot, folio.pfn()));
    let removed = mapping.remove_clean(folio, Entry::Swap(slot));
    if !removed {
        // There is no copy of it.
        folio.mark_dirty::<P>();
        swap::put::<P>(slot);
    }
    removed
}
