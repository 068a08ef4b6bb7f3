//! `dump` and `dump-xml`: the configuration in its normal form.

use crate::context::{Context, as_node, note};
use crate::outcome::Outcome;
use crate::render::status_json;
use crate::target::Target;
use config::{Config, Dump, Resource, Secret};
use serde_json::json;

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The language of the configuration, or JSON if that is asked for.
    Text,
    /// XML.
    Xml,
}

/// Without targets, or with `all`, everything; else the resources that are named.
pub(super) fn run(context: &mut Context<'_>, form: Form, targets: &[Target]) -> Outcome {
    warn(context)?;
    let everything = targets.is_empty() || targets.contains(&Target::All);
    let chosen = if everything { Vec::new() } else { context.choose(targets)? };
    for chosen in &chosen {
        context.configured(&chosen.name)?;
    }
    let wanted =
        |resource: &Resource| everything || chosen.iter().any(|one| one.name == resource.name);
    let loaded = context.config()?;
    let node = context.node();
    let dump = Dump {
        node: as_node(&node),
        only: if everything { None } else { Some(&wanted) },
        verbose: context.global.verbose,
    };
    let text = match form {
        Form::Text if context.global.json => {
            let mut config = loaded.config.clone();
            config.resources.retain(wanted);
            hide_secrets(&mut config);
            status_json::pretty(&json!(config))
        }
        Form::Text => dump.text(loaded),
        Form::Xml => dump.xml(loaded),
    };
    context.out.print(&text)
}

/// What has no effect: a line each, or with its place in the file shown.
fn warn(context: &Context<'_>) -> Outcome {
    if !context.global.verbose {
        return context.warn();
    }
    let loaded = context.config()?;
    loaded.warnings.iter().for_each(|warning| note(&warning.render(&loaded.sources)));
    Ok(())
}

/// The text is a configuration, and whole; JSON is for programs, and goes into logs and tickets.
fn hide_secrets(config: &mut Config) {
    for resource in &mut config.resources {
        if let Some(secret) = &mut resource.net.shared_secret {
            *secret = Secret("(secret)".into());
        }
    }
}
