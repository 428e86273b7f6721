//! How things are called in traces and messages: by the names of the scenario.

use std::cell::RefCell;

use pagefold::addr::VirtAddr;
use pagefold::step::Step;

use super::PTRS_PER_TABLE;

/// The names that a scenario gave.
#[derive(Clone, Default, Debug)]
pub(crate) struct Names {
    pub(crate) mms: Vec<String>,
    pub(crate) objects: Vec<String>,
    /// For each address space, the name of each page that something maps or may map.
    pub(crate) pages: Vec<Vec<Option<String>>>,
    /// For each address space, the name of what is mapped at each huge page.
    pub(crate) mappings: Vec<Vec<Option<String>>>,
}

thread_local! {
    static NAMES: RefCell<Names> = RefCell::default();
}

/// Makes `names` those of this OS thread.
pub(crate) fn set(names: Names) {
    NAMES.replace(names);
}

pub(crate) fn mm(id: u32) -> String {
    NAMES.with_borrow(|names| names.mms[id as usize].clone())
}

pub(crate) fn object(id: u32) -> String {
    NAMES.with_borrow(|names| names.objects[id as usize].clone())
}

/// `y[1]`, or the address where nothing is mapped.
pub(crate) fn page(mm: u32, addr: VirtAddr) -> String {
    NAMES.with_borrow(|names| {
        names.pages[mm as usize]
            .get(addr.page() as usize)
            .cloned()
            .flatten()
            .unwrap_or_else(|| format!("{}:{addr:?}", names.mms[mm as usize]))
    })
}

/// `y`: what a huge page's worth of addresses maps.
fn mapping(mm: u32, addr: VirtAddr) -> String {
    NAMES.with_borrow(|names| {
        names.mappings[mm as usize]
            .get(addr.page() as usize / PTRS_PER_TABLE)
            .cloned()
            .flatten()
            .unwrap_or_else(|| names.mms[mm as usize].clone())
    })
}

/// A step of the engine as a line of a trace.
pub(crate) fn describe(step: Step) -> String {
    match step {
        Step::Named(name) => name.to_owned(),
        Step::Mm(name, id) => format!("{name} {}", mm(id)),
        Step::Pmd(name, id, addr) => format!("{name} {}", mapping(id, addr)),
        Step::Pte(name, id, addr) => format!("{name} {}", page(id, addr)),
        Step::SetPte(name, id, addr, pte) if pte.is_table() && name.contains("pmd") => {
            format!("{name} {} -> table {}", mapping(id, addr), pte.pfn().0)
        }
        Step::SetPte(name, id, addr, pte) if name.contains("pmd") => {
            format!("{name} {} -> {pte:?}", mapping(id, addr))
        }
        Step::SetPte(name, id, addr, pte) => format!("{name} {} -> {pte:?}", page(id, addr)),
        Step::Folio(name, pfn) => format!("{name} frame {}", pfn.0),
        Step::Swap(name, slot) => format!("{name}: slot {slot}"),
        Step::Slot(name, id, index) => format!("{name} {}[{}]", object(id), index.0),
        Step::SetSlot(name, id, index, entry) => {
            format!("{name} {}[{}] -> {entry:?}", object(id), index.0)
        }
    }
}
