//! The program as a process: what it prints where, and what it ends with.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod adjusting;
mod agent;
mod configuration;
mod demo;
mod node;
mod offline;
mod online;
mod service;
mod support;
mod vocabulary;
