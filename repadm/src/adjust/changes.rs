//! The options in which two configurations of a resource differ.

use config::{Host, OptionSpec, Resource, Section};
use serde_json::Value;
use std::fmt;

/// An option that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place: `net`, or `volume 0 disk`.
    pub place: String,
    /// Its name.
    pub name: String,
    /// What it was, as one would type it.
    pub old: String,
    /// What it is to be.
    pub new: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, name, old, new } = self;
        write!(f, "{place} {name}: {old} → {new}")
    }
}

/// What differs between two configurations of a resource, but for the disks, which are attached,
/// and for where it is written. The pair is this host in both.
pub fn changes(old: &Resource, new: &Resource, (was, is): (&Host, &Host)) -> Vec<Change> {
    let mut found = Vec::new();
    compare("net", Some(Section::Net), &json(&old.net), &json(&new.net), &mut found);
    compare(
        "options",
        Some(Section::Options),
        &json(&old.options),
        &json(&new.options),
        &mut found,
    );
    compare(
        "startup",
        Some(Section::Startup),
        &json(&old.startup),
        &json(&new.startup),
        &mut found,
    );
    compare("handlers", None, &json(&old.handlers), &json(&new.handlers), &mut found);
    compare("nbd", Some(Section::Nbd), &json(&old.nbd), &json(&new.nbd), &mut found);
    for new in &is.volumes {
        let Some(old) = was.volumes.iter().find(|old| old.id == new.id) else { continue };
        let mut live = (old.disk_options.clone(), new.disk_options.clone());
        // These are fixed when the disk is attached.
        live.0.al_extents = live.1.al_extents;
        live.0.al_updates = live.1.al_updates;
        let place = format!("volume {} disk", new.id);
        compare(&place, Some(Section::Disk), &json(&live.0), &json(&live.1), &mut found);
        let place = format!("volume {}", new.id);
        let path = |device: &Option<String>| device.clone().unwrap_or_else(|| "none".into());
        push(&place, "device", path(&old.device), path(&new.device), &mut found);
    }
    hosts(old, new, &mut found);
    found
}

/// Names and addresses of both nodes; what only the peer has to know of its volumes is not told.
fn hosts(old: &Resource, new: &Resource, found: &mut Vec<Change>) {
    for new in &new.hosts {
        let Some(old) = old.hosts.iter().find(|old| old.node_id == new.node_id) else { continue };
        let place = format!("node {}", new.node_id);
        push(&place, "name", old.name.clone(), new.name.clone(), found);
        push(&place, "address", old.address.to_string(), new.address.to_string(), found);
    }
}

fn push(place: &str, name: &str, old: String, new: String, found: &mut Vec<Change>) {
    if old != new {
        found.push(Change { place: place.into(), name: name.into(), old, new });
    }
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The members of two objects that differ. The resolved configuration has an option's name with
/// underscores.
fn compare(
    place: &str,
    section: Option<Section>,
    old: &Value,
    new: &Value,
    found: &mut Vec<Change>,
) {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return };
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    for key in names {
        let name = if section.is_some() { key.replace('_', "-") } else { key.clone() };
        let spec = section.and_then(|section| config::find(section, &name));
        let text = |value: Option<&Value>| text(spec, value.unwrap_or(&Value::Null));
        if old.get(key) == new.get(key) {
            continue;
        }
        let shown = |value: Option<&Value>| match value {
            Some(Value::String(_)) if name == "shared-secret" => "(hidden)".to_owned(),
            _ => text(value),
        };
        let (old, new) = (shown(old.get(key)), shown(new.get(key)));
        found.push(Change { place: place.into(), name, old, new });
    }
}

/// A value as one would type it: times in the option's units.
fn text(spec: Option<&OptionSpec>, value: &Value) -> String {
    match value {
        Value::Null => "(none)".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(word) => {
            let becomes = spec.is_some_and(|spec| spec.name == "become-primary-on");
            match word.as_str() {
                "Both" if becomes => "both".into(),
                "Nobody" if becomes => "(none)".into(),
                word => word.to_owned(),
            }
        }
        Value::Number(number) => {
            let unit = spec.map_or("", |spec| spec.unit);
            match number.as_u64() {
                Some(number) => (number / per_unit(unit)).to_string(),
                None => number.to_string(),
            }
        }
        // The hosts of become-primary-on.
        Value::Object(one) => one.values().map(|value| text(None, value)).collect(),
        // The volume of resync-after.
        Value::Array(all) if spec.is_some_and(|spec| spec.name == "resync-after") => {
            all.iter().map(|one| text(None, one)).collect::<Vec<_>>().join("/")
        }
        Value::Array(all) => all.iter().map(|one| text(None, one)).collect::<Vec<_>>().join(" "),
    }
}

/// How many of what the resolved configuration counts are one of what an option counts: it has
/// times in nanoseconds, and sectors in bytes.
fn per_unit(unit: &str) -> u64 {
    match unit {
        "h" => 3_600_000_000_000,
        "s" => 1_000_000_000,
        "0.1 s" => 100_000_000,
        "ms" => 1_000_000,
        "sectors" => types::SECTOR_BYTES,
        _ => 1,
    }
}
