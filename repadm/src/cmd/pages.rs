//! Man pages and shell completions, made from the definition of the command line itself.

use crate::cli::Cli;
use crate::context::Context;
use crate::outcome::{Exit, Failure, Outcome};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

/// Print what a shell needs to complete commands and options.
pub(super) fn completions(context: &mut Context<'_>, shell: Shell) -> Outcome {
    let whole = Cli::command();
    // What the help hides would be in the way.
    let mut shown = clap::Command::new("repadm")
        .args(whole.get_arguments().filter(|one| !one.is_hide_set()).cloned())
        .subcommands(whole.get_subcommands().filter(|one| !one.is_hide_set()).cloned());
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut shown, "repadm", &mut text);
    context.out.print(&String::from_utf8_lossy(&text))
}

/// Write a page for the program and one for each command that its help shows.
pub(super) fn man(context: &mut Context<'_>, directory: &Path) -> Outcome {
    let failed = |error: std::io::Error| {
        let text = format!("the man pages cannot be written to {}: {error}", directory.display());
        Failure::new(Exit::Failed, text)
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    context.out.line(format!("man pages written to {}", directory.display()))
}
