//! `repadm`: the operator's hand.
//!
//! | module | what is there |
//! |---|---|
//! | `cli` | the words of the command line and their help |
//! | `adjust` | the steps from what runs to what is configured |
//! | `target` | which resources and volumes a command is about |
//! | `context` | configuration, node, and the connection to the daemon |
//! | `cmd` | the commands, a file each |
//! | `render` | what is printed, as functions from a picture of the state to text |
//! | `offline`, `probe` | metadata without a daemon; what is on a disk already |
//! | `demo` | two nodes on one machine, and a story |
//! | `at_once`, `interrupt` | several resources at the same time; Ctrl-C meanwhile |
//! | `outcome` | exit codes and failures |

#![forbid(unsafe_code)]

pub mod adjust;
mod at_once;
pub mod cli;
pub mod cmd;
pub mod context;
pub mod demo;
mod interrupt;
pub mod offline;
pub mod outcome;
pub mod probe;
pub mod render;
pub mod target;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use cli::Cli;
use context::{Context, note};
use outcome::{Exit, Out, Outcome, Writer};
use std::ffi::OsString;

/// Run the program with these arguments, the first of them its name. Its answer goes to `stdout`,
/// everything else to standard error.
pub fn run(args: Vec<OsString>, stdout: &mut dyn Writer) -> Exit {
    let known: Vec<String> =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let mut out = Out::new(stdout);
    let cli = match Cli::try_parse_from(cli::help_word(cli::reorder(args, &known))) {
        Ok(cli) => cli,
        Err(error) => return usage(&mut out, &error),
    };
    if let Some(why) = cli.drbdadm.refusal() {
        note(&why);
        return Exit::Usage;
    }
    let mut context = Context::new(cli.global, out);
    end(cmd::run(&mut context, &cli.command, &known))
}

fn end(outcome: Outcome) -> Exit {
    match outcome {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if !failure.text.is_empty() {
                note(&failure.text);
            }
            failure.exit
        }
    }
}

/// Help and version are answers; everything else is a usage error, which has exit code 1 here.
fn usage(out: &mut Out<'_>, error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp => end(out.print(&error.render().to_string())),
        ErrorKind::DisplayVersion => end(out.print(&render::script::version())),
        ErrorKind::MissingSubcommand => {
            note("which command? repadm --help lists them all");
            Exit::Usage
        }
        _ => {
            note(without_tip(&error.render().to_string()).trim_end());
            Exit::Usage
        }
    }
}

/// How to pass an unknown option as a value is what nobody wants who has mistyped one: no target
/// begins with a dash.
fn without_tip(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("tip: to pass '"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.replace("\n\n\n", "\n\n")
}
