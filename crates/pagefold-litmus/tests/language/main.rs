//! The language from outside: what parses, what it means, and what is said about everything else.

mod common;

mod calls;
mod claims;
mod condition;
mod data;
mod header;
mod items;
mod lexical;
mod robust;
mod round_trip;
mod scenarios;
mod shrink;
mod statements;
