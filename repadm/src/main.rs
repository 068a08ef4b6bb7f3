//! The command line of the replication daemon: see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = repadm::run(std::env::args_os().collect(), &mut std::io::stdout());
    ExitCode::from(exit as u8)
}
