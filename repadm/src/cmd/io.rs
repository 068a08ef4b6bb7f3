//! `suspend-io` and `resume-io`.

use super::{each, whole};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::target::Target;
use control::Command;

/// Let I/O stand still.
pub(super) fn suspend(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "suspend-io")?;
        let what = format!("{name}: let I/O stand still");
        context.order(&what, Command::SuspendIo { resource: name.to_owned() }).map(drop)
    })
}

/// Let it go on.
pub(super) fn resume(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "resume-io")?;
        let what = format!("{name}: let I/O go on, whatever it stands still for");
        context.order(&what, Command::ResumeIo { resource: name.to_owned() }).map(drop)
    })
}
