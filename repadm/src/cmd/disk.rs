//! `attach` and `detach`.

use super::each;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::target::Target;
use control::Command;

/// Take disks in.
pub(super) fn attach(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    context.warn()?;
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let command = Command::Attach { resource: chosen.name.clone(), volume: chosen.volume };
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
