//! The process of an address space: does what the controller asks for, and races.
//!
//! A worker lives as long as the run, with its threads; the mappings are made anew in each iteration. One that a
//! scenario's `fork` makes lives for one iteration. Between races its threads wait; in races they take no lock and allocate
//! nothing, so that any of them can fork.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::panic;
use std::process;
use std::sync::atomic::{
    AtomicI32,
    Ordering::{Acquire, Relaxed, Release},
};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use linux_raw_sys::general::{MADV_HUGEPAGE, MADV_RANDOM};
use pagefold_litmus::{Created, MappingId, MappingPage, MmId, ObjectId, ObjectKind};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::board::{Board, Task};
use crate::execute::{Moment, monitor, run_body};
use crate::look::Looks;
use crate::plan::{Memory, Program, modes};
use crate::processor::{self, Processor};
use crate::sys::access;
use crate::sys::disk::{self, Sectors};
use crate::sys::held::Held;
use crate::sys::kvm::Vm;
use crate::sys::memory::{self, Pages, Source};
use crate::sys::process as sys;
use crate::sys::slot::Slot;
use crate::sys::uffd::{Modes, Userfaultfd};

/// What a process knows. Each has a copy of its own, but for the board, and for the files behind their descriptors.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) program: &'a Program<'a>,
    pub(crate) board: &'a Board,
    /// The objects.
    pub(crate) files: &'a [File],
    /// Where the memory goes that is pinned.
    pub(crate) sectors: Option<&'a Sectors>,
    /// The files that this process has opened for writing.
    pub(crate) writers: Vec<Slot>,
    /// What this process holds from one call to another, by mapping and page.
    held: Vec<Vec<Held>>,
    /// Can be read from when monitors have nothing to wait for any more (`eventfd`).
    pub(crate) hang_up: &'a File,
    /// The frame of the page of zeros.
    pub(crate) zero_page: u64,
    /// Scans are those of khugepaged itself.
    pub(crate) by_khugepaged: bool,
    /// The userfaultfd of each mapping, of this process only.
    pub(crate) uffds: Vec<Userfaultfd>,
    /// Where collapses are marked in a trace, if there is one.
    pub(crate) marker: Option<&'a File>,
    /// One that nothing is registered with.
    pub(crate) spare_uffd: Userfaultfd,
    /// The process of each address space that this one has forked.
    children: Vec<AtomicI32>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        program: &'a Program<'a>,
        board: &'a Board,
        files: &'a [File],
        sectors: Option<&'a Sectors>,
        hang_up: &'a File,
        zero_page: u64,
        by_khugepaged: bool,
    ) -> Self {
        let scenario = program.scenario;
        Self {
            program,
            board,
            files,
            sectors,
            writers: scenario.objects.iter().map(|_| Slot::default()).collect(),
            held: scenario
                .mappings
                .iter()
                .enumerate()
                .map(|(mapping, _)| {
                    let pages = scenario.pages(MappingId::new(mapping));
                    (0..pages).map(|_| Held::default()).collect()
                })
                .collect(),
            hang_up,
            zero_page,
            by_khugepaged,
            marker: None,
            uffds: scenario
                .mappings
                .iter()
                .map(|_| Userfaultfd::default())
                .collect(),
            spare_uffd: Userfaultfd::default(),
            children: scenario.mms.iter().map(|_| AtomicI32::new(0)).collect(),
        }
    }

    /// One that marks collapses of the race in a trace.
    pub(crate) fn with_marker(self, marker: Option<&'a File>) -> Self {
        Self { marker, ..self }
    }

    /// What this process holds by the address of a page.
    pub(crate) fn held(&self, page: MappingPage) -> &Held {
        &self.held[page.mapping.index()][page.page]
    }

    /// All pages of a mapping.
    pub(crate) fn pages_of(&self, mapping: MappingId) -> Pages {
        let pages = self.program.scenario.pages(mapping);
        let slot = self.program.slots[mapping.index()];
        self.board.spread.range(slot, 0, pages)
    }

    /// Makes a mapping.
    pub(crate) fn map(&self, mapping: MappingId) -> Result<(), Errno> {
        let pages = self.pages_of(mapping);
        let opened;
        let source = match Memory::of(self.program.scenario, mapping) {
            Memory::Object {
                object,
                shared: true,
            } if self.program.scenario.objects[object].kind == ObjectKind::Shmem => {
                Source::Shared(&self.files[object])
            }
            Memory::Object {
                object,
                shared: true,
            } if self.program.scenario[mapping].writable.0 => {
                opened = disk::reopen(&self.files[object], OFlags::RDWR)?;
                Source::Shared(&opened)
            }
            Memory::Object {
                object,
                shared: true,
            } => Source::ReadOnly(&self.files[object]),
            Memory::Object {
                object,
                shared: false,
            } => Source::Private(&self.files[object]),
            Memory::Anonymous => Source::Anonymous,
        };
        memory::mmap(pages, source)?;
        if self.program.is_of_file(mapping) {
            // A fault reads the page that it needs from the disk, and no others.
            memory::madvise(pages, MADV_RANDOM)?;
        }
        Ok(())
    }

    /// Forks an address space; its threads begin, unless the race is yet to come.
    pub(crate) fn fork(&self, child: MmId, moment: Moment) -> Result<(), Errno> {
        let desk = &self.board.desks[child.index()];
        if desk.forked.swap(1, Relaxed) != 0 {
            return Err(Errno::AGAIN);
        }
        let last = desk.last();
        let result = sys::fork(|| {
            // What is registered, and what is held, is the parent's.
            for uffd in self.uffds.iter().chain([&self.spare_uffd]) {
                uffd.close();
            }
            for held in self.held.iter().flatten() {
                held.forget();
            }
            if self.program.uses_uffd {
                let opened = self.spare_uffd.open(Modes::default());
                opened.expect("the parent has one");
            }
            serve(self, child.index(), last, moment == Moment::Race)
        });
        match result {
            Ok(pid) => {
                self.children[child.index()].store(pid.as_raw_nonzero().get(), Relaxed);
                Ok(())
            }
            Err(error) => {
                let threads = self.program.threads_of(child.index()).count();
                if threads > 0 {
                    self.leave(threads as u32, false);
                }
                Err(error)
            }
        }
    }

    /// Everything that is there from the start.
    fn build(&self, worker: usize) -> Result<(), Errno> {
        let scenario = self.program.scenario;
        if worker == self.program.outside() {
            return self.map_objects();
        }
        if self.program.uses_uffd {
            self.spare_uffd.open(Modes::default())?;
        }
        // The last one first: so the kernel, which puts the newest at the end, visits the mappings of an object in the order of the
        // model, which puts it at the front.
        let mappings: Vec<_> = scenario.mappings_of(MmId::new(worker)).collect();
        for (id, mapping) in mappings.into_iter().rev() {
            if mapping.created != Created::Start {
                continue;
            }
            self.map(id)?;
            if let Some(asked) = mapping.uffd {
                let uffd = &self.uffds[id.index()];
                uffd.open(modes(asked))?;
                uffd.register(self.pages_of(id), modes(asked))?;
                self.board.uffds[id.index()].store(uffd.number(), Relaxed);
            }
        }
        Ok(())
    }

    /// The objects that are collapsed on behalf of no process, each in the slot of its number.
    fn map_objects(&self) -> Result<(), Errno> {
        for object in self.program.collapsed() {
            let file = &self.files[object.index()];
            let source = match self.program.scenario[object].kind {
                ObjectKind::Shmem => Source::Shared(file),
                ObjectKind::File => Source::ReadOnly(file),
            };
            memory::mmap(self.pages_of_object(object), source)?;
        }
        Ok(())
    }

    /// All pages of an object, where who is outside has it.
    pub(crate) fn pages_of_object(&self, object: ObjectId) -> Pages {
        let pages = self.program.scenario[object].pages();
        self.board.spread.range(object.index(), 0, pages)
    }

    /// So many threads have ended, or will never begin.
    fn leave(&self, threads: u32, monitors: bool) {
        if !monitors && self.board.end_racers(threads) {
            // If it cannot be written, it was written before.
            let _ = (&mut &*self.hang_up).write(&1_u64.to_ne_bytes());
        }
        self.board.leave(threads);
    }

    /// Gives the userfaultfds of this process to who waits for their events, who has taken them over.
    fn hand_over(&self, worker: usize) {
        if worker == self.program.outside() || !self.program.hands_over(MmId::new(worker)) {
            return;
        }
        for (id, _) in self.program.scenario.mappings_of(MmId::new(worker)) {
            self.uffds[id.index()].close();
        }
    }

    /// Has khugepaged look after the mappings that are there.
    fn advise(&self, worker: usize) {
        for (id, _) in self.program.scenario.mappings_of(MmId::new(worker)) {
            // Those that are not there are none of its business.
            let _ = memory::madvise(self.pages_of(id), MADV_HUGEPAGE);
        }
    }

    /// Takes it all away again, and waits for children.
    fn clear(&self) -> Result<(), Errno> {
        for uffd in self.uffds.iter().chain([&self.spare_uffd]) {
            uffd.close();
        }
        for writer in &self.writers {
            writer.close();
        }
        for held in self.held.iter().flatten() {
            // Most hold nothing.
            let _ = held.let_go();
        }
        memory::munmap(Pages::all())?;
        for child in &self.children {
            if let Some(pid) = Pid::from_raw(child.swap(0, Relaxed)) {
                sys::wait(pid);
            }
        }
        Ok(())
    }
}

/// Works until the process ends. `last` is the last request that was for somebody else before.
pub(crate) fn serve(context: &Context<'_>, worker: usize, last: u32, late: bool) {
    // A worker that cannot go on is noticed by the controller.
    panic::set_hook(Box::new(|info| {
        eprintln!("pagefold linux: {info}");
        process::abort();
    }));
    access::catch_faults().expect("signals can be handled");
    let pid = rustix::process::getpid().as_raw_pid();
    context.board.desks[worker].pid.store(pid, Relaxed);
    for page in context.program.pinned_by(worker) {
        let held = context.held(page);
        held.make_ring().expect("a ring can be made");
    }
    let vm = processor::virtual_machine(context, worker).expect("a virtual machine can be made");
    thread::scope(|scope| work(context, worker, vm.as_ref(), last, late, scope));
}

fn work<'scope, 'env>(
    context: &'env Context<'env>,
    worker: usize,
    vm: Option<&'env Vm>,
    mut last: u32,
    late: bool,
    scope: &'scope Scope<'scope, 'env>,
) {
    let program = context.program;
    let desk = &context.board.desks[worker];
    let forked = program.forked().any(|forked| forked == worker);
    let mut spawned = false;
    let mut spawn = |line_up: bool| {
        if spawned {
            return;
        }
        spawned = true;
        let race = context.board.race.load(Relaxed);
        for thread in program.threads_of(worker) {
            scope.spawn(move || attend(context, worker, vm, thread, line_up.then_some(race)));
        }
    };
    if late {
        spawn(false);
    }
    let mut looks = Looks::default();
    loop {
        let (number, tasks) = desk.next(last);
        last = number;
        let mut cleared = false;
        for task in tasks {
            match task {
                Task::Build => context.build(worker).expect("mappings can be made"),
                Task::Setup(phase) => {
                    let body = &program.scenario.setup[phase].body;
                    let _ = run_body(context, &Processor::Own, Moment::Setup, body);
                }
                Task::TakeOver => monitor::take_over(context).expect("files can be taken over"),
                Task::Spawn => {
                    context.hand_over(worker);
                    spawn(true);
                }
                Task::Advise => context.advise(worker),
                Task::Final(phase) => {
                    looks.run(context, worker, &program.scenario.finals[phase].body);
                }
                Task::Clear => {
                    context.clear().expect("mappings can be taken away");
                    looks.settle(context);
                    cleared = true;
                }
            }
        }
        desk.answer(number);
        if forked && cleared {
            sys::exit(0);
        }
    }
}

/// A thread of a scenario: one race after the other, each after that of the number `race`; or just the one that is on.
fn attend(context: &Context<'_>, worker: usize, vm: Option<&Vm>, thread: usize, race: Option<u32>) {
    let processor = Processor::of(context, thread, vm).expect("a virtual CPU can be made");
    let Some(mut race) = race else {
        race_once(context, worker, &processor, thread);
        return;
    };
    loop {
        race = context.board.next_race(race);
        context.board.line_up();
        race_once(context, worker, &processor, thread);
    }
}

fn race_once(context: &Context<'_>, worker: usize, processor: &Processor<'_>, thread: usize) {
    let board = context.board;
    let seat = &board.seats[thread];
    let is_monitor = context.program.is_monitor(thread);
    if is_monitor {
        monitor::wait_for_process(context, thread);
    }
    let delay = Duration::from_nanos(seat.delay.load(Relaxed));
    let begin = Instant::now();
    while begin.elapsed() < delay {
        std::hint::spin_loop();
    }
    let begin = Instant::now();
    let body = &context.program.scenario.threads[thread].body;
    board.await_turn(thread);
    let ended = run_body(context, processor, Moment::Race, body);
    board.end_turn();
    let took = begin.elapsed();
    seat.took
        .store(took.as_nanos().try_into().unwrap_or(u64::MAX), Relaxed);
    seat.done.store(1, Relaxed);
    if ended == ControlFlow::Continue(()) {
        context.leave(1, is_monitor);
        return;
    }
    // The address space ends with the last of its threads, when nobody waits for the others any more.
    let users = context.program.threads_of(worker).count() as u32;
    let desk = &board.desks[worker];
    let exited = desk.exited.fetch_add(1, Relaxed) + 1;
    context.leave(1, is_monitor);
    if exited < users {
        desk.gone.fetch_add(1, Release);
        return;
    }
    while desk.gone.load(Acquire) + 1 < users {
        thread::yield_now();
    }
    sys::exit(0);
}
