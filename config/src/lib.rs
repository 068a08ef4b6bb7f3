//! The drbd.conf language: lexer, parser, option table, resolution, diagnostics, dump.

#![forbid(unsafe_code)]

mod model;
mod words;

pub use model::*;
