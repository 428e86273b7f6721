//! A CPU that runs a thread of a process: it reads and writes memory by virtual address.
//!
//! What is assumed of the hardware is what the machine under the model checker assumes: a walk reads the entry of each
//! level once, from the top or from a cached upper entry, and may keep what it found until it is flushed; an access uses a
//! cached translation without a look at the tables; a flush does not overtake a walk or an access.

use std::fmt;
use std::marker::PhantomData;

use pagefold::addr::{PAGE_SIZE, VirtAddr};
use pagefold::arch::{Format, PMD_LEVEL, PTE_LEVEL, Pte};
use pagefold::fault::{FaultError, handle_user_fault};
use pagefold::handle::Ref;
use pagefold::mm::Mm;
use pagefold::platform::Word;

use super::memory::{Memory, Page};
use super::slot::CpuSlot;
use super::tlb::{Tlb, VIRT_PAGE_BITS};
use super::word::HostWord;
use super::{Host, HostFormat, PTRS_PER_TABLE, thread};

/// The current thread, as a CPU that runs a process.
///
/// Accesses are atomic; a load has acquire and a store release order, as on x86.
pub struct HostCpu {
    mm: Ref<Host, Mm<Host>>,
    slot: &'static CpuSlot,
    tlb: Tlb,
    /// The thread that this is.
    _thread: PhantomData<*const ()>,
}

impl HostCpu {
    /// Makes the current thread a CPU that runs the process with this address space, until the result is dropped.
    ///
    /// # Panics
    /// If the thread is one already.
    #[must_use]
    pub fn run(mm: Ref<Host, Mm<Host>>) -> Self {
        let slot = thread::slot();
        let tlb = Tlb::new();
        slot.attach(mm.raw().addr());
        Self {
            mm,
            slot,
            tlb,
            _thread: PhantomData,
        }
    }

    /// The address space.
    #[must_use]
    pub fn mm(&self) -> Ref<Host, Mm<Host>> {
        self.mm
    }

    /// Reads the word at an address.
    ///
    /// # Errors
    /// The signal that the process gets.
    ///
    /// # Panics
    /// If the address is not that of a word.
    #[inline]
    pub fn load(&mut self, addr: VirtAddr) -> Result<u64, FaultError<Host>> {
        self.access(addr, false, HostWord::load_acquire)
    }

    /// Writes the word at an address.
    ///
    /// # Errors
    /// The signal that the process gets.
    ///
    /// # Panics
    /// If the address is not that of a word.
    #[inline]
    pub fn store(&mut self, addr: VirtAddr, value: u64) -> Result<(), FaultError<Host>> {
        self.access(addr, true, |word| word.store_release(value))
    }

    /// An instruction: it is tried until it goes through, or ends in a signal.
    #[inline(always)]
    fn access<R>(
        &mut self,
        addr: VirtAddr,
        write: bool,
        operation: impl Fn(&HostWord) -> R,
    ) -> Result<R, FaultError<Host>> {
        let offset = (addr.0 % PAGE_SIZE) as usize;
        assert!(
            offset.is_multiple_of(size_of::<HostWord>()),
            "an access is to an aligned word"
        );
        loop {
            {
                let _section = self.slot.enter_access();
                if let Some(requests) = self.slot.take_requests() {
                    requests.apply(&mut self.tlb);
                }
                if let Some(page) = self.translate(addr.page(), write) {
                    return Ok(operation(&page[offset / size_of::<HostWord>()]));
                }
            }
            handle_user_fault(self.mm, VirtAddr::of_page(addr.page()), write)?;
        }
    }

    /// The frame of a virtual page, if the access may go on. The caller is in a section.
    #[inline(always)]
    fn translate(&mut self, page: u64, write: bool) -> Option<&'static Page> {
        self.tlb
            .leaf(page, write)
            .or_else(|| self.walk(page, write))
    }

    /// What a walk finds, and keeps.
    fn walk(&mut self, page: u64, write: bool) -> Option<&'static Page> {
        if page >> VIRT_PAGE_BITS != 0 {
            return None;
        }
        let pte = loop {
            let found = self
                .find_leaf(page)
                .filter(|leaf| leaf.pte.is_writable() || !write);
            let Some(leaf) = found else {
                self.tlb.forget_fault(page);
                return None;
            };
            if let Some(pte) = leaf.mark(write) {
                break pte;
            }
        };
        let frame = Memory::get().page(pte.pfn());
        // A store to a page that is not dirty yet has to walk again.
        self.tlb
            .keep_leaf(page, pte.is_writable() && pte.is_dirty(), frame);
        Some(frame)
    }

    /// The entry of a page that may be accessed; that of a huge page as if it were of the small one.
    fn find_leaf(&mut self, page: u64) -> Option<Leaf> {
        let table = match self.tlb.table(page) {
            Some(table) => table,
            None => {
                let mut table = Memory::get().page(self.mm.root());
                for level in (PMD_LEVEL..HostFormat::levels()).rev() {
                    let leaf = Leaf::read(table, page, level);
                    if leaf.pte.is_huge() {
                        return Some(leaf).filter(|leaf| leaf.pte.is_accessible());
                    }
                    if !leaf.pte.is_table() {
                        return None;
                    }
                    table = Memory::get().page(leaf.pte.pfn());
                }
                self.tlb.keep_table(page, table);
                table
            }
        };
        Some(Leaf::read(table, page, PTE_LEVEL)).filter(|leaf| leaf.pte.is_accessible())
    }
}

/// An entry that a walk has read.
struct Leaf {
    word: &'static HostWord,
    seen: u64,
    pte: Pte,
    page: u64,
    level: u32,
}

impl Leaf {
    /// The entry for a page in a table of a level, read as hardware does: what it names is read after it.
    #[inline(always)]
    fn read(table: &'static Page, page: u64, level: u32) -> Self {
        let number = page >> (level * PTRS_PER_TABLE.ilog2());
        let word = &table[number as usize % PTRS_PER_TABLE];
        let seen = word.read_dependent();
        Self {
            word,
            seen,
            pte: HostFormat::decode(seen, level),
            page,
            level,
        }
    }

    /// Marks the page accessed, and dirty if it is written to, before a translation is kept. The entry of the small page
    /// then; `None` if it changed meanwhile.
    #[inline(always)]
    fn mark(&self, write: bool) -> Option<Pte> {
        let mut marked = self.pte.mk_young();
        if write {
            marked = marked.mk_dirty();
        }
        let done = marked == self.pte
            || self
                .word
                .mark_by_walk(self.seen, HostFormat::encode(marked, self.level));
        done.then(|| marked.piece(self.page as usize % PTRS_PER_TABLE.pow(self.level)))
    }
}

impl Drop for HostCpu {
    fn drop(&mut self) {
        self.slot.detach();
    }
}

impl fmt::Debug for HostCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCpu").field("mm", &self.mm.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use pagefold::addr::{AddrRange, PageIndex, Pfn};
    use pagefold::mmap::{self, Backing, Sharing};
    use pagefold::page_cache::Mapping;
    use pagefold::platform::{FlushKind, Order, Platform};

    use super::*;

    const START: VirtAddr = VirtAddr::of_page(3 * PTRS_PER_TABLE as u64);
    const RANGE: AddrRange = AddrRange::pages(START, 1);
    const ROUNDS: u64 = 20_000;
    const VALID: u64 = 1;
    const STALE: u64 = 2;

    /// A process that maps one page.
    struct Process {
        mm: Ref<Host, Mm<Host>>,
        object: Ref<Host, Mapping<Host>>,
    }

    impl Process {
        fn new() -> Self {
            let mm = Mm::new(0).unwrap();
            let object = Mapping::new(0, 1).unwrap();
            let backing = Backing::Object {
                mapping: object,
                pgoff: PageIndex(0),
                sharing: Sharing::Shared,
            };
            mmap::mmap(mm, RANGE, backing).unwrap();
            let mut cpu = HostCpu::run(mm);
            cpu.store(START, VALID).unwrap();
            Self { mm, object }
        }

        /// The word of the upper entry, and the table that it names.
        fn pmd(&self) -> (&'static HostWord, Pfn) {
            let index = |level: u32| (START.page() >> (9 * level)) as usize % PTRS_PER_TABLE;
            let root = Host::entry(self.mm.root(), index(2));
            let upper = HostFormat::decode(root.read_dependent(), 2);
            let pmd = Host::entry(upper.pfn(), index(1));
            (
                pmd,
                HostFormat::decode(pmd.read_dependent(), PMD_LEVEL).pfn(),
            )
        }

        fn pte(&self) -> &'static HostWord {
            Host::entry(self.pmd().1, 0)
        }

        fn end(self) {
            mmap::exit_mm(self.mm);
            // SAFETY: the threads that used the object and the address space have ended.
            unsafe {
                Mapping::evict(self.object);
                mmap::mmdrop(self.mm);
            }
        }
    }

    /// Calls `change` again and again, with the number of the call, while CPUs read [`VALID`] and count in the page's other word:
    /// at least so often, and until each CPU did a good number of accesses.
    fn with_cpus(process: &Process, mut change: impl FnMut(usize)) {
        const CPUS: usize = 3;
        let done = [const { AtomicU64::new(0) }; CPUS];
        let stop = AtomicBool::new(false);
        let mm = process.mm;
        thread::scope(|scope| {
            for (number, done) in done.iter().enumerate() {
                let stop = &stop;
                scope.spawn(move || {
                    let mut cpu = HostCpu::run(mm);
                    while !stop.load(Acquire) {
                        let count = done.load(Relaxed) + 1;
                        if number == 0 {
                            cpu.store(VirtAddr(START.0 + 8), count).unwrap();
                        } else if cpu.load(START).unwrap() != VALID {
                            done.store(u64::MAX, Release);
                            panic!("a stale translation");
                        }
                        done.store(count, Release);
                    }
                });
            }
            let mut calls = 0;
            while calls < ROUNDS || done.iter().any(|done| done.load(Acquire) < ROUNDS) {
                change(calls as usize);
                calls += 1;
            }
            stop.store(true, Release);
        });
    }

    fn frame() -> Pfn {
        Host::alloc_frames(Order::Small).unwrap()
    }

    #[test]
    fn no_translation_of_a_page_is_used_after_it_was_flushed() {
        let process = Process::new();
        let pte = process.pte();
        let original = pte.read_once();
        let frames = [frame(), frame()];
        for page in frames.map(Host::page) {
            page[0].write_once(VALID);
        }
        let mut late = 0;
        with_cpus(&process, |round| {
            let (old, new) = (frames[round % 2], frames[(round + 1) % 2]);
            Host::page(new)[0].write_once(VALID);
            pte.store_release(HostFormat::encode(Pte::page(new, true), PTE_LEVEL));
            Host::flush_tlb(process.mm, RANGE, FlushKind::Leaves);
            let count = Host::page(old)[1].read_once();
            Host::page(old)[0].write_once(STALE);
            for _ in 0..100 {
                std::hint::spin_loop();
            }
            late += u32::from(Host::page(old)[1].read_once() != count);
        });
        assert_eq!(late, 0, "stores came after the flush");
        pte.store_release(original);
        for pfn in frames {
            Host::free_frames(pfn, Order::Small);
        }
        process.end();
    }

    #[test]
    fn no_cached_table_is_walked_after_it_was_flushed() {
        let process = Process::new();
        let (pmd, original) = process.pmd();
        let valid = Host::entry(original, 0).read_once();
        let stale = frame();
        Host::page(stale)[0].write_once(STALE);
        let tables = [frame(), frame()];
        tables.iter().for_each(|table| Host::clear_page(*table));
        with_cpus(&process, |round| {
            let new = tables[round % 2];
            Host::entry(new, 0).write_once(valid);
            let old = HostFormat::decode(pmd.read_once(), PMD_LEVEL).pfn();
            pmd.store_release(HostFormat::encode(Pte::table(new), PMD_LEVEL));
            Host::flush_tlb(process.mm, RANGE, FlushKind::LeavesAndTables);
            if old != original {
                Host::entry(old, 0)
                    .write_once(HostFormat::encode(Pte::page(stale, true), PTE_LEVEL));
            }
            // Now the next access walks, from the upper entry that it has cached or not.
            Host::flush_tlb(process.mm, RANGE, FlushKind::Leaves);
        });
        pmd.store_release(HostFormat::encode(Pte::table(original), PMD_LEVEL));
        for pfn in [stale, tables[0], tables[1]] {
            Host::free_frames(pfn, Order::Small);
        }
        process.end();
    }

    #[test]
    fn cpus_that_flush_each_other_do_not_wait_for_ever() {
        let process = Process::new();
        let mm = process.mm;
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    let mut cpu = HostCpu::run(mm);
                    for _ in 0..ROUNDS {
                        assert_eq!(cpu.load(START).unwrap(), VALID);
                        Host::flush_tlb(mm, RANGE, FlushKind::LeavesAndTables);
                    }
                });
            }
        });
        process.end();
    }

    #[test]
    fn a_flush_waits_for_interrupts_and_not_for_idle_cpus() {
        let process = Process::new();
        let mm = process.mm;
        let over = AtomicBool::new(false);
        let (ready, is_ready) = mpsc::channel();
        let (wake, sleep) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let idle = ready.clone();
            scope.spawn(move || {
                let mut cpu = HostCpu::run(mm);
                cpu.load(START).unwrap();
                idle.send(()).unwrap();
                sleep.recv().unwrap();
            });
            scope.spawn(|| {
                Host::irq_save();
                Host::irq_save();
                Host::irq_restore();
                ready.send(()).unwrap();
                thread::sleep(Duration::from_millis(30));
                over.store(true, Release);
                Host::irq_restore();
            });
            is_ready.recv().unwrap();
            is_ready.recv().unwrap();
            Host::flush_tlb(mm, RANGE, FlushKind::Leaves);
            let waited = over.load(Acquire);
            wake.send(()).unwrap();
            assert!(waited);
        });
        process.end();
    }

    #[test]
    fn an_access_outside_of_any_mapping_is_a_signal() {
        let process = Process::new();
        {
            let mut cpu = HostCpu::run(process.mm);
            let behind = VirtAddr::of_page(1 << VIRT_PAGE_BITS);
            for addr in [START.add_pages(1), behind, VirtAddr(u64::MAX - 7)] {
                assert!(matches!(cpu.load(addr), Err(FaultError::SigSegv)));
                assert!(matches!(cpu.store(addr, 0), Err(FaultError::SigSegv)));
            }
        }
        process.end();
    }
}
