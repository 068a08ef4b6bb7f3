//! Hosts and volumes: `on`, `volume`, `device`, `disk`, `meta-disk`, `address`.

use super::Lower;
use crate::diagnostic::Diagnostic;
use crate::options::{Scale, Section};
use crate::source::Span;
use crate::syntax::{Block, Statement, Word};
use crate::tree::{At, DeviceTree, DiskTree, HostTree, MetaTree, Settings, VolumeTree};
use crate::value;
use std::net::SocketAddr;

/// The largest volume number, as in DRBD.
const MAX_VOLUME: u64 = 65534;
/// The largest minor number of a device of Linux.
const MAX_MINOR: u64 = (1 << 20) - 1;
/// The largest node id of DRBD 9.
const MAX_NODE_ID: u64 = 31;

impl VolumeTree {
    pub(super) fn new(id: u16, span: Span, implicit: bool) -> Self {
        let options = Settings::default();
        Self { id, span, implicit, device: None, disk: None, meta_disk: None, options }
    }

    pub(super) fn implicit(span: Span) -> Self {
        Self::new(0, span, true)
    }

    fn is_empty(&self) -> bool {
        self.device.is_none() && self.disk.is_none() && self.meta_disk.is_none()
    }
}

impl Lower<'_> {
    /// `on HOST { … }`.
    pub(super) fn host(&mut self, statement: &Statement, block: &Block) -> Option<HostTree> {
        let name = &statement.arguments[0];
        self.check_name("host", name);
        if let Some(second) = statement.arguments.get(1) {
            self.report(
                Diagnostic::error(second.span, "a second name after `on`")
                    .note("not yet: several hosts with the same data")
                    .help("write one `on` section for each host"),
            );
            return None;
        }
        let mut host = HostTree {
            name: name.text.clone(),
            span: name.span,
            node_id: None,
            address: None,
            volumes: Vec::new(),
        };
        let mut implicit = VolumeTree::implicit(name.span);
        for statement in &block.statements {
            let Some(row) = self.keyword(Section::On, statement) else { continue };
            match (row.name, &statement.block) {
                ("volume", Some(block)) => {
                    if let Some(volume) = self.volume(statement, block) {
                        self.add_volume(&mut host.volumes, volume);
                    }
                }
                ("address", _) => {
                    let address = self.address(statement);
                    self.set(&mut host.address, statement, address);
                }
                ("node-id", _) => {
                    let id = self.integer(&statement.arguments[0], "node-id", MAX_NODE_ID);
                    self.set(&mut host.node_id, statement, id.map(|id| id as u32));
                }
                _ => self.volume_line(statement, &mut implicit),
            }
        }
        self.add_implicit(&mut host.volumes, implicit);
        Some(host)
    }

    /// `volume N { … }` of a resource or a host.
    pub(super) fn volume(&mut self, statement: &Statement, block: &Block) -> Option<VolumeTree> {
        let id = self.volume_number(statement)?;
        let mut volume = VolumeTree::new(id, statement.span(), false);
        let mut options: Option<Span> = None;
        for statement in &block.statements {
            let Some(row) = self.keyword(Section::Volume, statement) else { continue };
            if let ("disk", Some(block)) = (row.name, &statement.block) {
                if let Some(first) = options {
                    self.report(super::twice("disk", statement.keyword.span, first));
                }
                options = Some(statement.keyword.span);
                for statement in &block.statements {
                    self.own_setting(Section::Disk, statement, &mut volume.options);
                }
            } else {
                self.volume_line(statement, &mut volume);
            }
        }
        Some(volume)
    }

    /// The number after `volume`.
    pub(super) fn volume_number(&mut self, statement: &Statement) -> Option<u16> {
        let number = self.integer(&statement.arguments[0], "volume", MAX_VOLUME)?;
        u16::try_from(number).ok()
    }

    pub(super) fn add_volume(&mut self, volumes: &mut Vec<VolumeTree>, volume: VolumeTree) {
        if let Some(first) = volumes.iter().find(|one| one.id == volume.id) {
            let wrong = super::twice(&format!("volume {}", volume.id), volume.span, first.span);
            self.report(wrong);
        } else {
            volumes.push(volume);
        }
    }

    /// Adds volume 0 if `device`, `disk` or `meta-disk` stood without `volume`.
    pub(super) fn add_implicit(&mut self, volumes: &mut Vec<VolumeTree>, implicit: VolumeTree) {
        if implicit.is_empty() {
            return;
        }
        if let Some(explicit) = volumes.first() {
            let spans = [
                implicit.device.as_ref().map(|at| at.span),
                implicit.disk.as_ref().map(|at| at.span),
                implicit.meta_disk.as_ref().map(|at| at.span),
            ];
            let span = spans.into_iter().flatten().next().unwrap_or(implicit.span);
            self.report(
                Diagnostic::error(span, "volume with and without a number")
                    .label("belongs to the volume 0 that is not written")
                    .related(explicit.span, "here volumes are numbered")
                    .help("write `volume 0 { … }` around it"),
            );
        } else {
            volumes.push(implicit);
        }
    }

    /// `device`, `disk` or `meta-disk`.
    pub(super) fn volume_line(&mut self, statement: &Statement, volume: &mut VolumeTree) {
        match statement.keyword.text.as_str() {
            "device" => {
                let device = self.device(&statement.arguments);
                self.set(&mut volume.device, statement, device);
            }
            "disk" => {
                let disk = self.disk(&statement.arguments[0]);
                self.set(&mut volume.disk, statement, disk);
            }
            "meta-disk" | "flexible-meta-disk" => {
                let meta_disk = self.meta_disk(&statement.arguments);
                self.set(&mut volume.meta_disk, statement, meta_disk);
            }
            _ => {}
        }
    }

    /// Fills a slot that takes one value; without a value the error has been reported.
    fn set<T>(&mut self, slot: &mut Option<At<T>>, statement: &Statement, value: Option<T>) {
        if let Some(first) = slot {
            let wrong = Diagnostic::error(
                statement.keyword.span,
                format!("`{}` twice", statement.keyword.text),
            );
            let wrong = wrong.label("again here").related(first.span, "first here");
            self.report(wrong.help("remove one of them"));
        } else if let Some(value) = value {
            *slot = Some(At { value, span: statement.arguments_span() });
        }
    }

    fn integer(&mut self, word: &Word, what: &str, max: u64) -> Option<u64> {
        let digits = word.text.bytes().all(|byte| byte.is_ascii_digit());
        match value::number(&word.text, Scale::One) {
            Ok(number) if digits && number <= max => Some(number),
            _ => {
                self.report(
                    Diagnostic::error(word.span, format!("bad number of `{what}`"))
                        .label(if digits { "out of range" } else { "not a number" })
                        .note(format!("`{what}` takes 0 to {max}")),
                );
                None
            }
        }
    }

    /// `/dev/drbdN`, `/dev/NAME minor M`, or `minor M`.
    fn device(&mut self, words: &[Word]) -> Option<DeviceTree> {
        let is_minor = |word: &Word| word.text == "minor" && !word.quoted;
        let (name, minor) = match words {
            [minor, number] if is_minor(minor) => (None, Some(number)),
            [name] if !is_minor(name) => (Some(name), None),
            [name, minor, number] if is_minor(minor) => (Some(name), Some(number)),
            [first, ..] => {
                let last = &words[words.len() - 1];
                self.report(
                    Diagnostic::error(first.span.to(last.span), "bad device")
                        .help("write `/dev/drbdN`, `/dev/NAME minor N` or `minor N`"),
                );
                return None;
            }
            [] => return None,
        };
        let given = match minor {
            Some(word) => Some(self.integer(word, "minor", MAX_MINOR)? as u32),
            None => None,
        };
        let Some(name) = name else { return Some(DeviceTree { path: None, minor: given }) };
        let path = match name.text.strip_prefix("/dev/") {
            Some(_) => name.text.clone(),
            None => format!("/dev/{}", name.text),
        };
        let base = path.trim_start_matches("/dev/");
        if name.text.starts_with('/') && !name.text.starts_with("/dev/")
            || !name.text.starts_with('/') && !base.starts_with("drbd")
            || base.is_empty()
            || path.split('/').any(|part| part == "..")
        {
            let wrong = Diagnostic::error(name.span, "bad name of a device")
                .label("not below /dev")
                .help("write `/dev/drbdN`, with a number for N");
            self.report(wrong);
            return None;
        }
        let digits = base.strip_prefix("drbd").map(|rest| rest.trim_start_matches('_'));
        let minor = match digits {
            _ if given.is_some() => given,
            // A name of the operator's own choice needs no minor number.
            None => None,
            Some(digits) => match digits.parse::<u32>() {
                Ok(minor) if u64::from(minor) <= MAX_MINOR && !digits.starts_with('+') => {
                    Some(minor)
                }
                _ => {
                    self.report(
                        Diagnostic::error(name.span, "no minor number in the name of the device")
                            .note("the minor number is taken from the digits after `drbd`")
                            .help(format!("write `/dev/drbdN`, or `{path} minor N`")),
                    );
                    return None;
                }
            },
        };
        Some(DeviceTree { path: Some(path), minor })
    }

    fn disk(&mut self, word: &Word) -> Option<DiskTree> {
        if word.text == "none" && !word.quoted {
            return Some(DiskTree::None);
        }
        self.path(word, "disk").map(DiskTree::Path)
    }

    fn meta_disk(&mut self, words: &[Word]) -> Option<MetaTree> {
        let word = &words[0];
        let glued = word.text.ends_with(']').then_some(word);
        if let Some(index) = words.get(1).or(glued) {
            self.report(
                Diagnostic::error(index.span, "metadata at an index is refused")
                    .note("not yet: several volumes with metadata on one device")
                    .help("write `internal`, or a device or file for this volume alone"),
            );
            return None;
        }
        if word.text == "internal" {
            return Some(MetaTree::Internal);
        }
        self.path(word, "meta-disk").map(MetaTree::External)
    }

    fn path(&mut self, word: &Word, what: &str) -> Option<String> {
        match value::absolute_path(&word.text) {
            Ok(path) => Some(path.to_owned()),
            Err(bad) => {
                let wrong = Diagnostic::error(word.span, format!("bad path of `{what}`"));
                self.report(wrong.label(bad.problem).note(bad.rule).help_maybe(bad.help));
                None
            }
        }
    }

    /// `address [FAMILY] ADDRESS:PORT`.
    fn address(&mut self, statement: &Statement) -> Option<SocketAddr> {
        match statement.arguments.as_slice() {
            [address] => self.family_address(None, address),
            [family, address] => self.family_address(Some(family), address),
            _ => None,
        }
    }

    /// An address of that family.
    pub(super) fn family_address(
        &mut self,
        family: Option<&Word>,
        word: &Word,
    ) -> Option<SocketAddr> {
        if let Some(family) = family
            && !["ipv4", "ipv6"].contains(&family.text.as_str())
        {
            let known = ["sdp", "ssocks", "sci"].contains(&family.text.as_str());
            let wrong = Diagnostic::error(family.span, format!("bad family `{}`", family.text))
                .label(if known { "not yet" } else { "not a family of addresses" })
                .note("the peers talk over TCP: `ipv4` or `ipv6`, which may be left out");
            self.report(wrong);
            return None;
        }
        let address = match value::address(&word.text) {
            Ok(address) => address,
            Err(bad) => {
                let wrong = Diagnostic::error(word.span, format!("bad address `{}`", word.text));
                self.report(wrong.label(bad.problem).note(bad.rule).help_maybe(bad.help));
                return None;
            }
        };
        let problem = match family.map(|family| family.text.as_str()) {
            Some("ipv4") if address.is_ipv6() => "an IPv6 address, after `ipv4`",
            Some("ipv6") if address.is_ipv4() => "an IPv4 address, after `ipv6`",
            _ if address.ip().is_unspecified() => "stands for every address of a host",
            _ if address.ip().is_multicast() => "a multicast address",
            _ => return Some(address),
        };
        let wrong = Diagnostic::error(word.span, format!("bad address `{}`", word.text));
        self.report(
            wrong.label(problem).help("write the one address under which the peer finds it"),
        );
        None
    }
}
