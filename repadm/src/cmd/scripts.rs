//! What scripts and agents ask: plain words, one on a line, or shell variables.

use super::role;
use crate::cli::{Cli, Script};
use crate::context::{Context, Mine, note, volumes};
use crate::offline;
use crate::outcome::{Exit, Failure, Outcome};
use crate::render::script;
use crate::target::{Chosen, Target};
use clap::CommandFactory;
use config::{MetaDisk, Volume};
use metadata::Expected;

/// Answer it.
pub(super) fn run(context: &mut Context<'_>, script: &Script) -> Outcome {
    match script {
        Script::ShNop => {
            context.config()?;
            context.out.print(&script::version())
        }
        Script::ShResources => {
            // A host without resources has none, which is an answer.
            let chosen = context.choose(&[]).or_else(|failure| match failure.exit {
                Exit::Usage => Ok(Vec::new()),
                _ => Err(failure),
            })?;
            let names: Vec<String> = chosen.into_iter().map(|chosen| chosen.name).collect();
            context.out.line(names.join(" "))
        }
        Script::ShResource(on) => {
            let chosen = context.choose(&on.targets)?;
            chosen.iter().try_for_each(|chosen| context.out.line(&chosen.name))
        }
        Script::ShDev(on) => each_volume(context, &on.targets, |_, volume| device(volume)),
        Script::ShUdev(on) => each_volume(context, &on.targets, |mine, volume| {
            Some(script::udev(&mine.resource.name, volume, device(volume).as_deref()))
        }),
        Script::ShMinor(on) => each_volume(context, &on.targets, |_, volume| {
            volume.minor.map(|minor| minor.to_string())
        }),
        Script::ShLlDev(on) => each_volume(context, &on.targets, |_, volume| Some(disk(volume))),
        Script::ShMdDev(on) => each_volume(context, &on.targets, |_, volume| {
            Some(match &volume.meta_disk {
                MetaDisk::Internal => disk(volume),
                MetaDisk::External(path) => path.to_string_lossy().into_owned(),
            })
        }),
        Script::ShMdIdx(on) => each_volume(context, &on.targets, |_, volume| {
            let layout = match &volume.meta_disk {
                MetaDisk::Internal => "internal",
                MetaDisk::External(_) => "flexible",
            };
            Some(layout.to_owned())
        }),
        Script::ShIp(on) => each_resource(context, &on.targets, |context, mine| {
            let address = mine.me.address.ip();
            context.out.line(address)
        }),
        Script::ShLrOf(on) => each_resource(context, &on.targets, |_, mine| {
            let text = format!("{}: it is not stacked, and nothing here is", mine.resource.name);
            Err(Failure::new(Exit::Config, text))
        }),
        Script::ShModParms => context.out.line(""),
        Script::ShListConfigFile => {
            let files = context.config()?.sources.files();
            let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
            paths.iter().try_for_each(|path| context.out.line(path.display()))
        }
        Script::ShStatus(on) => status(context, &on.targets),
        Script::ShBPri(on) => become_primary(context, &on.targets),
        Script::NewResource(on) | Script::NewMinor(on) => {
            each_resource(context, &on.targets, |_, mine| {
                let name = &mine.resource.name;
                note(&format!("{name}: nothing to do yet: up, or adjust, makes it whole"));
                Ok(())
            })
        }
        Script::CheckResize(on) => check_resize(context, &on.targets),
        Script::HiddenCommands => hidden(context),
    }
}

/// The path under which clients on this host expect it.
fn device(volume: &Volume) -> Option<String> {
    let by_number = || volume.minor.map(|minor| format!("/dev/drbd{minor}"));
    volume.device.clone().or_else(by_number)
}

fn disk(volume: &Volume) -> String {
    volume.disk.as_ref().map_or_else(|| "none".to_owned(), |p| p.to_string_lossy().into_owned())
}

/// Do that for each resource that is meant, as this node has it.
fn each_resource<'a>(
    context: &mut Context<'a>,
    targets: &[Target],
    act: impl Fn(&mut Context<'a>, Mine<'_>) -> Outcome,
) -> Outcome {
    let chosen = context.choose(targets)?;
    super::each(context, &chosen, |context, chosen| {
        let mine = context.configured(&chosen.name)?;
        let (resource, me, peer) = (mine.resource.clone(), mine.me.clone(), mine.peer.clone());
        act(context, Mine { resource: &resource, me: &me, peer: &peer })
    })
}

/// Print what there is of each volume that is meant.
fn each_volume(
    context: &mut Context<'_>,
    targets: &[Target],
    line: impl Fn(Mine<'_>, &Volume) -> Option<String>,
) -> Outcome {
    let mut lines = Vec::new();
    for chosen in context.choose(targets)? {
        let mine = context.configured(&chosen.name)?;
        lines.extend(volumes(mine.me, &chosen).filter_map(|volume| line(mine, volume)));
    }
    lines.iter().try_for_each(|line| context.out.line(line))
}

fn status(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let statuses = context.statuses()?;
    let mut text = String::new();
    for chosen in context.choose(targets)? {
        if let Some(status) = statuses.iter().find(|status| status.name == chosen.name) {
            let shown = status.volumes.iter().filter(|volume| chosen.includes(volume.volume));
            text.extend(shown.map(|volume| script::status(status, volume)));
        } else {
            let mine = context.configured(&chosen.name)?;
            let down = volumes(mine.me, &chosen);
            text.extend(down.map(|v| script::unconfigured(&chosen.name, v.id, v.minor)));
        }
    }
    context.out.print(&text)
}

/// As the service does at its start.
fn become_primary(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let node = context.node();
    let wanted = |chosen: &Chosen| -> Outcome<bool> {
        let mine = context.configured(&chosen.name)?;
        Ok(mine.resource.startup.become_primary_on.includes(&node))
    };
    let mut names = Vec::new();
    for chosen in context.choose(targets)? {
        if wanted(&chosen)? {
            names.push(Target::Resource(chosen.name));
        }
    }
    if names.is_empty() { Ok(()) } else { role::primary(context, false, &names) }
}

/// Metadata that do not go with the disk any more are an error, which says the way out.
fn check_resize(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    // Without a daemon nothing is attached.
    let statuses = context.statuses().unwrap_or_default();
    let is_up = |name: &str| statuses.iter().any(|status| status.name == name);
    let chosen = context.choose(targets)?;
    super::each(context, &chosen, |context, chosen| {
        if is_up(&chosen.name) {
            return Ok(());
        }
        let mine = context.configured(&chosen.name)?;
        for volume in volumes(mine.me, chosen).filter(|volume| volume.disk.is_some()) {
            let name = format!("{}/{}", chosen.name, volume.id);
            let disks = offline::disks(&name, volume, true)?;
            let resource = chosen.name.clone();
            let expected = Expected { resource, volume: volume.id, node: Some(mine.me.node_id) };
            disks
                .load(expected)
                .map_err(|error| offline::unusable(&name, volume, &disks, &error))?;
        }
        Ok(())
    })
}

fn hidden(context: &mut Context<'_>) -> Outcome {
    let all = Cli::command();
    let hidden = all.get_subcommands().filter(|one| one.is_hide_set());
    for one in hidden.filter(|one| !one.get_name().starts_with("__")) {
        let about = one.get_about().map(ToString::to_string).unwrap_or_default();
        context.out.line(format!("{:<22} {about}", one.get_name()))?;
    }
    Ok(())
}
