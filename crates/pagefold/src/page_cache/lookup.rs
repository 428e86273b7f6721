//! Lookups, which take no lock: find an entry under RCU, get a reference, look again.

use crate::addr::PageIndex;
use crate::folio::Folio;
use crate::page_cache::{Entry, Mapping};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::sync::RcuGuard;

/// The slot is changing: look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Changing;

impl<P: Platform> Mapping<P> {
    /// One look, without waiting, at what caches `index`, as mincore and fault-around do it. The folio comes with a
    /// reference. `Err` is a slot that is changing.
    pub(crate) fn peek_folio(&self, index: PageIndex) -> Result<Option<Folio>, Changing> {
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
                Ok(Some(folio))
            }
            Entry::None => Ok(None),
            Entry::Retry | Entry::Node(_) => Err(Changing),
        }
    }

    /// The folio that caches `index`, with a reference; `None` for a hole. Waits while the slot is changing.
    ///
    /// Linux: `filemap_get_entry`.
    pub(crate) fn get_folio(&self, index: PageIndex) -> Option<Folio> {
        loop {
            match self.peek_folio(index) {
                Ok(found) => return found,
                Err(Changing) => P::cpu_relax(),
            }
        }
    }

    /// The folio that caches `index`, with a reference and its lock; `None` for a hole.
    ///
    /// Linux: `filemap_lock_folio`. Waiting for the lock may outlast the folio's place in the cache, so `mapping` is
    /// looked at once the lock is there.
    pub(crate) fn lock_folio(&self, index: PageIndex) -> Option<Folio> {
        loop {
            let folio = self.get_folio(index)?;
            folio.lock::<P>();
            if self.owns(folio) || !P::enforces(Safeguard::RecheckMapping) {
                return Some(folio);
            }
            folio.unlock::<P>();
            folio.put::<P>(1);
        }
    }

    /// Whether page `index` is in the cache and has content, found without a lock. (Linux: `mincore`)
    pub fn is_cached(&self, index: PageIndex) -> bool {
        self.get_folio(index).is_some_and(|folio| {
            let valid = folio.is_uptodate::<P>();
            folio.put::<P>(1);
            valid
        })
    }
}
