//! The lock order of the whole engine, as one tree.
//!
//! A lock may be taken while those above it (further left) are held, never the other way round. Linux writes
//! the same tree at the top of `mm/rmap.c`; the model machine checks it at each acquisition.
//!
//! ```text
//! i_rwsem                          an object: truncation, hole punching         sleeps
//!  mmap_lock                      address space: the set of VMAs               sleeps
//!    vma_lock                     one VMA, against faults of its range         sleeps
//!      invalidate_lock            pages of a file come in, or are given up     sleeps
//!        folio_lock               identity and content of a folio              sleeps
//!          i_mmap_rwsem           the VMAs that map an object                  sleeps
//!            anon_vma             the VMAs that may map an anonymous page      sleeps
//!              mmu_lock           the table of a KVM-like secondary MMU        spins
//!                pmd_lock         one table of huge-page entries               spins
//!                  ptl            one table of small-page entries              spins
//!                    i_lock       the count of an object's blocks              spins
//!                      xa_lock    the slots of a page cache                    spins
//!                    userfaultfd  who waits for a userfaultfd                  spins
//!                    khugepaged   its list of address spaces                   spins
//!                      swap_slot  count and cached page of a swap slot         spins
//! ```
//!
//! With unsplit page-table locks, `pmd_lock` and `ptl` are both the `page_table_lock` of the address space: it
//! must then be taken once, not twice.
//!
//! Fork takes two `mmap_lock`s and two locks of tables, of the parent and of a child that nobody else can lock in the other order.
//! mremap takes two locks of tables with `mmap_lock` for writing, UFFDIO_MOVE does so in the order of the tables.
//!
//! One place goes against the tree and says why: `collapse_pte_mapped_thp` of `linux-6.4` takes the VMA lock
//! under the folio lock, while it has the `mmap_lock` for writing. Others do so by trylock only, which waits for nobody: `retract_page_tables` of
//! `linux-6.4` takes `mmap_lock` under the folio lock; collapse takes folio locks under `xa_lock` or the lock of a table; MADV_DONTNEED takes
//! the pmd lock under that of a table.

/// The kinds of locks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LockClass {
    /// `inode->i_rwsem`.
    IRwsem,
    /// `mm->mmap_lock`.
    MmapLock,
    /// `vma->vm_lock`.
    VmaLock,
    /// `mapping->invalidate_lock`.
    InvalidateLock,
    /// The lock bit of a folio.
    FolioLock,
    /// `mapping->i_mmap_rwsem`.
    IMmap,
    /// `anon_vma->root->rwsem`.
    AnonVma,
    /// The lock of a KVM-like secondary MMU.
    MmuLock,
    /// `mm->page_table_lock`: guards the attachment of `anon_vma` and of upper tables, and, where page-table locks
    /// are not split, every page table of the address space.
    PageTableLock,
    /// The lock of a table of huge-page entries, as `pmd_lock()` returns it.
    Pml,
    /// The lock of a table of small-page entries, as `pte_lockptr()` returns it.
    Ptl,
    /// `inode->i_lock`.
    ILock,
    /// `mapping->i_pages.xa_lock`.
    XaLock,
    /// The locks of a userfaultfd's wait queues.
    Userfaultfd,
    /// `khugepaged_mm_lock`.
    KhugepagedMmLock,
    /// The lock of a swap slot.
    SwapSlot,
}

impl LockClass {
    /// All classes, in the order in which they may be taken.
    pub const ALL: [Self; 16] = [
        Self::IRwsem,
        Self::MmapLock,
        Self::VmaLock,
        Self::InvalidateLock,
        Self::FolioLock,
        Self::IMmap,
        Self::AnonVma,
        Self::MmuLock,
        Self::PageTableLock,
        Self::Pml,
        Self::Ptl,
        Self::ILock,
        Self::XaLock,
        Self::Userfaultfd,
        Self::KhugepagedMmLock,
        Self::SwapSlot,
    ];

    /// Linux' name of the lock.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IRwsem => "i_rwsem",
            Self::MmapLock => "mmap_lock",
            Self::VmaLock => "vma_lock",
            Self::InvalidateLock => "invalidate_lock",
            Self::FolioLock => "folio_lock",
            Self::IMmap => "i_mmap_rwsem",
            Self::AnonVma => "anon_vma",
            Self::MmuLock => "mmu_lock",
            Self::PageTableLock => "page_table_lock",
            Self::Pml => "pmd_lock",
            Self::Ptl => "ptl",
            Self::ILock => "i_lock",
            Self::XaLock => "xa_lock",
            Self::Userfaultfd => "userfaultfd lock",
            Self::KhugepagedMmLock => "khugepaged_mm_lock",
            Self::SwapSlot => "swap_slot",
        }
    }

    /// The place in the order: a lock is taken only while all held ones have a smaller rank.
    #[must_use]
    pub const fn rank(self) -> u32 {
        self as u32
    }

    /// Whether waiting for it sleeps, which must not happen with a spin lock held, in an RCU section or with
    /// interrupts off.
    #[must_use]
    pub const fn sleeps(self) -> bool {
        matches!(
            self,
            Self::IRwsem
                | Self::MmapLock
                | Self::VmaLock
                | Self::InvalidateLock
                | Self::FolioLock
                | Self::IMmap
                | Self::AnonVma
        )
    }
}
