//! The drbd.conf language: lexer, parser, option table, resolution, diagnostics, dump
