//! A checked scenario: every name resolved, every number within its bound.

use crate::actors::Actor;
use crate::calls::Call;
use crate::condition::Condition;
use crate::constants::{Sharing, UffdModes, Writable};
use crate::ids::{MappingId, MmId, ObjectId, RegisterId, ThreadId};
use crate::span::Span;

/// One litmus test.
///
/// The tables are indexed by their ids: `scenario[mapping].backing`. [`Display`](std::fmt::Display) writes
/// the scenario in canonical form; parsing that gives the same scenario but for the spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The name after `MM`.
    pub name: String,
    /// The comment after the name.
    pub description: Option<String>,
    /// The objects that can be mapped, indexed by [`ObjectId`].
    pub objects: Vec<Object>,
    /// The address spaces, indexed by [`MmId`].
    pub mms: Vec<Mm>,
    /// The mappings of all address spaces, indexed by [`MappingId`].
    pub mappings: Vec<Mapping>,
    /// The registers, indexed by [`RegisterId`], in the order in which the text first writes them.
    pub registers: Vec<Register>,
    /// Whether frames that are freed are used again at once.
    pub reuse_frames: bool,
    /// Whether the administrator has denied huge pages of shmem.
    pub shmem_denied: bool,
    /// What entries of page tables the machine has.
    pub format: Format,
    /// What is done one after the other before the race.
    pub setup: Vec<Phase>,
    /// Who races, indexed by [`ThreadId`].
    pub threads: Vec<Thread>,
    /// What is looked at, one after the other, after the race.
    pub finals: Vec<Phase>,
    /// What is claimed about the registers.
    pub condition: Option<Condition>,
    /// What should come out, per protocol.
    pub expectations: Vec<Expectation>,
}

impl Scenario {
    /// The mappings of an address space, including those its threads create.
    pub fn mappings_of(&self, mm: MmId) -> impl Iterator<Item = (MappingId, &Mapping)> {
        self.mappings
            .iter()
            .enumerate()
            .filter(move |(_, mapping)| mapping.mm == mm)
            .map(|(index, mapping)| (MappingId::new(index), mapping))
    }

    /// How many pages a mapping has.
    pub fn pages(&self, mapping: MappingId) -> usize {
        match self[mapping].backing {
            Backing::Object(object) => self[object].pages(),
            Backing::Anonymous { pages } => pages,
        }
    }

    /// The pages of a range, the first and how many.
    pub fn pages_of(&self, range: MappingRange) -> (usize, usize) {
        match range.pages {
            Some(PageRange { first, end }) => (first, end - first),
            None => (0, self.pages(range.mapping)),
        }
    }

    /// The register called `name`.
    pub fn register(&self, name: &str) -> Option<RegisterId> {
        self.registers
            .iter()
            .position(|register| register.name == name)
            .map(RegisterId::new)
    }
}

/// Something that can be mapped by many: `shmem f[2] = { 1, hole };`, `file g[2];`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where its content is kept.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// What each page holds at the start; `None` is a hole. As long as the object has pages.
    pub contents: Vec<Option<u64>>,
    /// The name in the source.
    pub span: Span,
}

impl Object {
    /// The size in pages.
    pub fn pages(&self) -> usize {
        self.contents.len()
    }
}

/// Where the content of an object is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// In the page cache alone: a hole has no content.
    Shmem,
    /// On a disk, from which the page cache is filled.
    File,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Shmem, Self::File];

    /// The word that a declaration begins with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shmem => "shmem",
            Self::File => "file",
        }
    }
}

/// An address space: `mm A { ... }`, or one that a fork makes, `mm B = fork(A);`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mm {
    /// Its name.
    pub name: String,
    /// Whose copy it will be. It is empty until a thread of that calls `fork`.
    pub parent: Option<MmId>,
    /// What it maps at the start, in this order.
    pub mappings: Vec<MappingId>,
    /// The name in the source.
    pub span: Span,
}

/// A mapping of a whole object, `x: mmap(f, MAP_SHARED);`, or of anonymous memory, `a: mmap(ANON[2], MAP_PRIVATE);`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its name, unique within the address space.
    pub name: String,
    /// The address space it belongs to.
    pub mm: MmId,
    /// What it maps.
    pub backing: Backing,
    /// Where its writes go; anonymous memory is private.
    pub sharing: Sharing,
    /// Whether it is a shared mapping of a file that may be written.
    pub writable: Writable,
    /// How it is registered with userfaultfd from the start: `uffd(x, MISSING);`.
    pub uffd: Option<UffdModes>,
    /// Where it is created.
    pub created: Created,
    /// The name in the source.
    pub span: Span,
}

/// What a mapping maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// An object, from its first page to its last.
    Object(ObjectId),
    /// Memory of the process alone, zeroes at first.
    Anonymous {
        /// So many pages.
        pages: usize,
    },
}

impl Backing {
    /// The word for anonymous memory.
    pub(crate) const ANON: &'static str = "ANON";

    /// The object, if there is one.
    pub fn object(self) -> Option<ObjectId> {
        match self {
            Self::Object(object) => Some(object),
            Self::Anonymous { .. } => None,
        }
    }
}

/// Where a mapping is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Created {
    /// In its `mm { ... }`: it is there from the start.
    Start,
    /// With its address space, by fork: a copy of this mapping of the parent, under its name.
    Fork(MappingId),
    /// By a statement of the set-up.
    Setup,
    /// By a statement of a thread.
    Thread(ThreadId),
}

/// A global name for a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Its name.
    pub name: String,
    /// The first place that writes it.
    pub span: Span,
}

/// Statements of one address space that nothing runs beside: a part of the set-up, or a `final`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The address space they run in.
    pub mm: MmId,
    /// The statements, in order.
    pub body: Vec<Statement>,
    /// The head in the source.
    pub span: Span,
}

/// One of those who race: `P0 (A) { ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its name.
    pub name: String,
    /// What it is.
    pub actor: Actor,
    /// The statements, in order.
    pub body: Vec<Statement>,
    /// The head in the source.
    pub span: Span,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it does.
    pub kind: StatementKind,
    /// Where it stands.
    pub span: Span,
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// `x[0] = 7;`
    Store {
        /// Where to.
        page: MappingPage,
        /// What.
        value: u64,
    },
    /// `r = x[0];`, or `x[0];` for the access alone.
    Load {
        /// Where the content goes.
        result: Option<RegisterId>,
        /// Where from.
        page: MappingPage,
    },
    /// `z: mmap(f, MAP_SHARED);`
    Map(MappingId),
    /// `r = uffdio_copy(x[0], 7);`
    Call {
        /// Where the result goes.
        result: Option<RegisterId>,
        /// The call with its arguments.
        call: Call,
    },
    /// `repeat 3 { ... }`
    Repeat {
        /// How often.
        times: u32,
        /// What.
        body: Vec<Statement>,
    },
}

/// `x[i]`: a page of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MappingPage {
    /// The mapping.
    pub mapping: MappingId,
    /// The page, counted from 0; within the mapping.
    pub page: usize,
}

/// `x`, `x[i]` or `x[i..j]`: pages of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MappingRange {
    /// The mapping.
    pub mapping: MappingId,
    /// Which of its pages; `None` is all.
    pub pages: Option<PageRange>,
}

/// `i..j`: pages from one to before another; at least one, within the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRange {
    /// The first page, counted from 0.
    pub first: usize,
    /// The page after the last.
    pub end: usize,
}

/// `f[i]`: a page of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectPage {
    /// The object.
    pub object: ObjectId,
    /// The page, counted from 0; within the object.
    pub page: usize,
}

/// What a load may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Memory {
    /// The newest value: sequential consistency.
    #[default]
    Sc,
    /// Total store order: each CPU has a store buffer.
    Tso,
    /// Release and acquire: what the orders of accesses ask for, and no more.
    Ra,
}

impl Memory {
    /// All of them, the strongest first.
    pub const ALL: [Self; 3] = [Self::Sc, Self::Tso, Self::Ra];

    /// The word it is written with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sc => "sc",
            Self::Tso => "tso",
            Self::Ra => "ra",
        }
    }

    /// The one of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|memory| memory.name() == name)
    }
}

/// Whose entries of page tables a machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// x86-64.
    #[default]
    X86_64,
    /// `AArch64`, which asks for break-before-make.
    AArch64,
    /// RISC-V.
    RiscV,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::AArch64, Self::RiscV];

    /// The word it is written with.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::AArch64 => "aarch64",
            Self::RiscV => "risc-v",
        }
    }

    /// The one of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// One line of `expect`: `linux-6.6 unsplit without recheck_anon_vma: broken table-not-empty;`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The protocol to run under.
    pub protocol: String,
    /// One lock for all page tables of an address space, instead of one per table.
    pub unsplit: bool,
    /// `strict`: documented exceptions count as violations.
    pub strict: bool,
    /// What a load may see; in the source a word that is left out for [`Memory::Sc`].
    pub memory: Memory,
    /// The safeguards that are removed.
    pub without: Vec<String>,
    /// What should come out.
    pub verdict: Verdict,
    /// The line in the source.
    pub span: Span,
}

/// What should come out of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing breaks, and the condition, if any, is kept.
    Holds,
    /// Something breaks: the named violation, or any.
    Broken(Option<String>),
    /// A documented exception is seen: the named violation, or any.
    Exception(Option<String>),
    /// Some execution satisfies the `exists`.
    Allowed,
    /// No execution satisfies the `exists`.
    Forbidden,
}

impl Verdict {
    /// The word it is written with.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Broken(_) => "broken",
            Self::Exception(_) => "exception",
            Self::Allowed => "allowed",
            Self::Forbidden => "forbidden",
        }
    }

    /// The violation it names.
    pub fn violation(&self) -> Option<&str> {
        match self {
            Self::Broken(violation) | Self::Exception(violation) => violation.as_deref(),
            Self::Holds | Self::Allowed | Self::Forbidden => None,
        }
    }
}
