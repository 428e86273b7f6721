//! Every order that the engine asks for is needed in a scenario.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use crate::read::{config, library};
use pagefold_litmus::{Memory, Verdict};
use pagefold_machine::model::{Finding, orderings};

/// What an order is needed for: function and file of the place, order, memory model, verdict.
fn describe(finding: &Finding, names: &[&str]) -> String {
    let site = finding.site;
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(site.file);
    let source = fs::read_to_string(path).expect("the engine is in the repository");
    let function = site.function(&source).expect("places are in functions");
    let (_, file) = site.file.rsplit_once("/src/").expect("it is in a crate");
    let order = site.asked.name();
    let memory = finding.memory.name();
    let needed = match &finding.breaks {
        Some((run, kind)) => format!("{kind} in {}", names[*run]),
        None => "not shown".to_owned(),
    };
    format!("{file} {function}, {order}, {memory}: {needed}")
}

/// A change of this list is to be thought about: ARCHITECTURE.md, "Orderings", has the reasons.
#[test]
fn what_each_order_is_needed_for() {
    let library = library("memory");
    let mut names = Vec::new();
    let mut runs = Vec::new();
    for (_, scenario) in &library {
        for row in &scenario.expectations {
            if row.memory == Memory::Sc && row.verdict == Verdict::Holds {
                let mut config = config(row);
                config.bounds = config.bounds.max_executions(1_000);
                names.push(scenario.name.as_str());
                runs.push((scenario, config));
            }
        }
    }
    let jobs = NonZeroUsize::new(2).expect("two");
    let findings = orderings(&runs, jobs).expect("the scenarios are small enough");
    let found: Vec<String> = findings
        .iter()
        .map(|finding| describe(finding, &names))
        .collect();
    assert_eq!(found, NEEDED, "{found:#?}");
    for finding in &findings {
        // Under one of the models: none needs them all.
        let mut same_place = findings.iter().filter(|other| other.site == finding.site);
        assert!(
            same_place.any(|other| other.breaks.is_some()),
            "nothing breaks without the order at {}: it is not needed, or a scenario is missing",
            finding.site
        );
    }
}

const NEEDED: &[&str] = &[
    "collapse/file.rs check_missing_vmas, full barrier, ra: uffd-missing in hole-vs-register",
    "collapse/file.rs check_missing_vmas, full barrier, tso: uffd-missing in hole-vs-register",
    "filemap.rs open_write, full barrier, ra: huge-while-written in thps-vs-writecount",
    "filemap.rs open_write, full barrier, tso: not shown",
    "filemap.rs count_huge, full barrier, ra: huge-while-written in thps-vs-writecount",
    "filemap.rs count_huge, full barrier, tso: huge-while-written in thps-vs-writecount",
    "folio.rs move_anon, release, ra: condition in uffd-move-vs-walk",
    "folio.rs anon_vma, dependent read, ra: use-after-free in uffd-move-vs-walk",
    "folio.rs is_pinned_elsewhere, full barrier, ra: condition in uffd-move-vs-pin",
    "folio.rs is_pinned_elsewhere, full barrier, tso: not shown",
    "folio.rs write_out, full barrier, ra: content in dirty-vs-write-out",
    "folio.rs write_out, full barrier, tso: content in dirty-vs-write-out",
    "folio.rs is_writeback, acquire, ra: use-after-free in writeback-end",
    "folio.rs end_writeback, release, ra: use-after-free in writeback-end",
    "folio.rs try_get, acquire, ra: condition in frame-reuse",
    "folio.rs put, acquire, ra: use-after-free in frame-reuse",
    "folio.rs put, release, ra: use-after-free in dirty-vs-write-out",
    "folio.rs unfreeze, release, ra: leak in split-count",
    "folio.rs refcount, acquire, ra: content in pin-vs-count",
    "fork.rs copy_page_range, full barrier, ra: content in pin-vs-fork",
    "fork.rs copy_page_range, full barrier, tso: not shown",
    "fork.rs copy_page_range, release, ra: content in pin-vs-fork",
    "frame.rs init_folio, release, ra: condition in frame-reuse",
    "gup/mod.rs grab, full barrier, ra: content in pin-vs-fork",
    "gup/mod.rs grab, full barrier, tso: not shown",
    "gup/mod.rs unpin_user_page_dirty, full barrier, ra: content in dirty-vs-write-out",
    "gup/mod.rs unpin_user_page_dirty, full barrier, tso: not shown",
    "kvm.rs spte, dependent read, ra: content in spte-publication",
    "kvm.rs page_fault, acquire, ra: content in kvm-sequence",
    "kvm.rs install, release, ra: content in spte-publication",
    "kvm.rs invalidate_range_end, release, ra: content in kvm-sequence",
    "mm.rs set_link, release, ra: use-after-free in vma-publication",
    "mm.rs set_link, release, ra: use-after-free in vma-publication",
    "mm.rs vma_end_write_all, release, ra: table-not-empty in vma-lock-vs-munmap",
    "mm.rs lock_seq, acquire, ra: table-not-empty in vma-lock-vs-munmap",
    "mm.rs lock_vma_under_rcu, dependent read, ra: use-after-free in vma-publication",
    "mm.rs lock_vma_under_rcu, dependent read, ra: use-after-free in vma-publication",
    "mmap.rs exit_mm, acquire, ra: table-not-empty in exit-last-user",
    "mmap.rs exit_mm, release, ra: table-not-empty in exit-last-user",
    "page_cache/slots.rs load, dependent read, ra: use-after-free in fill-vs-wait",
    "page_cache/slots.rs create_range, release, ra: use-after-free in fill-vs-wait",
    "page_cache/slots.rs store_node, release, ra: use-after-free in split-count",
    "page_cache/slots.rs store_huge, release, ra: condition in huge-slot-publication",
    "page_table/walk.rs read_dependent, dependent read, ra: use-after-free in anon-vma-publication",
    "page_table/walk.rs set, release, ra: use-after-free in anon-vma-publication",
    "page_table/walk.rs walk_down, dependent read, ra: use-after-free in anon-vma-publication",
    "page_table/walk.rs make_upper_table, release, ra: use-after-free in anon-vma-publication",
    "page_table/walk.rs read_dependent, dependent read, ra: content in content-before-entry",
    "page_table/walk.rs set, release, ra: content in content-before-entry",
    "rmap/anon.rs put_anon_vma_of_vma, acquire, ra: use-after-free in anon-vma-last-user",
    "rmap/anon.rs put_anon_vma_of_vma, release, ra: use-after-free in anon-vma-last-user",
    "rmap/anon.rs put_anon_vma, acquire, ra: use-after-free in anon-vma-last-user",
    "rmap/anon.rs put_anon_vma, release, ra: use-after-free in anon-vma-last-user",
    "tlb.rs flush_tlb_batched_pending, acquire, ra: content in put-off-flush",
    "tlb.rs add, release, ra: content in put-off-flush",
    "truncate.rs truncate, full barrier, ra: beyond-end in size-vs-fill",
    "truncate.rs truncate, full barrier, tso: not shown",
    "userfault/fill.rs check_size, full barrier, ra: beyond-end in size-vs-fill",
    "userfault/fill.rs check_size, full barrier, tso: not shown",
    "userfault/register.rs register, full barrier, ra: uffd-missing in hole-vs-register",
    "userfault/register.rs register, full barrier, tso: not shown",
    "vma/mod.rs set_anon_vma, release, ra: use-after-free in anon-vma-publication",
    "vma/mod.rs anon_vma, dependent read, ra: use-after-free in anon-vma-publication",
];
