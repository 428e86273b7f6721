//! What a register may hold: a number, or the name of an outcome.

use std::fmt;

use serde::Serialize;

/// The content of a register after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// The content of a page, a count, or 0 for a call that succeeded.
    Number(u64),
    /// The error of a call, or the signal an access ended in.
    Symbol(Symbol),
}

impl Value {
    /// The result of a call that succeeded.
    pub const SUCCESS: Self = Self::Number(0);
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Symbol> for Value {
    fn from(symbol: Symbol) -> Self {
        Self::Symbol(symbol)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Symbol(symbol) => symbol.fmt(f),
        }
    }
}

macro_rules! symbols {
    ($($(#[doc = $doc:literal])+ $name:ident;)*) => {
        /// The name of an outcome: an errno of a call, or how an access ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Symbol {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Symbol {
            /// Every symbol, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The symbol as it is written.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

symbols! {
    /// No permission for this mapping.
    EACCES;
    /// Try again: a lock was not to be had, or the place changed meanwhile.
    EAGAIN;
    /// Not open for that.
    EBADF;
    /// In use: an extra reference, a wrong state.
    EBUSY;
    /// The page is there already.
    EEXIST;
    /// No such address.
    EFAULT;
    /// The page is poisoned.
    EHWPOISON;
    /// Interrupted.
    EINTR;
    /// The arguments do not fit the mapping.
    EINVAL;
    /// The page could not be read.
    EIO;
    /// Nothing there: no mapping, no page table.
    ENOENT;
    /// No memory, or nothing mapped in the range.
    ENOMEM;
    /// No room in the object.
    ENOSPC;
    /// Not allowed.
    EPERM;
    /// The process is gone.
    ESRCH;
    /// The access ended in a segmentation fault.
    SIGSEGV;
    /// The access ended in a bus error: beyond the object, or a page that cannot be had.
    SIGBUS;
    /// The access met a page marked as poisoned.
    HWPOISON;
}

impl Symbol {
    /// The symbol written `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|symbol| symbol.name() == name)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
