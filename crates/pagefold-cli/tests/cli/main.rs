//! The command as a user sees it: output, exit status, files.

mod check;
mod common;
mod input;
mod json;
mod options;
mod replay;
mod reproduce;
mod shrink;
mod tables;
