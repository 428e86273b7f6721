//! The scenario library is a test suite.

mod history;
mod orderings;
mod read;
mod scenarios;
