//! From tokens to syntax, by recursive descent.
//!
//! A function that meets something it cannot use reports it once and returns [`Reported`]. The nearest loop
//! over statements or items then passes over the rest of its element and goes on with the next, keeping the
//! words it passed over in [`File::lost`], so that nobody complains again about what was declared there.

mod condition;
mod description;
mod expect;
mod header;
mod item;
mod statement;

use std::collections::HashSet;

use crate::ast::Backing;
use crate::diagnostic::{Diagnostic, Sink};
use crate::span::Span;
use crate::syntax::{File, Number, Word};
use crate::token::{Lexed, Token, TokenKind, excerpt};

/// Words with a meaning of their own, which nothing may be named after, besides those of the actors.
pub(crate) const KEYWORDS: &[&str] = &[
    Backing::ANON,
    "MM",
    "exists",
    "expect",
    "file",
    "final",
    "forall",
    "hole",
    "loop",
    "mm",
    "monitor",
    "repeat",
    "shmem",
    "true",
    "while",
];

/// The error of a parse function: what is wrong has been reported.
#[derive(Debug)]
struct Reported;

type Parsed<T> = Result<T, Reported>;

/// Parses the tokens; `None` if there was no header to go by, so that checking the rest is pointless.
pub(crate) fn parse<'a>(lexed: &Lexed<'a>, sink: &mut Sink) -> Option<File<'a>> {
    let mut parser = Parser {
        tokens: &lexed.tokens,
        at: 0,
        sink,
        lost: HashSet::new(),
        reported_at: None,
        cut_off: lexed.cut_off,
        condition_depth: 0,
        repeat_depth: 0,
    };
    parser.file(&lexed.comments).ok()
}

struct Parser<'a, 's> {
    /// Ends with [`TokenKind::End`], which is never passed.
    tokens: &'s [Token<'a>],
    at: usize,
    sink: &'s mut Sink,
    lost: HashSet<&'a str>,
    /// The token that the last complaint was about: one is enough.
    reported_at: Option<usize>,
    cut_off: bool,
    condition_depth: usize,
    repeat_depth: usize,
}

impl<'a> Parser<'a, '_> {
    fn ahead(&self, distance: usize) -> Token<'a> {
        let last = self.tokens.len() - 1;
        self.tokens[(self.at + distance).min(last)]
    }

    fn peek(&self) -> Token<'a> {
        self.ahead(0)
    }

    fn kind(&self) -> TokenKind {
        self.peek().kind
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        if token.kind != TokenKind::End {
            self.at += 1;
        }
        token
    }

    fn eat(&mut self, kind: TokenKind) -> bool {
        let found = self.kind() == kind;
        if found {
            self.next();
        }
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_word(word);
        if found {
            self.next();
        }
        found
    }

    /// The stretch from `first` to the last token passed.
    fn since(&self, first: Span) -> Span {
        match self.at.checked_sub(1) {
            Some(last) => first.to(self.tokens[last].span),
            None => first,
        }
    }

    /// Reports `diagnostic` about the next token, unless there was a complaint about it already.
    fn report(&mut self, diagnostic: Diagnostic) -> Reported {
        let silent = match self.kind() {
            TokenKind::Bad => true,
            TokenKind::End => self.cut_off,
            _ => false,
        };
        if !silent && self.reported_at != Some(self.at) {
            self.sink.push(diagnostic);
        }
        self.reported_at = Some(self.at);
        Reported
    }

    /// Reports that the next token is not what was expected.
    fn unexpected(&mut self, expected: &str) -> Reported {
        self.unexpected_with(expected, None)
    }

    fn unexpected_with(&mut self, expected: &str, help: Option<&str>) -> Reported {
        let found = self.peek();
        self.report(
            Diagnostic::new(
                found.span,
                format!("expected {expected}, found {}", shorten(&found)),
                format!("expected {expected}"),
            )
            .maybe_help(help.map(str::to_owned)),
        )
    }

    fn expect(&mut self, kind: TokenKind) -> Parsed<Token<'a>> {
        if self.kind() == kind {
            Ok(self.next())
        } else {
            Err(self.unexpected(kind.name()))
        }
    }

    fn word(&mut self, what: &str) -> Parsed<Word<'a>> {
        if self.kind() == TokenKind::Word {
            let Token { text, span, .. } = self.next();
            Ok(Word { text, span })
        } else {
            Err(self.unexpected(what))
        }
    }

    fn number(&mut self, what: &str) -> Parsed<Number> {
        match self.kind() {
            TokenKind::Number(value) => {
                let span = self.next().span;
                Ok(Number { value, span })
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// The `;` at the end of a statement. One that is merely forgotten is reported and taken as there.
    fn semicolon(&mut self) -> Parsed<()> {
        if self.eat(TokenKind::Semicolon) {
            return Ok(());
        }
        let found = self.peek();
        let before = self.tokens[self.at.saturating_sub(1)].span;
        let after = Span {
            offset: before.end(),
            len: 0,
            line: before.line,
            column: before.column + self.tokens[self.at.saturating_sub(1)].text.chars().count(),
        };
        let forgotten = found.span.line > before.line || found.kind == TokenKind::CloseBrace;
        let reported = self.report(Diagnostic::new(
            if forgotten { after } else { found.span },
            format!("expected `;`, found {}", shorten(&found)),
            "expected `;`",
        ));
        if forgotten { Ok(()) } else { Err(reported) }
    }

    /// Elements separated by commas up to `close`, which is passed too; a trailing comma is fine.
    fn separated<T>(
        &mut self,
        close: TokenKind,
        mut element: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut elements = Vec::new();
        while self.kind() != close {
            elements.push(element(self)?);
            if !self.eat(TokenKind::Comma) {
                if self.kind() != close {
                    return Err(self.unexpected(&format!("`,` or {}", close.name())));
                }
                break;
            }
        }
        self.next();
        Ok(elements)
    }

    /// Elements up to the `}` that belongs to `open`. An element that fails is passed over. `stop` tells the
    /// beginning of something that cannot stand in a block: the `}` before it is missing.
    fn block<T>(
        &mut self,
        open: Span,
        stop: impl Fn(&Self) -> bool,
        mut element: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Vec<T> {
        let mut elements = Vec::new();
        while !self.eat(TokenKind::CloseBrace) {
            if self.kind() == TokenKind::End || stop(self) {
                let found = self.peek();
                self.report(
                    Diagnostic::new(
                        found.span,
                        format!("expected `}}`, found {}", shorten(&found)),
                        "expected `}` before this",
                    )
                    .related(open, "to close this block"),
                );
                break;
            }
            let start = self.at;
            match element(self) {
                Ok(element) => elements.push(element),
                Err(Reported) => self.recover(start),
            }
        }
        elements
    }

    /// Goes on after a failed element that began at token `start`: behind its `;` or its `{ ... }`, or in
    /// front of the `}` that ends what it stands in, or of an item that shows that this `}` is missing.
    fn recover(&mut self, start: usize) {
        loop {
            match self.kind() {
                TokenKind::CloseBrace | TokenKind::End => break,
                TokenKind::Semicolon => {
                    self.next();
                    break;
                }
                TokenKind::OpenBrace => {
                    self.skip_braces();
                    break;
                }
                _ if self.at_item() => break,
                _ => {
                    self.next();
                }
            }
        }
        self.lose(start);
    }

    /// Passes over `{ ... }` with everything in it.
    fn skip_braces(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.next().kind {
                TokenKind::OpenBrace => depth += 1,
                TokenKind::CloseBrace => depth -= 1,
                _ => {}
            }
            if depth == 0 || self.kind() == TokenKind::End {
                return;
            }
        }
    }

    /// Keeps the words from token `start` on as lost.
    fn lose(&mut self, start: usize) {
        let words = self.tokens[start..self.at]
            .iter()
            .filter(|token| token.kind == TokenKind::Word)
            .map(|token| token.text);
        self.lost.extend(words);
    }
}

/// The token as a message names it, cut to a readable length.
fn shorten(token: &Token<'_>) -> String {
    let text = excerpt(token.text);
    if text.len() < token.text.len() {
        format!("`{text}...`")
    } else {
        token.describe()
    }
}
