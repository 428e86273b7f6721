//! The scenario library is a test suite.

mod formats;
mod history;
mod order;
mod orderings;
mod read;
mod rewind;
mod scenarios;
mod selftests;
