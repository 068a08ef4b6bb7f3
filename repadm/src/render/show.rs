//! `show`: what a resource runs with, in the shape of DRBD 9's `drbdsetup show`.
//!
//! ```text
//! resource "r0" {
//!     net {
//!         allow-two-primaries  yes;
//!         timeout           60; # 1/10 seconds, default
//! ```
//! The sections of options are in the language of the configuration. Options that have no effect
//! here are not shown: they do not run.

use config::{
    DiskOptions, Host, MetaDisk, NbdSection, Net, OptionSpec, Resource, ResourceOptions, Section,
    Volume, of_section,
};
use serde_json::{Map, Value, json};
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use types::{ConnectionState, Span};

/// An option that runs.
struct Shown {
    spec: &'static OptionSpec,
    /// As one would type it, without quotes.
    value: String,
}

impl Shown {
    fn is_default(&self) -> bool {
        bare(self.spec.default, self.spec) == self.value
    }

    /// What one unit is, in drbdsetup's words.
    fn unit(&self) -> &'static str {
        match self.spec.unit {
            "0.1 s" => "1/10 seconds",
            "s" => "seconds",
            other => other,
        }
    }

    fn quoted(&self) -> String {
        match self.spec.kind {
            config::Kind::Text(_) | config::Kind::Path => quote(&self.value),
            _ => self.value.clone(),
        }
    }

    fn json(&self) -> Value {
        match self.spec.kind {
            // As `dump --json` has it: JSON is for programs, and goes into logs and tickets.
            _ if self.spec.name == "shared-secret" => json!("(secret)"),
            config::Kind::Flag => json!(self.value == "yes"),
            config::Kind::Number { .. } => {
                self.value.parse::<u64>().map_or_else(|_| json!(self.value), |number| json!(number))
            }
            _ => json!(self.value),
        }
    }
}

/// A default without its suffix, in the unit of its option.
fn bare(default: &str, spec: &OptionSpec) -> String {
    let config::Kind::Number { scale, .. } = spec.kind else { return default.to_owned() };
    let shift = match default.chars().last() {
        Some('K' | 'k') => 10,
        Some('M' | 'm') => 20,
        Some('G' | 'g') => 30,
        _ => return default.to_owned(),
    };
    let digits: u64 = default[..default.len() - 1].parse().unwrap_or_default();
    ((digits << shift) / scale.factor()).to_string()
}

/// Those options of a section that the resource has a value for, in the order of the table.
fn options(section: Section, value: impl Fn(&str) -> Option<String>) -> Vec<Shown> {
    of_section(section)
        .filter(|spec| spec.home() == section)
        .filter_map(|spec| value(spec.name).map(|value| Shown { spec, value }))
        .collect()
}

fn yes_no(flag: bool) -> String {
    super::yes_no(flag).to_owned()
}

fn tenths(span: Span) -> String {
    (span.as_millis() / 100).to_string()
}

fn seconds(span: Span) -> String {
    (span.as_millis() / 1000).to_string()
}

fn net(net: &Net) -> Vec<Shown> {
    options(Section::Net, |name| {
        Some(match name {
            "protocol" => net.protocol.to_string(),
            "timeout" => tenths(net.timeout),
            "ping-int" => seconds(net.ping_int),
            "ping-timeout" => tenths(net.ping_timeout),
            "connect-int" => seconds(net.connect_int),
            "ko-count" => net.ko_count.to_string(),
            "sndbuf-size" => net.sndbuf_size.to_string(),
            "rcvbuf-size" => net.rcvbuf_size.to_string(),
            "allow-two-primaries" => yes_no(net.allow_two_primaries),
            // There is one digest; it has a use with a secret only.
            "cram-hmac-alg" if net.shared_secret.is_some() => "sha256".to_owned(),
            "shared-secret" => net.shared_secret.as_ref()?.0.clone(),
            "after-sb-0pri" => net.after_sb_0pri.to_string(),
            "after-sb-1pri" => net.after_sb_1pri.to_string(),
            "after-sb-2pri" => net.after_sb_2pri.to_string(),
            "always-asbp" => yes_no(net.always_asbp),
            "rr-conflict" => net.rr_conflict.to_string(),
            "fencing" => net.fencing.to_string(),
            "on-congestion" => net.on_congestion.to_string(),
            "congestion-fill" => (net.congestion_fill / 512).to_string(),
            "congestion-extents" => net.congestion_extents.to_string(),
            "max-buffers" => net.max_buffers.to_string(),
            "csums-alg" => net.csums_alg?.to_string(),
            "csums-after-crash-only" => yes_no(net.csums_after_crash_only),
            "verify-alg" => net.verify_alg?.to_string(),
            "verify-interval" => (net.verify_interval.as_millis() / 3_600_000).to_string(),
            _ => return None,
        })
    })
}

fn resource_options(options_: &ResourceOptions) -> Vec<Shown> {
    options(Section::Options, |name| {
        Some(match name {
            "auto-promote" => yes_no(options_.auto_promote),
            "on-no-data-accessible" => options_.on_no_data_accessible.to_string(),
            "durable-interval" => tenths(options_.durable_interval),
            "durable-limit" => options_.durable_limit.to_string(),
            _ => return None,
        })
    })
}

/// Of a disk itself, or of its resync with the peer.
fn disk(disk: &DiskOptions, peer_device: bool) -> Vec<Shown> {
    let mut all = options(Section::Disk, |name| {
        Some(match name {
            "al-extents" => disk.al_extents.to_string(),
            "al-updates" => yes_no(disk.al_updates),
            "on-io-error" => disk.on_io_error.to_string(),
            "size" => (disk.size? / 512).to_string(),
            "disk-timeout" => tenths(disk.disk_timeout),
            "read-balancing" => disk.read_balancing.to_string(),
            "resync-after" => {
                let (resource, volume) = disk.resync_after.as_ref()?;
                format!("{resource}/{volume}")
            }
            "resync-rate" => disk.resync_rate.to_string(),
            "c-plan-ahead" => tenths(disk.c_plan_ahead),
            "c-delay-target" => tenths(disk.c_delay_target),
            "c-fill-target" => (disk.c_fill_target / 512).to_string(),
            "c-max-rate" => disk.c_max_rate.to_string(),
            "c-min-rate" => disk.c_min_rate.to_string(),
            _ => return None,
        })
    });
    all.retain(|shown| {
        shown.spec.peer_device == peer_device
            && !matches!(shown.spec.effect, config::Effect::NoEffect(_))
    });
    all
}

fn nbd(nbd: &NbdSection) -> Vec<Shown> {
    options(Section::Nbd, |name| {
        let path = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
        match name {
            "listen" => nbd.listen.map(|address| address.to_string()),
            "unix" => nbd.unix.as_ref().map(path),
            // It says something of that socket only.
            "unix-mode" => nbd.unix.as_ref().map(|_| format!("{:04o}", nbd.unix_mode)),
            "unix-owner" => nbd.unix_owner.clone(),
            "unix-group" => nbd.unix_group.clone(),
            "tls" => Some(nbd.tls.to_string()),
            "tls-certificates" => nbd.tls_certificates.as_ref().map(path),
            "read-only" => Some(yes_no(nbd.read_only)),
            _ => None,
        }
    })
}

/// A word in quotes, as the language reads it.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn address(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    format!("{family} {address}")
}

/// Text of sections in sections.
struct Out {
    text: String,
    depth: usize,
    defaults: bool,
}

impl Out {
    fn line(&mut self, line: impl Display) {
        let _ = writeln!(self.text, "{:width$}{line}", "", width = 4 * self.depth);
    }

    fn section(&mut self, head: &str, body: impl FnOnce(&mut Self)) {
        self.line(format_args!("{head} {{"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    /// `device   minor 1;`
    fn place(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name}\t\t\t{value};"));
    }

    /// What differs from its default, or all.
    fn options(&mut self, options: &[Shown]) {
        let defaults = self.defaults;
        for shown in options.iter().filter(|shown| defaults || !shown.is_default()) {
            let notes: Vec<&str> = [shown.unit(), if shown.is_default() { "default" } else { "" }]
                .into_iter()
                .filter(|note| !note.is_empty())
                .collect();
            let comment = match &notes[..] {
                [] => String::new(),
                notes => format!(" # {}", notes.join(", ")),
            };
            self.line(format_args!("{:<16}\t{};{comment}", shown.spec.name, shown.quoted()));
        }
    }
}

/// What runs of `resource` on its host `node`; what is as it would be by itself only if
/// `show_defaults`.
pub fn show(resource: &Resource, node: &str, show_defaults: bool) -> String {
    let mut out = Out { text: String::new(), depth: 0, defaults: show_defaults };
    let Some((me, peer)) = resource.host(node) else { return out.text };
    out.section(&format!("resource {}", quote(&resource.name)), |out| {
        out.section("options", |out| out.options(&resource_options(&resource.options)));
        out.section("_this_host", |out| {
            out.place("node-id", me.node_id);
            me.volumes.iter().for_each(|volume| this_volume(out, volume));
        });
        out.section("connection", |out| connection(out, resource, me, peer));
        if !resource.handlers.is_empty() {
            out.section("handlers", |out| {
                for (name, command) in &resource.handlers {
                    out.line(format_args!("{name:<16}\t{};", quote(command)));
                }
            });
        }
        let nbd = nbd(&resource.nbd);
        if show_defaults || nbd.iter().any(|shown| !shown.is_default()) {
            out.section("nbd", |out| out.options(&nbd));
        }
    });
    out.text
}

fn this_volume(out: &mut Out, volume: &Volume) {
    out.section(&format!("volume {}", volume.id), |out| {
        match (&volume.device, volume.minor) {
            (_, Some(minor)) => out.place("device", format_args!("minor {minor}")),
            (Some(device), None) => out.place("device", quote(device)),
            (None, None) => {}
        }
        let Some(path) = &volume.disk else { return out.place("disk", "none") };
        out.place("disk", quote(&path.to_string_lossy()));
        match &volume.meta_disk {
            MetaDisk::Internal => out.place("meta-disk", "internal"),
            MetaDisk::External(path) => out.place("meta-disk", quote(&path.to_string_lossy())),
        }
        out.section("disk", |out| out.options(&disk(&volume.disk_options, false)));
    });
}

fn connection(out: &mut Out, resource: &Resource, me: &Host, peer: &Host) {
    out.line(format_args!("_peer_node_id {};", peer.node_id));
    out.section("path", |out| {
        out.line(format_args!("_this_host {};", address(me.address)));
        out.line(format_args!("_remote_host {};", address(peer.address)));
    });
    out.section("net", |out| {
        out.line(format_args!("{:<16}\t{};", "_name", quote(&peer.name)));
        out.options(&net(&resource.net));
    });
    for volume in &me.volumes {
        let options = disk(&volume.disk_options, true);
        if !options.is_empty() {
            out.section(&format!("volume {}", volume.id), |out| {
                out.section("disk", |out| out.options(&options));
            });
        }
    }
}

/// The same with the keys of `drbdsetup show --json`.
pub fn json(
    resource: &Resource,
    node: &str,
    state: Option<ConnectionState>,
    show_defaults: bool,
) -> Value {
    let Some((me, peer)) = resource.host(node) else { return Value::Null };
    let options = |all: Vec<Shown>| -> Value {
        let shown = all.into_iter().filter(|shown| show_defaults || !shown.is_default());
        Value::Object(
            shown.map(|one| (one.spec.name.to_owned(), one.json())).collect::<Map<_, _>>(),
        )
    };
    let this_volume = |volume: &Volume| {
        json!({
            "volume_nr": volume.id,
            "device_minor": volume.minor,
            "device": volume.device,
            "backing-disk": volume.disk,
            "meta-disk": match &volume.meta_disk {
                MetaDisk::Internal => json!("internal"),
                MetaDisk::External(path) => json!(path),
            },
            "disk": options(disk(&volume.disk_options, false)),
        })
    };
    let peer_volume = |volume: &Volume| json!({ "volume_nr": volume.id, "disk": options(disk(&volume.disk_options, true)) });
    let mut net = options(net(&resource.net));
    net["_name"] = json!(peer.name);
    json!({
        "resource": resource.name,
        "options": options(resource_options(&resource.options)),
        "_this_host": {
            "node-id": me.node_id,
            "volumes": me.volumes.iter().map(this_volume).collect::<Value>(),
        },
        "connections": [{
            "_peer_node_id": peer.node_id,
            "paths": [{
                "_this_host": address(me.address),
                "_remote_host": address(peer.address),
            }],
            "_cstate": state,
            "net": net,
            "volumes": me.volumes.iter().map(peer_volume).collect::<Value>(),
        }],
        "handlers": resource.handlers,
        "nbd": options(nbd(&resource.nbd)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::TextLoader;
    use std::path::Path;

    const HOSTS: &str = "\
        on alpha { device /dev/drbd1; disk /dev/vda3; address 192.168.0.18:7789; meta-disk internal; }
        on beta { device /dev/drbd1; disk /dev/vda3; address 192.168.0.19:7789; meta-disk internal; }";

    fn resource(hosts: &str, sections: &str) -> Resource {
        let text = format!("resource r0 {{ {hosts} {sections} }}");
        let loaded = config::load(Path::new("r0.res"), &TextLoader(text.as_bytes()));
        loaded.unwrap_or_else(|error| panic!("{error}")).config.resources.remove(0)
    }

    /// The configuration of the how-to, and something from every section.
    fn how_to() -> Resource {
        let mut resource = resource(
            HOSTS,
            "net { allow-two-primaries; after-sb-0pri discard-zero-changes;
                   after-sb-1pri discard-secondary; after-sb-2pri disconnect; timeout 90; }
             disk { al-extents 3389; on-io-error call-local-io-error; }
             options { on-no-data-accessible suspend-io; durable-limit 8M; }
             handlers { split-brain \"/usr/lib/notify \\\"it\\\"\"; local-io-error true; }
             startup { become-primary-on both; }",
        );
        resource.net.shared_secret = Some(config::Secret("s3\"cret".into()));
        resource.nbd.read_only = true;
        resource
    }

    #[test]
    fn what_was_configured() {
        insta::assert_snapshot!(show(&how_to(), "alpha", false));
    }

    #[test]
    fn everything_that_runs() {
        insta::assert_snapshot!(show(&resource(HOSTS, ""), "beta", true));
    }

    #[test]
    fn nothing_but_defaults_is_short() {
        let text = show(&resource(HOSTS, ""), "alpha", false);
        assert!(text.contains("    options {\n    }\n"), "{text}");
        assert!(!text.contains("default") && !text.contains("nbd {"), "{text}");
    }

    #[test]
    fn the_keys_of_drbdsetup() {
        let value = json(&how_to(), "alpha", Some(ConnectionState::Connected), false);
        insta::assert_snapshot!(format!("{value:#}"));
    }

    #[test]
    fn a_host_without_a_disk_and_metadata_elsewhere() {
        let hosts = "\
            on alpha { volume 0 { device minor 1; disk none; }
                       volume 1 { device /dev/mail; disk /d; meta-disk /m; }
                       address [::1]:1; }
            on beta { volume 0 { device minor 1; disk /c; meta-disk internal; }
                      volume 1 { device /dev/mail; disk /d2; meta-disk /m2; } address [::1]:2; }";
        insta::assert_snapshot!(show(&resource(hosts, ""), "alpha", false));
    }

    /// The lines of a section that the language knows.
    fn section(text: &str, head: &str, depth: usize) -> String {
        let indent = " ".repeat(4 * depth);
        let begin = format!("\n{indent}{head} {{\n");
        let Some(at) = text.find(&begin) else { return String::new() };
        let rest = &text[at + begin.len()..];
        let end = rest.find(&format!("\n{indent}}}")).map_or(0, |end| end + 1);
        let lines = rest[..end].lines().filter(|line| !line.contains("_name"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn what_is_shown_loads_and_means_the_same() {
        for (original, defaults) in [(how_to(), false), (how_to(), true)] {
            let text = show(&original, "alpha", defaults);
            let sections = format!(
                "net {{\n{}}}\noptions {{\n{}}}\nhandlers {{\n{}}}\nnbd {{\n{}}}\ndisk {{\n{}}}\n",
                section(&text, "net", 2),
                section(&text, "options", 1),
                section(&text, "handlers", 1),
                section(&text, "nbd", 1),
                section(&text, "disk", 3),
            );
            let again = resource(HOSTS, &sections);
            assert_eq!(again.net, original.net, "{sections}");
            assert_eq!(again.options, original.options, "{sections}");
            assert_eq!(again.handlers, original.handlers, "{sections}");
            assert_eq!(again.nbd, original.nbd, "{sections}");
            assert_eq!(again.hosts, original.hosts, "{sections}");
        }
    }
}
