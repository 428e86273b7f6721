//! Entries of page tables: the value, and the words of each format.

mod format;
mod independent;
mod value;
