//! `wait-connect`, `wait-con-int` and `wait-sync`.

use super::whole;
use crate::at_once::{self, Job, Manner};
use crate::cli;
use crate::context::{Context, note};
use crate::outcome::Outcome;
use crate::target::{Chosen, Target};
use config::Startup;
use control::{Circumstance, Command, Patience};
use types::Span;

/// Until connected and the verdict is taken.
pub(super) fn connect(
    context: &mut Context<'_>,
    patience: cli::Patience,
    on: &[Target],
) -> Outcome {
    wait(context, "wait-connect", patience, on, Manner::Silent)
}

/// The same, telling who is waited for; and the person may end it.
pub(super) fn interruptible(
    context: &mut Context<'_>,
    patience: cli::Patience,
    on: &[Target],
) -> Outcome {
    wait(context, "wait-con-int", patience, on, Manner::Telling)
}

/// Until the local disk is UpToDate.
pub(super) fn sync(context: &mut Context<'_>, patience: cli::Patience, on: &[Target]) -> Outcome {
    let chosen = context.choose(on)?;
    let jobs = chosen.iter().map(|chosen| {
        let patience = patience_for(context, patience, &chosen.name);
        let (resource, volume) = (chosen.name.clone(), chosen.volume);
        let command = Command::WaitSync { resource, volume, patience };
        (
            job(context, chosen, command),
            format!("{chosen}: wait {} for UpToDate data", how_long(&patience)),
        )
    });
    let jobs = jobs.collect();
    run(context, jobs, Manner::Silent)
}

fn wait(
    context: &mut Context<'_>,
    name: &str,
    patience: cli::Patience,
    on: &[Target],
    manner: Manner,
) -> Outcome {
    let chosen = context.choose(on)?;
    let mut jobs = Vec::new();
    for chosen in &chosen {
        let resource = whole(chosen, name)?.to_owned();
        let patience = patience_for(context, patience, &resource);
        let what = format!("{resource}: wait {} for the peer", how_long(&patience));
        let command = Command::WaitConnect { resource, patience };
        jobs.push((job(context, chosen, command), what));
    }
    run(context, jobs, manner)
}

fn run(context: &mut Context<'_>, jobs: Vec<(Job, String)>, manner: Manner) -> Outcome {
    if context.global.dry_run || context.global.verbose {
        jobs.iter().try_for_each(|(_, what)| context.out.line(what))?;
    }
    if context.global.dry_run {
        return Ok(());
    }
    let jobs = jobs.into_iter().map(|(job, _)| job).collect();
    at_once::run(jobs, &context.control_path(), manner)
}

fn job(context: &Context<'_>, chosen: &Chosen, command: Command) -> Job {
    let peer = context.configured(&chosen.name).ok().map(|mine| mine.peer.name.clone());
    let name = chosen.to_string();
    Job {
        name: name.clone(),
        peer: peer.unwrap_or_else(|| "the peer".to_owned()),
        act: Box::new(move |asker| {
            if asker.wait(command)? == at_once::Waited::GivenUp {
                note(&format!("{name}: not waited for any longer"));
            }
            Ok(())
        }),
    }
}

/// What the command line says, or else the resource's `startup`.
fn patience_for(context: &Context<'_>, said: cli::Patience, resource: &str) -> Patience {
    let startup = context.configured(resource).ok().map(|mine| &mine.resource.startup);
    let unset = Startup::default();
    patience(said, startup.unwrap_or(&unset))
}

/// How long a resource with that `startup` is waited for.
pub(super) fn patience(said: cli::Patience, startup: &Startup) -> Patience {
    let time = |said: Option<u32>, configured: Option<Span>| match said {
        None => configured.filter(|span| *span > Span::ZERO),
        Some(0) => None,
        Some(seconds) => Some(Span::secs(u64::from(seconds))),
    };
    Patience {
        wfc_timeout: time(said.wfc_timeout, startup.wfc_timeout),
        degr_wfc_timeout: time(said.degr_wfc_timeout, startup.degr_wfc_timeout),
        outdated_wfc_timeout: time(said.outdated_wfc_timeout, startup.outdated_wfc_timeout),
        wait_after_sb: said.wait_after_sb || startup.wait_after_sb,
    }
}

/// For people: how long at most, and what shortens it if it is known by then.
pub(super) fn how_long(patience: &Patience) -> String {
    let text = |limit: Option<Span>| {
        limit.map_or_else(|| "for ever".to_owned(), |span| format!("up to {span}"))
    };
    let times = [Circumstance::Ordinary, Circumstance::Degraded, Circumstance::Outdated]
        .map(|circumstance| patience.limit(circumstance));
    let [most, rest @ ..] = times;
    let mut said = text(most.limit);
    for (shorter, before) in rest.into_iter().zip(times) {
        if shorter.limit != before.limit {
            said += &format!(" ({}: {})", shorter.circumstance.option(), text(shorter.limit));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shortens_a_wait_is_told() {
        let seconds = |n: u64| Some(n).filter(|n| *n > 0).map(Span::secs);
        let told = |times: [u64; 3]| {
            let [wfc_timeout, degr_wfc_timeout, outdated_wfc_timeout] = times.map(seconds);
            let wait_after_sb = false;
            how_long(&Patience {
                wfc_timeout,
                degr_wfc_timeout,
                outdated_wfc_timeout,
                wait_after_sb,
            })
        };
        assert_eq!(told([0, 0, 0]), "for ever");
        let [three, two] = [3, 2].map(|n| Span::secs(n).to_string());
        assert_eq!(told([3, 0, 0]), format!("up to {three}"));
        assert_eq!(told([3, 2, 0]), format!("up to {three} (degr-wfc-timeout: up to {two})"));
        assert_eq!(told([0, 0, 2]), format!("for ever (outdated-wfc-timeout: up to {two})"));
    }
}
