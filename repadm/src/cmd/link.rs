//! `connect` and `disconnect`.

use super::{each, whole};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::target::Target;
use control::Command;

/// Seek the peer.
pub(super) fn connect(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    context.warn()?;
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let name = whole(chosen, "connect")?;
        let what = match context.config()?.config.resource(name) {
            Some(_) => {
                let mine = context.configured(name)?;
                context.check_address(mine)?;
                format!("{name}: seek {} at {}", mine.peer.name, mine.peer.address)
            }
            None => format!("{name}: seek the peer"),
        };
        context
            .order(&what, Command::Connect { resource: name.to_owned(), discard_my_data: false })
            .map(drop)
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
