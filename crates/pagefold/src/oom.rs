//! The OOM reaper: the private memory of a process that is being killed is taken from it at once, while threads of it may still run
//! (Linux: `__oom_reap_task_mm`, `process_mrelease`).
//!
//! Guarantee: nobody uses a page that was taken once it is free, and nobody takes the zeros of a new page for what was there: an
//! access that would bring one raises SIGBUS from now on. Content is lost, as the process is to end anyway.
//!
//! Locks: `mmap_lock` for reading, which is only tried; the rest is what `zap.rs` takes.
//!
//! * The address space is first marked as one whose content cannot be relied on. Entries are emptied under the locks of their tables after
//!   that, and a fault looks at the mark with such a lock held: who finds an entry that was emptied finds the mark.
//! * It is not the end of the address space, where nobody is left to have a translation cached: so everything is flushed.
//! * The end of a process takes page tables away with `mmap_lock` for writing, and VMAs with them: this walks none that are freed.

use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::Platform;
use crate::zap::reap_range;

/// Takes the private memory of an address space away. Whether it did: not if somebody is changing its VMAs.
pub fn reap<P: Platform>(mm: Ref<P, Mm<P>>) -> bool {
    if !mm.mmap_read_trylock() {
        return false;
    }
    mm.mark_unstable();
    for vma in mm.vmas_protected() {
        if !vma.is_shared() {
            reap_range(vma);
        }
    }
    mm.mmap_read_unlock();
    true
}
