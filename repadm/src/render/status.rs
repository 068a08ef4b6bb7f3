//! `status` as text, in DRBD 9's shape.
//!
//! ```text
//! r0 role:Primary
//!   disk:UpToDate
//!   beta role:Secondary
//!     replication:SyncSource peer-disk:Inconsistent done:8.14
//! ```
//! What goes without saying is left out: `Connected`, and replication that is `Established`.

use super::progress::percent_down;
use super::words::Words;
use super::{blocks_kib, kib, yes_no};
use control::{Counters, ResourceStatus, VolumeStatus};
use std::fmt::Write as _;
use types::{ConflictKind, ConnectionState, ReplicationState, Role, VolumeId};

/// How much is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// What goes without saying, too.
    pub verbose: bool,
    /// Sizes and counters, too.
    pub statistics: bool,
}

impl Detail {
    const fn all_states(self) -> bool {
        self.verbose || self.statistics
    }
}

/// One resource, with the empty line after it. `only` shows one volume of it.
pub fn text(resource: &ResourceStatus, only: Option<VolumeId>, detail: Detail) -> String {
    let mut text = String::new();
    let mut head = Words::indented(&mut text, 0);
    head.word(&resource.name)
        .pair_if(detail.verbose, "node-id", resource.node_id)
        .pair("role", resource.role)
        .pair_if(detail.all_states() || is_suspended(resource), "suspended", suspended(resource))
        .pair_if(detail.verbose, "force-io-failures", "no")
        .pair_if(resource.restoring, "restoring", "yes")
        .end();
    if detail.statistics {
        Words::indented(&mut text, 4)
            .pair("write-ordering", "flush")
            .pair("sessions-resumed", resource.resumed)
            .pair("strangers-refused", resource.strangers_refused)
            .end();
    }
    let numbered = detail.all_states() || resource.volumes.len() > 1;
    let shown = |volume: &&VolumeStatus| only.is_none_or(|only| volume.volume == only);
    for volume in resource.volumes.iter().filter(shown) {
        device(&mut text, volume, numbered || volume.volume.0 != 0, detail);
    }
    peer(&mut text, resource, detail);
    for volume in resource.volumes.iter().filter(shown) {
        peer_device(&mut text, resource, volume, numbered || volume.volume.0 != 0, detail);
    }
    remarks(&mut text, resource, detail);
    text.push('\n');
    text
}

fn device(text: &mut String, volume: &VolumeStatus, numbered: bool, detail: Detail) {
    let mut words = Words::indented(text, 2);
    words.pair_if(numbered, "volume", volume.volume);
    words.pair_some("minor", volume.minor.filter(|_| detail.all_states()));
    words.pair("disk", volume.disk);
    if detail.verbose {
        let path = volume.disk_path.as_ref();
        words
            .pair("backing_dev", path.map_or_else(|| "none".into(), |path| path.to_string_lossy()));
        let meta = volume.meta_disk_path.as_ref().map(|path| path.to_string_lossy());
        words.pair_some("meta-disk", meta).pair_some("backend", volume.backend.as_ref());
    }
    words
        .pair_if(detail.verbose, "client", yes_no(volume.disk_path.is_none()))
        .pair_if(detail.verbose, "quorum", "yes")
        .pair_if(detail.verbose || !volume.clients.is_empty(), "open", yes_no(is_open(volume)))
        .end();
    if detail.statistics {
        let counters = &volume.counters;
        let mut words = Words::block(text, 6);
        words
            .pair("size", kib(volume.size_bytes))
            .pair("read", kib(counters.read_bytes))
            .pair("written", kib(counters.written_bytes))
            .pair("al-writes", counters.al_writes)
            .pair("al-hits", counters.al_hits)
            .pair("al-misses", counters.al_misses)
            .pair("bm-writes", counters.bm_writes)
            .pair("upper-pending", counters.upper_pending)
            .pair("lower-pending", counters.lower_pending)
            .pair("al-suspended", yes_no(volume.flags.is_some_and(|flags| flags.al_disabled)))
            .pair("blocked", "no")
            .end();
        if counters.read_errors + counters.write_errors > 0 {
            Words::indented(text, 6)
                .pair("read-errors", counters.read_errors)
                .pair("write-errors", counters.write_errors)
                .pair("repaired-blocks", counters.repaired_blocks)
                .end();
        }
        conflicts(text, counters);
    }
}

/// Conflicts, if there were any: how many, and how our writes lay to the peer's.
fn conflicts(text: &mut String, counters: &Counters) {
    let Counters { conflicts_won: won, conflicts_lost: lost, superseded, .. } = counters;
    if won.total() + lost.total() + superseded == 0 {
        return;
    }
    Words::indented(text, 6)
        .pair("conflicts-won", won.total())
        .pair("conflicts-lost", lost.total())
        .pair("superseded", superseded)
        .end();
    for (name, counts) in [("won", won), ("lost", lost)] {
        if counts.total() > 0 {
            let mut words = Words::block(text, 6);
            for kind in ConflictKind::ALL {
                words.pair(&format!("{name}-{}", kind.as_str()), counts.of(kind));
            }
            words.end();
        }
    }
}

/// Whether I/O stands still.
pub fn is_suspended(resource: &ResourceStatus) -> bool {
    resource.volumes.iter().any(|volume| volume.suspended.any())
}

/// Why I/O stands still, in DRBD's words.
pub fn suspended(resource: &ResourceStatus) -> String {
    let any = |why: fn(&control::Suspended) -> bool| {
        resource.volumes.iter().any(|volume| why(&volume.suspended))
    };
    let reasons = [
        ("user", any(|why| why.user)),
        ("no-data", any(|why| why.no_data)),
        ("fencing", any(|why| why.fencing)),
    ];
    let words: Vec<&str> = reasons.iter().filter(|(_, so)| *so).map(|(word, _)| *word).collect();
    if words.is_empty() { "no".to_owned() } else { words.join(",") }
}

/// Whether a client has it open.
pub fn is_open(volume: &VolumeStatus) -> bool {
    !volume.clients.is_empty()
}

fn peer(text: &mut String, resource: &ResourceStatus, detail: Detail) {
    let peer = &resource.peer;
    let connected = peer.connection == ConnectionState::Connected;
    let pending: u64 = resource.volumes.iter().map(|volume| volume.counters.pending).sum();
    Words::indented(text, 2)
        .word(&peer.name)
        .pair_if(detail.verbose, "node-id", peer.node_id)
        .pair_if(detail.all_states() || !connected, "connection", peer.connection)
        .pair_if(detail.all_states() || connected, "role", peer.role)
        .pair_if(resource.split_brain.is_some(), "split-brain", "yes")
        .pair_if(detail.verbose, "tls", "no")
        .pair_if(detail.all_states(), "congested", "no")
        .pair_if(detail.statistics, "ap-in-flight", pending)
        .pair_if(detail.statistics, "rs-in-flight", 0)
        .end();
}

fn peer_device(
    text: &mut String,
    resource: &ResourceStatus,
    volume: &VolumeStatus,
    numbered: bool,
    detail: Detail,
) {
    let connected = resource.peer.connection == ConnectionState::Connected;
    if !connected && !detail.all_states() {
        return;
    }
    let busy = volume.replication > ReplicationState::Established;
    let mut words = Words::indented(text, 4);
    words
        .pair_if(numbered, "volume", volume.volume)
        .pair_if(busy || detail.all_states(), "replication", volume.replication)
        .pair("peer-disk", volume.peer_disk)
        .pair_if(detail.verbose, "peer-client", "no");
    let done = volume.resync.map(|resync| format!("{:.2}", percent_down(resync.percent, 2)));
    words.pair_some("done", done);
    let suspended = volume.resync_suspended.words();
    let shown = detail.all_states() || suspended != "no";
    words.pair_if(shown, "resync-suspended", suspended).end();
    if detail.statistics {
        let counters = &volume.counters;
        let mut words = Words::block(text, 8);
        words
            .pair("received", kib(counters.received_bytes))
            .pair("sent", kib(counters.sent_bytes))
            .pair("out-of-sync", blocks_kib(volume.out_of_sync_blocks))
            .pair("pending", counters.pending)
            .pair("unacked", counters.unacked)
            .pair("undurable", kib(volume.undurable_bytes))
            .pair("undurable-writes", volume.undurable_writes)
            .pair_if(volume.resync_bytes > 0, "resync-sent", kib(volume.resync_bytes))
            .end();
    }
}

/// What does not fit into words with colons, as comments.
fn remarks(text: &mut String, resource: &ResourceStatus, detail: Detail) {
    if let Some(what) = &resource.split_brain {
        let _ = writeln!(text, "  # {}", super::split_brain_in_short(&resource.name));
        if detail.verbose {
            let _ = writeln!(text, "  # {}", super::split_brain(what));
        }
    }
    let standing = resource.peer.connection != ConnectionState::Connected;
    if let Some(why) = &resource.last_refusal
        && resource.split_brain.as_ref() != Some(why)
        && (standing || detail.verbose)
    {
        let _ = writeln!(text, "  # the last connection was refused: {why}");
    }
    if detail.verbose {
        for volume in &resource.volumes {
            if let Some(at) = volume.last_verify {
                let (name, at) = (&volume.export, super::time::utc(at));
                let _ = writeln!(text, "  # {name} was last verified whole {at}");
            }
            for client in &volume.clients {
                let _ = writeln!(
                    text,
                    "  # {} is open by {} since {}",
                    client.export,
                    client.peer,
                    super::time::utc(client.since)
                );
            }
            let served = if resource.role == Role::Primary { &volume.nbd_uris[..] } else { &[] };
            for uri in served {
                let _ = writeln!(text, "  # served as {uri}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    fn every_state(detail: Detail) -> String {
        let show = |(name, status): (&str, ResourceStatus)| {
            format!("--- {name}\n{}", text(&status, None, detail))
        };
        samples::all().into_iter().map(show).collect()
    }

    #[test]
    fn short() {
        insta::assert_snapshot!(every_state(Detail::default()));
    }

    #[test]
    fn verbose() {
        insta::assert_snapshot!(every_state(Detail { verbose: true, statistics: false }));
    }

    #[test]
    fn verbose_with_statistics() {
        insta::assert_snapshot!(every_state(Detail { verbose: true, statistics: true }));
    }

    #[test]
    fn each_reason_to_stand_still_has_drbds_word() {
        let mut status = samples::both_primary();
        assert_eq!((is_suspended(&status), suspended(&status)), (false, "no".to_owned()));
        let reasons = &mut status.volumes[0].suspended;
        reasons.fencing = true;
        assert_eq!(suspended(&status), "fencing");
        status.volumes[0].suspended.user = true;
        status.volumes[0].suspended.no_data = true;
        assert_eq!(suspended(&status), "user,no-data,fencing");
        let shown = text(&status, None, Detail::default());
        assert!(shown.starts_with("r0 role:Primary suspended:user,no-data,fencing\n"), "{shown}");
        let mut two = samples::two_volumes();
        two.volumes[0].suspended.user = true;
        two.volumes[1].suspended.fencing = true;
        assert_eq!(suspended(&two), "user,fencing", "of any of its volumes");
    }

    #[test]
    fn a_split_brain_says_what_to_do_next_and_the_rest_when_asked() {
        let short = text(&samples::split_brain(), None, Detail::default());
        assert!(short.contains("see repadm split-brain r0"), "{short}");
        assert!(!short.contains("since 5202447251D01101"), "{short}");
        let long = text(&samples::split_brain(), None, Detail { verbose: true, statistics: false });
        assert!(long.contains("since 5202447251D01101"), "{long}");
    }

    #[test]
    fn one_volume_of_several() {
        let both = samples::two_volumes();
        let one = text(&both, Some(VolumeId(1)), Detail::default());
        assert!(one.contains("volume:1") && !one.contains("volume:0"), "{one}");
    }
}
