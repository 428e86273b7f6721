//! Swap: where the content of private pages is that were moved out of memory (Linux: `mm/swapfile.c`, `mm/swap_state.c`).
//!
//! A slot holds one page. It counts the swap entries that name it (in page tables, or in the cache of an object), and whoever works on it; while a folio with its content is in
//! memory as well, the slot names that (the *swap cache*), with a reference. Moving content out and in is the machine's.
//!
//! Guarantees: a slot is in use as long as its count is above zero, and leaves the swap cache with the last. There is at most one
//! folio for a slot, so that everybody who brings the page back gets the same one. Whoever found it in the cache and holds its
//! lock knows that its content is there; but only who also holds the lock of a table with an entry that names the slot, and
//! then finds the folio still in the cache, knows that it is the page of that entry: else the slot may have been freed and
//! used again meanwhile, by the same entry for another page.
//!
//! Locks: that of the slot, the last of all. Linux has one for the swap area and one for the swap cache.

use crate::folio::Folio;
use crate::frame::Frame;
use crate::lock_order::LockClass;
use crate::platform::{Platform, RawLock, Word};
use crate::step::Step;
use crate::sync::LockGuard;

/// The metadata of a swap slot (Linux: a byte of `swap_map`, and an entry of `swapper_spaces`).
pub struct SwapSlot<P: Platform> {
    lock: P::Lock,
    /// Swap entries that name the slot, and those who work on it.
    count: P::Word,
    /// The folio that holds the content in memory; 0 for none.
    folio: P::Word,
}

impl<P: Platform> SwapSlot<P> {
    /// A free slot.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lock: P::Lock::new(LockClass::SwapSlot),
            count: P::Word::new(0),
            folio: P::Word::new(0),
        }
    }

    /// Swap entries that name the slot when nothing is under way, for oracles and reports.
    pub fn count(&self) -> &P::Word {
        &self.count
    }

    /// The frame of the folio in the swap cache, or 0, for oracles and reports.
    pub fn cached(&self) -> &P::Word {
        &self.folio
    }

    fn cached_folio(&self) -> Option<Folio> {
        match self.folio.load_protected() {
            0 => None,
            pfn => Some(Folio(crate::addr::Pfn(pfn))),
        }
    }

    fn change_count(&self, change: i64) -> u64 {
        let count = self.count.load_protected().wrapping_add_signed(change);
        self.count.store_protected(count);
        count
    }

    fn insert(&self, number: u64, folio: Folio) {
        folio.get::<P>(1);
        self.folio.store_protected(folio.pfn().0);
        frame_of::<P>(folio).swap.store_protected(number);
    }
}

impl<P: Platform> Default for SwapSlot<P> {
    fn default() -> Self {
        Self::new()
    }
}

fn frame_of<P: Platform>(folio: Folio) -> &'static Frame<P> {
    P::frame(folio.pfn())
}

/// A slot whose lock is held.
fn lock<P: Platform>(
    what: &'static str,
    slot: u64,
) -> (&'static SwapSlot<P>, LockGuard<'static, P::Lock>) {
    let found = P::swap_slot(slot);
    P::step(Step::Swap(what, slot));
    (found, LockGuard::lock(&found.lock))
}

/// A slot for a locked folio that is about to be moved out: the one that it is in the swap cache for, or a new one. The caller
/// works on it until it [gives it back](put). `None` when all slots are in use. (Linux: `add_to_swap`)
pub(crate) fn get_for<P: Platform>(folio: Folio) -> Option<u64> {
    // Whatever an earlier life of the frame has left there: the slot knows its folio.
    let number = frame_of::<P>(folio).swap.load_protected();
    {
        let (slot, _lock) = lock::<P>("find in the swap cache", number);
        if slot.cached_folio() == Some(folio) {
            slot.change_count(1);
            return Some(number);
        }
    }
    take_free::<P>("add to the swap cache", |slot, number| {
        slot.insert(number, folio);
    })
}

/// A slot for a page of an object, of which the caller is the one who names it. `None` when all slots are in use.
pub(crate) fn alloc<P: Platform>() -> Option<u64> {
    take_free::<P>("look for a free slot", |_, _| {})
}

/// Takes a free slot and begins its use.
fn take_free<P: Platform>(what: &'static str, begin: impl Fn(&SwapSlot<P>, u64)) -> Option<u64> {
    (0..P::swap_slots()).find(|&number| {
        let (slot, _lock) = lock::<P>(what, number);
        let is_free = slot.count.load_protected() == 0;
        if is_free {
            slot.change_count(1);
            begin(slot, number);
        }
        is_free
    })
}

/// One more entry names the slot. The caller holds the lock of a table with one, or works on the slot. (Linux: `swap_duplicate`)
pub(crate) fn get<P: Platform>(slot: u64) {
    let (slot, _lock) = lock::<P>("swap_duplicate", slot);
    slot.change_count(1);
}

/// One entry less names the slot, or one who worked on it is done. The last takes the page out of the swap cache.
/// (Linux: `free_swap_and_cache`)
pub(crate) fn put<P: Platform>(slot: u64) {
    let unused = {
        let (slot, _lock) = lock::<P>("swap_free", slot);
        let unused = slot.change_count(-1) == 0;
        let folio = slot.cached_folio().filter(|_| unused);
        if folio.is_some() {
            slot.folio.store_protected(0);
        }
        folio
    };
    if let Some(folio) = unused {
        folio.put::<P>(1);
    }
}

/// The folio that holds the content of the slot in memory, with a reference. (Linux: `swap_cache_get_folio`)
pub(crate) fn find<P: Platform>(slot: u64) -> Option<Folio> {
    let (slot, _lock) = lock::<P>("look up the swap cache", slot);
    let folio = slot.cached_folio()?;
    folio.get::<P>(1);
    Some(folio)
}

/// What became of a folio that is to hold the content of a slot.
pub(crate) enum Inserted {
    /// It is in the swap cache.
    Yes,
    /// Somebody was faster; this is theirs, with a reference.
    Other(Folio),
    /// Nobody uses the slot any more.
    Gone,
}

/// Puts a new, locked folio into the swap cache, before the content is read into it. (Linux: `swapcache_prepare`)
pub(crate) fn insert<P: Platform>(number: u64, folio: Folio) -> Inserted {
    let (slot, _lock) = lock::<P>("add to the swap cache", number);
    if let Some(other) = slot.cached_folio() {
        other.get::<P>(1);
        return Inserted::Other(other);
    }
    if slot.count.load_protected() == 0 {
        return Inserted::Gone;
    }
    slot.insert(number, folio);
    Inserted::Yes
}

/// Whether the folio is in the swap cache for the slot; with `None`, whether there is none.
pub(crate) fn is_cached<P: Platform>(slot: u64, folio: Option<Folio>) -> bool {
    let (slot, _lock) = lock::<P>("recheck the swap cache", slot);
    slot.cached_folio() == folio
}

/// Takes a locked folio that was moved out of the swap cache, if nobody but the cache and the caller has it. Who looks it up
/// gets a reference under the lock of the slot. (Linux: `__remove_mapping`)
pub(crate) fn remove<P: Platform>(slot: u64, folio: Folio) -> bool {
    let (slot, _lock) = lock::<P>("remove from the swap cache", slot);
    if folio.refcount::<P>() != 2 {
        return false;
    }
    slot.folio.store_protected(0);
    folio.put::<P>(1);
    true
}
