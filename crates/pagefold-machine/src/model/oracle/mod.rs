//! The oracles: what must be true at every step, and at the end.
//!
//! The books say what each page *should* hold: the last value stored to each page of an object, and to each private copy;
//! which pages are protected or poisoned; who saw a hole. They are written from the engine's [`Fact`]s and from
//! the accesses of CPUs and devices, never from page tables, so that a page that is lost with its table is still
//! in them. At the end, what the page tables and caches hold is counted afresh and held against books and counters.
//!
//! **Under a weak memory model** the facts come in the order of execution, and an oracle that looks at memory sees the newest value
//! (with store buffers: what the thread that tells the fact sees). In the middle of an execution that makes sense for:
//!
//! * *what a load gives*: see `content.rs`;
//! * *what a removed table holds*, and *mappings of a frame*: told under the lock that all writers of the entries take, so
//!   the newest is what the lock shows;
//! * *use after free*: whoever comes to a frame or an object after it was freed, in the order of execution. If something orders
//!   the two, there is no such execution. A store that is executed before and leaves its buffer afterwards is not caught.
//! * *a filled hole*: the fill may be executed before the look at the hole which does not see it, so that is looked at again
//!   at the end.
//!
//! Everything else is looked at when all threads have been joined, and so everything is known.
//!
//! `books.rs` says what should be, `facts.rs` what the engine tells, `census.rs`, `objects.rs`, `files.rs` and `kept.rs` what is there at the end,
//! `access_order.rs` has the search try the orders of accesses that the books tell apart,
//! `live_entries.rs` how entries may change, `translations.rs` what is cached of it, `permissions.rs` what accesses may do, `walk.rs` reads page tables without being part
//! of the execution.

mod access_order;
mod books;
mod census;
mod facts;
mod files;
mod kept;
mod live_entries;
mod objects;
mod permissions;
mod translations;
mod walk;

use pagefold::Ref;
use pagefold::kvm::Kvm;
use pagefold::mm::Mm;
use pagefold::page_cache::Mapping;

pub(crate) use access_order::AccessOrder;
pub(crate) use books::{Backing, Books, Through};
pub(crate) use kept::check_holes_seen;
pub(crate) use live_entries::{Audience, LiveEntries};
pub(crate) use walk::{access_uncached, entry_of};

use super::cpu::CpuKind;
use super::world::World;
use super::{Model, PTRS_PER_TABLE};
use census::Census;

/// Objects of a scenario.
pub(crate) const OBJECTS: usize = 4;
/// Pages of an object.
pub(crate) const OBJECT_PAGES: usize = PTRS_PER_TABLE * PTRS_PER_TABLE;
/// Address spaces of a scenario.
pub(crate) const MMS: usize = 4;

/// What an end-of-run check looks at.
pub(crate) struct Subjects<'a> {
    pub(crate) mms: &'a [Option<Ref<Model, Mm<Model>>>],
    pub(crate) objects: &'a [Option<Ref<Model, Mapping<Model>>>],
    pub(crate) kvms: &'a [Option<Ref<Model, Kvm<Model>>>],
}

/// Checks everything that must be true once nothing is under way.
pub(crate) fn check_at_end(world: &'static World, subjects: &Subjects<'_>) {
    let mut census = Census::new();
    for mm in subjects.mms.iter().flatten() {
        census.count_mm(*mm);
        kept::check_pages(world, *mm);
    }
    for object in subjects.objects.iter().flatten() {
        census.count_object(*object);
        objects::check_object(world, *object);
        objects::check_blocks(*object);
        files::check_file(world, *object, subjects.mms);
        objects::check_dirty(world, *object, subjects.mms);
    }
    for mm in subjects.mms.iter().flatten() {
        objects::check_mapped(world, *mm, subjects.objects);
    }
    for (mm, kvm) in subjects.mms.iter().zip(subjects.kvms) {
        if let (Some(mm), Some(kvm)) = (mm, kvm) {
            census.note_table(kvm.table());
            translations::check_secondary(world, *mm, *kvm);
        }
    }
    census.count_swap(world);
    census.check_frames(world);
    for cpu in &world.cpus[..world.nr_cpus.get()] {
        if matches!(cpu.kind.get(), CpuKind::Cpu | CpuKind::Device) {
            let mm = subjects.mms[cpu.mm.get() as usize].expect("a CPU runs a process");
            translations::check_translations(mm, cpu);
        }
    }
}
