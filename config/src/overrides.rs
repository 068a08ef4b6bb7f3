//! Options that are given beside the files, as `repadm net-options` takes them.
//!
//! They are checked as if they stood in the resource, and win over whatever the files say there.

use crate::diagnostic::Diagnostics;
use crate::include::Read;
use crate::options::Section;
use crate::source::{Sources, Span};
use crate::tree::{ResourceTree, Setting, Settings, Tree};
use crate::{lexer, lower, parser};
use std::fmt::Write as _;
use std::path::Path;

/// One option that is given beside the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The section it belongs to: `net`, `disk` or `options`.
    pub section: Section,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What the place of an override is called in messages.
pub(crate) const COMMAND_LINE: &str = "command line";

/// Puts the overrides into the resource of that name, if there is one.
pub(crate) fn apply(
    tree: &mut Tree,
    resource: &str,
    overrides: &[Override],
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) {
    if overrides.is_empty() {
        return;
    }
    let text = text(overrides);
    let source = sources.add(Path::new(COMMAND_LINE), text.clone());
    let tokens = lexer::tokens(source, &text, diagnostics);
    let end = Span { source, start: text.len(), end: text.len() };
    let statements = parser::parse(&tokens, end, Section::Top, sources, diagnostics);
    let given = lower::lower(&Read { statements, ..Read::default() }, diagnostics);
    let Some(target) = tree.resources.iter_mut().find(|known| known.name == resource) else {
        return;
    };
    for (section, settings) in given.resources.into_iter().flat_map(|given| given.sections.0) {
        for setting in settings.0 {
            replace(target, section, setting);
        }
    }
}

/// The overrides in the language of the files, a line for each.
fn text(overrides: &[Override]) -> String {
    let mut text = String::from("resource overridden {\n");
    let mut rest: Vec<&Override> = overrides.iter().collect();
    while let Some(first) = rest.first().copied() {
        let (same, others) = rest.into_iter().partition(|one| one.section == first.section);
        let same: Vec<&Override> = same;
        let _ = writeln!(text, "  {} {{", first.section.name());
        for Override { name, value, .. } in same {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = writeln!(text, "    {name} \"{value}\";");
        }
        text.push_str("  }\n");
        rest = others;
    }
    text.push_str("}\n");
    text
}

/// Sets an option of the resource, and unsets it wherever something nearer would win.
fn replace(resource: &mut ResourceTree, section: Section, setting: Setting) {
    let name = setting.spec.name;
    let connections = resource.connections.iter_mut().flat_map(|connection| {
        let own = connection.volumes.iter_mut().map(|(_, settings)| settings);
        [&mut connection.net, &mut connection.disk].into_iter().chain(own)
    });
    let hosts = resource.hosts.iter_mut().flat_map(|host| &mut host.volumes);
    let volumes = resource.volumes.iter_mut().chain(hosts).map(|volume| &mut volume.options);
    let sections = resource.sections.0.values_mut();
    for settings in connections.chain(volumes).chain(sections) {
        settings.0.retain(|known| known.spec.name != name);
    }
    let settings: &mut Settings = resource.sections.0.entry(section).or_default();
    settings.0.push(setting);
}
