//! userfaultfd: user space fills and protects pages (Linux: `fs/userfaultfd.c`, `mm/userfaultfd.c`).
//!
//! Guarantees: in a VMA registered MISSING, the first access to a page that is not there raises an event, and the page
//! appears only when user space fills it. In a VMA registered WP, a write to a protected page raises an event;
//! protection of a page that is not there yet is kept in the page table as a marker.
//!
//! Locks, in order: `mmap_lock` (read for filling, write for registering), VMA lock (write for registering), folio lock,
//! lock of the table. Filling takes no lock that collapse holds but that of the table: in a private VMA it does not even
//! look at the page cache. That is what makes it different from every other way to a new entry, and why
//! retraction has to look again at `anon_vma`, which is attached *before* the table's lock is taken here, and
//! at the WP flag, which is set *before* any marker.

use core::fmt;

use crate::accounting::{Fact, PageKind};
use crate::addr::{AddrRange, Pfn, VirtAddr};
use crate::arch::{Marker, Pte};
use crate::fault::FaultError;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_cache::{CacheError, Mapping};
use crate::page_table::{
    PteMap, pmd_alloc, pmd_offset, pte_alloc, pte_offset_map, pte_offset_map_lock,
};
use crate::platform::{Counter, FlushKind, Order, Platform, Word};
use crate::protocol::Safeguard;
use crate::rmap::{add_mapping, anon_vma_prepare};
use crate::step::Step;
use crate::tlb::flush_tlb_range;
use crate::vma::{VM_UFFD_MISSING, VM_UFFD_WP, Vma};
use crate::zap::split_huge_pmd;

/// A userfaultfd: where events go and waiters are woken.
pub struct Userfaultfd<P: Platform> {
    /// Changes whenever waiters shall look again.
    wakeups: P::Word,
    /// Events raised.
    events: P::Counter,
    /// Faults get SIGBUS instead of waiting (`UFFD_FEATURE_SIGBUS`).
    sigbus: bool,
}

impl<P: Platform> Userfaultfd<P> {
    /// A userfaultfd. With `sigbus`, faults do not wait but raise SIGBUS.
    #[must_use]
    pub fn new(sigbus: bool) -> Ref<P, Self> {
        Ref::new(Self {
            wakeups: P::Word::new(0),
            events: P::Counter::new(0),
            sigbus,
        })
    }

    /// Events raised so far.
    pub fn events(&self) -> i64 {
        self.events.get()
    }

    /// Waits until waiters are woken after `seen`.
    pub(crate) fn wait(&self, seen: u64) {
        P::step(Step::Named("wait for userfaultfd"));
        self.wakeups.wait_while(seen);
    }

    /// Makes waiters look again, after what they wait for was done. Fillers have `mmap_lock` for reading only, so two may be
    /// here at once: each changes the number.
    fn wake(&self) {
        P::step(Step::Named("wake userfaultfd waiters"));
        self.wakeups.inc_release();
    }
}

/// Why a userfaultfd request did nothing. The errno that Linux returns has the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UffdError {
    /// No registered VMA there (ENOENT).
    NoEntry,
    /// The VMA is not of the kind or registered in the mode that this needs (EINVAL).
    Invalid,
    /// Something is there already (EEXIST).
    Exists,
    /// The page lies behind the end of the object (EFAULT).
    Fault,
    /// The page table changed meanwhile: try again (EAGAIN).
    Again,
    /// No frame is free (ENOMEM).
    NoMemory,
}

impl UffdError {
    /// The name of the errno.
    #[must_use]
    pub const fn errno(self) -> &'static str {
        match self {
            Self::NoEntry => "ENOENT",
            Self::Invalid => "EINVAL",
            Self::Exists => "EEXIST",
            Self::Fault => "EFAULT",
            Self::Again => "EAGAIN",
            Self::NoMemory => "ENOMEM",
        }
    }
}

impl fmt::Display for UffdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.errno())
    }
}

impl core::error::Error for UffdError {}

/// Which accesses raise events.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Modes {
    /// Accesses to pages that are not there.
    pub missing: bool,
    /// Writes to protected pages.
    pub wp: bool,
}

/// Registers the VMA at `addr`. (Linux: `UFFDIO_REGISTER`)
///
/// # Errors
/// [`UffdError::NoEntry`] without a VMA.
pub fn register<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    userfaultfd: Ref<P, Userfaultfd<P>>,
    modes: Modes,
) -> Result<(), UffdError> {
    let missing = if modes.missing { VM_UFFD_MISSING } else { 0 };
    let wp = if modes.wp { VM_UFFD_WP } else { 0 };
    change_registration(mm, addr, |vma| {
        vma.set_userfaultfd(Some(userfaultfd));
        vma.set_flags(vma.flags_protected() | missing | wp);
        // Once this returns, the process may look for holes: `collapse_file` closes them, then looks at the flags.
        P::smp_mb();
    })
}

/// Ends the registration of the VMA at `addr`; its protections and markers go. (Linux: `UFFDIO_UNREGISTER`)
///
/// # Errors
/// [`UffdError::NoEntry`] without a VMA.
pub fn unregister<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    change_registration(mm, addr, |vma| {
        if vma.is_uffd_wp_protected() {
            let mut page = vma.range.start;
            while vma.range.contains(page) {
                unprotect(vma, page);
                page = page.add_pages(1);
            }
        }
        vma.set_flags(vma.flags_protected() & !(VM_UFFD_MISSING | VM_UFFD_WP));
        if let Some(userfaultfd) = vma.userfaultfd() {
            userfaultfd.wake();
        }
        vma.set_userfaultfd(None);
    })
}

fn change_registration<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    change: impl FnOnce(Ref<P, Vma<P>>),
) -> Result<(), UffdError> {
    mm.mmap_write_lock();
    let result = match mm.find_vma(addr) {
        Some(vma) => {
            if P::enforces(Safeguard::RegisterVmaLock) {
                vma.start_write();
            }
            change(vma);
            Ok(())
        }
        None => Err(UffdError::NoEntry),
    };
    mm.mmap_write_unlock();
    result
}

/// Fills the missing page at `addr`; `fill` writes its content into a new frame. (Linux: `UFFDIO_COPY`)
///
/// In a private VMA the page is a private one, whatever the object holds; in a shared one it goes into the object.
///
/// # Errors
/// See [`UffdError`]; nothing has changed then, but that a page table may have been made.
pub fn copy<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    fill: impl FnOnce(Pfn),
) -> Result<(), UffdError> {
    fill_page(mm, addr, |vma| {
        if let Some(mapping) = vma.mapping.filter(|_| vma.is_shared()) {
            return fill_shared(vma, mapping, addr, fill);
        }
        if P::enforces(Safeguard::CopyAnonVmaFirst) {
            anon_vma_prepare(vma);
        }
        let folio = Folio::alloc::<P>(Order::Small, true).ok_or(UffdError::NoMemory)?;
        fill(folio.pfn());
        folio.mark_uptodate::<P>();
        let result = install(vma, addr, folio, PageKind::Anon);
        if result.is_err() {
            folio.put::<P>(1);
        } else if !P::enforces(Safeguard::CopyAnonVmaFirst) {
            anon_vma_prepare(vma);
        }
        result
    })
}

/// Fills the missing page at `addr` with zeros. (Linux: `UFFDIO_ZEROPAGE`)
///
/// # Errors
/// As [`copy`].
pub fn zeropage<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    copy(mm, addr, P::clear_page)
}

/// Marks the page at `addr` as failed memory: an access raises SIGBUS. (Linux: `UFFDIO_POISON`)
///
/// # Errors
/// As [`copy`].
pub fn poison<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    fill_page(mm, addr, |vma| {
        let table = writable_table(vma, addr, Room::None)?;
        P::observe(Fact::Poisoned(vma.mm.id, addr));
        table.set_marker(addr, Marker::Poison);
        Ok(())
    })
}

/// The frame of the three fillers (Linux: `mfill_atomic`): finds the VMA, makes the table, wakes waiters.
fn fill_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    fill: impl FnOnce(Ref<P, Vma<P>>) -> Result<(), UffdError>,
) -> Result<(), UffdError> {
    mm.mmap_read_lock();
    let result = match mm
        .find_vma(addr)
        .filter(|vma| vma.is_uffd_armed_protected())
    {
        Some(vma) => fill(vma).inspect(|()| {
            if let Some(userfaultfd) = vma.userfaultfd() {
                userfaultfd.wake();
            }
        }),
        None => Err(UffdError::NoEntry),
    };
    mm.mmap_read_unlock();
    result
}

/// The table for `addr`, made if need be, locked, with room for an entry at `addr`.
///
/// Between making and locking the table, retraction may take it away again: user space is told to try again.
fn writable_table<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    room: Room,
) -> Result<crate::page_table::PteLocked<P>, UffdError> {
    let pmd = pmd_alloc(vma.mm, addr).ok_or(UffdError::NoMemory)?;
    if pmd.read_once("read pmd").is_huge() {
        return Err(UffdError::Exists);
    }
    if !pte_alloc(pmd) {
        return Err(UffdError::NoMemory);
    }
    let table = pte_offset_map_lock(pmd).ok_or(UffdError::Again)?;
    if vma
        .mapping
        .is_some_and(|mapping| vma.index_of(addr).0 >= mapping.i_size())
    {
        return Err(UffdError::Fault);
    }
    let old = table.get(addr);
    let protected = old.as_marker() == Some(Marker::UffdWp);
    if old.is_none() || (protected && room == Room::NoneOrProtected) {
        Ok(table)
    } else {
        Err(UffdError::Exists)
    }
}

/// What an entry may hold where something is filled in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Nothing.
    None,
    /// Nothing, or the protection that the new page will have.
    NoneOrProtected,
}

/// Maps a folio, whose reference goes to the entry, where nothing or a marker is.
/// (Linux: `mfill_atomic_install_pte`)
fn install<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    folio: Folio,
    kind: PageKind,
) -> Result<(), UffdError> {
    let table = writable_table(vma, addr, Room::NoneOrProtected)?;
    let mut pte = Pte::page(folio.pfn(), true);
    if table.get(addr).as_marker() == Some(Marker::UffdWp) {
        pte = pte.mk_uffd_wp();
    }
    add_mapping(folio, vma, 1, kind);
    if kind == PageKind::Anon {
        P::observe(Fact::PrivatePage(vma.mm.id, addr, folio.pfn()));
    }
    table.set(addr, pte);
    Ok(())
}

/// Fills a page of the object itself.
fn fill_shared<P: Platform>(
    vma: Ref<P, Vma<P>>,
    mapping: Ref<P, Mapping<P>>,
    addr: VirtAddr,
    fill: impl FnOnce(Pfn),
) -> Result<(), UffdError> {
    let folio = Folio::alloc::<P>(Order::Small, false).ok_or(UffdError::NoMemory)?;
    fill(folio.pfn());
    folio.mark_uptodate::<P>();
    folio.lock_new::<P>();
    let index = vma.index_of(addr);
    let result = match Mapping::add_folio(mapping, folio, index) {
        Ok(()) => {
            P::observe(Fact::Filled(mapping.id, index, folio.pfn()));
            install(vma, addr, folio, PageKind::Shmem)
        }
        Err(CacheError::Occupied) => Err(UffdError::Exists),
        Err(CacheError::BeyondEnd) => Err(UffdError::Fault),
        Err(CacheError::NoMemory) => Err(UffdError::NoMemory),
    };
    folio.unlock::<P>();
    if result.is_err() {
        folio.put::<P>(1);
    }
    result
}

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
    mm.mmap_read_lock();
    let result = match mm.find_vma(addr).filter(|vma| vma.is_uffd_wp_protected()) {
        None => Err(UffdError::NoEntry),
        Some(vma) if protect => protect_page(vma, addr),
        Some(vma) => {
            unprotect(vma, addr);
            if let Some(userfaultfd) = vma.userfaultfd() {
                userfaultfd.wake();
            }
            Ok(())
        }
    };
    mm.mmap_read_unlock();
    result
}

/// Linux: `change_protection` with `MM_CP_UFFD_WP`, which makes a table to put the marker in.
fn protect_page<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr) -> Result<(), UffdError> {
    let pmd = pmd_alloc(vma.mm, addr).ok_or(UffdError::NoMemory)?;
    loop {
        if pmd.read_once("read pmd").is_huge() {
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
            table.set(addr, old.mk_uffd_wp());
        } else if old.is_none() {
            P::observe(Fact::Protected(vma.mm.id, addr));
            table.set_marker(addr, Marker::UffdWp);
        }
        // Else it is protected already, or poisoned: then any access ends in a signal.
        drop(table);
        if P::enforces(Safeguard::FlushOnProtect) {
            flush_tlb_range(vma.mm, AddrRange::pages(addr, 1), FlushKind::Leaves);
        }
        return Ok(());
    }
}

fn unprotect<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr) {
    let Some(table) = pmd_offset(vma.mm, addr).and_then(pte_offset_map_lock) else {
        return;
    };
    let old = table.get(addr);
    P::observe(Fact::Unprotected(vma.mm.id, addr));
    if old.is_uffd_wp() {
        table.set(addr, old.clear_uffd_wp());
    } else if old.as_marker() == Some(Marker::UffdWp) {
        table.take(addr);
    }
}

/// Raises an event for a fault and says what the faulting thread does then: it gives back its locks and waits, or
/// gets SIGBUS, or tries again because the page came meanwhile. (Linux: `handle_userfault`)
pub(crate) fn handle_userfault<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    reason: Reason,
) -> Result<(), FaultError<P>> {
    let Some(userfaultfd) = vma.userfaultfd() else {
        return Err(FaultError::SigBus);
    };
    userfaultfd.events.add(1);
    if reason == Reason::Missing {
        P::observe(Fact::MissingEvent(vma.mm.id, addr));
    }
    if userfaultfd.sigbus {
        return Err(FaultError::SigBus);
    }
    // The order matters: a filler first changes the entry, then wakes (release). Who sees its number sees the entry, and who
    // does not will not wait for long.
    P::step(Step::Named("read userfaultfd wakeups"));
    let seen = userfaultfd.wakeups.load_acquire();
    if must_wait(vma, addr, reason) {
        Err(FaultError::Userfault(userfaultfd, seen))
    } else {
        Ok(())
    }
}

/// What a fault met.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Missing,
    WriteProtected,
}

/// Whether the page is still as the fault found it. (Linux: `userfaultfd_must_wait`)
fn must_wait<P: Platform>(vma: Ref<P, Vma<P>>, addr: VirtAddr, reason: Reason) -> bool {
    let Some(pmd) = pmd_offset(vma.mm, addr) else {
        return true;
    };
    let Some(table): Option<PteMap<P>> = pte_offset_map(pmd) else {
        return !pmd.read_once("read pmd").is_huge();
    };
    let pte = table.read_once(addr);
    match reason {
        Reason::Missing => !pte.is_present() && pte.as_marker() != Some(Marker::Poison),
        Reason::WriteProtected => pte.is_uffd_wp() || pte.as_marker() == Some(Marker::UffdWp),
    }
}
