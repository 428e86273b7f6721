//! The file as a whole, and what follows the header: threads and finals.

use super::description::description;
use super::{Parsed, Parser, Reported};
use crate::actors::{ACTORS, ActorSpec};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::syntax::{Actor, File, Phase, Thread};
use crate::token::{Comment, TokenKind};

/// The parts after the header, in the order in which they must stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Thread,
    Final,
    Condition,
    Expect,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Thread => "a thread",
            Self::Final => "`final`",
            Self::Condition => "the condition",
            Self::Expect => "`expect`",
        }
    }
}

impl<'a> Parser<'a, '_> {
    pub(super) fn file(&mut self, comments: &[Comment<'a>]) -> Parsed<File<'a>> {
        if !self.eat_word("MM") {
            return Err(
                self.unexpected_with("`MM`", Some("a scenario begins with `MM` and its name"))
            );
        }
        let name = self.word("the name of the scenario")?;
        let description = description(comments, name.span.end(), self.peek().span.offset);
        let header = self.header()?;
        let mut file = File {
            name: name.text,
            description,
            objects: header.objects,
            mms: header.mms,
            reuse_frames: header.reuse_frames,
            shmem_denied: header.shmem_denied,
            formats: header.formats,
            setup: header.setup,
            threads: Vec::new(),
            finals: Vec::new(),
            condition: None,
            expectations: Vec::new(),
            lost: Default::default(),
        };
        self.items(&mut file);
        file.lost = std::mem::take(&mut self.lost);
        Ok(file)
    }

    fn items(&mut self, file: &mut File<'a>) {
        let mut furthest = Part::Thread;
        let mut threads = 0_usize;
        while self.kind() != TokenKind::End {
            let start = self.at;
            let part = self.part();
            if let Some(part) = part {
                threads += usize::from(part == Part::Thread);
                self.check_order(part, furthest);
                furthest = furthest.max(part);
            }
            let parsed = match part {
                Some(Part::Thread) => self.thread().map(|thread| file.threads.push(thread)),
                Some(Part::Final) => self.final_phase().map(|phase| file.finals.push(phase)),
                Some(Part::Condition) => self.condition(file),
                Some(Part::Expect) => self.expectations(&mut file.expectations),
                None => Err(self.unexpected("a thread, `final`, a condition or `expect`")),
            };
            if let Err(Reported) = parsed {
                self.recover_item(start);
            }
        }
        if threads == 0 {
            self.unexpected_with(
                "a thread",
                Some("nothing races without a thread: `P0 (A) { ... }`"),
            );
        }
    }

    fn part(&self) -> Option<Part> {
        let token = self.peek();
        match (token.kind, token.text) {
            (TokenKind::Word, "final") => Some(Part::Final),
            (TokenKind::Word, "forall" | "exists") | (TokenKind::Not, _) => Some(Part::Condition),
            (TokenKind::Word, "expect") => Some(Part::Expect),
            (TokenKind::Word, _) => Some(Part::Thread),
            _ => None,
        }
    }

    fn check_order(&mut self, part: Part, furthest: Part) {
        if part < furthest {
            let (part, furthest) = (part.name(), furthest.name());
            self.report(
                Diagnostic::new(
                    self.peek().span,
                    format!("{part} stands after {furthest}"),
                    format!("expected before {furthest}"),
                )
                .help("the order is: threads, `final`, the condition, `expect`"),
            );
        }
    }

    /// Goes on after a failed item: behind its `{ ... }`, or at the keyword of the next.
    fn recover_item(&mut self, start: usize) {
        if self.at == start {
            self.next();
        }
        loop {
            match self.kind() {
                TokenKind::End => break,
                TokenKind::OpenBrace => {
                    self.skip_braces();
                    break;
                }
                TokenKind::CloseBrace => {
                    self.next();
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

    /// At what can only be the beginning of an item after the header.
    pub(super) fn at_item(&self) -> bool {
        let token = self.peek();
        let keyword = match (token.kind, token.text) {
            // Somebody may have named something after a keyword.
            (TokenKind::Word, "final" | "forall" | "exists" | "expect") => !matches!(
                self.ahead(1).kind,
                TokenKind::Colon | TokenKind::Equal | TokenKind::OpenBracket
            ),
            (TokenKind::Not, _) => self.ahead(1).is_word("exists"),
            _ => false,
        };
        keyword || self.at_thread()
    }

    /// At `P0 (A) {` or `P0 (device A) {`.
    fn at_thread(&self) -> bool {
        let kinds = |expected: &[TokenKind]| {
            expected
                .iter()
                .enumerate()
                .all(|(distance, kind)| self.ahead(distance).kind == *kind)
        };
        use TokenKind::{CloseParen, OpenBrace, OpenParen, Word};
        kinds(&[Word, OpenParen, Word, CloseParen, OpenBrace])
            || kinds(&[Word, OpenParen, Word, Word, CloseParen, OpenBrace])
    }

    fn thread(&mut self) -> Parsed<Thread<'a>> {
        let first = self.peek().span;
        let name = self.word("the name of a thread")?;
        self.expect(TokenKind::OpenParen)?;
        let actor = self.actor()?;
        self.expect(TokenKind::CloseParen)?;
        let span = self.since(first);
        Ok(Thread {
            name,
            actor,
            body: self.body()?,
            span,
        })
    }

    fn actor(&mut self) -> Parsed<Actor<'a>> {
        let word = self.word(&ActorSpec::alternatives())?;
        match ActorSpec::find(word.text) {
            Some(spec) => {
                let mm = if spec.of_mm {
                    Some(self.word(&format!("the mm of the {}", spec.word))?)
                } else {
                    None
                };
                Ok(Actor { spec, mm })
            }
            None if self.kind() == TokenKind::Word => {
                self.at -= 1;
                Err(self.unexpected(&ActorSpec::alternatives()))
            }
            None => {
                let (spec, mm) = (&ACTORS[0], Some(word));
                Ok(Actor { spec, mm })
            }
        }
    }

    fn final_phase(&mut self) -> Parsed<Phase<'a>> {
        let first: Span = self.next().span;
        self.expect(TokenKind::OpenParen)?;
        let mm = self.word("the mm to look from")?;
        self.expect(TokenKind::CloseParen)?;
        let span = self.since(first);
        Ok(Phase {
            mm,
            body: self.body()?,
            span,
        })
    }
}
