//! How large a scenario may be. Every bound has a diagnostic; none is reached by a scenario a person writes.

/// The largest source text, in bytes.
pub const SOURCE_BYTES: usize = 1 << 20;
/// The longest name, in bytes.
pub const NAME_BYTES: usize = 64;
/// The most objects of a scenario.
pub const OBJECTS: usize = 64;
/// The largest object or anonymous mapping, in pages.
pub const OBJECT_PAGES: u64 = 512;
/// The most address spaces of a scenario.
pub const MMS: usize = 16;
/// The most mappings of a scenario, over all its address spaces.
pub const MAPPINGS: usize = 64;
/// The most registers of a scenario.
pub const REGISTERS: usize = 256;
/// The most threads of a scenario.
pub const THREADS: usize = 16;
/// The most rounds of one `repeat`.
pub const REPEAT: u64 = 16;
/// The deepest nesting of `repeat`.
pub const REPEAT_NESTING: usize = 3;
/// The deepest nesting of `(` and `~` in a condition.
pub const CONDITION_NESTING: usize = 64;
/// The most diagnostics reported for one source text; the rest are only counted.
pub const DIAGNOSTICS: usize = 20;
