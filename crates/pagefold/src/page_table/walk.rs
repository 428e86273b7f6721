//! Finding, making and mapping page tables.

use crate::accounting::{self, Fact};
use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::arch::{Format, Marker, Migration, PMD_LEVEL, PTE_LEVEL, Pte, Swap};
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_table::{PtLock, PtLockGuard};
use crate::platform::{Order, Platform, Word};
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::sync::RcuGuard;

/// Empties a frame that becomes a table, before anybody else knows of it.
pub(crate) fn clear_table<P: Platform>(table: Pfn) {
    for index in 0..P::PTRS_PER_TABLE {
        P::entry(table, index).store_protected(0);
    }
}

/// A new table of small-page entries, empty, that nobody else knows of. `None` when there is no memory.
pub(crate) fn new_table<P: Platform>() -> Option<Pfn> {
    let table = P::alloc_frames(Order::Small)?;
    clear_table::<P>(table);
    Some(table)
}

/// Writes each entry of a table of small-page entries that nobody else uses yet, and that is to serve `range` of address space `mm`.
pub(crate) fn fill_table<P: Platform>(
    table: Pfn,
    mm: u32,
    range: AddrRange,
    entry: impl Fn(usize) -> Pte,
) {
    for index in 0..P::PTRS_PER_TABLE {
        let value = entry(index);
        let addr = range.start.add_pages(index as u64);
        P::step(Step::SetPte("set_pte", mm, addr, value));
        P::entry(table, index).write_once(P::Format::encode(value, PTE_LEVEL));
    }
}

/// The entry in a table of `level` that serves `addr`.
fn entry_at<P: Platform>(table: Pfn, addr: VirtAddr, level: u32) -> &'static P::Word {
    P::entry(table, index_at::<P>(addr, level))
}

fn index_at<P: Platform>(addr: VirtAddr, level: u32) -> usize {
    let span = (P::PTRS_PER_TABLE as u64).pow(level);
    (addr.page() / span) as usize % P::PTRS_PER_TABLE
}

/// The entry of a huge page's worth of addresses, in a table of such entries (Linux: `pmd_t *`).
pub(crate) struct PmdRef<P: Platform> {
    pub(crate) mm: Ref<P, Mm<P>>,
    /// An address that the entry maps.
    pub(crate) addr: VirtAddr,
    /// The table that the entry is in.
    pub(super) table: Pfn,
}

impl<P: Platform> Clone for PmdRef<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for PmdRef<P> {}

impl<P: Platform> PmdRef<P> {
    fn entry(&self) -> &'static P::Word {
        entry_at::<P>(self.table, self.addr, PMD_LEVEL)
    }

    fn decode(word: u64) -> Pte {
        P::Format::decode(word, PMD_LEVEL)
    }

    /// Whether it is the entry at the same place.
    pub(crate) fn is_same_entry(&self, other: Self) -> bool {
        self.table == other.table
    }

    /// Reads the entry once, to look at what it is (Linux: `pmdp_get_lockless`).
    pub(crate) fn read_once(&self, step: &'static str) -> Pte {
        P::step(Step::Pmd(step, self.mm.id, self.addr));
        Self::decode(self.entry().read_once())
    }

    /// Reads the entry once, to go to the table or page that it names, which was written before the entry was.
    pub(crate) fn read_dependent(&self, step: &'static str) -> Pte {
        P::step(Step::Pmd(step, self.mm.id, self.addr));
        Self::decode(self.entry().read_dependent())
    }

    /// Reads the entry, which nobody else changes now.
    pub(crate) fn load_protected(&self) -> Pte {
        Self::decode(self.entry().load_protected())
    }

    /// Has the entry name a table or huge page, whose content walkers without a lock must find as it is now. The caller has
    /// the pmd lock. (Linux: `smp_wmb` in `pmd_install`)
    pub(crate) fn set(&self, step: &'static str, value: Pte) {
        P::step(Step::SetPte(step, self.mm.id, self.addr, value));
        self.entry()
            .store_release(P::Format::encode(value, PMD_LEVEL));
    }

    /// Empties the entry, which nobody else changes now.
    pub(crate) fn clear(&self, step: &'static str) {
        P::step(Step::SetPte(step, self.mm.id, self.addr, Pte::NONE));
        self.entry().write_once(0);
    }

    /// Empties the entry and returns what was there, as one step. What orders it is what follows: a flush, a lock or
    /// reference that is given back.
    pub(crate) fn take(&self, step: &'static str) -> Pte {
        P::step(Step::Pmd(step, self.mm.id, self.addr));
        Self::decode(self.entry().xchg_relaxed(0))
    }

    /// Has hardware find no page any more where the entry maps a huge one, which it is to software all the time: who looks at it
    /// without the lock waits for what becomes of it. Returns what was there, as one step, as hardware may have noted something in
    /// it. The caller has the pmd lock. (Linux: `pmdp_invalidate`)
    pub(crate) fn invalidate(&self) -> Pte {
        let value = self.load_protected().mk_inaccessible();
        P::step(Step::SetPte(
            "pmdp_invalidate",
            self.mm.id,
            self.addr,
            value,
        ));
        Self::decode(
            self.entry()
                .xchg_relaxed(P::Format::encode(value, PMD_LEVEL)),
        )
    }

    /// The lock of the table that the entry is in (Linux: `pmd_lockptr`).
    pub(crate) fn lockptr(&self) -> PtLock<P> {
        if P::split_ptlocks() {
            PtLock::Pml(self.table)
        } else {
            PtLock::Mm(self.mm)
        }
    }

    /// Takes that lock (Linux: `pmd_lock`).
    pub(crate) fn lock(&self) -> PtLockGuard<P> {
        self.lockptr()
            .lock(Step::Pmd("pmd_lock", self.mm.id, self.addr))
    }

    /// As [`lock`](Self::lock), with the lock of another such table held. The caller has `mmap_lock` for writing: nobody else
    /// in the address space takes two.
    pub(crate) fn lock_nested(&self) -> PtLockGuard<P> {
        self.lockptr()
            .lock_nested(Step::Pmd("pmd_lock", self.mm.id, self.addr))
    }

    /// The lock of the table of small-page entries that `value`, read from this entry, names
    /// (Linux: `pte_lockptr`, but never by reading the entry again).
    pub(crate) fn pte_lockptr(&self, value: Pte) -> PtLock<P> {
        if P::split_ptlocks() {
            PtLock::Ptl(value.pfn())
        } else {
            PtLock::Mm(self.mm)
        }
    }
}

/// What a trace calls the tables above those of huge-page entries; the lowest first.
const UPPER_STEPS: [UpperSteps; 3] = [
    UpperSteps {
        read: "read pud",
        install: "install pmd table",
        clear: "pud_clear",
    },
    UpperSteps {
        read: "read p4d",
        install: "install pud table",
        clear: "p4d_clear",
    },
    UpperSteps {
        read: "read pgd",
        install: "install p4d table",
        clear: "pgd_clear",
    },
];

struct UpperSteps {
    read: &'static str,
    install: &'static str,
    clear: &'static str,
}

fn upper_steps(level: u32) -> &'static UpperSteps {
    &UPPER_STEPS[(level - PMD_LEVEL - 1) as usize]
}

/// The lowest table above `level` that serves `addr`, and its level: that of `level` itself, or the one where the walk ends.
fn walk_down<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr, level: u32) -> (Pfn, u32) {
    let mut table = mm.root();
    let mut at = P::Format::levels() - 1;
    while at > level {
        P::step(Step::Mm(upper_steps(at).read, mm.id));
        let word = entry_at::<P>(table, addr, at).read_dependent();
        let entry = P::Format::decode(word, at);
        if !entry.is_table() {
            break;
        }
        table = entry.pfn();
        at -= 1;
    }
    (table, at)
}

/// The entry for `addr` in a table of huge-page entries, if there is such a table.
pub(crate) fn pmd_offset<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Option<PmdRef<P>> {
    let (table, level) = walk_down(mm, addr, PMD_LEVEL);
    (level == PMD_LEVEL).then_some(PmdRef { mm, addr, table })
}

/// The entry for `addr` in a table of huge-page entries; makes the tables on the way if there are none. `None` when there is
/// no memory. The caller has a VMA at `addr` that cannot go away.
pub(crate) fn pmd_alloc<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Option<PmdRef<P>> {
    loop {
        let (table, level) = walk_down(mm, addr, PMD_LEVEL);
        if level == PMD_LEVEL {
            return Some(PmdRef { mm, addr, table });
        }
        make_upper_table(mm, entry_at::<P>(table, addr, level), level)?;
    }
}

/// Has an empty entry of `level` name a new table, unless somebody else was faster. `None` when there is no memory.
fn make_upper_table<P: Platform>(
    mm: Ref<P, Mm<P>>,
    entry: &'static P::Word,
    level: u32,
) -> Option<()> {
    let table = P::alloc_frames(Order::Small)?;
    clear_table::<P>(table);
    let lost = {
        let _guard = PtLock::<P>::Mm(mm).lock(Step::Mm("page_table_lock", mm.id));
        let lost = entry.load_protected() != 0;
        if !lost {
            P::step(Step::Mm(upper_steps(level).install, mm.id));
            // Walkers without a lock must find the table cleared.
            entry.store_release(P::Format::encode(Pte::table(table), level));
        }
        lost
    };
    if lost {
        P::free_frames(table, Order::Small);
    }
    Some(())
}

/// Detaches the table that the entry of `level` for `addr` names, whose VMAs are all gone: one of huge-page entries, or above.
/// Its frame is the caller's to free, once nobody can walk it.
pub(crate) fn take_upper_table<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    level: u32,
) -> Option<Pfn> {
    let (table, at) = walk_down(mm, addr, level);
    if at != level {
        return None;
    }
    P::step(Step::Mm(upper_steps(level).clear, mm.id));
    let old = P::Format::decode(entry_at::<P>(table, addr, level).xchg_relaxed(0), level);
    old.is_table().then(|| old.pfn())
}

/// Makes a table of small-page entries where there is nothing. Whether there is one, or something else, now: `false`
/// is out of memory. (Linux: `pte_alloc`, `pmd_install`)
pub(crate) fn pte_alloc<P: Platform>(pmd: PmdRef<P>) -> bool {
    if !pmd.read_once("read pmd").is_none() {
        return true;
    }
    let Some(table) = new_table::<P>() else {
        return false;
    };
    let installed = {
        let _pml = pmd.lock();
        let none = pmd.load_protected().is_none();
        if none {
            accounting::mm_inc_nr_ptes::<P>(&pmd.mm);
            pmd.set("pmd_populate", Pte::table(table));
        }
        none
    };
    if !installed {
        P::free_frames(table, Order::Small);
    }
    true
}

/// A table of small-page entries that is looked at. It stays a page table until this is dropped, but may be detached and
/// is then empty.
pub(crate) struct PteMap<P: Platform> {
    pub(crate) pmd: PmdRef<P>,
    /// What the upper entry held when the table was found.
    pub(crate) seen: Pte,
    _rcu: Option<RcuGuard<P>>,
}

impl<P: Platform> PteMap<P> {
    fn entry(&self, addr: VirtAddr) -> &'static P::Word {
        entry_at::<P>(self.seen.pfn(), addr, PTE_LEVEL)
    }

    fn decode(word: u64) -> Pte {
        P::Format::decode(word, PTE_LEVEL)
    }

    /// Reads the entry of `addr` once, without a lock, to look at what it is or compare it.
    pub(crate) fn read_once(&self, addr: VirtAddr) -> Pte {
        P::step(Step::Pte("read pte", self.pmd.mm.id, addr));
        Self::decode(self.entry(addr).read_once())
    }

    /// Reads the entry of `addr` once, without a lock, to go to the page that it names.
    pub(crate) fn read_dependent(&self, addr: VirtAddr) -> Pte {
        P::step(Step::Pte("read pte", self.pmd.mm.id, addr));
        Self::decode(self.entry(addr).read_dependent())
    }

    /// The lock of the table.
    pub(crate) fn lockptr(&self) -> PtLock<P> {
        self.pmd.pte_lockptr(self.seen)
    }

    /// Reads the entry of `addr`. The caller has the lock of the table.
    pub(crate) fn get(&self, addr: VirtAddr) -> Pte {
        Self::decode(self.entry(addr).load_protected())
    }

    /// Whether nothing is in the entries of `part`. The caller has the lock of the table.
    pub(crate) fn is_empty(&self, part: AddrRange) -> bool {
        let mut addr = part.start;
        while part.contains(addr) {
            if !self.get(addr).is_none() {
                return false;
            }
            addr = addr.add_pages(1);
        }
        true
    }

    /// Has the entry of `addr` name a page, whose content walkers without a lock must find as it is now. The caller has the
    /// lock of the table. (Linux: `smp_wmb` in `__folio_mark_uptodate`)
    pub(crate) fn set(&self, addr: VirtAddr, value: Pte) {
        P::step(Step::SetPte("set_pte", self.pmd.mm.id, addr, value));
        self.entry(addr)
            .store_release(P::Format::encode(value, PTE_LEVEL));
    }

    /// Has the entry of `addr` remember something, and name no page. The caller has the lock of the table.
    pub(crate) fn set_marker(&self, addr: VirtAddr, marker: Marker) {
        let value = Pte::marker(marker);
        P::step(Step::SetPte("set_pte", self.pmd.mm.id, addr, value));
        self.entry(addr)
            .write_once(P::Format::encode(value, PTE_LEVEL));
    }

    /// Changes the page's entry of `addr` to what `change` makes of it. The caller has the lock of the table.
    ///
    /// Hardware does not take the lock: it may find the page accessed or written at any time, and notes that in the entry. So
    /// the entry is emptied by one step, and what it was then is what is changed; hardware that comes in between
    /// faults, and waits for the lock. (Linux: `ptep_modify_prot_start`)
    pub(crate) fn change(&self, addr: VirtAddr, change: impl FnOnce(Pte) -> Pte) {
        let old = if P::enforces(Safeguard::AtomicEntryChange) {
            self.take(addr)
        } else {
            self.get(addr)
        };
        self.set(addr, change(old));
    }

    /// Has the entry of `addr` say that the page is in swap. The caller has the lock of the table. Who follows it takes the lock of
    /// the slot.
    pub(crate) fn set_swap(&self, addr: VirtAddr, swap: Swap) {
        let value = Pte::swap(swap);
        P::step(Step::SetPte("set_pte", self.pmd.mm.id, addr, value));
        self.entry(addr)
            .write_once(P::Format::encode(value, PTE_LEVEL));
    }

    /// Has the entry of `addr` say that the page is on its way to another frame. The caller has the lock of the table. Who follows it
    /// waits for the lock of the folio.
    pub(crate) fn set_migration(&self, addr: VirtAddr, migration: Migration) {
        let value = Pte::migration(migration);
        P::step(Step::SetPte("set_pte", self.pmd.mm.id, addr, value));
        self.entry(addr)
            .write_once(P::Format::encode(value, PTE_LEVEL));
    }

    /// Empties the entry of `addr` and returns what was there. The caller has the lock of the table. What orders it is what
    /// follows: a flush, and the entry's reference that is given back.
    pub(crate) fn take(&self, addr: VirtAddr) -> Pte {
        P::step(Step::Pte("ptep_get_and_clear", self.pmd.mm.id, addr));
        Self::decode(self.entry(addr).xchg_relaxed(0))
    }
}

/// A table of small-page entries whose lock is held, and that is attached.
pub(crate) struct PteLocked<P: Platform> {
    // Fields are dropped in order: first the lock is released, then the table unmapped.
    _ptl: PtLockGuard<P>,
    map: PteMap<P>,
}

impl<P: Platform> core::ops::Deref for PteLocked<P> {
    type Target = PteMap<P>;
    fn deref(&self) -> &PteMap<P> {
        &self.map
    }
}

/// Looks at the table that `pmd` names. `None` when it names none. (Linux: `pte_offset_map`)
///
/// Where mapping cannot fail (Linux up to 6.4), the caller looks whether there is a table, and this reads the
/// entry again to find it, trusting that the caller's locks keep it.
pub(crate) fn pte_offset_map<P: Platform>(pmd: PmdRef<P>) -> Option<PteMap<P>> {
    if P::enforces(Safeguard::MapMayFail) {
        let rcu = P::enforces(Safeguard::WalkUnderRcu).then(RcuGuard::<P>::read_lock);
        let seen = pmd.read_dependent("read pmd");
        return seen.is_table().then_some(PteMap {
            pmd,
            seen,
            _rcu: rcu,
        });
    }
    let value = pmd.read_once("read pmd");
    if value.is_huge() || P::enforces(Safeguard::StableUpperEntry) && !value.is_table() {
        return None;
    }
    let seen = pmd.read_dependent("pte_offset_map: read pmd again");
    if !seen.is_table() {
        P::observe(Fact::MissingTable(pmd.mm.id, pmd.addr));
    }
    seen.is_table().then_some(PteMap {
        pmd,
        seen,
        _rcu: None,
    })
}

/// Looks at the table that `seen`, a copy of the entry, names. The caller keeps the table from being freed.
pub(crate) fn pte_offset_map_copy<P: Platform>(pmd: PmdRef<P>, seen: Pte) -> Option<PteMap<P>> {
    seen.is_table().then_some(PteMap {
        pmd,
        seen,
        _rcu: None,
    })
}

/// As [`pte_offset_map`]; the caller takes the [lock of the table](PteMap::lockptr) later. If it then writes where
/// it expects an empty entry, it has to look at the upper entry again, since a detached table is empty as well.
/// (Linux: `pte_offset_map_nolock`)
pub(crate) fn pte_offset_map_nolock<P: Platform>(pmd: PmdRef<P>) -> Option<PteMap<P>> {
    pte_offset_map(pmd)
}

/// Looks at the table that `pmd` names and takes its lock. `None`, with no lock held, when it names none.
///
/// The lock may have been waited for while the table was removed, so the upper entry is looked at again.
/// (Linux: `pte_offset_map_lock`)
pub(crate) fn pte_offset_map_lock<P: Platform>(pmd: PmdRef<P>) -> Option<PteLocked<P>> {
    loop {
        let map = pte_offset_map(pmd)?;
        let ptl = map
            .lockptr()
            .lock(Step::Pte("pte_offset_map_lock", pmd.mm.id, pmd.addr));
        let recheck = P::enforces(Safeguard::MapMayFail) && P::enforces(Safeguard::RecheckPmd);
        // The remover held the lock of the table, so that is all the order that the second look needs.
        if !recheck || pmd.read_once("recheck pmd") == map.seen {
            return Some(PteLocked { _ptl: ptl, map });
        }
    }
}
