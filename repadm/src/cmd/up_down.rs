//! `up` and `down`.

use super::{each, resize, whole};
use crate::cli::WasSize;
use crate::context::{Context, Mine};
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::Target;
use config::MetaDisk;
use control::{Command, Spare};

/// Bring resources up.
pub(super) fn up(context: &mut Context<'_>, was: &[WasSize], targets: &[Target]) -> Outcome {
    context.warn()?;
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "up")?;
        context.configured(name)?;
        resize::remember(context, name, was)?;
        let mine = context.configured(name)?;
        context.check_address(mine)?;
        context.order(&describe(mine), order(mine)?).map(drop)
    })
}

/// What the daemon is asked for.
pub(super) fn order(mine: Mine<'_>) -> Outcome<Command> {
    let resource = serde_json::to_value(mine.resource).map_err(|error| {
        let name = &mine.resource.name;
        Failure::new(Exit::Failed, format!("{name}: cannot be told to the daemon: {error}"))
    })?;
    Ok(Command::Up { resource, node: mine.me.name.clone(), spare: Spare::default() })
}

/// For people: what will be done.
pub(super) fn describe(mine: Mine<'_>) -> String {
    let Mine { resource, me, peer } = mine;
    let mut text = format!(
        "{}: bring up as {} (node {}), listen on {}, seek {} at {}",
        resource.name, me.name, me.node_id, me.address, peer.name, peer.address
    );
    for volume in &me.volumes {
        text += &format!("\n{}/{}: ", resource.name, volume.id);
        text += &match (&volume.disk, &volume.meta_disk) {
            (None, _) => "no disk here, served by the peer".to_owned(),
            (Some(disk), MetaDisk::Internal) => {
                format!("attach {}, metadata at its end", disk.display())
            }
            (Some(disk), MetaDisk::External(meta)) => {
                format!("attach {}, metadata on {}", disk.display(), meta.display())
            }
        };
    }
    text
}

/// Take resources down. What is not up is down already.
pub(super) fn down(context: &mut Context<'_>, force: bool, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "down")?;
        if !context.global.dry_run && context.status_of(name)?.is_none() {
            return Ok(());
        }
        let clients = if force { ", dropping its clients" } else { "" };
        let what = format!("{name}: demote, disconnect and detach{clients}");
        let command = Command::Down { resource: name.to_owned(), force };
        context.order(&what, command).map(drop)
    })
}
