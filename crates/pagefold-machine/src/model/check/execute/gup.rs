//! Pages that are pinned and used through the pin.

use pagefold::Ref;
use pagefold::addr::{Pfn, VirtAddr};
use pagefold::fault::FaultError;
use pagefold::gup;
use pagefold::mm::Mm;
use pagefold::platform::Word;
use pagefold_explore as explore;
use pagefold_litmus::{MappingPage, Symbol, Value};

use super::{Session, Who};
use crate::model::oracle::Through;
use crate::model::world::World;
use crate::model::{Model, names};

impl Session<'_> {
    /// Pins a page by the walk without locks, reads it through the pin, lets it go.
    pub(super) fn gup_fast(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        match gup::pin_user_page_fast(mm, addr, false) {
            Some(pfn) => Value::Number(read_pinned(mm, addr, pfn)),
            None if self.plan.by_system_calls => self.gup(who, page),
            None => Symbol::EFAULT.into(),
        }
    }

    /// Pins a page, reads it through the pin, lets it go.
    pub(super) fn gup(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        match gup::pin_user_page(mm, addr, false) {
            Ok(pfn) => Value::Number(read_pinned(mm, addr, pfn)),
            Err(error) => errno(&error),
        }
    }

    /// The memory of a page goes bad. As with the kernel's own way to have that, it is pinned to find out where it is.
    pub(super) fn hwpoison(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        match gup::pin_user_page(mm, addr, false) {
            Ok(pfn) => {
                World::current().go_bad(pfn);
                gup::unpin_user_page::<Model>(pfn);
                Value::SUCCESS
            }
            Err(error) => errno(&error),
        }
    }

    /// Pins a page for writing, writes it through the pin, lets it go.
    pub(super) fn gup_write(&self, who: Who<'_>, page: MappingPage, value: u64) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        match gup::pin_user_page(mm, addr, true) {
            Ok(pfn) => write_pinned(mm, addr, pfn, value),
            Err(error) => errno(&error),
        }
    }

    /// Reads a page as a debugger does.
    pub(super) fn proc_mem_read(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        let read = gup::access_remote_vm(mm, addr, false, |pfn| read_through(mm, addr, pfn));
        read.map_or_else(|_| Symbol::EIO.into(), Value::Number)
    }

    /// Writes a page as a debugger does.
    pub(super) fn proc_mem_write(&self, who: Who<'_>, page: MappingPage, value: u64) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        let written = gup::access_remote_vm(mm, addr, true, |pfn| {
            write_through(mm, addr, pfn, value);
        });
        written.map_or_else(|_| Symbol::EIO.into(), |()| Value::SUCCESS)
    }

    /// As [`gup_fast`](Self::gup_fast), with a reference that is no pin.
    pub(super) fn vmsplice(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        let got = match gup::get_user_page_fast(mm, addr, false) {
            None if self.plan.by_system_calls => gup::get_user_page(mm, addr, false).ok(),
            fast => fast,
        };
        let Some(pfn) = got else {
            return Symbol::EFAULT.into();
        };
        let value = read_through(mm, addr, pfn);
        gup::put_user_page::<Model>(pfn);
        Value::Number(value)
    }

    /// Pins a page by the walk without locks, writes it through the pin, lets it go.
    pub(super) fn gup_fast_write(&self, who: Who<'_>, page: MappingPage, value: u64) -> Value {
        let mm = self.mm_of(who, page.mapping);
        let addr = self.addr(page);
        match gup::pin_user_page_fast(mm, addr, true) {
            Some(pfn) => write_pinned(mm, addr, pfn, value),
            None if self.plan.by_system_calls => self.gup_write(who, page, value),
            None => Symbol::EFAULT.into(),
        }
    }
}

/// What a system call gives that could not have its page. That it is poisoned is told only to who asks for that (Linux:
/// `FOLL_HWPOISON`), as `MADV_POPULATE` does.
pub(super) fn errno(error: &FaultError<Model>) -> Value {
    match error {
        FaultError::OutOfMemory => Symbol::ENOMEM.into(),
        _ => Symbol::EFAULT.into(),
    }
}

/// Reads a page through its pin, and ends that.
fn read_pinned(mm: Ref<Model, Mm<Model>>, addr: VirtAddr, pfn: Pfn) -> u64 {
    let world = World::current();
    world.books.note_pin(mm.id, addr, Some(pfn));
    let value = read_through(mm, addr, pfn);
    gup::unpin_user_page::<Model>(pfn);
    world.books.note_pin(mm.id, addr, None);
    value
}

/// Writes a page through its pin, and ends that.
fn write_pinned(mm: Ref<Model, Mm<Model>>, addr: VirtAddr, pfn: Pfn, value: u64) -> Value {
    write_through(mm, addr, pfn, value);
    gup::unpin_user_page_dirty::<Model>(pfn);
    Value::SUCCESS
}

/// Writes a page that somebody has a reference to.
pub(super) fn write_through(mm: Ref<Model, Mm<Model>>, addr: VirtAddr, pfn: Pfn, value: u64) {
    let world = World::current();
    explore::label(|| {
        let name = names::page(mm.id, addr);
        format!("store {name} = {value} through the pin (frame {})", pfn.0)
    });
    world.store_by_user(mm.id, addr, pfn, value, Through::Pin);
}

/// What a page holds that somebody has a reference to.
pub(super) fn read_through(mm: Ref<Model, Mm<Model>>, addr: VirtAddr, pfn: Pfn) -> u64 {
    let world = World::current();
    world.before_load(mm.id, addr);
    explore::label(|| {
        let name = names::page(mm.id, addr);
        format!("load {name} through the pin (frame {})", pfn.0)
    });
    let value = world.content(pfn).read_once();
    world.books.check_pinned_load(mm.id, addr, pfn, value);
    value
}
