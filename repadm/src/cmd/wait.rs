//! `wait-connect` and `wait-sync`.

use super::{each, whole};
use crate::cli::Patience;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::target::Target;
use control::Command;
use std::time::Instant;
use types::Span;

/// Until connected and the verdict is taken.
pub(super) fn connect(context: &mut Context<'_>, patience: Patience, on: &[Target]) -> Outcome {
    let chosen = context.choose(on)?;
    let watch = Watch::start();
    each(context, &chosen, |context, chosen| {
        let resource = whole(chosen, "wait-connect")?.to_owned();
        let timeout = watch.left(limit(context, patience, &resource));
        let what = format!("{resource}: wait {} for the peer", how_long(timeout));
        context.order(&what, Command::WaitConnect { resource, timeout }).map(drop)
    })
}

/// Until the local disk is UpToDate.
pub(super) fn sync(context: &mut Context<'_>, patience: Patience, on: &[Target]) -> Outcome {
    let chosen = context.choose(on)?;
    let watch = Watch::start();
    each(context, &chosen, |context, chosen| {
        let resource = chosen.name.clone();
        let timeout = watch.left(limit(context, patience, &resource));
        let what = format!("{chosen}: wait {} for UpToDate data", how_long(timeout));
        let command = Command::WaitSync { resource, volume: chosen.volume, timeout };
        context.order(&what, command).map(drop)
    })
}

/// How long to wait for that resource; nothing is for ever.
fn limit(context: &Context<'_>, patience: Patience, resource: &str) -> Option<Span> {
    match patience.wfc_timeout {
        Some(0) => None,
        Some(seconds) => Some(Span::secs(u64::from(seconds))),
        None => context
            .configured(resource)
            .ok()
            .and_then(|mine| mine.resource.startup.wfc_timeout)
            .filter(|span| *span > Span::ZERO),
    }
}

fn how_long(timeout: Option<Span>) -> String {
    timeout.map_or_else(|| "for ever".to_owned(), |span| format!("up to {span}"))
}

/// All resources are waited for at once: each has what is left of its time after those before it.
struct Watch(Instant);

impl Watch {
    #[allow(
        clippy::disallowed_methods,
        reason = "the command line is a driver: it tells how \
        much of a person's patience is used up"
    )]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn left(&self, limit: Option<Span>) -> Option<Span> {
        let used = u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
        limit.map(|limit| Span(limit.0.saturating_sub(used)))
    }
}
