//! Migration: a private page moves to another frame, while processes use it (Linux: `mm/migrate.c`). Compaction does that to have frames
//! for huge pages, NUMA balancing to have pages near who uses them.
//!
//! Guarantee: all who map the page map it in the new frame afterwards, with its content and as they mapped it; or nothing has happened. A page that
//! somebody has got stays where it is.
//!
//! Locks, in order: folio lock, `rwsem` of the family for reading, (notifier), pmd lock or lock of a table. No lock of any process is held.
//!
//! Why that is enough: first each entry that maps the page is replaced by a *migration entry*, and flushed before the lock of its table is given back.
//! Then nobody can use the page any more but who has a reference, and these are counted. Then it is copied. Then each migration entry is
//! replaced by one that maps the new frame; or, if there was another reference or the memory has gone bad, the old one.
//!
//! * Who finds a migration entry by a fault waits for the folio's lock, and looks again.
//! * Who takes entries away or moves them does so with migration entries, too; fork copies them. That the second walk comes to each of
//!   them rests on the order of the family's list: a child, or the place that pages move to, stands behind what it has its entries from. (Linux: order of insertion
//!   in the interval tree)
//! * A migration entry counts as a resident page of its process, and has no reference.
//! * Who looks at an upper entry without its lock takes an empty one for nothing: so it is not empty in between.
//! * That of a huge page has a table in store, as the huge page had. Who would split the huge page splits the entry.
//!
//! Pages of objects stay here. In Linux they go, too.

use crate::accounting::{Fact, PageKind};
use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::arch::{Migration, Pte};
use crate::folio::{Folio, copy_mc_page};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_table::{PmdRef, PteLocked, pmd_offset, pte_offset_map_lock};
use crate::platform::{FlushKind, Order, Platform};
use crate::protocol::Safeguard;
use crate::rmap::{Family, add_rmap, find_private_page, remove_rmap};
use crate::tlb::flush_tlb_range_notify;
use crate::vma::Vma;
use crate::zap::next_table;
use crate::zero::is_zero_page;

/// Moves the private page at an address to another frame, the whole of it if it is huge. Whether it did: not if there is none, no frame is free, or
/// anybody has a reference to it who is no entry. (Linux: `migrate_pages`)
///
/// The address is only how the page is found; Linux finds it in the frames that are to become free.
pub fn migrate<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> bool {
    let Some((folio, _)) = find_private_page(mm, addr) else {
        return false;
    };
    let moved = folio.try_lock::<P>() && {
        let moved = migrate_locked::<P>(folio);
        folio.unlock::<P>();
        moved
    };
    folio.put::<P>(1);
    moved
}

/// The caller has the lock of the folio and a reference.
fn migrate_locked<P: Platform>(folio: Folio) -> bool {
    let order = if folio.is_huge::<P>() {
        Order::Huge
    } else {
        Order::Small
    };
    let Some(new) = Folio::alloc::<P>(order, true) else {
        return false;
    };
    new.lock_new::<P>();
    new.set_unowned::<P>();
    let moved = Family::of(folio).is_some_and(|family| move_folio::<P>(&family, folio, new));
    new.unlock::<P>();
    new.put::<P>(1);
    moved
}

fn move_folio<P: Platform>(family: &Family<P>, folio: Folio, new: Folio) -> bool {
    let (index, pages) = (folio.index::<P>(), folio.pages::<P>());
    family.walk(index, pages, |vma, range| {
        each_table(vma, range, |pmd, part| {
            try_to_migrate(vma, pmd, part, folio)
        });
    });
    // Only the caller's. (Linux: `folio_expected_ref_count`)
    let unused = !P::enforces(Safeguard::MigrateRefcount) || folio.refcount::<P>() == 1;
    let moved = unused
        && !folio.is_mapped::<P>()
        && (0..pages).all(|page| copy_mc_page::<P>(new.pfn().add(page), folio.pfn().add(page)));
    if moved {
        new.move_anon::<P>(Some(family.anon_vma()), index);
        new.mark_uptodate::<P>();
    }
    let to = if moved { new } else { folio };
    family.walk(index, pages, |vma, range| {
        each_table(vma, range, |pmd, part| {
            remove_migration_entries(vma, pmd, part, folio, to);
        });
    });
    moved
}

/// Visits the upper entries that serve a range, and what of it each serves.
fn each_table<P: Platform>(
    vma: Ref<P, Vma<P>>,
    range: AddrRange,
    mut visit: impl FnMut(PmdRef<P>, AddrRange),
) {
    let mut start = range.start;
    while start < range.end {
        let end = next_table::<P>(start, range);
        if let Some(pmd) = pmd_offset(vma.mm, start) {
            visit(pmd, AddrRange { start, end });
        }
        start = end;
    }
}

/// Which page of a folio is in a frame.
fn page_of<P: Platform>(folio: Folio, pfn: Pfn) -> Option<usize> {
    let page = pfn.0.checked_sub(folio.pfn().0)? as usize;
    (page < folio.pages::<P>()).then_some(page)
}

/// Replaces the entries of a part that map pages of a folio. (Linux: `try_to_migrate_one`, `set_pmd_migration_entry`)
fn try_to_migrate<P: Platform>(vma: Ref<P, Vma<P>>, pmd: PmdRef<P>, part: AddrRange, folio: Folio) {
    let _notifier = NotifierRange::<P>::start(vma.mm, part);
    loop {
        if let Some(table) = pte_offset_map_lock(pmd) {
            for addr in part.each_page() {
                migrate_pte(vma, &table, addr, folio);
            }
            return;
        }
        let _pml = pmd.lock();
        let value = pmd.load_protected();
        if value.is_table() {
            continue;
        }
        if value.is_huge() && value.pfn() == folio.pfn() {
            let old = if P::enforces(Safeguard::MigrateInvalidate) {
                pmd.invalidate()
            } else {
                pmd.take("pmdp_huge_clear_flush")
            };
            flush(vma, part, FlushKind::LeavesAndTables);
            pmd.set("set_pmd", Pte::migration(leave::<P>(old, folio)));
        }
        return;
    }
}

fn migrate_pte<P: Platform>(
    vma: Ref<P, Vma<P>>,
    table: &PteLocked<P>,
    addr: VirtAddr,
    folio: Folio,
) {
    let entry = table.get(addr);
    let mapped = entry.is_page() && !is_zero_page::<P>(entry.pfn());
    if !mapped || page_of::<P>(folio, entry.pfn()).is_none() {
        return;
    }
    let old = table.take(addr);
    flush(vma, AddrRange::pages(addr, 1), FlushKind::Leaves);
    table.set_migration(addr, leave::<P>(old, folio));
}

fn flush<P: Platform>(vma: Ref<P, Vma<P>>, range: AddrRange, kind: FlushKind) {
    if P::enforces(Safeguard::FlushOnMigrate) {
        flush_tlb_range_notify(vma.mm, range, kind);
    }
}

/// What is to stand for an entry that mapped a page of a folio, and was emptied. Its reference is given back. The caller has the lock of the entry.
fn leave<P: Platform>(old: Pte, folio: Folio) -> Migration {
    let exclusive = Folio::is_exclusive::<P>(old.pfn());
    if exclusive {
        Folio::set_exclusive::<P>(old.pfn(), false);
    }
    remove_rmap::<P>(folio, PageKind::Anon);
    // After the entry was emptied: who gets a reference after this (GUP-fast) sees that, see `Folio::try_get`.
    folio.put::<P>(1);
    Migration {
        pfn: old.pfn(),
        writable: old.is_writable(),
        exclusive,
        uffd_wp: old.is_uffd_wp() && P::enforces(Safeguard::MigrateUffdWp),
    }
}

/// Has the migration entries of a part that stand for pages of `from` map those of `to`. (Linux: `remove_migration_pte`,
/// `remove_migration_pmd`)
fn remove_migration_entries<P: Platform>(
    vma: Ref<P, Vma<P>>,
    pmd: PmdRef<P>,
    part: AddrRange,
    from: Folio,
    to: Folio,
) {
    loop {
        if let Some(table) = pte_offset_map_lock(pmd) {
            for addr in part.each_page() {
                if let Some((migration, page)) = stands_for::<P>(table.get(addr), from) {
                    let pfn = to.pfn().add(page);
                    P::observe(Fact::Migrated(vma.mm.id, addr, migration.pfn, pfn));
                    let entry = Pte::page(pfn, migration.writable);
                    table.set(addr, arrive(vma, migration, to, entry));
                }
            }
            return;
        }
        let _pml = pmd.lock();
        let value = pmd.load_protected();
        if value.is_table() {
            continue;
        }
        if let Some((migration, _)) = stands_for::<P>(value, from) {
            for (page, addr) in part.each_page().enumerate() {
                let (from, to) = (from.pfn().add(page), to.pfn().add(page));
                P::observe(Fact::Migrated(vma.mm.id, addr, from, to));
            }
            let entry = Pte::huge(to.pfn(), migration.writable);
            pmd.set("set_pmd", arrive(vma, migration, to, entry));
        }
        return;
    }
}

/// The page of a folio that an entry stands for.
fn stands_for<P: Platform>(entry: Pte, folio: Folio) -> Option<(Migration, usize)> {
    let migration = entry.as_migration()?;
    Some((migration, page_of::<P>(folio, migration.pfn)?))
}

/// Makes an entry for the page that has arrived, as the migration entry has it, with a reference. The caller has the lock of the entry.
fn arrive<P: Platform>(vma: Ref<P, Vma<P>>, migration: Migration, to: Folio, entry: Pte) -> Pte {
    to.get::<P>(1);
    add_rmap::<P>(to, PageKind::Anon);
    if migration.exclusive {
        Folio::set_exclusive::<P>(entry.pfn(), true);
    }
    let entry = entry.mk_dirty();
    vma.protect_locked(if migration.uffd_wp {
        entry.mk_uffd_wp()
    } else {
        entry
    })
}

/// Waits until the page that the migration entry of an address stands for has arrived, or stays. If that is none any more, there is
/// nothing to wait for. (Linux: `migration_entry_wait`)
///
/// This takes a reference meanwhile, so that the page may have to stay. (Linux up to 5.18)
pub(crate) fn wait<P: Platform>(pmd: PmdRef<P>, addr: VirtAddr) {
    let Some(folio) = get_leaving(pmd, addr) else {
        return;
    };
    folio.lock::<P>();
    folio.unlock::<P>();
    folio.put::<P>(1);
}

/// The folio that a migration entry stands for, with a reference: while its lock is held the folio has one.
fn get_leaving<P: Platform>(pmd: PmdRef<P>, addr: VirtAddr) -> Option<Folio> {
    let take = |entry: Pte| {
        let folio = Folio::of::<P>(entry.as_migration()?.pfn);
        folio.get::<P>(1);
        Some(folio)
    };
    if let Some(table) = pte_offset_map_lock(pmd) {
        return take(table.get(addr));
    }
    let _pml = pmd.lock();
    take(pmd.load_protected())
}
