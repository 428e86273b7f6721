//! Pages leave the cache: they are given up, or can be had again from elsewhere.

use crate::accounting::Fact;
use crate::addr::{PageIndex, Pfn};
use crate::folio::Folio;
use crate::page_cache::{Entry, Mapping};
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::sync::LockGuard;

impl<P: Platform> Mapping<P> {
    /// Takes a folio out of the cache: its pages are holes now, or those of a file are where the disk has them. The caller has its lock and a reference, and nobody maps it.
    /// Who waits for its lock finds that it belongs to no object. (Linux: `filemap_remove_folio`)
    pub(crate) fn remove_folio(&self, folio: Folio) {
        let index = folio.index::<P>();
        let pages = folio.pages::<P>();
        {
            let _xa: LockGuard<'_, P::Lock> = self.lock_pages();
            self.clear_slots(folio);
            for i in 0..pages {
                self.observe_removed(folio.pfn().add(i), index.add(i as u64));
            }
            if pages > 1 && P::enforces(Safeguard::CountRemovedThp) {
                self.add_nr_thps_locked(-1);
            }
            folio.set_mapping::<P>(None, index);
        }
        self.uncharge(pages);
        folio.put::<P>(pages);
    }

    /// Tells that the page that was at `index` is a hole now, or one that the disk has.
    pub(super) fn observe_removed(&self, page: Pfn, index: PageIndex) {
        P::observe(if self.is_file() {
            Fact::Uncached(page)
        } else {
            Fact::Emptied(self.id, index, Some(page))
        });
    }

    /// Takes a small folio out of the cache of which there is a copy elsewhere: `left` says where. Whether it did: not if
    /// anybody else has a reference, or it was written since the copy was made. The caller has its lock and one reference, and has
    /// unmapped it. (Linux: `__remove_mapping`)
    ///
    /// Who writes by other means than an entry has a reference, and marks the folio as dirty before giving it back. So the count is
    /// looked at first, and nobody gets a reference then until the folio is out.
    pub(crate) fn remove_clean(&self, folio: Folio, left: Entry) -> bool {
        let _xa: LockGuard<'_, P::Lock> = self.lock_pages();
        let written = !P::enforces(Safeguard::RecheckDirtyFrozen) && folio.is_dirty::<P>();
        let frozen = folio.freeze::<P>(2);
        let used = !frozen && P::enforces(Safeguard::ReclaimFreeze);
        let written =
            written || P::enforces(Safeguard::RecheckDirtyFrozen) && folio.is_dirty::<P>();
        let removed = !used && !written;
        if removed {
            let index = folio.index::<P>();
            self.store_empty(index, left);
            folio.set_mapping::<P>(None, index);
        }
        match (frozen, removed) {
            (true, true) => folio.unfreeze::<P>(1),
            (true, false) => folio.unfreeze::<P>(2),
            (false, true) => folio.put::<P>(1),
            (false, false) => {}
        }
        removed
    }
}
