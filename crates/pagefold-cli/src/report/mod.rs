//! What came out, for people and for programs.

pub(crate) mod columns;
pub(crate) mod json;
pub(crate) mod text;
