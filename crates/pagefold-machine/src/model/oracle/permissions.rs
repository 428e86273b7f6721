//! What a process may do with its pages: an access that mprotect or munmap forbade does not go through once the call has
//! returned.
//!
//! The order of such an access and of the return is no matter of the memory that is accessed. So, in scenarios where a thread
//! forbids something, each access ends with an event that conflicts with those of the calls.

use pagefold::addr::{AddrRange, VirtAddr};
use pagefold::mprotect::Protection;
use pagefold::platform::Word;
use pagefold_explore as explore;

use crate::model::cpu::Access;
use crate::model::names;
use crate::model::violation::{Kind, fail};
use crate::model::world::World;

impl World {
    /// The process may do so much with a range from now on.
    pub(super) fn note_permitted(&self, mm: u32, range: AddrRange, protection: Protection) {
        if self.watch_permissions {
            explore::label(|| format!("permit {protection:?} at {}", names::page(mm, range.start)));
            self.permissions[mm as usize].write_once(0);
        }
        for page in self.books.pages_in(mm, range) {
            page.permitted.set(protection);
        }
    }

    /// An access by address has gone through.
    pub(crate) fn check_permitted(&self, mm: u32, addr: VirtAddr, access: Access) {
        if self.watch_permissions {
            explore::label(|| "the access was permitted".into());
            self.permissions[mm as usize].read_once();
        }
        let permitted = self.books.page(mm, addr).permitted.get();
        if !permitted.permits(access.is_write()) {
            let what = if access.is_write() {
                "a store"
            } else {
                "a load"
            };
            fail(
                Kind::Protection,
                format!(
                    "{what} goes through to {}, where {permitted:?} is permitted",
                    names::page(mm, addr)
                ),
            );
        }
    }
}
