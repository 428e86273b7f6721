//! A scenario as it is written: names not yet resolved. The parser makes it, the check turns it into the AST.

use std::collections::HashSet;

use crate::actors::ActorSpec;
use crate::ast::ObjectKind;
use crate::condition::{Quantifier, Relation};
use crate::span::Span;

/// A name where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

/// A number where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) value: u64,
    pub(crate) span: Span,
}

/// `name[number]`
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    pub(crate) name: Word<'a>,
    pub(crate) page: Number,
    pub(crate) span: Span,
}

/// `name[first..end]`
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range<'a> {
    pub(crate) name: Word<'a>,
    pub(crate) first: Number,
    pub(crate) end: Number,
}

/// A whole file. What could not be parsed is left out.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: Option<String>,
    pub(crate) objects: Vec<Object<'a>>,
    pub(crate) mms: Vec<Mm<'a>>,
    pub(crate) reuse_frames: bool,
    pub(crate) shmem_denied: bool,
    pub(crate) formats: Vec<Word<'a>>,
    pub(crate) setup: Vec<Phase<'a>>,
    pub(crate) threads: Vec<Thread<'a>>,
    pub(crate) finals: Vec<Phase<'a>>,
    pub(crate) condition: Option<Condition<'a>>,
    pub(crate) expectations: Vec<Expectation<'a>>,
    /// The words of what was left out: what is not known of them is not wrong of those who use them.
    pub(crate) lost: HashSet<&'a str>,
}

#[derive(Debug)]
pub(crate) struct Object<'a> {
    pub(crate) kind: ObjectKind,
    pub(crate) name: Word<'a>,
    pub(crate) pages: Number,
    pub(crate) contents: Vec<Content>,
}

/// What a page holds at the start; `None` is a hole.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) value: Option<u64>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Mm<'a> {
    pub(crate) name: Word<'a>,
    /// `= fork(A)`
    pub(crate) parent: Option<Word<'a>>,
    pub(crate) items: Vec<MmItem<'a>>,
}

#[derive(Debug)]
pub(crate) enum MmItem<'a> {
    /// `x: call`
    Map(Word<'a>, Call<'a>),
    /// A call without a name.
    Call(Call<'a>),
}

#[derive(Debug)]
pub(crate) struct Phase<'a> {
    pub(crate) mm: Word<'a>,
    pub(crate) body: Vec<Statement<'a>>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Thread<'a> {
    pub(crate) name: Word<'a>,
    pub(crate) actor: Actor<'a>,
    pub(crate) body: Vec<Statement<'a>>,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Actor<'a> {
    pub(crate) spec: &'static ActorSpec,
    /// There if the row says so.
    pub(crate) mm: Option<Word<'a>>,
}

#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) kind: StatementKind<'a>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum StatementKind<'a> {
    Store {
        page: Page<'a>,
        value: u64,
    },
    Load {
        result: Option<Word<'a>>,
        page: Page<'a>,
    },
    Call {
        result: Option<Word<'a>>,
        call: Call<'a>,
    },
    Map {
        name: Word<'a>,
        call: Call<'a>,
    },
    Repeat {
        times: Number,
        body: Vec<Statement<'a>>,
    },
}

#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) name: Word<'a>,
    pub(crate) arguments: Vec<Argument<'a>>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Argument<'a> {
    pub(crate) kind: ArgumentKind<'a>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ArgumentKind<'a> {
    Number(u64),
    Page(Page<'a>),
    Range(Range<'a>),
    /// One name, or several joined by `|`; never empty.
    Words(Vec<Word<'a>>),
}

#[derive(Debug)]
pub(crate) struct Condition<'a> {
    pub(crate) quantifier: Quantifier,
    /// `None` if it could not be parsed.
    pub(crate) expression: Option<Expression<'a>>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum Expression<'a> {
    True,
    Compare {
        left: Operand<'a>,
        relation: Relation,
        right: Operand<'a>,
    },
    Not(Box<Expression<'a>>),
    And(Vec<Expression<'a>>),
    Or(Vec<Expression<'a>>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand<'a> {
    Word(Word<'a>),
    Number(Number),
}

impl Operand<'_> {
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Word(word) => word.span,
            Self::Number(number) => number.span,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Expectation<'a> {
    pub(crate) protocol: Word<'a>,
    pub(crate) options: Vec<Word<'a>>,
    pub(crate) without: Vec<Word<'a>>,
    pub(crate) verdict: Word<'a>,
    pub(crate) violation: Option<Word<'a>>,
    pub(crate) span: Span,
}
