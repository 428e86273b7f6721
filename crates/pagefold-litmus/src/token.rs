//! From characters to tokens.

use crate::diagnostic::{Diagnostic, Sink};
use crate::span::Span;

/// One token with its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

impl Token<'_> {
    /// The token as a message names it.
    pub(crate) fn describe(&self) -> String {
        match self.kind {
            TokenKind::End => "the end of the file".to_owned(),
            TokenKind::Number(_) => format!("the number `{}`", self.text),
            _ => format!("`{}`", self.text),
        }
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text == word
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A letter or `_`, then letters, digits, `_`, `-`, `.`: names of scenarios and protocols have the last two.
    Word,
    Number(u64),
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    Semicolon,
    Colon,
    Comma,
    Bar,
    Equal,
    NotEqual,
    DotDot,
    And,
    Or,
    Not,
    /// Something the lexer has reported already.
    Bad,
    End,
}

impl TokenKind {
    /// The token as a message names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Word => "a name",
            Self::Number(_) => "a number",
            Self::OpenBrace => "`{`",
            Self::CloseBrace => "`}`",
            Self::OpenParen => "`(`",
            Self::CloseParen => "`)`",
            Self::OpenBracket => "`[`",
            Self::CloseBracket => "`]`",
            Self::Semicolon => "`;`",
            Self::Colon => "`:`",
            Self::Comma => "`,`",
            Self::Bar => "`|`",
            Self::Equal => "`=`",
            Self::NotEqual => "`!=`",
            Self::DotDot => "`..`",
            Self::And => r"`/\`",
            Self::Or => r"`\/`",
            Self::Not => "`~`",
            Self::Bad => "something unreadable",
            Self::End => "the end of the file",
        }
    }
}

/// A comment: trivia to the parser, except for the one that describes the scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comment<'a> {
    /// What stands between the marks.
    pub(crate) text: &'a str,
    pub(crate) style: CommentStyle,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommentStyle {
    /// `(* ... *)`, nesting.
    Block,
    /// `// ...`
    Line,
}

/// The tokens of a text.
#[derive(Debug)]
pub(crate) struct Lexed<'a> {
    /// Ends with exactly one [`TokenKind::End`].
    pub(crate) tokens: Vec<Token<'a>>,
    pub(crate) comments: Vec<Comment<'a>>,
    /// The text ends inside a comment, so that its end is no surprise.
    pub(crate) cut_off: bool,
}

/// Cuts `source` into tokens and reports what is none.
pub(crate) fn lex<'a>(source: &'a str, sink: &mut Sink) -> Lexed<'a> {
    let mut lexer = Lexer {
        source,
        here: Span::START,
        sink,
        lexed: Lexed {
            tokens: Vec::new(),
            comments: Vec::new(),
            cut_off: false,
        },
    };
    while lexer.step() {}
    let here = lexer.here;
    lexer.push(TokenKind::End, here);
    lexer.lexed
}

/// Tokens of punctuation, and what people write for them.
const PUNCTUATION: &[(&str, TokenKind, Option<&str>)] = &[
    ("/\\", TokenKind::And, None),
    ("\\/", TokenKind::Or, None),
    ("!=", TokenKind::NotEqual, None),
    ("&&", TokenKind::Bad, Some(r"and is written `/\`")),
    ("||", TokenKind::Bad, Some(r"or is written `\/`")),
    ("==", TokenKind::Bad, Some("equality is written `=`")),
    ("<>", TokenKind::Bad, Some("inequality is written `!=`")),
    ("*)", TokenKind::Bad, Some("no comment is open here")),
    ("!", TokenKind::Bad, Some("not is written `~`")),
    ("-", TokenKind::Bad, Some("values are not negative")),
    ("..", TokenKind::DotDot, None),
    ("{", TokenKind::OpenBrace, None),
    ("}", TokenKind::CloseBrace, None),
    ("(", TokenKind::OpenParen, None),
    (")", TokenKind::CloseParen, None),
    ("[", TokenKind::OpenBracket, None),
    ("]", TokenKind::CloseBracket, None),
    (";", TokenKind::Semicolon, None),
    (":", TokenKind::Colon, None),
    (",", TokenKind::Comma, None),
    ("|", TokenKind::Bar, None),
    ("=", TokenKind::Equal, None),
    ("~", TokenKind::Not, None),
];

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Characters that begin no token at all.
fn is_foreign(c: char) -> bool {
    !c.is_whitespace()
        && !is_word_start(c)
        && !c.is_ascii_digit()
        && !"/\\!&|=<*-{}()[];:,~".contains(c)
}

struct Lexer<'a, 's> {
    source: &'a str,
    here: Span,
    sink: &'s mut Sink,
    lexed: Lexed<'a>,
}

impl<'a> Lexer<'a, '_> {
    fn rest(&self) -> &'a str {
        &self.source[self.here.offset..]
    }

    /// Goes on by `len` bytes and returns the stretch passed.
    fn advance(&mut self, len: usize) -> Span {
        let start = self.here;
        for c in self.rest()[..len].chars() {
            if c == '\n' {
                self.here.line += 1;
                self.here.column = 1;
            } else {
                self.here.column += 1;
            }
        }
        self.here.offset += len;
        Span { len, ..start }
    }

    fn advance_while(&mut self, mut belongs: impl FnMut(char) -> bool) -> Span {
        let rest = self.rest();
        let len = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.advance(len)
    }

    fn text(&self, span: Span) -> &'a str {
        &self.source[span.offset..span.end()]
    }

    fn push(&mut self, kind: TokenKind, span: Span) {
        let text = self.text(span);
        self.lexed.tokens.push(Token { kind, text, span });
    }

    /// Reports the stretch and leaves a token that the parser passes over in silence.
    fn bad(&mut self, span: Span, message: String, label: &str, help: Option<&str>) {
        self.sink
            .push(Diagnostic::new(span, message, label).maybe_help(help.map(str::to_owned)));
        self.push(TokenKind::Bad, span);
    }

    /// Takes one token, comment or stretch of white space; false at the end.
    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return false;
        };
        if first.is_whitespace() || (first == '\u{feff}' && self.here.offset == 0) {
            self.advance(first.len_utf8());
        } else if rest.starts_with("//") {
            let span = self.advance_while(|c| c != '\n');
            let text = &self.text(span)[2..];
            self.comment(text, CommentStyle::Line, span);
        } else if rest.starts_with("(*") {
            self.block_comment();
        } else if is_word_start(first) {
            let span = self.advance_while(is_word);
            self.push(TokenKind::Word, span);
        } else if first.is_ascii_digit() {
            self.number();
        } else if let Some((text, kind, meant)) =
            PUNCTUATION.iter().find(|(text, ..)| rest.starts_with(text))
        {
            let span = self.advance(text.len());
            match meant {
                None => self.push(*kind, span),
                Some(meant) => {
                    self.bad(span, format!("found `{text}`"), meant, None);
                }
            }
        } else {
            self.foreign();
        }
        true
    }

    fn comment(&mut self, text: &'a str, style: CommentStyle, span: Span) {
        self.lexed.comments.push(Comment { text, style, span });
    }

    fn block_comment(&mut self) {
        let open = Span {
            len: 2,
            ..self.here
        };
        let rest = self.rest();
        match block_comment_len(rest) {
            Some(len) => {
                let span = self.advance(len);
                self.comment(&rest[2..len - 2], CommentStyle::Block, span);
            }
            None => {
                self.advance(rest.len());
                self.lexed.cut_off = true;
                self.sink.push(
                    Diagnostic::new(
                        open,
                        "this comment is never closed",
                        "a matching `*)` is expected",
                    )
                    .help("comments nest: every `(*` needs its own `*)`"),
                );
            }
        }
    }

    fn number(&mut self) {
        // In `0..2` a number ends before the dots.
        let rest = self.rest();
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let len = rest[..len].find("..").unwrap_or(len);
        let span = self.advance(len);
        let text = self.text(span);
        let (digits, radix) = match text.strip_prefix("0x") {
            Some(digits) => (digits, 16),
            None => (text, 10),
        };
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            self.bad(
                span,
                format!("`{}` is not a number", excerpt(text)),
                "expected decimal digits, or `0x` and hexadecimal digits",
                Some("a name begins with a letter"),
            );
        } else {
            match u64::from_str_radix(digits, radix) {
                Ok(number) => self.push(TokenKind::Number(number), span),
                Err(_) => self.bad(
                    span,
                    "this number is too large".to_owned(),
                    "expected less than 2^64",
                    None,
                ),
            }
        }
    }

    fn foreign(&mut self) {
        let mut first = true;
        let span = self.advance_while(|c| std::mem::take(&mut first) || is_foreign(c));
        let text = self.text(span);
        let what = match text.chars().count() {
            1 => "character",
            _ => "characters",
        };
        let help = text
            .chars()
            .any(char::is_alphabetic)
            .then_some("names are written in ASCII letters, digits and `_`");
        self.bad(
            span,
            format!("unknown {what} `{}`", excerpt(text).escape_debug()),
            "not part of the language",
            help,
        );
    }
}

/// The length of the block comment that `text` begins with, if it is closed.
fn block_comment_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"(*" => {
                depth += 1;
                at += 2;
            }
            b"*)" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// Whether `text` can stand between `(* ` and ` *)`.
pub(crate) fn fits_block_comment(text: &str) -> bool {
    let comment = format!("(* {text} *)");
    block_comment_len(&comment) == Some(comment.len())
}

/// The beginning of a text, short enough for a message.
pub(crate) fn excerpt(text: &str) -> &str {
    const CHARS: usize = 40;
    text.char_indices()
        .nth(CHARS)
        .map_or(text, |(end, _)| &text[..end])
}
