//! `connect` and `disconnect`.

use super::{each, whole};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::target::Target;
use control::Command;

/// Seek the peer; with `discard_my_data`, give up what was written here since a split brain.
pub(super) fn connect(
    context: &mut Context<'_>,
    discard_my_data: bool,
    targets: &[Target],
) -> Outcome {
    context.warn()?;
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "connect")?;
        let mut what = match context.config()?.config.resource(name) {
            Some(_) => {
                let mine = context.configured(name)?;
                context.check_address(mine)?;
                format!("{name}: seek {} at {}", mine.peer.name, mine.peer.address)
            }
            None => format!("{name}: seek the peer"),
        };
        if discard_my_data {
            what += ", and give up what was written here since a split brain";
        }
        let command = Command::Connect { resource: name.to_owned(), discard_my_data };
        context.order(&what, command).map(drop)
    })
}

/// Leave the peer.
pub(super) fn disconnect(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "disconnect")?;
        let what = format!("{name}: leave the peer, and seek it no more");
        context.order(&what, Command::Disconnect { resource: name.to_owned() }).map(drop)
    })
}
