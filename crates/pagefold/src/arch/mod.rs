//! Entries of page tables: what they mean, and how a machine writes them down.
//!
//! The engine works with [`Pte`], which says what an entry means and is the same for all machines. A [`Format`] says which word
//! that is. Words are encoded and decoded only where they are read and written, so nothing else of the engine knows a bit.
//!
//! Guarantee of each format: what is encoded at a level is decoded at that level to the same value, the empty entry is the word 0,
//! and hardware finds a page or a table exactly in the entries that are one. Bits that hardware has and [`Pte`] does not (memory
//! types, execution, global pages) are always written in the one way that suits the data of a process, and are
//! not looked at. The tests hold each format against an independent crate.

mod aarch64;
mod pte;
mod riscv;
mod x86_64;

pub use aarch64::AArch64;
pub use pte::{Marker, Migration, Pte, Swap};
pub use riscv::RiscV;
pub use x86_64::X86_64;

/// The level of tables of small-page entries (Linux: PTE).
pub const PTE_LEVEL: u32 = 0;
/// The level of tables whose entries name tables of small-page entries, or map huge pages (Linux: PMD).
pub const PMD_LEVEL: u32 = 1;

/// How the entries of a machine's page tables are written down, and what the machine asks of who changes them.
///
/// Levels count upwards from the tables of small-page entries, [`PTE_LEVEL`].
pub trait Format: 'static {
    /// How many levels of tables there are: at least 3.
    fn levels() -> u32;

    /// Whether an entry that is there must not be replaced by one that names another page or table, or has another size: it is
    /// emptied, and flushed, in between (Arm: break-before-make). Otherwise translation caches may hold both, and raise an
    /// abort, or mix them up.
    fn break_before_make() -> bool;

    /// The word for an entry of a table of `level`.
    fn encode(pte: Pte, level: u32) -> u64;

    /// What a word in a table of `level` means. Any word means something; one that no entry is encoded as is of no
    /// consequence as long as hardware treats it in the same way.
    fn decode(word: u64, level: u32) -> Pte;
}
