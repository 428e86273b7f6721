//! The scenario library is a test suite.

mod chance;
mod formats;
mod history;
mod order;
mod orderings;
mod read;
mod rewind;
mod scenarios;
mod selftests;
