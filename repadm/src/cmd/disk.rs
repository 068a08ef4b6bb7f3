//! `attach`, `detach` and `outdate`.

use super::{each, resize, whole};
use crate::cli::WasSize;
use crate::context::Context;
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::Target;
use control::Command;

/// Take disks in.
pub(super) fn attach(context: &mut Context<'_>, was: &[WasSize], targets: &[Target]) -> Outcome {
    context.warn()?;
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        // A resource that is up and configured no more keeps the disks that it had.
        let configured = context.configured(&chosen.name).ok().map(|mine| mine.resource);
        let config = configured.map(serde_json::to_value).transpose().map_err(|error| {
            Failure::new(Exit::Failed, format!("{chosen}: cannot be told to the daemon: {error}"))
        })?;
        resize::remember(context, &chosen.name, was)?;
        let (resource, volume) = (chosen.name.clone(), chosen.volume);
        let command = Command::Attach { resource, volume, config };
        context.order(&format!("{chosen}: attach the local disk"), command).map(drop)
    })
}

/// Let disks go.
pub(super) fn detach(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let command = Command::Detach { resource: chosen.name.clone(), volume: chosen.volume };
        context.order(&format!("{chosen}: detach the local disk"), command).map(drop)
    })
}

/// Take the copies for Outdated: of a whole resource, for its volumes are of one time.
pub(super) fn outdate(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "outdate")?;
        let what = format!("{name}: take the copies here for Outdated");
        context.order(&what, Command::Outdate { resource: name.to_owned() }).map(drop)
    })
}
