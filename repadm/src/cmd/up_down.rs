//! `up` and `down`.

use super::{each, whole};
use crate::context::{Context, Mine};
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::Target;
use config::MetaDisk;
use control::Command;

/// Bring resources up.
pub(super) fn up(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    context.warn()?;
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let mine = context.configured(whole(chosen, "up")?)?;
        context.check_address(mine)?;
        let what = describe(mine);
        let resource = serde_json::to_value(mine.resource).map_err(|error| {
            Failure::new(Exit::Failed, format!("{chosen}: cannot be told to the daemon: {error}"))
        })?;
        let node = mine.me.name.clone();
        context.order(&what, Command::Up { resource, node }).map(drop)
    })
}

fn describe(mine: Mine<'_>) -> String {
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
