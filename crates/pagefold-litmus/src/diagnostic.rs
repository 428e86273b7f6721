//! What is wrong with a scenario: plain data, collected while parsing and checking.

use std::fmt;

use serde::Serialize;

use crate::limits::DIAGNOSTICS;
use crate::span::Span;

/// Everything found wrong in one source text, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostics {
    /// The file, as the caller named it.
    pub file_name: String,
    /// The first [`limits::DIAGNOSTICS`](DIAGNOSTICS) findings; at least one.
    pub list: Vec<Diagnostic>,
    /// How many more there were.
    pub omitted: usize,
}

impl Diagnostics {
    /// The findings, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }
}

impl<'d> IntoIterator for &'d Diagnostics {
    type Item = &'d Diagnostic;
    type IntoIter = std::slice::Iter<'d, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One line for each finding: `file:line:column: message`.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            let Span { line, column, .. } = diagnostic.span;
            write!(
                f,
                "{newline}{}:{line}:{column}: {}",
                self.file_name, diagnostic.message
            )?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\nand {omitted} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What was found.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What stands under the caret: what was expected.
    pub label: String,
    /// Another place that has to do with it.
    pub related: Option<Related>,
    /// What to write instead.
    pub help: Option<String>,
}

/// A second place of a [`Diagnostic`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    pub span: Span,
    /// What is there.
    pub label: String,
}

impl Diagnostic {
    pub(crate) fn new(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span,
            label: label.into(),
            related: None,
            help: None,
        }
    }

    pub(crate) fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related = Some(Related {
            span,
            label: label.into(),
        });
        self
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.maybe_help(Some(help.into()))
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// Where the stages put their findings.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    found: Vec<Diagnostic>,
    /// Findings that were only counted.
    dropped: usize,
}

impl Sink {
    /// So much is kept for sorting; a text with more findings is no scenario at all.
    const CAPACITY: usize = 8 * DIAGNOSTICS;

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.found.len() < Self::CAPACITY {
            self.found.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Whether looking for more is a waste.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= Self::CAPACITY
    }

    /// The findings in the order of the text.
    pub(crate) fn finish(mut self, file_name: &str) -> Diagnostics {
        self.found.sort_by_key(|diagnostic| diagnostic.span.offset);
        let omitted = self.found.len().saturating_sub(DIAGNOSTICS) + self.dropped;
        self.found.truncate(DIAGNOSTICS);
        Diagnostics {
            file_name: file_name.to_owned(),
            list: self.found,
            omitted,
        }
    }
}
