//! Named protocols, and the safeguards they consist of.
//!
//! A *safeguard* is a step whose only purpose is to make a race impossible: a recheck under a lock, a flush, a
//! notifier call, a deferral, an order of two steps. The engine asks [`Platform::enforces`](crate::Platform::enforces)
//! before each; the answer is a constant `true` in a real machine. A *protocol* is a version of the rules: which
//! locks retraction takes, and which safeguards exist in it.

use core::fmt;

macro_rules! safeguards {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A step whose only purpose is to make a race impossible.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Safeguard {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Safeguard {
            /// All safeguards.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name by which a user removes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it does and against whom, in a sentence or two.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

safeguards! {
    /// The new folio stays locked until all page tables are retracted, so that nobody maps a page of it into a
    /// table that is about to go.
    LockNewFolio = "lock_new_folio",
    /// Cached translations of the old pages are flushed before their content is copied.
    FlushBeforeCopy = "flush_before_copy",
    /// The references to an unmapped page are counted before it is copied: a pinned page stays where it is.
    RefcountCheck = "refcount_check",
    /// Holes that the new folio fills are cleared.
    ClearHoles = "clear_holes",
    /// `MADV_COLLAPSE` makes no huge page of shmem where the administrator has denied that, though it asks for no other setting.
    ObeyShmemDeny = "obey_shmem_deny",
    /// Collapse and migration copy pages in the way that is told if their memory has gone bad, and give up then.
    CopyMc = "copy_mc",
    /// All pages of an object are copied before the huge page takes their place.
    CopyBeforeCommit = "copy_before_commit",
    /// Holes that a huge page would have filled are not charged to the object any more if it does not come to be.
    UnchargeHoles = "uncharge_holes",
    /// Holes are charged all at once, before the slots of the cache are locked.
    ChargeUnlocked = "charge_unlocked",
    /// A huge page of a file that does not come to be is not counted any more.
    UncountFailedThp = "uncount_failed_thp",
    /// Where private pages do not become a huge one after all, their table is put back.
    PutBackTable = "put_back_table",
    /// Holes are kept closed with RETRY entries from the check for MISSING mappings to the insertion of the folio.
    RetryEntries = "retry_entries",
    /// An object with holes, or private memory where no page is, is not collapsed while it is registered MISSING with userfaultfd.
    MissingVmaCheck = "missing_vma_check",
    /// Secondary MMUs are told when a page is unmapped from an address space.
    UnmapNotifier = "unmap_notifier",
    /// Secondary MMUs are told when a page table is retracted.
    RetractNotifier = "retract_notifier",
    /// `vma->anon_vma` is looked at again once the page-table lock is held.
    RecheckAnonVma = "recheck_anon_vma",
    /// The userfaultfd write-protect flag is looked at again once the page-table lock is held.
    RecheckUffdWp = "recheck_uffd_wp",
    /// Retraction leaves the tables of an exiting process alone.
    ExitTest = "exit_test",
    /// The translation caches are flushed when a page table is taken away.
    FlushOnCollapse = "flush_on_collapse",
    /// That flush includes cached upper-level entries, which name the table, not only leaf entries.
    FlushTables = "flush_tables",
    /// A table that was taken away is freed after a grace period (before 6.6: after an IPI), not at once.
    DeferTableFree = "defer_table_free",
    /// Who locked a page table looks again whether it is still the one that the upper entry names.
    RecheckPmd = "recheck_pmd",
    /// `collapse_pte_mapped_thp` takes the pmd lock before it empties a table of a private userfaultfd VMA.
    EarlyPmdLock = "early_pmd_lock",
    /// `collapse_pte_mapped_thp` looks up the VMA before it walks the page tables.
    VmaLookupFirst = "vma_lookup_first",
    /// `collapse_pte_mapped_thp` looks at each entry again once it may change them.
    RecheckEntries = "recheck_entries",
    /// `collapse_pte_mapped_thp` has the huge folio locked until the process has its huge entry, so that nobody maps a page of it.
    CollapseFolioLock = "collapse_folio_lock",
    /// If `collapse_pte_mapped_thp` gives up half-way, the references of the entries that it has emptied are given back.
    GiveBackRefused = "give_back_refused",
    /// The one page-table lock of an address space whose locks are not split is taken once, not twice.
    CompareLocks = "compare_locks",
    /// `get_user_pages_fast` looks at the leaf entry again once it has a reference.
    GupRecheckPte = "gup_recheck_pte",
    /// `get_user_pages_fast` walks with interrupts off.
    GupIrqOff = "gup_irq_off",
    /// `pte_offset_map` finds out that there is no table any more, and its callers cope (Linux from 6.5). Without it, they
    /// rely on locks that keep the table.
    MapMayFail = "map_may_fail",
    /// Where mapping a table cannot fail, who goes to a table looks once whether the upper entry names one, not only that it maps
    /// no huge page (`pmd_trans_unstable`).
    StableUpperEntry = "stable_upper_entry",
    /// Walkers of page tables are RCU readers from `pte_offset_map` to `pte_unmap`.
    WalkUnderRcu = "walk_under_rcu",
    /// A COW fault that copied a page looks again whether the entry still names it.
    RecheckCowEntry = "recheck_cow_entry",
    /// A COW fault flushes the old translation before it maps the copy.
    FlushOnCow = "flush_on_cow",
    /// Userfaultfd registration waits for faults that run under the VMA lock.
    RegisterVmaLock = "register_vma_lock",
    /// UFFDIO_COPY attaches an `anon_vma` before it takes the page-table lock.
    CopyAnonVmaFirst = "copy_anon_vma_first",
    /// UFFDIO_WRITEPROTECT flushes the translation caches.
    FlushOnProtect = "flush_on_protect",
    /// UFFDIO_CONTINUE has the folio locked that it maps.
    ContinueFolioLock = "continue_folio_lock",
    /// A fault looks at the size again once it has the lock of a huge folio, which may reach behind the end.
    RecheckSize = "recheck_size",
    /// A huge folio of a file that reaches behind the end is not mapped by a huge entry.
    HugeWithinSize = "huge_within_size",
    /// A fault in a mapping registered MINOR maps no pages around.
    MinorNoFaultAround = "minor_no_fault_around",
    /// Fillers are told to try again while the layout changes, until the monitor has read of it (`mmap_changing`).
    LayoutChanging = "layout_changing",
    /// A monitor that wants to know of changes of the layout is told, and waited for.
    TellChange = "tell_change",
    /// Who fills pages of another process keeps it from being taken apart meanwhile.
    UserfaultfdUser = "userfaultfd_user",
    /// The protections of a mapping are taken back when its registration ends.
    UnprotectOnClose = "unprotect_on_close",
    /// Who waits for a userfaultfd is woken when the registration ends.
    WakeOnClose = "wake_on_close",
    /// A KVM-like user samples the sequence count before it translates, and looks again before it maps.
    KvmRetry = "kvm_retry",
    /// Virtual CPUs are made to leave guest mode when an entry is taken from them.
    KvmKick = "kvm_kick",
    /// The translation caches are flushed when pages are unmapped by munmap, before the pages are freed.
    FlushOnZap = "flush_on_zap",
    /// Tables removed by munmap are freed after a grace period.
    DeferZapTables = "defer_zap_tables",
    /// A page that was waited for is used only if it still belongs to the object.
    RecheckMapping = "recheck_mapping",
    /// Retraction looks, under the pmd lock, whether there is still a table.
    RetractRecheckTable = "retract_recheck_table",
    /// `collapse_pte_mapped_thp`, which gives the lock of the table up, looks whether it is still the table that the
    /// upper entry names once it has the locks again.
    CollapseRecheckTable = "collapse_recheck_table",
    /// `collapse_pte_mapped_thp` stays an RCU reader of the table while it has given the table's lock up.
    KeepTableMapped = "keep_table_mapped",
    /// MADV_DONTNEED takes the pmd lock before it takes a table away that it emptied.
    ReclaimPmdLock = "reclaim_pmd_lock",
    /// If MADV_DONTNEED gave the lock of a table up after emptying it, it looks at all entries again under both locks.
    ReclaimRescan = "reclaim_rescan",
    /// A fault on anonymous memory looks again, with the table's lock, whether there is still nothing.
    RecheckAnonEntry = "recheck_anon_entry",
    /// The OOM reaper flushes the translation caches, as threads of the process may still run.
    ReaperFlush = "reaper_flush",
    /// A fault that would bring private memory where there is nothing looks whether the OOM reaper may have taken what was there.
    CheckStable = "check_stable",
    /// The end of a process takes its page tables away with `mmap_lock` for writing.
    ExitMmapLock = "exit_mmap_lock",
    /// A fault that brings a huge private page looks again, with the pmd lock, whether there is still nothing.
    RecheckHugeFault = "recheck_huge_fault",
    /// A huge page comes into the cache of an object by a fault only where all is a hole, as is seen under `xa_lock`.
    RecheckHoles = "recheck_holes",
    /// A write to the huge page of zeros looks again, with the pmd lock, whether it is still mapped.
    RecheckHugeZero = "recheck_huge_zero",
    /// A write to a private page that was shared by fork keeps the page only if nobody else has a reference, not only no entry.
    CowRefcount = "cow_refcount",
    /// Who follows a private page to its `anon_vma` first looks whether the page is still mapped.
    AnonVmaIfMapped = "anon_vma_if_mapped",
    /// A private page that others have as well is unshared before it is pinned.
    UnshareForPin = "unshare_for_pin",
    /// Who writes a page by force looks, once a fault has made a copy, whether the entry still names one that may be written.
    GupRecheckWrite = "gup_recheck_write",
    /// Who writes a page by force takes only one that belongs to the process alone, not any whose entry is dirty after a copy was
    /// made.
    ForceExclusive = "force_exclusive",
    /// Fork waits for faults that run under the VMA locks of the parent, and keeps new ones out.
    ForkVmaLock = "fork_vma_lock",
    /// Fork copies only page tables that the page cache cannot restore: those of VMAs with private pages.
    VmaNeedsCopy = "vma_needs_copy",
    /// Fork gives a VMA of the child its `anon_vma` before others can find the VMA.
    ForkAnonVmaFirst = "fork_anon_vma_first",
    /// Fork write-protects the private pages of the parent as well as those of the child.
    ForkWriteProtect = "fork_write_protect",
    /// Fork flushes the translation caches of the parent, whose pages it write-protected.
    FlushOnFork = "flush_on_fork",
    /// A pin that was taken while fork write-protects pages is given back.
    WriteProtectSeq = "write_protect_seq",
    /// Fork copies private pages that are pinned, instead of sharing them.
    ForkCopyPinned = "fork_copy_pinned",
    /// Fork leaves out write-protect markers and bits if the child's VMA is not registered with userfaultfd.
    ForkDropMarkers = "fork_drop_markers",
    /// Fork protects the copy that it makes of a pinned page as the page is protected, if the child is registered with userfaultfd.
    ForkPinnedUffdWp = "fork_pinned_uffd_wp",
    /// MADV_GUARD_INSTALL marks the VMA as one that may have guards before it takes the page-table lock.
    GuardFlagFirst = "guard_flag_first",
    /// MADV_GUARD_INSTALL looks under the page-table lock whether a page is there that it has to unmap.
    GuardRecheckEntry = "guard_recheck_entry",
    /// Retraction looks again whether the VMA may have guards once the page-table lock is held.
    RecheckGuard = "recheck_guard",
    /// `collapse_pte_mapped_thp` looks again whether the table has guards once it has the page-table locks to take it
    /// away.
    CollapseRecheckGuard = "collapse_recheck_guard",
    /// An entry that hardware may make dirty meanwhile is emptied by one step before it is changed, and not read and then
    /// written.
    AtomicEntryChange = "atomic_entry_change",
    /// What a dirty entry says is kept in the folio when the entry is emptied.
    KeepDirty = "keep_dirty",
    /// Collapse makes no huge page where it finds only holes.
    RefuseEmpty = "refuse_empty",
    /// A huge page is marked up to date before it is put into the cache.
    UptodateFirst = "uptodate_first",
    /// Truncation first changes the size, then unmaps and removes pages.
    SizeFirst = "size_first",
    /// A new page is put into the cache only if the size, read under `xa_lock`, still allows it.
    SizeAtInsert = "size_at_insert",
    /// Userfaultfd reads the size with the lock of the table held that it puts a page into.
    CopySizeUnderLock = "copy_size_under_lock",
    /// Truncation unmaps once more when the pages are removed: private copies may have been made of them meanwhile.
    SecondUnmap = "second_unmap",
    /// Hole punching leaves private copies alone.
    SparePrivate = "spare_private",
    /// A page that is removed from the cache is unmapped once more, with its lock held.
    UnmapRemoved = "unmap_removed",
    /// Truncation and hole punching wait for pages that are locked.
    WaitForLocked = "wait_for_locked",
    /// If the page that was waited for was replaced, truncation and hole punching look at what took its place.
    RetryReplaced = "retry_replaced",
    /// The part of a huge page that is given up is cleared before the huge page is split, which may fail.
    ZeroPart = "zero_part",
    /// A huge page is split only while nobody else has a reference to it, and nobody gets one meanwhile.
    FreezeSplit = "freeze_split",
    /// Parts of a huge page that is split do not stay in the cache behind the end of the object.
    SplitDropsTail = "split_drops_tail",
    /// The small pages of a split are what they will be before they can be found.
    InitBeforePublish = "init_before_publish",
    /// Who changes or unmaps a VMA waits for faults that have its lock, and keeps new ones out.
    WriteLockVma = "write_lock_vma",
    /// A VMA that leaves its address space is marked, for faults that found it before and take its lock later.
    MarkDetached = "mark_detached",
    /// A VMA is freed a grace period after it left its address space.
    DeferVmaFree = "defer_vma_free",
    /// VMAs that are unmapped leave the lists of their objects before their page tables are freed.
    UnlinkBeforeFree = "unlink_before_free",
    /// The parts of a VMA, or the whole that its parts are joined to, take their place in the lists of the object and of the family under one lock.
    ReplaceInOneStep = "replace_in_one_step",
    /// A VMA that is joined with another one is write-locked, though nobody meant to change it: a fault may be under way in it.
    JoinVmaLock = "join_vma_lock",
    /// Retraction under `i_mmap_rwsem` only tries the lock of a VMA (Linux 6.4).
    TryVmaLock = "try_vma_lock",
    /// mprotect flushes the translation caches before it returns.
    FlushOnMprotect = "flush_on_mprotect",
    /// mremap puts the new VMA behind the old one in the list of the object, so that who walks it misses no page.
    MovedVmaBehind = "moved_vma_behind",
    /// mremap locks the list of the object while a whole table moves.
    MoveUnderRmapLocks = "move_under_rmap_locks",
    /// mremap looks again, under the pmd lock, whether there is a table to be moved.
    RecheckMovedPmd = "recheck_moved_pmd",
    /// mremap looks again, under its lock, whether the table is attached that entries are moved to.
    RecheckMoveTarget = "recheck_move_target",
    /// mremap flushes the translations of the old addresses.
    FlushOnMove = "flush_on_move",
    /// mremap takes protections by userfaultfd from pages that move out of a registered VMA.
    DropMovedUffdWp = "drop_moved_uffd_wp",
    /// Collapse of private pages looks up the VMA again once it has `mmap_lock` for writing.
    CollapseRevalidate = "collapse_revalidate",
    /// Collapse of private pages looks up the VMA again before it brings pages back from swap.
    SwapInRevalidate = "swap_in_revalidate",
    /// Collapse of private pages waits for those who have the VMA lock, and keeps new ones out.
    CollapseVmaLock = "collapse_vma_lock",
    /// It does so before it looks whether the upper entry still names the table, not after.
    VmaLockFirst = "vma_lock_first",
    /// Collapse of private pages looks, with `mmap_lock` for writing, whether the upper entry still names a table.
    CollapsePmdCheck = "collapse_pmd_check",
    /// Collapse of private pages keeps walks by page out while it takes the table away.
    CollapseAnonVmaLock = "collapse_anon_vma_lock",
    /// Collapse of private pages waits for walks without locks before it looks at what is in the table that it took away.
    SyncWalkers = "sync_walkers",
    /// `get_user_pages_fast` looks at the upper entry of a table again once it has a reference.
    GupRecheckPmd = "gup_recheck_pmd",
    /// Collapse of private pages refuses pages that are write-protected by userfaultfd, also if they became so after it
    /// looked whether it is worth trying.
    IsolateUffdWp = "isolate_uffd_wp",
    /// The table that takes the place of a huge private page is filled, and its entries are counted, before the upper entry names
    /// it.
    SplitFillFirst = "split_fill_first",
    /// The small entries of a huge private page that is split are counted before the huge one is not counted any more.
    SplitCountFirst = "split_count_first",
    /// A huge private page that is split is invalid to hardware, and flushed, before the table takes its place.
    SplitInvalidate = "split_invalidate",
    /// Who takes a huge entry of an object's page away books that before the reference of the entry is given back.
    BookBeforePut = "book_before_put",
    /// The entry of a huge page is not emptied while mprotect changes it: to who walks without its lock it is a huge page all the time.
    ProtectHugeInPlace = "protect_huge_in_place",
    /// Where the format asks for break-before-make, who takes a huge page or an emptied table out of its entry flushes before
    /// it gives the lock up.
    FlushBeforeMake = "flush_before_make",
    /// A process that ends while khugepaged scans it leaves its place in khugepaged's list to khugepaged.
    ExitKeepsScannedSlot = "exit_keeps_scanned_slot",
    /// A zap that took an entry of an object's page that was written flushes before it gives the lock of the table up.
    FlushDirtyZap = "flush_dirty_zap",
    /// Reclaim flushes the translation caches after it unmapped a page, before it moves the content out.
    FlushBeforePageout = "flush_before_pageout",
    /// Reclaim leaves a page of one process alone that somebody has got by other means than its entry, and may have pinned.
    ReclaimPinCheck = "reclaim_pin_check",
    /// Who brings a page back from swap puts it into the swap cache before reading the content, so that others find it.
    SwapInByCache = "swap_in_by_cache",
    /// Who brought a page back from swap looks again whether the entry still names the slot.
    RecheckSwapEntry = "recheck_swap_entry",
    /// Who brought a page back from swap looks again, with the table's lock, whether it is still the one of the slot.
    RecheckSwapCache = "recheck_swap_cache",
    /// Reclaim takes a page out of the cache of its object only if nobody else has a reference, and nobody gets one meanwhile.
    ReclaimFreeze = "reclaim_freeze",
    /// Having made sure of that, it looks again whether the page was written since it was written out.
    RecheckDirtyFrozen = "recheck_dirty_frozen",
    /// A page is marked as clean before it is written out, not after.
    CleanBeforeWrite = "clean_before_write",
    /// Who brings a page of an object back from swap puts it into the cache, locked, before reading the content.
    SwapInPlaced = "swap_in_placed",
    /// Truncation and hole punching give up a page in swap only if the cache still says that it is there.
    FreeSwapIfThere = "free_swap_if_there",
    /// Fork takes the mark that it belongs to one process alone from a swap entry that it copies.
    ForkSwapShared = "fork_swap_shared",
    /// Who finds entries gone that reclaim or collapse took flushes first if they may not have done so yet.
    BatchedFlushPending = "batched_flush_pending",
    /// Who unmaps or protects a range while others do so flushes it even if it found nothing to do there, as they may not have flushed yet.
    FlushNested = "flush_nested",
    /// Collapse gives up where it finds a page of a file dirty.
    RefuseDirty = "refuse_dirty",
    /// Collapse gives up where a page of a file is being written to the disk.
    RefuseWriteback = "refuse_writeback",
    /// Truncation and hole punching wait for a page of a file that is being written to the disk.
    WaitWriteback = "wait_writeback",
    /// Reclaim leaves a page of a file alone that is being written to the disk.
    ReclaimSkipsWriteback = "reclaim_skips_writeback",
    /// Collapse looks again whether a page of a file is dirty once it is unmapped and nobody else has a reference.
    RecheckDirtyUnmapped = "recheck_dirty_unmapped",
    /// Who writes a page of a file back takes the permission to write from its entries first.
    MkcleanOnWriteback = "mkclean_on_writeback",
    /// Doing so, it flushes the translation caches.
    FlushOnMkclean = "flush_on_mkclean",
    /// Who makes an entry of a page of a file writable has the page locked from marking it as dirty until then.
    MkwriteLocked = "mkwrite_locked",
    /// Collapse makes no huge page of a file that a process may write through its entries.
    RefuseWritableMaps = "refuse_writable_maps",
    /// Collapse makes no huge page of a file that is open for writing.
    RefuseWriters = "refuse_writers",
    /// Who opens a file for writing throws its huge pages out.
    TruncateOnOpen = "truncate_on_open",
    /// Who opens a file for writing leaves private copies alone.
    OpenSparesPrivate = "open_spares_private",
    /// Who accesses memory of another process by force has its `mmap_lock` until that is done.
    RemoteUnderMmapLock = "remote_under_mmap_lock",
    /// A page that moves to another frame is not used through cached translations any more when it is copied.
    FlushOnMigrate = "flush_on_migrate",
    /// The upper entry of a huge page that moves to other frames is not empty before it stands for the page.
    MigrateInvalidate = "migrate_invalidate",
    /// A page stays in its frame if somebody has a reference to it who is no entry.
    MigrateRefcount = "migrate_refcount",
    /// An entry that stands for a page on its way to another frame says that it is write-protected by userfaultfd.
    MigrateUffdWp = "migrate_uffd_wp",
    /// Fork has an entry that stands for a page on its way to another frame say that the page is shared from now on.
    ForkMigrationShared = "fork_migration_shared",
    /// A VMA of a child stands behind that of its parent in the lists of the family and of the object: who walks them comes to the parent first.
    ChildVmaBehind = "child_vma_behind",
    /// Before a file has its first huge page, for which all may be thrown out, what is dirty is written to the disk.
    WriteAllDirty = "write_all_dirty",
    /// That is done with `invalidate_lock` held, for which who throws pages out waits.
    CleanUnderInvalidate = "clean_under_invalidate",
    /// Who throws the pages of a file out keeps others from doing so, and from putting pages in, by `invalidate_lock`.
    ThrowOutAlone = "throw_out_alone",
    /// Who opens a file for writing looks again, with `invalidate_lock`, whether it has huge pages before it throws them out.
    RecheckThps = "recheck_thps",
    /// Meanwhile the file counts one huge page more, so that others who open it wait until all is thrown out.
    CountWhileThrowingOut = "count_while_throwing_out",
    /// A huge page of a file that is split is not counted any more.
    CountSplitThp = "count_split_thp",
    /// A huge page of a file that is thrown out is not counted any more.
    CountRemovedThp = "count_removed_thp",
    /// UFFDIO_MOVE takes the locks of two tables in the same order as everybody else who moves pages.
    OrderMoveLocks = "order_move_locks",
    /// UFFDIO_MOVE looks again, with the locks of both tables, whether the page is still the one that it found.
    RecheckMoveSource = "recheck_move_source",
    /// UFFDIO_MOVE looks again, with the locks of both tables, whether there is still nothing where the page goes.
    RecheckMoveHole = "recheck_move_hole",
    /// UFFDIO_MOVE looks again, with the locks of both tables, whether the one that the page goes to is still attached.
    RecheckMoveTable = "recheck_move_table",
    /// UFFDIO_MOVE has the folio locked that it moves.
    MoveFolioLock = "move_folio_lock",
    /// UFFDIO_MOVE keeps walks by page out while it moves the page.
    MoveAnonVmaLock = "move_anon_vma_lock",
    /// Who walks from a private page to its entries looks again, with the family locked, whether it is still that of the page.
    RecheckFamily = "recheck_family",
    /// UFFDIO_MOVE leaves pages alone that another process has as well.
    MoveExclusive = "move_exclusive",
    /// UFFDIO_MOVE puts the page back if it is found to be pinned once its entry is gone.
    MovePinCheck = "move_pin_check",
    /// UFFDIO_MOVE flushes the translations of the old address.
    FlushOnUffdMove = "flush_on_uffd_move",
    /// UFFDIO_MOVE of a page in swap tells the folio in the swap cache where it belongs now.
    MoveSwapCache = "move_swap_cache",
    /// UFFDIO_MOVE of a page in swap looks again, with the locks of both tables, what the swap cache has.
    RecheckMoveSwapCache = "recheck_move_swap_cache",
    /// Secondary MMUs are told when a huge private page is divided, as pages of it may be given up for that of zeros.
    SplitNotifier = "split_notifier",
    /// Who gives up a page for that of zeros looks again whether it holds nothing else, once nobody can write it any more.
    RecheckZeros = "recheck_zeros",
    /// The page of zeros in place of a page that was write-protected by userfaultfd is, too.
    ZerosKeepUffdWp = "zeros_keep_uffd_wp",
    /// The counts of resident pages are kept.
    CountRss = "count_rss",
    /// The count of page tables is kept.
    CountTables = "count_tables",
}

/// A set of safeguards.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SafeguardSet([u64; SafeguardSet::WORDS]);

impl SafeguardSet {
    const WORDS: usize = Safeguard::ALL.len().div_ceil(64);

    /// No safeguard.
    pub const EMPTY: Self = Self([0; Self::WORDS]);

    /// The set with `safeguard` added.
    #[must_use]
    pub const fn with(mut self, safeguard: Safeguard) -> Self {
        let (word, bit) = Self::place(safeguard);
        self.0[word] |= bit;
        self
    }
    /// The set with all of `other` added.
    #[must_use]
    pub const fn union(mut self, other: Self) -> Self {
        let mut word = 0;
        while word < Self::WORDS {
            self.0[word] |= other.0[word];
            word += 1;
        }
        self
    }
    /// Whether the set has `safeguard`.
    #[must_use]
    pub const fn contains(self, safeguard: Safeguard) -> bool {
        let (word, bit) = Self::place(safeguard);
        self.0[word] & bit != 0
    }
    /// The word and the bit that stand for a safeguard.
    const fn place(safeguard: Safeguard) -> (usize, u64) {
        let number = safeguard as usize;
        (number / 64, 1 << (number % 64))
    }
    /// The safeguards in the set, in the order of [`Safeguard::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Safeguard> {
        Safeguard::ALL
            .iter()
            .copied()
            .filter(move |&safeguard| self.contains(safeguard))
    }
}

/// How `retract_page_tables` keeps others away from a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exclusion {
    /// The sleeping locks of the mapping process, all for writing: `mmap_lock` and VMA lock by trylock, `i_mmap_rwsem`.
    /// A process that is busy keeps its table. (Linux up to 6.5)
    MmapWrite,
    /// `mmap_lock` for reading, by trylock, then the page-table locks. (Peter Xu, 2023-05-29)
    MmapRead,
    /// The page-table locks alone. (Linux from 6.6)
    PageTableLocks,
}

/// How retraction makes sure, under the page-table lock, that a table has nothing in it that the page cache
/// cannot restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Emptiness {
    /// By the flags of the VMA whose setting comes before any such entry: `anon_vma`, `VM_UFFD_WP`. (Linux)
    VmaFlags,
    /// By looking at each entry. (Jann Horn, 2023-05-31)
    Scan,
}

/// When IOMMUs that walk the CPU's page tables are told to forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecondaryTlb {
    /// When a notifier range ends, and explicitly where a page is freed or replaced before that. (Linux up to 6.5:
    /// `invalidate_range`)
    NotifierEnd,
    /// With each flush of the CPUs' translation caches. (Linux from 6.6, 6bbd42e2df8f)
    Flush,
}

/// A version of the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocol {
    /// The name by which a user chooses it.
    pub name: &'static str,
    /// How retraction excludes others.
    pub exclusion: Exclusion,
    /// How retraction knows that a table is empty.
    pub emptiness: Emptiness,
    /// When IOMMUs are told.
    pub secondary_tlb: SecondaryTlb,
    /// Whether faults in file mappings try to do with the VMA lock alone (Linux from 6.7).
    pub file_faults_under_vma_lock: bool,
    /// Whether fillers of pages look for the VMA before they look, with its lock, whether the layout is changing (Linux from 6.9).
    pub fills_find_vma_first: bool,
    /// Whether MADV_DONTNEED frees the page tables that it emptied (Linux from 6.14: `PT_RECLAIM`).
    pub reclaims_emptied_tables: bool,
    /// Whether `madvise` tries to do with the VMA lock alone (Linux from 6.17).
    pub madvise_under_vma_lock: bool,
    /// Whether one mremap moves several VMAs, none of which is registered with userfaultfd, and unmaps nothing if it is refused (Linux from 6.17:
    /// `remap_move`).
    pub moves_several_vmas: bool,
    /// Whether private pages become a huge one although the process can write none of them (Linux from 6.18: no `SCAN_PAGE_RO`).
    pub collapses_read_only_pages: bool,
    /// Whether MADV_COLLAPSE says EAGAIN of pages of a file that are dirty or on their way to the disk, and not EINVAL; and has them
    /// written and tries once more before it does (Linux from 7.0: `SCAN_PAGE_DIRTY_OR_WRITEBACK`).
    pub writes_back_before_collapse: bool,
    /// Whether the first write to the huge page of zeros brings a huge page, and not a small one (Linux from 6.13:
    /// `do_huge_zero_wp_pmd`).
    pub writes_huge_zero_page: bool,
    /// Whether a fault on a page of a huge page of an object, where a table is that has nothing in it, maps all of it by small entries
    /// (Linux from 6.11: `finish_fault`).
    pub maps_whole_folios: bool,
    /// Whether pages of a huge private page that hold nothing but zeros are given up when it is divided (Linux from 6.12:
    /// `try_to_map_unused_to_zeropage`).
    pub drops_zeros_at_split: bool,
    /// Safeguards that this version does not have.
    pub lacks: SafeguardSet,
}

impl Protocol {
    /// Linux 6.4, before the series: retraction needs the `mmap_lock` of every process that maps the object.
    pub const LINUX_6_4: Self = Self {
        name: "linux-6.4",
        exclusion: Exclusion::MmapWrite,
        emptiness: Emptiness::VmaFlags,
        secondary_tlb: SecondaryTlb::NotifierEnd,
        file_faults_under_vma_lock: false,
        fills_find_vma_first: false,
        reclaims_emptied_tables: false,
        madvise_under_vma_lock: false,
        moves_several_vmas: false,
        collapses_read_only_pages: false,
        writes_back_before_collapse: false,
        writes_huge_zero_page: false,
        maps_whole_folios: false,
        drops_zeros_at_split: false,
        lacks: SafeguardSet::EMPTY.with(Safeguard::MapMayFail),
    };

    /// The series as first posted on 2023-05-29, the version that the mail is about.
    pub const POSTED_V1: Self = Self {
        name: "posted-v1",
        exclusion: Exclusion::PageTableLocks,
        emptiness: Emptiness::VmaFlags,
        secondary_tlb: SecondaryTlb::NotifierEnd,
        file_faults_under_vma_lock: true,
        fills_find_vma_first: false,
        reclaims_emptied_tables: false,
        madvise_under_vma_lock: false,
        moves_several_vmas: false,
        collapses_read_only_pages: false,
        writes_back_before_collapse: false,
        writes_huge_zero_page: false,
        maps_whole_folios: false,
        drops_zeros_at_split: false,
        lacks: SafeguardSet::EMPTY
            .with(Safeguard::RecheckAnonVma)
            .with(Safeguard::RecheckUffdWp)
            .with(Safeguard::RetractNotifier)
            .with(Safeguard::EarlyPmdLock)
            .with(Safeguard::VmaLookupFirst),
    };

    /// Linux 6.6 to 6.8: the series as merged, with the fix of August 2023 (a98460494b16).
    pub const LINUX_6_6: Self = Self {
        name: "linux-6.6",
        exclusion: Exclusion::PageTableLocks,
        emptiness: Emptiness::VmaFlags,
        secondary_tlb: SecondaryTlb::Flush,
        file_faults_under_vma_lock: true,
        fills_find_vma_first: false,
        reclaims_emptied_tables: false,
        madvise_under_vma_lock: false,
        moves_several_vmas: false,
        collapses_read_only_pages: false,
        writes_back_before_collapse: false,
        writes_huge_zero_page: false,
        maps_whole_folios: false,
        drops_zeros_at_split: false,
        lacks: SafeguardSet::EMPTY,
    };

    /// Linux 6.9 and 6.10: who fills a page that has just moved away may be told that nothing is there, and not to try again.
    pub const LINUX_6_9: Self = Self {
        name: "linux-6.9",
        fills_find_vma_first: true,
        ..Self::LINUX_6_6
    };

    /// Linux 6.11: a fault on a huge page of shmem fills an empty table with all of it.
    pub const LINUX_6_11: Self = Self {
        name: "linux-6.11",
        maps_whole_folios: true,
        ..Self::LINUX_6_9
    };

    /// Linux 6.12 and 6.13: when a huge private page is divided, pages that hold nothing but zeros are given up.
    pub const LINUX_6_12: Self = Self {
        name: "linux-6.12",
        drops_zeros_at_split: true,
        ..Self::LINUX_6_11
    };

    /// Linux from 6.14: a table of a VMA that stays can also go because MADV_DONTNEED emptied it. With what was
    /// added to it until 6.19: `madvise` under the VMA lock, guard regions, several VMAs moved at once, huge pages of what cannot be written;
    /// and with what a write to the huge page of zeros does since 6.13.
    pub const LINUX_6_14: Self = Self {
        name: "linux-6.14",
        reclaims_emptied_tables: true,
        madvise_under_vma_lock: true,
        moves_several_vmas: true,
        collapses_read_only_pages: true,
        writes_huge_zero_page: true,
        ..Self::LINUX_6_12
    };

    /// Linux from 7.0: MADV_COLLAPSE does not give up for good because a file was just written.
    pub const LINUX_7_0: Self = Self {
        name: "linux-7.0",
        writes_back_before_collapse: true,
        ..Self::LINUX_6_14
    };

    /// What Jann Horn proposed: no recheck of the flags, but a scan of the table under its lock.
    pub const SCAN_EMPTY: Self = Self {
        name: "scan-empty",
        emptiness: Emptiness::Scan,
        lacks: SafeguardSet::EMPTY
            .with(Safeguard::RecheckAnonVma)
            .with(Safeguard::RecheckUffdWp),
        ..Self::LINUX_6_6
    };

    /// What Peter Xu proposed: the `mmap_lock` for reading, by trylock, instead of a recheck of the flags.
    pub const MMAP_READ_TRYLOCK: Self = Self {
        name: "mmap-read-trylock",
        exclusion: Exclusion::MmapRead,
        lacks: SafeguardSet::EMPTY
            .with(Safeguard::RecheckAnonVma)
            .with(Safeguard::RecheckUffdWp),
        ..Self::LINUX_6_6
    };

    /// The protocol that is used when none is named.
    pub const DEFAULT: Self = Self::LINUX_6_6;

    /// All protocols, oldest first.
    pub const ALL: &'static [Self] = &[
        Self::LINUX_6_4,
        Self::POSTED_V1,
        Self::SCAN_EMPTY,
        Self::MMAP_READ_TRYLOCK,
        Self::LINUX_6_6,
        Self::LINUX_6_9,
        Self::LINUX_6_11,
        Self::LINUX_6_12,
        Self::LINUX_6_14,
        Self::LINUX_7_0,
    ];

    /// The protocol of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|protocol| protocol.name == name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
