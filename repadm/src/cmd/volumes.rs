//! Orders about single volumes: `pause-sync`, `resume-sync`, `invalidate`, `invalidate-remote`,
//! `new-current-uuid`.

use super::each;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::target::Target;
use control::{Command, VolumeOrder};

/// Do it.
pub(super) fn run(context: &mut Context<'_>, command: &crate::cli::Command) -> Outcome {
    use crate::cli::{Command as Word, Marks};
    let (on, what, words) = match command {
        Word::PauseSync { on } => (on, VolumeOrder::PauseSync, "let a resync stand still"),
        Word::ResumeSync { on } => (on, VolumeOrder::ResumeSync, "let a resync go on"),
        Word::Invalidate { marks: Marks { reset_bitmap }, on } => {
            let words = match reset_bitmap {
                true => "give the copy here up, and copy all of it from the peer",
                false => {
                    "give up what of the copy here is marked as out-of-sync, and copy it from the \
                     peer"
                }
            };
            (on, VolumeOrder::Invalidate { keep_marks: !reset_bitmap }, words)
        }
        Word::InvalidateRemote { marks: Marks { reset_bitmap }, on } => {
            let words = match reset_bitmap {
                true => "have the peer give its copy up, and copy all of it from here",
                false => {
                    "have the peer give up what of its copy is marked as out-of-sync, and copy it \
                     from here"
                }
            };
            (on, VolumeOrder::InvalidateRemote { keep_marks: !reset_bitmap }, words)
        }
        Word::NewCurrentUuid { clear_bitmap, on } => {
            let words = match clear_bitmap {
                true => "take both disks, which were just created, for equal and UpToDate",
                false => "begin a new generation",
            };
            (on, VolumeOrder::NewCurrentUuid { clear_bitmap: *clear_bitmap }, words)
        }
        other => unreachable!("{other:?} is not about single volumes"),
    };
    order(context, &on.targets, what, words)
}

fn order(context: &mut Context<'_>, targets: &[Target], order: VolumeOrder, what: &str) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let (resource, volume) = (chosen.name.clone(), chosen.volume);
        let command = Command::Volumes { resource, volume, order };
        context.order(&format!("{chosen}: {what}"), command).map(drop)
    })
}
