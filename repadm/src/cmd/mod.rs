//! The commands, each in its file.

mod adjust;
mod config;
mod create_md;
mod disk;
mod dump;
mod dump_md;
mod events;
mod generations;
mod helper;
mod io;
mod link;
mod offline_md;
mod overview;
mod pages;
mod proc;
mod question;
mod resize;
mod role;
mod scripts;
mod service;
mod show;
mod split_brain;
mod status;
mod top;
mod unknown;
mod up_down;
mod used_by;
mod verify;
mod volumes;
mod wait;
mod words;

use crate::cli::{Command, Script};
use crate::context::{Context, note};
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::Chosen;
use control::Spare;

/// Do what was asked. `known` are the names of all commands.
///
/// # Errors
/// Why it was not done.
pub fn run(context: &mut Context<'_>, command: &Command, known: &[String]) -> Outcome {
    refuse_unfit(context, command)?;
    match command {
        Command::CreateMd { force, on } => create_md::run(context, *force, &on.targets),
        Command::Adjust { skip_disk, skip_net, on } => {
            adjust::run(context, Spare { disks: *skip_disk, link: *skip_net }, &on.targets)
        }
        Command::NetOptions { settings, on } => adjust::set(context, settings, &on.targets),
        Command::DiskOptions { settings, on } => adjust::set(context, settings, &on.targets),
        Command::PeerDeviceOptions { settings, on } => adjust::set(context, settings, &on.targets),
        Command::ResourceOptions { settings, on } => adjust::set(context, settings, &on.targets),
        Command::Up { was_size, on } => up_down::up(context, was_size, &on.targets),
        Command::Down { force, on } => up_down::down(context, *force, &on.targets),
        Command::Attach { was_size, on } => disk::attach(context, was_size, &on.targets),
        Command::Resize { growth, on } => resize::run(context, growth, &on.targets),
        Command::Detach { on } => disk::detach(context, &on.targets),
        Command::Connect { discard_my_data, tentative, on } => match tentative {
            true => split_brain::tentative(context, &on.targets),
            false => link::connect(context, *discard_my_data, &on.targets),
        },
        Command::PauseSync { .. }
        | Command::ResumeSync { .. }
        | Command::Invalidate { .. }
        | Command::InvalidateRemote { .. }
        | Command::NewCurrentUuid { .. } => volumes::run(context, command),
        Command::SplitBrain { on } => split_brain::run(context, &on.targets),
        Command::Verify(args) => verify::run(context, args),
        Command::SuspendIo { on } => io::suspend(context, &on.targets),
        Command::ResumeIo { on } => io::resume(context, &on.targets),
        Command::Outdate { on } => disk::outdate(context, &on.targets),
        Command::Disconnect { on } => link::disconnect(context, &on.targets),
        Command::Primary { force, on } => role::primary(context, *force, &on.targets),
        Command::Secondary { force, on } => role::secondary(context, *force, &on.targets),
        Command::Role { on } => words::role(context, &on.targets),
        Command::Cstate { on } => words::cstate(context, &on.targets),
        Command::Dstate { on } => words::dstate(context, &on.targets),
        Command::Status { statistics, color, on } => {
            status::run(context, *statistics, *color, &on.targets)
        }
        Command::Show { show_defaults, on } => show::run(context, *show_defaults, &on.targets),
        Command::Proc { on } => proc::run(context, &on.targets),
        Command::Events { now, statistics, timestamps, full, on } => {
            let (now, statistics, timestamps, full) = (*now, *statistics, *timestamps, *full);
            let manner = events::Manner { now, statistics, timestamps, full };
            events::run(context, manner, &on.targets)
        }
        Command::Overview { watch, color, on } => {
            overview::run(context, *watch, *color, &on.targets)
        }
        Command::Top { once, color, on } => top::run(context, *once, *color, &on.targets),
        Command::WaitConnect { patience, on } => wait::connect(context, *patience, &on.targets),
        Command::WaitSync { patience, on } => wait::sync(context, *patience, &on.targets),
        Command::WaitConInt { patience, on } => {
            wait::interruptible(context, *patience, &on.targets)
        }
        Command::Service { what } => service::run(context, what),
        Command::ShowGi { on } => generations::show(context, &on.targets),
        Command::GetGi { on } => generations::get(context, &on.targets),
        Command::Other(words) => Err(unknown::unknown(words, known)),
        other => run_offline(context, other),
    }
}

/// What needs no daemon.
fn run_offline(context: &mut Context<'_>, command: &Command) -> Outcome {
    match command {
        Command::Dump(args) => dump::run(context, dump::Form::Text, &args.on.targets),
        Command::DumpXml(args) => dump::run(context, dump::Form::Xml, &args.on.targets),
        Command::Config(what) => config::run(context, what),
        Command::DumpMd { force, on } => dump_md::run(context, *force, &on.targets),
        Command::WipeMd { force, on } => offline_md::wipe(context, *force, &on.targets),
        Command::ApplyAl { on } => offline_md::apply_al(context, &on.targets),
        Command::Demo { keep } => demo(context, *keep),
        Command::Daemon { die_with_parent, args } => crate::demo::daemon(*die_with_parent, args),
        Command::Wire { die_with_parent, rate, links } => {
            crate::demo::wire(*die_with_parent, *rate, links)
        }
        Command::Completions { shell } => pages::completions(context, *shell),
        Command::Man { directory } => pages::man(context, directory),
        Command::Script(script) => scripts::run(context, script),
        Command::Helper(helper) => helper::run(context, helper),
        other => unreachable!("{other:?} is for the daemon"),
    }
}

fn demo(context: &mut Context<'_>, keep: bool) -> Outcome {
    match context.global.dry_run {
        true => context.out.line(
            "make two nodes in a temporary directory, replicate between them, cut the link and mend \
             it, and compare the disks",
        ),
        false => crate::demo::run(&mut context.out, keep),
    }
}

/// General options that the command does not go with: nothing is ignored.
fn refuse_unfit(context: &Context<'_>, command: &Command) -> Outcome {
    refuse_candidates(context, command)?;
    refuse_json(context, command)
}

/// Words for scripts have one form.
fn refuse_json(context: &Context<'_>, command: &Command) -> Outcome {
    let words = matches!(
        command,
        Command::Role { .. }
            | Command::Cstate { .. }
            | Command::Dstate { .. }
            | Command::Proc { .. }
    );
    if !words || !context.global.json {
        return Ok(());
    }
    let text = "role, cstate, dstate and proc have one form, for scripts; repadm --json status tells \
                the same as JSON";
    Err(Failure::new(Exit::Usage, text))
}

/// A configuration that is tried out is looked at; nothing is done by it.
fn refuse_candidates(context: &Context<'_>, command: &Command) -> Outcome {
    let looks = matches!(
        command,
        Command::Dump(_)
            | Command::DumpXml(_)
            | Command::Config(_)
            | Command::Script(Script::ShNop)
    );
    if looks || context.global.candidates.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        "-t and -E try a configuration out, and go with dump, dump-xml, sh-nop and config check \
         only; to act by a file, name it with -c",
    ))
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
