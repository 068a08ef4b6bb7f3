//! `primary` and `secondary`.

use super::{each, whole};
use crate::context::{Context, note};
use crate::outcome::Outcome;
use crate::target::Target;
use control::Command;
use types::DiskState;

/// Serve the device, and say where.
pub(super) fn primary(context: &mut Context<'_>, force: bool, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "primary")?;
        let forced = if force {
            ", and take the local data as good if no UpToDate copy can be reached"
        } else {
            ""
        };
        let what = format!("{name}: become Primary{forced}");
        let command = Command::Primary { resource: name.to_owned(), force };
        let needless = force && !context.global.dry_run && force_is_needless(context, name)?;
        let done = context.order(&what, command)?;
        if needless {
            note(&format!(
                "{name}: its data was UpToDate, so --force was not needed: nothing is overwritten"
            ));
        }
        // The daemon says itself how to reach the device, if it has something to say.
        if done.really && done.notes == 0 && !context.global.json {
            for volume in context.status_of(name)?.into_iter().flat_map(|status| status.volumes) {
                for uri in volume.nbd_uris {
                    context.out.line(format!("{name}/{}: {uri}", volume.volume))?;
                }
            }
        }
        Ok(())
    })
}

/// Whether UpToDate data can be reached for every volume, here or at the peer, so that there is
/// nothing to force: the daemon decides that by itself, and this is for telling only.
fn force_is_needless(context: &Context<'_>, name: &str) -> Outcome<bool> {
    let status = context.status_of(name)?;
    Ok(status.is_some_and(|status| {
        let up_to_date = DiskState::UpToDate;
        status.volumes.iter().all(|v| v.disk == up_to_date || v.peer_disk == up_to_date)
    }))
}

/// Serve it no more.
pub(super) fn secondary(context: &mut Context<'_>, force: bool, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "secondary")?;
        let clients = if force { ", dropping its clients" } else { "" };
        let what = format!("{name}: become Secondary{clients}");
        let command = Command::Secondary { resource: name.to_owned(), force };
        context.order(&what, command).map(drop)
    })
}
