//! The machines that the pagefold engine runs on.
//!
//! * [`model`]: every shared operation is an event of a model checker, walked by modelled CPUs and devices with translation
//!   caches, watched by oracles. It runs the scenarios of `pagefold-litmus`.
//! * [`host`]: real threads with translation caches in software, at full speed.
//!
//! # Examples
//!
//! A scenario under the model checker, as merged and as first posted:
//!
//! ```
//! use pagefold::protocol::Protocol;
//! use pagefold_litmus::{Vocabulary, parse};
//! use pagefold_machine::model::{Outcome, RunConfig, check};
//!
//! let source = r"
//! MM uffd-copy-vs-retract
//! {
//!     shmem f[2] = { 1, 2 };
//!     mm A { x: mmap(f, MAP_SHARED); }
//!     mm B { y: mmap(f, MAP_PRIVATE); uffd(y, MISSING); }
//!     A: x[0];
//!     B: y[0]; madvise(y, MADV_DONTNEED);
//! }
//! P0 (A) { madvise(x, MADV_COLLAPSE); }
//! P1 (B) { uffdio_copy(y[1], 7); }
//! ";
//! let vocabulary = Vocabulary { protocols: &[], safeguards: &[], violations: &[] };
//! let scenario = parse(source, "example", &vocabulary)?;
//!
//! let merged = check(&scenario, &RunConfig::new(Protocol::LINUX_6_6))?;
//! assert!(matches!(merged.outcome, Outcome::Holds));
//!
//! let posted = check(&scenario, &RunConfig::new(Protocol::POSTED_V1))?;
//! let Outcome::Broken(violation) = posted.outcome else { panic!("a page is lost") };
//! assert_eq!(violation.kind, "table-not-empty");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod host;
pub mod model;
