//! Where a scenario's things are in the modelled machine.

use std::fmt;

use pagefold::Ref;
use pagefold::addr::{AddrRange, PageIndex, VirtAddr};
use pagefold::collapse::khugepaged::Khugepaged;
use pagefold::filemap;
use pagefold::kvm::Kvm;
use pagefold::mm::Mm;
use pagefold::mmap::{self, Sharing};
use pagefold::page_cache::Mapping;
use pagefold::platform::Word;
use pagefold::userfault::{self, Userfaultfd};
use pagefold_litmus::{
    Actor, Created, MappingId, MappingPage, MappingRange, MmId, ObjectKind, Scenario, Span,
    Statement, StatementKind, Thread, UffdMode,
};

use super::execute::Machine;
use super::execute::userfaultfd::{events, features};
use crate::model::cpu::CpuKind;
use crate::model::names::Names;
use crate::model::oracle::{Backing, MMS, OBJECT_PAGES, OBJECTS};
use crate::model::world::{Borders, CPUS, VIRT_PAGES, World};
use crate::model::{Model, PTRS_PER_TABLE};

/// The scenario needs a larger machine than the model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioLimit {
    /// What there is too much of, and how much there may be.
    pub message: String,
    /// Where it is in the source.
    pub span: Span,
}

impl fmt::Display for ScenarioLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ScenarioLimit {}

/// Addresses and CPUs.
pub(super) struct Layout {
    /// The addresses of each mapping.
    ranges: Vec<AddrRange>,
    /// The CPU, device or virtual CPU of each thread; none for the kernel's own.
    pub(super) cpu_of_thread: Vec<Option<usize>>,
    pub(super) names: Names,
}

/// Who uses an address space: each thread of the process; one without a thread still has somebody.
pub(super) fn users(scenario: &Scenario, mm: MmId) -> usize {
    let is_user =
        |thread: &&Thread| matches!(thread.actor, Actor::Cpu(of) | Actor::Vcpu(of) if of == mm);
    scenario.threads.iter().filter(is_user).count().max(1)
}

impl Layout {
    pub(super) fn of(scenario: &Scenario) -> Result<Self, ScenarioLimit> {
        let limit = |what: &str, most: usize, span: Span| ScenarioLimit {
            message: format!("the model has room for {most} {what}"),
            span,
        };
        if let Some(mm) = scenario.mms.get(MMS) {
            return Err(limit("address spaces", MMS, mm.span));
        }
        if let Some(object) = scenario.objects.get(OBJECTS) {
            return Err(limit("objects", OBJECTS, object.span));
        }
        for object in &scenario.objects {
            if object.pages() > OBJECT_PAGES {
                return Err(limit("pages in an object", OBJECT_PAGES, object.span));
            }
        }
        let mut names = Names {
            mms: scenario.mms.iter().map(|mm| mm.name.clone()).collect(),
            objects: scenario
                .objects
                .iter()
                .map(|object| object.name.clone())
                .collect(),
            pages: vec![vec![None; VIRT_PAGES]; scenario.mms.len()],
            mappings: vec![vec![None; VIRT_PAGES / PTRS_PER_TABLE]; scenario.mms.len()],
        };
        let mut next = vec![0; scenario.mms.len()];
        let mut ranges = Vec::new();
        for (id, mapping) in scenario.mappings.iter().enumerate() {
            let mm = mapping.mm.index();
            let pages = scenario.pages(MappingId::new(id));
            let first = next[mm];
            next[mm] = (first + pages).next_multiple_of(PTRS_PER_TABLE);
            if next[mm] > VIRT_PAGES {
                return Err(limit("pages in an address space", VIRT_PAGES, mapping.span));
            }
            if mapping.backing.object().is_none()
                && mapping.uffd.is_some_and(|modes| modes.has(UffdMode::Minor))
            {
                return Err(ScenarioLimit {
                    message:
                        "MINOR is about pages of an object, which anonymous memory does not have"
                            .into(),
                    span: mapping.span,
                });
            }
            for page in 0..pages {
                names.pages[mm][first + page] = Some(format!("{}[{page}]", mapping.name));
                names.mappings[mm][(first + page) / PTRS_PER_TABLE] = Some(mapping.name.clone());
            }
            ranges.push(AddrRange::pages(
                VirtAddr::of_page(first as u64),
                pages as u64,
            ));
        }
        for thread in &scenario.threads {
            if let Actor::Vcpu(mm) = thread.actor
                && let Some(outside) = outside_of_guest(scenario, mm, &thread.body)
            {
                return Err(ScenarioLimit {
                    message: format!(
                        "the memory of a virtual machine is the first {PTRS_PER_TABLE} pages of the first mapping of its mm"
                    ),
                    span: outside,
                });
            }
        }
        let mut cpus = 0;
        let cpu_of_thread = scenario
            .threads
            .iter()
            .map(|thread| {
                cpu_kind(thread.actor).map(|_| {
                    cpus += 1;
                    cpus - 1
                })
            })
            .collect();
        debug_assert!(cpus <= CPUS, "the language allows no more threads");
        Ok(Self {
            ranges,
            cpu_of_thread,
            names,
        })
    }

    /// The addresses of pages of a mapping.
    pub(super) fn range_of(&self, scenario: &Scenario, range: MappingRange) -> AddrRange {
        let (first, pages) = scenario.pages_of(range);
        let start = self.range(range.mapping).start;
        AddrRange::pages(start.add_pages(first as u64), pages as u64)
    }

    /// The page at an address of the address space that `near` is in: of `near` if it is there, or of another mapping.
    pub(super) fn page_at(
        &self,
        scenario: &Scenario,
        near: MappingId,
        addr: VirtAddr,
    ) -> MappingPage {
        let (mapping, page) = self
            .place(scenario, scenario[near].mm, addr)
            .unwrap_or_else(|| (near, (addr.page() - self.range(near).start.page()) as usize));
        MappingPage { mapping, page }
    }

    /// The page of a mapping that is at an address.
    pub(super) fn place(
        &self,
        scenario: &Scenario,
        mm: MmId,
        addr: VirtAddr,
    ) -> Option<(MappingId, usize)> {
        let mut mappings = scenario.mappings_of(mm).map(|(id, _)| id);
        let mapping = mappings.find(|id| self.range(*id).contains(addr))?;
        let page = addr.page() - self.range(mapping).start.page();
        Some((mapping, page as usize))
    }

    /// Where mappings begin.
    pub(super) fn borders(&self, scenario: &Scenario) -> Borders {
        let mut borders = Borders::default();
        for (mapping, range) in scenario.mappings.iter().zip(&self.ranges) {
            borders[mapping.mm.index()][range.start.page() as usize / PTRS_PER_TABLE] = true;
        }
        borders
    }

    pub(super) fn range(&self, mapping: MappingId) -> AddrRange {
        self.ranges[mapping.index()]
    }

    /// Makes what the scenario says is there from the start.
    pub(super) fn build(&self, world: &'static World, scenario: &Scenario) -> Machine {
        let mut machine = Machine::default();
        for (id, object) in scenario.objects.iter().enumerate() {
            let new = match object.kind {
                ObjectKind::Shmem => Mapping::new,
                ObjectKind::File => Mapping::new_file,
            };
            let mapping = new(id as u32, object.pages() as u64).expect("a new machine has frames");
            for (index, content) in object.contents.iter().enumerate() {
                if let Some(value) = *content {
                    let index = PageIndex(index as u64);
                    // Of a file nothing is cached yet.
                    if let Some(page) = mapping.disk_page(index) {
                        world.content(page).write_once(value);
                    } else {
                        Mapping::fill_page(mapping, index, |pfn| {
                            world.content(pfn).write_once(value);
                        })
                        .expect("a new machine has frames");
                    }
                    world.books.set_content(id, index.0 as usize, value);
                }
            }
            machine.objects[id] = Some(mapping);
        }
        for id in 0..scenario.mms.len() {
            let mm = Mm::new(id as u32).expect("a new machine has frames");
            if let Some(live) = world.live_entries() {
                live.note_root(mm.id, mm.root());
            }
            machine.mms[id] = Some(mm);
        }
        if scenario
            .threads
            .iter()
            .any(|thread| thread.actor == Actor::Khugepaged)
        {
            let khugepaged = Khugepaged::new();
            for mm in machine.mms.iter().flatten() {
                Khugepaged::watch(khugepaged, *mm);
            }
            machine.khugepaged = Some(khugepaged);
        }
        for (id, mm) in machine.mms.iter().flatten().enumerate() {
            for _ in 1..users(scenario, MmId::new(id)) {
                mmap::mmget(*mm);
            }
        }
        self.build_cpus(world, scenario);
        for (index, mapping) in scenario.mappings.iter().enumerate() {
            self.back(world, scenario, MappingId::new(index));
            if mapping.created == Created::Start {
                self.map(&machine, scenario, MappingId::new(index));
            }
        }
        for (index, mapping) in scenario.mappings.iter().enumerate() {
            if let Some(modes) = mapping.uffd {
                let userfaultfd = Userfaultfd::new(machine.mm(mapping.mm), features(modes));
                let registered = userfault::register(
                    machine.mm(mapping.mm),
                    self.ranges[index],
                    userfaultfd,
                    events(modes),
                );
                debug_assert_eq!(registered, Ok(()), "the mapping was just made");
                machine.userfaultfds[index] = Some(userfaultfd);
            }
        }
        for thread in &scenario.threads {
            if let Actor::Vcpu(mm) = thread.actor
                && machine.kvms[mm.index()].is_none()
            {
                machine.kvms[mm.index()] = Some(self.build_kvm(&machine, scenario, mm));
            }
        }
        machine
    }

    /// The guest's memory is the first mapping of the address space, as far as one table serves it.
    fn build_kvm(
        &self,
        machine: &Machine,
        scenario: &Scenario,
        mm: MmId,
    ) -> Ref<Model, Kvm<Model>> {
        let slot = match scenario.mappings_of(mm).next() {
            Some((mapping, _)) => {
                AddrRange::pages(self.range(mapping).start, PTRS_PER_TABLE as u64)
            }
            None => AddrRange::pages(VirtAddr(0), 0),
        };
        Kvm::new(machine.mm(mm), slot).expect("a new machine has frames")
    }

    fn build_cpus(&self, world: &World, scenario: &Scenario) {
        for (thread, cpu) in scenario.threads.iter().zip(&self.cpu_of_thread) {
            let (Some(cpu), Some(mm), Some(kind)) =
                (*cpu, thread.actor.mm(), cpu_kind(thread.actor))
            else {
                continue;
            };
            let cpu = &world.cpus[cpu];
            cpu.mm.set(mm.index() as u32);
            cpu.kind.set(kind);
            world.nr_cpus.set(cpu.number + 1);
        }
    }

    fn back(&self, world: &World, scenario: &Scenario, id: MappingId) {
        let mapping = &scenario[id];
        let Some(object) = mapping.backing.object() else {
            return;
        };
        for page in 0..scenario.pages(id) {
            world.books.set_backing(
                mapping.mm.index() as u32,
                self.range(id).start.add_pages(page as u64),
                Backing {
                    object: object.index(),
                    index: page,
                    shared: mapping.sharing == pagefold_litmus::Sharing::Shared,
                },
            );
        }
    }

    /// Makes a mapping.
    pub(super) fn map(&self, machine: &Machine, scenario: &Scenario, id: MappingId) {
        let mapping = &scenario[id];
        let backing = match mapping.backing {
            pagefold_litmus::Backing::Object(object) => mmap::Backing::Object {
                mapping: machine.object(object),
                pgoff: PageIndex(0),
                sharing: match mapping.sharing {
                    pagefold_litmus::Sharing::Shared if mapping.writable.0 => {
                        Sharing::SharedWritable
                    }
                    pagefold_litmus::Sharing::Shared => Sharing::Shared,
                    pagefold_litmus::Sharing::Private => Sharing::Private,
                },
            },
            pagefold_litmus::Backing::Anonymous { .. } => mmap::Backing::Anonymous,
        };
        // A file is opened for that, and closed.
        let file = match &backing {
            mmap::Backing::Object {
                mapping,
                sharing: Sharing::SharedWritable,
                ..
            } => filemap::open_write(*mapping).ok().map(|()| *mapping),
            _ => None,
        };
        // The range is the mapping's own; if it is in use, then by itself.
        let _ = mmap::mmap(machine.mm(mapping.mm), self.range(id), backing);
        if let Some(file) = file {
            let _ = filemap::close_write(file);
        }
    }
}

/// The first access of a virtual CPU to what is not its guest's memory (see [`Layout::build_kvm`]).
fn outside_of_guest(scenario: &Scenario, mm: MmId, body: &[Statement]) -> Option<Span> {
    let first = scenario.mappings_of(mm).next().map(|(mapping, _)| mapping);
    body.iter().find_map(|statement| match &statement.kind {
        StatementKind::Load { page, .. } | StatementKind::Store { page, .. } => {
            let inside = Some(page.mapping) == first && page.page < PTRS_PER_TABLE;
            (!inside).then_some(statement.span)
        }
        StatementKind::Repeat { body, .. } => outside_of_guest(scenario, mm, body),
        StatementKind::Map(_) | StatementKind::Call { .. } => None,
    })
}

/// What an actor uses the address space with; none for those who work on page tables but not through them.
fn cpu_kind(actor: Actor) -> Option<CpuKind> {
    match actor {
        // A monitor reads the memory of the process, and is no thread of it.
        Actor::Cpu(_) | Actor::Monitor(_) => Some(CpuKind::Cpu),
        Actor::Device(_) => Some(CpuKind::Device),
        Actor::Vcpu(_) => Some(CpuKind::Vcpu),
        Actor::Khugepaged | Actor::Reclaim | Actor::Kernel => None,
    }
}
