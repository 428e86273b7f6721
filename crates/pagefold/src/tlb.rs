//! Translation caches: when they have to forget what.
//!
//! Guarantee: when a page is given away, no CPU and no device can reach it through a cached translation; when a table
//! is given away, none can walk it through a cached upper-level entry. So every removal of an entry is followed
//! by a flush *before* the page is copied or freed; flushes are batched where the pages are held on to meanwhile.

use crate::accounting::Fact;
use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::arch::{Format, Pte};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_table::{PmdRef, free_table_now};
use crate::platform::{FlushKind, Platform, RefCount, Word};
use crate::protocol::{Safeguard, SecondaryTlb};
use crate::step::Step;

/// Flushes a range everywhere. (Linux: `flush_tlb_range`)
pub(crate) fn flush_tlb_range<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange, kind: FlushKind) {
    P::step(Step::Mm("flush_tlb_range", mm.id));
    P::flush_tlb(mm, range, kind);
    if P::protocol().secondary_tlb == SecondaryTlb::Flush {
        P::flush_secondary_tlb(mm, range, kind);
    }
}

/// As [`flush_tlb_range`], and does not leave IOMMUs to the end of the notifier range: the page is given away or replaced
/// before that. (Linux up to 6.5: an explicit `mmu_notifier_invalidate_range`)
pub(crate) fn flush_tlb_range_notify<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    kind: FlushKind,
) {
    flush_tlb_range(mm, range, kind);
    if P::protocol().secondary_tlb == SecondaryTlb::NotifierEnd {
        P::flush_secondary_tlb(mm, range, kind);
    }
}

/// The whole user address range.
pub(crate) const EVERYTHING: AddrRange = AddrRange {
    start: VirtAddr(0),
    end: VirtAddr(u64::MAX),
};

/// Takes the table or huge page out of an upper entry and makes everybody forget it. The caller has the pmd lock, or
/// other means to be the only one. Returns what was there; its table can still be walked by RCU readers.
/// (Linux: `pmdp_collapse_flush`)
pub(crate) fn pmdp_collapse_flush<P: Platform>(pmd: PmdRef<P>, range: AddrRange) -> Pte {
    let old = pmd.take("pmdp_collapse_flush: clear pmd");
    if P::enforces(Safeguard::FlushOnCollapse) {
        let kind = if P::enforces(Safeguard::FlushTables) {
            FlushKind::LeavesAndTables
        } else {
            FlushKind::Leaves
        };
        flush_tlb_range(pmd.mm, range, kind);
    }
    old
}

/// Has everybody forget what was just taken out of an upper entry, before an entry of another size can take its place: by who gives
/// the pmd lock up before it flushes all that it took. Only some machines need that, and Linux does not do it.
/// The caller has the pmd lock.
pub(crate) fn flush_before_make<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) {
    // It is a flush of the zap, only earlier.
    let flushes = P::enforces(Safeguard::FlushOnZap) && P::enforces(Safeguard::FlushBeforeMake);
    if P::Format::break_before_make() && flushes {
        flush_tlb_range_notify(mm, range, FlushKind::LeavesAndTables);
    }
}

/// Flushes an address space, if entries were taken from it whose flush was put off and may still be to come. For who relies
/// on translations being gone of entries that are gone. The caller has the lock of the table.
///
/// Whoever took an entry of this table has counted that under its lock. How far others have flushed saves work: it
/// is a number that was read before a flush, and written when that was over. Of two who flush, the later one to say so may have
/// read the smaller number; then somebody flushes once more.
pub(crate) fn flush_tlb_batched_pending<P: Platform>(mm: Ref<P, Mm<P>>) {
    if !P::enforces(Safeguard::BatchedFlushPending) {
        return;
    }
    P::step(Step::Mm("flush_tlb_batched_pending", mm.id));
    // An acquire, with which the flush is one of all entries that were counted: others have counted under locks of other tables, and
    // of these somebody else may rely on this flush.
    let batched = mm.tlb_flush_batched.read_acquire();
    P::step(Step::Mm("read how far others have flushed", mm.id));
    if batched != mm.tlb_flush_done.read_once() {
        flush_tlb_range(mm, EVERYTHING, FlushKind::Leaves);
        P::step(Step::Mm("note the flush of", mm.id));
        mm.tlb_flush_done.write_once(batched);
    }
}

/// Address spaces that wait for a flush at the same time.
const SPACES: usize = 64;

/// Address spaces from which pages were unmapped and that have to be flushed before the pages are used.
/// (Linux: `tlbflush_unmap_batch`)
#[must_use = "pages that were unmapped must be flushed before they are copied or freed"]
pub(crate) struct UnmapBatch<P: Platform> {
    spaces: [Option<Ref<P, Mm<P>>>; SPACES],
    used: usize,
    /// The one that a page was unmapped from last.
    last: usize,
}

impl<P: Platform> UnmapBatch<P> {
    pub(crate) fn new() -> Self {
        Self {
            spaces: [None; SPACES],
            used: 0,
            last: 0,
        }
    }

    /// Remembers that a page of `mm` was unmapped. The caller has the lock of the table.
    pub(crate) fn add(&mut self, mm: Ref<P, Mm<P>>) {
        P::step(Step::Mm("set_tlb_ubc_flush_pending", mm.id));
        // After the entry was emptied: who flushes having seen the number must not leave a walk that still finds the entry.
        mm.tlb_flush_batched.get_release(1);
        let used = &self.spaces[..self.used];
        // The pages of an object are unmapped from the same address spaces in the same order.
        let next = if self.last + 1 < used.len() {
            self.last + 1
        } else {
            0
        };
        let known = if used.get(next) == Some(&Some(mm)) {
            Some(next)
        } else {
            used.iter().position(|space| *space == Some(mm))
        };
        if let Some(known) = known {
            self.last = known;
            return;
        }
        if self.used == SPACES {
            self.flush();
        }
        self.spaces[self.used] = Some(mm);
        self.last = self.used;
        self.used += 1;
    }

    /// Flushes. (Linux: `try_to_unmap_flush`)
    pub(crate) fn flush(&mut self) {
        for mm in self.spaces[..self.used].iter().flatten() {
            flush_tlb_range(*mm, EVERYTHING, FlushKind::Leaves);
        }
        self.used = 0;
    }
}

/// Somebody who takes entries away under the lock of a table, and flushes when that lock is given up. Ends when this is dropped.
/// (Linux: `inc_tlb_flush_pending`)
///
/// Who finds an entry gone under the same lock has nothing to flush for it, and promises all the same that nobody uses it any more.
/// But whoever emptied it had counted himself before, and is counted until he has flushed: so it can be known
/// that there are others, and flushed for them.
pub(crate) struct PendingFlush<P: Platform> {
    mm: Ref<P, Mm<P>>,
}

impl<P: Platform> PendingFlush<P> {
    /// The caller has no page-table lock yet.
    pub(crate) fn begin(mm: Ref<P, Mm<P>>) -> Self {
        P::step(Step::Mm("inc_tlb_flush_pending", mm.id));
        mm.tlb_flush_pending.get(1);
        Self { mm }
    }

    /// Whether somebody else may have yet to flush what the caller found gone, who has had the locks of the tables.
    /// (Linux: `mm_tlb_flush_nested`)
    pub(crate) fn is_nested(&self) -> bool {
        if !P::enforces(Safeguard::FlushNested) {
            return false;
        }
        P::step(Step::Mm("mm_tlb_flush_nested", self.mm.id));
        self.mm.tlb_flush_pending.read() > 2
    }
}

impl<P: Platform> Drop for PendingFlush<P> {
    fn drop(&mut self) {
        P::step(Step::Mm("dec_tlb_flush_pending", self.mm.id));
        // The flush is over, and waited for those it concerns: nothing else comes by this number.
        self.mm.tlb_flush_pending.put_relaxed(1);
    }
}

/// Pages, and tables, that wait for a flush at the same time.
const BATCH: usize = 16;

/// Pages and tables that were taken out of page tables, and are given back once everybody forgot them.
/// (Linux: `mmu_gather`)
pub(crate) struct Gather<P: Platform> {
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    pages: [Option<Folio>; BATCH],
    nr_pages: usize,
    tables: [Option<Pfn>; BATCH],
    nr_tables: usize,
    /// Something was taken since the last flush.
    pending: bool,
    /// Nobody is left who might have translations cached. (Linux: `fullmm`)
    unused: bool,
    /// A page of an object is among it that was written, and that who has it cached may write without asking.
    dirty: bool,
}

impl<P: Platform> Gather<P> {
    pub(crate) fn new(mm: Ref<P, Mm<P>>, range: AddrRange) -> Self {
        Self {
            mm,
            range,
            pages: [None; BATCH],
            nr_pages: 0,
            tables: [None; BATCH],
            nr_tables: 0,
            pending: false,
            unused: false,
            dirty: false,
        }
    }

    /// As [`new`](Self::new), for an address space that no thread runs in any more: nothing need be flushed.
    pub(crate) fn without_users(mm: Ref<P, Mm<P>>, range: AddrRange) -> Self {
        Self {
            unused: true,
            ..Self::new(mm, range)
        }
    }

    /// Whether the next page needs a [`flush`](Self::flush) first.
    pub(crate) fn is_full(&self) -> bool {
        self.nr_pages == BATCH || self.nr_tables == BATCH
    }

    /// A page that is not mapped any more; its reference is given back after the flush. `written` says that it is one of an object
    /// and that its entry was dirty: see [`flush_dirty`](Self::flush_dirty).
    pub(crate) fn add_page(&mut self, folio: Folio, written: bool) {
        self.pages[self.nr_pages] = Some(folio);
        self.nr_pages += 1;
        self.pending = true;
        self.dirty |= written;
    }

    /// A table that is not attached any more, and that served `part` of the range.
    pub(crate) fn add_table(&mut self, table: Pfn, part: AddrRange) {
        P::observe(Fact::TableRemoved(table, self.mm.id, part));
        self.tables[self.nr_tables] = Some(table);
        self.nr_tables += 1;
        self.pending = true;
    }

    /// An entry without a page was changed.
    pub(crate) fn note_change(&mut self) {
        self.pending = true;
    }

    /// Flushes if a page was taken that somebody may still write without asking. The caller has the lock of the table.
    /// (Linux: `force_flush` in `zap_pte_range`)
    ///
    /// Who writes such a page back, or moves it out, looks under that lock for entries that write it. Where it finds none, nobody
    /// writes it any more.
    pub(crate) fn flush_dirty(&mut self) {
        if self.dirty && P::enforces(Safeguard::FlushDirtyZap) {
            self.flush_translations();
        }
        self.dirty = false;
    }

    fn flush_translations(&mut self) {
        if !self.pending {
            return;
        }
        self.pending = false;
        if P::enforces(Safeguard::FlushOnZap) && !self.unused {
            flush_tlb_range_notify(self.mm, self.range, FlushKind::LeavesAndTables);
        }
        P::observe(Fact::Forgotten(self.mm.id, self.range));
    }

    /// Flushes, then gives everything back. No spin lock may be held.
    pub(crate) fn flush(&mut self) {
        self.flush_translations();
        for folio in self.pages[..self.nr_pages].iter().flatten() {
            folio.put::<P>(1);
        }
        self.nr_pages = 0;
        for table in self.tables[..self.nr_tables].iter().flatten() {
            let table = *table;
            if P::enforces(Safeguard::DeferZapTables) {
                P::step(Step::Folio("tlb_remove_table", table));
                P::call_rcu(move || free_table_now::<P>(table));
            } else {
                free_table_now::<P>(table);
            }
        }
        self.nr_tables = 0;
    }
}
