//! Each oracle fires when what it watches is broken, and nothing fires otherwise.
//!
//! An execution ends at the first oracle that fires, so these show which one is first, not that no other would follow.

use pagefold::accounting::{Fact, PageKind};
use pagefold::addr::{AddrRange, Pfn, VirtAddr};
use pagefold::arch::{Format, PMD_LEVEL, PTE_LEVEL, Pte};
use pagefold::page_cache::Entry;
use pagefold::platform::{Counter, FlushKind, Order, Platform, RefCount, Word as _};
use pagefold::protocol::Protocol;
use pagefold_explore as explore;
use pagefold_litmus::{Format as EntriesOf, Memory, ObjectId, Vocabulary};

use super::RunConfig;
use super::execute::Machine;
use super::plan::{Goal, Plan};
use crate::model::cpu::Translation;
use crate::model::format::{EntryFormat, ModelFormat};
use crate::model::oracle::{Through, entry_of};
use crate::model::word::ModelWord;
use crate::model::world::World;
use crate::model::{Kind, Model};

/// Two processes and a child, a virtual machine, a page that is mapped, a hole, a private page that is shared with the child, a
/// protected page.
const SCENARIO: &str = r"
MM books
{
    shmem f[2] = { 1, hole };
    mm A { x: mmap(f, MAP_SHARED); uffd(x, WP); }
    mm B { y: mmap(f, MAP_PRIVATE); }
    mm C = fork(B);
    A: x[0];
    B: y[0] = 7; fork(C);
}
P0 (A)      { uffdio_writeprotect(x[1]); }
P1 (vcpu A) { v = x[0]; }
P2 (B)      { r = y[0]; }
";

const A: u32 = 0;
const B: u32 = 1;
const C: u32 = 2;
const PAGE_0: VirtAddr = VirtAddr::of_page(0);
const PAGE_1: VirtAddr = VirtAddr::of_page(1);

fn kind_after(memory: Memory, sabotage: fn(&Machine)) -> Option<String> {
    let config = RunConfig {
        memory,
        ..RunConfig::new(Protocol::DEFAULT)
    };
    kind_under(&config, sabotage)
}

fn kind_under(config: &RunConfig, sabotage: fn(&Machine)) -> Option<String> {
    kind_of(config, |plan| plan.before_checks = sabotage)
}

fn kind_of(config: &RunConfig, prepare: impl FnOnce(&mut Plan)) -> Option<String> {
    let vocabulary = Vocabulary {
        protocols: &[],
        safeguards: &[],
        violations: &[],
    };
    let scenario = pagefold_litmus::parse(SCENARIO, "books", &vocabulary).expect("it is valid");
    let mut plan = Plan::new(&scenario, config, Goal::Invariants).expect("it is small enough");
    prepare(&mut plan);
    match plan.explore(config, &|_| ()).verdict {
        explore::Verdict::Holds => None,
        explore::Verdict::Broken(violation) => Some(violation.kind.into_owned()),
        explore::Verdict::NotExhausted(bound) => panic!("{bound}"),
    }
}

fn assert_fires(kind: Kind, sabotage: fn(&Machine)) {
    for memory in Memory::ALL {
        let fired = kind_after(memory, sabotage);
        assert_eq!(fired.as_deref(), Some(kind.name()), "{memory:?}");
    }
}

/// Has both happen at the same time.
fn race(there: impl FnOnce() + 'static, here: impl FnOnce()) {
    let other = explore::thread::spawn(there);
    here();
    let _ = other.join();
}

fn mapped_frame(machine: &Machine, mm: u32) -> Pfn {
    let mm = machine.mms[mm as usize].expect("it is there");
    entry_of(mm, PAGE_0).1.pfn()
}

#[test]
fn nothing_fires_when_nothing_is_broken() {
    for memory in Memory::ALL {
        assert_eq!(kind_after(memory, |_| ()), None, "{memory:?}");
    }
}

#[test]
fn a_wrong_count_of_resident_pages() {
    assert_fires(Kind::Rss, |machine| {
        machine.mms[0].expect("A").rss(PageKind::Anon).add(1);
    });
}

#[test]
fn a_wrong_count_of_page_tables() {
    assert_fires(Kind::NrPtes, |machine| {
        machine.mms[0].expect("A").nr_ptes().add(-1)
    });
}

#[test]
fn a_wrong_count_of_blocks() {
    assert_fires(Kind::Blocks, |machine| {
        let object = machine.objects[0].expect("it is made at the start");
        object.blocks().add(1);
    });
}

#[test]
fn a_wrong_count_of_mappings() {
    assert_fires(Kind::Mapcount, |machine| {
        Model::frame(mapped_frame(machine, A)).mapcount().add(1);
    });
}

#[test]
fn a_wrong_count_of_references() {
    assert_fires(Kind::Refcount, |machine| {
        Model::frame(mapped_frame(machine, A)).refcount().get(1);
    });
}

#[test]
fn a_frame_that_nobody_has() {
    assert_fires(Kind::Leak, |_| {
        let _ = Model::alloc_frames(Order::Small);
    });
}

#[test]
fn a_frame_that_is_used_after_it_was_freed() {
    assert_fires(Kind::UseAfterFree, |_| {
        let pfn = Model::alloc_frames(Order::Small).expect("there are frames");
        Model::free_frames(pfn, Order::Small);
        Model::entry(pfn, 0).read_once();
    });
}

#[test]
fn memory_that_has_gone_bad_is_copied() {
    let kind = kind_of(&RunConfig::new(Protocol::DEFAULT), |plan| {
        plan.rules.goes_bad = true;
        plan.before_checks = |machine| {
            let bad = mapped_frame(machine, A);
            let to = Model::alloc_frames(Order::Small).expect("there are frames");
            World::current().go_bad(bad);
            assert!(!Model::copy_mc_page(to, bad));
            Model::copy_page(to, bad);
        };
    });
    assert_eq!(kind.as_deref(), Some(Kind::MachineCheck.name()));
}

#[test]
fn an_object_that_is_used_after_it_was_freed() {
    assert_fires(Kind::UseAfterFree, |_| {
        let object = Model::alloc(7_u64);
        // SAFETY: none; that the next line breaks the promise is what is to be found.
        unsafe { Model::free(object) };
        assert_eq!(*object, 7);
    });
}

#[test]
fn a_page_of_the_object_with_another_content() {
    assert_fires(Kind::Content, |machine| {
        World::current().content(mapped_frame(machine, A)).poke(2);
    });
}

#[test]
fn a_private_page_with_another_content() {
    assert_fires(Kind::Content, |machine| {
        World::current().content(mapped_frame(machine, B)).poke(2);
    });
}

#[test]
fn a_load_of_something_else_than_was_stored() {
    assert_fires(Kind::Content, |machine| {
        let pfn = mapped_frame(machine, B);
        World::current().books.check_load(B, PAGE_0, pfn, 8);
    });
}

#[test]
fn a_private_page_that_one_of_two_processes_may_write() {
    assert_fires(Kind::Exclusive, |machine| {
        let (table, pte) = entry_of(machine.mms[1].expect("B"), PAGE_0);
        let word = ModelFormat::encode(pte.mk_writable(), PTE_LEVEL);
        Model::entry(table.expect("the page is mapped by a table"), 0).poke(word);
    });
}

#[test]
fn a_page_of_zeros_that_may_be_written() {
    assert_fires(Kind::Content, |machine| {
        let (table, _) = entry_of(machine.mms[1].expect("B"), PAGE_0);
        let word = ModelFormat::encode(Pte::page(Model::zero_page(), true), PTE_LEVEL);
        Model::entry(table.expect("a page is mapped by the table"), 1).poke(word);
    });
}

#[test]
fn a_store_that_is_led_to_the_frame_of_before() {
    assert_fires(Kind::Content, |machine| {
        let frame = mapped_frame(machine, A);
        World::current().store_by_user(B, PAGE_0, frame, 8, Through::Translation);
    });
}

#[test]
fn a_write_protection_that_nobody_asked_for() {
    assert_fires(Kind::MarkerStray, |machine| {
        let (table, pte) = entry_of(machine.mms[1].expect("B"), PAGE_0);
        let word = ModelFormat::encode(pte.mk_uffd_wp(), PTE_LEVEL);
        Model::entry(table.expect("the page is mapped by a table"), 0).poke(word);
    });
}

#[test]
fn a_slot_left_as_changing() {
    assert_fires(Kind::RetryEntry, |machine| {
        let object = machine.object(ObjectId::new(0));
        let Entry::Node(node) = Entry::from_bits(Model::entry(object.root(), 0).peek()) else {
            panic!("the object has small pages");
        };
        Model::entry(node, 1).poke(1);
    });
}

/// Maps page 0 or 1 of an address space to a frame that nobody has.
fn map_stray_frame(machine: &Machine, mm: u32, page: usize) {
    let mm = machine.mms[mm as usize].expect("it is there");
    let table = entry_of(mm, PAGE_0).0.expect("there is a table");
    let stray = Model::alloc_frames(Order::Small).expect("there are frames");
    let entry = ModelFormat::encode(Pte::page(stray, false), PTE_LEVEL);
    Model::entry(table, page).poke(entry);
}

#[test]
fn a_page_that_is_mapped_and_not_the_objects() {
    assert_fires(Kind::Orphan, |machine| map_stray_frame(machine, A, 0));
}

#[test]
fn a_page_that_is_mapped_behind_the_end() {
    assert_fires(Kind::BeyondEnd, |machine| {
        let object = machine.object(ObjectId::new(0));
        assert_eq!(pagefold::truncate::truncate(object, 1), Ok(()));
        map_stray_frame(machine, B, 1);
        machine.mms[1].expect("B").rss(PageKind::Shmem).add(1);
    });
}

#[test]
fn a_write_protection_that_vanished() {
    assert_fires(Kind::MarkerLost, |machine| {
        let mm = machine.mms[0].expect("A");
        let table = entry_of(mm, PAGE_1).0.expect("the marker is in a table");
        Model::entry(table, 1).poke(0);
    });
}

#[test]
fn a_guard_that_vanished() {
    assert_fires(Kind::MarkerLost, |_| {
        Model::observe(Fact::Guarded(A, PAGE_0));
    });
}

#[test]
fn a_table_that_is_taken_with_a_page_in_it() {
    assert_fires(Kind::TableNotEmpty, |machine| {
        let mm = machine.mms[1].expect("B");
        let table = entry_of(mm, PAGE_0)
            .0
            .expect("the page is mapped by a table");
        Model::observe(Fact::TableRemoved(table, B, AddrRange::pages(PAGE_0, 2)));
    });
}

#[test]
fn a_frame_that_is_mapped_as_two_kinds_of_page() {
    assert_fires(Kind::PageTableCheck, |machine| {
        Model::observe(Fact::Mapped(mapped_frame(machine, A), PageKind::Anon, 1));
    });
}

#[test]
fn a_frame_that_is_freed_while_it_is_mapped() {
    assert_fires(Kind::PageTableCheck, |_| {
        let frame = Model::alloc_frames(Order::Small).expect("there are some");
        Model::observe(Fact::Mapped(frame, PageKind::Shmem, 1));
        Model::free_frames(frame, Order::Small);
    });
}

#[test]
fn a_translation_that_outlived_its_entry() {
    assert_fires(Kind::StaleTranslation, |machine| {
        let stale = Translation {
            pfn: mapped_frame(machine, B),
            writable: false,
            dirty: false,
        };
        World::current().cpus[0].leaves[0].set(Some(stale));
    });
}

#[test]
fn a_cached_table_that_outlived_its_entry() {
    assert_fires(Kind::StaleTranslation, |machine| {
        let other = machine.mms[1].expect("B").root();
        World::current().cpus[0].tables_of(PMD_LEVEL)[0].set(Some(other));
    });
}

#[test]
fn a_virtual_machine_that_maps_another_frame() {
    assert_fires(Kind::SecondaryMapping, |machine| {
        let kvm = machine.kvms[0].expect("A has a virtual machine");
        let other = Pte::page(mapped_frame(machine, B), false);
        Model::entry(kvm.table(), 0).poke(ModelFormat::encode(other, PTE_LEVEL));
    });
}

/// A store to a page after fork has given it to the child: whoever of the two comes to the machine first, the search finds it.
#[test]
fn a_store_after_a_page_was_given_to_a_child() {
    fn give(pfn: Pfn) {
        Model::observe(Fact::ForkedPage(B, C, PAGE_0, pfn));
    }
    fn store(pfn: Pfn) {
        World::current().store_by_user(B, PAGE_0, pfn, 9, Through::Translation);
    }
    let orders: [fn(&Machine); 2] = [
        |machine| {
            let pfn = mapped_frame(machine, B);
            race(move || give(pfn), || store(pfn));
        },
        |machine| {
            let pfn = mapped_frame(machine, B);
            race(move || store(pfn), || give(pfn));
        },
    ];
    for sabotage in orders {
        let config = RunConfig::new(Protocol::DEFAULT);
        let fired = kind_of(&config, |plan| plan.after_threads = sabotage);
        assert_eq!(fired.as_deref(), Some(Kind::Content.name()));
    }
}

#[test]
fn a_hole_that_was_seen_and_is_filled_without_an_event() {
    assert_fires(Kind::UffdMissing, |_| {
        Model::observe(Fact::HoleSeen(A, PAGE_1));
        Model::observe(Fact::HoleFilled(0, pagefold::addr::PageIndex(1)));
    });
}

#[test]
fn a_table_that_is_used_and_not_there() {
    assert_fires(Kind::MissingTable, |_| {
        Model::observe(Fact::MissingTable(A, PAGE_0));
    });
}

#[test]
fn a_page_that_was_stored_to_and_is_clean() {
    assert_fires(Kind::DirtyLost, |machine| {
        let mm = machine.mms[0].expect("A").id;
        let pfn = mapped_frame(machine, A);
        World::current()
            .books
            .note_store(mm, PAGE_0, pfn, 1, Through::Translation);
    });
}

/// The upper entry for the first pages of B.
fn upper_entry(machine: &Machine) -> &'static ModelWord {
    let root = machine.mms[1].expect("B").root();
    let top = ModelFormat::decode(Model::entry(root, 0).peek(), PMD_LEVEL + 1);
    Model::entry(top.pfn(), 0)
}

fn flush(machine: &Machine, pages: u64, kind: FlushKind) {
    let range = AddrRange::pages(PAGE_0, pages);
    Model::flush_tlb(machine.mms[1].expect("B"), range, kind);
}

/// Takes the table of B out of its entry, flushes, and puts a huge page in its place.
fn replace_table(machine: &Machine, flush: impl FnOnce()) {
    let entry = upper_entry(machine);
    entry.xchg_relaxed(0);
    flush();
    let huge = Pte::huge(Pfn(8), false);
    entry.store_release(ModelFormat::encode(huge, PMD_LEVEL));
}

#[test]
fn a_valid_entry_that_is_replaced_by_another() {
    let breaks = |format: EntriesOf, sabotage: fn(&Machine)| {
        let config = RunConfig {
            format: Some(EntryFormat::of_machine(format)),
            ..RunConfig::new(Protocol::DEFAULT)
        };
        kind_under(&config, sabotage).as_deref() == Some(Kind::BreakBeforeMake.name())
    };
    let at_once: fn(&Machine) = |machine| {
        let table = entry_of(machine.mms[1].expect("B"), PAGE_0).0;
        let other = ModelFormat::encode(Pte::page(Pfn(8), false), PTE_LEVEL);
        Model::entry(table.expect("the page is mapped by a table"), 0).store_release(other);
    };
    let unflushed: fn(&Machine) = |machine| replace_table(machine, || ());
    let flushed_in_part: fn(&Machine) =
        |machine| replace_table(machine, || flush(machine, 1, FlushKind::LeavesAndTables));
    let flushed_but_for_the_table: fn(&Machine) =
        |machine| replace_table(machine, || flush(machine, 2, FlushKind::Leaves));
    let flushed: fn(&Machine) =
        |machine| replace_table(machine, || flush(machine, 2, FlushKind::LeavesAndTables));
    let of_one_size: fn(&Machine) = |machine| {
        let entry = upper_entry(machine);
        let old = entry.xchg_relaxed(0);
        entry.store_release(old);
    };
    for bad in [
        at_once,
        unflushed,
        flushed_in_part,
        flushed_but_for_the_table,
    ] {
        assert!(breaks(EntriesOf::AArch64, bad));
        assert!(!breaks(EntriesOf::X86_64, bad) && !breaks(EntriesOf::RiscV, bad));
    }
    for good in [flushed, of_one_size] {
        assert!(!breaks(EntriesOf::AArch64, good));
    }
}
