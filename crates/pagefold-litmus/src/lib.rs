//! The scenario language of pagefold: litmus tests for memory management.
//!
//! A scenario says what is mapped where, who races, and what may come out:
//!
//! ```
//! use pagefold_litmus::{Vocabulary, parse};
//!
//! let source = r"
//! MM uffd-copy-vs-retract
//! (* UFFDIO_COPY can install an anonymous PTE in the table being retracted *)
//! {
//!     shmem f[2];
//!     mm A { x: mmap(f, MAP_SHARED); }
//!     mm B { y: mmap(f, MAP_PRIVATE); uffd(y, MISSING); }
//!     A: x[0] = 1; x[1] = 2;
//!     B: r = y[0];
//! }
//! P0 (A)   { madvise(x, MADV_COLLAPSE); }
//! P1 (B)   { e = uffdio_copy(y[1], 7); }
//! final(B) { r1 = y[1]; }
//! forall (r1 = 7 /\ ~(e = EAGAIN))
//! expect   { posted-v1: broken; linux-6.6: holds; }
//! ";
//! let vocabulary = Vocabulary {
//!     protocols: &["posted-v1", "linux-6.6"],
//!     safeguards: &[],
//!     violations: &[],
//! };
//! let scenario = parse(source, "uffd.litmus", &vocabulary)?;
//! assert_eq!(scenario.threads.len(), 2);
//! # Ok::<(), pagefold_litmus::Diagnostics>(())
//! ```
//!
//! [`parse()`] goes from characters to tokens (`token.rs`), to syntax (`parse.rs`) and to the checked AST
//! (`check.rs`, [`Scenario`]); whatever is wrong on the way is collected as [`Diagnostics`]. Who can
//! race stands in one table, [`ACTORS`], and what they can do in another, [`CALLS`].

mod actors;
mod ast;
mod calls;
mod check;
mod condition;
mod constants;
mod diagnostic;
mod ids;
pub mod limits;
mod nearest;
mod parameter;
mod parse;
mod part;
mod print;
mod render;
mod shrink;
mod span;
mod syntax;
mod token;
mod value;

pub use actors::{ACTORS, Actor, ActorSpec, Role};
pub use ast::{
    Backing, Created, Expectation, Format, Mapping, MappingPage, MappingRange, Memory, Mm, Object,
    ObjectKind, ObjectPage, PageRange, Phase, Register, Scenario, Statement, StatementKind, Thread,
    Verdict,
};
pub use calls::{CALLS, Call, CallSpec, Form, ParameterSpec, Returns, Shape};
pub use condition::{Condition, Expression, Operand, Quantifier, Relation};
pub use constants::{
    Advice, FillMode, Foll, Hold, Limit, MoveMode, Permission, Prot, ProtectNew, Protection, Scope,
    Sharing, SkipHoles, UffdMode, UffdModes, Writable,
};
pub use diagnostic::{Diagnostic, Diagnostics, Related};
pub use ids::{MappingId, MmId, ObjectId, RegisterId, ThreadId};
pub use part::{Block, Part, Place};
pub use shrink::{Shrunk, shrink};
pub use span::Span;
pub use value::{Symbol, Value};

use diagnostic::Sink;

/// The names that the engine knows and a scenario may mention; any other gets a diagnostic.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary<'a> {
    /// The protocols, which the lines of `expect` begin with.
    pub protocols: &'a [&'a str],
    /// The safeguards, which can stand after `without`.
    pub safeguards: &'a [&'a str],
    /// The violations, which can stand after `broken` and `exception`.
    pub violations: &'a [&'a str],
}

/// Parses and checks one scenario. `file_name` is for the diagnostics only.
///
/// # Errors
///
/// Everything that is wrong with the source, in its order.
pub fn parse(
    source: &str,
    file_name: &str,
    vocabulary: &Vocabulary<'_>,
) -> Result<Scenario, Diagnostics> {
    let mut sink = Sink::default();
    let scenario = stages(source, vocabulary, &mut sink);
    let diagnostics = sink.finish(file_name);
    match scenario {
        Some(scenario) if diagnostics.list.is_empty() => Ok(scenario),
        _ => Err(diagnostics),
    }
}

/// The stages one after the other; whoever finds something wrong puts it into `sink`.
fn stages(source: &str, vocabulary: &Vocabulary<'_>, sink: &mut Sink) -> Option<Scenario> {
    if source.len() > limits::SOURCE_BYTES {
        sink.push(Diagnostic::new(
            Span::START,
            "this file is too large",
            format!("expected at most {} bytes", limits::SOURCE_BYTES),
        ));
        return None;
    }
    let lexed = token::lex(source, sink);
    let file = parse::parse(&lexed, sink)?;
    Some(check::check(file, vocabulary, sink))
}
