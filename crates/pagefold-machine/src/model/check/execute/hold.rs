//! Pages that are held from one call to another.

use pagefold::addr::VirtAddr;
use pagefold::gup;
use pagefold_litmus::{Hold, MappingPage, Symbol, Value};

use super::gup::{errno, read_through, write_through};
use super::{Session, Who};
use crate::model::held::Held;
use crate::model::world::World;

impl Session<'_> {
    pub(super) fn hold(&self, who: Who<'_>, page: MappingPage, how: Hold) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        let got = match how {
            Hold::Reference => gup::get_user_page(mm, addr, false),
            Hold::ReadPin => gup::pin_user_page_longterm(mm, addr, false),
            Hold::WritePin => gup::pin_user_page_longterm(mm, addr, true),
        };
        match got {
            Ok(pfn) => {
                self.put_back(mm.id, addr, Held { pfn, how });
                Value::SUCCESS
            }
            Err(error) => errno(&error),
        }
    }

    /// The page is held from now on. If another one has come to be meanwhile, that is let go.
    fn put_back(&self, mm: u32, addr: VirtAddr, held: Held) {
        let world = World::current();
        if let Some(other) = world.held.swap(mm, addr, Some(held)) {
            other.let_go(mm, addr);
        }
        let pinned = (held.how != Hold::Reference).then_some(held.pfn);
        world.books.note_pin(mm, addr, pinned);
    }

    pub(super) fn read_held(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        let Some(held) = World::current().held.swap(mm.id, addr, None) else {
            return Symbol::EBADF.into();
        };
        let value = read_through(mm, addr, held.pfn);
        self.put_back(mm.id, addr, held);
        Value::Number(value)
    }

    pub(super) fn write_held(&self, who: Who<'_>, page: MappingPage, value: u64) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        let Some(held) = World::current().held.swap(mm.id, addr, None) else {
            return Symbol::EBADF.into();
        };
        let may = held.how == Hold::WritePin;
        if may {
            write_through(mm, addr, held.pfn, value);
        }
        self.put_back(mm.id, addr, held);
        if may {
            Value::SUCCESS
        } else {
            Symbol::EBADF.into()
        }
    }

    pub(super) fn let_go(&self, who: Who<'_>, page: MappingPage) -> Value {
        let (mm, addr) = (self.mm_of(who, page.mapping), self.addr(page));
        match World::current().held.swap(mm.id, addr, None) {
            Some(held) => {
                held.let_go(mm.id, addr);
                Value::SUCCESS
            }
            None => Symbol::EBADF.into(),
        }
    }
}
