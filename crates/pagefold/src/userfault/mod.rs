//! userfaultfd: user space fills and protects pages (Linux: `fs/userfaultfd.c`, `mm/userfaultfd.c`).
//!
//! Guarantees: in a VMA registered MISSING, the first access to a page that is not there raises an event, and the page
//! appears only when user space fills it. In a VMA registered MINOR, so does a page that the object has and that is not
//! mapped. In a VMA registered WP, a write to a protected page raises an event;
//! protection of a page that is not there yet is kept in the page table as a marker.
//!
//! Locks, in order: `mmap_lock` (read for filling, write for registering), VMA lock (write for registering), folio lock,
//! lock of the table. Filling takes no lock that collapse holds but that of the table: in a private VMA it does not even
//! look at the page cache. That is what makes it different from every other way to a new entry, and why
//! retraction has to look again at `anon_vma`, which is attached *before* the table's lock is taken here, and
//! at the WP flag, which is set *before* any marker.
//!
//! [`mod@register`] says which VMAs are watched, [`event`] how a fault waits and a monitor reads of it, [`fill`], [`minor`],
//! [`mod@move_pages`] and [`mod@writeprotect`] how it answers; [`change`] is about what else a monitor has to know of.

pub mod change;
pub mod event;
pub mod fill;
pub mod minor;
pub mod move_pages;
pub mod register;
pub mod writeprotect;

use core::fmt;

pub use event::{Event, Features, Message, Userfaultfd};
pub(crate) use event::{Waiter, handle_userfault};
pub use fill::{copy, poison, zeropage};
pub use minor::continue_page;
pub use move_pages::move_pages;
pub use register::{Modes, close, register, unregister};
pub use writeprotect::writeprotect;

/// Why a userfaultfd request did nothing. The errno that Linux returns has the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UffdError {
    /// No registered VMA there (ENOENT).
    NoEntry,
    /// The VMA is not of the kind or registered in the mode that this needs (EINVAL).
    Invalid,
    /// Something is there already (EEXIST).
    Exists,
    /// The page lies behind the end of the object, or what is there cannot be moved (EFAULT).
    Fault,
    /// The page is shared with another process, or pinned (EBUSY).
    Busy,
    /// The page table or the layout is changing: try again (EAGAIN).
    Again,
    /// No frame is free (ENOMEM).
    NoMemory,
    /// The process is gone (ESRCH).
    NoProcess,
}

impl UffdError {
    /// The name of the errno.
    #[must_use]
    pub const fn errno(self) -> &'static str {
        match self {
            Self::NoEntry => "ENOENT",
            Self::Invalid => "EINVAL",
            Self::Exists => "EEXIST",
            Self::Fault => "EFAULT",
            Self::Busy => "EBUSY",
            Self::Again => "EAGAIN",
            Self::NoMemory => "ENOMEM",
            Self::NoProcess => "ESRCH",
        }
    }
}

impl fmt::Display for UffdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.errno())
    }
}

impl core::error::Error for UffdError {}
