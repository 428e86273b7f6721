//! Pages that are pinned and used through the pin.

use pagefold::gup;
use pagefold::platform::Word;
use pagefold_explore as explore;
use pagefold_litmus::{MappingPage, Symbol, Value};

use super::{Session, Who};
use crate::model::world::World;
use crate::model::{Model, names};

impl Session<'_> {
    /// Pins a page by the walk without locks, reads it through the pin, lets it go.
    pub(super) fn gup_fast(&self, who: Who<'_>, page: MappingPage) -> Value {
        let mm = self.mm_of(who, page.mapping);
        let addr = self.addr(page);
        let world = World::current();
        let Some(pfn) = gup::get_user_page_fast(mm, addr, false) else {
            return Symbol::EFAULT.into();
        };
        explore::label(|| {
            format!(
                "load {} through the pin (frame {})",
                names::page(mm.id, addr),
                pfn.0
            )
        });
        let value = world.content(pfn).read_once();
        world.books.check_pinned_load(mm.id, addr, pfn, value);
        gup::put_user_page::<Model>(pfn);
        Value::Number(value)
    }

    /// Pins a page by the walk without locks, writes it through the pin, lets it go.
    pub(super) fn gup_fast_write(&self, who: Who<'_>, page: MappingPage, value: u64) -> Value {
        let mm = self.mm_of(who, page.mapping);
        let addr = self.addr(page);
        let world = World::current();
        let Some(pfn) = gup::get_user_page_fast(mm, addr, true) else {
            return Symbol::EFAULT.into();
        };
        explore::label(|| {
            let name = names::page(mm.id, addr);
            format!("store {name} = {value} through the pin (frame {})", pfn.0)
        });
        world.store_by_user(mm.id, addr, pfn, value);
        gup::put_user_page::<Model>(pfn);
        Value::SUCCESS
    }
}
