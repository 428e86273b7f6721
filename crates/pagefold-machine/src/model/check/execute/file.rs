//! What changes an object as a whole.

use pagefold::addr::PageIndex;
use pagefold::filemap::{self, WriteError};
use pagefold::truncate;
use pagefold_explore as explore;
use pagefold_litmus::{ObjectId, ObjectPage, Value};

use super::{Who, status};
use crate::model::names;
use crate::model::world::World;

pub(super) fn truncate(who: Who<'_>, object: ObjectId, pages: u64) -> Value {
    let result = truncate::truncate(who.machine.object(object), pages);
    status(result.map_err(|_| "EINVAL"))
}

pub(super) fn fallocate_punch(who: Who<'_>, page: ObjectPage) -> Value {
    let index = page.page as u64;
    truncate::punch_hole(who.machine.object(page.object), index..index + 1);
    Value::SUCCESS
}

pub(super) fn open_write(who: Who<'_>, file: ObjectId) -> Value {
    status(filemap::open_write(who.machine.object(file)).map_err(|_| "EINVAL"))
}

pub(super) fn close_write(who: Who<'_>, file: ObjectId) -> Value {
    status(filemap::close_write(who.machine.object(file)).map_err(|_| "EBADF"))
}

pub(super) fn write(who: Who<'_>, page: ObjectPage, value: u64) -> Value {
    let object = who.machine.object(page.object);
    let result = filemap::write(object, PageIndex(page.page as u64), |pfn| {
        explore::label(|| {
            let name = names::object(object.id);
            format!("write {name}[{}] = {value} (frame {})", page.page, pfn.0)
        });
        World::current().write_object(page.object.index(), page.page, pfn, value);
    });
    status(result.map_err(|error| match error {
        WriteError::NotOpen => "EBADF",
        WriteError::Cache(_) => "ENOSPC",
    }))
}

pub(super) fn fsync(who: Who<'_>, file: ObjectId) -> Value {
    filemap::fsync(who.machine.object(file));
    Value::SUCCESS
}

pub(super) fn on_disk(who: Who<'_>, page: ObjectPage) -> Value {
    let index = PageIndex(page.page as u64);
    match who.machine.object(page.object).disk_page(index) {
        Some(page) => Value::Number(World::current().content(page).peek()),
        None => status(Err("EINVAL")),
    }
}
