//! Monitors: who waits for the events of an address space, and answers them.
//!
//! They are threads of a process outside of the scenario's, so that they neither keep an address space nor are copied with it. It takes the
//! userfaultfds over when the race begins; those of children come with the events of forks.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use pagefold_litmus::{Actor, Created, MappingId, MappingPage, MmId};
use rustix::io::Errno;

use super::Who;
use crate::board::Given;
use crate::geometry;
use crate::sys::memory::Pages;
use crate::sys::uffd::{Event, Message, Userfaultfd};
use crate::worker::Context;

/// Gets the userfaultfds of address spaces that are monitored.
pub(crate) fn take_over(context: &Context<'_>) -> Result<(), Errno> {
    let scenario = context.program.scenario;
    for (index, mapping) in scenario.mappings.iter().enumerate() {
        let from_start = mapping.created == Created::Start && mapping.uffd.is_some();
        if from_start && context.program.is_monitored(mapping.mm) {
            let process = context.board.process(mapping.mm)?;
            let number = context.board.uffds[index].load(Relaxed);
            context.uffds[index].put(process.file(number)?);
        }
    }
    Ok(())
}

/// The monitor of a process that is forked in the race begins when that is heard of; or when nobody is left to fork it.
pub(crate) fn wait_for_process(context: &Context<'_>, thread: usize) {
    let scenario = context.program.scenario;
    let Actor::Monitor(mm) = scenario.threads[thread].actor else {
        return;
    };
    if !context.program.joins_late(mm.index()) {
        return;
    }
    let heard_of = || {
        let mut mappings = scenario.mappings_of(mm);
        mappings.any(|(mapping, _)| context.uffds[mapping.index()].is_open())
    };
    while !heard_of() && !context.board.racers_ended() {
        thread::yield_now();
    }
}

impl Who<'_> {
    /// The page of the next event.
    pub(super) fn uffd_read(self, mapping: MappingId) -> Given {
        match self.next_message(mapping) {
            Ok(message) => self.number_of_page(mapping, message),
            Err(error) => Given::Errno(error),
        }
    }

    /// As `uffd_read`, and does what a monitor does then.
    pub(super) fn uffd_answer(self, mapping: MappingId, value: u64) -> Given {
        let message = match self.next_message(mapping) {
            Ok(message) => message,
            Err(error) => return Given::Errno(error),
        };
        let uffd = &self.context.uffds[mapping.index()];
        if let Some(page) = self.page_at(mapping, message.address) {
            match message.event {
                Event::Missing => {
                    self.answer(page, message, |pages| uffd.copy(pages, value, false))
                }
                Event::Minor => {
                    self.answer(page, message, |pages| uffd.continue_pages(pages, false))
                }
                Event::WriteProtected => {
                    while uffd.writeprotect(self.group(page), false) == Err(Errno::AGAIN) {}
                }
                Event::Fork(_) | Event::Change => {}
            }
        }
        self.number_of_page(mapping, message)
    }

    /// Fills the group of a page, last the page that somebody waits for, again and again if the layout is changing: that may be until
    /// another monitor has read of it.
    fn answer(
        self,
        page: MappingPage,
        message: Message,
        request: impl Fn(Pages) -> Result<(), (Errno, usize)>,
    ) {
        let Some(address) = geometry::address(message.address) else {
            return;
        };
        loop {
            self.fill_others(page, &request);
            if !matches!(request(Pages::one(address)), Err((Errno::AGAIN, _))) {
                return;
            }
            thread::yield_now();
        }
    }

    /// The next message of the userfaultfd of a mapping; EINTR if none can come any more.
    fn next_message(self, mapping: MappingId) -> Result<Message, Errno> {
        let Context {
            uffds,
            board,
            hang_up,
            ..
        } = self.context;
        let uffd = &uffds[mapping.index()];
        if !uffd.is_open() {
            return Err(Errno::INVAL);
        }
        loop {
            let ended = board.racers_ended();
            if let Some(message) = uffd.read() {
                self.note_child(mapping, message);
                return Ok(message);
            }
            if ended || !uffd.is_open() {
                return Err(Errno::INTR);
            }
            uffd.wait(hang_up);
        }
    }

    /// A child has its own userfaultfd for what its parent calls `mapping`.
    fn note_child(self, mapping: MappingId, message: Message) {
        let Event::Fork(number) = message.event else {
            return;
        };
        let uffds = &self.context.uffds;
        let mappings = self.context.program.scenario.mappings.iter().enumerate();
        let mut copies = mappings.filter(|(_, copy)| copy.created == Created::Fork(mapping));
        match copies.find(|(copy, _)| !uffds[*copy].is_open()) {
            Some((copy, _)) => uffds[copy].put(number),
            None => Userfaultfd::default().put(number),
        }
    }

    fn number_of_page(self, mapping: MappingId, message: Message) -> Given {
        let page = match message.event {
            Event::Fork(_) => Some(0),
            _ => self.page_at(mapping, message.address).map(|page| page.page),
        };
        page.map_or(Given::Errno(Errno::FAULT), |page| {
            Given::Number(page as u64)
        })
    }

    /// The page of the scenario at an address, in the address space of a mapping.
    fn page_at(self, near: MappingId, address: u64) -> Option<MappingPage> {
        let program = self.context.program;
        let mm: MmId = program.scenario[near].mm;
        let (slot, real) = geometry::place(address)?;
        let mut mappings = program.scenario.mappings_of(mm).map(|(id, _)| id);
        let mapping = mappings.find(|id| program.slots[id.index()] == slot)?;
        let spread = &self.context.board.spread;
        let pages = program.scenario.pages(mapping);
        let page = (0..pages).find(|page| spread.group_start(page + 1) > real)?;
        Some(MappingPage { mapping, page })
    }
}
