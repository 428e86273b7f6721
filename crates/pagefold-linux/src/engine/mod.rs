//! Runs scenarios on the engine at full size: page tables of 512 entries, on the host machine.
//!
//! The pages of a scenario lie as they do on a real kernel (`geometry.rs`), and what comes out is the same sort of outcome. So
//! what the model finds with two entries a table, what the engine does with 512 and what Linux does can be held against each other.
//!
//! One statement is done after the other: the set-up, the threads in the order in which they are declared, what `final` looks at. All
//! calls and accesses are of whole groups; pages of one group that do not hold the same are an outcome of their own, which no
//! model allows, and so are counts of resident pages that do not agree with the page tables, and frames that are not given back. There is
//! one host machine in a process, so one scenario runs at a time.

mod calls;
mod look;
mod place;

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use pagefold::Ref;
use pagefold::addr::PageIndex;
use pagefold::collapse::khugepaged::Khugepaged;
use pagefold::mm::Mm;
use pagefold::mmap;
use pagefold::page_cache::Mapping;
use pagefold::protocol::Protocol;
use pagefold::userfault::Userfaultfd;
use pagefold_litmus::{
    Actor, Call, Created, MappingId, MmId, ObjectKind, RegisterId, Scenario, Span, Statement,
    StatementKind, Thread, UffdMode, UffdModes,
};
use pagefold_machine::host::{Host, HostCpu};

use crate::geometry::{MAX_PAGES, Spread};
use crate::plan::{NoCounterpart, slots};
use crate::random::Random;
use crate::report::{Outcome, Seen};
use calls::write_frame;

/// The rules that the engine keeps to on the host machine.
pub const PROTOCOL: Protocol = Protocol::DEFAULT;

/// Who has the host machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs a scenario once; the places of its pages are drawn from `seed`. It must not be one that waits for ever in the model, as it does
/// so here.
///
/// # Errors
/// If it has something that cannot be done by one after the other, or at full size.
pub fn run(scenario: &Scenario, seed: u64) -> Result<Outcome, NoCounterpart> {
    check(scenario)?;
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    Host::rcu_barrier();
    let before = Host::frames_in_use();
    let mut engine = Engine::new(scenario, seed);
    engine.run_all();
    let mut outcome = engine.end();
    let kept = Host::frames_in_use() - before;
    if kept > 0 {
        outcome.push(Some(Seen::Word(format!("{kept} frames are kept"))));
    }
    Ok(outcome)
}

/// Whether all of a scenario can be done here.
fn check(scenario: &Scenario) -> Result<(), NoCounterpart> {
    let refuse = |span, reason: &str| {
        Err(NoCounterpart {
            reason: reason.to_owned(),
            span,
        })
    };
    if scenario.reuse_frames {
        return refuse(Span::START, "which frame is the next is not told here");
    }
    for object in &scenario.objects {
        if object.pages() > MAX_PAGES {
            return refuse(object.span, "the object is too large");
        }
    }
    for (index, mapping) in scenario.mappings.iter().enumerate() {
        if scenario.pages(MappingId::new(index)) > MAX_PAGES {
            return refuse(mapping.span, "the mapping is too large");
        }
        if mapping.uffd.is_some_and(|modes| waits(scenario, modes)) {
            return refuse(mapping.span, NOBODY);
        }
    }
    for thread in &scenario.threads {
        let reason = match thread.actor {
            Actor::Cpu(_) | Actor::Kernel | Actor::Khugepaged | Actor::Reclaim => continue,
            Actor::Device(_) => "a device that walks page tables",
            Actor::Vcpu(_) => "virtual CPUs",
            Actor::Monitor(_) => "a monitor, which waits for others",
        };
        return refuse(thread.span, reason);
    }
    for call in crate::plan::calls(scenario) {
        if let Call::UffdRegister(_, modes) = call
            && waits(scenario, *modes)
        {
            return refuse(Span::START, NOBODY);
        }
        if matches!(
            call,
            Call::Hold(..) | Call::ReadHeld(_) | Call::WriteHeld(..) | Call::LetGo(_)
        ) {
            return refuse(Span::START, "pages that are held from one call to another");
        }
        if let Call::Mremap(from, to) | Call::UffdioMove(to, from, _) = call
            && !crate::plan::same_shape(scenario, *from, *to)
        {
            return refuse(
                Span::START,
                "pages are not moved to other places of a huge page",
            );
        }
    }
    Ok(())
}

/// Why accesses and calls that may wait for another thread are not run.
const NOBODY: &str = "nobody is there to answer userfaultfd";

/// Whether an access or a call may wait for another thread that has the userfaultfd.
fn waits(scenario: &Scenario, modes: UffdModes) -> bool {
    let told = [UffdMode::Changes, UffdMode::EventFork, UffdMode::EventRemap];
    let answered = modes.has(UffdMode::Sigbus) || modes.has(UffdMode::WpAsync);
    scenario.threads.len() > 1 && (!answered || told.into_iter().any(|mode| modes.has(mode)))
}

/// A process.
struct Process {
    mm: Ref<Host, Mm<Host>>,
    /// Threads that have not ended.
    users: usize,
    forked: bool,
}

struct Engine<'a> {
    scenario: &'a Scenario,
    slots: Vec<usize>,
    spread: Spread,
    objects: Vec<Ref<Host, Mapping<Host>>>,
    processes: Vec<Process>,
    /// That of each mapping, if it is registered.
    userfaultfds: Vec<Option<Ref<Host, Userfaultfd<Host>>>>,
    khugepaged: Ref<Host, Khugepaged<Host>>,
    registers: Outcome,
}

impl<'a> Engine<'a> {
    /// Makes what is there from the start.
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let spread = Spread::default();
        spread.draw(&mut Random::new(seed));
        let khugepaged = Khugepaged::new();
        let processes = (0..scenario.mms.len()).map(|number| {
            let mm = Mm::new(number as u32).expect("the machine is large enough");
            Khugepaged::watch(khugepaged, mm);
            let is_user = |thread: &&Thread| thread.actor == Actor::Cpu(MmId::new(number));
            let users = scenario.threads.iter().filter(is_user).count().max(1);
            (1..users).for_each(|_| mmap::mmget(mm));
            Process {
                mm,
                users,
                forked: false,
            }
        });
        let mut engine = Self {
            scenario,
            slots: slots(scenario),
            spread,
            objects: Vec::new(),
            processes: processes.collect(),
            userfaultfds: vec![None; scenario.mappings.len()],
            khugepaged,
            registers: vec![None; scenario.registers.len()],
        };
        engine.make_objects();
        for (index, mapping) in scenario.mappings.iter().enumerate() {
            let id = MappingId::new(index);
            if mapping.created == Created::Start {
                engine.map(id);
            }
            if let Some(modes) = mapping.uffd {
                let registered = engine.register(id, modes);
                debug_assert_eq!(registered, Ok(()), "the mapping was just made");
            }
        }
        engine
    }

    fn make_objects(&mut self) {
        for (number, object) in self.scenario.objects.iter().enumerate() {
            let new = match object.kind {
                ObjectKind::Shmem => Mapping::new,
                ObjectKind::File => Mapping::new_file,
            };
            let pages = self.spread.group_start(object.pages());
            let mapping = new(number as u32, pages as u64).expect("the machine is large enough");
            for (page, content) in object.contents.iter().enumerate() {
                let Some(value) = *content else { continue };
                for small in self.spread.group_start(page)..self.spread.group_start(page + 1) {
                    let index = PageIndex(small as u64);
                    if let Some(pfn) = mapping.disk_page(index) {
                        write_frame(pfn, value);
                    } else {
                        Mapping::fill_page(mapping, index, |pfn| write_frame(pfn, value))
                            .expect("the machine is large enough");
                    }
                }
            }
            self.objects.push(mapping);
        }
    }

    fn run_all(&mut self) {
        let scenario = self.scenario;
        for phase in &scenario.setup {
            self.run_body(Some(phase.mm), &phase.body);
        }
        for thread in &scenario.threads {
            let mm = thread.actor.mm();
            if mm.is_none_or(|mm| self.is_there(mm)) {
                self.run_body(mm, &thread.body);
            }
        }
        for phase in &scenario.finals {
            if self.is_there(phase.mm) {
                self.run_body(Some(phase.mm), &phase.body);
            }
        }
    }

    /// Whether an address space has threads: not before it is forked, nor once the last has ended.
    fn is_there(&self, mm: MmId) -> bool {
        let process = &self.processes[mm.index()];
        process.users > 0 && (self.scenario[mm].parent.is_none() || process.forked)
    }

    fn run_body(&mut self, mm: Option<MmId>, body: &[Statement]) {
        let mut cpu = mm.map(|mm| HostCpu::run(self.processes[mm.index()].mm));
        let ended = self.run_statements(mm, &mut cpu, body).is_break();
        drop(cpu);
        if let Some(mm) = mm.filter(|_| ended) {
            let process = &mut self.processes[mm.index()];
            process.users -= 1;
            mmap::exit_mm(process.mm);
        }
    }

    fn run_statements(
        &mut self,
        mm: Option<MmId>,
        cpu: &mut Option<HostCpu>,
        body: &[Statement],
    ) -> ControlFlow<()> {
        body.iter()
            .try_for_each(|statement| self.run_statement(mm, cpu, statement))
    }

    /// Runs a statement; breaks off when the thread has ended.
    fn run_statement(
        &mut self,
        mm: Option<MmId>,
        cpu: &mut Option<HostCpu>,
        statement: &Statement,
    ) -> ControlFlow<()> {
        match (&statement.kind, cpu.as_mut()) {
            (StatementKind::Store { page, value }, Some(cpu)) => {
                // A signal is no result of a store.
                let _ = self.each(*page, |addr| cpu.store(addr, *value).map(|()| 0));
            }
            (StatementKind::Load { result, page }, Some(cpu)) => {
                let seen = self.each(*page, |addr| cpu.load(addr));
                self.set(*result, seen);
            }
            (StatementKind::Store { .. } | StatementKind::Load { .. }, None) => {
                unreachable!("only processes have memory")
            }
            (StatementKind::Map(mapping), _) => self.map(*mapping),
            (
                StatementKind::Call {
                    call: Call::Exit, ..
                },
                _,
            ) => return ControlFlow::Break(()),
            (StatementKind::Call { result, call }, _) => {
                let seen = self.call(mm, *call);
                self.set(*result, seen);
            }
            (StatementKind::Repeat { times, body }, _) => {
                for _ in 0..*times {
                    self.run_statements(mm, cpu, body)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn set(&mut self, register: Option<RegisterId>, seen: Seen) {
        if let Some(register) = register {
            self.registers[register.index()] = Some(seen);
        }
    }

    /// Gives everything back.
    fn end(self) -> Outcome {
        for process in &self.processes {
            (0..process.users).for_each(|_| mmap::exit_mm(process.mm));
        }
        Host::rcu_barrier();
        for object in self.objects {
            // SAFETY: the processes that mapped it have ended, this is the only thread that knew of it, and `self` goes.
            unsafe { Mapping::evict(object) };
        }
        for process in self.processes {
            // SAFETY: it was taken apart above; its CPUs were dropped with the bodies that ran on them, and `self` goes, which
            // was alone to know of it.
            unsafe { mmap::mmdrop(process.mm) };
        }
        Host::rcu_barrier();
        self.registers
    }
}
