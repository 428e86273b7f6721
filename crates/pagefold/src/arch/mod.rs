//! Formats of page-table entries.

mod x86_64;

pub use x86_64::{Marker, Pte};
