//! What changes an object as a whole.

use pagefold::truncate;
use pagefold_litmus::{ObjectId, ObjectPage, Value};

use super::{Who, status};

pub(super) fn truncate(who: Who<'_>, object: ObjectId, pages: u64) -> Value {
    let result = truncate::truncate(who.machine.object(object), pages);
    status(result.map_err(|_| "EINVAL"))
}

pub(super) fn fallocate_punch(who: Who<'_>, page: ObjectPage) -> Value {
    let index = page.page as u64;
    truncate::punch_hole(who.machine.object(page.object), index..index + 1);
    Value::SUCCESS
}
