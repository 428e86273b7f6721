//! The functions of Linux that the steps of a trace stand for.
//!
//! One table. A system call begins in a function; some steps are taken in one function only and so say that it has been
//! reached; all others belong to the function that was reached last. Names are those of Linux 6.12, or of the first version that
//! has the system call.

use pagefold_litmus::{Advice, Backing, Call, Scenario, StatementKind};

/// The way of a statement through the kernel.
#[derive(Debug)]
struct Way {
    /// Where it begins; empty for user space.
    begins: &'static str,
    /// From which function (any, if empty) which step (its label begins so) shows that which function is reached.
    turns: &'static [(&'static str, &'static str, &'static str)],
}

const COLLAPSE_OBJECT: Way = Way {
    begins: "madvise_collapse",
    turns: COLLAPSE,
};

const KHUGEPAGED: Way = Way {
    begins: "khugepaged_scan_mm_slot",
    turns: COLLAPSE,
};

const COLLAPSE: &[(&str, &str, &str)] = &[
    ("", "mmap_read_lock", "madvise_collapse"),
    ("madvise_collapse", "xas_load", "hpage_collapse_scan_file"),
    ("hpage_collapse_scan_file", "folio_trylock", "collapse_file"),
    ("hpage_collapse_scan_file", "xa_lock", "collapse_file"),
    ("collapse_file", "pte_offset_map_lock", "try_to_unmap_one"),
    ("try_to_unmap_one", "unlock i_mmap_rwsem", "collapse_file"),
    ("collapse_file", "read anon_vma", "retract_page_tables"),
    ("collapse_file", "find_pmd", "retract_page_tables"),
    ("retract_page_tables", "folio_unlock", "collapse_file"),
    ("madvise_collapse", "find_pmd", "collapse_pte_mapped_thp"),
    (
        "hpage_collapse_scan_file",
        "folio_lock",
        "collapse_pte_mapped_thp",
    ),
    ("madvise_collapse", "folio_lock", "collapse_pte_mapped_thp"),
    ("madvise_collapse", "ptl", "collapse_pte_mapped_thp"),
    ("madvise_collapse", "pmd_lock", "collapse_pte_mapped_thp"),
    (
        "madvise_collapse",
        "pte_offset_map_lock",
        "collapse_pte_mapped_thp",
    ),
];

const COLLAPSE_ANON: Way = Way {
    begins: "madvise_collapse",
    turns: &[
        (
            "madvise_collapse",
            "pte_offset_map_lock",
            "hpage_collapse_scan_pmd",
        ),
        (
            "hpage_collapse_scan_pmd",
            "mmap_read_unlock",
            "collapse_huge_page",
        ),
        (
            "hpage_collapse_scan_pmd",
            "mmap_write_lock",
            "collapse_huge_page",
        ),
        (
            "collapse_huge_page",
            "folio_trylock",
            "__collapse_huge_page_isolate",
        ),
        (
            "collapse_huge_page",
            "copy_page",
            "__collapse_huge_page_copy",
        ),
        (
            "__collapse_huge_page_isolate",
            "copy_page",
            "__collapse_huge_page_copy",
        ),
        (
            "__collapse_huge_page_copy",
            "pmd_lock",
            "collapse_huge_page",
        ),
    ],
};

const FAULT: Way = Way {
    begins: "",
    turns: &[
        ("", "begin access", ""),
        ("", "find VMA under RCU", "lock_vma_under_rcu"),
        ("", "mmap_read_lock", "lock_mm_and_find_vma"),
        ("", "mmap_read_unlock", "do_user_addr_fault"),
        ("", "vma_end_read", "do_user_addr_fault"),
        ("", "read pud", "__handle_mm_fault"),
        ("", "install pmd table", "__pmd_alloc"),
        ("", "attach anon_vma", "__anon_vma_prepare"),
        ("__handle_mm_fault", "read pte", "handle_pte_fault"),
        ("handle_pte_fault", "pte_offset_map_lock", "do_wp_page"),
        ("do_wp_page", "copy_page", "wp_page_copy"),
        ("__anon_vma_prepare", "copy_page", "wp_page_copy"),
        ("", "xas_load", "do_fault"),
        ("", "clear_page", "do_anonymous_page"),
        ("do_fault", "folio_trylock", "filemap_map_pages"),
        ("do_fault", "folio_lock", "shmem_get_folio_gfp"),
        ("shmem_get_folio_gfp", "copy_page", "do_cow_fault"),
        ("shmem_get_folio_gfp", "pte_offset_map_lock", "finish_fault"),
        ("do_cow_fault", "pte_offset_map_lock", "finish_fault"),
        ("pmd_install", "pte_offset_map_lock", "finish_fault"),
        ("", "set_pmd", "do_set_pmd"),
        ("", "pmd_populate", "pmd_install"),
    ],
};

const FILL: Way = Way {
    begins: "userfaultfd_ioctl",
    turns: &[
        ("", "mmap_read_lock", "mfill_atomic"),
        ("", "attach anon_vma", "__anon_vma_prepare"),
        ("", "copy from user", "mfill_atomic_pte_copy"),
        ("", "clear_page", "mfill_atomic_pte_zeropage"),
        ("", "xas_load", "mfill_atomic_pte_continue"),
        ("", "install pmd table", "__pmd_alloc"),
        ("", "read pud", "mfill_atomic"),
        ("", "pmd_lock", "__pte_alloc"),
        ("", "pte_offset_map_lock", "mfill_atomic_install_pte"),
        ("", "mmap_read_unlock", "mfill_atomic"),
    ],
};

const WRITEPROTECT: Way = Way {
    begins: "userfaultfd_ioctl",
    turns: &[
        ("", "mmap_read_lock", "mwriteprotect_range"),
        ("", "read pmd", "change_pmd_range"),
        ("", "pte_offset_map_lock", "change_pte_range"),
        ("", "unlock ptl", "change_pmd_range"),
        ("", "mmap_read_unlock", "mwriteprotect_range"),
    ],
};

const MPROTECT: Way = Way {
    begins: "do_mprotect_pkey",
    turns: &[
        ("", "change VMA flags", "mprotect_fixup"),
        ("", "read pmd", "change_pmd_range"),
        ("", "pte_offset_map_lock", "change_pte_range"),
        ("", "unlock ptl", "change_pmd_range"),
    ],
};

const DONTNEED: Way = Way {
    begins: "zap_page_range_single",
    turns: ZAP,
};

const MUNMAP: Way = Way {
    begins: "do_vmi_munmap",
    turns: ZAP,
};

const ZAP: &[(&str, &str, &str)] = &[
    ("", "read pmd", "zap_pmd_range"),
    ("", "pte_offset_map_lock", "zap_pte_range"),
];

const TRUNCATE: Way = Way {
    begins: "shmem_setattr",
    turns: REMOVE,
};

const PUNCH: Way = Way {
    begins: "shmem_fallocate",
    turns: REMOVE,
};

const REMOVE: &[(&str, &str, &str)] = &[
    ("", "i_mmap_lock_read", "unmap_mapping_range"),
    ("", "pte_offset_map_lock", "zap_pte_range"),
    ("", "xas_load", "shmem_undo_range"),
];

const MREMAP: Way = Way {
    begins: "move_page_tables",
    turns: &[
        ("", "pte_offset_map_lock", "move_ptes"),
        ("", "pmd_clear", "move_normal_pmd"),
    ],
};

const FORK: Way = Way {
    begins: "dup_mmap",
    turns: &[
        ("", "write_protect_seq begins", "copy_page_range"),
        ("", "pte_offset_map_lock", "copy_pte_range"),
        ("", "ptl", "copy_pte_range"),
    ],
};

/// A statement whose steps are not told apart.
const fn one(begins: &'static str) -> Way {
    Way { begins, turns: &[] }
}

/// The way of a statement.
fn way(scenario: &Scenario, statement: &StatementKind) -> Way {
    let StatementKind::Call { call, .. } = statement else {
        return FAULT;
    };
    match call {
        Call::Madvise(range, Advice::Collapse) => match scenario[range.mapping].backing {
            Backing::Object(_) => COLLAPSE_OBJECT,
            Backing::Anonymous { .. } => COLLAPSE_ANON,
        },
        Call::Madvise(_, Advice::DontNeed) => DONTNEED,
        Call::Madvise(_, Advice::GuardInstall) => one("madvise_guard_install"),
        Call::Madvise(_, Advice::GuardRemove) => one("madvise_guard_remove"),
        Call::Madvise(_, Advice::HugePage | Advice::NoHugePage) => one("hugepage_madvise"),
        Call::Madvise(_, Advice::PopulateRead | Advice::PopulateWrite) => one("madvise_populate"),
        Call::UffdioCopy(..)
        | Call::UffdioZeropage(_)
        | Call::UffdioContinue(..)
        | Call::UffdioPoison(_) => FILL,
        Call::UffdioWriteprotect(..) => WRITEPROTECT,
        Call::UffdioMove(..) => one("move_pages"),
        Call::UffdRegister(..) => one("userfaultfd_register"),
        Call::UffdUnregister(_) => one("userfaultfd_unregister"),
        Call::UffdClose(_) => one("userfaultfd_release"),
        Call::Munmap(_) => MUNMAP,
        Call::Mprotect(..) => MPROTECT,
        Call::Mremap(..) => MREMAP,
        Call::Fork(_) => FORK,
        Call::Truncate(..) => TRUNCATE,
        Call::FallocatePunch(_) => PUNCH,
        Call::Gup(_)
        | Call::GupWrite(..)
        | Call::ProcMemRead(_)
        | Call::ProcMemWrite(..)
        | Call::Hold(..) => one("__get_user_pages"),
        Call::Mincore(_) => one("mincore_pte_range"),
        Call::Exit => one("exit_mmap"),
        Call::Collapse(_) | Call::Scan(..) => KHUGEPAGED,
        Call::GupFast(_) | Call::GupFastWrite(..) | Call::Vmsplice(_) => one("gup_fast"),
        Call::RmapWalk(_) => one("rmap_walk_file"),
        Call::RmapWalkAnon(_) => one("rmap_walk_anon"),
        Call::Reclaim(_) | Call::Madvise(_, Advice::PageOut) => one("shrink_folio_list"),
        Call::OomReap(_) => one("__oom_reap_task_mm"),
        Call::Migrate(_) => one("migrate_pages_batch"),
        Call::Hwpoison(_) => one("madvise_inject_error"),
        Call::Shrink(_) | Call::Madvise(_, Advice::Cold) => one("shrink_active_list"),
        Call::UffdRead(_) | Call::UffdAnswer(..) => one("userfaultfd_ctx_read"),
        Call::OpenWrite(_) | Call::CloseWrite(_) => one("do_dentry_open"),
        Call::Write(..) => one("generic_perform_write"),
        Call::Fsync(_) => one("vfs_fsync_range"),
        // What only looks, and what user space does by itself.
        Call::Prefetch(_)
        | Call::ReadHeld(_)
        | Call::WriteHeld(..)
        | Call::LetGo(_)
        | Call::PageTable(_)
        | Call::PmdMapped(_)
        | Call::UffdWp(_)
        | Call::Swapped(_)
        | Call::OnDisk(_)
        | Call::Rss => one(""),
    }
}

/// The function of each step of a statement; `None` in user space.
pub(super) fn functions<'a>(
    scenario: &Scenario,
    statement: &StatementKind,
    steps: impl IntoIterator<Item = &'a str>,
) -> Vec<Option<&'static str>> {
    let way = way(scenario, statement);
    let mut function = way.begins;
    let known = |function: &'static str| (!function.is_empty()).then_some(function);
    steps
        .into_iter()
        .map(|step| {
            let turn = way.turns.iter().find(|(from, label, _)| {
                (from.is_empty() || *from == function) && step.starts_with(label)
            });
            if let Some((_, _, to)) = turn {
                function = to;
            }
            known(function)
        })
        .collect()
}
