//! The header: objects, address spaces, whether frames are used again, what huge pages there may be, what entries there are, set-up.

use super::{Parsed, Parser, Reported};
use crate::ast::ObjectKind;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Content, Mm, MmItem, Object, Phase, Word};
use crate::token::{TokenKind, excerpt};

/// What stands between the braces after the name.
#[derive(Default)]
pub(super) struct Header<'a> {
    pub(super) objects: Vec<Object<'a>>,
    pub(super) mms: Vec<Mm<'a>>,
    pub(super) reuse_frames: bool,
    pub(super) shmem_denied: bool,
    pub(super) formats: Vec<Word<'a>>,
    pub(super) setup: Vec<Phase<'a>>,
}

impl<'a> Parser<'a, '_> {
    pub(super) fn header(&mut self) -> Parsed<Header<'a>> {
        let open = self.expect(TokenKind::OpenBrace)?.span;
        let mut header = Header::default();
        self.block(
            open,
            |parser| parser.at_item(),
            |parser| parser.header_element(&mut header),
        );
        Ok(header)
    }

    fn header_element(&mut self, header: &mut Header<'a>) -> Parsed<()> {
        if let Some(kind) = self.object_kind() {
            header.objects.push(self.object(kind)?);
        } else if self.peek().is_word("mm") {
            header.mms.push(self.mm()?);
        } else if self.peek().is_word("reuse") && self.ahead(1).is_word("frames") {
            self.next();
            self.next();
            self.semicolon()?;
            header.reuse_frames = true;
        } else if self.peek().is_word("shmem_enabled") && self.ahead(1).is_word("deny") {
            self.next();
            self.next();
            self.semicolon()?;
            header.shmem_denied = true;
        } else if self.peek().is_word("format") && self.ahead(1).kind == TokenKind::Word {
            self.next();
            header.formats.push(self.word("a format")?);
            self.semicolon()?;
        } else if self.at_label() {
            let head = self.peek().span;
            let mm = self.word("an mm")?;
            self.next();
            header.setup.push(Phase {
                mm,
                body: Vec::new(),
                span: self.since(head),
            });
        } else if let Some(phase) = header.setup.last_mut() {
            let statement = self.statement()?;
            phase.body.push(statement);
        } else {
            return Err(self.unexpected_with(
                "`shmem`, `file`, `mm`, `reuse frames`, `shmem_enabled deny`, `format` or a set-up statement after `MM:`",
                Some("set-up statements begin with the mm they run in: `A: x[0] = 1;`"),
            ));
        }
        Ok(())
    }

    /// At `A:`, and not at `x: mmap(...)`.
    fn at_label(&self) -> bool {
        self.kind() == TokenKind::Word
            && self.ahead(1).kind == TokenKind::Colon
            && !(self.ahead(2).is_word("mmap") && self.ahead(3).kind == TokenKind::OpenParen)
    }

    /// The sort of object whose declaration may begin here.
    fn object_kind(&self) -> Option<ObjectKind> {
        ObjectKind::ALL
            .into_iter()
            .find(|kind| self.peek().is_word(kind.name()))
    }

    fn object(&mut self, kind: ObjectKind) -> Parsed<Object<'a>> {
        self.next();
        let name = self.word("the name of the object")?;
        self.expect(TokenKind::OpenBracket)?;
        let pages = self.number("the number of pages")?;
        self.expect(TokenKind::CloseBracket)?;
        let contents = if self.eat(TokenKind::Equal) {
            self.contents()?
        } else {
            Vec::new()
        };
        self.semicolon()?;
        Ok(Object {
            kind,
            name,
            pages,
            contents,
        })
    }

    /// `{ 1, hole }`; passed over as a whole if it fails, so that its `}` ends nothing else.
    fn contents(&mut self) -> Parsed<Vec<Content>> {
        let open = self.at;
        self.expect(TokenKind::OpenBrace)?;
        let contents = self.separated(TokenKind::CloseBrace, Self::content);
        if contents.is_err() {
            self.at = open;
            self.skip_braces();
        }
        contents
    }

    fn content(&mut self) -> Parsed<Content> {
        let span = self.peek().span;
        let value = if self.eat_word("hole") {
            None
        } else {
            Some(self.number("a number or `hole`")?.value)
        };
        Ok(Content { value, span })
    }

    fn mm(&mut self) -> Parsed<Mm<'a>> {
        self.next();
        let name = self.word("the name of the mm")?;
        if self.eat(TokenKind::Equal) {
            return self.forked_mm(name);
        }
        let open = self.expect(TokenKind::OpenBrace)?.span;
        let items = self.block(open, Self::at_declaration, Self::mm_item);
        Ok(Mm {
            name,
            parent: None,
            items,
        })
    }

    /// `fork(A);`
    fn forked_mm(&mut self, name: Word<'a>) -> Parsed<Mm<'a>> {
        if !self.eat_word("fork") {
            return Err(self.unexpected("`fork`"));
        }
        self.expect(TokenKind::OpenParen)?;
        let parent = self.word("the mm that forks")?;
        self.expect(TokenKind::CloseParen)?;
        self.semicolon()?;
        Ok(Mm {
            name,
            parent: Some(parent),
            items: Vec::new(),
        })
    }

    fn at_declaration(&self) -> bool {
        let keyword = self.object_kind().is_some() || self.peek().is_word("mm");
        (keyword && self.ahead(1).kind == TokenKind::Word) || self.at_item()
    }

    fn mm_item(&mut self) -> Parsed<MmItem<'a>> {
        let item = match self.ahead(1).kind {
            TokenKind::Colon => {
                let name = self.word("the name of a mapping")?;
                self.next();
                MmItem::Map(name, self.call()?)
            }
            TokenKind::Equal if self.ahead(2).is_word("mmap") => {
                return Err(self.mapping_with_equal());
            }
            _ => {
                if self.kind() != TokenKind::Word {
                    return Err(self.unexpected("a mapping `x: mmap(...)`, or `uffd(...)`"));
                }
                MmItem::Call(self.call()?)
            }
        };
        self.semicolon()?;
        Ok(item)
    }

    /// Reports `x = mmap(...)`.
    pub(super) fn mapping_with_equal(&mut self) -> Reported {
        let name = self.next();
        let equal = self.peek().span;
        self.report(
            Diagnostic::new(equal, "expected `:`, found `=`", "expected `:`").help(format!(
                "a mapping is named with a colon: `{}: mmap(f, MAP_SHARED);`",
                excerpt(name.text)
            )),
        )
    }
}
