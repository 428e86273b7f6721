//! A sequence on the real kernel.
//!
//! Workers do the steps as they do those of a set-up (`worker.rs`). What came of each is looked at from outside, while nobody is
//! at work: by the files in `/proc` of the worker, and by the memory files.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use linux_raw_sys::general as raw;
use pagefold_litmus::{Call, MmId, Statement, StatementKind};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::process::Pid;

use super::areas::{self, Counts};
use super::observe::{self, Cache, Content, Observed, Run, Space, State};
use super::sequence::{Sequence, result_of};
use crate::board::{Board, Task, WORKERS};
use crate::plan::{self, Program};
use crate::race;
use crate::random::Random;
use crate::report::Seen;
use crate::sys::memory::{self, HUGE, PAGE, REGION};
use crate::sys::process;
use crate::worker::{self, Context};

/// How long a step may take before it counts as hanging. What hangs without a known reason is tried again.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often is looked whether a process that is waited for is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Why a sequence did not come to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A step, or none of them, that does not end, or that a process dies of.
    Stuck(Option<usize>, String),
    /// Something that no sequence is about.
    System(Errno),
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::System(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// Runs a sequence; what was seen after each step.
pub(super) fn run(
    sequence: &Sequence,
    program: &Program<'_>,
    board: &Board,
    zero_page: u64,
    places: u64,
) -> Result<Vec<Observed>, Trouble> {
    let scenario = &sequence.scenario;
    board.reset(0, 0, 0);
    let even = plan::wants_even_halves(scenario);
    board.spread.draw(&mut Random::new(places), even, false);
    let files = race::objects(scenario)?;
    for (object, file) in scenario.objects.iter().zip(&files) {
        race::fill(file, object, &board.spread)?;
    }
    let hang_up = File::from(eventfd(0, EventfdFlags::CLOEXEC)?);
    let mut side = Side {
        context: Context::new(program, board, &files, None, &hang_up, zero_page, false),
        inodes: files
            .iter()
            .map(|file| Ok(rustix::fs::fstat(file)?.st_ino))
            .collect::<Result<_, Errno>>()?,
        own: [None; WORKERS],
        windows: [const { None }; WORKERS],
    };
    side.begin()?;
    let mut seen = Vec::with_capacity(scenario.setup.len());
    for (step, (mm, statement)) in sequence.steps().enumerate() {
        side.ask(mm.index(), Task::Setup(step))?;
        if let StatementKind::Call {
            call: Call::Fork(child),
            ..
        } = &statement.kind
        {
            side.join(child.index())?;
        }
        seen.push(side.observe(statement)?);
    }
    side.end()?;
    Ok(seen)
}

/// What shows the memory of a process.
struct Window {
    pagemap: File,
    memory: File,
    smaps: File,
}

impl Window {
    fn open(pid: i32) -> std::io::Result<Self> {
        Ok(Self {
            pagemap: File::open(format!("/proc/{pid}/pagemap"))?,
            memory: File::open(format!("/proc/{pid}/mem"))?,
            smaps: File::open(format!("/proc/{pid}/smaps"))?,
        })
    }
}

struct Side<'a> {
    context: Context<'a>,
    /// Those of the objects.
    inodes: Vec<u64>,
    /// The processes that this one has made.
    own: [Option<Pid>; WORKERS],
    windows: [Option<Window>; WORKERS],
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        // What they have forked dies with them.
        for pid in self.own.iter_mut().filter_map(Option::take) {
            process::kill(pid);
        }
    }
}

impl Side<'_> {
    /// Makes the processes that are there from the start, with their mappings.
    fn begin(&mut self) -> Result<(), Trouble> {
        for worker in self.context.program.living() {
            let last = self.context.board.desks[worker].last();
            let context = &self.context;
            let pid = process::fork(|| worker::serve(context, worker, last, false))?;
            self.own[worker] = Some(pid);
        }
        for worker in self.context.program.living() {
            self.ask(worker, Task::Build)?;
            self.open(worker)?;
        }
        Ok(())
    }

    /// Waits until a process that was forked is at its desk.
    fn join(&mut self, worker: usize) -> Result<(), Trouble> {
        self.ask(worker, Task::Spawn)?;
        self.open(worker)
    }

    fn open(&mut self, worker: usize) -> Result<(), Trouble> {
        let pid = self.context.board.desks[worker].pid.load(Relaxed);
        self.windows[worker] = Some(Window::open(pid)?);
        Ok(())
    }

    /// Ends the processes, children first.
    fn end(&mut self) -> Result<(), Trouble> {
        for worker in self.context.program.forked() {
            if self.windows[worker].take().is_some() {
                self.ask(worker, Task::Clear)?;
            }
        }
        for worker in self.context.program.living() {
            self.ask(worker, Task::Clear)?;
        }
        Ok(())
    }

    fn ask(&mut self, worker: usize, task: Task) -> Result<(), Trouble> {
        let desk = &self.context.board.desks[worker];
        let number = desk.ask(&[task]);
        let begin = Instant::now();
        while !desk.answered(number, LOOK) {
            let died = self.own[worker].is_some_and(process::has_ended);
            if died {
                self.own[worker] = None;
            }
            if died || begin.elapsed() > PATIENCE {
                let name = &self.context.program.scenario.mms[worker].name;
                let how = if died { "died" } else { "hangs" };
                let step = match task {
                    Task::Setup(step) => Some(step),
                    _ => None,
                };
                return Err(Trouble::Stuck(step, format!("the process of {name} {how}")));
            }
        }
        Ok(())
    }

    fn observe(&self, statement: &Statement) -> Result<Observed, Trouble> {
        let scenario = self.context.program.scenario;
        let given: Option<Seen> = result_of(statement).and_then(|register| {
            let registers = self.context.board.registers(scenario.registers.len());
            registers[register.index()].clone()
        });
        let mut spaces = Vec::new();
        for (mm, window) in self.windows[..scenario.mms.len()].iter().enumerate() {
            let space = match window {
                Some(window) => Some(self.space(mm, window)?),
                None => None,
            };
            spaces.push(space);
        }
        let objects = 0..scenario.objects.len();
        Ok(Observed {
            given,
            spaces,
            objects: objects
                .map(|id| self.cache(id))
                .collect::<Result<_, Trouble>>()?,
            accessed: None,
        })
    }

    fn space(&self, mm: usize, window: &Window) -> Result<Space, Trouble> {
        let Context { program, board, .. } = &self.context;
        let scenario = program.scenario;
        (&window.smaps).rewind()?;
        // The region comes before most of what else is mapped, which is not asked for.
        let smaps = BufReader::with_capacity(PAGE, &window.smaps);
        let areas = areas::read(smaps, &self.inodes)?;
        let mut books = Counts::default();
        areas.iter().for_each(|area| books.add(area.counts));
        let mut space = Space {
            areas,
            books,
            ..Space::default()
        };
        let huge = huge_ranges(&window.pagemap)?;
        let is_huge = |page: usize| huge.iter().any(|range| range.contains(&page));
        let mut entries = Vec::new();
        for (id, _) in scenario.mappings_of(MmId::new(mm)) {
            let pages = self.context.pages_of(id);
            let first = pages.start.get() / PAGE;
            entries.clear();
            entries.resize(pages.bytes / PAGE * size_of::<u64>(), 0);
            window
                .pagemap
                .read_exact_at(&mut entries, (first * size_of::<u64>()) as u64)?;
            let (words, _) = entries.as_chunks();
            let states: Vec<State> = words
                .iter()
                .enumerate()
                .map(|(at, word)| {
                    let page = first + at;
                    let mut state = state_of(u64::from_ne_bytes(*word), self.context.zero_page);
                    if state & observe::PRESENT != 0 && is_huge(page) {
                        state |= observe::HUGE;
                    }
                    state
                })
                .collect();
            for (at, state) in states.iter().enumerate() {
                observe::push(&mut space.runs, first + at - REGION.start / PAGE, *state);
            }
            for page in 0..scenario.pages(id) {
                let slot = program.slots[id.index()];
                let address = board.spread.address(slot, page).get();
                if states[address / PAGE - first] & observe::PRESENT != 0 {
                    space.contents.push(Content {
                        of: id.index(),
                        page,
                        value: read_word(&window.memory, address)?,
                    });
                }
            }
        }
        Ok(space)
    }

    fn cache(&self, id: usize) -> Result<Cache, Trouble> {
        let Context {
            program,
            board,
            files,
            ..
        } = &self.context;
        let file = &files[id];
        let size = rustix::fs::fstat(file)?.st_size as usize / PAGE;
        let mut cache = Cache {
            size,
            ..Cache::default()
        };
        let mut at = 0;
        // Each look finds a page further on.
        while let Ok(start) = rustix::fs::seek(file, SeekFrom::Data(at)) {
            let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
            let (first, end_page) = (start as usize / PAGE, end as usize / PAGE);
            cache.runs.push(Run {
                first,
                pages: end_page - first,
                state: observe::PRESENT,
            });
            at = end;
        }
        for page in 0..program.scenario.objects[id].pages() {
            let index = board.spread.representative(page);
            let there = |run: &Run| (run.first..run.first + run.pages).contains(&index);
            if cache.runs.iter().any(there) {
                cache.contents.push(Content {
                    of: id,
                    page,
                    value: read_word(file, index * PAGE)?,
                });
            }
        }
        Ok(cache)
    }
}

fn read_word(file: &File, at: usize) -> Result<u64, Trouble> {
    let mut word = [0; size_of::<u64>()];
    file.read_exact_at(&mut word, at as u64)?;
    Ok(u64::from_ne_bytes(word))
}

/// What a word of `pagemap` says.
fn state_of(word: u64, zero_page: u64) -> State {
    let bit = |number: u32| word >> number & 1 != 0;
    let mut state = 0;
    let mut add = |state_bit: State, is: bool| {
        if is {
            state |= state_bit;
        }
    };
    let (present, swapped) = (bit(63), bit(62));
    let number = word & ((1 << 55) - 1);
    // What a page that is not there is marked with looks like a swap entry of the last type.
    let marker = swapped && number & 31 == 31;
    let zero = present && number == zero_page;
    add(observe::PRESENT, present);
    add(observe::ZERO, zero);
    add(observe::OF_OBJECT, present && bit(61) && !zero);
    add(observe::EXCLUSIVE, present && bit(56) && !zero);
    add(observe::UFFD_WP, bit(57));
    add(observe::GUARD, bit(58));
    add(observe::POISON, marker && number >> 5 & 2 != 0);
    add(observe::SWAPPED, swapped && !marker);
    state
}

/// The pages that are mapped by huge ones.
fn huge_ranges(pagemap: &File) -> Result<Vec<std::ops::Range<usize>>, Trouble> {
    let mut regions = [raw::page_region {
        start: 0,
        end: 0,
        categories: 0,
    }; (REGION.end - REGION.start) / HUGE];
    let found = memory::scan_huge(pagemap, &mut regions)?;
    Ok(found
        .iter()
        .map(|region| region.start as usize / PAGE..region.end as usize / PAGE)
        .collect())
}
