//! A secondary MMU with a table of its own, as KVM has.
//!
//! Guarantee: an entry of the table names the frame that the address space maps there, or is taken away before
//! that frame is given away. No reference is held for an entry.
//!
//! Protocol: a fault samples the sequence count, translates, takes `mmu_lock`, and looks whether an invalidation is in
//! progress or has been since the sample; if so it starts over. Invalidation counts itself in and takes entries away
//! under the same lock, and counts itself out, with a new sequence number, when it is done. Virtual CPUs that
//! may be using an entry that was taken away are made to leave guest mode before the invalidation goes on.
//!
//! Locks: `mmu_lock` alone; it is taken under the sleeping locks of whoever announces a range.

use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::arch::{Format, PTE_LEVEL, Pte};
use crate::fault::FaultError;
use crate::folio::Folio;
use crate::gup;
use crate::handle::Ref;
use crate::lock_order::LockClass;
use crate::mm::Mm;
use crate::notifier;
use crate::platform::{Order, Platform, RawLock, Word};
use crate::protocol::Safeguard;
use crate::step::Step;
use crate::sync::LockGuard;

/// A virtual machine whose memory is a range of an address space.
pub struct Kvm<P: Platform> {
    mm: Ref<P, Mm<P>>,
    /// The addresses that are the guest's memory: at most as many pages as a table has entries.
    slot: AddrRange,
    mmu_lock: P::Lock,
    /// The table: an entry for each page of the slot.
    table: Pfn,
    invalidate_in_progress: P::Word,
    invalidate_seq: P::Word,
}

impl<P: Platform> Kvm<P> {
    /// A machine on `slot` of `mm`, which nobody else uses yet. `None` when there is no frame for its table.
    ///
    /// # Panics
    /// If the slot has more pages than a table has entries.
    #[must_use]
    pub fn new(mm: Ref<P, Mm<P>>, slot: AddrRange) -> Option<Ref<P, Self>> {
        let pages = slot.end.page() - slot.start.page();
        assert!(
            pages <= P::PTRS_PER_TABLE as u64,
            "a slot is served by one table"
        );
        let table = P::alloc_frames(Order::Small)?;
        crate::page_table::clear_table::<P>(table);
        let kvm = Ref::new(Self {
            mm,
            slot,
            mmu_lock: P::Lock::new(LockClass::MmuLock),
            table,
            invalidate_in_progress: P::Word::new(0),
            invalidate_seq: P::Word::new(0),
        });
        notifier::subscribe(mm, kvm);
        Some(kvm)
    }

    /// The entry of the page at `addr`, as a virtual CPU in guest mode reads it to access the page; `None` outside the slot.
    pub fn spte(&self, addr: VirtAddr) -> Option<Pte> {
        P::step(Step::Pte("read spte", self.mm.id, addr));
        self.entry(addr)
            .map(|entry| P::Format::decode(entry.read_dependent(), PTE_LEVEL))
    }

    /// The entry of the page at `addr` now, for oracles.
    pub fn spte_protected(&self, addr: VirtAddr) -> Option<Pte> {
        self.entry(addr)
            .map(|entry| P::Format::decode(entry.load_protected(), PTE_LEVEL))
    }

    /// The frame of the machine's own table, for oracles that look for leaks.
    pub fn table(&self) -> Pfn {
        self.table
    }

    fn entry(&self, addr: VirtAddr) -> Option<&'static P::Word> {
        self.slot.contains(addr).then(|| {
            let page = addr.page() - self.slot.start.page();
            P::entry(self.table, page as usize)
        })
    }

    fn lock(&self) -> LockGuard<'_, P::Lock> {
        P::step(Step::Named("mmu_lock"));
        LockGuard::lock(&self.mmu_lock)
    }

    /// Maps the page at `addr` into the machine's table; the virtual CPU then tries again, and may fault again if
    /// the page was on its way out.
    ///
    /// # Errors
    /// What an access of the process itself would have met.
    pub fn page_fault(&self, addr: VirtAddr, write: bool) -> Result<(), FaultError<P>> {
        P::step(Step::Named("sample mmu_invalidate_seq"));
        // Before the look at the process's tables: who sees the number that an invalidation ended with sees the tables as that
        // left them.
        let seq = self.invalidate_seq.load_acquire();
        let pfn = gup::get_user_page(self.mm, addr, write)?;
        let overtaken = self.install(addr, write, pfn, seq);
        gup::put_user_page::<P>(pfn);
        if overtaken {
            // Where an invalidation is in progress, nothing comes of trying again before it ends, with a new number.
            P::step(Step::Named("wait for mmu_invalidate_seq"));
            self.invalidate_seq.wait_while(seq);
        }
        Ok(())
    }

    /// Maps the page unless an invalidation may have overtaken the look at the process's tables; whether it may.
    fn install(&self, addr: VirtAddr, write: bool, pfn: Pfn, seq: u64) -> bool {
        let _mmu = self.lock();
        let overtaken = self.invalidate_in_progress.load_protected() != 0
            || self.invalidate_seq.load_protected() != seq;
        if overtaken && P::enforces(Safeguard::KvmRetry) {
            return true;
        }
        if let Some(entry) = self.entry(addr) {
            if write {
                // The guest writes through it, and no entry of the process will know.
                Folio::of::<P>(pfn).mark_dirty::<P>();
            }
            let spte = Pte::page(pfn, write);
            P::step(Step::SetPte("set_spte", self.mm.id, addr, spte));
            // The virtual CPU reads the page through it.
            entry.store_release(P::Format::encode(spte, PTE_LEVEL));
        }
        false
    }

    /// Takes the entries of a range away. Virtual CPUs are made to leave guest mode with the lock still held: who comes next and
    /// finds an entry gone may rely on nobody using it.
    pub(crate) fn invalidate_range_start(&self, range: AddrRange) {
        let _mmu = self.lock();
        let count = self.invalidate_in_progress.load_protected();
        self.invalidate_in_progress.store_protected(count + 1);
        let mut zapped = false;
        let mut addr = self.slot.start;
        while self.slot.contains(addr) {
            if let Some(entry) = self.entry(addr).filter(|_| range.contains(addr))
                && entry.load_protected() != 0
            {
                P::step(Step::SetPte("zap_spte", self.mm.id, addr, Pte::NONE));
                entry.write_once(0);
                zapped = true;
            }
            addr = addr.add_pages(1);
        }
        if zapped && P::enforces(Safeguard::KvmKick) {
            P::step(Step::Named("kvm_flush_remote_tlbs"));
            P::kick_vcpus(self.mm);
        }
    }

    pub(crate) fn invalidate_range_end(&self) {
        let _mmu = self.lock();
        let seq = self.invalidate_seq.load_protected();
        P::step(Step::Named("mmu_invalidate_seq++"));
        // After the change of the process's tables: see `page_fault`.
        self.invalidate_seq.store_release(seq + 1);
        let count = self.invalidate_in_progress.load_protected();
        self.invalidate_in_progress.store_protected(count - 1);
    }
}
