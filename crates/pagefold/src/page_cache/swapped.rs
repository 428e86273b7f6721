//! Pages of an object that are not in memory: the cache has the number of a swap slot in their place (Linux: `mm/shmem.c`).
//!
//! Guarantee: the content of such a page is in the slot, which counts the cache as one who names it. Who brings it back, or gives
//! it up, does so once: a slot of the cache is changed only if it still is what was found.
//!
//! Locks, in order: the lock of the folio (of a new one), `xa_lock`, that of the swap slot.
//!
//! Why that is enough: a page is brought back as a page of a file is read. First the new folio, which is locked, takes the
//! place of the number; then the content is read into it. So there is one who reads, all others wait for the folio's lock, and the
//! slot is not used for something else before the content is there. To read it first would not do, even if the number is then still
//! the same: the page may have been brought back, written, and moved out to the same slot again meanwhile.
//!
//! In Linux a page that is on its way is in the swap cache, and leaves the cache of its object before it is written out. Here it
//! stays in the cache of its object until it is in the slot, like a page of a file that is written back.

use crate::accounting::Fact;
use crate::addr::PageIndex;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{CacheError, Entry, Mapping};
use crate::platform::{Order, Platform};
use crate::protocol::Safeguard;
use crate::swap;

impl<P: Platform> Mapping<P> {
    /// Brings page `index` back, which was found to be in `number`. Its folio, with a reference and its lock; `None` if the page is not
    /// there any more. (Linux: `shmem_swapin_folio`)
    pub(crate) fn swap_in(
        this: Ref<P, Self>,
        index: PageIndex,
        number: u64,
    ) -> Result<Option<Folio>, CacheError> {
        let folio = Folio::alloc::<P>(Order::Small, false).ok_or(CacheError::NoMemory)?;
        folio.lock_new::<P>();
        let placed = P::enforces(Safeguard::SwapInPlaced);
        if !placed {
            P::swap_in(number, folio.pfn());
        }
        if !Self::replace_swap(this, index, number, folio)? {
            folio.unlock::<P>();
            folio.put::<P>(1);
            return Ok(None);
        }
        if placed {
            P::swap_in(number, folio.pfn());
        }
        folio.mark_uptodate::<P>();
        // There is no other copy of it from now on.
        folio.mark_dirty::<P>();
        swap::put::<P>(number);
        Ok(Some(folio))
    }

    /// Puts a folio in the place of a number. Whether it is still there.
    fn replace_swap(
        this: Ref<P, Self>,
        index: PageIndex,
        number: u64,
        folio: Folio,
    ) -> Result<bool, CacheError> {
        let _xa = this.lock_pages();
        let found = this.load_protected(index) == Entry::Swap(number);
        if found {
            let node = this.create_range(index)?;
            Self::store_folio(this, node, folio, index);
        }
        Ok(found)
    }

    /// Gives page `index` up, which was found to be in `number`. Whether it did: not if it is not there any more.
    /// (Linux: `shmem_free_swap`)
    pub(crate) fn free_swap(&self, index: PageIndex, number: u64) -> bool {
        {
            let _xa = self.lock_pages();
            let found = self.load_protected(index) == Entry::Swap(number);
            if !found && P::enforces(Safeguard::FreeSwapIfThere) {
                return false;
            }
            self.store_empty(index, Entry::None);
            P::observe(Fact::Emptied(self.id, index, None));
        }
        self.uncharge(1);
        swap::put::<P>(number);
        true
    }
}
