//! `show-gi` and `get-gi`: from the daemon if the disk is attached there, else from the disk.

use super::each;
use crate::context::Context;
use crate::offline;
use crate::outcome::Outcome;
use crate::render::generations::{Copy, explained, short};
use crate::render::status_json;
use crate::target::{Chosen, Target};
use control::{ResourceStatus, VolumeStatus};
use serde_json::json;
use types::ConnectionState;

/// Explained.
pub(super) fn show(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    run(context, targets, explained)
}

/// One line each.
pub(super) fn get(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    run(context, targets, |copy| short(copy) + "\n")
}

fn run(context: &mut Context<'_>, targets: &[Target], render: fn(&Copy) -> String) -> Outcome {
    let chosen = context.choose(targets)?;
    // Without a daemon the disks can still be read.
    let statuses = context.statuses().unwrap_or_default();
    each(context, &chosen, |context, chosen| {
        let status = statuses.iter().find(|status| status.name == chosen.name);
        for copy in copies(context, chosen, status)? {
            let text = if context.global.json { as_json(&copy) } else { render(&copy) };
            context.out.print(&text)?;
        }
        Ok(())
    })
}

fn copies(
    context: &Context<'_>,
    chosen: &Chosen,
    status: Option<&ResourceStatus>,
) -> Outcome<Vec<Copy>> {
    let mut copies = Vec::new();
    if let Some(status) = status {
        let volumes = status.volumes.iter().filter(|volume| chosen.includes(volume.volume));
        copies.extend(volumes.filter_map(|volume| attached(status, volume)));
        if !copies.is_empty() {
            return Ok(copies);
        }
    }
    let mine = context.configured(&chosen.name)?;
    for volume in crate::context::volumes(mine.me, chosen) {
        copies.push(offline::generations(&chosen.name, volume, mine.me.node_id)?);
    }
    Ok(copies)
}

fn attached(status: &ResourceStatus, volume: &VolumeStatus) -> Option<Copy> {
    Some(Copy {
        name: format!("{}/{}", status.name, volume.volume),
        node: Some(status.node_id),
        source: "as the daemon has it".to_owned(),
        generations: volume.generations.clone()?,
        flags: volume.flags?,
        connected: status.peer.connection == ConnectionState::Connected,
        unclean: false,
    })
}

fn as_json(copy: &Copy) -> String {
    status_json::pretty(&json!({
        "name": copy.name,
        "node-id": copy.node,
        "source": copy.source,
        "generations": copy.generations,
        "flags": copy.flags,
        "connected": copy.connected,
        "unclean": copy.unclean,
    }))
}
