//! The engine at full size: page tables of 512 entries, on the host machine.
//!
//! An `Engine` does one statement after the other, each to the groups and at the addresses where the kernel's side does it
//! (`geometry.rs`, `execute/`): accesses and what fills pages begin with the representative, which says how it went, and go on
//! to the rest of its group; pins are those of the representative (`Reach`); other calls are on whole groups. So what a step gives, and what is seen
//! after it, can be held against a real kernel's.
//!
//! It has two users. [`run`] runs whole scenarios of one actor at a time, whose outcomes are held against the model's, which has two
//! entries a table. `differential/` has it do what a real kernel does, and compares after each step.
//!
//! There is one host machine in a process, and so one `Engine` at a time.

mod areas;
mod calls;
mod look;
mod memory;
mod observe;
mod place;
mod scenario;
mod uffd;

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use pagefold::Ref;
use pagefold::addr::PageIndex;
use pagefold::collapse::khugepaged::Khugepaged;
use pagefold::mm::Mm;
use pagefold::mmap;
use pagefold::page_cache::Mapping;
use pagefold::platform::Platform;
use pagefold::userfault::Userfaultfd;
use pagefold_litmus::{
    Actor, Call, Created, MappingId, MmId, ObjectKind, RegisterId, Scenario, Statement,
    StatementKind, Thread,
};
use pagefold_machine::host::{Host, HostCpu};

use crate::geometry::Spread;
use crate::plan::{self, slots};
use crate::random::Random;
use crate::report::{Outcome, Seen};
use memory::write_frame;
pub use scenario::{PROTOCOL, run};

/// How far accesses and pins reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As far as on the kernel's side: pins are of the representative alone, and where it raises a signal, the rest of the group
    /// is left alone.
    AsKernelSide,
    /// All of the group, so that its pages hold the same afterwards, and are seen to do the same.
    Groups,
}

/// A process.
struct Process {
    mm: Ref<Host, Mm<Host>>,
    /// Threads that have not ended.
    users: usize,
    /// It is there: from the start, or since it was forked.
    there: bool,
}

/// The engine with a scenario's things.
pub(crate) struct Engine<'a> {
    scenario: &'a Scenario,
    reach: Reach,
    slots: Vec<usize>,
    spread: Spread,
    /// Who runs; a thread of the machine is one CPU.
    cpu: Option<(MmId, HostCpu)>,
    objects: Vec<Ref<Host, Mapping<Host>>>,
    processes: Vec<Process>,
    /// That of each mapping, if it was opened.
    userfaultfds: Vec<Option<Ref<Host, Userfaultfd<Host>>>>,
    /// All that there ever were.
    opened: Vec<Ref<Host, Userfaultfd<Host>>>,
    khugepaged: Ref<Host, Khugepaged<Host>>,
    registers: Outcome,
    /// Where a page did not do as the representative of its group, if one did not.
    uneven: Option<String>,
    /// Frames that were in use before.
    frames: usize,
}

/// What is left of it at the end.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What the registers hold.
    pub(crate) registers: Outcome,
    /// Where a page did not do as the representative of its group, if one did not.
    pub(crate) uneven: Option<String>,
    /// Frames that were not given back.
    pub(crate) kept: usize,
}

/// Runs something on the host machine, of which there is one, while nobody else does.
///
/// The frames that a thread keeps for itself come back as it ends, when its result is there already. So it is a thread of its own that runs
/// it, and that is waited for: who counts frames next finds them all.
pub(crate) fn on_machine<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    static MACHINE: Mutex<()> = Mutex::new(());
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

impl<'a> Engine<'a> {
    /// Makes what is there from the start. Places of pages are drawn from `seed`.
    pub(crate) fn new(scenario: &'a Scenario, reach: Reach, seed: u64) -> Self {
        Host::rcu_barrier();
        let frames = Host::frames_in_use();
        let spread = Spread::default();
        spread.draw(
            &mut Random::new(seed),
            plan::wants_even_halves(scenario),
            false,
        );
        let khugepaged = Khugepaged::new();
        let processes = scenario.mms.iter().enumerate().map(|(number, declared)| {
            let mm = Mm::new(number as u32).expect("the machine is large enough");
            Khugepaged::watch(khugepaged, mm);
            let is_user = |thread: &&Thread| thread.actor == Actor::Cpu(MmId::new(number));
            let users = scenario.threads.iter().filter(is_user).count().max(1);
            (1..users).for_each(|_| mmap::mmget(mm));
            Process {
                mm,
                users,
                there: declared.parent.is_none(),
            }
        });
        let mut engine = Self {
            scenario,
            reach,
            slots: slots(scenario),
            spread,
            cpu: None,
            objects: Vec::new(),
            processes: processes.collect(),
            userfaultfds: vec![None; scenario.mappings.len()],
            opened: Vec::new(),
            khugepaged,
            registers: vec![None; scenario.registers.len()],
            uneven: None,
            frames,
        };
        engine.make_objects();
        for (index, mapping) in scenario.mappings.iter().enumerate() {
            if mapping.created != Created::Start {
                continue;
            }
            let id = MappingId::new(index);
            engine.map(id);
            if let Some(modes) = mapping.uffd {
                // Real kernels refuse what they refuse here.
                let _ = engine.register(id, modes);
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

    /// Whether an address space has threads: not before it is forked, nor once the last has ended.
    pub(crate) fn is_there(&self, mm: MmId) -> bool {
        let process = &self.processes[mm.index()];
        process.users > 0 && process.there
    }

    /// What a register holds.
    pub(crate) fn register_of(&self, register: RegisterId) -> Option<&Seen> {
        self.registers[register.index()].as_ref()
    }

    /// A statement of a thread of `mm`, or of the kernel. Breaks off when the thread has ended.
    pub(crate) fn step(&mut self, mm: Option<MmId>, statement: &Statement) -> ControlFlow<()> {
        self.run_on(mm);
        match &statement.kind {
            StatementKind::Store { page, value } => {
                // A signal is no result of a store.
                let _ = self.each(*page, |cpu, addr| cpu.store(addr, *value).map(|()| 0));
            }
            StatementKind::Load { result, page } => {
                let seen = self.each(*page, HostCpu::load);
                self.set(*result, seen);
            }
            StatementKind::Map(mapping) => self.map(*mapping),
            StatementKind::Call {
                call: Call::Exit, ..
            } => {
                if let Some(mm) = mm {
                    self.cpu = None;
                    let process = &mut self.processes[mm.index()];
                    process.users -= 1;
                    mmap::exit_mm(process.mm);
                }
                return ControlFlow::Break(());
            }
            StatementKind::Call { result, call } => {
                let seen = self.call(mm, *call);
                self.set(*result, seen);
            }
            StatementKind::Repeat { times, body } => {
                for _ in 0..*times {
                    body.iter()
                        .try_for_each(|statement| self.step(mm, statement))?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// From now on it is this one's turn.
    fn run_on(&mut self, mm: Option<MmId>) {
        if self.cpu.as_ref().map(|(mm, _)| *mm) != mm {
            // The thread is no CPU of one before it is that of the next.
            self.cpu = None;
            self.cpu = mm.map(|id| (id, HostCpu::run(self.mm(id))));
        }
    }

    fn set(&mut self, register: Option<RegisterId>, seen: Seen) {
        if let Some(register) = register {
            self.registers[register.index()] = Some(seen);
        }
    }

    /// Gives everything back.
    pub(crate) fn end(self) -> Ended {
        drop(self.cpu);
        for process in &self.processes {
            (0..process.users).for_each(|_| mmap::exit_mm(process.mm));
        }
        Host::rcu_barrier();
        for object in self.objects {
            // SAFETY: the processes that mapped it have ended, this is the only thread that knew of it, and `self` goes.
            unsafe { Mapping::evict(object) };
        }
        for userfaultfd in self.opened {
            // SAFETY: nobody waits, as there is one thread; the mappings that were registered with it are gone, and `self` goes.
            unsafe { Host::free(userfaultfd.raw()) };
        }
        for process in self.processes {
            // SAFETY: it was taken apart above; its CPUs are gone, and `self` goes, which was alone to know of it.
            unsafe { mmap::mmdrop(process.mm) };
        }
        // SAFETY: the address spaces that named it are gone, and each has taken its place from its list when it ended.
        unsafe { Host::free(self.khugepaged.raw()) };
        Host::rcu_barrier();
        Ended {
            registers: self.registers,
            uneven: self.uneven,
            kept: Host::frames_in_use() - self.frames,
        }
    }
}
