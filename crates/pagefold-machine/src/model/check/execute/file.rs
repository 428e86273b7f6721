//! What changes an object as a whole.

use pagefold::truncate;
use pagefold_litmus::{ObjectId, ObjectPage, Value};

use super::{Session, Who, status};

impl Session<'_> {
    #[expect(clippy::unused_self, reason = "as all calls are called")]
    pub(super) fn truncate(&self, who: Who<'_>, object: ObjectId, pages: u64) -> Value {
        let result = truncate::truncate(who.machine.object(object), pages);
        status(result.map_err(|_| "EINVAL"))
    }

    #[expect(clippy::unused_self, reason = "as all calls are called")]
    pub(super) fn fallocate_punch(&self, who: Who<'_>, page: ObjectPage) -> Value {
        let index = page.page as u64;
        truncate::punch_hole(who.machine.object(page.object), index..index + 1);
        Value::SUCCESS
    }
}
