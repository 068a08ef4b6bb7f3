//! The same tree as XML, with the elements of `drbdadm dump-xml`.

use super::{ORDER, raw};
use crate::Loaded;
use crate::options::{Kind, Section};
use crate::tree::{
    ConnectionTree, DiskTree, HostTree, MetaTree, ResourceTree, Sections, Settings, VolumeTree,
};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A document under construction.
pub(super) struct Xml {
    text: String,
    depth: usize,
}

impl Xml {
    /// What stands outside of resources; `common` unless it is merged into them.
    pub(super) fn begin(loaded: &Loaded, merged: bool) -> Self {
        let mut xml = Self { text: String::new(), depth: 0 };
        let file = loaded.sources.files().first();
        let file = file.map(|file| file.path.to_string_lossy().into_owned()).unwrap_or_default();
        xml.open(&format!("config file=\"{}\"", escaped(&file)));
        if let Some(global) = &loaded.tree.global {
            xml.open("global");
            if let Some(settings) = global.value.get(Section::Global) {
                xml.settings(settings);
            }
            xml.sections(&global.value);
            xml.close("global");
        }
        if let Some(common) = loaded.tree.common.as_ref().filter(|_| !merged) {
            xml.open("common");
            xml.sections(&common.value);
            xml.close("common");
        }
        xml
    }

    /// One resource.
    pub(super) fn resource(&mut self, loaded: &Loaded, resource: &ResourceTree) {
        let place = loaded.sources.file_line(resource.span);
        let (called, place) = (escaped(&resource.name), escaped(&place));
        self.open(&format!("resource name=\"{called}\" conf-file-line=\"{place}\""));
        if let Some(template) = &resource.template {
            let file = escaped(&template.value.path.to_string_lossy());
            self.line(&format!("<template file=\"{file}\"/>"));
        }
        resource.volumes.iter().for_each(|volume| self.volume(volume));
        resource.hosts.iter().for_each(|host| self.host(host));
        resource.connections.iter().for_each(|connection| self.connection(connection));
        self.sections(&resource.sections);
        self.close("resource");
    }

    /// The whole document.
    pub(super) fn end(mut self) -> String {
        self.close("config");
        self.text
    }

    fn line(&mut self, text: &str) {
        let indent = 4 * self.depth;
        writeln!(self.text, "{:indent$}{text}", "").expect("a string takes everything");
    }

    fn open(&mut self, tag: &str) {
        self.line(&format!("<{tag}>"));
        self.depth += 1;
    }

    fn close(&mut self, tag: &str) {
        self.depth -= 1;
        self.line(&format!("</{tag}>"));
    }

    fn settings(&mut self, settings: &Settings) {
        for setting in &settings.0 {
            let value = match setting.spec.kind {
                Kind::Hosts => raw(setting),
                _ => setting.raw.clone(),
            };
            let option = format!(
                "<option name=\"{}\" value=\"{}\"/>",
                escaped(setting.spec.name),
                escaped(&value)
            );
            self.line(&option);
        }
    }

    fn section(&mut self, section: Section, settings: &Settings) {
        if !settings.0.is_empty() {
            self.open(&format!("section name=\"{}\"", section.name()));
            self.settings(settings);
            self.close("section");
        }
    }

    fn sections(&mut self, sections: &Sections) {
        for section in ORDER {
            if let Some(settings) = sections.get(section) {
                self.section(section, settings);
            }
        }
    }

    fn host(&mut self, host: &HostTree) {
        match host.floating {
            true => self.open("host floating=\"1\""),
            false => self.open(&format!("host name=\"{}\"", escaped(&host.name))),
        }
        self.section(Section::Options, &host.options);
        host.volumes.iter().for_each(|volume| self.volume(volume));
        if let Some(at) = &host.address {
            let address = address(at.value);
            self.line(&address);
        }
        self.close("host");
    }

    fn volume(&mut self, volume: &VolumeTree) {
        self.open(&format!("volume vnr=\"{}\"", volume.id));
        self.section(Section::Disk, &volume.options);
        if let Some(device) = volume.device.as_ref().map(|at| &at.value) {
            let minor = device.minor.map(|minor| format!(" minor=\"{minor}\"")).unwrap_or_default();
            let path = escaped(device.path.as_deref().unwrap_or_default());
            self.line(&format!("<device{minor}>{path}</device>"));
        }
        match volume.disk.as_ref().map(|at| &at.value) {
            Some(DiskTree::Path(path)) => self.line(&format!("<disk>{}</disk>", escaped(path))),
            Some(DiskTree::None) => self.line("<disk>none</disk>"),
            None => {}
        }
        match volume.meta_disk.as_ref().map(|at| &at.value) {
            Some(MetaTree::External(path, index)) => {
                let index = index.map(|index| format!(" index=\"{index}\"")).unwrap_or_default();
                self.line(&format!("<meta-disk{index}>{}</meta-disk>", escaped(path)));
            }
            Some(MetaTree::Internal) => self.line("<meta-disk>internal</meta-disk>"),
            None => {}
        }
        self.close("volume");
    }

    fn connection(&mut self, connection: &ConnectionTree) {
        match &connection.name {
            Some(called) => self.open(&format!("connection name=\"{}\"", escaped(called))),
            None => self.open("connection"),
        }
        if connection.in_path {
            self.open("path");
        }
        for end in &connection.hosts {
            let at = match (end.address, end.port) {
                (Some(at), _) => address(at),
                (None, Some(port)) => format!("<address port=\"{port}\"></address>"),
                (None, None) => String::new(),
            };
            self.line(&format!("<host name=\"{}\">{at}</host>", escaped(&end.host)));
        }
        if connection.in_path {
            self.close("path");
        }
        self.section(Section::Net, &connection.net);
        self.section(Section::Disk, &connection.disk);
        for (id, settings) in &connection.volumes {
            self.open(&format!("volume vnr=\"{}\"", id.value));
            self.section(Section::Disk, settings);
            self.close("volume");
        }
        self.close("connection");
    }
}

fn address(at: SocketAddr) -> String {
    let family = if at.is_ipv4() { "ipv4" } else { "ipv6" };
    format!("<address family=\"{family}\" port=\"{}\">{}</address>", at.port(), at.ip())
}

/// Text of an element or an attribute. What XML cannot hold at all is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}
