//! Typed indices into the tables of a [`Scenario`].

use std::ops::Index;

use crate::ast::{Mapping, Mm, Object, Register, Scenario, Thread};

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $id:ident: $table:ident of $row:ty;)*) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id(usize);

        impl $id {
            /// The row with this number, counted from 0.
            pub const fn new(index: usize) -> Self {
                Self(index)
            }

            /// The number of the row, counted from 0.
            pub const fn index(self) -> usize {
                self.0
            }
        }

        impl Index<$id> for Scenario {
            type Output = $row;

            fn index(&self, id: $id) -> &$row {
                &self.$table[id.0]
            }
        }
    )* };
}

ids! {
    /// Names an object: a row of [`Scenario::objects`].
    ObjectId: objects of Object;
    /// Names an address space: a row of [`Scenario::mms`].
    MmId: mms of Mm;
    /// Names a mapping: a row of [`Scenario::mappings`].
    MappingId: mappings of Mapping;
    /// Names a register: a row of [`Scenario::registers`].
    RegisterId: registers of Register;
    /// Names a thread: a row of [`Scenario::threads`].
    ThreadId: threads of Thread;
}
