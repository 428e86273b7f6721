//! The scenario library is a test suite: every line of every `expect` comes out as it says, and every safeguard has a line
//! that shows what it is there for.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use pagefold::protocol::{Protocol, Safeguard, SafeguardSet};
use pagefold_litmus::{Expectation, Memory, Scenario, Verdict, Vocabulary};
use pagefold_machine::model::{Finding, Kind, Outcome, RunConfig, check, orderings};

fn library(folder: &str) -> Vec<(PathBuf, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../litmus")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the library is in the repository")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "litmus")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has scenarios", folder.display());
    files
        .into_iter()
        .map(|path| {
            let scenario = parse(&path);
            (path, scenario)
        })
        .collect()
}

fn parse(path: &Path) -> Scenario {
    let source = fs::read_to_string(path).expect("it can be read");
    let protocols: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.name).collect();
    let safeguards: Vec<&str> = Safeguard::ALL
        .iter()
        .map(|safeguard| safeguard.name())
        .collect();
    let mut violations: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    violations.extend(pagefold_explore::kind::ALL);
    let vocabulary = Vocabulary {
        protocols: &protocols,
        safeguards: &safeguards,
        violations: &violations,
    };
    pagefold_litmus::parse(&source, &path.display().to_string(), &vocabulary)
        .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(&source, false)))
}

fn config(row: &Expectation) -> RunConfig {
    let protocol = Protocol::by_name(&row.protocol).expect("the parser knows the names");
    let mut config = RunConfig::new(protocol);
    config.without = row
        .without
        .iter()
        .map(|name| safeguard(name))
        .fold(SafeguardSet::EMPTY, SafeguardSet::with);
    config.unsplit = row.unsplit;
    config.strict = row.strict;
    config.memory = row.memory;
    config
}

fn safeguard(name: &str) -> Safeguard {
    *Safeguard::ALL
        .iter()
        .find(|safeguard| safeguard.name() == name)
        .expect("the parser knows the names")
}

fn is_as_expected(expected: &Verdict, outcome: &Outcome) -> bool {
    match (expected, outcome) {
        (Verdict::Holds, Outcome::Holds)
        | (Verdict::Allowed, Outcome::Allowed(_))
        | (Verdict::Forbidden, Outcome::Forbidden) => true,
        (Verdict::Exception(name), Outcome::Exception(kind)) => {
            name.as_ref().is_none_or(|name| *name == kind.name())
        }
        (Verdict::Broken(kind), Outcome::Broken(violation)) => {
            kind.as_ref().is_none_or(|kind| *kind == violation.kind)
        }
        _ => false,
    }
}

fn assert_as_expected(folder: &str) {
    for (path, scenario) in library(folder) {
        for row in &scenario.expectations {
            let checked = check(&scenario, &config(row)).expect("the scenario is small enough");
            assert!(
                is_as_expected(&row.verdict, &checked.outcome),
                "{} under {} {}{}{} without {:?}: expected {:?}, got {:?}",
                path.display(),
                row.protocol,
                if row.unsplit { "unsplit " } else { "" },
                if row.strict { "strict " } else { "" },
                row.memory.name(),
                row.without,
                row.verdict,
                checked.outcome,
            );
        }
    }
}

#[test]
fn the_questions_of_the_thread() {
    assert_as_expected("thread");
}

#[test]
fn the_other_safeguards() {
    assert_as_expected("safeguards");
}

#[test]
fn the_whole_system() {
    assert_as_expected("system");
}

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
    for (finding, described) in findings.iter().zip(&found) {
        if NOT_SHOWN.iter().any(|place| described.starts_with(place)) {
            continue;
        }
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
    "folio.rs try_get, acquire, ra: condition in frame-reuse",
    "folio.rs put, acquire, ra: use-after-free in frame-reuse",
    "folio.rs put, release, ra: use-after-free in frame-reuse",
    "folio.rs unfreeze, release, ra: leak in split-count",
    "folio.rs refcount, acquire, ra: content in pin-vs-count",
    "fork.rs copy_page_range, full barrier, ra: content in pin-vs-fork",
    "fork.rs copy_page_range, full barrier, tso: not shown",
    "fork.rs copy_page_range, release, ra: content in pin-vs-fork",
    "frame.rs init_folio, release, ra: condition in frame-reuse",
    "gup/fast.rs pin_user_page_fast, acquire, ra: content in pin-vs-fork",
    "gup/fast.rs pin_user_page_fast, full barrier, ra: content in pin-vs-fork",
    "gup/fast.rs pin_user_page_fast, full barrier, tso: not shown",
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
    "page_cache/slots.rs load, dependent read, ra: use-after-free in node-publication",
    "page_cache/slots.rs create_range, release, ra: use-after-free in node-publication",
    "page_table/walk.rs read_dependent, dependent read, ra: use-after-free in anon-vma-publication",
    "page_table/walk.rs set, release, ra: use-after-free in anon-vma-publication",
    "page_table/walk.rs walk_down, dependent read, ra: use-after-free in anon-vma-publication",
    "page_table/walk.rs make_upper_table, release, ra: use-after-free in anon-vma-publication",
    "page_table/walk.rs read_dependent, dependent read, ra: content in content-before-entry",
    "page_table/walk.rs set, release, ra: content in content-before-entry",
    "rmap/anon.rs put_anon_vma, acquire, ra: not shown",
    "rmap/anon.rs put_anon_vma, release, ra: not shown",
    "page_cache/slots.rs store_node, release, ra: use-after-free in split-count",
    "truncate.rs truncate, full barrier, ra: beyond-end in size-vs-fill",
    "truncate.rs truncate, full barrier, tso: not shown",
    "userfault/fill.rs check_size, full barrier, ra: beyond-end in size-vs-fill",
    "userfault/fill.rs check_size, full barrier, tso: not shown",
    "userfault/register.rs register, full barrier, ra: uffd-missing in hole-vs-register",
    "userfault/register.rs register, full barrier, tso: not shown",
    "vma.rs set_anon_vma, release, ra: use-after-free in anon-vma-publication",
    "vma.rs anon_vma_of_page, dependent read, ra: use-after-free in anon-vma-publication",
];

/// What no model can show, but what a count of references gives: only of frames, not of objects, is it checked that every
/// use has happened before they are freed.
const NOT_SHOWN: &[&str] = &["rmap/anon.rs put_anon_vma"];

#[test]
fn the_orders_of_memory() {
    assert_as_expected("memory");
}

#[test]
fn the_kernels_own_tests() {
    assert_as_expected("selftests");
}

#[test]
fn every_safeguard_is_shown_to_be_needed_and_to_suffice() {
    let mut needed = BTreeSet::new();
    let folders = ["thread", "safeguards", "system"];
    for (path, scenario) in folders.into_iter().flat_map(library) {
        for row in &scenario.expectations {
            if let (Verdict::Broken(_), [name]) = (&row.verdict, &row.without[..]) {
                let with_it = scenario.expectations.iter().any(|other| {
                    other.protocol == row.protocol
                        && other.unsplit == row.unsplit
                        && other.without.is_empty()
                        && matches!(other.verdict, Verdict::Holds | Verdict::Exception(_))
                });
                assert!(
                    with_it,
                    "{}: {name} has no line that holds, but for what is documented, with it",
                    path.display()
                );
                needed.insert(name.clone());
            }
        }
    }
    // Without one of them nothing breaks, in any protocol: `exit-vs-retract` says why, and `anon-collapse-vs-gup-fast`, which has a
    // line without `gup_recheck_pmd` and that for which it is the second.
    let not_needed = ["exit_test", "gup_recheck_pmd"];
    for safeguard in Safeguard::ALL {
        let name = safeguard.name();
        assert_eq!(
            needed.contains(name),
            !not_needed.contains(&name),
            "is {name} shown to be needed?"
        );
    }
}

#[test]
fn the_protocols_and_what_they_lack_are_known_by_name() {
    for protocol in Protocol::ALL {
        assert_eq!(Protocol::by_name(protocol.name), Some(*protocol));
    }
    assert_eq!(Protocol::by_name("linux-2.4"), None);
}
