//! What is done on behalf of no process, by one that is outside of the scenario's.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use linux_raw_sys::general::{MADV_COLLAPSE, MADV_PAGEOUT};
use pagefold_litmus::{Limit, MappingId, MappingPage, ObjectId, Scope};
use rustix::io::Errno;

use super::{Moment, Who};
use crate::board::Task;
use crate::sys::memory;
use crate::worker::Context;
use crate::{khugepaged, limits};

/// How long a process may take to say what its memory is for, and how often is looked whether it is gone.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(5);

impl Who<'_> {
    /// Collapses an object, by a mapping of which nobody else knows.
    pub(super) fn collapse_object(self, object: ObjectId) -> Result<(), Errno> {
        let result = memory::madvise(self.context.pages_of_object(object), MADV_COLLAPSE);
        self.note_disturbed(result);
        result
    }

    /// Has khugepaged scan address spaces. What was in the scope of a scan before is scanned again.
    ///
    /// It only tries the `mmap_lock` of a process, and passes by one that has it taken; so where others run meanwhile, that it did
    /// nothing means nothing.
    pub(super) fn scan(self, scope: Scope, limits: [Limit; 3]) -> Result<u64, Errno> {
        let Context { program, board, .. } = self.context;
        if program.scenario.threads.len() > 1 {
            board.disturbed.store(1, Relaxed);
        }
        let mms = 0..program.scenario.mms.len();
        for worker in mms.filter(|mm| scope.0.is_none_or(|wanted| wanted.index() == *mm)) {
            self.advise(worker)?;
        }
        let limits = limits::real(program.scenario, &board.spread, limits);
        khugepaged::scan(limits)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::TIME))
    }

    /// Has a process say that its memory may become huge, unless it is gone.
    fn advise(self, worker: usize) -> Result<(), Errno> {
        let Context { program, board, .. } = self.context;
        let desk = &board.desks[worker];
        let users = program.threads_of(worker).count();
        let is_gone = || users > 0 && desk.exited.load(Relaxed) as usize == users;
        // Nobody else asks it for anything while the race is on.
        let number = desk.ask(&[Task::Advise]);
        let begin = Instant::now();
        while !is_gone() && !desk.answered(number, LOOK) {
            if begin.elapsed() > PATIENCE {
                return Err(Errno::SRCH);
            }
        }
        Ok(())
    }

    /// Has a page moved out, and with it the rest of its group.
    pub(super) fn reclaim(self, page: MappingPage) {
        let mm = self.context.program.scenario[page.mapping].mm;
        let Ok(process) = self.context.board.process(mm) else {
            // There is nothing to move out any more.
            return;
        };
        let pages = self.group(page);
        let madvise = |pages, advice| process.madvise(pages, advice);
        if self.moment == Moment::Setup {
            memory::lru_add_drain_all(pages, madvise);
        }
        // How much of it that moved out, no result says.
        let _ = madvise(pages, MADV_PAGEOUT);
    }

    /// Collapses the mappings of others; how many of them are huge then.
    pub(super) fn scan_by_madvise(self, scope: Scope) -> u64 {
        let mappings = self.context.program.scenario.mappings.iter().enumerate();
        let wanted = mappings.filter(|(_, mapping)| scope.0.is_none_or(|mm| mm == mapping.mm));
        let huge = wanted.filter(|(index, mapping)| {
            let pages = self.context.pages_of(MappingId::new(*index));
            let result = self
                .context
                .board
                .process(mapping.mm)
                .and_then(|process| process.madvise(pages, MADV_COLLAPSE));
            self.note_disturbed(result);
            result.is_ok()
        });
        huge.count() as u64
    }
}
