//! The machine of one worker, and an execution on it.
//!
//! All that an execution changes lies in two arenas: so it can begin with a copy, at the start or wherever one was made.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::PoisonError;

use pagefold_explore as explore;
use pagefold_litmus::{Actor, MmId, Quantifier};

use super::execute::Machine;
use super::plan::{Goal, Plan};
use crate::model::arena::Arena;
use crate::model::names;
use crate::model::oracle::{self, Subjects};
use crate::model::order::{self, Collapse};
use crate::model::site;
use crate::model::violation::{self, Kind};
use crate::model::world::World;

/// The name of the violation that stands for a satisfied `exists`.
const WITNESS: &str = "witness";

/// The machine of one worker.
pub(super) struct Session<'a> {
    pub(super) plan: &'a Plan<'a>,
    arena: Arena,
    frames: Arena,
    start: RefCell<Option<Start>>,
}

/// What of a session the explorer may save and put back.
pub(super) struct Saved<'a>(pub(super) Rc<Session<'a>>);

// SAFETY: all that an execution reads and writes lies in the arena, which stays in its place, and on the stacks; what is found out
// (`Plan::findings`, `Plan::sites`) is only added to. On the stacks there is plain data at each event, and all threads are
// forgettable.
unsafe impl explore::World for Saved<'_> {
    fn save(&self, saved: &mut Vec<u8>) {
        self.0.save(saved);
    }

    unsafe fn restore(&self, saved: &[u8]) {
        // SAFETY: the caller's promises.
        unsafe { self.0.restore(saved) };
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(sites) = &self.plan.sites {
            let mut sites = sites.lock().unwrap_or_else(PoisonError::into_inner);
            sites.append(&mut site::passed());
        }
        site::watch(None, false);
    }
}

/// Where every execution begins.
struct Start {
    world: Vec<u8>,
    objects: u32,
    machine: Machine,
}

impl<'a> Session<'a> {
    pub(super) fn new(plan: &'a Plan<'a>) -> Self {
        names::set(plan.layout.names.clone());
        site::watch(plan.weakened, plan.sites.is_some());
        Self {
            plan,
            arena: Arena::new(),
            frames: Arena::new(),
            start: RefCell::new(None),
        }
    }

    /// Writes the content of the arenas into `saved`, which is empty, and how much of it is the frames.
    fn save(&self, saved: &mut Vec<u8>) {
        self.arena.save(saved);
        let before = saved.len();
        self.frames.save(saved);
        let frames = saved.len() - before;
        saved.extend_from_slice(&frames.to_ne_bytes());
    }

    /// Makes the arenas what they were.
    ///
    /// # Safety
    /// `saved` was saved from this session, and no reference into an arena is in use.
    unsafe fn restore(&self, saved: &[u8]) {
        let (saved, frames) = saved
            .split_last_chunk()
            .expect("the number of bytes stands at the end");
        let (objects, frames) = saved.split_at(saved.len() - usize::from_ne_bytes(*frames));
        // SAFETY: the caller's promises.
        unsafe {
            self.arena.restore(objects);
            self.frames.restore(frames);
        }
    }

    /// One execution: the body of the explorer's main thread.
    pub(super) fn execution(&self) {
        let machine = self.begin();
        if let Some(collapses) = &self.plan.collapses {
            let noted = explore::quiet(|| self.one_by_one(&machine));
            *collapses.lock().unwrap_or_else(PoisonError::into_inner) = noted;
            return;
        }
        let world = World::current();
        self.spawn_threads(&machine, None);
        world.join_spawned();
        if self.plan.monitored {
            // Nothing that a monitor could wait for will come any more.
            let forked = world.forked_userfaultfds.iter().map(Cell::get);
            for userfaultfd in machine.userfaultfds.into_iter().chain(forked).flatten() {
                userfaultfd.hang_up();
            }
            world.join_monitors();
        }
        world.rcu_barrier();
        (self.plan.after_threads)(&machine);
        explore::quiet(|| self.finish(&machine));
    }

    /// All threads, one after the other, and the end; with nobody else there is nothing to choose.
    fn one_by_one(&self, machine: &Machine) -> Vec<Collapse> {
        let notes = order::noted(|| {
            for thread in &self.plan.scenario.threads {
                let _ = self.run_body(machine, thread.actor, None, &thread.body);
            }
        });
        self.finish(machine);
        let place = |mm, addr| self.plan.layout.place(self.plan.scenario, mm, addr);
        order::collapses(self.plan.scenario, place, &notes)
    }

    /// Begins the threads that belong to `child`, or else all that do not belong to an address space that is yet to be forked.
    pub(super) fn spawn_threads(&self, machine: &Machine, child: Option<MmId>) {
        let world = World::current();
        let scenario = self.plan.scenario;
        let machine = *machine;
        for (index, thread) in scenario.threads.iter().enumerate() {
            let begins = match (child, thread.actor.mm()) {
                (None, None) => true,
                (None, Some(mm)) => {
                    scenario[mm].parent.is_none() || world.forked[mm.index()].peek() != 0
                }
                (Some(child), mm) => mm == Some(child),
            };
            if !begins {
                continue;
            }
            let name = Cow::Owned(thread.name.clone());
            let this: *const Session<'static> = std::ptr::from_ref(self).cast();
            // SAFETY: the closure owns plain data; the session outlives the exploration, which ends before it is
            // dropped.
            let id = unsafe {
                explore::thread::spawn_forgettable(name, move || {
                    let session = &*this;
                    session.run_thread(machine, index);
                })
            };
            if let Some(cpu) = self.plan.layout.cpu_of_thread[index] {
                world.place_thread(id, cpu);
            }
            if matches!(thread.actor, Actor::Monitor(_)) {
                world.note_monitor(id);
            } else {
                world.note_spawned(id);
            }
        }
    }

    /// The world as the set-up left it.
    fn begin(&self) -> Machine {
        let mut start = self.start.borrow_mut();
        if let Some(start) = &*start {
            // SAFETY: this is the only thread of the execution yet, and those of earlier executions are gone.
            unsafe { self.restore(&start.world) };
            explore::reset_objects_to(start.objects);
            return start.machine;
        }
        World::build(
            &self.arena,
            &self.frames,
            self.plan.rules,
            self.plan.scenario.registers.len(),
        );
        let world = World::current();
        let machine = explore::quiet(|| {
            let machine = self.plan.layout.build(world, self.plan.scenario);
            for phase in &self.plan.scenario.setup {
                let _ = self.run_body(&machine, Actor::Cpu(phase.mm), None, &phase.body);
            }
            machine
        });
        let mut world = Vec::new();
        self.save(&mut world);
        *start = Some(Start {
            world,
            objects: explore::object_mark(),
            machine,
        });
        machine
    }

    fn run_thread(&self, machine: Machine, index: usize) {
        let thread = &self.plan.scenario.threads[index];
        let _ = self.run_body(
            &machine,
            thread.actor,
            self.plan.layout.cpu_of_thread[index],
            &thread.body,
        );
    }

    /// What is looked at when nothing is under way any more.
    fn finish(&self, machine: &Machine) {
        for phase in &self.plan.scenario.finals {
            let _ = self.run_body(machine, Actor::Cpu(phase.mm), None, &phase.body);
        }
        let world = World::current();
        world.held.let_all_go();
        (self.plan.before_checks)(machine);
        oracle::check_at_end(
            world,
            &Subjects {
                mms: &machine.mms,
                objects: &machine.objects,
                kvms: &machine.kvms,
            },
        );
        if let Some(kind) = world.books.exception.get() {
            self.plan.findings.note_exception(kind);
        }
        self.check_condition();
        oracle::check_holes_seen(world);
    }

    fn check_condition(&self) {
        let registers = World::current().registers();
        let registers: Vec<_> = registers.iter().map(Cell::get).collect();
        if let Some(ends) = &self.plan.ends {
            let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.insert(registers);
            return;
        }
        let Some(condition) = &self.plan.scenario.condition else {
            return;
        };
        let satisfied = condition.eval(&registers);
        drop(registers);
        let broken = match condition.quantifier {
            Quantifier::Forall => !satisfied,
            Quantifier::NotExists => satisfied,
            Quantifier::Exists => {
                if satisfied && self.plan.goal == Goal::Witness {
                    explore::fail(WITNESS, self.describe_registers());
                }
                if satisfied {
                    self.plan.findings.note_witness();
                }
                false
            }
        };
        if broken {
            violation::fail(
                Kind::Condition,
                format!(
                    "{} does not hold: {}",
                    self.plan.scenario.print_condition(condition),
                    self.describe_registers()
                ),
            );
        }
    }

    fn describe_registers(&self) -> String {
        let values: Vec<String> = self
            .plan
            .scenario
            .registers
            .iter()
            .zip(World::current().registers())
            .map(|(register, value)| match value.get() {
                Some(value) => format!("{} = {value}", register.name),
                None => format!("{} not set", register.name),
            })
            .collect();
        values.join(", ")
    }
}
