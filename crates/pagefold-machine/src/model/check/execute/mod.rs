//! What each statement of a scenario does on the modelled machine.
//!
//! [`Session::call`] names each call once; what it does stands in the module of its family.

mod access;
mod collapse;
mod file;
mod fork;
mod gup;
mod hold;
mod look;
mod memory;
pub(super) mod userfaultfd;

use std::ops::ControlFlow;

use pagefold::addr::{AddrRange, VirtAddr};
use pagefold::collapse::khugepaged::Khugepaged;
use pagefold::handle::Ref;
use pagefold::kvm::Kvm;
use pagefold::mm::Mm;
use pagefold::mmap;
use pagefold::oom;
use pagefold::page_cache::Mapping;
use pagefold::userfault::Userfaultfd;
use pagefold_explore as explore;
use pagefold_litmus::{
    Actor, Call, MappingId, MappingPage, MappingRange, MmId, ObjectId, RegisterId, Statement,
    StatementKind, Symbol, Value,
};

use super::session::Session;
use crate::model::Model;
use crate::model::cpu::Access;
use crate::model::oracle::{MMS, OBJECTS};
use crate::model::world::{MAPPINGS, World};

/// The engine's objects that a scenario names.
#[derive(Clone, Copy, Default)]
pub(super) struct Machine {
    pub(super) mms: [Option<Ref<Model, Mm<Model>>>; MMS],
    pub(super) objects: [Option<Ref<Model, Mapping<Model>>>; OBJECTS],
    pub(super) kvms: [Option<Ref<Model, Kvm<Model>>>; MMS],
    /// Those that mappings have from the start.
    pub(super) userfaultfds: [Option<Ref<Model, Userfaultfd<Model>>>; MAPPINGS],
    pub(super) khugepaged: Option<Ref<Model, Khugepaged<Model>>>,
}

impl Machine {
    pub(super) fn mm(&self, id: MmId) -> Ref<Model, Mm<Model>> {
        self.mms[id.index()].expect("the machine was built for the scenario")
    }

    pub(super) fn object(&self, id: ObjectId) -> Ref<Model, Mapping<Model>> {
        self.objects[id.index()].expect("the machine was built for the scenario")
    }
}

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
            World::current().registers()[register.index()].set(Some(value));
        }
    }

    fn call(&self, who: Who<'_>, call: Call) -> Value {
        match call {
            Call::Exit => unreachable!("`run` ends the thread"),

            Call::Madvise(range, advice) => self.madvise(who, range, advice),
            Call::Munmap(range) => self.munmap(who, range),
            Call::Mprotect(range, permission) => self.mprotect(who, range, permission),
            Call::Mremap(from, to) => self.mremap(who, from, to),
            Call::Fork(child) => self.fork(who, child),
            Call::Mincore(page) => self.mincore(who, page),

            Call::OomReap(mm) => flag(oom::reap(who.machine.mm(mm))),
            Call::Hwpoison(page) => self.hwpoison(who, page),
            Call::Reclaim(page) => self.reclaim(who, page),
            Call::Shrink(page) => self.shrink(who, page),
            Call::Migrate(page) => self.migrate(who, page),

            Call::UffdRegister(mapping, modes) => self.uffd_register(who, mapping, modes),
            Call::UffdUnregister(mapping) => self.uffd_unregister(who, mapping),
            Call::UffdioCopy(page, value, mode) => self.uffdio_copy(who, page, value, mode),
            Call::UffdioZeropage(page) => self.uffdio_zeropage(who, page),
            Call::UffdioWriteprotect(page, to) => self.uffdio_writeprotect(who, page, to),
            Call::UffdioPoison(page) => self.uffdio_poison(who, page),
            Call::UffdioContinue(page, mode) => self.uffdio_continue(who, page, mode),
            Call::UffdioMove(to, from, mode) => self.uffdio_move(who, to, from, mode),
            Call::UffdRead(mapping) => self.uffd_read(who, mapping),
            Call::UffdAnswer(mapping, value) => self.uffd_answer(who, mapping, value),
            Call::UffdClose(mapping) => self.uffd_close(who, mapping),

            Call::GupFast(page) => self.gup_fast(who, page),
            Call::Gup(page) => self.gup(who, page),
            Call::GupWrite(page, value) => self.gup_write(who, page, value),
            Call::Vmsplice(page) => self.vmsplice(who, page),
            Call::GupFastWrite(page, value) => self.gup_fast_write(who, page, value),
            Call::ProcMemRead(page) => self.proc_mem_read(who, page),
            Call::ProcMemWrite(page, value) => self.proc_mem_write(who, page, value),

            Call::Hold(page, how) => self.hold(who, page, how),
            Call::ReadHeld(page) => self.read_held(who, page),
            Call::WriteHeld(page, value) => self.write_held(who, page, value),
            Call::LetGo(page) => self.let_go(who, page),

            Call::Truncate(object, pages) => file::truncate(who, object, pages),
            Call::FallocatePunch(page) => file::fallocate_punch(who, page),

            Call::OpenWrite(file) => file::open_write(who, file),
            Call::CloseWrite(file) => file::close_write(who, file),
            Call::Write(page, value) => file::write(who, page, value),
            Call::Fsync(file) => file::fsync(who, file),

            Call::Scan(scope, none, shared, swap) => self.scan(who, scope, [none, shared, swap]),
            Call::Collapse(object) => self.collapse(who, object),

            Call::Prefetch(page) => self.prefetch(who, page),
            Call::RmapWalk(page) => self.rmap_walk(who, page),
            Call::RmapWalkAnon(page) => self.rmap_walk_anon(who, page),
            Call::PageTable(mapping) => self.page_table(who, mapping),
            Call::PmdMapped(mapping) => self.pmd_mapped(who, mapping),
            Call::UffdWp(page) => self.uffd_wp(who, page),
            Call::Swapped(page) => self.swapped(who, page),
            Call::OnDisk(page) => file::on_disk(who, page),
            Call::Rss => self.rss(who),
        }
    }

    fn mm_of(&self, who: Who<'_>, mapping: MappingId) -> Ref<Model, Mm<Model>> {
        who.machine.mm(self.plan.scenario[mapping].mm)
    }

    fn range(&self, pages: MappingRange) -> AddrRange {
        self.plan.layout.range_of(self.plan.scenario, pages)
    }

    fn addr(&self, page: MappingPage) -> VirtAddr {
        self.plan
            .layout
            .range(page.mapping)
            .start
            .add_pages(page.page as u64)
    }
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
