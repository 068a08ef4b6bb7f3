//! `wipe-md` and `apply-al`: metadata of disks that no daemon has.

use super::each;
use super::question::Question;
use crate::context::{Context, Mine, volumes};
use crate::offline::{disks, unusable};
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::Target;
use config::Volume;
use metadata::{AL_BLOCKS_DEFAULT, Expected, Layout, LoadError, Recovered, SlotsError};
use types::BLOCK_BYTES;

/// For each volume on this node with a disk.
fn for_volumes(
    context: &mut Context<'_>,
    targets: &[Target],
    mut act: impl FnMut(&mut Context<'_>, &Mine<'_>, &str, &Volume) -> Outcome,
) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let mine = context.configured(&chosen.name)?;
        // The configuration lives as long as the context, which is borrowed below.
        let (resource, me, peer) = (mine.resource.clone(), mine.me.clone(), mine.peer.clone());
        let mine = Mine { resource: &resource, me: &me, peer: &peer };
        for volume in volumes(&me, chosen).filter(|volume| volume.disk.is_some()) {
            act(context, &mine, &format!("{}/{}", resource.name, volume.id), volume)?;
        }
        Ok(())
    })
}

/// Take the metadata off. The data stay as they are.
pub(super) fn wipe(context: &mut Context<'_>, force: bool, targets: &[Target]) -> Outcome {
    for_volumes(context, targets, |context, _, name, volume| {
        let disks = disks(name, volume, context.global.dry_run)?;
        let meta = disks.meta().path().display().to_string();
        let what = match disks.superblock(None) {
            Ok(found) => format!(
                "the metadata of {}/{}, generation {}",
                found.resource, found.volume, found.generations.current.id
            ),
            Err(LoadError::Slots(SlotsError::NoMetadata)) => {
                return context.out.line(format!("{name}: there are no metadata on {meta}"));
            }
            Err(LoadError::Read { error, .. }) => return Err(error.about(name)),
            Err(error) => format!("metadata that cannot be used ({error})"),
        };
        let question = Question {
            there: format!("{name}: {meta} holds {what}"),
            ask: "Wipe it out? The data stay, and are replicated no more.",
            forced: format!("{name}: {what} is wiped off {meta}"),
            way: "wipe-md --force wipes it out; the data stay, and are replicated no more",
        };
        question.put(context, force)?;
        if context.global.dry_run {
            return Ok(());
        }
        let layout = Layout::of(disks.placement(), disks.meta().bytes(), AL_BLOCKS_DEFAULT)
            .map_err(|error| Failure::new(Exit::Config, format!("{name}: {meta}: {error}")))?;
        disks.meta().write(&[metadata::wipe(&layout)])
    })
}

/// Mark in the bitmap what the log says may have been in flight when the node stopped.
pub(super) fn apply_al(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    for_volumes(context, targets, |context, mine, name, volume| {
        let disks = disks(name, volume, context.global.dry_run)?;
        let expected = Expected {
            resource: mine.resource.name.clone(),
            volume: volume.id,
            node: Some(mine.me.node_id),
        };
        if !context.global.dry_run {
            disks.meta().flush().map_err(|failure| failure.about(name))?;
        }
        let loaded = disks.load(expected);
        let recovered = loaded.map_err(|error| unusable(name, volume, &disks, &error))?;
        let would = if context.global.dry_run { "would be " } else { "" };
        let text = said(&recovered, would);
        if !context.global.dry_run {
            disks.meta().write(&recovered.plan).map_err(|failure| failure.about(name))?;
        }
        context.out.line(format!("{name}: {text}"))
    })
}

fn said(recovered: &Recovered, would: &str) -> String {
    let Recovered { marked_blocks, bad_pages, .. } = recovered;
    let mut text = match (recovered.crashed, recovered.log_lost) {
        (false, _) => "detached in order: there is nothing to apply".to_owned(),
        (true, log_lost) => {
            let from = if log_lost { "the log is unreadable, so all" } else { "by the log" };
            let kib = marked_blocks * BLOCK_BYTES / 1024;
            format!("{from}: {kib} KiB more {would}marked out-of-sync, and the log {would}emptied")
        }
    };
    if *bad_pages > 0 {
        text += &format!(
            "; {bad_pages} pages of the bitmap were damaged, and what they cover counts as \
             out-of-sync"
        );
    }
    text
}
