//! What is done on behalf of no process, by one that is outside of the scenario's.

use linux_raw_sys::general::MADV_COLLAPSE;
use pagefold_litmus::{MappingId, ObjectId, Scope};
use rustix::io::Errno;

use super::Who;
use crate::sys::memory;

impl Who<'_> {
    /// Collapses an object, by a mapping of which nobody else knows.
    pub(super) fn collapse_object(self, object: ObjectId) -> Result<(), Errno> {
        let result = memory::madvise(self.context.pages_of_object(object), MADV_COLLAPSE);
        self.note_disturbed(result);
        result
    }

    /// Collapses the mappings of others; how many of them are huge then.
    pub(super) fn scan(self, scope: Scope) -> u64 {
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
