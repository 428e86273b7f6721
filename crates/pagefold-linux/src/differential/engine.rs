//! A sequence on the engine at 512 entries a table, in a process of its own.
//!
//! It does to the engine what `execute.rs` does to the kernel, at the same addresses. It has a process of its own, so that a
//! panic of the engine is a difference like any other, and its memory is not copied by the forks of the kernel's side.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic;

use pagefold::Ref;
use pagefold::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use pagefold::arch::{Format, Marker, PMD_LEVEL, PTE_LEVEL, Pte};
use pagefold::collapse::{self, CollapseError};
use pagefold::fault::FaultError;
use pagefold::fork::dup_mmap;
use pagefold::mm::Mm;
use pagefold::mmap::{self, Backing, Sharing};
use pagefold::mprotect::{self, Protection as Allowed};
use pagefold::page_cache::{Entry, Mapping};
use pagefold::platform::{Platform, Word};
use pagefold::protocol::Protocol;
use pagefold::userfault::{self, Features, Modes, UffdError, Userfaultfd};
use pagefold::vma::{VM_MAYBE_GUARD, Vma};
use pagefold::{gup, madvise, mremap, reclaim, truncate};
use pagefold_litmus::{
    Advice, Call, Created, MappingId, MappingPage, MappingRange, MmId, Permission, Protection,
    Scenario, Statement, StatementKind, Symbol, UffdMode, UffdModes, Value,
};
use pagefold_machine::host::{Host, HostCpu, HostFormat, PTRS_PER_TABLE, Setup};
use serde::{Deserialize, Serialize};

use super::observe::{self, Cache, Content, Observed, Space, State};
use super::sequence::Sequence;
use crate::geometry::Spread;
use crate::plan::{Memory, slots};
use crate::random::Random;
use crate::report::Seen;
use crate::sys::memory::{PAGE, Pages, REGION};

/// Frames of the machine: 256 MiB, of which the largest sequence uses a part.
const FRAMES: usize = 64 * 1024;

/// What is asked of the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// The scenario.
    pub(super) text: String,
    /// What the places of pages are drawn from.
    pub(super) places: u64,
}

/// What it answers: what was seen after each step, or why it cannot go on.
pub(super) type Answer = Result<Vec<Observed>, String>;

/// Writes a message.
pub(super) fn send<T: Serialize>(mut to: &UnixStream, message: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    to.write_all(&bytes.len().to_ne_bytes())?;
    to.write_all(&bytes)
}

/// Reads a message.
pub(super) fn receive<T: for<'a> Deserialize<'a>>(mut from: &UnixStream) -> io::Result<T> {
    let mut length = [0; size_of::<usize>()];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from_ne_bytes(length)];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Answers requests until nobody asks any more.
pub(super) fn serve(stream: &UnixStream, protocol: Protocol) {
    Host::init_as(Setup {
        frames: FRAMES,
        swap_slots: 0,
        protocol,
    });
    let answers = stream.try_clone().expect("a descriptor can be copied");
    panic::set_hook(Box::new(move |info| {
        let _ = send(&answers, &Answer::Err(format!("the engine: {info}")));
        crate::sys::process::exit(1);
    }));
    while let Ok(request) = receive::<Request>(stream) {
        let sequence = Sequence::parse(&request.text).expect("what is asked for is a scenario");
        let answer: Answer = Ok(run(&sequence, request.places));
        if send(stream, &answer).is_err() {
            return;
        }
    }
}

/// Runs a sequence from beginning to end, and takes everything away.
pub(super) fn run(sequence: &Sequence, places: u64) -> Vec<Observed> {
    let mut machine = Machine::new(&sequence.scenario, places);
    let steps = sequence.steps();
    let seen = steps
        .map(|(mm, statement)| {
            let given = machine.run(mm, statement);
            machine.observe(given)
        })
        .collect();
    machine.end();
    seen
}

type Process = Ref<Host, Mm<Host>>;

struct Machine<'a> {
    scenario: &'a Scenario,
    slots: Vec<usize>,
    spread: Spread,
    mms: Vec<Process>,
    /// Those that a process has.
    living: Vec<bool>,
    objects: Vec<Ref<Host, Mapping<Host>>>,
    /// Of each mapping.
    uffds: Vec<Option<Ref<Host, Userfaultfd<Host>>>>,
}

impl<'a> Machine<'a> {
    fn new(scenario: &'a Scenario, places: u64) -> Self {
        let spread = Spread::default();
        spread.draw(&mut Random::new(places));
        let mms = 0..scenario.mms.len();
        let mut machine = Self {
            scenario,
            slots: slots(scenario),
            mms: mms
                .map(|id| Mm::new(id as u32).expect("a new machine has frames"))
                .collect(),
            living: scenario.mms.iter().map(|mm| mm.parent.is_none()).collect(),
            objects: Vec::new(),
            uffds: scenario.mappings.iter().map(|_| None).collect(),
            spread,
        };
        for (id, object) in scenario.objects.iter().enumerate() {
            let size = machine.spread.group_start(object.pages());
            let new = Mapping::new(id as u32, size as u64).expect("a new machine has frames");
            for (page, content) in object.contents.iter().enumerate() {
                let Some(value) = *content else { continue };
                for index in machine.spread.group_start(page)..machine.spread.group_start(page + 1)
                {
                    Mapping::fill_page(new, PageIndex(index as u64), |pfn| {
                        Host::page(pfn)[0].write_once(value);
                    })
                    .expect("a new machine has frames");
                }
            }
            machine.objects.push(new);
        }
        for (id, mapping) in scenario.mappings.iter().enumerate() {
            let id = MappingId::new(id);
            if mapping.created == Created::Start {
                machine.map(id);
                if let Some(modes) = mapping.uffd {
                    let _ = machine.register(id, modes);
                }
            }
        }
        machine
    }

    /// Gives everything back.
    fn end(self) {
        for mm in &self.mms {
            mmap::exit_mm(*mm);
        }
        for object in &self.objects {
            // SAFETY: nobody uses it: there is one thread.
            unsafe { Mapping::evict(*object) };
        }
        for mm in self.mms {
            // SAFETY: as above.
            unsafe { mmap::mmdrop(mm) };
        }
        Host::rcu_barrier();
        assert_eq!(Host::frames_in_use(), 0, "all frames are back");
    }

    /// A step; what it gave, if that is to be known.
    fn run(&mut self, mm: MmId, statement: &Statement) -> Option<Seen> {
        match &statement.kind {
            StatementKind::Store { page, value } => {
                let _ = self.each(*page, |cpu, addr| cpu.store(addr, *value));
                None
            }
            StatementKind::Load { result, page } => {
                let value = match self.each(*page, HostCpu::load) {
                    Ok(value) => Value::Number(value),
                    Err(signal) => symbol_of(&signal).into(),
                };
                result.map(|_| value.into())
            }
            StatementKind::Map(mapping) => {
                self.map(*mapping);
                None
            }
            StatementKind::Call { result, call } => {
                let given = self.call(mm, *call);
                result.map(|_| given)
            }
            StatementKind::Repeat { .. } => unreachable!("a sequence has no loops"),
        }
    }

    fn call(&mut self, mm: MmId, call: Call) -> Seen {
        let mm = self.mms[mm.index()];
        match call {
            Call::Madvise(range, advice) => status(self.madvise(range, advice)),
            Call::Munmap(range) => {
                status(mmap::munmap(mm, self.range(range)).map_err(|error| error.errno()))
            }
            Call::Mprotect(range, permission) => {
                let protection = match permission {
                    Permission::None => Allowed::None,
                    Permission::Read => Allowed::Read,
                    Permission::ReadWrite => Allowed::ReadWrite,
                };
                let result = mprotect::mprotect(mm, self.range(range), protection);
                status(result.map_err(|error| error.errno()))
            }
            Call::Mremap(from, to) => {
                let result = mremap::mremap(mm, self.range(from), self.range(to).start);
                status(result.map_err(|error| error.errno()))
            }
            Call::Fork(child) => {
                if std::mem::replace(&mut self.living[child.index()], true) {
                    return status(Err("EAGAIN"));
                }
                status(dup_mmap(mm, self.mms[child.index()]).map_err(|_| "ENOMEM"))
            }
            Call::UffdRegister(mapping, modes) => uffd(self.register(mapping, modes)),
            Call::UffdUnregister(mapping) => {
                uffd(userfault::unregister(mm, self.pages_of(mapping)))
            }
            Call::UffdioCopy(page, value, mode) => uffd(self.fill(page, |mm, addr| {
                userfault::copy(mm, addr, mode.0, |pfn| {
                    Host::page(pfn)[0].write_once(value);
                })
            })),
            Call::UffdioZeropage(page) => uffd(self.fill(page, userfault::zeropage)),
            Call::UffdioContinue(page, mode) => {
                uffd(self.fill(page, |mm, addr| userfault::continue_page(mm, addr, mode.0)))
            }
            Call::UffdioPoison(page) => uffd(self.fill(page, userfault::poison)),
            Call::UffdioWriteprotect(page, to) => {
                let protect = to == Protection::Protect;
                let mut pages = self.group(page).each_page();
                uffd(pages.try_for_each(|addr| userfault::writeprotect(mm, addr, protect)))
            }
            Call::UffdClose(mapping) => {
                if let Some(closed) = self.uffds[mapping.index()].take() {
                    userfault::close(mm, closed);
                }
                Seen::Number(0)
            }
            Call::Gup(page) => match gup::pin_user_page(mm, self.address(page), false) {
                Ok(pfn) => {
                    let value = Host::page(pfn)[0].read_once();
                    gup::unpin_user_page::<Host>(pfn);
                    Seen::Number(value)
                }
                Err(error) => pin_error(&error),
            },
            Call::GupWrite(page, value) => match gup::pin_user_page(mm, self.address(page), true) {
                Ok(pfn) => {
                    Host::page(pfn)[0].write_once(value);
                    gup::unpin_user_page_dirty::<Host>(pfn);
                    Seen::Number(0)
                }
                Err(error) => pin_error(&error),
            },
            Call::Mincore(page) => match mmap::mincore(mm, self.address(page)) {
                Ok(cached) => Seen::Number(cached.into()),
                Err(error) => status(Err(error.errno())),
            },
            Call::Truncate(object, pages) => {
                let pages = self.spread.group_start(pages as usize);
                let result = truncate::truncate(self.objects[object.index()], pages as u64);
                status(result.map_err(|_| "EINVAL"))
            }
            Call::FallocatePunch(page) => {
                let start = self.spread.group_start(page.page) as u64;
                let end = self.spread.group_start(page.page + 1) as u64;
                truncate::punch_hole(self.objects[page.object.index()], start..end);
                Seen::Number(0)
            }
            other => unreachable!("no sequence has {other:?}"),
        }
    }

    fn madvise(&self, pages: MappingRange, advice: Advice) -> Result<(), &'static str> {
        let mm = self.mms[self.scenario[pages.mapping].mm.index()];
        let range = self.range(pages);
        match advice {
            Advice::Collapse => {
                collapse::madvise_collapse(mm, range, |_, _| ()).map_err(CollapseError::errno)
            }
            Advice::DontNeed => madvise::dontneed(mm, range).map_err(|error| error.errno()),
            Advice::Cold => madvise::cold(mm, range).map_err(|error| error.errno()),
            Advice::PageOut => {
                reclaim::pageout(mm, range);
                Ok(())
            }
            Advice::GuardInstall => {
                madvise::guard_install(mm, range).map_err(|error| error.errno())
            }
            Advice::GuardRemove => madvise::guard_remove(mm, range).map_err(|error| error.errno()),
            Advice::PopulateRead | Advice::PopulateWrite => {
                let write = advice == Advice::PopulateWrite;
                madvise::populate(mm, range, write).map_err(|error| error.errno())
            }
        }
    }

    /// An access to the representative, which says how it went, then to the rest of its group.
    fn each<T>(
        &self,
        page: MappingPage,
        access: impl Fn(&mut HostCpu, VirtAddr) -> Result<T, FaultError<Host>>,
    ) -> Result<T, FaultError<Host>> {
        let mm = self.mms[self.scenario[page.mapping].mm.index()];
        let mut cpu = HostCpu::run(mm);
        let address = self.address(page);
        let value = access(&mut cpu, address);
        for other in self.group(page).each_page().filter(|addr| *addr != address) {
            let _ = access(&mut cpu, other);
        }
        value
    }

    /// Something that fills pages, in the same order.
    fn fill(
        &self,
        page: MappingPage,
        request: impl Fn(Process, VirtAddr) -> Result<(), UffdError>,
    ) -> Result<(), UffdError> {
        let mm = self.mms[self.scenario[page.mapping].mm.index()];
        let address = self.address(page);
        request(mm, address)?;
        for other in self.group(page).each_page().filter(|addr| *addr != address) {
            let _ = request(mm, other);
        }
        Ok(())
    }

    fn map(&mut self, id: MappingId) {
        let mapping = &self.scenario[id];
        let backing = match Memory::of(self.scenario, id) {
            Memory::Object { object, shared } => Backing::Object {
                mapping: self.objects[object],
                pgoff: PageIndex(0),
                sharing: if shared {
                    Sharing::Shared
                } else {
                    Sharing::Private
                },
            },
            Memory::Anonymous => Backing::Anonymous,
        };
        // If the range is in use, then by itself.
        let _ = mmap::mmap(self.mms[mapping.mm.index()], self.pages_of(id), backing);
    }

    fn register(&mut self, id: MappingId, asked: UffdModes) -> Result<(), UffdError> {
        let mm = self.mms[self.scenario[id].mm.index()];
        if let Some(before) = self.uffds[id.index()].take() {
            userfault::close(mm, before);
        }
        let features = Features {
            sigbus: asked.has(UffdMode::Sigbus),
            wp_async: asked.has(UffdMode::WpAsync),
            ..Features::default()
        };
        let new = Userfaultfd::new(mm, features);
        self.uffds[id.index()] = Some(new);
        let modes = Modes {
            missing: asked.has(UffdMode::Missing),
            minor: asked.has(UffdMode::Minor),
            wp: asked.has(UffdMode::Wp),
        };
        userfault::register(mm, self.pages_of(id), new, modes)
    }

    fn observe(&self, given: Option<Seen>) -> Observed {
        let mut maps = HashMap::new();
        let looks: Vec<Vec<(usize, Pte)>> = (0..self.mms.len())
            .map(|mm| self.entries(mm, &mut maps))
            .collect();
        let spaces = looks.iter().enumerate();
        Observed {
            given,
            spaces: spaces
                .map(|(mm, entries)| self.living[mm].then(|| self.space(mm, entries, &maps)))
                .collect(),
            objects: (0..self.objects.len()).map(|id| self.cache(id)).collect(),
        }
    }

    /// The entries of all pages of an address space that has any; counts who maps which frame.
    fn entries(&self, mm: usize, maps: &mut HashMap<Pfn, u32>) -> Vec<(usize, Pte)> {
        let mut found = Vec::new();
        for (id, _) in self.scenario.mappings_of(MmId::new(mm)) {
            let range = self.pages_of(id);
            let mut page = range.start.page();
            while page < range.end.page() {
                let (entry, whole) = entry_of(self.mms[mm], page);
                // Where there is no table, there is none for the next ones.
                let next = match whole {
                    Some(_) => (page / HUGE + 1) * HUGE,
                    None => page + 1,
                };
                for page in page..next.min(range.end.page()) {
                    let pte = small(entry, whole, page);
                    if pte.is_none() {
                        continue;
                    }
                    if pte.is_page() {
                        *maps.entry(pte.pfn()).or_default() += 1;
                    }
                    found.push(((page - START) as usize, pte));
                }
                page = next;
            }
        }
        found
    }

    fn space(&self, mm: usize, entries: &[(usize, Pte)], maps: &HashMap<Pfn, u32>) -> Space {
        let mut space = Space {
            joinable: has_joinable(self.mms[mm]),
            ..Space::default()
        };
        for (page, pte) in entries {
            let (_, whole) = entry_of(self.mms[mm], START + *page as u64);
            let huge = whole.filter(|whole| whole.is_huge()).map(Pte::pfn);
            observe::push(&mut space.runs, *page, state_of(*pte, huge, maps));
        }
        for (id, _) in self.scenario.mappings_of(MmId::new(mm)) {
            for page in 0..self.scenario.pages(id) {
                let address = self.address(MappingPage { mapping: id, page });
                let (entry, whole) = entry_of(self.mms[mm], address.page());
                let pte = small(entry, whole, address.page());
                if pte.is_page() {
                    space.contents.push(Content {
                        of: id.index(),
                        page,
                        value: Host::page(pte.pfn())[0].read_once(),
                    });
                }
            }
        }
        space
    }

    fn cache(&self, id: usize) -> Cache {
        let object = self.objects[id];
        let size = object.pages_protected() as usize;
        let mut cache = Cache {
            size,
            ..Cache::default()
        };
        let frame = |index: usize| match object.load_protected(PageIndex(index as u64)) {
            Entry::Folio(folio) => {
                let first = Host::frame(folio.pfn()).folio_head();
                let offset = if Host::frame(first).is_huge() {
                    index % PTRS_PER_TABLE
                } else {
                    0
                };
                Some(first.add(offset))
            }
            _ => None,
        };
        for index in 0..size {
            let state = if frame(index).is_some() {
                observe::PRESENT
            } else {
                0
            };
            observe::push(&mut cache.runs, index, state);
        }
        for page in 0..self.scenario.objects[id].pages() {
            let index = self.spread.representative(page);
            if let Some(pfn) = (index < size).then(|| frame(index)).flatten() {
                cache.contents.push(Content {
                    of: id,
                    page,
                    value: Host::page(pfn)[0].read_once(),
                });
            }
        }
        cache
    }

    fn pages_of(&self, id: MappingId) -> AddrRange {
        let pages = self.scenario.pages(id);
        range_of(self.spread.range(self.slots[id.index()], 0, pages))
    }

    fn range(&self, range: MappingRange) -> AddrRange {
        let (first, pages) = self.scenario.pages_of(range);
        let slot = self.slots[range.mapping.index()];
        range_of(self.spread.range(slot, first, pages))
    }

    fn group(&self, page: MappingPage) -> AddrRange {
        range_of(
            self.spread
                .group(self.slots[page.mapping.index()], page.page),
        )
    }

    fn address(&self, page: MappingPage) -> VirtAddr {
        let slot = self.slots[page.mapping.index()];
        VirtAddr(self.spread.address(slot, page.page).get() as u64)
    }
}

/// Small pages in a huge one.
const HUGE: u64 = PTRS_PER_TABLE as u64;

/// The first page of the region.
const START: u64 = (REGION.start / PAGE) as u64;

fn range_of(pages: Pages) -> AddrRange {
    let start = VirtAddr(pages.start.get() as u64);
    AddrRange::pages(start, (pages.bytes / PAGE) as u64)
}

/// The entry of a page; or, where no table is, the upper entry.
fn entry_of(mm: Process, page: u64) -> (Pte, Option<Pte>) {
    let read = |table: Pfn, level: u32| {
        let index = (page as usize / PTRS_PER_TABLE.pow(level)) % PTRS_PER_TABLE;
        HostFormat::decode(Host::entry(table, index).read_once(), level)
    };
    let mut table = mm.root();
    for level in (PMD_LEVEL..HostFormat::levels()).rev() {
        let pte = read(table, level);
        if pte.is_huge() {
            return (Pte::NONE, Some(pte));
        }
        if !pte.is_table() {
            return (Pte::NONE, Some(Pte::NONE));
        }
        table = pte.pfn();
    }
    (read(table, PTE_LEVEL), None)
}

/// The entry of a small page, given what [`entry_of`] found.
fn small(entry: Pte, whole: Option<Pte>, page: u64) -> Pte {
    whole
        .filter(|whole| whole.is_huge())
        .map_or(entry, |huge| huge.piece((page % HUGE) as usize))
}

/// What an entry says, of whose huge page, if it is of one, `huge` is the first frame.
///
/// Linux says of all pages of a huge entry whether the *first* one is mapped by nobody else.
fn state_of(pte: Pte, huge: Option<Pfn>, maps: &HashMap<Pfn, u32>) -> State {
    let mut state = if huge.is_some() { observe::HUGE } else { 0 };
    let counted = huge.unwrap_or(pte.pfn());
    if pte.is_page() {
        state |= observe::PRESENT;
        if pte.pfn() == Host::zero_page() {
            state |= observe::ZERO;
        } else {
            let folio = Host::frame(pte.pfn()).folio_head();
            if !Host::frame(folio).is_anon() {
                state |= observe::OF_OBJECT;
            }
            if maps.get(&counted) == Some(&1) {
                state |= observe::EXCLUSIVE;
            }
        }
        if pte.is_uffd_wp() {
            state |= observe::UFFD_WP;
        }
    }
    state |= match pte.as_marker() {
        Some(Marker::UffdWp) => observe::UFFD_WP,
        Some(Marker::Poison) => observe::POISON,
        Some(Marker::Guard) => observe::GUARD,
        None => 0,
    };
    if let Some(swap) = pte.as_swap() {
        state |= observe::SWAPPED;
        if swap.uffd_wp {
            state |= observe::UFFD_WP;
        }
    }
    state
}

/// Whether two mappings that follow on each other are alike. Whether they have private pages in common, which Linux asks
/// for as well, is not looked at.
fn has_joinable(mm: Process) -> bool {
    // Before 6.19 Linux has no such flag, and then it does not keep mappings apart.
    let flags = |vma: Ref<Host, Vma<Host>>| vma.flags_protected() & !VM_MAYBE_GUARD;
    mm.vmas_protected()
        .zip(mm.vmas_protected().skip(1))
        .any(|(first, second)| {
            let pages = first.range.end.page() - first.range.start.page();
            let follows = first.mapping.is_none() || first.pgoff.add(pages) == second.pgoff;
            first.range.end == second.range.start
                && first.mapping == second.mapping
                && follows
                && flags(first) == flags(second)
        })
}

fn status(result: Result<(), &'static str>) -> Seen {
    match result {
        Ok(()) => Seen::Number(0),
        Err(name) => Seen::Word(name.to_owned()),
    }
}

fn uffd(result: Result<(), UffdError>) -> Seen {
    status(result.map_err(UffdError::errno))
}

fn symbol_of(error: &FaultError<Host>) -> Symbol {
    match error {
        FaultError::SigSegv => Symbol::SIGSEGV,
        FaultError::SigBus => Symbol::SIGBUS,
        FaultError::HwPoison => Symbol::HWPOISON,
        FaultError::OutOfMemory => Symbol::ENOMEM,
        FaultError::Userfault(..) | FaultError::NeedsMmapLock => {
            unreachable!("`handle_user_fault` does not return these")
        }
    }
}

fn pin_error(error: &FaultError<Host>) -> Seen {
    status(Err(match error {
        FaultError::OutOfMemory => "ENOMEM",
        _ => "EFAULT",
    }))
}
