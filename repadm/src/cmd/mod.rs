//! The commands, each in its file.

mod create_md;
mod disk;
mod dump;
mod dump_md;
mod events;
mod generations;
mod io;
mod link;
mod offline_md;
mod overview;
mod question;
mod role;
mod split_brain;
mod status;
mod up_down;
mod wait;
mod words;

use crate::cli::{Command, NOT_YET};
use crate::context::{Context, note};
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::{Chosen, nearest};

/// Do what was asked. `known` are the names of all commands.
///
/// # Errors
/// Why it was not done.
pub fn run(context: &mut Context<'_>, command: &Command, known: &[String]) -> Outcome {
    match command {
        Command::CreateMd { force, on } => create_md::run(context, *force, &on.targets),
        Command::Up { on } => up_down::up(context, &on.targets),
        Command::Down { force, on } => up_down::down(context, *force, &on.targets),
        Command::Attach { on } => disk::attach(context, &on.targets),
        Command::Detach { on } => disk::detach(context, &on.targets),
        Command::Connect { tentative: true, on, .. } => {
            split_brain::tentative(context, &on.targets)
        }
        Command::Connect { discard_my_data, on, .. } => {
            link::connect(context, *discard_my_data, &on.targets)
        }
        Command::SplitBrain { on } => split_brain::run(context, &on.targets),
        Command::SuspendIo { on } => io::suspend(context, &on.targets),
        Command::ResumeIo { on } => io::resume(context, &on.targets),
        Command::Outdate { on } => disk::outdate(context, &on.targets),
        Command::Disconnect { on } => link::disconnect(context, &on.targets),
        Command::Primary { force, on } => role::primary(context, *force, &on.targets),
        Command::Secondary { force, on } => role::secondary(context, *force, &on.targets),
        Command::Role { on } => words::role(context, &on.targets),
        Command::Cstate { on } => words::cstate(context, &on.targets),
        Command::Dstate { on } => words::dstate(context, &on.targets),
        Command::Status { statistics, on } => status::run(context, *statistics, &on.targets),
        Command::Events { now, statistics, timestamps, on } => {
            let (now, statistics, timestamps) = (*now, *statistics, *timestamps);
            let manner = events::Manner { now, statistics, timestamps };
            events::run(context, manner, &on.targets)
        }
        Command::Overview { watch, on } => overview::run(context, *watch, &on.targets),
        Command::WaitConnect { patience, on } => wait::connect(context, *patience, &on.targets),
        Command::WaitSync { patience, on } => wait::sync(context, *patience, &on.targets),
        Command::ShowGi { on } => generations::show(context, &on.targets),
        Command::GetGi { on } => generations::get(context, &on.targets),
        Command::Dump { on } => dump::run(context, &on.targets),
        Command::DumpMd { force, on } => dump_md::run(context, *force, &on.targets),
        Command::WipeMd { force, on } => offline_md::wipe(context, *force, &on.targets),
        Command::ApplyAl { on } => offline_md::apply_al(context, &on.targets),
        Command::Demo { keep } => crate::demo::run(&mut context.out, *keep),
        Command::Daemon { die_with_parent, args } => crate::demo::daemon(*die_with_parent, args),
        Command::Wire { die_with_parent, rate, links } => {
            crate::demo::wire(*die_with_parent, *rate, links)
        }
        Command::Other(words) => Err(other(words, known)),
    }
}

fn not_yet(what: &str) -> Failure {
    Failure::new(Exit::Config, format!("not yet: {what} is known, and not built so far"))
}

fn other(words: &[std::ffi::OsString], known: &[String]) -> Failure {
    let name = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    if NOT_YET.contains(&name.as_ref()) {
        return not_yet(&name);
    }
    let words: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .filter(|name| !name.starts_with("__"))
        .chain(NOT_YET.iter().copied())
        .collect();
    let hint =
        nearest(&name, &words).map_or_else(String::new, |near| format!("did you mean {near}? "));
    Failure::new(
        Exit::Usage,
        format!("'{name}': no such command; {hint}repadm --help lists them all"),
    )
}

/// Do it for each, also after one has failed. What failed before the last is said at once; the
/// first failure gives the exit code.
fn each<'a>(
    context: &mut Context<'a>,
    chosen: &[Chosen],
    mut act: impl FnMut(&mut Context<'a>, &Chosen) -> Outcome,
) -> Outcome {
    let mut first: Option<Failure> = None;
    for chosen in chosen {
        let Err(failure) = act(context, chosen) else { continue };
        // A daemon that is not there will not be there for the next one either.
        if failure.exit == Exit::Failed {
            first.iter().for_each(|first| note(&first.text));
            return Err(failure);
        }
        match &mut first {
            None => first = Some(failure),
            Some(first) => {
                note(&first.text);
                first.text = failure.text;
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// The name of a resource that is meant whole: what is asked is no property of one volume.
fn whole<'c>(chosen: &'c Chosen, command: &str) -> Outcome<&'c str> {
    match chosen.volume {
        None => Ok(&chosen.name),
        Some(_) => Err(Failure::new(
            Exit::Usage,
            format!(
                "{chosen}: {command} is about a whole resource; say repadm {command} {}",
                chosen.name
            ),
        )),
    }
}
