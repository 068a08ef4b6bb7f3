//! `repadm demo`: two nodes on this machine, and what replication does, told step by step.
//!
//! | module | what is there |
//! |---|---|
//! | `script` | the story |
//! | `cluster` | the two nodes: directory, daemons, and the commands given to them |
//! | `wire` | the cable between them, which can be cut |
//! | `nbd` | a client that writes and reads |
//! | `data` | what is written, read back, and compared |
//! | `interrupt` | Ctrl-C: everything is taken away |
//! | `child`, `ports` | ending processes, finding ports |

mod child;
mod cluster;
mod data;
mod interrupt;
mod nbd;
mod ports;
mod script;
mod wire;

use crate::outcome::{Exit, Failure, Out, Outcome};
use clap::Parser;
use std::ffi::OsString;

/// Tell the story; `keep` leaves the nodes running at its end.
///
/// # Errors
/// If anything did not go as told.
pub fn run(out: &mut Out<'_>, keep: bool) -> Outcome {
    script::tell(out, keep)
}

/// Be one node's daemon: what `repd` with these options is.
///
/// # Errors
/// If the daemon fails.
pub fn daemon(die_with_parent: bool, args: &[OsString]) -> Outcome {
    follow_parent(die_with_parent)?;
    let args = std::iter::once(OsString::from("repd")).chain(args.iter().cloned());
    let options = repd::Options::try_parse_from(args)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    repd::run(&options).map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))
}

/// Be the cable between the nodes.
///
/// # Errors
/// If a link is none, or its port is taken.
pub fn wire(die_with_parent: bool, rate: Option<u64>, links: &[String]) -> Outcome {
    follow_parent(die_with_parent)?;
    let parse = |text: &String| {
        wire::Link::parse(text)
            .ok_or_else(|| Failure::new(Exit::Usage, format!("'{text}' is not FROM=TO")))
    };
    wire::run(&links.iter().map(parse).collect::<Outcome<Vec<_>>>()?, rate)
}

/// End when the demo ends, however it ends.
fn follow_parent(follow: bool) -> Outcome {
    if follow {
        let signal = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(signal).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("cannot follow the process that started it: {error}"),
            )
        })?;
    }
    Ok(())
}
