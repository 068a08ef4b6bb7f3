//! `resync-after`: which volume's resync comes first. It must be there, and no chain may end where
//! it began: all of it would wait for ever.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{Resource, same_host};
use crate::nearest::nearest;
use crate::source::Span;
use std::collections::{BTreeMap, BTreeSet};
use types::VolumeId;

/// What a volume of a host names, and where.
pub(super) struct After {
    pub(super) resource: String,
    pub(super) host: String,
    pub(super) volume: VolumeId,
    /// A minor number, or `RESOURCE/VOLUME`.
    pub(super) text: String,
    pub(super) span: Span,
}

/// A volume of a host.
type Place = (String, String, VolumeId);

/// Finds what is named, and tells it the volumes that name it.
pub(super) fn link(resources: &mut [Resource], afters: &[After], diagnostics: &mut Diagnostics) {
    let mut found: BTreeMap<Place, (Place, Span)> = BTreeMap::new();
    // What is said once for both hosts is one mistake.
    let mut told: BTreeSet<Span> = BTreeSet::new();
    for after in afters {
        let from = (after.host.clone(), after.resource.clone(), after.volume);
        match target(resources, after) {
            Some((resource, volume)) => {
                found.insert(from, ((after.host.clone(), resource, volume), after.span));
            }
            None if told.insert(after.span) => diagnostics.push(missing(resources, after)),
            None => {}
        }
    }
    for (from, (_, span)) in &found {
        let circle = circle(&found, from);
        let new = circle.iter().filter(|place| told.insert(found[*place].1)).count();
        if new > 0 {
            diagnostics.push(waits_for_itself(*span, &circle));
        }
    }
    for resource in resources {
        for host in &mut resource.hosts {
            for volume in &mut host.volumes {
                let place = (host.name.clone(), resource.name.clone(), volume.id);
                volume.disk_options.resync_after =
                    found.get(&place).map(|((_, name, id), _)| (name.clone(), *id));
            }
        }
    }
}

fn target(resources: &[Resource], after: &After) -> Option<(String, VolumeId)> {
    let volumes = |resource: &Resource| {
        let host = resource.hosts.iter().find(|host| same_host(&host.name, &after.host));
        host.map(|host| host.volumes.clone()).unwrap_or_default()
    };
    if let Ok(minor) = after.text.parse::<u32>() {
        return resources.iter().find_map(|resource| {
            let of = volumes(resource).into_iter().find(|volume| volume.minor == Some(minor))?;
            Some((resource.name.clone(), of.id))
        });
    }
    let (name, number) = after.text.rsplit_once('/')?;
    let volume = VolumeId(number.parse().ok()?);
    let resource = resources.iter().find(|resource| resource.name == name)?;
    let is_there = volumes(resource).iter().any(|of| of.id == volume);
    is_there.then(|| (name.to_owned(), volume))
}

fn missing(resources: &[Resource], after: &After) -> Diagnostic {
    let text = &after.text;
    let error = Diagnostic::error(after.span, format!("`resync-after {text}` names no volume"))
        .label("no volume of this configuration is that")
        .note("it is a minor number, RESOURCE/VOLUME, or RESOURCE for its volume 0; -1 is nothing");
    let name = text.rsplit_once('/').map(|(name, _)| name);
    let names = resources.iter().map(|resource| resource.name.as_str());
    match name.and_then(|name| nearest(name, names)).filter(|near| Some(*near) != name) {
        Some(near) => error.note(format!("there is a resource `{near}`")),
        None => error,
    }
}

/// The places of the circle that this one is on, from it on; none if it is on none.
fn circle(found: &BTreeMap<Place, (Place, Span)>, from: &Place) -> Vec<Place> {
    let mut places = vec![from.clone()];
    let mut at = from;
    while let Some((next, _)) = found.get(at) {
        if next == from {
            return places;
        }
        if places.contains(next) {
            break;
        }
        places.push(next.clone());
        at = next;
    }
    Vec::new()
}

fn waits_for_itself(span: Span, circle: &[Place]) -> Diagnostic {
    let first = circle.iter().chain(circle.first());
    let names: Vec<String> = first.map(|(_, name, volume)| format!("{name}/{volume}")).collect();
    Diagnostic::error(span, "a resync would wait for itself")
        .label(format!("{} in turn", names.join(" after ")))
        .note("leave one of these resync-after out: the others are done one after the other")
}
