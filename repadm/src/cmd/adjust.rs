//! `adjust`, and the commands that set the options of one section.

use super::{each, whole};
use crate::adjust::{Running, Step, changes, check_disks, plan};
use crate::cli::settings::{Part, Settings, Which};
use crate::context::{Context, Mine, as_node, load_given, note};
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::{Chosen, Target};
use config::{Host, Override, Place, Resource, Volume};
use control::{Command, Spare};
use types::{ConnectionState, DiskState};

/// Make what runs what the configuration says.
pub(super) fn run(context: &mut Context<'_>, spare: Spare, targets: &[Target]) -> Outcome {
    context.warn()?;
    // Also if nothing is left for this host: then they are all there is to say.
    let strays = tell_strays(context);
    let chosen = context.choose(targets)?;
    strays?;
    each(context, &chosen, |context, chosen| adjust(context, spare, whole(chosen, "adjust")?))
}

/// What is up and configured no more, or not for this host any more, is left alone, and named.
fn tell_strays(context: &Context<'_>) -> Outcome {
    for status in context.statuses()? {
        let name = &status.name;
        let why = match context.config()?.config.resource(name) {
            None => format!("configured no more; «repadm down {name}» takes it down"),
            Some(resource) if as_node(&context.node()).place(resource) == Place::Neither => {
                format!("not for this host any more; «repadm down {name}» takes it down")
            }
            Some(_) => continue,
        };
        note(&format!("{name}: up, and {why}"));
    }
    Ok(())
}

fn adjust(context: &mut Context<'_>, spare: Spare, name: &str) -> Outcome {
    let mine = context.configured(name)?;
    context.check_address(mine)?;
    let (wanted, node) = (mine.resource.clone(), mine.me.name.clone());
    let Some(status) = context.status_of(name)? else {
        return steps(context, &[Step::Up], &wanted, (&node, spare));
    };
    let (resource, old_node) = context.running(name)?;
    let running = Running { resource: &resource, node: &old_node, status: &status };
    let plan = plan(running, &wanted, &node, spare)?;
    check_disks(running, &wanted, &node, &plan)?;
    if plan.is_empty() && context.global.verbose {
        context.out.line(format!("{name}: nothing to do"))?;
    }
    if let Err(failure) = steps(context, &plan, &wanted, (&node, spare)) {
        if plan.iter().any(|step| matches!(step, Step::Down(_))) {
            restore(context, running);
        }
        return Err(failure);
    }
    tell_peer(&plan, mine_peer(&wanted, &node));
    Ok(())
}

/// What was taken down, and could not be brought up as it is to be, comes up as it was.
fn restore(context: &mut Context<'_>, Running { resource, node, status }: Running<'_>) {
    let name = &resource.name;
    let is_down = matches!(context.status_of(name), Ok(None));
    if !is_down || context.global.dry_run {
        return;
    }
    let spare = Spare {
        disks: status.volumes.iter().all(|volume| volume.disk == DiskState::Diskless),
        link: status.peer.connection == ConnectionState::StandAlone,
    };
    let done = steps(context, &[Step::Up], resource, (node, spare));
    note(&match done {
        Ok(()) => format!("{name}: it is up again with the configuration that it had"),
        Err(failure) => format!("{name}: nor with the configuration that it had: {}", failure.text),
    });
}

fn mine_peer<'a>(resource: &'a Resource, node: &str) -> &'a str {
    resource.host(node).map_or("the peer", |(_, peer)| &peer.name)
}

/// Some options hold only if both nodes have them.
fn tell_peer(plan: &[Step], peer: &str) {
    const BOTH: &[&str] = &[
        "protocol",
        "allow-two-primaries",
        "after-sb-0pri",
        "after-sb-1pri",
        "after-sb-2pri",
        "always-asbp",
        "shared-secret",
    ];
    let changes = plan.iter().flat_map(|step| match step {
        Step::Options(changes) => changes.as_slice(),
        _ => &[],
    });
    let both: Vec<&str> = changes
        .filter(|change| change.place == "net" && BOTH.contains(&change.name.as_str()))
        .map(|change| change.name.as_str())
        .collect();
    if !both.is_empty() {
        note(&format!(
            "{} must be the same on both nodes: adjust {peer} too, before the link is next made",
            both.join(", ")
        ));
    }
}

fn steps(
    context: &mut Context<'_>,
    plan: &[Step],
    wanted: &Resource,
    (node, spare): (&str, Spare),
) -> Outcome {
    let name = &wanted.name;
    let config = serde_json::to_value(wanted).map_err(|error| {
        Failure::new(Exit::Failed, format!("{name}: cannot be told to the daemon: {error}"))
    })?;
    for step in plan {
        let resource = name.clone();
        let (whole, node) = (config.clone(), node.to_owned());
        let command = match step {
            Step::Up => Command::Up { resource: whole, node, spare },
            Step::Down(_) => Command::Down { resource, force: false },
            Step::Disconnect => Command::Disconnect { resource },
            Step::Options(_) => Command::Reconfigure { resource: whole, node },
            Step::Detach(volume, _) => Command::Detach { resource, volume: Some(*volume) },
            Step::Attach(volume) => {
                Command::Attach { resource, volume: Some(*volume), config: Some(whole) }
            }
            Step::Connect => Command::Connect { resource, discard_my_data: false },
        };
        context.order(&format!("{name}: {step}"), command)?;
    }
    Ok(())
}

/// Set the options of one section to what the configuration says, and what is given besides.
pub(super) fn set<W: Which>(
    context: &mut Context<'_>,
    settings: &Settings<W>,
    targets: &[Target],
) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| set_one(context, W::PART, &settings.given, chosen))
}

fn set_one(context: &mut Context<'_>, part: Part, given: &[Override], chosen: &Chosen) -> Outcome {
    let name = match part {
        Part::Net | Part::Resource => whole(chosen, part.command())?,
        Part::Disk | Part::PeerDevice => &chosen.name,
    };
    let fixed =
        given.iter().find(|given| matches!(given.name.as_str(), "al-extents" | "al-updates"));
    if let Some(Override { name: option, .. }) = fixed {
        let text = format!(
            "{chosen}: {option} is fixed when the disk is attached: write it into the \
             configuration, and run «repadm adjust {name}»"
        );
        return Err(Failure::new(Exit::Config, text));
    }
    let loaded = load_given(&context.global.config, name, given)?;
    loaded.warnings_about_given().for_each(|warning| note(&format!("{name}: {warning}")));
    let Mine { me, .. } = context.configured(name)?;
    let wanted = loaded.config.resource(name).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{name}: it is up, and configured no more"))
    })?;
    let (running, node) = context.running(name)?;
    let mut new = running.clone();
    match part {
        Part::Net => new.net = wanted.net.clone(),
        Part::Resource => new.options = wanted.options.clone(),
        Part::Disk | Part::PeerDevice => {
            let from = wanted.host(&me.name).map(|(me, _)| me);
            for volume in host_mut(&mut new, &node).into_iter().flat_map(|host| &mut host.volumes) {
                let from = from.and_then(|me| me.volumes.iter().find(|from| from.id == volume.id));
                if let Some(from) = from.filter(|from| chosen.includes(from.id)) {
                    take_disk_options(volume, from, matches!(part, Part::PeerDevice));
                }
            }
        }
    }
    let hosts = (running.host(&node), new.host(&node));
    let (Some((was, _)), Some((is, _))) = hosts else {
        return Err(Failure::new(Exit::Config, format!("{name}: {node} is none of its hosts")));
    };
    later(&chosen.to_string(), was, is);
    let changes = changes(&running, &new, (was, is));
    if changes.is_empty() {
        return Ok(());
    }
    let plan = [Step::Options(changes)];
    let peer = mine_peer(&new, &node).to_owned();
    steps(context, &plan, &new, (&node, Spare::default()))?;
    tell_peer(&plan, &peer);
    Ok(())
}

fn host_mut<'a>(resource: &'a mut Resource, node: &str) -> Option<&'a mut Host> {
    resource.hosts.iter_mut().find(|host| config::same_host(&host.name, node))
}

/// Options of the disk, or those of its resync.
fn take_disk_options(volume: &mut Volume, from: &Volume, resync: bool) {
    let (old, new) = (volume.disk_options.clone(), from.disk_options.clone());
    let (mut disk, peer) = if resync { (old, new) } else { (new, old) };
    disk.resync_rate = peer.resync_rate;
    disk.c_plan_ahead = peer.c_plan_ahead;
    disk.c_delay_target = peer.c_delay_target;
    disk.c_fill_target = peer.c_fill_target;
    disk.c_max_rate = peer.c_max_rate;
    disk.c_min_rate = peer.c_min_rate;
    volume.disk_options = disk;
}

/// Say what is fixed as long as a disk is attached.
fn later(what: &str, was: &Host, is: &Host) {
    for (was, is) in was.volumes.iter().zip(&is.volumes) {
        let (was, is) = (&was.disk_options, &is.disk_options);
        if was.al_extents != is.al_extents || was.al_updates != is.al_updates {
            note(&format!(
                "{what}: the configuration has another al-extents or al-updates, which holds when \
                 the disk is attached anew: «repadm adjust» does that"
            ));
        }
    }
}
