//! Places in the source text.

use serde::Serialize;

/// A stretch of the source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Span {
    /// Bytes before the stretch.
    pub offset: usize,
    /// Bytes in the stretch; 0 for a place between two characters.
    pub len: usize,
    /// Line of the first character, counted from 1.
    pub line: usize,
    /// Column of the first character in its line, in characters counted from 1.
    pub column: usize,
}

impl Span {
    /// The beginning of the source text.
    pub const START: Self = Self {
        offset: 0,
        len: 0,
        line: 1,
        column: 1,
    };

    /// The first byte after the stretch.
    pub fn end(self) -> usize {
        self.offset + self.len
    }

    /// The stretch from the beginning of this one to the end of `last`.
    pub(crate) fn to(self, last: Self) -> Self {
        Self {
            len: last.end().saturating_sub(self.offset),
            ..self
        }
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::START
    }
}
