//! `config`: what is wrong with a configuration, and what its words mean.

use crate::cli::ConfigCommand;
use crate::context::{Context, as_node, owns};
use crate::outcome::{Exit, Failure, Outcome};
use crate::render::status_json;
use config::{Diagnostic, Loaded, Place, Severity, Sources};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Do what is asked.
pub(super) fn run(context: &mut Context<'_>, what: &ConfigCommand) -> Outcome {
    match what {
        ConfigCommand::Check { file } => check(context, file.as_ref()),
        ConfigCommand::Explain { word } => explain(context, word),
    }
}

fn explain(context: &mut Context<'_>, word: &str) -> Outcome {
    match config::explain(word) {
        Ok(text) => context.out.print(&text),
        Err(near) => {
            let hint = near.map_or_else(
                || "docs/options.md lists them all".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            let text = format!("'{word}' is no word of the configuration's language; {hint}");
            Err(Failure::new(Exit::Usage, text))
        }
    }
}

/// Everything that there is to say about a file, on standard output; then the counts.
fn check(context: &mut Context<'_>, file: Option<&PathBuf>) -> Outcome {
    let path = file.unwrap_or(&context.global.config).clone();
    let candidates = context.candidates();
    let shown = path.display();
    match config::load_with(&path, candidates, &config::FsLoader) {
        Ok(loaded) => {
            let mut said = loaded.warnings.clone();
            let (ours, foreign) = for_this_host(context, &loaded);
            said.extend(foreign);
            let all = loaded.config.resources.len();
            let about = format!(
                "{all} resource{}, {ours} of them for this host, {}",
                plural(all),
                context.node()
            );
            conclude(context, &shown.to_string(), &said, &loaded.sources, 0, Some(&about))
        }
        Err(config::LoadError::Invalid(report)) => {
            let (said, sources) = (&report.diagnostics, &report.sources);
            conclude(context, &shown.to_string(), said, sources, report.dropped(), None)
        }
        Err(error @ config::LoadError::Open { .. }) => {
            Err(Failure::new(Exit::Failed, error.to_string()))
        }
    }
}

/// How many resources are for this host, and which of them name an address that it does not have.
fn for_this_host(context: &Context<'_>, loaded: &Loaded) -> (usize, Vec<Diagnostic>) {
    let node = context.node();
    let trusted = context.global.node.is_some() || loaded.config.global.disable_ip_verification;
    let mut ours = 0;
    let mut foreign = Vec::new();
    for resource in &loaded.config.resources {
        match as_node(&node).place(resource) {
            Place::Neither => continue,
            Place::Is(me, _) if !trusted && !owns(me.address.ip()) => {
                foreign.extend(loaded.foreign_address(&resource.name, &me.name));
            }
            Place::Is(..) | Place::Both => {}
        }
        ours += 1;
    }
    (ours, foreign)
}

/// Prints what was found and the verdict. `dropped` were counted, and not kept.
fn conclude(
    context: &mut Context<'_>,
    file: &str,
    said: &[Diagnostic],
    sources: &Sources,
    dropped: usize,
    about: Option<&str>,
) -> Outcome {
    let of = |severity| said.iter().filter(|one| one.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error) + dropped, of(Severity::Warning));
    let counts =
        format!("{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings));
    if context.global.json {
        let list: Vec<Value> = said.iter().map(|one| as_json(one, sources)).collect();
        let picture =
            json!({ "file": file, "errors": errors, "warnings": warnings, "diagnostics": list });
        context.out.print(&status_json::pretty(&picture))?;
    } else {
        for one in said {
            context.out.line(one.render(sources))?;
        }
        if dropped > 0 {
            context.out.line(format!("and {dropped} more, not shown\n"))?;
        }
    }
    if errors > 0 {
        return Err(Failure::new(Exit::Config, format!("{file}: {counts}: it cannot be used")));
    }
    if !context.global.json {
        let about = about.map_or_else(String::new, |about| format!("; {about}"));
        context.out.line(format!("{file}: {counts}{about}"))?;
    }
    Ok(())
}

fn as_json(one: &Diagnostic, sources: &Sources) -> Value {
    let place = |span| {
        let (line, column) = sources.line_column(span);
        (sources.get(span.source).path.display().to_string(), line, column)
    };
    let (file, line, column) = place(one.span);
    let related: Vec<Value> = one
        .related
        .iter()
        .map(|(span, text)| {
            let (file, line, column) = place(*span);
            json!({ "file": file, "line": line, "column": column, "text": text })
        })
        .collect();
    json!({
        "severity": match one.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "file": file, "line": line, "column": column,
        "message": one.message, "label": one.label,
        "related": related, "notes": one.notes, "help": one.help,
    })
}

const fn plural(number: usize) -> &'static str {
    if number == 1 { "" } else { "s" }
}
