//! mremap: a mapping moves to other addresses, with its pages (Linux: `mm/mremap.c`).
//!
//! Guarantee: whatever was mapped at an old address is mapped at the new one, with its content, and when this returns no
//! access goes through at the old ones. Who walks the list of the object meets each page, once or twice.
//!
//! Locks, in order: `mmap_lock` for writing and the locks of both VMAs for writing, so that no fault is under way in either;
//! `i_mmap_rwsem`, and `anon_vma`, both for writing, where a whole table or huge entry moves; the locks of both tables.
//!
//! Both VMAs are in the list of the object meanwhile: whoever comes from a page acts on either side, retraction among them.
//!
//! * The new VMA stands behind the old one in the lists of the object and of the family. So a walk first looks at the place that a page moves away from,
//!   and does not miss it.
//! * Entries move one by one with the locks of both tables, each found to be attached. That of the new one is looked at
//!   as well, since an entry is written where none was, and a table that was taken reads like an empty one.
//! * A whole table moves with the locks of both upper entries, and the list locked: who walks is not between the two
//!   VMAs. That the old entry still names a table is looked at again under its lock, as retraction takes tables under that
//!   (6fa1066fc5d0).
//! * The translations of the old addresses are flushed before the locks are given back: from then on somebody else may
//!   unmap the page at its new address, and flush only that (5d1904204c99).
//!
//! The new VMA is registered with userfaultfd if that follows moves, and hears of it when this returns. Else it is not, and protections
//! of pages do not go with them (0cef0bb836e3); their tables are not moved whole then. What was mapped at the new addresses before is unmapped. If there is no memory for a table, what
//! was moved of its VMA is moved back, with the lists locked, as who walks comes to the two in the wrong order then.

use crate::accounting::Fact;
use crate::addr::{AddrRange, PageIndex, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::handle::Ref;
use crate::huge::is_private;
use crate::mm::Mm;
use crate::mmap::{Detached, MmapError, is_user_range};
use crate::notifier::NotifierRange;
use crate::page_table::{
    PmdRef, PteMap, deposit_table, pmd_alloc, pmd_offset, pte_alloc, pte_offset_map_lock,
    pte_offset_map_nolock, withdraw_table,
};
use crate::platform::{FlushKind, Platform};
use crate::protocol::Safeguard;
use crate::rmap::{anon_vma_clone, anon_vma_clone_behind, link_vma, link_vma_behind};
use crate::step::Step;
use crate::sync::WriteGuard;
use crate::tlb::flush_tlb_range;
use crate::userfault::change::{Change, follow_move};
use crate::vma::{Vma, join_around, split_around};
use crate::zap::{next_table, split_huge_pmd};

/// Moves what is mapped at `old` to `new`. (Linux: `mremap` with `MREMAP_MAYMOVE | MREMAP_FIXED`)
///
/// If `new` is smaller, what is behind as many pages of `old` is unmapped; if it is larger, the mapping goes on behind what was moved.
///
/// Where a protocol [moves several VMAs](crate::protocol::Protocol::moves_several_vmas), they keep their distances, and what is mapped between the new
/// places stays. Of VMAs that are registered with userfaultfd, one moves if it covers `old`, and none otherwise.
///
/// # Errors
/// [`MmapError::Invalid`] if one of the ranges is none, or they overlap, and [`MmapError::Fault`] if nothing is mapped at the start of `old`: nothing has
/// changed then. [`MmapError::Fault`] if what is to move is of several VMAs and the protocol, or another size, does not allow that (nothing has changed
/// where the protocol moves several, else what was in the way is gone), or at a VMA that does not move; [`MmapError::NoMemory`] for page tables. What was mapped at the new addresses may be unmapped all the same; and the VMAs before
/// the one at fault stay moved.
pub fn mremap<P: Platform>(
    mm: Ref<P, Mm<P>>,
    old: AddrRange,
    new: AddrRange,
) -> Result<(), MmapError> {
    if !is_user_range::<P>(old) || !is_user_range::<P>(new) || old.overlaps(new) {
        return Err(MmapError::Invalid);
    }
    mm.mmap_write_lock();
    let mut aftermath = Aftermath::default();
    let result = move_vmas(mm, old, new, &mut aftermath);
    mm.mmap_write_unlock();
    aftermath.finish();
    result
}

/// What is to be told and freed when no lock is held any more.
struct Aftermath<P: Platform> {
    /// What was mapped at the new addresses.
    overmapped: Option<Detached<P>>,
    change: Option<Change<P>>,
    /// What is empty now: at the old addresses, or where there was no memory to move to.
    left: Option<Detached<P>>,
}

impl<P: Platform> Default for Aftermath<P> {
    fn default() -> Self {
        Self {
            overmapped: None,
            change: None,
            left: None,
        }
    }
}

impl<P: Platform> Aftermath<P> {
    fn finish(self) {
        if let Some(overmapped) = self.overmapped {
            overmapped.free();
        }
        if let Some(change) = self.change {
            change.tell();
        }
        if let Some(left) = self.left {
            left.free();
        }
    }
}

/// Moves one VMA after the other, or the part of it that lies in `old`. The caller has `mmap_lock` for writing. (Linux: `remap_move`)
fn move_vmas<P: Platform>(
    mm: Ref<P, Mm<P>>,
    old: AddrRange,
    new: AddrRange,
    aftermath: &mut Aftermath<P>,
) -> Result<(), MmapError> {
    let resized = size(old) != size(new);
    let kept = AddrRange::pages(old.start, size(old).min(size(new)));
    let several = P::protocol().moves_several_vmas;
    let first = mm.find_vma(kept.start).ok_or(MmapError::Fault)?;
    let alone = first.range.covers(kept);
    let moves = alone || several && !resized;
    // Linux before 6.17 makes room, and then looks.
    if !moves && several {
        return Err(MmapError::Fault);
    }
    if resized || !several {
        unmap_exclusively(mm, new, &mut aftermath.overmapped);
        if let Some(tail) = non_empty(kept.end, old.end) {
            unmap_exclusively(mm, tail, &mut aftermath.left);
        }
    }
    if !moves {
        return Err(MmapError::Fault);
    }
    let mut moved = kept.start;
    let mut result = Ok(());
    while let Some(vma) = non_empty(moved, kept.end).and_then(|rest| mm.find_first_vma(rest)) {
        if !alone && vma.is_uffd_armed_protected() {
            result = Err(MmapError::Fault);
            break;
        }
        let part = AddrRange {
            start: vma.range.start.max(moved),
            end: vma.range.end.min(kept.end),
        };
        let target = if resized {
            new
        } else {
            let skipped = part.start.page() - kept.start.page();
            AddrRange::pages(new.start.add_pages(skipped), size(part))
        };
        unmap_exclusively(mm, target, &mut aftermath.overmapped);
        match move_vma(mm, part, target) {
            Ok(change) => aftermath.change = change,
            Err(error) => {
                unmap_exclusively(mm, target, &mut aftermath.left);
                result = Err(error);
                break;
            }
        }
        moved = part.end;
    }
    if let Some(done) = non_empty(kept.start, moved) {
        unmap_exclusively(mm, done, &mut aftermath.left);
    }
    result
}

/// In pages.
fn size(range: AddrRange) -> u64 {
    range.end.page().saturating_sub(range.start.page())
}

fn non_empty(start: VirtAddr, end: VirtAddr) -> Option<AddrRange> {
    (start < end).then_some(AddrRange { start, end })
}

/// Takes a range apart, keeping `mmap_lock` for writing; what is to be freed later comes behind what is already.
fn unmap_exclusively<P: Platform>(
    mm: Ref<P, Mm<P>>,
    range: AddrRange,
    to_free: &mut Option<Detached<P>>,
) {
    if let Some(detached) = Detached::take(mm, range) {
        detached.unmap();
        *to_free = Some(match to_free.take() {
            Some(earlier) => earlier.and(detached),
            None => detached,
        });
    }
}

/// Makes the VMA at the new addresses and moves the entries. The VMA at the old ones stays, with nothing mapped; if there is
/// no memory, the new one. Who is to be told, if it did.
fn move_vma<P: Platform>(
    mm: Ref<P, Mm<P>>,
    old: AddrRange,
    new: AddrRange,
) -> Result<Option<Change<P>>, MmapError> {
    split_around(mm, old);
    let vma = mm.find_vma(old.start).ok_or(MmapError::Fault)?;
    vma.start_write();
    // Where nothing was ever private, the number of a page is that of its address, as in a new mapping.
    let pgoff = if vma.is_anonymous() && vma.anon_vma_protected().is_none() {
        PageIndex(new.start.page())
    } else {
        vma.pgoff
    };
    let target = vma.sibling(new, pgoff, vma.flags_protected());
    let change = follow_move(vma, target, new.start);
    P::observe(Fact::Remapped(mm.id, old, new));
    P::observe(Fact::Permitted(mm.id, new, vma.protection()));
    if P::enforces(Safeguard::MovedVmaBehind) {
        anon_vma_clone_behind(target, vma);
        link_vma_behind(vma, target);
    } else {
        anon_vma_clone(target, vma);
        link_vma(target);
    }
    mm.insert_vma(target);
    let result = move_page_tables(vma, target, Walks::MeetOldFirst);
    if result.is_err() {
        // The tables of private pages, which nobody else takes away, are still there or were moved whole: this does not
        // fail for them. Other pages are still in their object.
        let _ = move_page_tables(target, vma, Walks::MeetNewFirst);
    }
    match result {
        Ok(()) => {
            // One that has just lost its registration stays for itself, as in Linux, which looks before.
            if target.userfaultfd() == vma.userfaultfd() {
                join_around(mm, new);
            }
            Ok(change)
        }
        Err(error) => {
            if let Some(change) = change {
                change.cancel();
            }
            Err(error)
        }
    }
}

/// In which order who walks from a page comes to the two VMAs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walks {
    /// As is right.
    MeetOldFirst,
    /// The other way round, when entries are moved back: so walks are kept out while entries move.
    MeetNewFirst,
}

/// Moves all entries from one VMA to another, both write-locked, as far as that reaches.
fn move_page_tables<P: Platform>(
    from: Ref<P, Vma<P>>,
    to: Ref<P, Vma<P>>,
    walks: Walks,
) -> Result<(), MmapError> {
    let pages = size(from.range).min(size(to.range));
    let all = AddrRange::pages(from.range.start, pages);
    let notifier = NotifierRange::<P>::start(from.mm, all);
    let mut result = Ok(());
    let mut addr = all.start;
    while all.contains(addr) {
        let done = addr.page() - all.start.page();
        let target = to.range.start.add_pages(done);
        let room = next_table::<P>(target, to.range).page() - target.page();
        let end = next_table::<P>(addr, all).min(addr.add_pages(room));
        let part = Part {
            vma: from,
            range: AddrRange { start: addr, end },
            target,
            walks,
            drop_protection: from.is_uffd_wp_protected() && !to.is_uffd_wp_protected(),
        };
        result = part.move_entries();
        if result.is_err() {
            break;
        }
        addr = end;
    }
    drop(notifier);
    P::observe(Fact::Forgotten(from.mm.id, all));
    result
}

/// Addresses that one upper entry serves, both where they are and where they go.
struct Part<P: Platform> {
    vma: Ref<P, Vma<P>>,
    range: AddrRange,
    target: VirtAddr,
    walks: Walks,
    /// Protections by userfaultfd do not go with the pages.
    drop_protection: bool,
}

impl<P: Platform> Part<P> {
    fn pages(&self) -> u64 {
        self.range.end.page() - self.range.start.page()
    }

    fn move_entries(&self) -> Result<(), MmapError> {
        let mm = self.vma.mm;
        let Some(old) = pmd_offset(mm, self.range.start) else {
            return Ok(());
        };
        let new = pmd_alloc(mm, self.target).ok_or(MmapError::NoMemory)?;
        let whole = self.pages() == P::PTRS_PER_TABLE as u64;
        loop {
            let seen = old.read_once("read pmd");
            if seen.is_none() {
                return Ok(());
            }
            if whole && !(seen.is_table() && self.drop_protection) && self.move_pmd(old, new, seen)
            {
                return Ok(());
            }
            if seen.is_leaf() {
                split_huge_pmd(self.vma, old);
            } else if self.move_ptes(old, new)? {
                return Ok(());
            }
            // What was there has vanished meanwhile, or was split: look at the same entry again.
        }
    }

    /// Moves a table, or a huge page, by its upper entry. Whether it did: not if there is something else by now.
    /// (Linux: `move_normal_pmd`, `move_huge_pmd`)
    fn move_pmd(&self, old: PmdRef<P>, new: PmdRef<P>, seen: Pte) -> bool {
        let locked = P::enforces(Safeguard::MoveUnderRmapLocks);
        self.keep_walks_out(locked, || self.move_pmd_locked(old, new, seen))
    }

    /// Does something with the lists of the object and of the family locked, if they are to be. (Linux: `take_rmap_locks`)
    fn keep_walks_out<R>(&self, locked: bool, act: impl FnOnce() -> R) -> R {
        let mapping = self.vma.mapping.filter(|_| locked);
        let anon_vma = self.vma.anon_vma_protected().filter(|_| locked);
        if mapping.is_some() {
            P::step(Step::Named("i_mmap_lock_write"));
        }
        let _i_mmap = mapping
            .as_ref()
            .map(|mapping| WriteGuard::write(&mapping.i_mmap_rwsem));
        let _anon_vma = anon_vma
            .as_ref()
            .map(|anon_vma| WriteGuard::write(&anon_vma.rwsem));
        act()
    }

    fn move_pmd_locked(&self, old: PmdRef<P>, new: PmdRef<P>, seen: Pte) -> bool {
        let _old_pml = old.lock();
        let _new_pml = (new.lockptr() != old.lockptr()).then(|| new.lock_nested());
        let recheck = P::enforces(Safeguard::RecheckMovedPmd);
        let value = if recheck { old.load_protected() } else { seen };
        let same_kind = !value.is_none() && value.is_leaf() == seen.is_leaf();
        if !same_kind || !new.load_protected().is_none() {
            return false;
        }
        // Hardware may have marked a huge page as dirty since.
        let taken = old.take("pmd_clear");
        self.observe_moved(self.range);
        if value.is_leaf() && is_private::<P>(value) {
            deposit_table(new, withdraw_table(old));
        }
        new.set("set_pmd", if recheck { taken } else { seen });
        self.flush(FlushKind::LeavesAndTables);
        true
    }

    /// Moves entries one by one. Whether it did: not if one of the tables is gone. (Linux: `move_ptes`)
    fn move_ptes(&self, old: PmdRef<P>, new: PmdRef<P>) -> Result<bool, MmapError> {
        if !pte_alloc(new) {
            return Err(MmapError::NoMemory);
        }
        let locked = self.walks == Walks::MeetNewFirst;
        Ok(self.keep_walks_out(locked, || self.move_ptes_locked(old, new)))
    }

    fn move_ptes_locked(&self, old: PmdRef<P>, new: PmdRef<P>) -> bool {
        let Some(source) = pte_offset_map_lock(old) else {
            return false;
        };
        let Some(target) = pte_offset_map_nolock(new) else {
            return false;
        };
        // Two locks of a kind: nobody else holds one while it waits for the other, as `mmap_lock` is held for writing.
        let _ptl = (target.lockptr() != source.lockptr()).then(|| {
            let step = Step::Pte("ptl", self.vma.mm.id, self.target);
            target.lockptr().lock_nested(step)
        });
        if P::enforces(Safeguard::RecheckMoveTarget) && new.read_once("recheck pmd") != target.seen
        {
            return false;
        }
        for page in 0..self.pages() {
            self.move_pte(&source, &target, page);
        }
        self.flush(FlushKind::Leaves);
        true
    }

    fn move_pte(&self, source: &PteMap<P>, target: &PteMap<P>, page: u64) {
        let from = self.range.start.add_pages(page);
        let to = self.target.add_pages(page);
        if source.get(from).is_none() {
            return;
        }
        let old = source.take(from);
        let drop_protection = self.drop_protection && P::enforces(Safeguard::DropMovedUffdWp);
        if drop_protection {
            P::observe(Fact::Unprotected(self.vma.mm.id, from));
        }
        self.observe_moved(AddrRange::pages(from, 1));
        match old.as_marker() {
            Some(Marker::UffdWp) if drop_protection => {}
            Some(marker) => target.set_marker(to, marker),
            None if drop_protection => target.set(to, old.clear_uffd_wp()),
            None => target.set(to, old),
        }
    }

    fn observe_moved(&self, range: AddrRange) {
        let skipped = range.start.page() - self.range.start.page();
        let to = self.target.add_pages(skipped);
        P::observe(Fact::Moved(self.vma.mm.id, range, to));
    }

    /// Has everybody forget the old addresses. The locks of the tables are held.
    fn flush(&self, kind: FlushKind) {
        let mm = self.vma.mm;
        if P::enforces(Safeguard::FlushOnMove) {
            flush_tlb_range(mm, self.range, kind);
        }
    }
}
