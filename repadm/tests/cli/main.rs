//! The program as a process: what it prints where, and what it ends with.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod demo;
mod offline;
mod online;
mod support;
