//! Pages of an object are given up: truncation and hole punching (Linux: `mm/truncate.c`, `shmem_undo_range`).
//!
//! Guarantees: when [`truncate`] returns, nothing behind the new end is cached, and nothing there is mapped, private copies
//! included; accesses there raise SIGBUS. When [`punch_hole`] returns, each page of the range has been a hole after the
//! call began; private copies stay. A huge folio that lies in the range with a part only is cleared there and split, or,
//! if somebody has a reference to it, stays whole, also over the end of the object.
//!
//! Locks, in order: `i_rwsem`, for files `invalidate_lock`, folio lock, `i_mmap_rwsem`, page-table locks, `xa_lock`.
//!
//! Why that is enough. *No page comes back.* The size changes first, under `xa_lock`, under which it is read when a page is
//! put in. A page that is put in before that is found by the passes below. (While a hole is punched pages may come back at any
//! time. Nothing looks for them twice, so that a process that keeps touching the range does not keep the caller here.)
//! *No page is missed.* The first pass takes what it can have at once, the second one waits. The page that is
//! waited for may be replaced by a huge one meanwhile, so the same index is looked at again. *No mapping stays.* A page is
//! mapped only under its folio lock; under the same lock it is unmapped and removed. A private copy is made under the
//! lock of the page that is copied, but stays when that one goes: so truncation unmaps once more at the end.
//! Userfaultfd puts pages in without any of these, and looks at the size under the lock of the page table, after a full
//! barrier: where truncation finds no table, it takes no lock of one.

use core::ops::Range;

use crate::accounting::Fact;
use crate::addr::PageIndex;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{Found, Mapping};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::sync::{ReadGuard, WriteGuard};
use crate::zap::{Markers, zap_range};

/// The new size is beyond what an object can have. (Linux: EFBIG)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge;

/// Makes an object `pages` pages long. (Linux: `ftruncate`)
///
/// # Errors
/// [`TooLarge`]; nothing has changed then.
pub fn truncate<P: Platform>(mapping: Ref<P, Mapping<P>>, pages: u64) -> Result<(), TooLarge> {
    if pages > Mapping::<P>::MAX_PAGES {
        return Err(TooLarge);
    }
    P::step(Step::Named("i_rwsem"));
    let _inode = WriteGuard::write(&mapping.i_rwsem);
    let _invalidate = lock_invalidate(&*mapping);
    let old = mapping.pages_protected();
    if pages > old {
        mapping.set_i_size(pages);
        return Ok(());
    }
    let size_first = P::enforces(Safeguard::SizeFirst);
    if size_first {
        mapping.set_i_size(pages);
        // Then page tables are looked at; userfaultfd makes a table, then reads the size.
        P::smp_mb();
    }
    // A huge folio may reach over the old end.
    let gone = pages..old.next_multiple_of(P::PTRS_PER_TABLE as u64);
    unmap_mapping_range(mapping, gone.clone(), Markers::Keep);
    undo_range(mapping, gone.clone());
    clear_disk(&*mapping, gone.clone());
    if P::enforces(Safeguard::SecondUnmap) {
        unmap_mapping_range(mapping, gone, Markers::Keep);
    }
    if !size_first {
        mapping.set_i_size(pages);
    }
    Ok(())
}

/// Makes holes of the pages `range` of an object. (Linux: `fallocate` with `FALLOC_FL_PUNCH_HOLE`)
pub fn punch_hole<P: Platform>(mapping: Ref<P, Mapping<P>>, range: Range<u64>) {
    P::step(Step::Named("i_rwsem"));
    let _inode = WriteGuard::write(&mapping.i_rwsem);
    let _invalidate = lock_invalidate(&*mapping);
    let markers = if P::enforces(Safeguard::SparePrivate) {
        Markers::KeepAndPrivate
    } else {
        Markers::Keep
    };
    unmap_mapping_range(mapping, range.clone(), markers);
    undo_range(mapping, range.clone());
    clear_disk(&*mapping, range);
}

/// Keeps others from reading pages of a file from the disk until they are cleared there.
fn lock_invalidate<P: Platform>(mapping: &Mapping<P>) -> Option<WriteGuard<'_, P::RwSem>> {
    mapping.is_file().then(|| {
        P::step(Step::Named("invalidate_lock"));
        WriteGuard::write(&mapping.invalidate_lock)
    })
}

/// Gives up pages of a file on the disk; nothing of them is cached but zeros.
fn clear_disk<P: Platform>(mapping: &Mapping<P>, range: Range<u64>) {
    for index in range.map(PageIndex) {
        if let Some(page) = mapping.disk_page(index) {
            P::step(Step::Folio("clear on disk", page));
            P::clear_page(page);
            P::observe(Fact::Zeroed(mapping.id, index));
        }
    }
}

/// Unmaps pages of an object wherever they are mapped. (Linux: `unmap_mapping_range`)
pub(crate) fn unmap_mapping_range<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    range: Range<u64>,
    markers: Markers,
) {
    P::step(Step::Named("i_mmap_lock_read"));
    let _i_mmap = ReadGuard::read(&mapping.i_mmap_rwsem);
    for (vma, addrs) in mapping.vmas_over(range.start, range.end) {
        zap_range(vma, addrs, markers);
    }
}

/// Removes what is cached of a range.
pub(crate) fn undo_range<P: Platform>(mapping: Ref<P, Mapping<P>>, range: Range<u64>) {
    for index in range.clone() {
        let Ok(Some(folio)) = mapping.peek_folio(PageIndex(index)) else {
            continue;
        };
        if folio.try_lock::<P>() {
            if mapping.owns(folio)
                && is_within(pages_of::<P>(folio), &range)
                && !(waits_for_disk(&*mapping) && folio.is_writeback::<P>())
            {
                unmap_and_remove(mapping, folio);
            }
            folio.unlock::<P>();
        }
        folio.put::<P>(1);
    }
    if !P::enforces(Safeguard::WaitForLocked) {
        return;
    }
    let mut index = range.start;
    while index < range.end {
        let folio = match mapping.find(PageIndex(index)) {
            Found::Hole => {
                index += 1;
                continue;
            }
            Found::Swap(slot) => {
                // It may be in memory again.
                let gone = mapping.free_swap(PageIndex(index), slot);
                index += u64::from(gone || !P::enforces(Safeguard::RetryReplaced));
                continue;
            }
            Found::Folio(folio) => folio,
        };
        folio.lock::<P>();
        if waits_for_disk(&*mapping) {
            folio.wait_writeback::<P>();
        }
        if mapping.owns(folio) {
            index = give_up(mapping, folio, &range);
        } else if !P::enforces(Safeguard::RetryReplaced) {
            index += 1;
        }
        folio.unlock::<P>();
        folio.put::<P>(1);
    }
}

/// Whether a page may be on its way to the disk, for which it has to stay.
fn waits_for_disk<P: Platform>(mapping: &Mapping<P>) -> bool {
    mapping.is_file() && P::enforces(Safeguard::WaitWriteback)
}

fn pages_of<P: Platform>(folio: Folio) -> Range<u64> {
    let first = folio.index::<P>().0;
    first..first + folio.pages::<P>() as u64
}

fn is_within(inner: Range<u64>, outer: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Gives up what lies in the range of a folio of the cache, which the caller has locked. Where to go on.
/// (Linux: `truncate_inode_partial_folio`)
fn give_up<P: Platform>(mapping: Ref<P, Mapping<P>>, folio: Folio, range: &Range<u64>) -> u64 {
    let pages = pages_of::<P>(folio);
    if is_within(pages.clone(), range) {
        unmap_and_remove(mapping, folio);
        return pages.end;
    }
    let part = pages.start.max(range.start)..pages.end.min(range.end);
    if P::enforces(Safeguard::ZeroPart) {
        for index in part.clone() {
            let index = PageIndex(index);
            let page = folio.page::<P>(index);
            P::step(Step::Folio("folio_zero_range", page));
            P::clear_page(page);
            P::observe(Fact::Zeroed(mapping.id, index));
        }
    }
    match Mapping::split_folio(mapping, folio) {
        // Small folios are there now.
        Ok(()) => part.start,
        Err(_) => part.end,
    }
}

/// Takes a folio, which the caller has locked, from everybody who maps it, and from the cache. (Linux: `truncate_inode_folio`)
fn unmap_and_remove<P: Platform>(mapping: Ref<P, Mapping<P>>, folio: Folio) {
    if P::enforces(Safeguard::UnmapRemoved) {
        unmap_mapping_range(mapping, pages_of::<P>(folio), Markers::KeepAndPrivate);
    }
    mapping.remove_folio(folio);
}
