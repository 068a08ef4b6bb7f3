//! What was in the file, by meaning: legacy spellings are in their place, values are checked,
//! everything knows where it was written. Nothing is inherited yet.
//!
//! `dump` prints this form; `resolve` turns it into the configuration.

use crate::options::{OptionSpec, Section};
use crate::source::Span;
use crate::value::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Something with the place where it was written.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// One option that was set.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) spec: &'static OptionSpec,
    pub(crate) value: Value,
    /// The value as it was typed, for `dump`.
    pub(crate) raw: String,
    pub(crate) span: Span,
}

/// The options of one section in the order in which they were set, each at most once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(pub(crate) Vec<Setting>);

impl Settings {
    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.spec.name == name)
    }
}

/// Option sections by kind: `net`, `disk`, `options`, `startup`, `handlers`, `nbd`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sections(pub(crate) BTreeMap<Section, Settings>);

impl Sections {
    pub(crate) fn get(&self, section: Section) -> Option<&Settings> {
        self.0.get(&section)
    }
}

/// All files together.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub(crate) global: Option<At<Sections>>,
    pub(crate) common: Option<At<Sections>>,
    pub(crate) resources: Vec<ResourceTree>,
}

#[derive(Clone, Debug)]
pub(crate) struct ResourceTree {
    pub(crate) name: String,
    /// The name.
    pub(crate) span: Span,
    /// Replaces `common`.
    pub(crate) template: Option<At<TemplateTree>>,
    /// Hosts that have nothing to do with it.
    pub(crate) ignore_on: Vec<At<String>>,
    pub(crate) sections: Sections,
    pub(crate) volumes: Vec<VolumeTree>,
    pub(crate) hosts: Vec<HostTree>,
    pub(crate) connections: Vec<ConnectionTree>,
    /// Something in it was wrong and has been reported: what follows from that is not.
    pub(crate) broken: bool,
}

impl ResourceTree {
    /// An empty one.
    pub(crate) fn new(name: &str, span: Span) -> Self {
        Self {
            name: name.to_owned(),
            span,
            template: None,
            ignore_on: Vec::new(),
            sections: Sections::default(),
            volumes: Vec::new(),
            hosts: Vec::new(),
            connections: Vec::new(),
            broken: false,
        }
    }
}

/// `template-file FILE;`
#[derive(Clone, Debug)]
pub(crate) struct TemplateTree {
    /// Its real path, by which it is found from anywhere.
    pub(crate) path: PathBuf,
    pub(crate) sections: Sections,
}

/// `on HOST { … }` or `floating ADDRESS { … }`.
#[derive(Clone, Debug)]
pub(crate) struct HostTree {
    /// Of a floating host: its address, as a name.
    pub(crate) name: String,
    /// The name.
    pub(crate) span: Span,
    /// Whether it is known by its address.
    pub(crate) floating: bool,
    /// Whether it shares its section with the host before: `on A B { … }`.
    pub(crate) with_previous: bool,
    pub(crate) options: Settings,
    pub(crate) node_id: Option<At<u32>>,
    pub(crate) address: Option<At<SocketAddr>>,
    pub(crate) volumes: Vec<VolumeTree>,
}

/// A volume, in a host or for both hosts.
#[derive(Clone, Debug)]
pub(crate) struct VolumeTree {
    pub(crate) id: u16,
    pub(crate) span: Span,
    /// Its statements stand in the host or resource itself: volume 0.
    pub(crate) implicit: bool,
    pub(crate) device: Option<At<DeviceTree>>,
    pub(crate) disk: Option<At<DiskTree>>,
    pub(crate) meta_disk: Option<At<MetaTree>>,
    pub(crate) options: Settings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceTree {
    /// None: only a minor number was given.
    pub(crate) path: Option<String>,
    pub(crate) minor: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DiskTree {
    None,
    Path(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetaTree {
    Internal,
    /// With the number of the slot, if one was given.
    External(String, Option<u32>),
}

/// `connection { … }` or `connection-mesh { … }`.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTree {
    pub(crate) span: Span,
    /// It means nothing.
    pub(crate) name: Option<String>,
    pub(crate) mesh: bool,
    pub(crate) in_path: bool,
    pub(crate) hosts: Vec<EndTree>,
    pub(crate) net: Settings,
    pub(crate) disk: Settings,
    pub(crate) volumes: Vec<(At<u16>, Settings)>,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct EndTree {
    pub(crate) host: String,
    pub(crate) span: Span,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) port: Option<u16>,
}
