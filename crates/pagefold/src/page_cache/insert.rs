//! New pages come into the cache.

use crate::addr::{PageIndex, Pfn};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{CacheError, Entry, Mapping};
use crate::platform::{Order, Platform, Word};
use crate::protocol::Safeguard;
use crate::step::Step;

impl<P: Platform> Mapping<P> {
    /// Inserts a new small folio, whose lock the caller has, at `index`. The cache takes a reference.
    pub(crate) fn add_folio(
        this: Ref<P, Self>,
        folio: Folio,
        index: PageIndex,
    ) -> Result<(), CacheError> {
        Self::insert(this, folio, index)?;
        this.charge(1);
        Ok(())
    }

    fn insert(this: Ref<P, Self>, folio: Folio, index: PageIndex) -> Result<(), CacheError> {
        let _xa = this.lock_pages();
        // Truncation changes the size under this lock, and then looks for pages to remove.
        if index.0 >= this.i_size() && P::enforces(Safeguard::SizeAtInsert) {
            return Err(CacheError::BeyondEnd);
        }
        let node = this.create_range(index)?;
        if Self::node_slot(node, index).load_protected() != Entry::None.bits() {
            return Err(CacheError::Occupied);
        }
        Self::store_folio(this, node, folio, index);
        Ok(())
    }

    /// Inserts a new huge folio, up to date, whose lock the caller has, at `start`, where all is a hole and before the end of the object.
    /// The cache takes references.
    pub(crate) fn add_huge_folio(
        this: Ref<P, Self>,
        folio: Folio,
        start: PageIndex,
    ) -> Result<(), CacheError> {
        Self::insert_huge(this, folio, start)?;
        this.charge(P::PTRS_PER_TABLE);
        Ok(())
    }

    fn insert_huge(this: Ref<P, Self>, folio: Folio, start: PageIndex) -> Result<(), CacheError> {
        let _xa = this.lock_pages();
        let end = start.add(P::PTRS_PER_TABLE as u64);
        if end.0 > this.i_size() && P::enforces(Safeguard::SizeAtInsert) {
            return Err(CacheError::BeyondEnd);
        }
        let mut indices = (start.0..end.0).map(PageIndex);
        if P::enforces(Safeguard::RecheckHoles)
            && indices.any(|index| this.load_protected(index) != Entry::None)
        {
            return Err(CacheError::Occupied);
        }
        folio.set_mapping::<P>(Some(this), start);
        folio.get::<P>(P::PTRS_PER_TABLE);
        this.store_huge(start, folio);
        Ok(())
    }

    /// Has the slot of `index` in a node name a new folio, whose lock the caller has; `xa_lock` as well.
    pub(super) fn store_folio(this: Ref<P, Self>, node: Pfn, folio: Folio, index: PageIndex) {
        folio.set_mapping::<P>(Some(this), index);
        folio.get::<P>(1);
        P::step(Step::SetSlot(
            "xas_store",
            this.id,
            index,
            Entry::Folio(folio),
        ));
        Self::node_slot(node, index).write_once(Entry::Folio(folio).bits());
    }

    /// Fills a hole at `index`; `fill` writes the content into a new frame. (Linux: `write`, `fallocate`)
    ///
    /// # Errors
    /// [`CacheError`]; nothing has changed then.
    pub fn fill_page(
        this: Ref<P, Self>,
        index: PageIndex,
        fill: impl FnOnce(Pfn),
    ) -> Result<(), CacheError> {
        let folio = Folio::alloc::<P>(Order::Small, false).ok_or(CacheError::NoMemory)?;
        fill(folio.pfn());
        folio.mark_uptodate::<P>();
        folio.lock_new::<P>();
        let result = Self::add_folio(this, folio, index);
        folio.unlock::<P>();
        folio.put::<P>(1);
        result
    }
}
