//! A huge folio becomes small ones, in its place in the cache (Linux: `split_huge_page`).
//!
//! Guarantee: whoever looks up one of its pages finds the huge folio, or the small one as it will be; who has a reference to the
//! huge folio keeps it whole.
//!
//! Locks, in order: the folio lock (the caller's), `i_mmap_rwsem`, page-table locks, `xa_lock`.
//!
//! Why that is enough: nobody maps the folio once it is unmapped, since that needs its lock. Then, under `xa_lock`, its count is
//! frozen, if it is what the cache and the caller have: so nobody has it pinned, nobody waits for its lock (who got that
//! lock later would take the first small folio for the huge one), and who finds it in its slot or in an old copy of
//! an entry gets no reference, and looks again. The small folios are made ready, and only then can be found. The
//! count of the first one, by whose name the huge one was known, is the last to be given free: who gets a reference by that name
//! looks again at where it found it, and sees the node.
//!
//! Parts behind the end of the object leave the cache: a truncation that found the folio in use has left them there.

use crate::addr::PageIndex;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::page_cache::{Entry, Mapping};
use crate::platform::{Order, Platform, Word};
use crate::protocol::Safeguard;
use crate::truncate::unmap_mapping_range;
use crate::zap::Markers;

/// The folio is huge as before: somebody has a reference to it, or there is no memory. (Linux: `-EAGAIN`, `-ENOMEM`)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Busy;

impl<P: Platform> Mapping<P> {
    /// Splits a huge folio of the cache, whose lock and one reference the caller has; these are then those of the first
    /// small folio. Its pages are not mapped afterwards.
    pub(crate) fn split_folio(this: Ref<P, Self>, folio: Folio) -> Result<(), Busy> {
        let start = folio.index::<P>();
        let pages = P::PTRS_PER_TABLE;
        let node = P::alloc_frames(Order::Small).ok_or(Busy)?;
        unmap_mapping_range(
            this,
            start.0..start.0 + pages as u64,
            Markers::KeepAllButFolio,
        );
        let kept;
        {
            let _xa = this.lock_pages();
            let frozen = folio.freeze::<P>(pages + 1);
            if !frozen && P::enforces(Safeguard::FreezeSplit) {
                P::free_frames(node, Order::Small);
                return Err(Busy);
            }
            kept = this.kept_parts(start);
            for i in 0..pages {
                let entry = if i < kept {
                    Entry::Folio(part(folio, i))
                } else {
                    Entry::None
                };
                Self::node_slot(node, start.add(i as u64)).store_protected(entry.bits());
            }
            let ready = P::enforces(Safeguard::InitBeforePublish);
            if ready {
                Self::init_parts(this, folio, start, kept);
            }
            // One reference is the cache's, one is ours.
            for i in 1..pages {
                part(folio, i).unfreeze::<P>(if i < kept { 2 } else { 1 });
            }
            for i in kept..pages {
                this.observe_removed(part(folio, i).pfn(), start.add(i as u64));
            }
            this.store_node(start, node);
            if P::enforces(Safeguard::CountSplitThp) {
                this.add_nr_thps_locked(-1);
            }
            if frozen {
                folio.unfreeze::<P>(2);
            } else {
                folio.put::<P>(pages - 1);
            }
            if !ready {
                Self::init_parts(this, folio, start, kept);
            }
        }
        this.uncharge(pages - kept);
        for i in 1..pages {
            part(folio, i).unlock::<P>();
            part(folio, i).put::<P>(1);
        }
        Ok(())
    }

    /// How many parts of a huge folio at `start` stay in the cache: not those behind the end, which a truncation has left there since it
    /// could not split the folio. The first one stays; if it is behind the end, a truncation is under way to it. The caller has
    /// `xa_lock`.
    fn kept_parts(&self, start: PageIndex) -> usize {
        let pages = P::PTRS_PER_TABLE as u64;
        if !P::enforces(Safeguard::SplitDropsTail) {
            return P::PTRS_PER_TABLE;
        }
        self.i_size().saturating_sub(start.0).clamp(1, pages) as usize
    }

    fn init_parts(this: Ref<P, Self>, folio: Folio, start: PageIndex, kept: usize) {
        for i in (0..P::PTRS_PER_TABLE).rev() {
            let mapping = (i < kept).then_some(this);
            folio.init_part::<P>(i, mapping, start.add(i as u64));
            if i > 0 {
                part(folio, i).lock_new::<P>();
            }
        }
    }
}

/// Frame `i` of a huge folio as a folio of its own.
fn part(folio: Folio, i: usize) -> Folio {
    Folio(folio.pfn().add(i))
}
