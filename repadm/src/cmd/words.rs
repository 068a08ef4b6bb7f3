//! `role`, `cstate` and `dstate`: one line each, for scripts.

use super::each;
use crate::context::{Context, not_up};
use crate::outcome::Outcome;
use crate::render::pairs;
use crate::target::{Chosen, Target};
use control::{ResourceStatus, VolumeStatus};

/// `Primary/Secondary`.
pub(super) fn role(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    for_each_up(context, targets, |context, _, status| context.out.line(pairs::roles(status)))
}

/// `UpToDate/Inconsistent`, a line for each volume.
pub(super) fn dstate(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    for_each_up(context, targets, |context, chosen, status| {
        let lines: Vec<String> = volumes(status, chosen).map(pairs::disks).collect();
        lines.iter().try_for_each(|line| context.out.line(line))
    })
}

/// What it is doing. A resource that is not up is `Unconfigured`, which is an answer.
pub(super) fn cstate(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    let statuses = context.statuses()?;
    each(context, &chosen, |context, chosen| {
        let Some(status) = statuses.iter().find(|status| status.name == chosen.name) else {
            return context.out.line(pairs::UNCONFIGURED);
        };
        let state = match chosen.volume {
            None => pairs::resource_connection(status),
            Some(_) => volumes(status, chosen)
                .next()
                .map_or(pairs::UNCONFIGURED, |volume| pairs::connection(status, volume)),
        };
        context.out.line(state)
    })
}

fn volumes<'s>(
    status: &'s ResourceStatus,
    chosen: &'s Chosen,
) -> impl Iterator<Item = &'s VolumeStatus> {
    status.volumes.iter().filter(|volume| chosen.includes(volume.volume))
}

fn for_each_up<'a>(
    context: &mut Context<'a>,
    targets: &[Target],
    mut act: impl FnMut(&mut Context<'a>, &Chosen, &ResourceStatus) -> Outcome,
) -> Outcome {
    let chosen = context.choose(targets)?;
    let statuses = context.statuses()?;
    each(context, &chosen, |context, chosen| {
        match statuses.iter().find(|status| status.name == chosen.name) {
            Some(status) => act(context, chosen, status),
            None => Err(not_up(&chosen.name)),
        }
    })
}
