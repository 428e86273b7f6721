//! What can be seen of page tables from outside: `/proc/self/pagemap`, `smaps` and `status`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;

use pagefold_litmus::{Call, MappingId, MappingPage, MmId, Statement, StatementKind};
use rustix::io::Errno;

use crate::board::Given;
use crate::execute::{self, Moment};
use crate::processor::Processor;
use crate::sys::memory::{self, PAGE};
use crate::sys::{Address, access};
use crate::worker::Context;

/// The entry of a page in `pagemap`: the frame, and bits for its state.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    fn of(address: Address) -> Self {
        let mut bytes = [0; 8];
        let at = (address.get() / PAGE * size_of::<u64>()) as u64;
        let read =
            File::open("/proc/self/pagemap").and_then(|file| file.read_exact_at(&mut bytes, at));
        read.expect("a process can read its own page map");
        Self(u64::from_ne_bytes(bytes))
    }

    fn is_present(self) -> bool {
        self.0 >> 63 & 1 != 0
    }

    fn is_uffd_wp(self) -> bool {
        self.0 >> 57 & 1 != 0
    }

    fn is_swapped(self) -> bool {
        self.0 >> 62 & 1 != 0
    }

    fn is_of_object(self) -> bool {
        self.0 >> 61 & 1 != 0
    }

    fn frame(self) -> u64 {
        self.0 & ((1 << 55) - 1)
    }
}

/// What `/proc/kpageflags` says of a frame.
#[derive(Clone, Copy)]
struct Flags(u64);

impl Flags {
    fn of(frame: u64) -> Self {
        Self(look_up("/proc/kpageflags", frame))
    }

    /// It is the page of zeros, or a part of the huge one. (`KPF_ZERO_PAGE`)
    fn is_zeros(self) -> bool {
        self.0 >> 24 & 1 != 0
    }

    /// It is a part of a huge page. (`KPF_THP`)
    fn is_huge(self) -> bool {
        self.0 >> 22 & 1 != 0
    }
}

/// The number of a frame in one of the files that have one for each.
fn look_up(file: &str, frame: u64) -> u64 {
    let mut bytes = [0; 8];
    let read = File::open(file)
        .and_then(|file| file.read_exact_at(&mut bytes, frame * size_of::<u64>() as u64));
    read.expect("root can read what there is to know of frames");
    u64::from_ne_bytes(bytes)
}

/// The frame of the page of zeros, which is no one's and is not counted.
pub(crate) fn zero_page() -> Result<u64, Errno> {
    let address = Address::new(0);
    let page = memory::Pages::one(address);
    memory::mmap(page, memory::Source::Anonymous)?;
    let _ = access::load(address);
    let frame = Entry::of(address).frame();
    memory::munmap(page)?;
    Ok(frame)
}

/// Looks of an iteration, some of which are understood only at its end.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    tables: Vec<Tables>,
}

/// The size of all page tables, when one was looked for.
#[derive(Debug)]
struct Tables {
    register: Option<usize>,
    kib: u64,
    /// If the mapping is mapped whole, the table is one that is kept in store.
    in_store: bool,
}

impl Looks {
    /// Runs the statements of a `final`.
    pub(crate) fn run(&mut self, context: &Context<'_>, worker: usize, body: &[Statement]) {
        for statement in body {
            let StatementKind::Call { result, call } = &statement.kind else {
                let _ = execute::run(context, &Processor::Own, Moment::Final, statement);
                continue;
            };
            let register = result.map(|register| register.index());
            let number = match call {
                Call::PmdMapped(mapping) => pmd_mapped(context, *mapping).into(),
                Call::UffdWp(page) => entry(context, *page).is_uffd_wp().into(),
                Call::Swapped(page) => entry(context, *page).is_swapped().into(),
                Call::Rss => rss(context, worker),
                Call::RmapWalkAnon(page) => {
                    let given = mapped_by(context, *page);
                    if let Some(register) = register {
                        context.board.set(register, given);
                    }
                    continue;
                }
                Call::PageTable(mapping) => {
                    match self.page_table(context, register, worker, *mapping) {
                        Some(there) => there.into(),
                        None => continue,
                    }
                }
                _ => {
                    let _ = execute::run(context, &Processor::Own, Moment::Final, statement);
                    continue;
                }
            };
            if let Some(register) = register {
                context.board.set(register, Given::Number(number));
            }
        }
    }

    /// Says what is known when everything has been taken away.
    pub(crate) fn settle(&mut self, context: &Context<'_>) {
        let kib = page_tables();
        for look in self.tables.drain(..) {
            let there = look.kib > kib && !look.in_store;
            if let Some(register) = look.register {
                context.board.set(register, Given::Number(there.into()));
            }
        }
    }

    /// Whether a mapping has a page table. If the process maps nothing else, that is known when it maps nothing any
    /// more. Otherwise it is found out by giving the mapping up.
    fn page_table(
        &mut self,
        context: &Context<'_>,
        register: Option<usize>,
        worker: usize,
        mapping: MappingId,
    ) -> Option<bool> {
        let in_store = pmd_mapped(context, mapping);
        let kib = page_tables();
        let scenario = context.program.scenario;
        if scenario.mappings_of(MmId::new(worker)).count() == 1 {
            self.tables.push(Tables {
                register,
                kib,
                in_store,
            });
            return None;
        }
        let _ = memory::munmap(context.pages_of(mapping));
        Some(page_tables() < kib && !in_store)
    }
}

fn entry(context: &Context<'_>, page: MappingPage) -> Entry {
    let slot = context.program.slots[page.mapping.index()];
    Entry::of(context.board.spread.address(slot, page.page))
}

/// How many entries map the private page at an address.
fn mapped_by(context: &Context<'_>, page: MappingPage) -> Given {
    let entry = entry(context, page);
    let frame = entry.frame();
    if !entry.is_present() || entry.is_of_object() || Flags::of(frame).is_zeros() {
        return Given::Errno(Errno::NOENT);
    }
    Given::Number(look_up("/proc/kpagecount", frame))
}

/// The representatives that are mapped to something of their own.
fn rss(context: &Context<'_>, worker: usize) -> u64 {
    let scenario = context.program.scenario;
    let mut pages = 0;
    for (mapping, _) in scenario.mappings_of(MmId::new(worker)) {
        for page in 0..scenario.pages(mapping) {
            let entry = entry(context, MappingPage { mapping, page });
            pages += u64::from(entry.is_present() && !Flags::of(entry.frame()).is_zeros());
        }
    }
    pages
}

/// Whether a mapping, which is not larger than that, is mapped by a huge page.
///
/// The mappings of scenarios come before most others, so most of `smaps` is not asked for, which takes long.
fn pmd_mapped(context: &Context<'_>, mapping: MappingId) -> bool {
    let start = context.pages_of(mapping).start.get();
    // `smaps` does not count the huge page of zeros.
    let first = Entry::of(context.pages_of(mapping).start);
    if first.is_present() {
        let flags = Flags::of(first.frame());
        if flags.is_zeros() && flags.is_huge() {
            return true;
        }
    }
    let smaps = File::open("/proc/self/smaps").expect("a process can read its own maps");
    let mut here = false;
    for line in BufReader::with_capacity(PAGE, smaps).lines() {
        let line = line.expect("a process can read its own maps");
        if let Some((first, _)) = line.split_once('-')
            && let Ok(first) = usize::from_str_radix(first, 16)
        {
            if first > start {
                return false;
            }
            here = first == start;
            continue;
        }
        let whole = ["AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"];
        let is_whole = whole
            .iter()
            .any(|name| line.strip_prefix(name).is_some_and(|rest| kib(rest) > 0));
        if here && is_whole {
            return true;
        }
    }
    false
}

/// The size of all page tables of the process.
fn page_tables() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process can read its own state");
    let mut sizes = status
        .lines()
        .filter_map(|line| line.strip_prefix("VmPTE:"));
    sizes.next().map_or(0, kib)
}

fn kib(field: &str) -> u64 {
    let number = field.trim().trim_end_matches(" kB");
    number.parse().unwrap_or(0)
}
