//! The one table of what a scenario can do: names, who may, arguments, results.
//!
//! The table generates [`Call`], its parser and its printer, and is itself there to be shown: [`CALLS`].

use crate::actors::Role;
use crate::ast::{Backing, MappingPage, MappingRange, ObjectPage, Scenario};
use crate::check::Checker;
use crate::constants::{
    Advice, Hold, Limit, Permission, ProtectNew, Protection, Scope, Sharing, SkipHoles, UffdModes,
    Writable,
};
use crate::ids::{MappingId, MmId, ObjectId};
use crate::parameter::{Parameter, take};
use crate::part::Reference;
use crate::syntax;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSpec {
    /// Its name.
    pub name: &'static str,
    /// How it is written.
    pub form: Form,
    /// What it takes.
    pub parameters: &'static [ParameterSpec],
    /// Who may use it.
    pub roles: &'static [Role],
    /// What it gives to a register.
    pub returns: Returns,
    /// What it does, in one line.
    pub doc: &'static str,
}

/// How a row of the table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `r = x[i];`
    Load,
    /// `x[i] = v;`
    Store,
    /// `x: mmap(f, MAP_SHARED);`
    Map,
    /// `name(...);`, and `r = name(...);` if it returns something.
    Call,
}

/// One parameter of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Its name.
    pub name: &'static str,
    /// What can stand for it.
    pub shape: Shape,
    /// Whether it can be left out.
    pub optional: bool,
}

/// What can stand for a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A mapping: `x`.
    Mapping,
    /// A page of a mapping: `x[i]`.
    MappingPage,
    /// A mapping, or pages of it: `x`, `x[i]`, `x[i..j]`.
    MappingRange,
    /// What can be mapped: `f`, or `ANON[n]`.
    Backing,
    /// An object: `f`.
    Object,
    /// A page of an object: `f[i]`.
    ObjectPage,
    /// An address space: `A`.
    Mm,
    /// A number.
    Number,
    /// The number 0.
    Zero,
    /// One of these constants.
    OneOf(&'static [&'static str]),
    /// One or more of these constants, joined by `|`.
    AnyOf(&'static [&'static str]),
}

impl Shape {
    /// What is written for it, in the letters of the documentation.
    pub fn placeholder(self) -> String {
        match self {
            Self::Mapping => "x".to_owned(),
            Self::MappingPage => "x[i]".to_owned(),
            Self::MappingRange => "x[i..j]".to_owned(),
            Self::Backing => "f/ANON[n]".to_owned(),
            Self::Object => "f".to_owned(),
            Self::ObjectPage => "f[i]".to_owned(),
            Self::Mm => "A".to_owned(),
            Self::Number => "v".to_owned(),
            Self::Zero => "0".to_owned(),
            Self::OneOf(names) => names.join("/"),
            Self::AnyOf(names) => names.join("|"),
        }
    }

    /// What is expected for it, in words.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Mapping => "a mapping".to_owned(),
            Self::MappingPage => "a page of a mapping, `x[i]`".to_owned(),
            Self::MappingRange => "a mapping `x`, or pages of it, `x[i]` or `x[i..j]`".to_owned(),
            Self::Backing => {
                "an object, or so many pages of anonymous memory, `ANON[n]`".to_owned()
            }
            Self::Object => "an object".to_owned(),
            Self::ObjectPage => "a page of an object, `f[i]`".to_owned(),
            Self::Mm => "an mm".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Zero => "`0`".to_owned(),
            Self::OneOf(names) => format!("`{}`", names.join("` or `")),
            Self::AnyOf(names) => format!("one or more of `{}`, joined by `|`", names.join("`, `")),
        }
    }
}

/// What a call gives to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Returns {
    /// Nothing: it cannot stand right of `r =`.
    Nothing,
    /// 0, or the symbol of an error.
    Status,
    /// The content of a page, or the symbol of the signal or error that came instead.
    Content,
    /// A number of things.
    Count,
    /// 0 or 1.
    Flag,
}

impl CallSpec {
    /// How it is written: `madvise(x, MADV_COLLAPSE/MADV_DONTNEED)`.
    pub fn signature(&self) -> String {
        let parameters: String = self
            .parameters
            .iter()
            .enumerate()
            .map(|(index, parameter)| {
                let comma = if index == 0 { "" } else { ", " };
                let placeholder = parameter.shape.placeholder();
                if parameter.optional {
                    format!("[{comma}{placeholder}]")
                } else {
                    format!("{comma}{placeholder}")
                }
            })
            .collect();
        match self.form {
            Form::Load => "r = x[i]".to_owned(),
            Form::Store => "x[i] = v".to_owned(),
            Form::Map => format!("x: {}({parameters})", self.name),
            Form::Call => format!("{}({parameters})", self.name),
        }
    }

    /// The row of the call written `name(...)`; accesses have no name to be written.
    pub fn find(name: &str) -> Option<&'static Self> {
        CALLS
            .iter()
            .find(|spec| spec.name == name && !matches!(spec.form, Form::Load | Form::Store))
    }
}

const fn parameter<T: Parameter>(name: &'static str) -> ParameterSpec {
    ParameterSpec {
        name,
        shape: T::SHAPE,
        optional: T::ABSENT.is_some(),
    }
}

pub(crate) const LOAD: CallSpec = CallSpec {
    name: "load",
    form: Form::Load,
    parameters: &[parameter::<MappingPage>("page")],
    roles: &[
        Role::Cpu,
        Role::Device,
        Role::Vcpu,
        Role::Monitor,
        Role::Final,
    ],
    returns: Returns::Content,
    doc: "Reads a page.",
};

pub(crate) const STORE: CallSpec = CallSpec {
    name: "store",
    form: Form::Store,
    parameters: &[parameter::<MappingPage>("page"), parameter::<u64>("value")],
    roles: &[Role::Cpu, Role::Device, Role::Vcpu],
    returns: Returns::Nothing,
    doc: "Writes a page.",
};

pub(crate) const MMAP: CallSpec = CallSpec {
    name: "mmap",
    form: Form::Map,
    parameters: &[
        parameter::<Backing>("backing"),
        parameter::<Sharing>("sharing"),
        parameter::<Writable>("writable"),
    ],
    roles: &[Role::Start, Role::Cpu],
    returns: Returns::Nothing,
    doc: "Maps the whole object, or anonymous memory; a file to be written through the mapping if it says so.",
};

pub(crate) const UFFD: CallSpec = CallSpec {
    name: "uffd",
    form: Form::Call,
    parameters: &[
        parameter::<MappingId>("mapping"),
        parameter::<UffdModes>("modes"),
    ],
    roles: &[Role::Start],
    returns: Returns::Nothing,
    doc: "The mapping is registered with userfaultfd from the start.",
};

macro_rules! calls {
    ($(
        #[doc = $doc:literal]
        $variant:ident = $name:literal $(($($field:ident: $argument:ty),+))?
            by $($role:ident)|+ gives $returns:ident;
    )*) => {
        /// A call with its arguments.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Call {
            $(#[doc = $doc] $variant $(($($argument),+))?,)*
        }

        #[expect(non_upper_case_globals, reason = "each row has the name of its variant")]
        mod rows {
            use super::*;

            $(pub(super) const $variant: CallSpec = CallSpec {
                name: $name,
                form: Form::Call,
                parameters: &[$($(parameter::<$argument>(stringify!($field))),+)?],
                roles: &[$(Role::$role),+],
                returns: Returns::$returns,
                doc: $doc.trim_ascii(),
            };)*
        }

        /// The table: the statements with a form of their own, then every call.
        pub const CALLS: &[CallSpec] = &[
            LOAD,
            STORE,
            MMAP,
            UFFD,
            $(rows::$variant,)*
        ];

        impl Call {
            /// The row of the table it comes from.
            pub const fn spec(&self) -> &'static CallSpec {
                match self {
                    $(Self::$variant { .. } => &rows::$variant,)*
                }
            }

            /// Reads the arguments, whose number has been checked, and reports those that do not fit.
            pub(crate) fn read<'a>(
                name: &str,
                arguments: &[syntax::Argument<'a>],
                checker: &mut Checker<'a, '_>,
            ) -> Option<Self> {
                match name {
                    $($name => {
                        $(
                            let mut arguments = arguments.iter();
                            $(let $field = take::<$argument>(&mut arguments, checker);)+
                        )?
                        Some(Self::$variant $(($($field?),+))?)
                    })*
                    _ => None,
                }
            }

            /// What the arguments refer to.
            pub(crate) fn references(&self) -> Vec<Reference> {
                match self {
                    $(Self::$variant $(($($field),+))? => vec![$($($field.reference()),+)?],)*
                }
            }

            /// The call as it is written.
            pub(crate) fn print(&self, scenario: &Scenario) -> String {
                let arguments: Vec<Option<String>> = match self {
                    $(Self::$variant $(($($field),+))? => vec![$($($field.print(scenario)),+)?],)*
                };
                let arguments: Vec<String> = arguments.into_iter().flatten().collect();
                format!("{}({})", self.spec().name, arguments.join(", "))
            }
        }
    };
}

calls! {
    /// Collapses pages of a mapping into huge ones, drops what they map, moves it out, or says how it is used.
    Madvise = "madvise"(range: MappingRange, advice: Advice) by Cpu gives Status;
    /// Takes the mapping away, or pages of it.
    Munmap = "munmap"(range: MappingRange) by Cpu gives Status;
    /// Changes what the process may do with the mapping, or pages of it.
    Mprotect = "mprotect"(range: MappingRange, permission: Permission) by Cpu gives Status;
    /// Moves the mapping, or pages of it, to where as many others are, which go away.
    Mremap = "mremap"(from: MappingRange, to: MappingRange) by Cpu gives Status;
    /// Copies the address space to one that is declared as forked from it, whose threads then begin.
    Fork = "fork"(child: MmId) by Cpu gives Status;
    /// Ends the thread; with the last one of the process its address space goes.
    Exit = "exit" by Cpu gives Nothing;
    /// Registers the mapping with userfaultfd.
    UffdRegister = "uffd_register"(mapping: MappingId, modes: UffdModes) by Cpu gives Status;
    /// Ends the registration with userfaultfd.
    UffdUnregister = "uffd_unregister"(mapping: MappingId) by Cpu gives Status;
    /// Fills a missing page with a copy, write-protected if it says so.
    UffdioCopy = "uffdio_copy"(page: MappingPage, value: u64, mode: ProtectNew) by Cpu | Monitor gives Status;
    /// Fills a missing page with zeroes.
    UffdioZeropage = "uffdio_zeropage"(page: MappingPage) by Cpu | Monitor gives Status;
    /// Write-protects a page; with 0, takes the protection away.
    UffdioWriteprotect = "uffdio_writeprotect"(page: MappingPage, protection: Protection) by Cpu | Monitor gives Status;
    /// Marks a missing page as poisoned.
    UffdioPoison = "uffdio_poison"(page: MappingPage) by Cpu | Monitor gives Status;
    /// Maps a page that the object has, write-protected if it says so.
    UffdioContinue = "uffdio_continue"(page: MappingPage, mode: ProtectNew) by Cpu | Monitor gives Status;
    /// Moves private pages to where they are missing; with ALLOW_SRC_HOLES, those of the range that are there.
    UffdioMove = "uffdio_move"(to: MappingRange, from: MappingRange, mode: SkipHoles) by Cpu | Monitor gives Status;
    /// Waits for an event of a mapping that has a userfaultfd from the start or by fork, and gives its page; EINTR once all others have ended.
    UffdRead = "uffd_read"(mapping: MappingId) by Monitor gives Content;
    /// As `uffd_read`, and answers: fills the page with a copy, or maps the object's, or takes the protection away.
    UffdAnswer = "uffd_answer"(mapping: MappingId, value: u64) by Monitor gives Content;
    /// Closes the userfaultfd that the mapping has from the start or by fork.
    UffdClose = "uffd_close"(mapping: MappingId) by Cpu | Monitor gives Status;
    /// Pins a page by the lock-free walk, reads it and lets it go.
    GupFast = "gup_fast"(page: MappingPage) by Cpu gives Content;
    /// Pins a page for writing by the lock-free walk, writes it and lets it go.
    GupFastWrite = "gup_fast_write"(page: MappingPage, value: u64) by Cpu gives Status;
    /// Pins a page, faulting it in if need be, reads it and lets it go.
    Gup = "gup"(page: MappingPage) by Cpu gives Content;
    /// Pins a page for writing, faulting it in if need be, writes it and lets it go.
    GupWrite = "gup_write"(page: MappingPage, value: u64) by Cpu gives Status;
    /// Gets a page by the lock-free walk without pinning it, as vmsplice does, reads it and lets it go.
    Vmsplice = "vmsplice"(page: MappingPage) by Cpu gives Content;
    /// Reads a page through `/proc/self/mem`, which does not ask what the mapping allows.
    ProcMemRead = "proc_mem_read"(page: MappingPage) by Cpu gives Content;
    /// Writes a page through `/proc/self/mem`: a private one, if the mapping does not allow it.
    ProcMemWrite = "proc_mem_write"(page: MappingPage, value: u64) by Cpu gives Status;
    /// Takes a reference to a page, or a pin, faulting it in if need be, and keeps it; whatever was held by that address before is let go.
    Hold = "hold"(page: MappingPage, how: Hold) by Cpu gives Status;
    /// Reads the page that is held by an address; EBADF if there is none.
    ReadHeld = "read_held"(page: MappingPage) by Cpu | Final gives Content;
    /// Writes the page that is held by an address with FOLL_WRITE; EBADF if there is none.
    WriteHeld = "write_held"(page: MappingPage, value: u64) by Cpu gives Status;
    /// Lets the page go that is held by an address.
    LetGo = "let_go"(page: MappingPage) by Cpu gives Status;
    /// The memory that the page at an address is in goes bad: its content cannot be copied any more. (A word of it may still be read.)
    Hwpoison = "hwpoison"(page: MappingPage) by Cpu gives Status;
    /// Whether a page is in the page cache, looked up without a lock.
    Mincore = "mincore"(page: MappingPage) by Cpu gives Flag;
    /// Lets the hardware walk to a page speculatively, which never faults.
    Prefetch = "prefetch"(page: MappingPage) by Cpu | Device gives Nothing;
    /// Looks through one address space, or all, for ranges to collapse, of whose pages so many may be missing, shared, in swap; gives how many it collapsed.
    Scan = "scan"(mm: Scope, max_ptes_none: Limit, max_ptes_shared: Limit, max_ptes_swap: Limit) by Khugepaged gives Count;
    /// Visits every mapping of a page, and gives how many it saw.
    RmapWalk = "rmap_walk"(page: ObjectPage) by Reclaim | Kernel gives Count;
    /// Visits every mapping of the private page at an address, and gives how many it saw; ENOENT if there is none.
    RmapWalkAnon = "rmap_walk_anon"(page: MappingPage) by Cpu | Final gives Count;
    /// Moves the page at an address out, a private one or that of an object, unless somebody has got it, and gives how many it moved.
    Reclaim = "reclaim"(page: MappingPage) by Reclaim | Kernel gives Count;
    /// As `reclaim`, but leaves a page alone that was used since this last came by.
    Shrink = "shrink"(page: MappingPage) by Reclaim | Kernel gives Count;
    /// Moves the private page at an address, the whole of it if it is huge, to another frame, unless somebody has got it; whether it did.
    Migrate = "migrate"(page: MappingPage) by Kernel gives Flag;
    /// Takes the private memory of an address space away whose threads may still run, as of a process that is being killed for it; whether it did.
    OomReap = "oom_reap"(mm: MmId) by Kernel gives Flag;
    /// Collapses an object in the page cache.
    Collapse = "collapse"(object: ObjectId) by Kernel gives Status;
    /// Makes an object so many pages long; what lies behind the new end is given up.
    Truncate = "truncate"(object: ObjectId, pages: u64) by Cpu | Kernel gives Status;
    /// Makes a hole of a page of an object.
    FallocatePunch = "fallocate_punch"(page: ObjectPage) by Cpu | Kernel gives Status;
    /// Opens a file for writing.
    OpenWrite = "open_write"(file: ObjectId) by Cpu | Kernel gives Status;
    /// Closes a file that was opened for writing.
    CloseWrite = "close_write"(file: ObjectId) by Cpu | Kernel gives Status;
    /// Writes a page of a file that the thread has opened for writing.
    Write = "write"(page: ObjectPage, value: u64) by Cpu | Kernel gives Status;
    /// Writes what is dirty of a file to the disk.
    Fsync = "fsync"(file: ObjectId) by Cpu | Kernel gives Status;
    /// Whether the mapping has a page table for its small pages.
    PageTable = "page_table"(mapping: MappingId) by Final gives Flag;
    /// Whether the mapping is mapped by a huge page.
    PmdMapped = "pmd_mapped"(mapping: MappingId) by Final gives Flag;
    /// Whether a page is marked as write-protected by userfaultfd.
    UffdWp = "uffd_wp"(page: MappingPage) by Final gives Flag;
    /// Whether a page is in swap, as its entry says.
    Swapped = "swapped"(page: MappingPage) by Final gives Flag;
    /// What the disk holds of a page of a file.
    OnDisk = "on_disk"(page: ObjectPage) by Final gives Content;
    /// The pages that the address space accounts for.
    Rss = "rss" by Final gives Count;
}
