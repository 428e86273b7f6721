//! From an anonymous page to the entries that map it.
//!
//! Fork shares the private pages of a process with its child, so that a page may be mapped by several address spaces. All of
//! them belong to one family, whose [`AnonVma`] lists the VMAs in which the page may be found; the page is at the same
//! [index](Vma::index_of) in each. A private folio names the `AnonVma` and its index.
//!
//! Guarantees: a VMA is in the list before a page that it maps, or will map, can be shared, and leaves it before its upper page tables
//! are freed; so who found a VMA in the list may walk its tables while it holds the semaphore. An `AnonVma` stays while a VMA
//! names it or somebody has a reference to it.
//!
//! Locks: `rwsem` of the `AnonVma`, then the lock of a table.
//!
//! Getting from a folio to its `AnonVma` takes no lock: the last VMA may be going away meanwhile. Its pages are unmapped
//! before that, and it is freed after a grace period; so who finds the folio mapped within an RCU section may try to get a
//! reference, and waits for the semaphore with that. UFFDIO_MOVE gives a folio to another family, with its lock held and the old
//! family locked: so who has not the folio's lock looks again whether it is still that family.
//!
//! Linux up to 2.6.33 had one `anon_vma` for a family, as here. Since then each process has its own, linked into those of its
//! ancestors, so that a walk for a page of a child does not visit the whole family. What is found is the same.

use super::{VmaList, add_mapping, remove_mapping, take_entry};
use crate::accounting::{self, PageKind};
use crate::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use crate::arch::{Pte, Swap};
use crate::folio::Folio;
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::mm::Mm;
use crate::notifier::NotifierRange;
use crate::page_table::{PmdRef, PtLock, pmd_offset, pte_offset_map_lock};
use crate::platform::{Platform, RawRwSem, RefCount};
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::swap;
use crate::sync::{RcuGuard, ReadGuard, WriteGuard};
use crate::tlb::UnmapBatch;
use crate::vma::{Vma, family_neighbours};
use crate::zero::is_zero_page;

/// The VMAs in which private pages of a family of processes may be mapped.
pub struct AnonVma<P: Platform> {
    pub(crate) rwsem: P::RwSem,
    /// The VMAs; under the semaphore.
    vmas: VmaList<P>,
    /// One reference for each VMA that names it, and those of walks.
    references: P::RefCount,
}

impl<P: Platform> AnonVma<P> {
    /// The VMAs that may map the page with this index, and where. The caller has the semaphore.
    fn vmas_of(&self, index: PageIndex) -> impl Iterator<Item = (Ref<P, Vma<P>>, VirtAddr)> {
        self.vmas
            .iter()
            .filter_map(move |vma| Some((vma, vma.addr_of(index)?)))
    }
}

/// Gives the VMA an `anon_vma` before its first private page. (Linux: `anon_vma_prepare`)
///
/// The caller has `mmap_lock` for reading. Two threads may come here at once: the second finds that the
/// first was faster. Others may look at whether there is one without any lock: they see it set early or late.
pub(crate) fn anon_vma_prepare<P: Platform>(vma: Ref<P, Vma<P>>) {
    if vma.has_anon_vma("read anon_vma") {
        return;
    }
    if let Some(anon_vma) = get_anon_vma_of_neighbour(vma) {
        P::step(Step::Named("anon_vma_lock_write"));
        let locked = WriteGuard::write(&anon_vma.rwsem);
        let attached = attach_anon_vma(vma, anon_vma);
        drop(locked);
        if !attached {
            put_anon_vma(anon_vma);
        }
        return;
    }
    let new = Ref::new(AnonVma::<P> {
        rwsem: P::RwSem::new(LockClass::AnonVma),
        vmas: VmaList::new(|vma| &vma.anon_vma_next, None),
        references: P::RefCount::new(1),
    });
    if !attach_anon_vma(vma, new) {
        // SAFETY: the object was not published, so this is the only handle to it.
        unsafe { new.free() };
    }
}

/// Gives a VMA an `anon_vma`, whose list nobody else uses, with a reference, if it has none. Whether it did.
fn attach_anon_vma<P: Platform>(vma: Ref<P, Vma<P>>, anon_vma: Ref<P, AnonVma<P>>) -> bool {
    let _guard = PtLock::<P>::Mm(vma.mm).lock(Step::Mm("page_table_lock", vma.mm.id));
    let free = vma.anon_vma_protected().is_none();
    if free {
        anon_vma.vmas.add(vma);
        vma.set_anon_vma(anon_vma);
    }
    free
}

/// The `anon_vma` of a neighbour that the VMA may be joined with one day, with a reference. The neighbour, which stays as the caller has
/// `mmap_lock` for reading, may be given it just now. (Linux: `find_mergeable_anon_vma`)
fn get_anon_vma_of_neighbour<P: Platform>(vma: Ref<P, Vma<P>>) -> Option<Ref<P, AnonVma<P>>> {
    let mut neighbours = family_neighbours(vma);
    let anon_vma = neighbours.find_map(|other| other.anon_vma("read anon_vma of a neighbour"))?;
    anon_vma.references.get(1);
    Some(anon_vma)
}

/// Gives a VMA of a child the `anon_vma` of the one that it is a copy of, if that has one. (Linux: `anon_vma_clone`)
///
/// The caller has `mmap_lock` of both for writing, and nobody else knows of the new VMA.
pub(crate) fn anon_vma_clone<P: Platform>(vma: Ref<P, Vma<P>>, parent: Ref<P, Vma<P>>) {
    let Some(anon_vma) = parent.anon_vma_protected() else {
        return;
    };
    anon_vma.references.get(1);
    vma.init_anon_vma(anon_vma);
    P::step(Step::Named("anon_vma_lock_write"));
    let _anon_vma = WriteGuard::write(&anon_vma.rwsem);
    anon_vma.vmas.add(vma);
}

/// As [`anon_vma_clone`], for a VMA to which the pages of `other` are moved: who walks the list comes to `other` first.
pub(crate) fn anon_vma_clone_behind<P: Platform>(vma: Ref<P, Vma<P>>, other: Ref<P, Vma<P>>) {
    let Some(anon_vma) = other.anon_vma_protected() else {
        return;
    };
    anon_vma.references.get(1);
    vma.set_anon_vma(anon_vma);
    P::step(Step::Named("anon_vma_lock_write"));
    let _anon_vma = WriteGuard::write(&anon_vma.rwsem);
    anon_vma.vmas.add_behind(other, vma);
}

/// Gives VMAs that replace others the `anon_vma` of those, if they have one, and their place in the list: who walks the list finds either
/// these or those. The caller has `mmap_lock` for writing, and nobody else knows of the new VMAs.
pub(crate) fn anon_vma_replace<P: Platform>(old: &[Ref<P, Vma<P>>], new: &[Ref<P, Vma<P>>]) {
    let of_family = || {
        old.iter()
            .filter_map(|vma| Some((*vma, vma.anon_vma_protected()?)))
    };
    let Some((member, anon_vma)) = of_family().next() else {
        return;
    };
    if !P::enforces(Safeguard::ReplaceInOneStep) {
        old.iter().copied().for_each(unlink_anon_vma);
        for vma in new {
            anon_vma_clone(*vma, member);
        }
        return;
    }
    anon_vma.references.get(new.len() as u64);
    for vma in new {
        vma.set_anon_vma(anon_vma);
    }
    P::step(Step::Named("anon_vma_lock_write"));
    let _anon_vma = WriteGuard::write(&anon_vma.rwsem);
    anon_vma.vmas.replace(of_family().map(|(vma, _)| vma), new);
}

/// Takes a VMA out of the list of its `anon_vma`, if it has one. Its pages are unmapped. (Linux: `unlink_anon_vmas`)
pub(crate) fn unlink_anon_vma<P: Platform>(vma: Ref<P, Vma<P>>) {
    let Some(anon_vma) = vma.anon_vma_protected() else {
        return;
    };
    P::step(Step::Named("anon_vma_lock_write"));
    let _anon_vma = WriteGuard::write(&anon_vma.rwsem);
    anon_vma.vmas.remove(vma);
}

/// Gives back the reference of a VMA that left the list a grace period ago, and is being freed.
pub(crate) fn put_anon_vma_of_vma<P: Platform>(vma: Ref<P, Vma<P>>) {
    let Some(anon_vma) = vma.anon_vma_protected() else {
        return;
    };
    P::step(Step::Named("put anon_vma"));
    if anon_vma.references.put(1) {
        // SAFETY: who finds it by a folio finds the folio mapped, within an RCU section that began before the pages of the last VMA
        // were unmapped; all of these are over. Who has a reference keeps this from being the last.
        unsafe { anon_vma.free() };
    }
}

/// The `anon_vma` of a mapped private folio, with a reference. (Linux: `folio_get_anon_vma`)
fn get_anon_vma<P: Platform>(folio: Folio) -> Option<Ref<P, AnonVma<P>>> {
    let _rcu = RcuGuard::<P>::read_lock();
    if P::enforces(Safeguard::AnonVmaIfMapped) && !folio.is_mapped::<P>() {
        return None;
    }
    let anon_vma = folio.anon_vma::<P>()?;
    P::step(Step::Named("get anon_vma"));
    anon_vma.references.try_get().then_some(anon_vma)
}

/// Gives back what [`get_anon_vma`] gave.
fn put_anon_vma<P: Platform>(anon_vma: Ref<P, AnonVma<P>>) {
    P::step(Step::Named("put anon_vma"));
    if anon_vma.references.put(1) {
        P::call_rcu(move || {
            // SAFETY: no VMA names it any more, nor does anybody have a reference. Who is trying to get one is in an RCU section that
            // began before this callback was queued.
            unsafe { anon_vma.free() };
        });
    }
}

/// A family whose walks are kept out. It stays while this is held.
pub(crate) struct FamilyGuard<P: Platform>(Ref<P, AnonVma<P>>);

impl<P: Platform> Drop for FamilyGuard<P> {
    fn drop(&mut self) {
        P::step(Step::Named("anon_vma_unlock_write"));
        self.0.rwsem.write_unlock();
        put_anon_vma(self.0);
    }
}

/// Keeps walks from a private folio to its entries out. `None` if it is not mapped any more. The caller has the folio's lock, so
/// that it stays in the family.
pub(crate) fn lock_family<P: Platform>(folio: Folio) -> Option<FamilyGuard<P>> {
    let anon_vma = get_anon_vma::<P>(folio)?;
    P::step(Step::Named("anon_vma_lock_write"));
    anon_vma.rwsem.write();
    Some(FamilyGuard(anon_vma))
}

/// How many entries map the private page at `addr` of `mm`, found as migration finds them: from the page, by walking
/// the page tables of the whole family. `None` if no private page is mapped there. (Linux: `rmap_walk_anon`)
pub fn rmap_walk_anon<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Option<usize> {
    let (folio, page) = find_private_page(mm, addr)?;
    let found = loop {
        let Some(anon_vma) = get_anon_vma::<P>(folio) else {
            break 0;
        };
        let found = count_entries(anon_vma, folio, page);
        put_anon_vma(anon_vma);
        if let Some(found) = found {
            break found;
        }
    };
    folio.put::<P>(1);
    Some(found)
}

/// Takes the entries that map a private folio away: each says then that the page is in `slot`. The caller has the folio's lock and
/// a reference, the swap cache another one. The batch has to be flushed before the content is moved out.
/// (Linux: `try_to_unmap` with `TTU_BATCH_FLUSH`)
///
/// The page stays mapped where somebody else has got it, and where fork maps it behind this walk.
pub(crate) fn try_to_unmap_anon<P: Platform>(folio: Folio, slot: u64, batch: &mut UnmapBatch<P>) {
    walk_anon(folio, |vma, addr| {
        let range = AddrRange::pages(addr, 1);
        let _notifier = NotifierRange::<P>::start(vma.mm, range);
        unmap_one(folio, vma, addr, slot, batch);
    });
}

/// Visits each place where a small private folio may be mapped, whose lock and a reference the caller has.
pub(crate) fn walk_anon<P: Platform>(
    folio: Folio,
    mut visit: impl FnMut(Ref<P, Vma<P>>, VirtAddr),
) {
    let Some(anon_vma) = get_anon_vma::<P>(folio) else {
        return;
    };
    {
        P::step(Step::Named("anon_vma_lock_read"));
        let _anon_vma = ReadGuard::read(&anon_vma.rwsem);
        for (vma, addr) in anon_vma.vmas_of(folio.index::<P>()) {
            visit(vma, addr);
        }
    }
    put_anon_vma(anon_vma);
}

/// The family of a folio, which stays while this is held, whether or not an entry maps the folio.
pub(crate) struct Family<P: Platform>(Ref<P, AnonVma<P>>);

impl<P: Platform> Family<P> {
    /// That of a private folio, whose lock the caller has. `None` if it is not mapped any more.
    pub(crate) fn of(folio: Folio) -> Option<Self> {
        get_anon_vma::<P>(folio).map(Self)
    }

    pub(crate) fn anon_vma(&self) -> Ref<P, AnonVma<P>> {
        self.0
    }

    /// Visits each range where some of `pages` pages from `index` on may be mapped.
    pub(crate) fn walk(
        &self,
        index: PageIndex,
        pages: usize,
        mut visit: impl FnMut(Ref<P, Vma<P>>, AddrRange),
    ) {
        P::step(Step::Named("anon_vma_lock_read"));
        let _anon_vma = ReadGuard::read(&self.0.rwsem);
        for vma in self.0.vmas.iter() {
            if let Some(range) = vma.range_of(index.0, index.0 + pages as u64) {
                visit(vma, range);
            }
        }
    }
}

impl<P: Platform> Drop for Family<P> {
    fn drop(&mut self) {
        put_anon_vma(self.0);
    }
}

fn unmap_one<P: Platform>(
    folio: Folio,
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    slot: u64,
    batch: &mut UnmapBatch<P>,
) {
    let Some((table, old)) = take_entry(folio, vma, addr) else {
        return;
    };
    batch.add(vma.mm);
    remove_mapping(folio, vma, 1, PageKind::Anon);
    // After the entry was emptied: who gets a reference after this (GUP-fast) sees that, see `Folio::try_get`. Who got one before
    // is counted below. Of a page that belongs to this process alone this was the only entry; and only such a page can be pinned.
    folio.put::<P>(1);
    let exclusive = Folio::is_exclusive::<P>(folio.pfn());
    if exclusive && P::enforces(Safeguard::ReclaimPinCheck) && folio.refcount::<P>() != 2 {
        folio.get::<P>(1);
        add_mapping(folio, vma, 1, PageKind::Anon);
        table.set(addr, old);
        return;
    }
    folio.keep_dirty::<P>(old);
    if exclusive {
        Folio::set_exclusive::<P>(folio.pfn(), false);
    }
    swap::get::<P>(slot);
    accounting::add_swap_entries(&*vma.mm, 1);
    table.set_swap(
        addr,
        Swap {
            slot,
            exclusive,
            uffd_wp: old.is_uffd_wp(),
        },
    );
}

/// The private page that is mapped at `addr` of `mm`, with a reference to its folio, which alone keeps it.
pub(crate) fn find_private_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
) -> Option<(Folio, Pfn)> {
    mm.mmap_read_lock();
    let found = mm.find_vma(addr).and_then(|_| private_page_at(mm, addr));
    mm.mmap_read_unlock();
    found
}

/// As [`find_private_page`], for who has `mmap_lock` and found a VMA there.
pub(crate) fn private_page_at<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
) -> Option<(Folio, Pfn)> {
    get_private_page(pmd_offset(mm, addr)?, addr)
}

/// What `look` says of the entry that maps the page at `addr`, which does not change meanwhile; that of a huge page is shown as
/// that of the small one.
pub(super) fn with_entry<P: Platform, R>(
    pmd: PmdRef<P>,
    addr: VirtAddr,
    look: impl FnOnce(Pte) -> R,
) -> R {
    loop {
        if let Some(table) = pte_offset_map_lock(pmd) {
            return look(table.get(addr));
        }
        if !pmd.read_once("read pmd").is_huge() {
            return look(Pte::NONE);
        }
        // It may be split before the lock is held.
        let _pml = pmd.lock();
        let value = pmd.load_protected();
        if value.is_huge() {
            return look(value.piece(addr.page() as usize % P::PTRS_PER_TABLE));
        }
    }
}

/// The private page that is mapped at `addr`, with a reference to its folio.
fn get_private_page<P: Platform>(pmd: PmdRef<P>, addr: VirtAddr) -> Option<(Folio, Pfn)> {
    with_entry(pmd, addr, |pte| {
        if !pte.is_present() || is_zero_page::<P>(pte.pfn()) {
            return None;
        }
        let folio = Folio::of::<P>(pte.pfn());
        if !folio.is_anon::<P>() {
            return None;
        }
        folio.get::<P>(1);
        Some((folio, pte.pfn()))
    })
}

/// `None` if the folio has come to another family: this walk does not have the lock of the folio, which keeps it where it is.
/// (Linux: `folio_lock_anon_vma_read`)
fn count_entries<P: Platform>(
    anon_vma: Ref<P, AnonVma<P>>,
    folio: Folio,
    page: Pfn,
) -> Option<usize> {
    P::step(Step::Named("anon_vma_lock_read"));
    let _anon_vma = ReadGuard::read(&anon_vma.rwsem);
    if P::enforces(Safeguard::RecheckFamily) && folio.anon_vma::<P>() != Some(anon_vma) {
        return None;
    }
    let index = folio.index::<P>().add(page.0 - folio.pfn().0);
    let entries = anon_vma.vmas_of(index).filter(|(vma, addr)| {
        pmd_offset(vma.mm, *addr)
            .is_some_and(|pmd| with_entry(pmd, *addr, |pte| pte.is_present() && pte.pfn() == page))
    });
    Some(entries.count())
}
