//! `resize`, and what says where the metadata of a disk are that has grown.

use super::each;
use crate::cli::{Growth, WasSize};
use crate::context::Context;
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::{Chosen, Target};
use control::Command;
use types::VolumeId;

/// Grow volumes on both nodes.
pub(super) fn run(context: &mut Context<'_>, growth: &Growth, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        for volume in volumes(context, chosen)? {
            let one = Chosen { name: chosen.name.clone(), volume: Some(volume) };
            grow(context, growth, &one, volume)?;
        }
        Ok(())
    })
}

/// The volumes that are meant, of a resource that is up.
fn volumes(context: &Context<'_>, chosen: &Chosen) -> Outcome<Vec<VolumeId>> {
    if let Some(volume) = chosen.volume {
        return Ok(vec![volume]);
    }
    if context.global.dry_run {
        let mine = context.configured(&chosen.name)?;
        return Ok(mine.me.volumes.iter().map(|volume| volume.id).collect());
    }
    let Some(status) = context.status_of(&chosen.name)? else {
        let text = format!("{chosen}: it is not up; «repadm up {chosen}»");
        return Err(Failure::new(Exit::Usage, text));
    };
    Ok(status.volumes.iter().map(|volume| volume.volume).collect())
}

fn grow(context: &mut Context<'_>, growth: &Growth, one: &Chosen, volume: VolumeId) -> Outcome {
    let size = |context: &Context<'_>| -> Outcome<u64> {
        let status = context.status_of(&one.name)?;
        let volumes = status.into_iter().flat_map(|status| status.volumes);
        Ok(volumes.filter(|it| it.volume == volume).map(|it| it.size_bytes).next().unwrap_or(0))
    };
    let before = if context.global.dry_run { 0 } else { size(context)? };
    let to = growth.size.map_or_else(
        || "as large as both disks have room for".to_owned(),
        |size| format!("to {} bytes", size.0),
    );
    let command = Command::Resize {
        resource: one.name.clone(),
        volume,
        size: growth.size.map(|size| size.0),
        assume_clean: growth.assume_clean,
        assume_peer_has_space: growth.assume_peer_has_space,
    };
    let done = context.order(&format!("{one}: grow the volume {to}"), command)?;
    if !done.really {
        return Ok(());
    }
    let after = size(context)?;
    context.out.line(&match after > before {
        true => format!("{one}: grown from {before} to {after} bytes"),
        false => {
            format!("{one}: nothing to do: it has {after} bytes, as many as there is room for")
        }
    })
}

/// Tells the daemon how large disks were, before it looks for their metadata.
pub(super) fn remember(context: &mut Context<'_>, name: &str, sizes: &[WasSize]) -> Outcome {
    for WasSize { volume, size } in sizes {
        let (resource, bytes) = (name.to_owned(), size.0);
        let what = format!("{name}/{volume}: its disk had {bytes} bytes when it was used last");
        let command = Command::WasSize { resource, volume: *volume, bytes };
        context.order(&what, command)?;
    }
    Ok(())
}
