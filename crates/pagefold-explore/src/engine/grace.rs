//! Read sections and grace periods.
//!
//! **The rule.** Let `c` be a call that asks for a grace period, `g` the event that ends the wait,
//! and `S` a read section. `g` waits for `S` unless `c` happens before the start of `S`. A real
//! grace period waits for every section that is open when it starts, and it starts at `c` or
//! later. A section that starts after `c` in time, but not by happens-before, is one that could as
//! well have been open; it is waited for here and perhaps not in reality. So a grace period of
//! ours is never shorter than a real one.
//!
//! **Sections float.** Entering and leaving a section are not events. A section begins with the
//! first event executed in it and ends with the last. Before its first event a thread may be
//! anywhere, so taking the latest place loses nothing: a section without an event protects nothing.
//! The clock at the start is that of the event before the first: what the thread knew when it
//! entered.
//!
//! **Dependence.** `g` and a section `S` with `c` not before its start behave like a lock: `S`
//! shares it from its first to its last event, `g` takes it exclusively for a moment. As with
//! locks (see [`super::race`]):
//!
//! * the last event of `S` happens before a later `g`, and this pair cannot be reversed, as `g` is
//!   disabled until then;
//! * the first event of `S` and a later `g` can be reversed: `g` may run before `S` begins. The
//!   choice to add is before the *first* event of `S`, for from then on `g` is disabled;
//! * `g` and a later first event of such an `S` depend on each other in the plain sense: `S` may
//!   begin first and delay `g`.
//!
//! If `c` happens before the start of `S`, the two commute, and there is nothing to reverse. This
//! is the usual case of a correct program: whoever enters later sees that the object is gone.

use super::Engine;
use super::op::Kind;
use super::threads::ThreadNumber;

/// A read section that has at least one event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// Who is in it.
    pub(crate) thread: ThreadNumber,
    /// Its first event.
    pub(crate) first: u32,
    /// Its last event, once it is left.
    pub(crate) last: Option<u32>,
}

impl Engine {
    /// Whether a grace period asked for by event `call` does not wait for `section`.
    pub(crate) fn starts_after(&self, section: &Section, call: usize) -> bool {
        if let Some(knows) = self.section_knows(section.first, call) {
            return knows;
        }
        match self
            .log
            .event(section.first as usize)
            .previous_of_thread
            .checked_sub(1)
        {
            Some(before) => self.log.happens_before(call, before as usize),
            None => false,
        }
    }

    /// Whether the grace period asked for by event `call` is over.
    pub(crate) fn grace_is_over(&self, call: usize) -> bool {
        self.sections
            .iter()
            .all(|section| section.last.is_some() || self.starts_after(section, call))
    }

    /// The first events of all read sections.
    pub(crate) fn section_starts(&self) -> impl Iterator<Item = usize> + '_ {
        self.sections.iter().map(|section| section.first as usize)
    }

    /// Whether any thread is in a read section.
    pub(crate) fn has_open_section(&self) -> bool {
        self.sections.iter().any(|section| section.last.is_none())
    }

    /// Whether the pending operation of `thread` is the first one of a read section.
    pub(crate) fn begins_section(&self, thread: usize) -> bool {
        let reading = &self.slots[thread].reading;
        reading.depth > 0 && reading.section.is_none()
    }

    /// Whether the pending operation of `thread`, if it begins a read section, begins one for which
    /// the grace period event `grace` would have waited.
    pub(crate) fn would_delay(&self, thread: usize, grace: usize) -> bool {
        let call = self.call_of(grace);
        if let Some(knows) = self.thread_knows(thread, call) {
            return !knows;
        }
        match self.slots[thread].last.checked_sub(1) {
            Some(before) => !self.log.happens_before(call, before as usize),
            None => true,
        }
    }

    /// The call that asked for the grace period which event `grace` waited for.
    pub(crate) fn call_of(&self, grace: usize) -> usize {
        debug_assert_eq!(self.log.event(grace).kind, Kind::GracePeriod);
        usize::try_from(self.log.event(grace).before).expect("an index of the log")
    }

    /// The section which event `index` begins, if it does.
    pub(crate) fn section_begun_by(&self, index: usize) -> Option<&Section> {
        self.sections
            .iter()
            .rev()
            .find(|section| section.first as usize == index)
    }

    /// The thread enters a read section.
    pub(crate) fn read_lock(&mut self) {
        self.slots[self.current].reading.depth += 1;
    }

    /// The thread leaves a read section; `false` if it is in none.
    pub(crate) fn read_unlock(&mut self) -> bool {
        let slot = &mut self.slots[self.current];
        if slot.reading.depth == 0 {
            return false;
        }
        slot.reading.depth -= 1;
        if slot.reading.depth == 0
            && let Some(section) = slot.reading.section.take()
        {
            self.sections[section as usize].last = slot.last.checked_sub(1);
            self.leave_section_view(section);
        }
        true
    }
}
