//! Statements and calls.

use super::{Parsed, Parser, Reported};
use crate::diagnostic::Diagnostic;
use crate::limits::{REPEAT, REPEAT_NESTING};
use crate::syntax::{
    Argument, ArgumentKind, Call, Number, Page, Range, Statement, StatementKind, Word,
};
use crate::token::TokenKind;

impl<'a> Parser<'a, '_> {
    /// `{ statement ... }`
    pub(super) fn body(&mut self) -> Parsed<Vec<Statement<'a>>> {
        let open = self.expect(TokenKind::OpenBrace)?.span;
        Ok(self.block(open, Self::at_item, Self::statement))
    }

    pub(super) fn statement(&mut self) -> Parsed<Statement<'a>> {
        let first = self.peek();
        if first.kind != TokenKind::Word {
            return Err(self.unexpected("a statement"));
        }
        let kind = match first.text {
            "repeat" => self.repeat()?,
            "loop" | "while" => self.unbounded()?,
            _ => {
                let kind = self.simple()?;
                let span = self.since(first.span);
                self.semicolon()?;
                return Ok(Statement { kind, span });
            }
        };
        let span = self.since(first.span);
        Ok(Statement { kind, span })
    }

    fn simple(&mut self) -> Parsed<StatementKind<'a>> {
        match self.ahead(1).kind {
            TokenKind::Colon => {
                let name = self.word("the name of a mapping")?;
                self.next();
                let call = self.call()?;
                Ok(StatementKind::Map { name, call })
            }
            TokenKind::Equal if self.ahead(2).is_word("mmap") => Err(self.mapping_with_equal()),
            TokenKind::Equal => {
                let result = Some(self.word("a register")?);
                self.next();
                self.source(result)
            }
            TokenKind::OpenBracket => {
                let page = self.page()?;
                if self.eat(TokenKind::Equal) {
                    let value = self.number("a number to store")?.value;
                    Ok(StatementKind::Store { page, value })
                } else {
                    Ok(StatementKind::Load { result: None, page })
                }
            }
            TokenKind::OpenParen => {
                let call = self.call()?;
                Ok(StatementKind::Call { result: None, call })
            }
            _ => {
                self.next();
                Err(self.unexpected("`=`, `[`, `(` or `:`"))
            }
        }
    }

    /// What stands right of `r =`.
    fn source(&mut self, result: Option<Word<'a>>) -> Parsed<StatementKind<'a>> {
        const EXPECTED: &str = "a page `x[i]` or a call";
        if self.kind() != TokenKind::Word {
            return Err(self.unexpected_with(
                EXPECTED,
                Some("a register takes what a load or a call gives"),
            ));
        }
        match self.ahead(1).kind {
            TokenKind::OpenBracket => {
                let page = self.page()?;
                Ok(StatementKind::Load { result, page })
            }
            TokenKind::OpenParen => {
                let call = self.call()?;
                Ok(StatementKind::Call { result, call })
            }
            _ => Err(self.unexpected(EXPECTED)),
        }
    }

    fn page(&mut self) -> Parsed<Page<'a>> {
        let name = self.word("a name")?;
        self.expect(TokenKind::OpenBracket)?;
        let page = self.number("the number of a page")?;
        self.expect(TokenKind::CloseBracket)?;
        let span = self.since(name.span);
        Ok(Page { name, page, span })
    }

    pub(super) fn call(&mut self) -> Parsed<Call<'a>> {
        let name = self.word("a call")?;
        self.expect(TokenKind::OpenParen)?;
        let arguments = self.separated(TokenKind::CloseParen, Self::argument)?;
        let span = self.since(name.span);
        Ok(Call {
            name,
            arguments,
            span,
        })
    }

    fn argument(&mut self) -> Parsed<Argument<'a>> {
        let first = self.peek().span;
        let kind = if let TokenKind::Number(value) = self.kind() {
            self.next();
            ArgumentKind::Number(value)
        } else if self.ahead(1).kind == TokenKind::OpenBracket {
            self.pages()?
        } else {
            let mut words = vec![self.word("an argument")?];
            while self.eat(TokenKind::Bar) {
                words.push(self.word("a constant")?);
            }
            ArgumentKind::Words(words)
        };
        let span = self.since(first);
        Ok(Argument { kind, span })
    }

    /// `x[i]` or `x[i..j]`
    fn pages(&mut self) -> Parsed<ArgumentKind<'a>> {
        let name = self.word("a name")?;
        self.expect(TokenKind::OpenBracket)?;
        let page = self.number("the number of a page")?;
        let end = if self.eat(TokenKind::DotDot) {
            Some(self.number("the number of the page after the last")?)
        } else {
            None
        };
        self.expect(TokenKind::CloseBracket)?;
        let span = self.since(name.span);
        Ok(match end {
            Some(end) => ArgumentKind::Range(Range {
                name,
                first: page,
                end,
            }),
            None => ArgumentKind::Page(Page { name, page, span }),
        })
    }

    fn repeat(&mut self) -> Parsed<StatementKind<'a>> {
        let keyword = self.next().span;
        let times = match self.kind() {
            TokenKind::Number(value) => {
                let span = self.next().span;
                Number { value, span }
            }
            _ => {
                self.no_bound();
                Number {
                    value: 1,
                    span: keyword,
                }
            }
        };
        let body = self.repeated()?;
        Ok(StatementKind::Repeat { times, body })
    }

    /// `while` and `loop`: reported, and then read as a `repeat` for what is in it.
    fn unbounded(&mut self) -> Parsed<StatementKind<'a>> {
        self.no_bound();
        let span = self.next().span;
        while !matches!(
            self.kind(),
            TokenKind::OpenBrace | TokenKind::CloseBrace | TokenKind::Semicolon | TokenKind::End
        ) {
            self.next();
        }
        if self.kind() != TokenKind::OpenBrace {
            return Err(Reported);
        }
        let body = self.repeated()?;
        let times = Number { value: 1, span };
        Ok(StatementKind::Repeat { times, body })
    }

    fn no_bound(&mut self) {
        let found = self.peek();
        self.report(
            Diagnostic::new(
                found.span,
                "a loop must have a bound",
                format!("expected `repeat` and a number from 1 to {REPEAT}"),
            )
            .help("write `repeat 3 { ... }`"),
        );
    }

    fn repeated(&mut self) -> Parsed<Vec<Statement<'a>>> {
        if self.kind() == TokenKind::OpenBrace && self.repeat_depth == REPEAT_NESTING {
            return Err(self.report(Diagnostic::new(
                self.peek().span,
                "too many loops in each other",
                format!("expected at most {REPEAT_NESTING}"),
            )));
        }
        self.repeat_depth += 1;
        let body = self.body();
        self.repeat_depth -= 1;
        body
    }
}
