//! `dump`: the configuration in its normal form.

use crate::context::Context;
use crate::outcome::Outcome;
use crate::render::status_json;
use crate::target::Target;
use serde_json::json;

/// Without targets, or with `all`, everything; else the resources that are named.
pub(super) fn run(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    context.warn()?;
    let everything = targets.is_empty() || targets.contains(&Target::All);
    let chosen = if everything { Vec::new() } else { context.choose(targets)? };
    for chosen in &chosen {
        context.configured(&chosen.name)?;
    }
    let wanted = |name: &str| everything || chosen.iter().any(|chosen| chosen.name == name);
    let loaded = context.config()?;
    let text = if context.global.json {
        let mut config = loaded.config.clone();
        config.resources.retain(|resource| wanted(&resource.name));
        status_json::pretty(&json!(config))
    } else {
        let text = config::dump(loaded, &context.node());
        if everything { text } else { only(&text, wanted) }
    };
    context.out.print(&text)
}

/// The parts of a dump that are about those resources: each begins with a comment that names it.
fn only(dump: &str, wanted: impl Fn(&str) -> bool) -> String {
    const HEAD: &str = "# resource ";
    let mut text = String::new();
    let mut shown = false;
    for line in dump.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix(HEAD) {
            // A name that is written in quotes has blanks, or what else a word has not.
            let name = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => rest.split(' ').next(),
            };
            shown = name.is_some_and(&wanted);
        }
        if shown {
            text.push_str(line);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_resource_is_cut_out_of_a_dump() {
        let dump = "# /etc/repd.conf\nglobal {\n}\n\n# resource r0 on a: not ignored, not stacked\n\
                    resource r0 {\n}\n\n# resource \"r 1\" on a: ignored, not stacked\nresource {}\n";
        assert_eq!(
            only(dump, |name| name == "r0"),
            "# resource r0 on a: not ignored, not stacked\nresource r0 {\n}\n\n"
        );
        assert!(only(dump, |name| name == "r 1").ends_with("resource {}\n"));
        assert_eq!(only(dump, |name| name == "r"), "");
    }
}
