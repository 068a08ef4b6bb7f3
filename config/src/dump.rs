//! The normalised text of what was in the file, laid out as `drbdadm dump` does.
//!
//! Legacy spellings appear as what they mean; `common` is not merged into the resources; nothing
//! that was not in the file is added, except the minor number that a device's name contains.

use crate::lexer::is_word_char;
use crate::model::same_host;
use crate::options::{Kind, Section};
use crate::source::Sources;
use crate::tree::{
    ConnectionTree, DeviceTree, DiskTree, HostTree, MetaTree, ResourceTree, Sections, Setting,
    Settings, Tree, VolumeTree,
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

/// The whole configuration as `node` sees it: a resource that has no such host is called ignored.
pub fn dump(loaded: &Loaded, node: &str) -> String {
    let mut out = Out::default();
    if let Some(file) = loaded.sources.files().first() {
        out.comment(&file.path.to_string_lossy());
    }
    let tree = &loaded.tree;
    if let Some(global) = &tree.global {
        out.open("global");
        if let Some(settings) = global.value.get(Section::Global) {
            out.settings(settings);
        }
        out.sections(&global.value);
        out.close();
        out.text.push('\n');
    }
    if let Some(common) = &tree.common {
        out.open("common");
        out.sections(&common.value);
        out.close();
        out.text.push('\n');
    }
    dump_resources(&mut out, tree, &loaded.sources, node);
    out.text
}

fn dump_resources(out: &mut Out, tree: &Tree, sources: &Sources, node: &str) {
    if tree.resources.is_empty() {
        out.comment("no resources configured");
    }
    for resource in &tree.resources {
        let mine = resource.hosts.iter().any(|host| same_host(&host.name, node));
        let ignored = if mine { "not ignored" } else { "ignored" };
        out.comment(&format!("resource {} on {node}: {ignored}, not stacked", resource.name));
        out.comment(&format!("defined at {}", sources.file_line(resource.span)));
        out.resource(resource);
        out.text.push('\n');
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

    /// `name value;`, the values of one level under each other.
    fn line(&mut self, name: &str, value: &str) {
        self.indent();
        let width = 24_usize.saturating_sub(4 * self.depth);
        writeln!(self.text, "{name:<width$} {value:>3};")
            .expect("writing to a string does not fail");
    }

    fn settings(&mut self, settings: &Settings) {
        for setting in &settings.0 {
            self.line(setting.spec.name, &raw(setting));
        }
    }

    fn sections(&mut self, sections: &Sections) {
        for section in ORDER {
            if let Some(settings) = sections.get(section) {
                self.open(section.name());
                self.settings(settings);
                self.close();
            }
        }
    }

    fn resource(&mut self, resource: &ResourceTree) {
        self.open(&format!("resource {}", name(&resource.name)));
        self.volumes(&resource.volumes);
        for host in &resource.hosts {
            self.host(host);
        }
        for connection in &resource.connections {
            self.connection(connection);
        }
        self.sections(&resource.sections);
        self.close();
    }

    fn host(&mut self, host: &HostTree) {
        self.open(&format!("on {}", name(&host.name)));
        if let Some(id) = &host.node_id {
            self.line("node-id", &id.value.to_string());
        }
        self.volumes(&host.volumes);
        if let Some(at) = &host.address {
            self.line("address", &address(at.value));
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
        if !volume.options.0.is_empty() {
            self.open("disk");
            self.settings(&volume.options);
            self.close();
        }
        match volume.meta_disk.as_ref().map(|at| &at.value) {
            Some(MetaTree::External(path)) => self.line("meta-disk", &quoted(path)),
            Some(MetaTree::Internal) => self.line("meta-disk", "internal"),
            None => {}
        }
    }

    fn connection(&mut self, connection: &ConnectionTree) {
        self.open(if connection.mesh { "connection-mesh" } else { "connection" });
        if connection.in_path {
            self.open("path");
        }
        if connection.mesh {
            let hosts: Vec<_> = connection.hosts.iter().map(|end| name(&end.host)).collect();
            self.line("hosts", &hosts.join(" "));
        } else {
            for end in &connection.hosts {
                let mut value = name(&end.host);
                if let Some(at) = end.address {
                    value = format!("{value} address {}", address(at));
                } else if let Some(port) = end.port {
                    value = format!("{value} port {port}");
                }
                self.line("host", &value);
            }
        }
        if connection.in_path {
            self.close();
        }
        for (id, settings) in &connection.volumes {
            self.open(&format!("volume {}", id.value));
            self.option_section(Section::Disk, settings);
            self.close();
        }
        self.option_section(Section::Net, &connection.net);
        self.option_section(Section::Disk, &connection.disk);
        self.close();
    }

    fn option_section(&mut self, section: Section, settings: &Settings) {
        if !settings.0.is_empty() {
            self.open(section.name());
            self.settings(settings);
            self.close();
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

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
