//! Lookups, which take no lock: find an entry under RCU, get a reference, look again.

use crate::addr::PageIndex;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{CacheError, Entry, Mapping};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::sync::RcuGuard;

/// The slot is changing: look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Changing;

/// What there is of a page of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Nothing, or nothing that the cache has.
    Hole,
    /// Its content, in a swap slot.
    Swap(u64),
    /// The folio that caches it, with a reference.
    Folio(Folio),
}

impl Found {
    /// Gives the reference back, if there is one.
    pub(crate) fn put<P: Platform>(self) {
        if let Self::Folio(folio) = self {
            folio.put::<P>(1);
        }
    }

    fn folio(self) -> Option<Folio> {
        match self {
            Self::Folio(folio) => Some(folio),
            Self::Hole | Self::Swap(_) => None,
        }
    }
}

/// What mincore can tell of a page of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Residence {
    /// It is a hole, or was never written.
    Hole,
    /// It was moved out.
    Swapped,
    /// It is in memory.
    Cached,
}

impl<P: Platform> Mapping<P> {
    /// One look, without waiting, at what caches `index`, as mincore and fault-around do it. The folio comes with a
    /// reference. `Err` is a slot that is changing.
    pub(crate) fn peek_folio(&self, index: PageIndex) -> Result<Option<Folio>, Changing> {
        self.peek(index).map(Found::folio)
    }

    /// As [`peek_folio`](Self::peek_folio), and tells pages in swap from holes.
    pub(crate) fn peek(&self, index: PageIndex) -> Result<Found, Changing> {
        let _rcu = RcuGuard::<P>::read_lock();
        match self.load(index) {
            Entry::Folio(folio) => {
                if !folio.try_get::<P>() {
                    return Err(Changing);
                }
                // The reference is an acquire: if it came too late, to another life of the frame, then the slot was changed
                // before the folio was freed, and this look sees that.
                if self.load(index) != Entry::Folio(folio) {
                    folio.put::<P>(1);
                    return Err(Changing);
                }
                Ok(Found::Folio(folio))
            }
            Entry::None => Ok(Found::Hole),
            Entry::Swap(slot) => Ok(Found::Swap(slot)),
            Entry::Retry | Entry::Node(_) => Err(Changing),
        }
    }

    /// What there is of page `index`. Waits while the slot is changing.
    ///
    /// Linux: `filemap_get_entry`.
    pub(crate) fn find(&self, index: PageIndex) -> Found {
        loop {
            match self.peek(index) {
                Ok(found) => return found,
                Err(Changing) => P::cpu_relax(),
            }
        }
    }

    /// The folio that caches `index`, with a reference, if there is one. Waits while the slot is changing.
    pub(crate) fn get_folio(&self, index: PageIndex) -> Option<Folio> {
        self.find(index).folio()
    }

    /// The folio that caches `index`, with a reference and its lock, if there is one.
    ///
    /// Linux: `filemap_lock_folio`. Waiting for the lock may outlast the folio's place in the cache, so `mapping` is
    /// looked at once the lock is there.
    pub(crate) fn lock_folio(&self, index: PageIndex) -> Option<Folio> {
        loop {
            let folio = self.get_folio(index)?;
            if self.lock_cached(folio) {
                return Some(folio);
            }
        }
    }

    /// As [`lock_folio`](Self::lock_folio); a page that was moved out is brought back. (Linux: `shmem_get_folio` with
    /// `SGP_NOALLOC`)
    pub(crate) fn lock_content(
        this: Ref<P, Self>,
        index: PageIndex,
    ) -> Result<Option<Folio>, CacheError> {
        loop {
            let found = this.find(index);
            let folio = Self::lock_found(this, index, found)?;
            if folio.is_some() || found == Found::Hole {
                return Ok(folio);
            }
        }
    }

    /// The folio of page `index`, of which `found` was found, with a reference and its lock; a page that was moved out is brought back.
    /// `None` for a hole, and if what was found is not there any more.
    pub(crate) fn lock_found(
        this: Ref<P, Self>,
        index: PageIndex,
        found: Found,
    ) -> Result<Option<Folio>, CacheError> {
        match found {
            Found::Hole => Ok(None),
            Found::Swap(slot) => Self::swap_in(this, index, slot),
            Found::Folio(folio) => Ok(this.lock_cached(folio).then_some(folio)),
        }
    }

    /// Waits for the lock of a folio that was found. Whether it still is in the cache; if not, lock and reference are given back.
    fn lock_cached(&self, folio: Folio) -> bool {
        folio.lock::<P>();
        let found = self.owns(folio) || !P::enforces(Safeguard::RecheckMapping);
        if !found {
            folio.unlock::<P>();
            folio.put::<P>(1);
        }
        found
    }

    /// Where page `index` is, found without a lock. (Linux: `mincore`)
    pub(crate) fn residence(&self, index: PageIndex) -> Residence {
        match self.find(index) {
            Found::Hole => Residence::Hole,
            Found::Swap(_) => Residence::Swapped,
            Found::Folio(folio) => {
                let valid = folio.is_uptodate::<P>();
                folio.put::<P>(1);
                if valid {
                    Residence::Cached
                } else {
                    Residence::Hole
                }
            }
        }
    }
}
