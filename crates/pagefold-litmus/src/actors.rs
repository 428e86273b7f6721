//! The one table of who can race: how each is written, what it is.
//!
//! The table generates [`Actor`] and [`Role`], their parser and their printer, and is itself there to be shown: [`ACTORS`].
//! What each may do stands in the table of calls.

use crate::ids::MmId;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorSpec {
    /// The word it is written with; empty for a thread of a process, which is written as its mm alone.
    pub word: &'static str,
    /// Whether it belongs to an address space, whose name follows the word.
    pub of_mm: bool,
    /// As what it finds its calls in their table.
    pub role: Role,
    /// What it is, in one line.
    pub doc: &'static str,
}

impl ActorSpec {
    /// How it is written: `device A`.
    pub fn signature(&self) -> String {
        match (self.word, self.of_mm) {
            ("", _) => "A".to_owned(),
            (word, true) => format!("{word} A"),
            (word, false) => word.to_owned(),
        }
    }

    /// The row of the actor that is written with `word`.
    pub(crate) fn find(word: &str) -> Option<&'static Self> {
        ACTORS
            .iter()
            .find(|spec| spec.word == word && !word.is_empty())
    }

    /// What can stand in the brackets behind the name of a thread, in words.
    pub(crate) fn alternatives() -> String {
        let written: Vec<String> = ACTORS
            .iter()
            .map(|spec| match (spec.word, spec.of_mm) {
                ("", _) => "an mm".to_owned(),
                (word, true) => format!("`{word} MM`"),
                (word, false) => format!("`{word}`"),
            })
            .collect();
        match written.split_last() {
            Some((last, first)) => format!("{} or {last}", first.join(", ")),
            None => String::new(),
        }
    }
}

macro_rules! actors {
    ($(
        #[doc = $doc:literal]
        $variant:ident $(($mm:ident))? = $word:literal, $place:literal, $short:literal;
    )*) => {
        /// What a thread is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Actor {
            $(#[doc = $doc] $variant $((actors!(@id $mm)))?,)*
        }

        impl Actor {
            /// The address space it works in, if it has one.
            pub fn mm(self) -> Option<MmId> {
                match self {
                    $(Self::$variant $(($mm))? => {
                        let mms: &[MmId] = &[$($mm)?];
                        mms.first().copied()
                    })*
                }
            }

            /// The row of the table it comes from.
            pub fn spec(self) -> &'static ActorSpec {
                match self {
                    $(Self::$variant { .. } => &rows::$variant,)*
                }
            }

            /// The actor of a row; `None` if it is of an address space and there is none.
            pub(crate) fn new(spec: &ActorSpec, mm: Option<MmId>) -> Option<Self> {
                match spec.role {
                    $(Role::$variant => Some(Self::$variant $(({ let $mm = mm?; $mm }))?),)*
                    Role::Start | Role::Final => None,
                }
            }
        }

        /// Where a statement stands, which decides what it may do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Role {
            /// In the `mm { ... }` of the header.
            Start,
            $(#[doc = concat!("In ", $place, ".")] $variant,)*
            /// In a `final`.
            Final,
        }

        impl Role {
            /// All of them.
            pub const ALL: &'static [Self] = &[Self::Start, $(Self::$variant,)* Self::Final];

            /// The role as a message names it.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Start => "the `mm` of the header",
                    $(Self::$variant => $place,)*
                    Self::Final => "`final`",
                }
            }

            /// The role as a table names it.
            pub const fn short_name(self) -> &'static str {
                match self {
                    Self::Start => "mm",
                    $(Self::$variant => $short,)*
                    Self::Final => "final",
                }
            }
        }

        #[expect(non_upper_case_globals, reason = "each row has the name of its variant")]
        mod rows {
            use super::*;

            $(pub(super) const $variant: ActorSpec = ActorSpec {
                word: $word,
                of_mm: actors!(@of $($mm)?),
                role: Role::$variant,
                doc: $doc.trim_ascii(),
            };)*
        }

        /// The table.
        pub const ACTORS: &[ActorSpec] = &[$(rows::$variant,)*];
    };
    (@id $mm:ident) => { MmId };
    (@of $mm:ident) => { true };
    (@of) => { false };
}

actors! {
    /// A CPU that runs a thread of the process.
    Cpu(mm) = "", "a thread of a process", "process";
    /// A device that walks the page tables of the process (SVA).
    Device(mm) = "device", "a `device`", "device";
    /// A virtual CPU whose secondary tables follow the process (KVM).
    Vcpu(mm) = "vcpu", "a `vcpu`", "vcpu";
    /// Who handles the events of the process's userfaultfd, from outside of the process.
    Monitor(mm) = "monitor", "a `monitor`", "monitor";
    /// The daemon that collapses in the background.
    Khugepaged = "khugepaged", "`khugepaged`", "khugepaged";
    /// The daemon that takes pages back when memory is short (kswapd).
    Reclaim = "reclaim", "`reclaim`", "reclaim";
    /// The kernel, on behalf of no process.
    Kernel = "kernel", "the `kernel`", "kernel";
}
