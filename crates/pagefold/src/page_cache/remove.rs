//! Pages leave the cache.

use crate::accounting::Fact;
use crate::folio::Folio;
use crate::page_cache::Mapping;
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
                let page = folio.pfn().add(i);
                P::observe(if self.is_file() {
                    Fact::Uncached(page)
                } else {
                    Fact::Emptied(self.id, index.add(i as u64), page)
                });
            }
            if pages > 1 && P::enforces(Safeguard::CountRemovedThp) {
                self.add_nr_thps_locked(-1);
            }
            folio.set_mapping::<P>(None, index);
        }
        folio.put::<P>(pages);
    }
}
