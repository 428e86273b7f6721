//! What each statement of a scenario does on the modelled machine.

use std::ops::ControlFlow;

use pagefold::accounting::PageKind;
use pagefold::addr::{PageIndex, VirtAddr};
use pagefold::arch::{Marker, Pte};
use pagefold::collapse::{self, ScanResult};
use pagefold::fault::{FaultError, handle_user_fault};
use pagefold::handle::Ref;
use pagefold::kvm::Kvm;
use pagefold::mm::Mm;
use pagefold::page_cache::Mapping;
use pagefold::platform::Word;
use pagefold::userfault::{self, Modes, UffdError, Userfaultfd};
use pagefold::{gup, madvise, mmap, rmap};
use pagefold_explore as explore;
use pagefold_litmus::{
    Actor, Advice, Call, MappingId, MappingPage, MmId, ObjectId, Protection, RegisterId, Statement,
    StatementKind, Symbol, Value,
};

use super::Session;
use crate::model::cpu::{self, Access};
use crate::model::oracle::{self, MMS, OBJECTS};
use crate::model::world::World;
use crate::model::{Model, PTRS_PER_TABLE, names};

/// The engine's objects that a scenario names.
#[derive(Clone, Copy, Default)]
pub(super) struct Machine {
    pub(super) mms: [Option<Ref<Model, Mm<Model>>>; MMS],
    pub(super) objects: [Option<Ref<Model, Mapping<Model>>>; OBJECTS],
    pub(super) kvms: [Option<Ref<Model, Kvm<Model>>>; MMS],
}

impl Machine {
    pub(super) fn mm(&self, id: MmId) -> Ref<Model, Mm<Model>> {
        self.mms[id.index()].expect("the machine was built for the scenario")
    }

    pub(super) fn object(&self, id: ObjectId) -> Ref<Model, Mapping<Model>> {
        self.objects[id.index()].expect("the machine was built for the scenario")
    }
}

/// Faults that an access may take one after the other before it waits for somebody else. While nobody else does
/// anything it needs at most four (a huge page is split, a page is mapped, its protection is lifted, a stale entry is dropped),
/// and each interference of another thread costs it one more.
const FAULTS: u32 = 8;

/// Who executes a statement.
#[derive(Clone, Copy)]
struct Who<'m> {
    machine: &'m Machine,
    actor: Actor,
    /// The CPU; none in the set-up and at the end, where nothing is cached.
    cpu: Option<usize>,
}

impl Session<'_> {
    pub(super) fn run_body(
        &self,
        machine: &Machine,
        actor: Actor,
        cpu: Option<usize>,
        body: &[Statement],
    ) -> ControlFlow<()> {
        let who = Who {
            machine,
            actor,
            cpu,
        };
        body.iter()
            .try_for_each(|statement| self.run(who, statement))
    }

    /// Runs a statement; breaks off when the thread has ended.
    fn run(&self, who: Who<'_>, statement: &Statement) -> ControlFlow<()> {
        explore::note(|| match &statement.kind {
            StatementKind::Repeat { times, .. } => format!("repeat {times}"),
            _ => self.plan.scenario.print_statement(statement),
        });
        match &statement.kind {
            StatementKind::Store { page, value } => {
                let _ = self.access(who, *page, Access::Store(*value));
            }
            StatementKind::Load { result, page } => {
                let value = self.access(who, *page, Access::Load);
                self.set(*result, value);
            }
            StatementKind::Map(mapping) => {
                self.plan
                    .layout
                    .map(who.machine, self.plan.scenario, *mapping)
            }
            StatementKind::Call {
                call: Call::Exit, ..
            } => {
                if let Some(mm) = who.actor.mm() {
                    mmap::exit_mm(who.machine.mm(mm));
                }
                return ControlFlow::Break(());
            }
            StatementKind::Call { result, call } => {
                let value = self.call(who, *call);
                self.set(*result, value);
            }
            StatementKind::Repeat { times, body } => {
                for _ in 0..*times {
                    self.run_body(who.machine, who.actor, who.cpu, body)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn set(&self, register: Option<RegisterId>, value: Value) {
        if let Some(register) = register {
            self.registers[register.index()].set(Some(value));
        }
    }

    fn addr(&self, page: MappingPage) -> VirtAddr {
        self.plan
            .layout
            .range(page.mapping)
            .start
            .add_pages(page.page as u64)
    }

    /// A load or store by address: tried until it goes through or ends in a signal.
    fn access(&self, who: Who<'_>, page: MappingPage, access: Access) -> Value {
        let mm = who.machine.mm(self.plan.scenario[page.mapping].mm);
        let addr = self.addr(page);
        let write = matches!(access, Access::Store(_));
        let world = World::current();
        let mut faults = 0;
        loop {
            if faults == FAULTS {
                // Either somebody else is in the way or a cache is stale: nothing comes of trying again before something has
                // changed.
                explore::hint::relax();
                faults = 0;
            }
            faults += 1;
            let (value, fault) = match (who.actor, who.cpu) {
                (Actor::Vcpu(id), Some(cpu)) => {
                    let kvm = who.machine.kvms[id.index()].expect("a vcpu has a virtual machine");
                    let cpu = &world.cpus[cpu];
                    let value = cpu::try_guest_access(cpu, mm, kvm, addr, access);
                    let fault = value.is_none().then(|| kvm.page_fault(addr, write));
                    (value, fault)
                }
                (Actor::Device(_), Some(cpu)) => {
                    let value = cpu::try_access(&world.cpus[cpu], mm, addr, access);
                    let fault = value.is_none().then(|| page_request(mm, addr, write));
                    (value, fault)
                }
                (_, Some(cpu)) => {
                    let value = cpu::try_access(&world.cpus[cpu], mm, addr, access);
                    let fault = value.is_none().then(|| handle_user_fault(mm, addr, write));
                    (value, fault)
                }
                (_, None) => {
                    let value = oracle::access_uncached(world, mm, addr, access);
                    let fault = value.is_none().then(|| handle_user_fault(mm, addr, write));
                    (value, fault)
                }
            };
            match (value, fault) {
                (Some(value), _) => return Value::Number(value),
                (None, Some(Err(error))) => return signal(&error),
                (None, _) => {}
            }
        }
    }

    fn call(&self, who: Who<'_>, call: Call) -> Value {
        let world = World::current();
        match call {
            Call::Madvise(mapping, advice) => self.madvise(who, mapping, advice),
            Call::Munmap(mapping) => {
                let result =
                    mmap::munmap(self.mm_of(who, mapping), self.plan.layout.range(mapping));
                status(result.map_err(|error| error.errno()))
            }
            Call::Exit => unreachable!("`run` ends the thread"),
            Call::UffdRegister(mapping, modes) => {
                let userfaultfd = Userfaultfd::new(modes.sigbus);
                let modes = Modes {
                    missing: modes.missing,
                    wp: modes.wp,
                };
                let addr = self.plan.layout.range(mapping).start;
                uffd(userfault::register(
                    self.mm_of(who, mapping),
                    addr,
                    userfaultfd,
                    modes,
                ))
            }
            Call::UffdUnregister(mapping) => {
                let addr = self.plan.layout.range(mapping).start;
                uffd(userfault::unregister(self.mm_of(who, mapping), addr))
            }
            Call::UffdioCopy(page, value) => {
                let fill = |pfn| {
                    explore::label(|| format!("copy from user: {value}"));
                    world.content(pfn).write_once(value);
                };
                uffd(userfault::copy(
                    self.mm_of(who, page.mapping),
                    self.addr(page),
                    fill,
                ))
            }
            Call::UffdioZeropage(page) => uffd(userfault::zeropage(
                self.mm_of(who, page.mapping),
                self.addr(page),
            )),
            Call::UffdioWriteprotect(page, protection) => uffd(userfault::writeprotect(
                self.mm_of(who, page.mapping),
                self.addr(page),
                protection == Protection::Protect,
            )),
            Call::UffdioPoison(page) => uffd(userfault::poison(
                self.mm_of(who, page.mapping),
                self.addr(page),
            )),
            Call::GupFast(page) => self.gup_fast(who, page),
            Call::GupFastWrite(page, value) => self.gup_fast_write(who, page, value),
            Call::Mincore(page) => self.mincore(who, page),
            Call::Prefetch(page) => {
                if let Some(cpu) = who.cpu {
                    let mm = self.mm_of(who, page.mapping);
                    cpu::prefetch(&world.cpus[cpu], mm, self.addr(page));
                }
                Value::SUCCESS
            }
            Call::Scan(mm) => {
                let mut collapsed = 0;
                collapse::khugepaged_scan_mm(who.machine.mm(mm), |_, result| {
                    note_scan(result);
                    collapsed += u64::from(result == ScanResult::Succeed);
                });
                Value::Number(collapsed)
            }
            Call::RmapWalk(page) => {
                let object = who.machine.object(page.object);
                Value::Number(rmap::rmap_walk(object, PageIndex(page.page as u64)) as u64)
            }
            Call::Collapse(object) => self.collapse(who, object),
            Call::PageTable(mapping) => {
                let (table, _) = self.entry(who, mapping, 0);
                flag(table)
            }
            Call::PmdMapped(mapping) => {
                let (table, pte) = self.entry(who, mapping, 0);
                flag(!table && pte.is_present())
            }
            Call::UffdWp(page) => {
                let (_, pte) = self.entry(who, page.mapping, page.page);
                flag(pte.is_uffd_wp() || pte.as_marker() == Some(Marker::UffdWp))
            }
            Call::Rss => {
                let pages = who.actor.mm().map_or(0, |id| {
                    let mm = who.machine.mm(id);
                    mm.rss(PageKind::Shmem).peek() + mm.rss(PageKind::Anon).peek()
                });
                Value::Number(pages.unsigned_abs())
            }
        }
    }

    fn mm_of(&self, who: Who<'_>, mapping: MappingId) -> Ref<Model, Mm<Model>> {
        who.machine.mm(self.plan.scenario[mapping].mm)
    }

    fn madvise(&self, who: Who<'_>, mapping: MappingId, advice: Advice) -> Value {
        let mm = self.mm_of(who, mapping);
        let range = self.plan.layout.range(mapping);
        match advice {
            Advice::Collapse => {
                let result = collapse::madvise_collapse(mm, range, |_, result| note_scan(result));
                status(result.map_err(ScanResult::errno))
            }
            Advice::DontNeed => status(madvise::dontneed(mm, range).map_err(|error| error.errno())),
        }
    }

    /// All huge ranges of an object; the first refusal is the result.
    fn collapse(&self, who: Who<'_>, object: ObjectId) -> Value {
        let mapping = who.machine.object(object);
        let pages = self.plan.scenario[object].pages() as u64;
        let mut start = PageIndex(0);
        while start.0 + PTRS_PER_TABLE as u64 <= pages {
            let result = collapse::collapse_mapping(mapping, start);
            note_scan(result);
            if result != ScanResult::Succeed {
                return status(Err(result.errno()));
            }
            start = start.add(PTRS_PER_TABLE as u64);
        }
        Value::SUCCESS
    }

    /// Pins a page by the walk without locks, reads it through the pin, lets it go.
    fn gup_fast(&self, who: Who<'_>, page: MappingPage) -> Value {
        let mm = self.mm_of(who, page.mapping);
        let addr = self.addr(page);
        let world = World::current();
        let Some(pfn) = gup::get_user_page_fast(mm, addr, false) else {
            return Symbol::EFAULT.into();
        };
        explore::label(|| {
            format!(
                "load {} through the pin (frame {})",
                names::page(mm.id, addr),
                pfn.0
            )
        });
        let value = world.content(pfn).read_once();
        world.books.check_pinned_load(mm.id, addr, pfn, value);
        gup::put_user_page::<Model>(pfn);
        Value::Number(value)
    }

    /// Pins a page by the walk without locks, writes it through the pin, lets it go.
    fn gup_fast_write(&self, who: Who<'_>, page: MappingPage, value: u64) -> Value {
        let mm = self.mm_of(who, page.mapping);
        let addr = self.addr(page);
        let world = World::current();
        let Some(pfn) = gup::get_user_page_fast(mm, addr, true) else {
            return Symbol::EFAULT.into();
        };
        explore::label(|| {
            let name = names::page(mm.id, addr);
            format!("store {name} = {value} through the pin (frame {})", pfn.0)
        });
        world.store_by_user(mm.id, addr, pfn, value);
        gup::put_user_page::<Model>(pfn);
        Value::SUCCESS
    }

    fn mincore(&self, who: Who<'_>, page: MappingPage) -> Value {
        let mapping = &self.plan.scenario[page.mapping];
        let mm = who.machine.mm(mapping.mm);
        let addr = self.addr(page);
        match mmap::mincore(mm, addr) {
            Ok(cached) => flag(cached),
            Err(error) => symbol(error.errno()),
        }
    }

    /// Whether there is a table of small-page entries, and the entry of a page.
    fn entry(&self, who: Who<'_>, mapping: MappingId, page: usize) -> (bool, Pte) {
        let addr = self.plan.layout.range(mapping).start.add_pages(page as u64);
        let (table, pte) = oracle::entry_of(self.mm_of(who, mapping), addr);
        (table.is_some(), pte)
    }
}

/// A fault of a device: the kernel handles it on behalf of a process that may be going away.
fn page_request(
    mm: Ref<Model, Mm<Model>>,
    addr: VirtAddr,
    write: bool,
) -> Result<(), FaultError<Model>> {
    if !mmap::mmget_not_zero(mm) {
        return Err(FaultError::SigSegv);
    }
    let result = handle_user_fault(mm, addr, write);
    mmap::exit_mm(mm);
    result
}

fn note_scan(result: ScanResult) {
    explore::note(|| result.name().to_owned());
}

fn flag(value: bool) -> Value {
    Value::Number(value.into())
}

fn symbol(name: &str) -> Value {
    Symbol::from_name(name).map_or(Value::SUCCESS, Value::from)
}

fn status(result: Result<(), &'static str>) -> Value {
    result.map_or_else(symbol, |()| Value::SUCCESS)
}

fn uffd(result: Result<(), UffdError>) -> Value {
    status(result.map_err(UffdError::errno))
}

fn signal(error: &FaultError<Model>) -> Value {
    match error {
        FaultError::SigSegv => Symbol::SIGSEGV.into(),
        FaultError::SigBus => Symbol::SIGBUS.into(),
        FaultError::HwPoison => Symbol::HWPOISON.into(),
        FaultError::OutOfMemory => Symbol::ENOMEM.into(),
        FaultError::Userfault(..) | FaultError::NeedsMmapLock => {
            unreachable!("`handle_user_fault` does not return these")
        }
    }
}
