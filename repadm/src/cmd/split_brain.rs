//! `split-brain` and `connect --tentative`: what both nodes have, and what they would decide.

use super::{each, whole};
use crate::context::{Context, not_up, note};
use crate::outcome::{Exit, Failure, Outcome};
use crate::render::split_brain::{Picture, json, tentative as decisions, text};
use crate::render::status_json;
use crate::target::{Chosen, Target};
use types::ConnectionState;

/// Tell what both have.
pub(super) fn run(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    look(context, targets, "split-brain", |context, name, picture| {
        print(context, picture, text)?;
        match &picture.report.peer_silent {
            _ if picture.is_split() => {
                Err(Failure::new(Exit::SplitBrain, format!("{name}: split brain")))
            }
            Some(why) if !picture.is_sound() => Err(silent(name, picture, why)),
            _ => Ok(()),
        }
    })
}

/// Tell what the handshake would decide.
pub(super) fn tentative(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    look(context, targets, "connect --tentative", |context, name, picture| {
        print(context, picture, decisions)?;
        if let Some(why) = picture.report.peer_silent.as_ref().filter(|_| !picture.connected) {
            return Err(silent(name, picture, why));
        }
        if picture.stays_split() {
            let text = format!("{name}: split brain; see repadm split-brain {name}");
            return Err(Failure::new(Exit::SplitBrain, text));
        }
        if picture.is_refused() {
            return Err(Failure::new(
                Exit::Refused,
                format!("{name}: they would refuse each other"),
            ));
        }
        Ok(())
    })
}

fn print(context: &mut Context<'_>, picture: &Picture, show: fn(&Picture) -> String) -> Outcome {
    let shown =
        if context.global.json { status_json::pretty(&json(picture)) } else { show(picture) };
    context.out.print(&shown)
}

/// The peer says nothing, and nothing is known without it.
fn silent(name: &str, picture: &Picture, why: &str) -> Failure {
    let peer = &picture.report.peer;
    Failure::new(Exit::Failed, format!("{name}: {peer} does not tell what it has: {why}"))
}

/// Has each resource looked at, also after a peer was silent.
fn look<'a>(
    context: &mut Context<'a>,
    targets: &[Target],
    command: &str,
    mut tell: impl FnMut(&mut Context<'a>, &str, &Picture) -> Outcome,
) -> Outcome {
    let chosen = context.choose(targets)?;
    let mut unheard: Option<Failure> = None;
    let others = each(context, &chosen, |context, chosen| {
        let name = whole(chosen, command)?;
        let picture = picture(context, chosen)?;
        match tell(context, name, &picture) {
            // Of this resource only: the daemon itself has answered.
            Err(failure) if failure.exit == Exit::Failed => {
                unheard.replace(failure).iter().for_each(|earlier| note(&earlier.text));
                Ok(())
            }
            outcome => outcome,
        }
    });
    match (others, unheard) {
        (Err(failure), Some(unheard)) => {
            note(&unheard.text);
            Err(failure)
        }
        (Ok(()), Some(unheard)) => Err(unheard),
        (others, None) => others,
    }
}

fn picture(context: &Context<'_>, chosen: &Chosen) -> Outcome<Picture> {
    let status = context.status_of(&chosen.name)?.ok_or_else(|| not_up(&chosen.name))?;
    let report = context.split_brain(&chosen.name)?;
    Ok(Picture {
        connected: report.peer_silent.is_some()
            && status.peer.connection == ConnectionState::Connected,
        found: status.split_brain,
        sizes: status.volumes.iter().map(|volume| (volume.volume, volume.size_bytes)).collect(),
        report,
    })
}
