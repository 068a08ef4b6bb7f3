//! `repd`: see the library.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match repd::run(&repd::Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not with `Debug`: whoever reads this wants the cause, not the stack.
            eprintln!("repd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
