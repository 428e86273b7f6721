//! The condition: a quantifier and a boolean expression.
//!
//! `~` binds closest, then `/\`, then `\/`.

use super::{Parsed, Parser};
use crate::condition::{Quantifier, Relation};
use crate::diagnostic::Diagnostic;
use crate::limits::CONDITION_NESTING;
use crate::syntax::{Condition, Expression, File, Number, Operand, Word};
use crate::token::TokenKind;

impl<'a> Parser<'a, '_> {
    pub(super) fn condition(&mut self, file: &mut File<'a>) -> Parsed<()> {
        let first = self.peek().span;
        if let Some(earlier) = &file.condition {
            return Err(self.report(
                Diagnostic::new(
                    first,
                    "a second condition",
                    "expected at most one condition",
                )
                .related(earlier.span, "the first is here")
                .help(r"join them with `/\`"),
            ));
        }
        let quantifier = self.quantifier()?;
        let expression = self.disjunction();
        let failed = expression.as_ref().err().is_some();
        file.condition = Some(Condition {
            quantifier,
            expression: expression.ok(),
            span: self.since(first),
        });
        if failed { Err(super::Reported) } else { Ok(()) }
    }

    fn quantifier(&mut self) -> Parsed<Quantifier> {
        if self.eat_word("forall") {
            Ok(Quantifier::Forall)
        } else if self.eat_word("exists") {
            Ok(Quantifier::Exists)
        } else {
            self.expect(TokenKind::Not)?;
            if self.eat_word("exists") {
                Ok(Quantifier::NotExists)
            } else {
                Err(self.unexpected("`exists`"))
            }
        }
    }

    fn disjunction(&mut self) -> Parsed<Expression<'a>> {
        self.chain(TokenKind::Or, Self::conjunction, Expression::Or)
    }

    fn conjunction(&mut self) -> Parsed<Expression<'a>> {
        self.chain(TokenKind::And, Self::unary, Expression::And)
    }

    fn chain(
        &mut self,
        connective: TokenKind,
        part: fn(&mut Self) -> Parsed<Expression<'a>>,
        join: fn(Vec<Expression<'a>>) -> Expression<'a>,
    ) -> Parsed<Expression<'a>> {
        let first = part(self)?;
        if self.kind() != connective {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.eat(connective) {
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn unary(&mut self) -> Parsed<Expression<'a>> {
        let nests = matches!(self.kind(), TokenKind::Not | TokenKind::OpenParen);
        if nests && self.condition_depth == CONDITION_NESTING {
            return Err(self.report(Diagnostic::new(
                self.peek().span,
                "this condition nests too deep",
                format!("expected at most {CONDITION_NESTING} `(` and `~` in each other"),
            )));
        }
        if !nests {
            return self.atom();
        }
        self.condition_depth += 1;
        let expression = if self.eat(TokenKind::Not) {
            self.unary().map(|inner| Expression::Not(Box::new(inner)))
        } else {
            self.bracketed()
        };
        self.condition_depth -= 1;
        expression
    }

    fn bracketed(&mut self) -> Parsed<Expression<'a>> {
        self.next();
        let inner = self.disjunction()?;
        if self.eat(TokenKind::CloseParen) {
            Ok(inner)
        } else {
            Err(self.unexpected(r"`/\`, `\/` or `)`"))
        }
    }

    fn atom(&mut self) -> Parsed<Expression<'a>> {
        if self.eat_word("true") {
            return Ok(Expression::True);
        }
        let left = self.operand(r"a comparison `r = 1`, `true`, `~` or `(`")?;
        let relation = match self.kind() {
            TokenKind::Equal => Relation::Equal,
            TokenKind::NotEqual => Relation::NotEqual,
            _ => return Err(self.unexpected("`=` or `!=`")),
        };
        self.next();
        let right = self.operand("a number, a symbol or a register")?;
        Ok(Expression::Compare {
            left,
            relation,
            right,
        })
    }

    fn operand(&mut self, expected: &str) -> Parsed<Operand<'a>> {
        let token = self.peek();
        let span = token.span;
        let operand = match token.kind {
            TokenKind::Word => Operand::Word(Word {
                text: token.text,
                span,
            }),
            TokenKind::Number(value) => Operand::Number(Number { value, span }),
            _ => return Err(self.unexpected(expected)),
        };
        self.next();
        Ok(operand)
    }
}
