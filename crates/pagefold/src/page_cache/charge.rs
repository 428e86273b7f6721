//! How much of the machine an object takes (Linux: `i_blocks`, and `alloced` of shmem; `shmem_charge`, `shmem_uncharge`).
//!
//! Guarantee: when nothing is under way, the count is that of the pages that the object has. Of a file, the disk keeps count.
//!
//! Locks: `i_lock`, for quotas, which count what it says. `xa_lock` comes after it: so nobody charges an object who has that
//! (509f006932de).

use crate::page_cache::Mapping;
use crate::platform::{Counter, Platform};
use crate::step::Step;
use crate::sync::LockGuard;

impl<P: Platform> Mapping<P> {
    /// Counts pages that the object gets, or has got. The caller has no `xa_lock`.
    pub(crate) fn charge(&self, pages: usize) {
        self.add_blocks(pages as i64);
    }

    /// Counts pages less: they are given up, or did not come. The caller has no `xa_lock`.
    pub(crate) fn uncharge(&self, pages: usize) {
        self.add_blocks(-(pages as i64));
    }

    fn add_blocks(&self, pages: i64) {
        if pages == 0 || self.is_file() {
            return;
        }
        P::step(Step::Named("i_lock"));
        let _i_lock = LockGuard::lock(&self.i_lock);
        self.blocks.add(pages);
    }

    /// The pages that are counted; the disk counts those of a file.
    pub fn blocks(&self) -> &P::Counter {
        &self.blocks
    }
}
