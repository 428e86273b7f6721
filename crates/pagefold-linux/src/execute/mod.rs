//! What each statement of a scenario does on a real kernel.
//!
//! [`Who::call`] names each call once; what takes more than a system call stands in the module of its family.

mod file;
mod fill;
pub(crate) mod monitor;
mod outside;
mod pins;

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use linux_raw_sys::general as raw;
use pagefold_litmus::{
    Advice, Call, MappingPage, MappingRange, Permission, Protection, Statement, StatementKind,
};
use rustix::io::Errno;

use crate::board::Given;
use crate::events;
use crate::plan::modes;
use crate::processor::Processor;
use crate::sys::Address;
use crate::sys::access;
use crate::sys::memory::{self, PAGE, Pages};
use crate::sys::proc_mem;
use crate::sys::uffd::Userfaultfd;
use crate::worker::Context;

/// How often the set-up asks for a collapse that somebody else's reference prevents.
const TRIES: u32 = 100;

/// When a statement is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before the race, with nobody else.
    Setup,
    /// In the race.
    Race,
    /// After it, with nobody else.
    Final,
}

/// Runs statements of a thread, or of the process outside of the race, one after the other; breaks off when the thread has ended.
pub(crate) fn run_body(
    context: &Context<'_>,
    processor: &Processor<'_>,
    moment: Moment,
    body: &[Statement],
) -> ControlFlow<()> {
    body.iter()
        .try_for_each(|statement| run(context, processor, moment, statement))
}

/// Runs a statement.
pub(crate) fn run(
    context: &Context<'_>,
    processor: &Processor<'_>,
    moment: Moment,
    statement: &Statement,
) -> ControlFlow<()> {
    let who = Who { context, moment };
    match &statement.kind {
        StatementKind::Store { page, value } => {
            // What came instead is no result of a store.
            let store = |address| processor.store(address, *value);
            let _ = who.each(*page, raw::MADV_POPULATE_WRITE, store);
        }
        StatementKind::Load { result, page } => {
            let load = |address| processor.load(address);
            let given = match who.each(*page, raw::MADV_POPULATE_READ, load) {
                Ok(value) => Given::Number(value),
                Err(given) => given,
            };
            if let Some(register) = result {
                context.board.set(register.index(), given);
            }
        }
        StatementKind::Map(mapping) => {
            // If the range is in use, then by itself.
            let _ = context.map(*mapping);
        }
        StatementKind::Call {
            call: Call::Exit, ..
        } => return ControlFlow::Break(()),
        StatementKind::Call { result, call } => {
            let given = who.call(*call);
            if let Some(register) = result {
                context.board.set(register.index(), given);
            }
        }
        StatementKind::Repeat { times, body } => {
            for _ in 0..*times {
                run_body(context, processor, moment, body)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Who runs a statement.
#[derive(Clone, Copy)]
struct Who<'c> {
    context: &'c Context<'c>,
    moment: Moment,
}

impl<'c> Who<'c> {
    fn call(self, call: Call) -> Given {
        match call {
            Call::Madvise(range, advice) => self.madvise(range, advice).into(),
            Call::Munmap(range) => memory::munmap(self.range(range)).into(),
            Call::Mprotect(range, permission) => {
                let read = permission != Permission::None;
                let write = permission == Permission::ReadWrite;
                memory::mprotect(self.range(range), read, write).into()
            }
            Call::Mremap(from, to) => memory::mremap(self.range(from), self.range(to)).into(),
            Call::Fork(child) => self.context.fork(child, self.moment).into(),
            Call::UffdRegister(mapping, asked) => {
                let uffd = &self.context.uffds[mapping.index()];
                let asked = modes(asked);
                uffd.open(asked)
                    .and_then(|()| uffd.register(self.context.pages_of(mapping), asked))
                    .into()
            }
            Call::UffdUnregister(mapping) => {
                let uffd = self.uffd(mapping.index());
                uffd.unregister(self.context.pages_of(mapping)).into()
            }
            Call::UffdioCopy(page, value, mode) => self
                .fill(page, |uffd, pages| uffd.copy(pages, value, mode.0))
                .into(),
            Call::UffdioZeropage(page) => self.fill(page, Userfaultfd::zeropage).into(),
            Call::UffdioContinue(page, mode) => self
                .fill(page, |uffd, pages| uffd.continue_pages(pages, mode.0))
                .into(),
            Call::UffdioPoison(page) => self.fill(page, Userfaultfd::poison).into(),
            Call::UffdioWriteprotect(page, protection) => {
                let uffd = self.uffd(page.mapping.index());
                let protect = protection == Protection::Protect;
                uffd.writeprotect(self.group(page), protect).into()
            }
            Call::UffdClose(mapping) => {
                self.context.uffds[mapping.index()].close();
                Given::Number(0)
            }
            Call::UffdioMove(to, from, mode) => self.move_pages(to, from, mode.0).into(),
            Call::UffdRead(mapping) => self.uffd_read(mapping),
            Call::UffdAnswer(mapping, value) => self.uffd_answer(mapping, value),
            Call::Collapse(object) => self.collapse_object(object).into(),
            Call::Scan(scope, none, shared, swap) => {
                if self.context.by_khugepaged {
                    self.scan(scope, [none, shared, swap]).into()
                } else {
                    Given::Number(self.scan_by_madvise(scope))
                }
            }
            Call::Gup(page) => {
                let me = rustix::process::getpid();
                memory::read_pinned(me, self.address(page)).into()
            }
            Call::GupWrite(page, value) => memory::write_pinned(self.address(page), value).into(),
            Call::ProcMemRead(page) => match proc_mem::read(self.address(page)) {
                Ok(value) => Given::Number(value),
                Err(error) => Given::Errno(error),
            },
            Call::ProcMemWrite(page, value) => proc_mem::write(self.address(page), value).into(),
            Call::Mincore(page) => match memory::mincore(self.address(page)) {
                Ok(cached) => Given::Number(cached.into()),
                Err(error) => Given::Errno(error),
            },
            Call::Prefetch(page) => {
                access::prefetch(self.address(page));
                Given::Number(0)
            }
            Call::Truncate(object, pages) => self.truncate(object, pages).into(),
            Call::FallocatePunch(page) => self.punch(page).into(),
            Call::GupFast(page) => self.gup_fast(page).into(),
            Call::GupFastWrite(page, value) => self.gup_fast_write(page, value).into(),
            Call::Vmsplice(page) => self.vmsplice(page).into(),
            Call::Hold(page, how) => self.hold(page, how).into(),
            Call::ReadHeld(page) => self.read_held(page).into(),
            Call::WriteHeld(page, value) => self.write_held(page, value).into(),
            Call::LetGo(page) => self.let_go(page).into(),
            Call::OpenWrite(file) => self.open_write(file).into(),
            Call::CloseWrite(file) => self.close_write(file).into(),
            Call::Write(page, value) => self.write(page, value).into(),
            Call::Fsync(file) => self.fsync(file).into(),
            // How many pages that moved out, it does not say.
            Call::Reclaim(page) => {
                self.reclaim(page);
                Given::Unknown
            }
            Call::Exit
            | Call::RmapWalk(_)
            | Call::RmapWalkAnon(_)
            | Call::Migrate(_)
            | Call::Shrink(_)
            | Call::OomReap(_)
            | Call::Hwpoison(_)
            | Call::PageTable(_)
            | Call::PmdMapped(_)
            | Call::UffdWp(_)
            | Call::Swapped(_)
            | Call::OnDisk(_)
            | Call::Rss => unreachable!("`Program` refuses it, or it is only looked at"),
        }
    }

    fn madvise(self, range: MappingRange, advice: Advice) -> Result<(), Errno> {
        let number = match advice {
            Advice::Collapse => raw::MADV_COLLAPSE,
            Advice::DontNeed => raw::MADV_DONTNEED,
            Advice::Cold => raw::MADV_COLD,
            Advice::PageOut => raw::MADV_PAGEOUT,
            Advice::GuardInstall => raw::MADV_GUARD_INSTALL,
            Advice::GuardRemove => raw::MADV_GUARD_REMOVE,
            Advice::HugePage => raw::MADV_HUGEPAGE,
            Advice::NoHugePage => raw::MADV_NOHUGEPAGE,
            Advice::PopulateRead => raw::MADV_POPULATE_READ,
            Advice::PopulateWrite => raw::MADV_POPULATE_WRITE,
        };
        let pages = self.range(range);
        let traced = advice == Advice::Collapse && self.moment == Moment::Race;
        let marker = self.context.marker.filter(|_| traced);
        if let Some(marker) = marker {
            let mm = self.context.program.scenario[range.mapping].mm;
            events::mark(marker, &format!("{}{}", events::BEGIN, mm.index()));
        }
        if self.moment == Moment::Setup && matches!(advice, Advice::Cold | Advice::PageOut) {
            memory::lru_add_drain_all(pages, memory::madvise);
        }
        let mut result = memory::madvise(pages, number);
        if let Some(marker) = marker {
            events::mark(marker, events::END);
        }
        if self.moment == Moment::Setup && advice == Advice::Collapse {
            // Nobody of the scenario is in the way.
            for _ in 1..TRIES {
                if result != Err(Errno::AGAIN) {
                    break;
                }
                result = memory::madvise(pages, number);
            }
        }
        if advice == Advice::Collapse {
            self.note_disturbed(result);
        }
        result
    }

    /// Somebody's reference was in the way of a collapse.
    fn note_disturbed(self, result: Result<(), Errno>) {
        if result == Err(Errno::AGAIN) {
            self.context.board.disturbed.store(1, Relaxed);
        }
    }

    /// An access: to the representative, and, if that goes through, to the rest of its group where that matters. In the set-up, where
    /// nobody sees in which steps it comes to be, one call does for the rest what faults would.
    fn each<T>(
        self,
        page: MappingPage,
        populate: u32,
        access: impl Fn(Address) -> Result<T, Given>,
    ) -> Result<T, Given> {
        let value = access(self.address(page));
        let whole = match self.moment {
            Moment::Setup => !self.context.board.spread.is_sparse(),
            Moment::Race => self.context.program.whole(page.mapping),
            Moment::Final => false,
        };
        if whole && value.is_ok() {
            for part in self.others(page) {
                if self.moment == Moment::Setup {
                    // Where it stops, accesses go on.
                    let _ = memory::madvise(part, populate);
                }
                for at in (0..part.bytes).step_by(PAGE) {
                    let _ = access(part.start.add(at));
                }
            }
        }
        value
    }

    /// The pages of a group before and after its representative.
    fn others(self, page: MappingPage) -> impl Iterator<Item = Pages> {
        let group = self.group(page);
        let address = self.address(page);
        let before = address.get() - group.start.get();
        let after = group.bytes - before - PAGE;
        [
            (before > 0).then(|| Pages::new(group.start, before)),
            (after > 0).then(|| Pages::new(address.add(PAGE), after)),
        ]
        .into_iter()
        .flatten()
    }

    fn slot(self, mapping: usize) -> usize {
        self.context.program.slots[mapping]
    }

    fn address(self, page: MappingPage) -> Address {
        let slot = self.slot(page.mapping.index());
        self.context.board.spread.address(slot, page.page)
    }

    fn group(self, page: MappingPage) -> Pages {
        let slot = self.slot(page.mapping.index());
        self.context.board.spread.group(slot, page.page)
    }

    fn range(self, range: MappingRange) -> Pages {
        let (first, pages) = self.context.program.scenario.pages_of(range);
        let slot = self.slot(range.mapping.index());
        self.context.board.spread.range(slot, first, pages)
    }
}
