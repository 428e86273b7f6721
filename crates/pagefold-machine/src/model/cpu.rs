//! CPUs, devices and virtual CPUs: who walks page tables without asking.
//!
//! What is assumed of the hardware (Intel SDM volume 3, 5.10; the same for others):
//!
//! * What an entry names is read after the entry (an address dependency, which all hardware keeps); otherwise accesses of
//!   programs are in no order.
//! * A walk reads the entry of each level once, from the top or from a cached upper-level entry (paging-structure
//!   cache), and may keep each present entry it read, until it is flushed.
//! * Before a walk keeps the entry of a page it marks it accessed, and dirty if it is for a store, unless it is so marked already: as
//!   one step, and only if the entry is still what was read. Otherwise the walk begins anew (x86 by locked cycles, the
//!   Arm and RISC-V architectures where hardware does it at all). Tables are not marked.
//! * An access uses a cached translation without looking at the page tables; a store only one whose entry was dirty then.
//! * A page fault makes a CPU forget what it has cached for the address (5.10.4.1). An IOMMU forgets nothing by itself.
//! * A flush is broadcast (AArch64 `TLBI`, AMD64 `INVLPGB`): it is complete when no CPU is in the middle of an instruction
//!   that uses the old translation. It interrupts nobody; software that walks page tables with interrupts off is not waited
//!   for. A machine that flushes by interrupts waits for more, so whatever holds here holds there.
//! * An interrupt is taken between instructions, and only where interrupts are on.
//! * An IOMMU walks the same tables and caches in the same way; it is told to flush by a command that completes
//!   when walks in flight are over.

use std::cell::Cell;

use pagefold::Ref;
use pagefold::addr::{AddrRange, Pfn, VirtAddr};
use pagefold::arch::{Format, PMD_LEVEL, Pte};
use pagefold::kvm::Kvm;
use pagefold::mm::Mm;
use pagefold::platform::{FlushKind, Platform, Word};
use pagefold_explore as explore;

use super::format::{MAX_LEVELS, ModelFormat};
use super::oracle::{Audience, Through};
use super::word::ModelWord;
use super::world::{CPUS, VIRT_PAGES, World};
use super::{Model, PTRS_PER_TABLE, names};

/// What a translator is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CpuKind {
    /// Not there.
    Absent,
    /// Runs threads of a process.
    Cpu,
    /// An IOMMU behind a device that uses the process's tables.
    Device,
    /// A virtual CPU, which uses a table of its own.
    Vcpu,
}

/// A leaf entry that is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Translation {
    pub(crate) pfn: Pfn,
    pub(crate) writable: bool,
    /// The entry says that the page was written.
    pub(crate) dirty: bool,
}

impl Translation {
    /// Whether an access may go on without a walk.
    fn suffices(self, write: bool) -> bool {
        !write || (self.writable && self.dirty)
    }
}

/// A CPU or what is like one.
pub(crate) struct Cpu {
    pub(crate) number: usize,
    pub(crate) kind: Cell<CpuKind>,
    /// The address space whose tables it uses.
    pub(crate) mm: Cell<u32>,
    /// Held while an instruction that accesses memory is executed; flushes come in between.
    instruction: explore::interrupt::Cpu,
    /// Held by software while it keeps interrupts off.
    pub(crate) interrupts: explore::interrupt::Cpu,
    /// Cached leaf entries, by virtual page.
    pub(crate) leaves: [Cell<Option<Translation>>; VIRT_PAGES],
    /// Cached entries that name tables, for each level from `PMD_LEVEL` on.
    tables: [[Cell<Option<Pfn>>; VIRT_PAGES / PTRS_PER_TABLE]; MAX_LEVELS - 1],
}

impl Cpu {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            kind: Cell::new(CpuKind::Absent),
            mm: Cell::new(0),
            instruction: explore::interrupt::Cpu::new(number as u32),
            interrupts: explore::interrupt::Cpu::new(number as u32),
            leaves: std::array::from_fn(|_| Cell::new(None)),
            tables: std::array::from_fn(|_| std::array::from_fn(|_| Cell::new(None))),
        }
    }

    /// What a walk for an access finds, and keeps. The caller has interrupts off.
    fn walk(&self, mm: Ref<Model, Mm<Model>>, addr: VirtAddr, write: bool) -> Option<Translation> {
        let (mut table, mut level) = self.start_of_walk(mm, addr);
        loop {
            let (word, seen) = self.read_entry(mm, addr, table, level);
            let pte = ModelFormat::decode(seen, level);
            if pte.is_accessible() {
                let marked = if write && pte.is_writable() {
                    pte.mk_young().mk_dirty()
                } else {
                    pte.mk_young()
                };
                if marked != pte && !self.mark(mm, addr, word, seen, marked, level) {
                    continue;
                }
                let piece = addr.page() as usize % pages_of(level);
                let translation = Translation {
                    pfn: pte.pfn().add(piece),
                    writable: marked.is_writable(),
                    dirty: marked.is_dirty(),
                };
                self.leaves[addr.page() as usize].set(Some(translation));
                return Some(translation);
            }
            if !pte.is_table() {
                return None;
            }
            table = pte.pfn();
            self.tables_of(level)[addr.page() as usize / pages_of(level)].set(Some(table));
            level -= 1;
        }
    }

    /// The lowest table for an address that is cached, or else the top-level table; and its level.
    fn start_of_walk(&self, mm: Ref<Model, Mm<Model>>, addr: VirtAddr) -> (Pfn, u32) {
        let levels = ModelFormat::levels();
        (PMD_LEVEL..levels)
            .find_map(|level| {
                let cached = self.tables_of(level)[addr.page() as usize / pages_of(level)].get();
                Some((cached?, level - 1))
            })
            .unwrap_or((mm.root(), levels - 1))
    }

    fn read_entry(
        &self,
        mm: Ref<Model, Mm<Model>>,
        addr: VirtAddr,
        table: Pfn,
        level: u32,
    ) -> (&'static ModelWord, u64) {
        explore::label(|| {
            let name = ["pte", "pmd", "pud", "p4d", "pgd"][level as usize];
            let of = names::page(mm.id, addr);
            format!("{}: walk reads {name} of {of}", self.title())
        });
        let index = addr.page() as usize / pages_of(level) % PTRS_PER_TABLE;
        let word = Model::entry(table, index);
        (word, word.read_by_walk())
    }

    fn mark(
        &self,
        mm: Ref<Model, Mm<Model>>,
        addr: VirtAddr,
        word: &ModelWord,
        seen: u64,
        marked: Pte,
        level: u32,
    ) -> bool {
        explore::label(|| {
            let of = names::page(mm.id, addr);
            let what = if marked.is_dirty() {
                "dirty"
            } else {
                "accessed"
            };
            format!("{}: hardware marks {of} {what}", self.title())
        });
        word.mark_by_walk(seen, ModelFormat::encode(marked, level))
    }

    /// Cached entries of a level that name tables, by the part of the address space that each serves.
    pub(crate) fn tables_of(&self, level: u32) -> &[Cell<Option<Pfn>>] {
        &self.tables[(level - PMD_LEVEL) as usize]
    }

    /// The translation for an access, if it may go on.
    fn translate(
        &self,
        mm: Ref<Model, Mm<Model>>,
        addr: VirtAddr,
        write: bool,
    ) -> Option<Translation> {
        let cached = self.leaves[addr.page() as usize].get();
        if let Some(translation) = cached.filter(|found| found.suffices(write)) {
            return Some(translation);
        }
        // One that does not allow the access, or does not say that the page was written, is dropped before the walk.
        self.leaves[addr.page() as usize].set(None);
        let found = self
            .walk(mm, addr, write)
            .filter(|found| found.suffices(write));
        if found.is_none() && self.kind.get() == CpuKind::Cpu {
            self.forget(AddrRange::pages(addr, 1), FlushKind::LeavesAndTables);
        }
        found
    }

    fn forget(&self, range: AddrRange, kind: FlushKind) {
        for (page, leaf) in self.leaves.iter().enumerate() {
            if range.contains(VirtAddr::of_page(page as u64)) {
                leaf.set(None);
            }
        }
        if kind == FlushKind::LeavesAndTables {
            for level in PMD_LEVEL..ModelFormat::levels() {
                forget_spans(self.tables_of(level), pages_of(level), range);
            }
        }
    }

    pub(crate) fn title(&self) -> &'static str {
        match self.kind.get() {
            CpuKind::Absent | CpuKind::Cpu => "cpu",
            CpuKind::Device => "iommu",
            CpuKind::Vcpu => "vcpu",
        }
    }
}

fn forget_spans(cache: &[Cell<Option<Pfn>>], pages: usize, range: AddrRange) {
    for (index, entry) in cache.iter().enumerate() {
        let span = AddrRange::pages(VirtAddr::of_page((index * pages) as u64), pages as u64);
        if span.overlaps(range) {
            entry.set(None);
        }
    }
}

/// Pages that an entry of a level serves.
fn pages_of(level: u32) -> usize {
    PTRS_PER_TABLE.pow(level)
}

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Load,
    Store(u64),
}

impl Access {
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Store(_))
    }
}

/// One try of an instruction that accesses memory: `None` is a fault. No interrupt is taken within it.
pub(crate) fn try_access(
    cpu: &Cpu,
    mm: Ref<Model, Mm<Model>>,
    addr: VirtAddr,
    access: Access,
) -> Option<u64> {
    explore::label(|| "begin access".into());
    cpu.instruction.disable();
    let translation = cpu.translate(mm, addr, access.is_write());
    let value = translation.map(|found| touch(mm.id, addr, found.pfn, access));
    explore::label(|| "end access".into());
    cpu.instruction.enable();
    value
}

/// One try of an instruction of a virtual CPU.
pub(crate) fn try_guest_access(
    cpu: &Cpu,
    mm: Ref<Model, Mm<Model>>,
    kvm: Ref<Model, Kvm<Model>>,
    addr: VirtAddr,
    access: Access,
) -> Option<u64> {
    explore::label(|| "begin access".into());
    cpu.instruction.disable();
    let spte = kvm
        .spte(addr)
        .filter(|spte| spte.is_present() && (spte.is_writable() || !access.is_write()));
    let value = spte.map(|spte| touch(mm.id, addr, spte.pfn(), access));
    explore::label(|| "end access".into());
    cpu.instruction.enable();
    value
}

/// A walk that the hardware begins on its own: it never faults, and keeps what it finds.
pub(crate) fn prefetch(cpu: &Cpu, mm: Ref<Model, Mm<Model>>, addr: VirtAddr) {
    explore::label(|| "begin access".into());
    cpu.instruction.disable();
    let _ = cpu.translate(mm, addr, false);
    explore::label(|| "end access".into());
    cpu.instruction.enable();
}

/// The access to the frame itself.
fn touch(mm: u32, addr: VirtAddr, pfn: Pfn, access: Access) -> u64 {
    let world = World::current();
    match access {
        Access::Load => {
            world.before_load(mm, addr);
            explore::label(|| format!("load {} (frame {})", names::page(mm, addr), pfn.0));
            let value = world.content(pfn).read_once();
            explore::note(|| format!("= {value}"));
            world.books.check_load(mm, addr, pfn, value);
            world.check_permitted(mm, addr, access);
            value
        }
        Access::Store(value) => {
            explore::label(|| {
                format!(
                    "store {} = {value} (frame {})",
                    names::page(mm, addr),
                    pfn.0
                )
            });
            world.store_by_user(mm, addr, pfn, value, Through::Translation);
            world.check_permitted(mm, addr, access);
            value
        }
    }
}

/// Has each translator but the current CPU that `wanted` names do `action` between two instructions (`line` is its
/// `instruction`) or when interrupts are on (`interrupts`), and waits for all of them.
fn signal(
    label: &'static str,
    wanted: impl Fn(&Cpu) -> bool,
    line: impl Fn(&'static Cpu) -> &'static explore::interrupt::Cpu,
    action: impl Fn(&'static Cpu) + Copy + 'static,
) {
    let world = World::current();
    let current = world.current_cpu().map(|cpu| cpu.number);
    let mut sent: [Option<explore::interrupt::Ipi>; CPUS] = [const { None }; CPUS];
    for cpu in &world.cpus[..world.nr_cpus.get()] {
        if !wanted(cpu) {
            continue;
        }
        if current == Some(cpu.number) || explore::is_quiet() {
            action(cpu);
        } else {
            explore::label(|| format!("send {label} to {} {}", cpu.title(), cpu.number));
            // SAFETY: the action owns nothing but copies, and the CPU is in the arena.
            let ipi = unsafe { line(cpu).ipi_forgettable(move || action(cpu)) };
            sent[cpu.number] = Some(ipi);
        }
    }
    for ipi in sent.into_iter().flatten() {
        explore::label(|| format!("wait for {label}"));
        ipi.join();
    }
}

/// Flushes the translation caches of the CPUs that run threads of an address space.
pub(crate) fn flush_cpus(mm: u32, range: AddrRange, kind: FlushKind) {
    signal(
        "TLB flush",
        |cpu| cpu.kind.get() == CpuKind::Cpu && cpu.mm.get() == mm,
        |cpu| &cpu.instruction,
        move |cpu| cpu.forget(range, kind),
    );
    note_flush(Audience::Cpus, mm, range, kind);
}

/// Flushes the translation caches of the devices that use the tables of an address space.
pub(crate) fn flush_devices(mm: u32, range: AddrRange, kind: FlushKind) {
    signal(
        "IOTLB flush",
        |cpu| cpu.kind.get() == CpuKind::Device && cpu.mm.get() == mm,
        |cpu| &cpu.instruction,
        move |cpu| cpu.forget(range, kind),
    );
    note_flush(Audience::Devices, mm, range, kind);
}

fn note_flush(audience: Audience, mm: u32, range: AddrRange, kind: FlushKind) {
    if let Some(live) = World::current().live_entries() {
        live.note_flush(audience, mm, range, kind);
    }
}

/// Makes virtual CPUs leave guest mode once.
pub(crate) fn kick_vcpus(mm: u32) {
    signal(
        "kick",
        |cpu| cpu.kind.get() == CpuKind::Vcpu && cpu.mm.get() == mm,
        |cpu| &cpu.instruction,
        |_| (),
    );
}

/// Waits until each CPU has had its interrupts on once.
pub(crate) fn sync_walkers() {
    signal(
        "sync IPI",
        |cpu| cpu.kind.get() != CpuKind::Device,
        |cpu| &cpu.interrupts,
        |_| (),
    );
}
