//! `repd`: see the library.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    repd::run(&repd::Options::parse())
}
