//! The normalised text of what was in the file, laid out as `drbdadm dump` does.
//!
//! Legacy spellings appear as what they mean; `common` is not merged into the resources; nothing
//! that was not in the file is added, except the minor number that a device's name contains.
//! [`Dump::verbose`] adds: each host with all of its volumes, the connection that there is, and
//! what is inherited, in the place of `common`.

mod merged;
mod xml;

use crate::lexer::{is_word_char, quote};
use crate::model::{Node, Place, Resource};
use crate::options::{Kind, Section};
use crate::tree::{
    ConnectionTree, DeviceTree, DiskTree, EndTree, HostTree, MetaTree, ResourceTree, Sections,
    Setting, Settings, VolumeTree,
};
use crate::{Loaded, grammar};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// The sections of options in the order in which DRBD prints them, then ours. `syncer` holds only
/// what no other section took over.
const ORDER: [Section; 7] = [
    Section::Options,
    Section::Net,
    Section::Disk,
    Section::Syncer,
    Section::Startup,
    Section::Handlers,
    Section::Nbd,
];

/// What is to be printed, and for whom.
#[derive(Clone, Copy)]
pub struct Dump<'a> {
    /// Who asks: a resource that has no such host is called ignored.
    pub node: Node<'a>,
    /// Only the resources of which this is true, without what stands outside of resources; none:
    /// everything.
    pub only: Option<&'a dyn Fn(&Resource) -> bool>,
    /// Add what follows from what was in the file.
    pub verbose: bool,
}

impl std::fmt::Debug for Dump<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dump").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The whole configuration as the node of that name sees it, which has no address.
pub fn dump(loaded: &Loaded, node: &str) -> String {
    let node = Node { name: node, owns: &|_| false };
    Dump { node, only: None, verbose: false }.text(loaded)
}

impl Dump<'_> {
    /// In the language of the configuration: what it prints can be read again.
    pub fn text(&self, loaded: &Loaded) -> String {
        let mut out = Out::default();
        if self.only.is_none() {
            out.head(loaded, self.verbose);
        }
        if loaded.tree.resources.is_empty() {
            out.comment("no resources configured");
        }
        for (tree, resource) in self.chosen(loaded) {
            let ignored = match self.node.place(resource) {
                Place::Neither => "ignored",
                Place::Is(..) | Place::Both => "not ignored",
            };
            let (called, node) = (name(&tree.name), self.node.name);
            out.comment(&format!("resource {called} on {node}: {ignored}, not stacked"));
            out.comment(&format!("defined at {}", loaded.sources.file_line(tree.span)));
            if self.verbose {
                out.resource(&merged::merged(&loaded.tree, tree, resource));
            } else {
                out.resource(tree);
            }
            out.text.push('\n');
        }
        out.text
    }

    /// As XML, with the elements of `drbdadm dump-xml`.
    pub fn xml(&self, loaded: &Loaded) -> String {
        let mut xml = xml::Xml::begin(loaded, self.verbose);
        for (tree, resource) in self.chosen(loaded) {
            match self.verbose {
                true => xml.resource(loaded, &merged::merged(&loaded.tree, tree, resource)),
                false => xml.resource(loaded, tree),
            }
        }
        xml.end()
    }

    /// The resources that are meant, as they were written and as they are meant.
    fn chosen<'l>(
        &self,
        loaded: &'l Loaded,
    ) -> impl Iterator<Item = (&'l ResourceTree, &'l Resource)> {
        // What is in error was not resolved, but then nothing is dumped.
        let all = loaded.tree.resources.iter().zip(&loaded.config.resources);
        all.filter(|(_, resource)| self.only.is_none_or(|only| only(resource)))
    }
}

#[derive(Default)]
struct Out {
    text: String,
    depth: usize,
}

impl Out {
    fn comment(&mut self, text: &str) {
        // A path may hold a newline; a comment may not.
        let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        writeln!(self.text, "# {text}").expect("writing to a string does not fail");
    }

    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n("    ", self.depth));
    }

    fn open(&mut self, head: &str) {
        self.indent();
        self.text.push_str(head);
        self.text.push_str(" {\n");
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.indent();
        self.text.push_str("}\n");
    }

    /// A whole line as it is.
    fn plain(&mut self, text: &str) {
        self.indent();
        self.text.push_str(text);
        self.text.push_str(";\n");
    }

    /// `name value;`, the values of one level under each other.
    fn line(&mut self, name: &str, value: &str) {
        let width = 24_usize.saturating_sub(4 * self.depth);
        self.plain(&format!("{name:<width$} {value:>3}"));
    }

    /// The same for what DRBD gives the same width at every level.
    fn wide(&mut self, name: &str, value: &str) {
        self.plain(&format!("{name:<16} {value}"));
    }

    /// What stands outside of resources.
    ///
    /// With all that is inherited in each resource there is no `common`: a resource whose template
    /// replaces it has lost its `template-file`, and must not inherit from it.
    fn head(&mut self, loaded: &Loaded, merged: bool) {
        if let Some(file) = loaded.sources.files().first() {
            self.comment(&file.path.to_string_lossy());
        }
        if let Some(global) = &loaded.tree.global {
            self.open("global");
            for setting in global.value.get(Section::Global).into_iter().flat_map(|all| &all.0) {
                // Here DRBD has no columns, and a flag that is set is its name alone.
                match (setting.spec.kind, setting.raw.as_str()) {
                    (Kind::Flag, "yes") => self.plain(setting.spec.name),
                    _ => self.plain(&format!("{} {}", setting.spec.name, raw(setting))),
                }
            }
            self.sections(&global.value);
            self.close();
            self.text.push('\n');
        }
        if let Some(common) = loaded.tree.common.as_ref().filter(|_| !merged) {
            self.open("common");
            self.sections(&common.value);
            self.close();
            self.text.push('\n');
        }
    }

    /// A section, unless it is empty.
    fn section(&mut self, section: Section, settings: &Settings) {
        if !settings.0.is_empty() {
            self.open(section.name());
            for setting in &settings.0 {
                self.line(setting.spec.name, &raw(setting));
            }
            self.close();
        }
    }

    fn sections(&mut self, sections: &Sections) {
        for section in ORDER {
            if let Some(settings) = sections.get(section) {
                self.section(section, settings);
            }
        }
    }

    fn resource(&mut self, resource: &ResourceTree) {
        self.open(&format!("resource {}", name(&resource.name)));
        if let Some(template) = &resource.template {
            let path = quoted(&template.value.path.to_string_lossy());
            self.plain(&format!("template-file {path}"));
        }
        self.volumes(&resource.volumes);
        let mut hosts = resource.hosts.iter().peekable();
        while let Some(host) = hosts.next() {
            let mut names = name(&host.name);
            while let Some(shared) = hosts.next_if(|next| next.with_previous) {
                names = format!("{names} {}", name(&shared.name));
            }
            self.host(host, &names);
        }
        if !resource.ignore_on.is_empty() {
            let hosts: Vec<_> = resource.ignore_on.iter().map(|host| name(&host.value)).collect();
            self.plain(&format!("ignore-on {}", hosts.join(" ")));
        }
        for connection in &resource.connections {
            self.connection(connection);
        }
        self.sections(&resource.sections);
        self.close();
    }

    fn host(&mut self, host: &HostTree, names: &str) {
        let at = host.address.as_ref().map(|at| address(at.value)).unwrap_or_default();
        match host.floating {
            true => self.open(&format!("{:<16} {at}", "floating")),
            false => self.open(&format!("on {names}")),
        }
        if let Some(id) = &host.node_id {
            self.plain(&format!("node-id {}", id.value));
        }
        self.section(Section::Options, &host.options);
        self.volumes(&host.volumes);
        if host.address.is_some() && !host.floating {
            self.wide("address", &at);
        }
        self.close();
    }

    fn volumes(&mut self, volumes: &[VolumeTree]) {
        for volume in volumes {
            if volume.implicit {
                self.volume(volume);
            } else {
                self.open(&format!("volume {}", volume.id));
                self.volume(volume);
                self.close();
            }
        }
    }

    fn volume(&mut self, volume: &VolumeTree) {
        self.section(Section::Disk, &volume.options);
        match volume.device.as_ref().map(|at| &at.value) {
            Some(DeviceTree { path: Some(path), minor: Some(minor) }) => {
                self.line("device", &format!("{} minor {minor}", quoted(path)));
            }
            Some(DeviceTree { path: Some(path), minor: None }) => {
                self.line("device", &quoted(path));
            }
            Some(DeviceTree { path: None, minor: Some(minor) }) => {
                self.line("device", &format!("minor {minor}"));
            }
            Some(DeviceTree { path: None, minor: None }) | None => {}
        }
        match volume.disk.as_ref().map(|at| &at.value) {
            Some(DiskTree::Path(path)) => self.line("disk", &quoted(path)),
            Some(DiskTree::None) => self.line("disk", "none"),
            None => {}
        }
        match volume.meta_disk.as_ref().map(|at| &at.value) {
            Some(MetaTree::External(path, index)) => {
                // Brackets at the end of a bare path would be an index.
                let path = if path.ends_with(']') { quote(path) } else { quoted(path) };
                let index = index.map_or_else(String::new, |index| format!(" [{index}]"));
                self.wide("meta-disk", &format!("{path}{index}"));
            }
            Some(MetaTree::Internal) => self.line("meta-disk", "internal"),
            None => {}
        }
    }

    fn connection(&mut self, connection: &ConnectionTree) {
        let keyword = if connection.mesh { "connection-mesh" } else { "connection" };
        match &connection.name {
            Some(called) => self.open(&format!("{keyword} {}", name(called))),
            None => self.open(keyword),
        }
        if connection.in_path {
            self.open("path");
        }
        if connection.mesh {
            let hosts: Vec<_> = connection.hosts.iter().map(|end| name(&end.host)).collect();
            self.plain(&format!("hosts {}", hosts.join(" ")));
        } else {
            for end in &connection.hosts {
                self.end(end);
            }
        }
        if connection.in_path {
            self.close();
        }
        self.section(Section::Net, &connection.net);
        self.section(Section::Disk, &connection.disk);
        for (id, settings) in &connection.volumes {
            self.open(&format!("volume {}", id.value));
            self.section(Section::Disk, settings);
            self.close();
        }
        self.close();
    }

    fn end(&mut self, end: &EndTree) {
        let host = name(&end.host);
        match (end.address, end.port) {
            (Some(at), _) => self.plain(&format!("host {host} address {}", address(at))),
            (None, Some(port)) => self.plain(&format!("host {host} port {port}")),
            (None, None) => self.plain(&format!("host {host}")),
        }
    }
}

fn raw(setting: &Setting) -> String {
    match setting.spec.kind {
        Kind::Hosts => setting.raw.split_whitespace().map(quoted).collect::<Vec<_>>().join(" "),
        _ => quoted(&setting.raw),
    }
}

fn address(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    format!("{family} {address}")
}

/// A name, quoted if it would otherwise be taken for something else.
fn name(text: &str) -> String {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let odd = numeric || grammar::is_reserved(text) || text.contains([':', '[', ']', '%']);
    if odd { quote(text) } else { quoted(text) }
}

/// A value, quoted if it is not one word.
fn quoted(text: &str) -> String {
    // A path called `none` or the like cannot occur: paths begin with `/`.
    let plain = !text.is_empty() && text.len() <= 128 && text.chars().all(is_word_char);
    if plain { text.to_owned() } else { quote(text) }
}
