//! `verify`: the copies compared, and what was found.

use super::each;
use crate::cli::VerifyArgs;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::render::status_json;
use crate::render::verify::{json, text};
use crate::target::Chosen;
use control::Command;

/// Compare, or what else the options say, which exclude each other.
pub(super) fn run(context: &mut Context<'_>, args: &VerifyArgs) -> Outcome {
    let chosen = context.choose(&args.on.targets)?;
    if args.report {
        return report(context, &chosen);
    }
    each(context, &chosen, |context, chosen| {
        let (resource, volume) = (chosen.name.clone(), chosen.volume);
        if args.cancel {
            let command = Command::CancelVerify { resource, volume };
            return context.order(&format!("{chosen}: end the verify"), command).map(drop);
        }
        let (start, stop) = (args.start.unwrap_or_default(), args.stop);
        let command = Command::Verify { resource, volume, start, stop };
        context.order(&format!("{chosen}: compare the copies"), command).map(drop)
    })
}

fn report(context: &mut Context<'_>, chosen: &[Chosen]) -> Outcome {
    if context.global.json {
        let mut all = Vec::new();
        for chosen in chosen {
            let found = context.verified(&chosen.name, chosen.volume)?;
            all.push(json(&chosen.name, &found));
        }
        return context.out.print(&status_json::pretty(&serde_json::Value::Array(all)));
    }
    each(context, chosen, |context, chosen| {
        let found = context.verified(&chosen.name, chosen.volume)?;
        context.out.print(&text(&chosen.name, &found))
    })
}
