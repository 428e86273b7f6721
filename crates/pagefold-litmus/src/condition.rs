//! Conditions over the registers at the end of a run.

use crate::ids::RegisterId;
use crate::span::Span;
use crate::value::Value;

/// What a scenario claims about its outcomes: `forall (r = 7 /\ ~(e = EAGAIN))`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Of which executions the expression is claimed.
    pub quantifier: Quantifier,
    /// What is claimed.
    pub expression: Expression,
    /// The whole condition in the source.
    pub span: Span,
}

impl Condition {
    /// Whether one outcome satisfies the expression; the quantifier is the caller's.
    ///
    /// `registers` is indexed by [`RegisterId::index`]. A register that is not set, because its thread
    /// never came to it, is equal to nothing, itself included: `=` is false, `!=` is true.
    pub fn eval(&self, registers: &[Option<Value>]) -> bool {
        self.expression.eval(registers)
    }
}

/// Of which executions a condition is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// `forall`: of every one.
    Forall,
    /// `exists`: of at least one.
    Exists,
    /// `~exists`: of none.
    NotExists,
}

impl Quantifier {
    /// The quantifier as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forall => "forall",
            Self::Exists => "exists",
            Self::NotExists => "~exists",
        }
    }
}

/// A boolean expression over registers.
///
/// A chain of one connective is one node, so that the depth of an expression is the depth of its brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// `true`
    True,
    /// `r = 7`, `r != e`
    Compare {
        /// The left side.
        left: Operand,
        /// How they are compared.
        relation: Relation,
        /// The right side.
        right: Operand,
    },
    /// `~e`
    Not(Box<Expression>),
    /// `e /\ e /\ e`
    And(Vec<Expression>),
    /// `e \/ e \/ e`
    Or(Vec<Expression>),
}

impl Expression {
    /// Whether the expression is true of these registers; see [`Condition::eval`].
    pub fn eval(&self, registers: &[Option<Value>]) -> bool {
        match self {
            Self::True => true,
            Self::Compare {
                left,
                relation,
                right,
            } => {
                let equal = match (left.value(registers), right.value(registers)) {
                    (Some(left), Some(right)) => left == right,
                    _ => false,
                };
                match relation {
                    Relation::Equal => equal,
                    Relation::NotEqual => !equal,
                }
            }
            Self::Not(inner) => !inner.eval(registers),
            Self::And(parts) => parts.iter().all(|part| part.eval(registers)),
            Self::Or(parts) => parts.iter().any(|part| part.eval(registers)),
        }
    }
}

/// How two operands are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// What a register holds.
    Register(RegisterId),
    /// A number or a symbol.
    Value(Value),
}

impl Operand {
    fn value(self, registers: &[Option<Value>]) -> Option<Value> {
        match self {
            Self::Register(register) => registers.get(register.index()).copied().flatten(),
            Self::Value(value) => Some(value),
        }
    }
}
