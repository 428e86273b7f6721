//! The machines that the pagefold engine runs on.
//!
//! * [`model`]: every shared operation is an event of a model checker, walked by modelled CPUs and devices with translation
//!   caches, watched by oracles. It runs the scenarios of `pagefold-litmus`.
//! * [`host`]: real threads with translation caches in software, at full speed.

pub mod host;
pub mod model;
