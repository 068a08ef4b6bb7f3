//! The two hosts of a resource: addresses, node ids, volumes.

use super::claims::normal;
use super::options::{self, Chain};
use super::resync_after::After;
use super::{Resolver, of};
use crate::diagnostic::Diagnostic;
use crate::model::{Host, MetaDisk, Volume, same_host};
use crate::options::Section;
use crate::source::Span;
use crate::tree::{
    At, ConnectionTree, DeviceTree, DiskTree, HostTree, MetaTree, ResourceTree, Setting, VolumeTree,
};
use crate::value::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use types::{NodeId, VolumeId};

type Connection<'t> = Option<&'t ConnectionTree>;

/// What the volume takes for itself on its host, and where that is written.
fn claims(
    device: &At<DeviceTree>,
    disk: &At<DiskTree>,
    meta_disk: Option<&At<MetaTree>>,
) -> Vec<(String, Span)> {
    let minor = device.value.minor.map(|minor| (format!("minor {minor}"), device.span));
    let path = device.value.path.as_deref();
    let path = path.map(|path| (format!("device {}", normal(path)), device.span));
    let disk = match &disk.value {
        DiskTree::Path(path) => Some((format!("disk {}", normal(path)), disk.span)),
        DiskTree::None => None,
    };
    let meta_disk = meta_disk.and_then(|at| match &at.value {
        MetaTree::External(path, _) => Some((format!("disk {}", normal(path)), at.span)),
        MetaTree::Internal => None,
    });
    [minor, path, disk, meta_disk].into_iter().flatten().collect()
}

/// The node ids of two hosts of which the file gives none: the smaller (address, port) is node 0.
///
/// Both nodes read the same two addresses, so they compute the same without asking each other.
pub fn node_ids(first: SocketAddr, second: SocketAddr) -> [NodeId; 2] {
    let key = |address: SocketAddr| (address.ip(), address.port());
    if key(first) <= key(second) { [NodeId(0), NodeId(1)] } else { [NodeId(1), NodeId(0)] }
}

impl Resolver<'_> {
    pub(super) fn hosts(
        &mut self,
        tree: &ResourceTree,
        pair: [&HostTree; 2],
        connection: Connection<'_>,
    ) -> Option<[Host; 2]> {
        let addresses = pair.map(|host| self.address(tree, host, connection));
        let ids = self.volume_ids(tree, pair);
        self.check_connection_volumes(ids.as_ref(), connection);
        let volumes = pair.map(|host| self.volumes(tree, host, ids.as_ref()?, connection));
        let [Some(first), Some(second)] = addresses else { return None };
        self.check_addresses(pair, &first, &second);
        let node_ids = self.node_ids(pair, &first, &second)?;
        let [Some(volumes0), Some(volumes1)] = volumes else { return None };
        self.check_copies(pair, &volumes0, &volumes1);
        // What is set for both hosts is said once.
        if self.check_one_policy(tree, pair[0], &volumes0) {
            self.check_one_policy(tree, pair[1], &volumes1);
        }
        let host = |index: usize, address: SocketAddr, volumes| Host {
            name: pair[index].name.clone(),
            node_id: node_ids[index],
            address,
            volumes,
        };
        Some([host(0, first.value, volumes0), host(1, second.value, volumes1)])
    }

    /// The address of a host: the connection's, else its own.
    fn address(
        &mut self,
        tree: &ResourceTree,
        host: &HostTree,
        connection: Connection<'_>,
    ) -> Option<At<SocketAddr>> {
        let mut ends = connection.into_iter().flat_map(|connection| &connection.hosts);
        let end = ends.find(|end| same_host(&end.host, &host.name));
        let mut address = host.address.clone();
        if let Some(end) = end {
            if let Some(value) = end.address {
                address = Some(At { value, span: end.span });
            }
            if let (Some(port), Some(address)) = (end.port, &mut address) {
                address.value.set_port(port);
            }
        }
        let Some(address) = address else {
            self.missing(tree, host, "address", "address ADDRESS:PORT;");
            return None;
        };
        let text = format!("address {}", address.value);
        let clash = self.claims.claim(text, &machine(host), &tree.name, address.span);
        if let Some(clash) = clash {
            self.report(clash);
        }
        Some(address)
    }

    fn missing(&mut self, tree: &ResourceTree, host: &HostTree, what: &str, usage: &str) {
        let text = format!("`{what}` is missing on `{}` in resource `{}`", host.name, tree.name);
        let wrong = Diagnostic::error(host.span, text).label(format!("has no `{what}`"));
        self.report(wrong.help(format!("add `{usage}`")));
    }

    fn check_addresses(
        &mut self,
        pair: [&HostTree; 2],
        first: &At<SocketAddr>,
        second: &At<SocketAddr>,
    ) {
        if first.value == second.value && first.span == second.span {
            let text = format!("`{}` and `{}` have one address", pair[0].name, pair[1].name);
            self.report(Diagnostic::error(first.span, text).label("said for both").help(
                "leave it out here, and write `connection { host A address …; \
                           host B address …; }`, or give each host a section of its own",
            ));
        } else if first.value == second.value {
            self.report(
                Diagnostic::error(second.span, "both hosts have the same address")
                    .related(first.span, "the other one")
                    .help("on one machine, for a test, give them different ports"),
            );
        }
        let family = |address: SocketAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let families = [family(first.value), family(second.value)];
        if families[0] != families[1] {
            let text = format!(
                "`{}` has an {} address and `{}` an {} address",
                pair[0].name, families[0], pair[1].name, families[1]
            );
            self.report(
                Diagnostic::error(second.span, text)
                    .related(first.span, "the other one")
                    .help("give both an address of the same family"),
            );
        }
    }

    /// The order of the `node-id`s, or of the addresses if there are none.
    fn node_ids(
        &mut self,
        pair: [&HostTree; 2],
        first: &At<SocketAddr>,
        second: &At<SocketAddr>,
    ) -> Option<[NodeId; 2]> {
        match pair.map(|host| host.node_id.as_ref()) {
            [None, None] => Some(node_ids(first.value, second.value)),
            [Some(a), Some(b)] if a.value == b.value => {
                self.report(
                    Diagnostic::error(b.span, "both hosts have the same `node-id`")
                        .related(a.span, "the other one")
                        .help("give them 0 and 1, or leave both out"),
                );
                None
            }
            [Some(a), Some(b)] => {
                if a.value.max(b.value) > 1 {
                    let text = "a `node-id` above 1 counts by its order only: the smaller one is \
                                node 0, the other one node 1";
                    self.report(Diagnostic::warning(b.span, text));
                }
                let smaller_first = a.value < b.value;
                Some(if smaller_first { [NodeId(0), NodeId(1)] } else { [NodeId(1), NodeId(0)] })
            }
            [Some(given), None] | [None, Some(given)] => {
                self.report(
                    Diagnostic::error(given.span, "`node-id` for one host only")
                        .help("give both hosts one, or none"),
                );
                None
            }
        }
    }

    /// The numbers of the volumes, the same on both hosts.
    fn volume_ids(&mut self, tree: &ResourceTree, pair: [&HostTree; 2]) -> Option<BTreeSet<u16>> {
        let shared = tree.volumes.iter().map(|volume| volume.id);
        let of_host = |host: &HostTree| -> BTreeSet<u16> {
            host.volumes.iter().map(|volume| volume.id).chain(shared.clone()).collect()
        };
        let [first, second] = pair.map(of_host);
        if let Some(id) = first.symmetric_difference(&second).next() {
            let (has, lacks) = if first.contains(id) { (0, 1) } else { (1, 0) };
            if first.is_empty() || second.is_empty() {
                self.missing(tree, pair[lacks], "device", "device /dev/drbdN;");
                return None;
            }
            let text = format!("volume {id} is missing on `{}`", pair[lacks].name);
            self.report(
                Diagnostic::error(pair[lacks].span, text)
                    .related(pair[has].span, format!("has volume {id}"))
                    .note(
                        "both hosts have the same volumes; a host without a copy says `disk none;`",
                    ),
            );
            return None;
        }
        if first.is_empty() {
            let text = format!("resource `{}` has no volume", tree.name);
            let help = "add `device /dev/drbdN;` and `disk PATH;` to both hosts";
            self.report(Diagnostic::error(tree.span, text).help(help));
            return None;
        }
        Some(first)
    }

    fn check_connection_volumes(
        &mut self,
        ids: Option<&BTreeSet<u16>>,
        connection: Connection<'_>,
    ) {
        let (Some(ids), Some(connection)) = (ids, connection) else { return };
        for (id, _) in connection.volumes.iter().filter(|(id, _)| !ids.contains(&id.value)) {
            let text = format!("the hosts have no volume {}", id.value);
            let all: Vec<_> = ids.iter().map(|id| format!("{id}")).collect();
            let help = format!("they have {}", all.join(", "));
            self.report(Diagnostic::error(id.span, text).help(help));
        }
    }

    fn volumes(
        &mut self,
        tree: &ResourceTree,
        host: &HostTree,
        ids: &BTreeSet<u16>,
        connection: Connection<'_>,
    ) -> Option<Vec<Volume>> {
        let volumes: Vec<_> =
            ids.iter().map(|&id| self.volume(tree, host, id, connection)).collect();
        volumes.into_iter().collect()
    }

    fn volume(
        &mut self,
        tree: &ResourceTree,
        host: &HostTree,
        id: u16,
        connection: Connection<'_>,
    ) -> Option<Volume> {
        let own = host.volumes.iter().find(|volume| volume.id == id);
        let shared = tree.volumes.iter().find(|volume| volume.id == id);
        let device = self.either("device", own, shared, |volume| volume.device.as_ref());
        let disk = self.either("disk", own, shared, |volume| volume.disk.as_ref());
        let meta_disk = self.either("meta-disk", own, shared, |volume| volume.meta_disk.as_ref());
        if device.is_none() {
            self.missing(tree, host, "device", "device /dev/drbdN;");
        }
        if disk.is_none() {
            self.missing(tree, host, "disk", "disk PATH;");
        }
        let disk_options = self.disk_options(tree, &host.name, id, own, shared, connection);
        let (device, disk) = (device?, disk?);
        let claims = claims(&device, &disk, meta_disk.as_ref());
        let meta = meta_disk.as_ref().map(|at| at.span);
        for (text, span) in claims {
            let clash = self.claims.claim(text, &machine(host), &tree.name, span);
            if let Some(clash) = clash {
                self.report(match meta == Some(span) {
                    true => clash
                        .note("the metadata of each volume has a device or file to itself")
                        .help("cut the device up with partitions or logical volumes"),
                    false => clash,
                });
            }
        }
        let path = match &disk.value {
            DiskTree::Path(path) => Some(PathBuf::from(path)),
            DiskTree::None => {
                if let Some(meta_disk) = &meta_disk {
                    let text = "`meta-disk` has no effect: this host has no copy (`disk none`)";
                    self.report(Diagnostic::warning(meta_disk.span, text));
                }
                None
            }
        };
        let minor = device.value.minor;
        Some(Volume {
            id: VolumeId(id),
            device: device.value.path.or_else(|| minor.map(|minor| format!("/dev/drbd{minor}"))),
            minor,
            disk: path,
            meta_disk: match meta_disk.map(|at| at.value) {
                Some(MetaTree::External(path, _)) => MetaDisk::External(path.into()),
                Some(MetaTree::Internal) | None => MetaDisk::Internal,
            },
            disk_options,
        })
    }

    /// What the host says of its volume, else what the resource says for both hosts.
    fn either<T: Clone + PartialEq>(
        &mut self,
        what: &str,
        own: Option<&VolumeTree>,
        shared: Option<&VolumeTree>,
        of: impl Fn(&VolumeTree) -> Option<&At<T>>,
    ) -> Option<At<T>> {
        let (own, shared) = (own.and_then(&of), shared.and_then(&of));
        if let (Some(own), Some(shared)) = (own, shared)
            && own.value != shared.value
        {
            self.report(ambiguous(what, own.span, shared.span));
        }
        own.or(shared).cloned()
    }

    fn disk_options(
        &mut self,
        tree: &ResourceTree,
        host: &str,
        id: u16,
        own: Option<&VolumeTree>,
        shared: Option<&VolumeTree>,
        connection: Connection<'_>,
    ) -> crate::model::DiskOptions {
        let per_volume = connection.into_iter().flat_map(|connection| &connection.volumes);
        let mut per_volume = per_volume.filter(|(at, _)| at.value == id);
        // These four are of one rank: what they say must not differ.
        let peers = [
            own.map(|volume| &volume.options),
            shared.map(|volume| &volume.options),
            per_volume.next().map(|(_, settings)| settings),
            connection.map(|connection| &connection.disk),
        ];
        for spec in crate::options::of_section(Section::Disk) {
            let mut found = peers.iter().filter_map(|settings| of(*settings, spec.name));
            let Some(first) = found.next() else { continue };
            let differs = |other: &&Setting| other.value != first.value;
            if let Some(other) = found.find(differs) {
                self.report(ambiguous(spec.name, first.span, other.span));
            }
        }
        let outer = [tree.sections.get(Section::Disk), self.common(tree).get(Section::Disk)];
        let chain = Chain::new(peers.into_iter().chain(outer));
        if let Some(setting) = chain.setting("resync-after")
            && let Value::Text(text) = &setting.value
            && text != "-1"
        {
            let (text, span) = (text.clone(), setting.span);
            let (resource, volume) = (tree.name.clone(), VolumeId(id));
            let host = host.to_owned();
            self.afters.push(After { resource, host, volume, text, span });
        }
        options::disk(&chain)
    }

    /// What holds for a resource as a whole is not set otherwise for one of its volumes.
    fn check_one_policy(
        &mut self,
        tree: &ResourceTree,
        host: &HostTree,
        volumes: &[Volume],
    ) -> bool {
        let mut one_policy = true;
        let policies = |volume: &Volume| {
            let options = &volume.disk_options;
            [("on-io-error", options.on_io_error.to_string()), {
                ("al-updates", if options.al_updates { "yes" } else { "no" }.to_owned())
            }]
        };
        let Some((first, rest)) = volumes.split_first() else { return true };
        for volume in rest {
            for ((name, one), (_, other)) in policies(first).into_iter().zip(policies(volume)) {
                if one == other {
                    continue;
                }
                let text = format!(
                    "`{name}` is `{one}` for volume {} of `{}` and `{other}` for volume {}",
                    first.id, host.name, volume.id
                );
                // It was set for one of the two, and differs from what holds for the other.
                let here = |id| {
                    let all = host.volumes.iter().chain(&tree.volumes);
                    let mut set = all.filter(|tree| VolumeId(tree.id) == id);
                    set.find_map(|tree| tree.options.get(name)).map(|setting| setting.span)
                };
                let spans = [here(volume.id), here(first.id)];
                let mut places = spans.into_iter().flatten();
                one_policy = false;
                let mut wrong = Diagnostic::error(places.next().unwrap_or(host.span), text);
                if let Some(other) = places.next() {
                    wrong = wrong.related(other, "the other one");
                }
                self.report(
                    wrong
                        .note("not yet: all volumes of a resource have the same")
                        .help("set it once, in `disk { … }` of the resource"),
                );
            }
        }
        one_policy
    }

    /// At least one host has a copy of each volume.
    fn check_copies(&mut self, pair: [&HostTree; 2], first: &[Volume], second: &[Volume]) {
        for (one, other) in first.iter().zip(second) {
            if one.disk.is_none() && other.disk.is_none() {
                let text = format!("no host has a copy of volume {}", one.id);
                self.report(
                    Diagnostic::error(pair[1].span, text)
                        .label("`disk none` here")
                        .related(pair[0].span, "and here")
                        .help("name a disk on at least one of them"),
                );
            }
        }
    }
}

/// The machine of a host, by which what it has is told from what others have. Floating hosts of one
/// address are on one machine; but those of the loopback are nodes of a test.
fn machine(host: &HostTree) -> String {
    match &host.address {
        Some(at) if host.floating && !at.value.ip().is_loopback() => at.value.ip().to_string(),
        _ => host.name.clone(),
    }
}

fn ambiguous(what: &str, one: Span, other: Span) -> Diagnostic {
    Diagnostic::error(one, format!("two values of `{what}` for one volume"))
        .label("one here")
        .related(other, "the other one here")
        .note("neither place is nearer to the volume than the other")
        .help("remove one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_nodes_compute_the_same_ids() {
        let a = "10.0.0.1:7789".parse().unwrap();
        let b = "10.0.0.1:7790".parse().unwrap();
        assert_eq!(node_ids(a, b), [NodeId(0), NodeId(1)]);
        assert_eq!(node_ids(b, a), [NodeId(1), NodeId(0)]);
    }
}
