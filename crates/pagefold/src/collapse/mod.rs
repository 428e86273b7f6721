//! Collapse: small pages become one huge page, while everybody goes on using them.
//!
//! Pages of a process's own are replaced in its page tables, where it has to stop for that: [`anon`]. Pages of an object:
//!
//! The way of a collapse: [`mod@file`] gathers the pages, copies them and puts the huge folio into the page cache;
//! [`retract`] takes the emptied page tables from every process that maps the object; [`pte_mapped`] gives the caller of
//! `MADV_COLLAPSE` its huge entry. Others get theirs when they next fault.
//!
//! `MADV_COLLAPSE` and khugepaged differ in what they do at the end of that: khugepaged gives nobody a huge entry. And khugepaged has
//! [`Limits`] to what it thinks worth a huge page.

pub mod anon;
pub mod file;
pub mod khugepaged;
mod madvise;
pub mod pte_mapped;
pub mod retract;

use core::fmt;

use crate::accounting::Fact;
use crate::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use crate::filemap;
use crate::folio;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_cache::{Found, Mapping};
use crate::page_table::pmd_offset;
use crate::platform::{Link, Platform};
use crate::protocol::Safeguard;
use crate::vma::Vma;
pub use madvise::{CollapseError, madvise_collapse};
use pte_mapped::collapse_pte_mapped_thp;

macro_rules! scan_results {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal => $errno:literal, $next:ident;)+) => {
        /// How a collapse of one huge page ended; the names are those of Linux' `enum scan_result`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ScanResult {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ScanResult {
            /// All results.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Linux' name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The errno that `madvise(MADV_COLLAPSE)` returns for it; empty for success.
            /// (Linux: `madvise_collapse_errno`)
            #[must_use]
            pub const fn errno(self) -> &'static str {
                match self { $(Self::$variant => $errno,)+ }
            }

            /// Whether `MADV_COLLAPSE` then tries the next huge page of its range, or gives up. (Linux: `madvise_collapse`)
            #[must_use]
            pub const fn goes_on(self) -> bool {
                match self { $(Self::$variant => scan_results!(@goes_on $next),)+ }
            }
        }
    };
    (@goes_on next) => { true };
    (@goes_on stop) => { false };
}

scan_results! {
    /// The range is now one huge page.
    Succeed = "SCAN_SUCCEED" => "", next;
    /// It was mapped by a huge entry already.
    PmdMapped = "SCAN_PMD_MAPPED" => "", next;
    /// The cache has a huge page; it is mapped by small entries, or not at all.
    PteMappedHugepage = "SCAN_PTE_MAPPED_HUGEPAGE" => "EINVAL", stop;
    /// There is no upper entry.
    PmdNull = "SCAN_PMD_NULL" => "EINVAL", next;
    /// The upper entry is empty.
    PmdNone = "SCAN_PMD_NONE" => "EINVAL", stop;
    /// An entry is not what it must be.
    Fail = "SCAN_FAIL" => "EINVAL", stop;
    /// The VMA does not allow a huge page there, or is gone.
    VmaCheck = "SCAN_VMA_CHECK" => "EINVAL", stop;
    /// There is no VMA.
    VmaNull = "SCAN_VMA_NULL" => "EINVAL", stop;
    /// The address space is going away.
    AnyProcess = "SCAN_ANY_PROCESS" => "EINVAL", stop;
    /// An entry maps something else than a page.
    PteNonPresent = "SCAN_PTE_NON_PRESENT" => "EINVAL", next;
    /// A page, or the whole VMA, is registered for write protection by userfaultfd.
    PteUffdWp = "SCAN_PTE_UFFD_WP" => "EINVAL", next;
    /// All pages are read-only to the process.
    PageRo = "SCAN_PAGE_RO" => "EINVAL", next;
    /// The VMA has private pages where it should have none, or none where it should.
    PageAnon = "SCAN_PAGE_ANON" => "EINVAL", stop;
    /// Nothing is cached there.
    PageNull = "SCAN_PAGE_NULL" => "EINVAL", next;
    /// No page was used lately.
    LackReferencedPage = "SCAN_LACK_REFERENCED_PAGE" => "EINVAL", next;
    /// The folio is of another size.
    PageCompound = "SCAN_PAGE_COMPOUND" => "EINVAL", next;
    /// Somebody has a page locked.
    PageLock = "SCAN_PAGE_LOCK" => "EAGAIN", next;
    /// Somebody has a reference to a page.
    PageCount = "SCAN_PAGE_COUNT" => "EAGAIN", next;
    /// A page of a file is dirty, or on its way to the disk.
    PageDirtyOrWriteback = "SCAN_PAGE_DIRTY_OR_WRITEBACK" => "EAGAIN", stop;
    /// A hole was filled meanwhile.
    PageFilled = "SCAN_PAGE_FILLED" => "EAGAIN", stop;
    /// The range was truncated, or is empty.
    Truncated = "SCAN_TRUNCATED" => "EINVAL", stop;
    /// Holes may not be filled.
    ExceedNonePte = "SCAN_EXCEED_NONE_PTE" => "EBUSY", stop;
    /// Too many pages are shared with other processes.
    ExceedSharedPte = "SCAN_EXCEED_SHARED_PTE" => "EINVAL", stop;
    /// Too many pages are in swap.
    ExceedSwapPte = "SCAN_EXCEED_SWAP_PTE" => "EINVAL", stop;
    /// There is no memory for the slots of the cache.
    StoreFailed = "SCAN_STORE_FAILED" => "EINVAL", stop;
    /// The memory of a page has gone bad.
    CopyMc = "SCAN_COPY_MC" => "EINVAL", stop;
    /// There is no huge page.
    AllocHugePageFail = "SCAN_ALLOC_HUGE_PAGE_FAIL" => "ENOMEM", stop;
}

/// The parts of a collapse that end in a result of their own, each the name of a tracepoint of Linux.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// All of it, for pages of an object (`mm_khugepaged_scan_file`).
    ScanFile,
    /// From gathering the pages of an object to the retraction of tables (`mm_khugepaged_collapse_file`).
    CollapseFile,
    /// All of it, for private pages (`mm_khugepaged_scan_pmd`).
    ScanPmd,
    /// What is done of that without the lock of the table (`mm_collapse_huge_page`).
    CollapseHugePage,
    /// Locking private pages and finding them fit (`mm_collapse_huge_page_isolate`).
    Isolate,
}

impl Part {
    /// Tells that it ended so.
    fn ended<P: Platform>(self, result: ScanResult) {
        P::observe(Fact::Ended(self, result));
    }
}

impl fmt::Display for ScanResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What khugepaged thinks worth a huge page (Linux: `/sys/kernel/mm/transparent_hugepage/khugepaged/`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Of the small pages, so many may not be there.
    pub max_ptes_none: usize,
    /// Of the small pages, so many may be shared with other processes.
    pub max_ptes_shared: usize,
    /// Of the small pages, so many may be in swap.
    pub max_ptes_swap: usize,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self {
        max_ptes_none: usize::MAX,
        max_ptes_shared: usize::MAX,
        max_ptes_swap: usize::MAX,
    };

    /// One page is enough; half of them may be shared, and one in eight in swap.
    #[must_use]
    pub const fn default_of<P: Platform>() -> Self {
        Self {
            max_ptes_none: P::PTRS_PER_TABLE - 1,
            max_ptes_shared: P::PTRS_PER_TABLE / 2,
            max_ptes_swap: P::PTRS_PER_TABLE / 8,
        }
    }
}

/// Who wants a huge page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Caller {
    /// The process itself, which knows what it wants.
    Madvise,
    /// khugepaged.
    Khugepaged(Limits),
}

impl Caller {
    /// Whether the administrator has denied it to make huge pages of what is mapped.
    fn is_denied<P: Platform>(self, mapping: Option<Ref<P, Mapping<P>>>) -> bool {
        let is_shmem = mapping.is_some_and(|mapping| !mapping.is_file());
        let obeys = self != Self::Madvise || P::enforces(Safeguard::ObeyShmemDeny);
        is_shmem && P::shmem_huge_denied() && obeys
    }

    fn max_ptes_none(self) -> usize {
        match self {
            Self::Madvise => usize::MAX,
            Self::Khugepaged(limits) => limits.max_ptes_none,
        }
    }

    fn max_ptes_shared(self) -> usize {
        match self {
            Self::Madvise => usize::MAX,
            Self::Khugepaged(limits) => limits.max_ptes_shared,
        }
    }

    fn max_ptes_swap(self) -> usize {
        match self {
            Self::Madvise => usize::MAX,
            Self::Khugepaged(limits) => limits.max_ptes_swap,
        }
    }
}

/// For whom `retract_page_tables` and `collapse_pte_mapped_thp` work.
pub(crate) struct Target<P: Platform> {
    pub(crate) mm: Ref<P, Mm<P>>,
    pub(crate) addr: VirtAddr,
}

impl<P: Platform> Target<P> {
    /// Whether it is this place.
    pub(crate) fn is_at(&self, mm: Ref<P, Mm<P>>, addr: VirtAddr) -> bool {
        self.mm == mm && self.addr == addr
    }
}

/// Collapses what it can of the VMAs of `mm`, as khugepaged does: no huge entry is installed for a page of an object.
pub fn khugepaged_scan_mm<P: Platform>(
    mm: Ref<P, Mm<P>>,
    limits: Limits,
    mut report: impl FnMut(VirtAddr, ScanResult),
) {
    let mut next = VirtAddr(0);
    loop {
        mm.mmap_read_lock();
        let found = if mm.is_exiting() {
            None
        } else {
            next_huge_range(mm, next)
        };
        mm.mmap_read_unlock();
        let Some(huge) = found else {
            return;
        };
        let caller = Caller::Khugepaged(limits);
        report(huge.start, collapse_one(mm, huge.start, caller));
        next = huge.end;
    }
}

/// Collapses the huge range of an object that starts at `start`, on behalf of no process.
pub fn collapse_mapping<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
    limits: Limits,
) -> ScanResult {
    let caller = Caller::Khugepaged(limits);
    if caller.is_denied(Some(mapping)) {
        return ScanResult::VmaCheck;
    }
    scan_and_collapse(mapping, start, caller, None)
}

/// Whether there is a huge folio at `start` of an object: what the next look of a process says that has collapsed it and is about to map it.
///
/// # Errors
/// [`ScanResult::PageNull`] or [`ScanResult::PageCompound`]: it was truncated, or split, since.
pub fn find_huge_folio<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
) -> Result<(), ScanResult> {
    let folio = pte_mapped::lock_huge_folio(mapping, start)?;
    folio.unlock::<P>();
    folio.put::<P>(1);
    Ok(())
}

/// The first huge page's worth of the VMAs of `mm` at or behind `addr`. The caller has `mmap_lock`.
fn next_huge_range<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr) -> Option<AddrRange> {
    core::iter::successors(mm.vmas.load_protected(), |vma| vma.next.load_protected())
        .find_map(|vma| huge_range_from(vma, addr))
}

/// The first huge page's worth of a VMA at or behind `addr`, if the process allows huge pages there. The caller has `mmap_lock`.
pub(crate) fn huge_range_from<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
) -> Option<AddrRange> {
    let pages = P::PTRS_PER_TABLE as u64;
    let mut start = vma.range.start.max(addr).huge_start(P::PTRS_PER_TABLE);
    while start < vma.range.end {
        if start >= addr
            && let Some(huge) = vma.allowed_huge_range(start)
        {
            return Some(huge);
        }
        start = start.add_pages(pages);
    }
    None
}

/// What one huge page's worth consists of.
enum Subject<P: Platform> {
    /// Pages of an object, from this one.
    Object(Ref<P, Mapping<P>>, PageIndex),
    /// Private pages.
    Private,
}

impl<P: Platform> Subject<P> {
    /// That at `addr`. The caller has `mmap_lock`; the object outlives its mappings.
    fn of(vma: Ref<P, Vma<P>>, addr: VirtAddr) -> Self {
        match vma.mapping {
            Some(mapping) => Self::Object(mapping, vma.index_of(addr)),
            None => Self::Private,
        }
    }
}

/// One huge page's worth at an address, if a VMA has it.
fn collapse_one<P: Platform>(mm: Ref<P, Mm<P>>, addr: VirtAddr, caller: Caller) -> ScanResult {
    mm.mmap_read_lock();
    let found = match mm.find_vma(addr) {
        None => Err(ScanResult::VmaNull),
        Some(vma) if vma.allowed_huge_range(addr).is_none() => Err(ScanResult::VmaCheck),
        Some(vma) if caller.is_denied(vma.mapping) => Err(ScanResult::VmaCheck),
        Some(vma) => Ok(Subject::of(vma, addr)),
    };
    mm.mmap_read_unlock();
    match found {
        Ok(subject) => collapse_subject(mm, addr, &subject, caller),
        Err(result) => result,
    }
}

/// Collapses private pages; or the object's pages, and then, for `MADV_COLLAPSE`, maps the result by a huge entry. No lock of
/// the address space is held.
fn collapse_subject<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    subject: &Subject<P>,
    caller: Caller,
) -> ScanResult {
    let (mapping, start) = match *subject {
        Subject::Object(mapping, start) => (mapping, start),
        Subject::Private => return anon::scan_and_collapse(mm, addr, caller),
    };
    let install = caller == Caller::Madvise;
    let target = install.then_some(Target { mm, addr });
    let collapse = || scan_and_collapse(mapping, start, caller, target.as_ref());
    let mut result = collapse();
    if result == ScanResult::PageDirtyOrWriteback && caller == Caller::Madvise {
        filemap::write_and_wait(mapping, start..start.add(P::PTRS_PER_TABLE as u64));
        // Who maps the huge page looks the VMA up anew.
        result = collapse();
    }
    match result {
        ScanResult::Succeed | ScanResult::PteMappedHugepage => {
            collapse_pte_mapped_thp(mm, addr, install)
        }
        other => other,
    }
}

/// The part about the object. (Linux: `hpage_collapse_scan_file`)
fn scan_and_collapse<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
    caller: Caller,
    target: Option<&Target<P>>,
) -> ScanResult {
    let mut result = scan_file(mapping, start, caller);
    if result == ScanResult::Succeed {
        result = file::collapse_file(mapping, start, target);
        Part::CollapseFile.ended::<P>(result);
    }
    Part::ScanFile.ended::<P>(result);
    result
}

/// A look, without locks, at whether a collapse is worth trying.
fn scan_file<P: Platform>(
    mapping: Ref<P, Mapping<P>>,
    start: PageIndex,
    caller: Caller,
) -> ScanResult {
    let (mut present, mut swapped) = (0, 0);
    for i in 0..P::PTRS_PER_TABLE as u64 {
        match mapping.peek(start.add(i)) {
            Ok(Found::Folio(folio)) => {
                let huge = folio.is_huge::<P>();
                folio.put::<P>(1);
                if huge {
                    return ScanResult::PteMappedHugepage;
                }
                present += 1;
            }
            Ok(Found::Swap(_)) => swapped += 1,
            Ok(Found::Hole) | Err(_) => {}
        }
    }
    if swapped > caller.max_ptes_swap() {
        ScanResult::ExceedSwapPte
    } else if present + swapped == 0 {
        // What the collapse would say, which alone looks for that in Linux.
        ScanResult::Truncated
    } else if P::PTRS_PER_TABLE - present > caller.max_ptes_none() {
        ScanResult::ExceedNonePte
    } else {
        ScanResult::Succeed
    }
}

/// Copies one page, which nobody can write now, to its place in the huge one.
fn copy_page<P: Platform>(to: Pfn, from: Pfn) -> Result<(), ScanResult> {
    if folio::copy_mc_page::<P>(to, from) {
        Ok(())
    } else {
        Err(ScanResult::CopyMc)
    }
}

/// What the upper entry of `addr` holds: a table, a huge page, nothing. (Linux: `find_pmd_or_thp_or_none`)
fn find_pmd<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
) -> Result<crate::page_table::PmdRef<P>, ScanResult> {
    let pmd = pmd_offset(mm, addr).ok_or(ScanResult::PmdNull)?;
    let value = pmd.read_once("find_pmd");
    if value.is_none() {
        Err(ScanResult::PmdNone)
    } else if value.is_huge() {
        Err(ScanResult::PmdMapped)
    } else {
        Ok(pmd)
    }
}
