//! `show`: what runs, which need not be what the file says by now.

use crate::context::{Context, not_up};
use crate::outcome::Outcome;
use crate::render::{show, status_json};
use crate::target::Target;
use serde_json::Value;

/// Without targets, or with `all`, everything that is up; what is named must be up.
pub(super) fn run(context: &mut Context<'_>, show_defaults: bool, targets: &[Target]) -> Outcome {
    let statuses = context.statuses()?;
    let everything = targets.is_empty() || targets.contains(&Target::All);
    let names: Vec<String> = match everything {
        true => statuses.iter().map(|status| status.name.clone()).collect(),
        false => context.choose(targets)?.into_iter().map(|chosen| chosen.name).collect(),
    };
    let mut shown = Vec::new();
    for name in names {
        let status = statuses.iter().find(|status| status.name == name);
        let state = status.ok_or_else(|| not_up(&name))?.peer.connection;
        let (resource, node) = context.running(&name)?;
        match context.global.json {
            true => shown.push(show::json(&resource, &node, Some(state), show_defaults)),
            false => context.out.print(&show::show(&resource, &node, show_defaults))?,
        }
    }
    match context.global.json {
        true => context.out.print(&status_json::pretty(&Value::Array(shown))),
        false => Ok(()),
    }
}
