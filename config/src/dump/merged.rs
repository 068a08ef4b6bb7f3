//! What a resource is with everything that it inherits, as a file that says all of it.

use crate::model::{Resource, same_host};
use crate::options::{Kind, Section};
use crate::tree::{
    ConnectionTree, EndTree, HostTree, ResourceTree, Sections, Settings, Tree, VolumeTree,
};

/// A resource that means the same as `tree` and leaves nothing to inheritance but defaults.
pub(super) fn merged(all: &Tree, tree: &ResourceTree, resource: &Resource) -> ResourceTree {
    let none = Sections::default();
    let common = all.common.as_ref().map_or(&none, |at| &at.value);
    let outer = tree.template.as_ref().map_or(common, |template| &template.value.sections);
    let mut sections = tree.sections.clone();
    for (section, settings) in &outer.0 {
        let settings = &of_these_hosts(settings, &tree.hosts);
        fill(sections.0.entry(*section).or_default(), settings);
    }
    let global = all.global.as_ref().and_then(|at| at.value.get(Section::Nbd));
    if let Some(nbd) = global {
        fill(sections.0.entry(Section::Nbd).or_default(), nbd);
    }
    let connection = connection(tree, resource, sections.get(Section::Net));
    // The connection has them all.
    sections.0.remove(&Section::Net);
    ResourceTree {
        // Its settings are in `sections` now.
        template: None,
        volumes: Vec::new(),
        hosts: tree.hosts.iter().map(|host| self_contained(tree, host)).collect(),
        connections: vec![connection],
        sections,
        ..tree.clone()
    }
}

/// Without the names of hosts that only other resources have.
fn of_these_hosts(settings: &Settings, hosts: &[HostTree]) -> Settings {
    let is_here =
        |name: &&str| *name == "both" || hosts.iter().any(|host| same_host(&host.name, name));
    let mut settings = settings.clone();
    for setting in settings.0.iter_mut().filter(|setting| setting.spec.kind == Kind::Hosts) {
        let names: Vec<_> = setting.raw.split_whitespace().filter(is_here).collect();
        setting.raw = names.join(" ");
    }
    settings.0.retain(|setting| setting.spec.kind != Kind::Hosts || !setting.raw.is_empty());
    settings
}

/// Adds what is not set yet.
fn fill(settings: &mut Settings, outer: &Settings) {
    for setting in &outer.0 {
        if settings.get(setting.spec.name).is_none() {
            settings.0.push(setting.clone());
        }
    }
}

/// The host with the volumes that the resource has for both.
fn self_contained(tree: &ResourceTree, host: &HostTree) -> HostTree {
    let mut volumes = host.volumes.clone();
    for shared in &tree.volumes {
        match volumes.iter_mut().find(|volume| volume.id == shared.id) {
            Some(own) => complete(own, shared),
            None => volumes.push(shared.clone()),
        }
    }
    volumes.sort_by_key(|volume| volume.id);
    // Volumes are numbered, or there is but one.
    if volumes.iter().any(|volume| !volume.implicit) {
        volumes.iter_mut().for_each(|volume| volume.implicit = false);
    }
    HostTree { volumes, with_previous: false, ..host.clone() }
}

fn complete(own: &mut VolumeTree, shared: &VolumeTree) {
    own.device = own.device.take().or_else(|| shared.device.clone());
    own.disk = own.disk.take().or_else(|| shared.disk.clone());
    own.meta_disk = own.meta_disk.take().or_else(|| shared.meta_disk.clone());
    fill(&mut own.options, &shared.options);
    // The options of a volume stand in its section only.
    own.implicit &= shared.implicit;
}

/// The one connection that there is, written or not.
fn connection(tree: &ResourceTree, resource: &Resource, net: Option<&Settings>) -> ConnectionTree {
    let mut connection = tree.connections.first().cloned().unwrap_or_else(|| ConnectionTree {
        span: tree.span,
        name: None,
        mesh: false,
        in_path: true,
        hosts: Vec::new(),
        net: Settings::default(),
        disk: Settings::default(),
        volumes: Vec::new(),
    });
    connection.mesh = false;
    connection.in_path = true;
    connection.hosts = (resource.hosts.iter().zip(&tree.hosts))
        .map(|(host, tree)| EndTree {
            host: host.name.clone(),
            span: tree.span,
            address: Some(host.address),
            port: None,
        })
        .collect();
    net.into_iter().for_each(|net| fill(&mut connection.net, net));
    connection
}
