//! What is known in read sections, and after grace periods.
//!
//! A grace period takes over the views at the end of the sections that it waited for. A section that begins later and does not know
//! of the call takes over that of the grace period. Whether a section begins after a call is judged by happens-before of this model, and
//! not by that of the interleaving.

use crate::engine::Engine;
use crate::engine::memory::Model;
use crate::engine::memory::view::View;
use crate::engine::op::{Kind, Op};

/// The state of a read section.
#[derive(Debug)]
pub(super) struct SectionView {
    start: View,
    end: View,
}

impl Engine {
    /// `thread` is about to begin a read section: it knows of the grace periods that it would have
    /// delayed, as it begins after their end.
    pub(super) fn enter_section(&mut self, thread: usize) {
        let step = self.step;
        let ended: Vec<_> = (self.log.graces.iter().copied())
            .filter(|&grace| grace < step && self.would_delay(thread, grace as usize))
            .collect();
        let Model::Ra(ra) = &mut self.memory else {
            return;
        };
        ra.threads[thread].outside = Some(ra.threads[thread].now.clone());
        for grace in ended {
            let view = ra.graces.iter().find(|&&(event, _)| event == grace);
            let view = view.map(|(_, view)| view.clone()).unwrap_or_default();
            ra.take_over(thread, &view);
        }
    }

    /// Notes the view of `thread` before the section that it has begun, if it has just done so.
    pub(super) fn section_view(&mut self, thread: usize, section: usize) {
        if let Model::Ra(ra) = &mut self.memory
            && section >= ra.sections.len()
            && let Some(start) = ra.threads[thread].outside.take()
        {
            let end = View::default();
            ra.sections.push(SectionView { start, end });
        }
    }

    /// `thread` takes over the views of the sections that its grace period has waited for.
    pub(super) fn end_grace_period(&mut self, thread: usize, op: &Op, index: usize) {
        let call = usize::try_from(op.argument).expect("an index of the log");
        let waited: Vec<_> = (0..self.sections.len())
            .filter(|&section| {
                let section = &self.sections[section];
                (section.first as usize) < index && !self.starts_after(section, call)
            })
            .collect();
        if let Model::Ra(ra) = &mut self.memory {
            for section in waited {
                let end = ra.sections[section].end.clone();
                ra.take_over(thread, &end);
            }
        }
    }

    /// The current thread leaves a read section.
    pub(crate) fn leave_section_view(&mut self, section: u32) {
        let thread = self.current;
        if let Model::Ra(ra) = &mut self.memory {
            ra.sections[section as usize].end = ra.threads[thread].now.clone();
        }
    }

    /// Whether a section knows of a call when it begins, judged by views. `None` under models
    /// without.
    pub(crate) fn section_knows(&self, first: u32, call: usize) -> Option<bool> {
        let ra = self.memory.ra()?;
        let at = self
            .sections
            .binary_search_by_key(&first, |section| section.first);
        let (Ok(at), call) = (at, self.log.event(call)) else {
            return Some(false);
        };
        Some(
            ra.sections[at]
                .start
                .knows(usize::from(call.thread), call.seq),
        )
    }

    /// Whether `thread`, about to begin a section, knows of a call, judged by views. `None` under
    /// models without.
    pub(crate) fn thread_knows(&self, thread: usize, call: usize) -> Option<bool> {
        let ra = self.memory.ra()?;
        let mine = &ra.threads[thread];
        let call = self.log.event(call);
        let view = mine.outside.as_ref().unwrap_or(&mine.now);
        Some(view.knows(usize::from(call.thread), call.seq))
    }

    /// A use of an object in a range of addresses, by another thread, of which the current thread does not know.
    pub(crate) fn unknown_use(&self, start: usize, len: usize) -> Option<String> {
        let objects = self.objects.within(start, len);
        let mut uses = objects.flat_map(|object| self.log.chain(object, &self.objects));
        let (unknown, _) = uses.find(|&(event, _)| {
            // The end of a round of a retry loop is no access; giving a reference back comes before giving back the last one by
            // coherence, and what it orders besides is for the other uses to show.
            !matches!(self.log.event(event).kind, Kind::Relax | Kind::Put)
                && event < self.step as usize
                && usize::from(self.log.event(event).thread) != self.current
                && self.thread_knows(self.current, event) == Some(false)
        })?;
        let event = self.log.event(unknown);
        let who = &self.slots[usize::from(event.thread)].name;
        let what = self.name_of(event.object);
        Some(format!("{who} uses {what} at step {unknown}"))
    }
}
