//! The formats of page-table entries that the modelled machine can have.
//!
//! A machine has one of them; which, it is told when it is built. That changes nothing of what the engine does but the number of
//! levels, and that it flushes a little earlier where break-before-make is asked for; so scenarios come out the same in each.

use pagefold::addr::Pfn;
use pagefold::arch::{AArch64, Format, PTE_LEVEL, Pte, RiscV, X86_64};
use pagefold_litmus::Format as Machine;

use super::world::World;

/// A format of page-table entries.
#[derive(Clone, Copy, Debug)]
pub struct EntryFormat {
    /// Its name.
    pub name: &'static str,
    levels: fn() -> u32,
    break_before_make: fn() -> bool,
    encode: fn(Pte, u32) -> u64,
    decode: fn(u64, u32) -> Pte,
}

impl EntryFormat {
    /// All formats.
    pub const ALL: [Self; 8] = [
        Self::of_machine(Machine::X86_64),
        Self::of::<X86_64<4>>("x86-64 of 4 levels"),
        Self::of::<X86_64<5>>("x86-64 of 5 levels"),
        Self::of_machine(Machine::AArch64),
        Self::of::<AArch64<4>>("AArch64 of 4 levels"),
        Self::of_machine(Machine::RiscV),
        Self::of::<RiscV<4>>("RISC-V Sv48"),
        Self::of::<RiscV<5>>("RISC-V Sv57"),
    ];

    /// That of a scenario's machine: as few levels as there can be.
    #[must_use]
    pub const fn of_machine(format: Machine) -> Self {
        match format {
            Machine::X86_64 => Self::of::<X86_64<3>>("x86-64 of 3 levels"),
            Machine::AArch64 => Self::of::<AArch64<3>>("AArch64 of 3 levels"),
            Machine::RiscV => Self::of::<RiscV<3>>("RISC-V Sv39"),
        }
    }

    const fn of<F: Format>(name: &'static str) -> Self {
        Self {
            name,
            levels: F::levels,
            break_before_make: F::break_before_make,
            encode: F::encode,
            decode: F::decode,
        }
    }

    /// The number of levels of tables.
    #[must_use]
    pub fn levels(&self) -> u32 {
        (self.levels)()
    }

    /// Whether the machine is strict about how valid entries change.
    #[must_use]
    pub fn breaks_before_make(&self) -> bool {
        (self.break_before_make)()
    }

    /// What a table holds that was never cleared: an entry that names a frame which does not exist.
    pub(crate) fn garbage(&self) -> u64 {
        (self.encode)(Pte::page(Pfn(0xbad), false), PTE_LEVEL)
    }
}

/// The format of the machine of this OS thread.
#[derive(Debug)]
pub struct ModelFormat;

impl Format for ModelFormat {
    fn levels() -> u32 {
        World::current().format.levels()
    }
    fn break_before_make() -> bool {
        World::current().format.breaks_before_make()
    }
    fn encode(pte: Pte, level: u32) -> u64 {
        (World::current().format.encode)(pte, level)
    }
    fn decode(word: u64, level: u32) -> Pte {
        (World::current().format.decode)(word, level)
    }
}

/// The most levels that a format has.
pub(crate) const MAX_LEVELS: usize = 5;
