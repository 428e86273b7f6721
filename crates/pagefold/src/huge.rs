//! Huge private pages: entries of upper tables that map pages without an object.
//!
//! Guarantees: each such entry has one reference to its folio, unless that is the huge page of zeros, and a table in store. When it is split, each page stays mapped as
//! it was; when it goes, its table goes too.
//!
//! Locks: pmd lock. The table that takes the place of a huge entry is known to nobody until the upper entry names it, so
//! its own lock is not needed.
//!
//! Who has only `mmap_lock` or a VMA lock for reading may split, zap and write-protect at the same time as others. Each of them
//! looks again, with the pmd lock held, whether the huge entry is still there.
//!
//! No CPU has cached translations of both sizes: while an entry is split it is invalid to hardware, and flushed, before a table takes
//! its place. To software it is a huge page all the time, so that who looks at it without the lock does not take the pages for gone.

use crate::accounting::{self, Fact, PageKind};
use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::arch::{Migration, Pte};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::notifier::NotifierRange;
use crate::page_table::{
    PmdRef, PteLocked, deposit_table, fill_table, free_table_now, new_table, pmd_alloc,
    pte_offset_map_lock, withdraw_table,
};
use crate::platform::{FlushKind, Platform};
use crate::protocol::Safeguard;
use crate::rmap::add_mapping;
use crate::step::Step;
use crate::tlb::flush_tlb_range;
use crate::vma::Vma;
use crate::zero::is_huge_zero;

/// Maps a new huge page of `range` that belongs to this process alone, whose reference goes to the entry. It has a table in store. The
/// caller has the pmd lock. (Linux: `map_anon_folio_pmd`)
pub(crate) fn map_private<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    range: AddrRange,
    folio: Folio,
) {
    folio.set_anon::<P>(vma.anon_vma_of_page(), vma.index_of(range.start));
    add_mapping(folio, vma, P::PTRS_PER_TABLE, PageKind::Anon);
    for (page, addr) in range.each_page().enumerate() {
        P::observe(Fact::PrivateCopy(vma.mm.id, addr, folio.pfn().add(page)));
    }
    let entry = Pte::huge(folio.pfn(), true).mk_dirty();
    pmd.set("set_pmd", vma.protect(entry));
}

/// Whether an upper entry that is none, and no table, has a table in store: that of a private huge page, which may be on its way to other
/// frames, and that of the one of zeros.
pub(crate) fn is_private<P: Platform>(value: Pte) -> bool {
    value.as_migration().is_some()
        || is_huge_zero::<P>(value)
        || Folio::of::<P>(value.pfn()).is_anon::<P>()
}

/// Maps the pages of a huge private page, whose entry is `value`, singly. The caller has the pmd lock.
/// (Linux: `__split_huge_pmd_locked`)
pub(crate) fn split_private<P: Platform>(pmd: PmdRef<P>, value: Pte, range: AddrRange) {
    let table = withdraw_table(pmd);
    let invalidates = P::enforces(Safeguard::SplitInvalidate);
    let value = if invalidates {
        let old = pmd.invalidate();
        flush_tlb_range(pmd.mm, range, FlushKind::LeavesAndTables);
        old
    } else {
        value
    };
    if P::enforces(Safeguard::SplitFillFirst) {
        fill_with_pieces(pmd, table, value, range);
        pmd.set("pmd_populate", Pte::table(table));
    } else {
        pmd.set("pmd_populate", Pte::table(table));
        fill_with_pieces(pmd, table, value, range);
    }
    if !invalidates {
        flush_tlb_range(pmd.mm, range, FlushKind::LeavesAndTables);
    }
}

/// Has small entries stand for the pages of a huge one that is on its way to other frames. The caller has the pmd lock.
pub(crate) fn split_migration<P: Platform>(pmd: PmdRef<P>, huge: Migration, range: AddrRange) {
    let table = withdraw_table(pmd);
    fill_table::<P>(table, pmd.mm.id, range, |page| {
        let pfn = huge.pfn.add(page);
        Pte::migration(Migration { pfn, ..huge })
    });
    pmd.set("pmd_populate", Pte::table(table));
}

/// The entries have references and are counted before anybody can take one of them away.
fn fill_with_pieces<P: Platform>(pmd: PmdRef<P>, table: Pfn, value: Pte, range: AddrRange) {
    if is_huge_zero::<P>(value) {
        fill_table::<P>(table, pmd.mm.id, range, |_| value.small(P::zero_page()));
        return;
    }
    let pages = P::PTRS_PER_TABLE;
    let folio = Folio::of::<P>(value.pfn());
    folio.get::<P>(pages - 1);
    for _ in 1..pages {
        P::observe(Fact::Mapped(folio.pfn(), PageKind::Anon, 1));
    }
    if P::enforces(Safeguard::SplitCountFirst) {
        folio.add_mapcount::<P>(pages as i64 - 1);
    } else {
        folio.add_mapcount::<P>(-1);
        folio.add_mapcount::<P>(pages as i64);
    }
    // From here on, each page has a mark of its own.
    let exclusive = Folio::is_exclusive::<P>(folio.pfn());
    for page in 1..pages {
        Folio::set_exclusive::<P>(folio.pfn().add(page), exclusive);
    }
    fill_table::<P>(table, pmd.mm.id, range, |page| value.piece(page));
}

/// Makes small folios of the huge private one that the small entry of `addr` maps, and to which the caller has a reference. Whether it did, as
/// [`split_private_folio`] says; `None` if the entry maps it no more.
pub(crate) fn split_folio<P: Platform>(
    pmd: PmdRef<P>,
    addr: VirtAddr,
    folio: Folio,
) -> Option<bool> {
    let pages = P::PTRS_PER_TABLE;
    let range = AddrRange::pages(addr.huge_start(pages), pages as u64);
    // Pages of zeros are given up by it, which followers may have taken over.
    let _notifier =
        P::enforces(Safeguard::SplitNotifier).then(|| NotifierRange::<P>::start(pmd.mm, range));
    let table = pte_offset_map_lock(pmd)?;
    let pte = table.get(addr);
    let maps_it = pte.is_present() && Folio::of::<P>(pte.pfn()) == folio;
    maps_it.then(|| split_private_folio(&table, folio))
}

/// Makes small folios of a huge private one, of whose pages `table` maps all that are still mapped, each for this process alone. Whether
/// it did: not if anybody but the caller and these entries has a reference. The caller has the lock of the table, and a
/// reference, which is then one to the first small folio. (Linux: `split_folio`)
///
/// While the count is frozen nobody gets a reference, and who has the lock of no table where it is mapped has no other way to it.
/// Linux first replaces the entries by others that are waited for; here the lock of the one table does that.
fn split_private_folio<P: Platform>(table: &PteLocked<P>, folio: Folio) -> bool {
    let pages = P::PTRS_PER_TABLE;
    let start = table.pmd.addr.huge_start(pages);
    let all = folio.pfn()..folio.pfn().add(pages);
    let entries = || {
        (0..pages)
            .map(|page| table.get(start.add_pages(page as u64)))
            .filter(|pte| pte.is_present() && all.contains(&pte.pfn()))
    };
    let mapped = entries().count();
    let frozen = folio.freeze::<P>(mapped + 1);
    if !frozen && P::enforces(Safeguard::FreezeSplit) {
        return false;
    }
    folio.add_mapcount::<P>(-(mapped as i64));
    for i in (0..pages).rev() {
        folio.init_private_part::<P>(i);
    }
    for pte in entries() {
        P::observe(Fact::Mapped(folio.pfn(), PageKind::Anon, -1));
        P::observe(Fact::Mapped(pte.pfn(), PageKind::Anon, 1));
        Folio::of::<P>(pte.pfn()).add_mapcount::<P>(1);
    }
    for i in 1..pages {
        let part = Folio::of::<P>(folio.pfn().add(i));
        // Of a page that is not mapped any more this is the last reference.
        part.unfreeze::<P>(1);
        if !part.is_mapped::<P>() {
            part.put::<P>(1);
        }
    }
    let own = usize::from(folio.is_mapped::<P>());
    if frozen {
        folio.unfreeze::<P>(own + 1);
    } else {
        folio.put::<P>(mapped - own);
    }
    if P::protocol().drops_zeros_at_split {
        for addr in AddrRange::pages(start, pages as u64).each_page() {
            let pte = table.get(addr);
            if pte.is_present() && all.contains(&pte.pfn()) {
                let owners = if pte.pfn() == folio.pfn() { 2 } else { 1 };
                map_zeros(table, addr, pte, owners);
            }
        }
    }
    true
}

/// Maps the page of zeros in place of a private one that holds nothing else, if nobody but the entry and its caller has a reference to that: so
/// many are there then. The caller has the lock of the table. (Linux: `try_to_map_unused_to_zeropage`)
///
/// Once it has no entry any more, and that is flushed, nobody writes the page: what was read of it before that is only a reason to try.
fn map_zeros<P: Platform>(table: &PteLocked<P>, addr: VirtAddr, pte: Pte, owners: usize) {
    let page = Folio::of::<P>(pte.pfn());
    if !P::is_cleared(page.pfn()) || !page.freeze::<P>(owners) {
        return;
    }
    let mm = table.pmd.mm;
    let range = AddrRange::pages(addr, 1);
    let old = table.take(addr);
    flush_tlb_range(mm, range, FlushKind::Leaves);
    if P::enforces(Safeguard::RecheckZeros) && !P::is_cleared(page.pfn()) {
        table.set(addr, old);
        page.unfreeze::<P>(owners);
        return;
    }
    P::observe(Fact::Mapped(page.pfn(), PageKind::Anon, -1));
    page.add_mapcount::<P>(-1);
    accounting::add_mm_counter(&*mm, PageKind::Anon, -1);
    page.unfreeze::<P>(owners);
    page.put::<P>(1);
    P::observe(Fact::PrivateCopy(mm.id, addr, P::zero_page()));
    let kept = if P::enforces(Safeguard::ZerosKeepUffdWp) {
        old
    } else {
        old.clear_uffd_wp()
    };
    table.set(addr, kept.mk_clean().wrprotect().small(P::zero_page()));
}

/// A huge private page was taken out of its upper entry: its table goes as well. The caller has the pmd lock. Nobody can be in the
/// table: who was when it was attached was waited for before it was put in store. (Linux: `zap_deposited_table`)
pub(crate) fn free_deposited_table<P: Platform>(pmd: PmdRef<P>) {
    let table = withdraw_table(pmd);
    accounting::mm_dec_nr_ptes::<P>(&pmd.mm);
    free_table_now::<P>(table);
}

/// Why fork did not share what an upper entry of the parent maps.
pub(crate) enum NotCopied {
    /// It maps no huge private page.
    NotPrivate,
    /// The page is pinned: the child needs copies of its small pages.
    Pinned,
    /// There was no frame for a table of the child.
    NoMemory,
}

/// Gives a child the huge private page that an upper entry of its parent maps. Both may only read it then.
/// (Linux: `copy_huge_pmd`)
///
/// The caller has both `mmap_lock`s and the VMA lock of the parent, for writing.
pub(crate) fn copy_huge_pmd<P: Platform>(
    new: Ref<P, Vma<P>>,
    old: Ref<P, Vma<P>>,
    source: PmdRef<P>,
) -> Result<(), NotCopied> {
    if !old.is_anonymous() {
        return Err(NotCopied::NotPrivate);
    }
    let pmd = pmd_alloc(new.mm, source.addr).ok_or(NotCopied::NoMemory)?;
    let table = new_table::<P>().ok_or(NotCopied::NoMemory)?;
    let result = {
        let _pml = pmd.lock();
        // Of two locks of one class: see `fork`.
        let _source_pml =
            source
                .lockptr()
                .lock_nested(Step::Pmd("pmd_lock", old.mm.id, source.addr));
        share_locked(new, old, pmd, source).map(|()| {
            accounting::mm_inc_nr_ptes::<P>(&new.mm);
            deposit_table(pmd, table);
        })
    };
    if result.is_err() {
        free_table_now::<P>(table);
    }
    result
}

fn share_locked<P: Platform>(
    new: Ref<P, Vma<P>>,
    old: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    source: PmdRef<P>,
) -> Result<(), NotCopied> {
    let value = source.load_protected();
    if let Some(migration) = value.as_migration() {
        let shared = share_migration::<P>(migration);
        for addr in AddrRange::pages(
            source.addr.huge_start(P::PTRS_PER_TABLE),
            P::PTRS_PER_TABLE as u64,
        )
        .each_page()
        {
            P::observe(Fact::ForkedAbsent(old.mm.id, new.mm.id, addr));
        }
        accounting::add_mm_counter(&*new.mm, PageKind::Anon, P::PTRS_PER_TABLE as i64);
        if shared != migration {
            source.set("set_pmd", Pte::migration(shared));
        }
        pmd.set("set_pmd", Pte::migration(shared));
        return Ok(());
    }
    if !value.is_huge() {
        return Err(NotCopied::NotPrivate);
    }
    if is_huge_zero::<P>(value) {
        pmd.set("set_pmd", value);
        return Ok(());
    }
    let folio = Folio::of::<P>(value.pfn());
    if P::enforces(Safeguard::ForkCopyPinned) && folio.maybe_pinned::<P>() {
        return Err(NotCopied::Pinned);
    }
    if Folio::is_exclusive::<P>(folio.pfn()) {
        Folio::set_exclusive::<P>(folio.pfn(), false);
    }
    folio.get::<P>(1);
    add_mapping(folio, new, P::PTRS_PER_TABLE, PageKind::Anon);
    for page in 0..P::PTRS_PER_TABLE {
        let addr = source
            .addr
            .huge_start(P::PTRS_PER_TABLE)
            .add_pages(page as u64);
        let pfn = folio.pfn().add(page);
        P::observe(Fact::ForkedPage(old.mm.id, new.mm.id, addr, pfn));
    }
    if P::enforces(Safeguard::ForkWriteProtect) && value.is_writable() {
        source.set("pmdp_set_wrprotect", value.wrprotect());
    }
    pmd.set("set_pmd", value.wrprotect());
    Ok(())
}

/// What stands for a page on its way to another frame once a child maps it as well: both may only read it then.
pub(crate) fn share_migration<P: Platform>(migration: Migration) -> Migration {
    if P::enforces(Safeguard::ForkMigrationShared) {
        Migration {
            writable: false,
            exclusive: false,
            ..migration
        }
    } else {
        migration
    }
}
