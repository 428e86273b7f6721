//! UFFDIO_WRITEPROTECT: pages whose next write is an event.
//!
//! Guarantee: when protecting returns, no write goes through without an event, not by a cached translation either.
//!
//! Secondary MMUs are told as well: what a guest or a device has cached would let writes through.
//!
//! Locks, in order: `mmap_lock` for reading (for writing when a registration ends), lock of the table.

use crate::accounting::Fact;
use crate::addr::{AddrRange, VirtAddr};
use crate::arch::{Marker, Migration, Pte, Swap};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_table::{pmd_alloc, pmd_offset, pte_alloc, pte_offset_map_lock};
use crate::platform::{FlushKind, Platform};
use crate::protocol::Safeguard;
use crate::tlb::flush_tlb_range;
use crate::userfault::UffdError;
use crate::userfault::fill::{wake, with_registered};
use crate::vma::Vma;
use crate::zap::split_huge_pmd;

/// Protects the page at `addr` against writes, whether it is there or not, or takes the protection back.
/// (Linux: `UFFDIO_WRITEPROTECT`)
///
/// # Errors
/// [`UffdError::NoEntry`] if there is no VMA registered for it, [`UffdError::NoMemory`].
pub fn writeprotect<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    protect: bool,
) -> Result<(), UffdError> {
    with_registered(mm, addr, Vma::is_uffd_wp_protected, |vma| {
        if protect {
            return protect_page(vma, addr);
        }
        // No part of a huge page is changed.
        let pmd = pmd_offset(mm, addr).filter(|pmd| pmd.read_once("read pmd").is_leaf());
        if let Some(pmd) = pmd {
            split_huge_pmd(vma, pmd);
        }
        unprotect(vma, addr);
        wake(vma, addr);
        Ok(())
    })
}

/// Linux: `change_protection` with `MM_CP_UFFD_WP`, which makes a table to put the marker in.
fn protect_page<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    let pmd = pmd_alloc(vma.mm, addr).ok_or(UffdError::NoMemory)?;
    let range = AddrRange::pages(addr, 1);
    let _notifier = NotifierRange::<P>::start(vma.mm, range);
    loop {
        if pmd.read_once("read pmd").is_leaf() {
            split_huge_pmd(vma, pmd);
        }
        if !pte_alloc(pmd) {
            return Err(UffdError::NoMemory);
        }
        // The table may be gone again, or a huge page be there: start over.
        let Some(table) = pte_offset_map_lock(pmd) else {
            continue;
        };
        let old = table.get(addr);
        if old.is_present() {
            P::observe(Fact::Protected(vma.mm.id, addr));
            table.change(addr, Pte::mk_uffd_wp);
        } else if old.is_none() {
            P::observe(Fact::Protected(vma.mm.id, addr));
            table.set_marker(addr, Marker::UffdWp);
        } else if let Some(swap) = old.as_swap() {
            P::observe(Fact::Protected(vma.mm.id, addr));
            table.set_swap(
                addr,
                Swap {
                    uffd_wp: true,
                    ..swap
                },
            );
        } else if let Some(migration) = old.as_migration() {
            P::observe(Fact::Protected(vma.mm.id, addr));
            table.set_migration(
                addr,
                Migration {
                    uffd_wp: true,
                    ..migration
                },
            );
        }
        // Else it is protected already, or poisoned: then any access ends in a signal.
        drop(table);
        if P::enforces(Safeguard::FlushOnProtect) {
            flush_tlb_range(vma.mm, range, FlushKind::Leaves);
        }
        return Ok(());
    }
}

pub(super) fn unprotect<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr) {
    let Some(table) = pmd_offset(vma.mm, addr).and_then(pte_offset_map_lock) else {
        return;
    };
    let old = table.get(addr);
    P::observe(Fact::Unprotected(vma.mm.id, addr));
    if old.is_uffd_wp() {
        table.change(addr, Pte::clear_uffd_wp);
    } else if old.as_marker() == Some(Marker::UffdWp) {
        table.take(addr);
    } else if let Some(swap) = old.as_swap() {
        table.set_swap(
            addr,
            Swap {
                uffd_wp: false,
                ..swap
            },
        );
    } else if let Some(migration) = old.as_migration() {
        table.set_migration(
            addr,
            Migration {
                uffd_wp: false,
                ..migration
            },
        );
    }
}
