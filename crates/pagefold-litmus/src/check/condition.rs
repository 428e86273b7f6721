//! The condition: its registers are written somewhere, its words mean something.

use super::Checker;
use crate::condition::{Condition, Expression, Operand};
use crate::diagnostic::Diagnostic;
use crate::syntax;
use crate::value::{Symbol, Value};

impl<'a> Checker<'a, '_> {
    pub(super) fn condition(&mut self, condition: &syntax::Condition<'a>) -> Option<Condition> {
        let expression = self.expression(condition.expression.as_ref()?)?;
        Some(Condition {
            quantifier: condition.quantifier,
            expression,
            span: condition.span,
        })
    }

    fn expression(&mut self, expression: &syntax::Expression<'a>) -> Option<Expression> {
        Some(match expression {
            syntax::Expression::True => Expression::True,
            syntax::Expression::Compare {
                left,
                relation,
                right,
            } => {
                let (left_operand, right_operand) = (self.operand(*left), self.operand(*right));
                let (left_operand, right_operand) = (left_operand?, right_operand?);
                if let (Operand::Value(_), Operand::Value(_)) = (left_operand, right_operand) {
                    self.report(Diagnostic::new(
                        left.span().to(right.span()),
                        "this compares two constants",
                        "expected a register on one side",
                    ));
                    return None;
                }
                Expression::Compare {
                    left: left_operand,
                    relation: *relation,
                    right: right_operand,
                }
            }
            syntax::Expression::Not(inner) => Expression::Not(Box::new(self.expression(inner)?)),
            syntax::Expression::And(parts) => Expression::And(self.parts(parts)?),
            syntax::Expression::Or(parts) => Expression::Or(self.parts(parts)?),
        })
    }

    /// All parts, so that each is checked, and only then whether all are good.
    fn parts(&mut self, parts: &[syntax::Expression<'a>]) -> Option<Vec<Expression>> {
        let mut checked = Vec::with_capacity(parts.len());
        for part in parts {
            if self.enough() {
                return None;
            }
            checked.push(self.expression(part));
        }
        checked.into_iter().collect()
    }

    fn operand(&mut self, operand: syntax::Operand<'a>) -> Option<Operand> {
        match operand {
            syntax::Operand::Number(number) => Some(Operand::Value(Value::Number(number.value))),
            syntax::Operand::Word(word) => match Symbol::from_name(word.text) {
                Some(symbol) => Some(Operand::Value(Value::Symbol(symbol))),
                None => self.read(word).map(Operand::Register),
            },
        }
    }
}
