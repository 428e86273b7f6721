//! Memory models: litmus tests with what the literature says of them, random programs against the
//! axioms of the models, and what else of the explorer is touched by them.

mod axioms;
mod behaviour;
mod litmus;
mod program;
mod random;
