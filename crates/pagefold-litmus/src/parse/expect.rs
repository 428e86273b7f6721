//! The expectations: what should come out under which protocol.

use super::{Parsed, Parser, Reported, shorten};
use crate::diagnostic::Diagnostic;
use crate::nearest::did_you_mean;
use crate::syntax::{Expectation, Word};
use crate::token::TokenKind;

/// What may come after the protocol.
const OPTIONS: [&str; 4] = ["unsplit", "strict", "tso", "ra"];
const EXPECTED_OPTION: &str = "expected `:`, `unsplit`, `strict`, `tso`, `ra` or `without`";

impl<'a> Parser<'a, '_> {
    /// `expect { ... }`; a second one is added to the first.
    pub(super) fn expectations(&mut self, all: &mut Vec<Expectation<'a>>) -> Parsed<()> {
        self.next();
        let open = self.expect(TokenKind::OpenBrace)?.span;
        let more = self.block(open, Self::at_item, Self::expectation);
        all.extend(more);
        Ok(())
    }

    fn expectation(&mut self) -> Parsed<Expectation<'a>> {
        let protocol = self.word("a protocol")?;
        let mut options = Vec::new();
        while self.kind() == TokenKind::Word && self.peek().text != "without" {
            options.push(self.option()?);
        }
        let mut without = Vec::new();
        if self.eat_word("without") {
            without.push(self.word("a safeguard")?);
            while self.eat(TokenKind::Comma) {
                without.push(self.word("a safeguard")?);
            }
        }
        if !self.eat(TokenKind::Colon) {
            let expected = if without.is_empty() {
                "`:`, `unsplit`, `strict`, `tso`, `ra` or `without`"
            } else {
                "`,` or `:`"
            };
            return Err(self.unexpected(expected));
        }
        let verdict = self.word("a verdict")?;
        let violation = match self.kind() {
            TokenKind::Word => Some(self.word("a violation")?),
            _ => None,
        };
        let span = self.since(protocol.span);
        self.semicolon()?;
        Ok(Expectation {
            protocol,
            options,
            without,
            verdict,
            violation,
            span,
        })
    }

    fn option(&mut self) -> Parsed<Word<'a>> {
        let option = self.peek();
        if !OPTIONS.contains(&option.text) {
            return Err(self.unknown_option());
        }
        self.word("an option")
    }

    fn unknown_option(&mut self) -> Reported {
        let option = self.peek();
        let shown = shorten(&option);
        let help = did_you_mean(option.text, OPTIONS.into_iter().chain(["without"]));
        self.report(
            Diagnostic::new(
                option.span,
                format!("unknown option {shown}"),
                EXPECTED_OPTION,
            )
            .maybe_help(help),
        )
    }
}
