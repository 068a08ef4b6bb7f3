//! Hosts and volumes: `on`, `volume`, `device`, `disk`, `meta-disk`, `address`.

use super::Lower;
use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::options::{Scale, Section};
use crate::source::Span;
use crate::syntax::{Block, Statement, Word};
use crate::tree::{
    At, DeviceTree, DiskTree, HostTree, MetaTree, ResourceTree, Settings, VolumeTree,
};
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

impl HostTree {
    fn new(name: String, span: Span) -> Self {
        Self {
            name,
            span,
            floating: false,
            with_previous: false,
            options: Settings::default(),
            node_id: None,
            address: None,
            volumes: Vec::new(),
        }
    }
}

impl Lower<'_> {
    /// `on HOST { … }`, or `on HOST HOST { … }` for hosts with the same data.
    pub(super) fn on(&mut self, statement: &Statement, block: &Block) -> Vec<HostTree> {
        for name in &statement.arguments {
            self.check_name("host", name);
            if name.text.parse::<SocketAddr>().is_ok() {
                let wrong = Diagnostic::error(name.span, "an address in the place of a name");
                self.report(wrong.help(format!("write `floating {} {{ … }}`", name.text)));
            }
        }
        let names = statement.arguments.iter().map(|name| (name.text.clone(), name.span));
        let mut hosts: Vec<_> = names.map(|(name, span)| HostTree::new(name, span)).collect();
        if let Some((first, rest)) = hosts.split_first_mut() {
            self.host(Section::On, first, &block.statements);
            for host in rest {
                let (name, span) = (std::mem::take(&mut host.name), host.span);
                *host = HostTree { name, span, with_previous: true, ..first.clone() };
            }
        }
        hosts
    }

    /// `floating [FAMILY] ADDRESS:PORT { … }`: the host that has this address, whatever its name.
    pub(super) fn floating(
        &mut self,
        statement: &Statement,
        block: Option<&Block>,
    ) -> Option<HostTree> {
        let value = self.address(statement)?;
        let span = statement.arguments_span();
        let mut host = HostTree::new(value.to_string(), span);
        host.floating = true;
        host.address = Some(At { value, span });
        if let Some(block) = block {
            self.host(Section::Floating, &mut host, &block.statements);
        }
        Some(host)
    }

    /// The inside of a host's section.
    fn host(&mut self, section: Section, host: &mut HostTree, statements: &[Statement]) {
        let mut implicit = VolumeTree::implicit(host.span);
        let mut options: Option<Span> = None;
        for statement in statements {
            let Some(row) = self.keyword(section, statement) else { continue };
            match (row.name, &statement.block) {
                ("options", Some(block)) => {
                    if let Some(first) = options.replace(statement.keyword.span) {
                        self.report(super::twice("options", statement.keyword.span, first));
                    }
                    for statement in &block.statements {
                        self.own_setting(Section::Options, statement, &mut host.options);
                    }
                }
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
        match volumes.first() {
            Some(explicit) => self.mixed(&implicit, explicit),
            None => volumes.push(implicit),
        }
    }

    /// Checks that volumes are numbered in the hosts if they are in the resource, and the other way
    /// round.
    pub(super) fn check_numbering(&mut self, resource: &ResourceTree) {
        let all =
            || resource.volumes.iter().chain(resource.hosts.iter().flat_map(|host| &host.volumes));
        let implicit = all().find(|volume| volume.implicit);
        if let (Some(implicit), Some(explicit)) = (implicit, all().find(|volume| !volume.implicit))
        {
            self.mixed(implicit, explicit);
        }
    }

    fn mixed(&mut self, implicit: &VolumeTree, explicit: &VolumeTree) {
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
    pub(super) fn set<T>(
        &mut self,
        slot: &mut Option<At<T>>,
        statement: &Statement,
        value: Option<T>,
    ) {
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
                _ if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    self.report(
                        Diagnostic::error(name.span, "the minor number of the device is too large")
                            .note(format!("a minor number is 0 to {MAX_MINOR}"))
                            .help(format!("write `{path} minor N`, with a smaller number for N")),
                    );
                    return None;
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
        // The bracket needs no space before it.
        let glued = word.text.strip_suffix(']').and_then(|text| text.split_once('['));
        let (path, index) = match (words.get(1), glued) {
            (Some(index), _) => (word.text.as_str(), Some((index.text.as_str(), index))),
            (None, Some((path, index))) if !word.quoted => (path, Some((index, word))),
            (None, _) => (word.text.as_str(), None),
        };
        if path == "internal" {
            let Some((_, word)) = index else { return Some(MetaTree::Internal) };
            let wrong = Diagnostic::error(word.span, "internal metadata at an index");
            self.report(wrong.help("write `meta-disk internal;`"));
            return None;
        }
        let number = match index {
            None => None,
            Some((text, word)) => Some(self.slot(text, word)?),
        };
        let path = self.path(&Word { text: path.to_owned(), ..word.clone() }, "meta-disk")?;
        Some(MetaTree::External(path, number))
    }

    /// `[N]` after the device of the metadata: whole, or what was between the brackets.
    fn slot(&mut self, text: &str, word: &Word) -> Option<u32> {
        let text = text.strip_prefix('[').unwrap_or(text);
        let number = text.strip_suffix(']').unwrap_or(text);
        let Some(number) = number.parse().ok().filter(|_| word.text.ends_with(']')) else {
            self.report(
                Diagnostic::error(word.span, "bad index of `meta-disk`")
                    .note("an index is a number in brackets, as `meta-disk /dev/sdc1 [0];`")
                    .help("leave it out: a device holds the metadata of one volume"),
            );
            return None;
        };
        let text = format!(
            "`[{number}]` has no effect: the metadata of this volume has the whole device to itself"
        );
        self.report(Diagnostic::warning(word.span, text));
        Some(number)
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
            let wrong = Diagnostic::error(family.span, format!("bad family `{}`", family.text));
            self.report(if known {
                wrong
                    .label("a socket of InfiniBand or of Dolphin")
                    .note("the nodes talk over TCP; another way than the one you name is not taken")
                    .help("write `ipv4` if the address is to be reached over TCP")
            } else {
                wrong
                    .label("not a family of addresses")
                    .note("valid are `ipv4` and `ipv6`, which may be left out")
                    .help_maybe(
                        nearest(&family.text, ["ipv4", "ipv6"])
                            .map(|word| format!("did you mean `{word}`?")),
                    )
            });
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
