//! The controller: one iteration after the other.
//!
//! It makes the workers, tells them what to do, and reads what came out. Each wait is bounded: a worker that does not
//! answer, or a thread that does not end, ends the run; all processes are then killed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use pagefold_litmus::{Object, ObjectKind, Scenario};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Advice, MemfdFlags, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::aim::Aim;
use crate::board::{Board, TASKS, Task, WORKERS};
use crate::events::{self, Instance};
use crate::geometry::Spread;
use crate::khugepaged;
use crate::plan::{self, Program};
use crate::random::Random;
use crate::report::{Outcome, Ran};
use crate::sys::disk::{self, Sectors};
use crate::sys::memory::PAGE;
use crate::sys::process;
use crate::sys::shared::Shared;
use crate::worker::{self, Context};

/// How long anything may take before it counts as hanging. In a guest without KVM on a busy host, each of the hundreds of flushes of a call may take
/// tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often is looked whether a process that is waited for is still there.
const LOOK: Duration = Duration::from_millis(200);

/// No thread waits longer than this for another one to come to where they might meet.
const LONGEST_DELAY: u64 = 20_000_000;

/// So many races are remembered.
const REMEMBERED: usize = 16;

/// One of so many races is not sparse.
const FULL: usize = 8;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many iterations.
    pub iterations: u64,
    /// But no longer than this.
    pub time: Duration,
    /// What places and delays are drawn from.
    pub seed: u64,
    /// The settings of khugepaged may be changed, and are put back: scans are its own.
    pub khugepaged: bool,
}

/// How the threads of a scenario run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Threads<'a> {
    /// All at once; so that they meet there, if that is known.
    Race(Option<&'a Aim>),
    /// One after the other, and what the instance notes is kept.
    InTurn(&'a Instance),
}

/// Runs a program until a limit is met.
pub(crate) fn run(
    program: &Program<'_>,
    zero_page: u64,
    limits: Limits,
    threads: Threads<'_>,
) -> Result<Ran, Errno> {
    let board = Shared::<Board>::new()?;
    let (aim, instance) = match threads {
        Threads::Race(aim) => (aim, None),
        Threads::InTurn(instance) => (None, Some(instance)),
    };
    board.in_turn.store(instance.is_some().into(), Relaxed);
    let files = objects(program.scenario)?;
    let sectors = program.pins_fast().then(Sectors::new).transpose()?;
    let hang_up = File::from(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let mut controller = Controller {
        context: Context::new(
            program,
            &board,
            &files,
            sectors.as_ref(),
            &hang_up,
            zero_page,
            limits.khugepaged,
        )
        .with_marker(instance.map(|instance| &instance.marker)),
        living: [None; WORKERS],
        forked: BTreeSet::new(),
        random: Random::new(limits.seed),
        aim,
        may_be_sparse: instance.is_none()
            && aim.is_none()
            && !(limits.khugepaged && program.scans())
            && !program.asks_for_holes(),
        took: [(); 2].map(|()| vec![[0; REMEMBERED]; program.scenario.threads.len()]),
        usual: vec![0; program.scenario.threads.len()],
        races: [0; 2],
    };
    let mut ran = Ran::default();
    let end = Instant::now() + limits.time;
    // Memory that is to be huge is what khugepaged looks for at any time, also where the scenario does not have it scan.
    let watched = program.wants_huge() && !limits.khugepaged;
    let collapsed = || watched.then(|| khugepaged::collapsed().ok()).flatten();
    while ran.iterations() < limits.iterations && Instant::now() < end {
        let before = collapsed();
        match controller.iteration()? {
            Ok(outcome) => {
                let count = ran.counts.entry(outcome).or_default();
                let disturbed = board.disturbed.load(Relaxed) != 0 || collapsed() != before;
                if disturbed {
                    count.disturbed += 1;
                } else {
                    count.clean += 1;
                }
                if let Some(instance) = instance
                    && let Err(why) = note_collapses(instance, &board, disturbed, &mut ran)
                {
                    ran.stuck = Some(why);
                    break;
                }
            }
            Err(Stuck(why)) => {
                ran.stuck = Some(why);
                break;
            }
        }
    }
    Ok(ran)
}

/// Keeps what an instance noted of an iteration; not if somebody else was in the way of a collapse.
fn note_collapses(
    instance: &Instance,
    board: &Board,
    disturbed: bool,
    ran: &mut Ran,
) -> Result<(), String> {
    let trace = instance
        .take()
        .map_err(|error| format!("the trace: {error}"))?;
    if !disturbed {
        let collapses = events::collapses(&trace, |start, end| board.spread.place(start, end))?;
        *ran.collapses.entry(collapses).or_default() += 1;
    }
    Ok(())
}

/// A memory file for each object, or one on a disk that is open for reading.
pub(crate) fn objects(scenario: &Scenario) -> Result<Vec<File>, Errno> {
    let objects = scenario.objects.iter();
    objects
        .map(|object| {
            if object.kind == ObjectKind::File {
                return disk::reopen(&disk::unnamed_file(false)?, OFlags::RDONLY);
            }
            rustix::fs::memfd_create(object.name.as_str(), MemfdFlags::CLOEXEC).map(File::from)
        })
        .collect()
}

/// Why an iteration did not come to its end.
struct Stuck(String);

struct Controller<'a> {
    context: Context<'a>,
    /// The processes that this one has made.
    living: [Option<Pid>; WORKERS],
    /// The workers that others have forked in this iteration.
    forked: BTreeSet<usize>,
    random: Random,
    aim: Option<&'a Aim>,
    /// Nobody asks whether all of a group is there.
    may_be_sparse: bool,
    /// How long each thread took in the last full races, and in the last sparse ones, in nanoseconds.
    took: [Vec<[u64; REMEMBERED]>; 2],
    /// About how long each takes, on average.
    usual: Vec<u64>,
    /// Races that came to their end, in the same way.
    races: [usize; 2],
}

impl Drop for Controller<'_> {
    fn drop(&mut self) {
        // What they have forked dies with them.
        for pid in self.living.iter_mut().filter_map(Option::take) {
            process::kill(pid);
        }
    }
}

impl Controller<'_> {
    fn iteration(&mut self) -> Result<Result<Outcome, Stuck>, Errno> {
        self.prepare()?;
        Ok(self.race())
    }

    /// New contents, places and delays, and the processes that are missing.
    fn prepare(&mut self) -> Result<(), Errno> {
        let Context { program, board, .. } = self.context;
        let threads = program.scenario.threads.len();
        let late = program
            .worker_of
            .iter()
            .filter(|worker| program.joins_late(**worker));
        let monitors = (0..threads).filter(|thread| program.is_monitor(*thread));
        board.reset(threads, threads - monitors.count(), threads - late.count());
        // What was written there by the last race, if it was.
        let _ = (&mut &*self.context.hang_up).read(&mut [0; 8]);
        for worker in program.forked() {
            board.desks[worker].pid.store(0, Relaxed);
        }
        self.forked.clear();
        let even = plan::wants_even_halves(program.scenario);
        let sparse = self.may_be_sparse && self.random.below(FULL) != 0;
        board.spread.draw(&mut self.random, even, sparse);
        for (object, file) in program.scenario.objects.iter().zip(self.context.files) {
            fill(file, object, &board.spread)?;
        }
        self.draw_delays();
        for worker in program.living() {
            if self.living[worker].is_none() {
                let last = board.desks[worker].last();
                let context = &self.context;
                let pid = process::fork(|| worker::serve(context, worker, last, false))?;
                self.living[worker] = Some(pid);
            }
        }
        Ok(())
    }

    /// If nobody knows where threads should meet, each waits between no time and as long as another one took in one of the last
    /// races, so that they meet everywhere. A race that was interrupted for long is only one of them, and soon forgotten.
    fn draw_delays(&mut self) {
        let board = self.context.board;
        if let Some(aim) = self.aim {
            let delays = aim.draw(&mut self.random, &self.usual);
            for (seat, delay) in board.seats.iter().zip(delays) {
                seat.delay.store(delay, Relaxed);
            }
            return;
        }
        let took = &self.took[usize::from(board.spread.is_sparse())];
        for thread in 0..took.len() {
            let race = self.random.below(REMEMBERED);
            let others = took.iter().enumerate();
            let others = others.filter(|(other, _)| *other != thread);
            let longest = others.map(|(_, took)| took[race]).max().unwrap_or(0);
            let bound = longest.min(LONGEST_DELAY) as usize;
            let waits = self.random.below(2) == 0 && board.in_turn.load(Relaxed) == 0;
            let delay = self.random.below(bound + 1);
            let delay = if waits { delay as u64 } else { 0 };
            board.seats[thread].delay.store(delay, Relaxed);
        }
    }

    fn race(&mut self) -> Result<Outcome, Stuck> {
        let Context { program, board, .. } = self.context;
        let scenario = program.scenario;
        let single = program.single();
        match single {
            Some(worker) => {
                let setup = (0..scenario.setup.len()).map(Task::Setup);
                let tasks = [Task::Build].into_iter().chain(setup);
                self.ask_all(worker, tasks.chain([Task::Spawn]))?;
            }
            None => self.set_up()?,
        }
        board.start();
        self.wait_for_race()?;
        self.note_forked();
        self.note_durations();
        for worker in program.living().filter(|worker| program.exits(*worker)) {
            let users = program.threads_of(worker).count();
            if board.desks[worker].exited.load(Relaxed) as usize == users
                && let Some(pid) = self.living[worker].take()
            {
                process::wait(pid);
            }
        }
        if let Some(worker) = single
            && self.living[worker].is_some()
        {
            let finals = (0..scenario.finals.len()).map(Task::Final);
            self.ask_all(worker, finals.chain([Task::Clear]))?;
            return Ok(board.registers(scenario.registers.len()));
        }
        for (phase, last) in scenario.finals.iter().enumerate() {
            self.ask(last.mm.index(), Task::Final(phase))?;
        }
        if program.has_monitors() {
            // Others would wait for it, as nobody reads what it is told.
            self.ask(program.outside(), Task::Clear)?;
        }
        for worker in program.forked().rev() {
            if self.forked.contains(&worker) {
                self.ask(worker, Task::Clear)?;
            }
        }
        self.ask_living(Task::Clear)?;
        Ok(board.registers(scenario.registers.len()))
    }

    /// Brings several processes as far as to the start line.
    fn set_up(&mut self) -> Result<(), Stuck> {
        let Context { program, board, .. } = self.context;
        if board.in_turn.load(Relaxed) == 0 {
            self.ask_living(Task::Build)?;
        } else {
            // The last one first, as each does with its mappings.
            let workers: Vec<usize> = program.living().collect();
            for worker in workers.into_iter().rev() {
                self.ask(worker, Task::Build)?;
            }
        }
        for (phase, setup) in program.scenario.setup.iter().enumerate() {
            self.ask(setup.mm.index(), Task::Setup(phase))?;
            self.note_forked();
        }
        if program.has_monitors() {
            self.ask(program.outside(), Task::TakeOver)?;
        }
        self.ask_living(Task::Spawn)?;
        for worker in self.forked.clone() {
            self.ask(worker, Task::Spawn)?;
        }
        Ok(())
    }

    /// Looks who has been forked.
    fn note_forked(&mut self) {
        let board = self.context.board;
        let forked = self.context.program.forked();
        self.forked
            .extend(forked.filter(|worker| board.desks[*worker].forked.load(Relaxed) != 0));
    }

    fn note_durations(&mut self) {
        let sort = usize::from(self.context.board.spread.is_sparse());
        let place = self.races[sort] % REMEMBERED;
        let threads = self.took[sort].iter_mut().zip(&mut self.usual);
        for ((last, usual), seat) in threads.zip(&self.context.board.seats) {
            let took = seat.took.load(Relaxed);
            *usual = if *usual == 0 {
                took
            } else {
                (*usual * 7 + took) / 8
            };
            last[place] = took;
        }
        self.races[sort] += 1;
    }

    /// Asks one, and waits for the answer.
    fn ask(&mut self, worker: usize, task: Task) -> Result<(), Stuck> {
        self.ask_all(worker, [task].into_iter())
    }

    /// Asks one for tasks, one after the other, with as few waits as can be.
    fn ask_all(&mut self, worker: usize, tasks: impl Iterator<Item = Task>) -> Result<(), Stuck> {
        let tasks: Vec<Task> = tasks.collect();
        for tasks in tasks.chunks(TASKS) {
            let number = self.context.board.desks[worker].ask(tasks);
            self.wait_for_answer(worker, number, tasks)?;
        }
        Ok(())
    }

    /// Asks all that are there from the start, and waits for their answers.
    fn ask_living(&mut self, task: Task) -> Result<(), Stuck> {
        let mut asked = [0; WORKERS];
        for worker in self.context.program.living() {
            if self.living[worker].is_some() {
                asked[worker] = self.context.board.desks[worker].ask(&[task]);
            }
        }
        for worker in self.context.program.living() {
            if self.living[worker].is_some() {
                self.wait_for_answer(worker, asked[worker], &[task])?;
            }
        }
        Ok(())
    }

    fn wait_for_answer(&self, worker: usize, number: u32, tasks: &[Task]) -> Result<(), Stuck> {
        let desk = &self.context.board.desks[worker];
        let who = || match self.context.program.scenario.mms.get(worker) {
            Some(mm) => format!("the process of {}", mm.name),
            None => "the process outside of all".to_owned(),
        };
        self.wait(
            |patience| desk.answered(number, patience),
            || format!("{} did not come to the end of {tasks:?}", who()),
        )
    }

    fn wait_for_race(&mut self) -> Result<(), Stuck> {
        let Context { program, board, .. } = self.context;
        let describe = || {
            let threads = program.scenario.threads.iter().zip(&board.seats);
            let waiting: Vec<&str> = threads
                .filter(|(_, seat)| seat.done.load(Relaxed) == 0)
                .map(|(thread, _)| thread.name.as_str())
                .collect();
            format!("{} did not come to an end", waiting.join(", "))
        };
        self.wait(|patience| board.is_over(patience), describe)
    }

    /// Waits for something, looking meanwhile whether somebody has died.
    fn wait(
        &self,
        is_over: impl Fn(Duration) -> bool,
        describe: impl Fn() -> String,
    ) -> Result<(), Stuck> {
        let begin = Instant::now();
        loop {
            if is_over(LOOK) {
                return Ok(());
            }
            let exits = |worker| self.context.program.exits(worker);
            for (worker, pid) in self.living.iter().enumerate() {
                if let Some(pid) = pid
                    && !exits(worker)
                    && process::has_ended(*pid)
                {
                    return Err(Stuck(format!("{}: a process died", describe())));
                }
            }
            if begin.elapsed() > PATIENCE {
                return Err(Stuck(format!(
                    "{} within {} s",
                    describe(),
                    PATIENCE.as_secs()
                )));
            }
        }
    }
}

/// Makes an object new: what is to be there of each page that it has, and holes.
pub(crate) fn fill(file: &File, object: &Object, spread: &Spread) -> Result<(), Errno> {
    let bytes = spread.bytes(object.contents.len()) as u64;
    if object.kind == ObjectKind::File {
        let writer = disk::reopen(file, OFlags::RDWR)?;
        // Where it had been cut off, it is written below; so its places on the disk stay, which saves time.
        rustix::fs::ftruncate(&writer, bytes)?;
        write_contents(&writer, object, spread)?;
        rustix::fs::fsync(&writer)?;
        // All of it is on the disk, and nothing in memory.
        return rustix::fs::fadvise(&writer, 0, None, Advice::DontNeed);
    }
    rustix::fs::ftruncate(file, 0)?;
    rustix::fs::ftruncate(file, bytes)?;
    write_contents(file, object, spread)
}

fn write_contents(file: &File, object: &Object, spread: &Spread) -> Result<(), Errno> {
    for (page, content) in object.contents.iter().enumerate() {
        let Some(value) = content else { continue };
        let pages = spread.filled(page);
        disk::write_pages(file, pages.start * PAGE, pages.len() * PAGE, *value)?;
    }
    Ok(())
}
