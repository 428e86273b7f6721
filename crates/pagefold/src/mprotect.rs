//! mprotect: what a process may do with a range (Linux: `mm/mprotect.c`).
//!
//! Guarantee: when it returns, no access goes through that the new protection forbids, by whatever cached translation. An
//! access that it allows anew may fault once more and then goes through.
//!
//! Locks, in order: `mmap_lock` for writing, the lock of each VMA for writing, then the lock of each table. First the flags
//! change, while no fault is under way in the VMA: later ones map pages as the flags say. Then the entries change, each
//! table under its lock. Retraction runs without these locks of the process: a table that vanished is looked for again, and
//! finds nothing, as the pages had been unmapped before. Then the translation caches are flushed.
//!
//! Write permission is taken from entries here, never given: the next write does that, as it has more to look at
//! (private pages, userfaultfd).

use crate::accounting::Fact;
use crate::addr::AddrRange;
use crate::arch::Pte;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::mmap::{MmapError, is_user_range};
use crate::notifier::NotifierRange;
use crate::page_table::{PmdRef, pmd_offset, pte_offset_map_lock};
use crate::platform::{FlushKind, Platform};
use crate::protocol::Safeguard;
use crate::tlb::{PendingFlush, flush_tlb_batched_pending, flush_tlb_range};
use crate::vma::{VM_ACCOUNT, VM_MAYWRITE, VM_READ, VM_WRITE, Vma, join_around, split_around};
use crate::zap::{next_table, split_huge_pmd};

/// What a process may do with a range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protection {
    /// Nothing (`PROT_NONE`).
    None,
    /// Read (`PROT_READ`).
    Read,
    /// Read and write (`PROT_READ | PROT_WRITE`).
    ReadWrite,
}

impl Protection {
    /// Whether an access may go on.
    #[must_use]
    pub const fn permits(self, write: bool) -> bool {
        match self {
            Self::None => false,
            Self::Read => !write,
            Self::ReadWrite => true,
        }
    }

    const fn flags(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Read => VM_READ,
            Self::ReadWrite => VM_READ | VM_WRITE,
        }
    }

    /// The present entry with what is forbidden taken away, and reading given back.
    const fn change(self, entry: Pte) -> Pte {
        match self {
            Self::None => entry.mk_inaccessible(),
            Self::Read => entry.mk_accessible().wrprotect(),
            Self::ReadWrite => entry.mk_accessible(),
        }
    }
}

/// Changes what the process may do with a range. (Linux: `mprotect`)
///
/// # Errors
/// [`MmapError::Access`] for writing to a file that was not open for that; [`MmapError::Invalid`] for a range that is none; [`MmapError::NoMemory`] if a part of it is not mapped: what lies before
/// that part has been changed.
pub fn mprotect<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    protection: Protection,
) -> Result<(), MmapError> {
    if !is_user_range::<P>(range) {
        return Err(MmapError::Invalid);
    }
    mm.mmap_write_lock();
    let mut rest = range;
    let mut result = Ok(());
    while rest.start < rest.end {
        let Some(vma) = mm.find_vma(rest.start) else {
            result = Err(MmapError::NoMemory);
            break;
        };
        if vma.flags_protected() & VM_MAYWRITE == 0 && protection.permits(true) {
            result = Err(MmapError::Access);
            break;
        }
        let part = AddrRange {
            start: rest.start,
            end: vma.range.end.min(rest.end),
        };
        if vma.protection() != protection {
            protect_part(mm, part, protection);
        }
        rest.start = part.end;
    }
    mm.mmap_write_unlock();
    result
}

/// Changes a part of a VMA.
fn protect_part<P: Platform>(mm: Ref<P, Mm<P>>, part: AddrRange, protection: Protection) {
    split_around(mm, part);
    let Some(vma) = mm.find_vma(part.start) else {
        return;
    };
    vma.start_write();
    let either = protection.max(vma.protection());
    P::observe(Fact::Permitted(mm.id, part, either));
    let others = vma.flags_protected() & !(VM_READ | VM_WRITE);
    vma.set_flags(promise(vma, others, protection) | protection.flags());
    change_protection(vma, protection);
    P::observe(Fact::Permitted(mm.id, part, protection));
    join_around(mm, part);
}

/// Whether memory is promised for private pages from now on: a promise is taken back only where there were none yet.
fn promise<P: Platform>(vma: Ref<P, Vma<P>>, flags: u64, protection: Protection) -> u64 {
    if protection.permits(true) && !vma.is_shared() {
        flags | VM_ACCOUNT
    } else if vma.is_anonymous() && vma.anon_vma_protected().is_none() {
        flags & !VM_ACCOUNT
    } else {
        flags
    }
}

/// Changes the entries of a VMA, and flushes. The caller has its lock for writing.
pub(crate) fn change_protection<P: Platform>(vma: Ref<P, Vma<P>>, protection: Protection) {
    let range = vma.range;
    let _notifier = NotifierRange::<P>::start(vma.mm, range);
    let pending = PendingFlush::begin(vma.mm);
    let mut stale = false;
    let mut addr = range.start;
    while range.contains(addr) {
        let end = next_table::<P>(addr, range);
        stale |= change_pmd(vma, AddrRange { start: addr, end }, protection);
        addr = end;
    }
    stale |= pending.is_nested();
    if stale && P::enforces(Safeguard::FlushOnMprotect) {
        flush_tlb_range(vma.mm, range, FlushKind::Leaves);
    }
}

/// The part that one upper entry serves. Whether a translation that allows more may be cached.
fn change_pmd<P: Platform>(vma: Ref<P, Vma<P>>, part: AddrRange, protection: Protection) -> bool {
    let Some(pmd) = pmd_offset(vma.mm, part.start) else {
        return false;
    };
    let whole = part.end.page() - part.start.page() == P::PTRS_PER_TABLE as u64;
    loop {
        let value = pmd.read_once("read pmd");
        if value.is_none() {
            return false;
        }
        let changed = if !value.is_leaf() {
            change_ptes(pmd, part, protection)
        } else if whole {
            change_huge_pmd(pmd, protection)
        } else {
            split_huge_pmd(vma, pmd);
            None
        };
        // What was there has vanished meanwhile, or was split: look at the same entry again.
        if let Some(stale) = changed {
            return stale;
        }
    }
}

/// Changes a huge entry. `None` if there is none any more. (Linux: `change_huge_pmd`)
fn change_huge_pmd<P: Platform>(pmd: PmdRef<P>, protection: Protection) -> Option<bool> {
    let _pml = pmd.lock();
    let value = pmd.load_protected();
    if value.as_migration().is_some() {
        // Who has it map a page looks at the flags.
        return Some(false);
    }
    if !value.is_huge() {
        return None;
    }
    let old = if P::enforces(Safeguard::ProtectHugeInPlace) {
        pmd.invalidate()
    } else {
        pmd.take("pmdp_huge_get_and_clear")
    };
    let new = protection.change(old);
    pmd.set("set_pmd", new);
    Some(allows_more(old, new))
}

/// Changes the entries of a table. `None` if there is none any more. (Linux: `change_pte_range`)
fn change_ptes<P: Platform>(
    pmd: PmdRef<P>,
    part: AddrRange,
    protection: Protection,
) -> Option<bool> {
    let table = pte_offset_map_lock(pmd)?;
    // Of pages that others have unmapped nothing is left here that would be flushed at the end.
    flush_tlb_batched_pending(pmd.mm);
    let mut stale = false;
    let mut addr = part.start;
    while part.contains(addr) {
        if table.get(addr).is_present() {
            table.change(addr, |old| {
                let new = protection.change(old);
                stale |= allows_more(old, new);
                new
            });
        }
        addr = addr.add_pages(1);
    }
    Some(stale)
}

/// Whether who has cached the old entry may do what the new one forbids.
const fn allows_more(old: Pte, new: Pte) -> bool {
    old.is_accessible() && !new.is_accessible() || old.is_writable() && !new.is_writable()
}
