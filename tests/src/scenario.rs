//! What is shown, each at the scale of a test or of an acceptance. Each scenario makes its own
//! cluster and says what it measured.

mod adjust;
mod auto_promote;
mod bad_links;
mod conflict_cut;
mod conflicts;
mod control_abuse;
mod damaged_metadata;
mod demo;
mod different_settings;
mod divergence;
mod exchanged_disks;
mod files;
mod flapping;
mod frozen;
mod full_disk;
mod full_sync;
mod grow;
mod idle_primaries;
mod interrupted_resync;
mod link_cut;
mod many_resources;
mod multi_conn;
mod nbd_clients;
mod nbd_crowd;
mod nbd_map;
mod nbd_restart;
mod nbd_sockets;
mod nbd_taken_away;
mod nbd_tls;
mod overlaps;
mod policies;
mod primary_killed;
mod protocols;
mod read_after_ack;
mod real_input;
mod refused_commands;
mod refused_peers;
mod resets;
mod restart;
mod resync_orders;
mod resync_pace;
mod service;
mod split_brain_by_hand;
mod stonith_resets;
mod two_volumes;
mod undisturbed;
mod verify;

use crate::clock;
use std::time::{Duration, Instant};

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Bytes of the source tree that is copied in, at most.
    pub tree_bytes: u64,
    /// Bytes that each `fio` verifies.
    pub fio_bytes: u64,
    /// Bytes written in pieces of 4 KiB while the link is cut.
    pub scattered_bytes: u64,
    /// Crashes under load.
    pub kills: u64,
    /// Crashes one after the other, each as soon as the one before is over.
    pub kills_in_a_row: u64,
    /// Requests at each node that conflict with the other's.
    pub conflicts: u64,
    /// Writes by each node of the one block that both write.
    pub dp1_writes: u64,
    /// The same in the storm.
    pub dp6_writes: u64,
    /// Times that both nodes' requests meet in each way.
    pub pairs: u64,
    /// How long a node stands still.
    pub freezes: Vec<Duration>,
    /// How long the link is reset ten times a second.
    pub reset_for: Duration,
    /// Bytes of the disk of which a full sync is measured.
    pub full_sync_bytes: u64,
    /// Bytes of the disk whose resync is measured under load.
    pub resync_bytes: u64,
    /// NBD clients that stand still.
    pub stalled_clients: usize,
    /// Writes of 32 MiB by each of the clients among them that do not.
    pub long_writes: u64,
    /// Times that each daemon is started again in each way under NBD clients that come back.
    pub restarts: u64,
    /// NBD clients that vanish in the middle of something.
    pub vanishing_clients: u64,
    /// Resources on one daemon.
    pub resources: usize,
    /// The size of disks that grow, at first and at last, in so many steps.
    pub grow_from: u64,
    /// See above.
    pub grow_to: u64,
    /// See above.
    pub grow_rounds: u64,
    /// How long verifies run one after the other under load.
    pub verify_for: Duration,
    /// Blocks of a file that are changed behind its daemon's back.
    pub damaged_blocks: u64,
}

const MIB: u64 = 1 << 20;

impl Scale {
    /// For `cargo test`.
    pub fn small() -> Self {
        Self {
            tree_bytes: 24 * MIB,
            fio_bytes: 8 * MIB,
            scattered_bytes: 16 * MIB,
            kills: 3,
            kills_in_a_row: 10,
            conflicts: 2_000,
            dp1_writes: 5_000,
            dp6_writes: 5_000,
            pairs: 2,
            freezes: [1, 10].map(Duration::from_secs).to_vec(),
            reset_for: Duration::from_secs(5),
            full_sync_bytes: 64 * MIB,
            resync_bytes: 48 * MIB,
            stalled_clients: 200,
            long_writes: 1,
            restarts: 1,
            vanishing_clients: 300,
            resources: 12,
            grow_from: 32 * MIB,
            grow_to: 96 * MIB,
            grow_rounds: 4,
            verify_for: Duration::from_secs(10),
            damaged_blocks: 100,
        }
    }

    /// For an acceptance.
    pub fn full() -> Self {
        Self {
            tree_bytes: 128 * MIB,
            fio_bytes: 96 * MIB,
            scattered_bytes: 64 * MIB,
            kills: 50,
            kills_in_a_row: 1000,
            conflicts: 50_000,
            dp1_writes: 1_000_000,
            dp6_writes: 100_000,
            pairs: 50,
            freezes: [1, 10, 60].map(Duration::from_secs).to_vec(),
            reset_for: Duration::from_secs(60),
            full_sync_bytes: 1024 * MIB,
            resync_bytes: 4096 * MIB,
            stalled_clients: 1000,
            long_writes: 4,
            restarts: 10,
            vanishing_clients: 3_000,
            resources: 200,
            grow_from: 256 * MIB,
            grow_to: 1024 * MIB,
            grow_rounds: 12,
            verify_for: Duration::from_secs(1800),
            damaged_blocks: 1000,
        }
    }
}

/// Says what was measured.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    start: Instant,
}

impl Report {
    /// On standard output.
    pub fn printing(name: &'static str) -> Self {
        Self { name, start: clock::now() }
    }

    /// One line.
    pub fn line(&mut self, text: &str) {
        println!("{:>7.1?} {}: {text}", self.elapsed(), self.name);
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// One behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Shows it, or says why not.
    pub show: fn(&Scale, &mut Report) -> anyhow::Result<()>,
}

/// All of them.
pub const ALL: &[Scenario] = &[
    Scenario { name: "real-input", show: real_input::image },
    Scenario { name: "both-write", show: real_input::both_write },
    Scenario { name: "resets", show: resets::show },
    Scenario { name: "adjust", show: adjust::under_load },
    Scenario { name: "sample-files", show: files::show },
    Scenario { name: "link-cut", show: link_cut::by_reset },
    Scenario { name: "link-silent", show: link_cut::in_silence },
    Scenario { name: "secondary-killed", show: link_cut::secondary_killed },
    Scenario { name: "primary-killed", show: primary_killed::one },
    Scenario { name: "one-lost-in-conflicts", show: primary_killed::in_conflicts },
    Scenario { name: "both-killed", show: primary_killed::both },
    Scenario { name: "cr6-killed-again", show: primary_killed::a_thousand },
    Scenario { name: "dp1-one-block", show: conflicts::one_block },
    Scenario { name: "dp2-overlaps", show: overlaps::relations },
    Scenario { name: "dp3-kinds", show: overlaps::kinds },
    Scenario { name: "dp4-read-after-ack", show: read_after_ack::show },
    Scenario { name: "dp6-storm", show: conflicts::storm },
    Scenario { name: "dp7-resets", show: resets::in_conflicts },
    Scenario { name: "dp7-resumed", show: conflict_cut::resumed },
    Scenario { name: "dp7-alone", show: conflict_cut::alone },
    Scenario { name: "dp8-frozen-secondary", show: frozen::secondary },
    Scenario { name: "dp8-frozen-primary", show: frozen::primary },
    Scenario { name: "dp8-given-up", show: frozen::given_up },
    Scenario { name: "dp8-given-up-while-asked", show: frozen::given_up_while_asked },
    Scenario { name: "dp11-multi-conn", show: multi_conn::show },
    Scenario { name: "idle-primaries", show: idle_primaries::show },
    Scenario { name: "stonith-resets", show: stonith_resets::show },
    Scenario { name: "sb4-flapping", show: flapping::show },
    Scenario { name: "sb4-half-open", show: flapping::half_open },
    Scenario { name: "different-settings", show: different_settings::show },
    Scenario { name: "sb4-bad-links", show: bad_links::show },
    Scenario { name: "qf2-fence-peer", show: stonith_resets::every_exit_code },
    Scenario { name: "sb3-no-primary", show: policies::no_primary },
    Scenario { name: "sb3-one-primary", show: policies::one_primary },
    Scenario { name: "sb3-two-primaries", show: policies::two_primaries },
    Scenario { name: "split-brain-by-hand", show: split_brain_by_hand::show },
    Scenario { name: "interrupted-resync", show: interrupted_resync::show },
    Scenario { name: "wrong-secret", show: refused_peers::wrong_secret },
    Scenario { name: "other-resource", show: refused_peers::other_resource },
    Scenario { name: "strangers", show: refused_peers::strangers },
    Scenario { name: "full-sync", show: full_sync::show },
    Scenario { name: "resync-orders", show: resync_orders::show },
    Scenario { name: "resync-pace", show: resync_pace::show },
    Scenario { name: "refused-commands", show: refused_commands::show },
    Scenario { name: "refused-roles", show: refused_commands::roles },
    Scenario { name: "auto-promote", show: auto_promote::show },
    Scenario { name: "restart-crash", show: restart::after_a_crash },
    Scenario { name: "restart-order", show: restart::in_order },
    Scenario { name: "cr8-damaged-metadata", show: damaged_metadata::show },
    Scenario { name: "rs11-older-disk", show: exchanged_disks::older },
    Scenario { name: "rs12-foreign-disk", show: exchanged_disks::foreign },
    Scenario { name: "io5-full-disk", show: full_disk::full },
    Scenario { name: "read-only-disk", show: full_disk::read_only },
    Scenario { name: "tls-required", show: nbd_tls::required },
    Scenario { name: "tls-renewed", show: nbd_tls::renewed },
    Scenario { name: "tls-refused", show: nbd_tls::refused },
    Scenario { name: "tls-image", show: nbd_tls::image },
    Scenario { name: "passed-sockets", show: nbd_sockets::activated },
    Scenario { name: "socket-permissions", show: nbd_sockets::permissions },
    Scenario { name: "silent-clients", show: nbd_sockets::silent },
    Scenario { name: "nbd-memory", show: nbd_crowd::memory },
    Scenario { name: "nbd-memory-of-both", show: nbd_crowd::memory_of_both },
    Scenario { name: "nbd-vanishing", show: nbd_crowd::vanishing },
    Scenario { name: "nbd-map", show: nbd_map::show },
    Scenario { name: "nbd-clients", show: nbd_clients::told },
    Scenario { name: "nbd-images", show: nbd_clients::images },
    Scenario { name: "nbd-restart", show: nbd_restart::show },
    Scenario { name: "nbd-taken-away", show: nbd_taken_away::show },
    Scenario { name: "two-volumes", show: two_volumes::show },
    Scenario { name: "service-start", show: service::start },
    Scenario { name: "service-waits", show: service::waits },
    Scenario { name: "service-split-brain", show: service::split_brain },
    Scenario { name: "op4-grow", show: grow::show },
    Scenario { name: "many-resources", show: many_resources::show },
    Scenario { name: "control-abuse", show: control_abuse::show },
    Scenario { name: "verify", show: verify::show },
    Scenario { name: "demo", show: demo::show },
    Scenario { name: "protocols", show: protocols::answers },
    Scenario { name: "protocol-a-failover", show: protocols::failover },
    Scenario { name: "pull-ahead", show: protocols::ahead },
];

/// Their names.
pub fn names() -> String {
    ALL.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}

/// Shows the behaviour of that name at the scale of a test.
///
/// # Panics
/// If it fails, or if there is none.
pub fn check(name: &str) {
    let scenario = ALL.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.unwrap_or_else(|| panic!("no {name} among {}", names()));
    let mut report = Report::printing(scenario.name);
    if let Err(error) = (scenario.show)(&Scale::small(), &mut report) {
        panic!("{name}: {error:#}");
    }
}
