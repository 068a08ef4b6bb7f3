//! The resolved configuration: what the file means, after defaults and inheritance.
//!
//! This is the form that travels from `repadm` to the daemon as JSON. It holds no spans and no
//! spellings: two files that mean the same resolve to equal values.

use crate::words::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use types::{NodeId, Protocol, Span, VolumeId};

/// Everything a configuration file and its includes say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// What concerns the whole node.
    pub global: Global,
    /// The resources, in the order in which they were read.
    pub resources: Vec<Resource>,
}

impl Config {
    /// The resource of that name.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }
}

/// `global { … }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Global {
    /// Do not check that a resource's local address is one of this host.
    pub disable_ip_verification: bool,
    /// Where the daemon serves NBD, unless its command line says otherwise.
    pub nbd: NbdSection,
}

/// One resource: two hosts that keep the same volumes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name, without `/`.
    pub name: String,
    /// Its two hosts, in file order. Both have the same volume numbers.
    pub hosts: [Host; 2],
    /// How the two talk.
    pub net: Net,
    /// `options { … }`.
    pub options: ResourceOptions,
    /// `startup { … }`.
    pub startup: Startup,
    /// Shell commands by the name of their event, for instance `split-brain`.
    pub handlers: BTreeMap<String, String>,
    /// Where its exports are served: its own, else `common`'s, else `global`'s.
    pub nbd: NbdSection,
    /// Hosts that have nothing to do with it, although it may name them.
    #[serde(default)]
    pub ignore_on: Vec<String>,
    /// Where it was defined, as `FILE:LINE`.
    pub defined_at: String,
}

impl Resource {
    /// The host that `node` is, and its peer; `None` if it is neither.
    ///
    /// Names are compared by [`same_host`]. The name of a floating host is its address and port.
    pub fn host(&self, node: &str) -> Option<(&Host, &Host)> {
        let [first, second] = &self.hosts;
        if self.is_ignored_on(node) {
            None
        } else if same_host(&first.name, node) {
            Some((first, second))
        } else if same_host(&second.name, node) {
            Some((second, first))
        } else {
            None
        }
    }

    /// Whether the configuration says that the resource is not for that host.
    pub fn is_ignored_on(&self, node: &str) -> bool {
        self.ignore_on.iter().any(|name| same_host(name, node))
    }
}

/// Who a node is, and so which host of each resource.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// Its name. An address, with or without a port, stands for the floating host of that address.
    pub name: &'a str,
    /// Whether it has an address.
    pub owns: &'a dyn Fn(IpAddr) -> bool,
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which host of a resource a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'r> {
    /// This one, with its peer.
    Is(&'r Host, &'r Host),
    /// None of the two.
    Neither,
    /// The node has the addresses of both, and must be told which of them it is.
    Both,
}

impl Node<'_> {
    /// Which host of the resource this node is.
    pub fn place<'r>(&self, resource: &'r Resource) -> Place<'r> {
        let [first, second] = &resource.hosts;
        if resource.is_ignored_on(self.name) {
            return Place::Neither;
        }
        match [first, second].map(|host| self.is(host)) {
            [true, true] => Place::Both,
            [true, false] => Place::Is(first, second),
            [false, true] => Place::Is(second, first),
            [false, false] => Place::Neither,
        }
    }

    fn is(&self, host: &Host) -> bool {
        match host.floating() {
            None => same_host(&host.name, self.name),
            Some(at) => named_by_address(self.name, at).unwrap_or_else(|| (self.owns)(at.ip())),
        }
    }
}

/// Whether a node that is called `node` can be the host of that name. One that is called by a name
/// can be any floating host.
pub fn may_be(node: &str, host: &str) -> bool {
    match host.parse() {
        Ok(address) => named_by_address(node, address).unwrap_or(true),
        Err(_) => same_host(node, host),
    }
}

/// Whether the name is that address, with or without the port; `None` if it is no address.
fn named_by_address(name: &str, address: SocketAddr) -> Option<bool> {
    if let Ok(name) = name.parse::<SocketAddr>() {
        return Some(name == address);
    }
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().ok().map(|name| name == address.ip())
}

/// Whether two host names mean one host, as DRBD compares them: without regard to case, and by the
/// first label alone if either has no dot. Addresses, the names of floating hosts, have no labels.
pub fn same_host(one: &str, other: &str) -> bool {
    let is_address = |name: &str| name.contains(':');
    if is_address(one) || is_address(other) || one.contains('.') && other.contains('.') {
        one.eq_ignore_ascii_case(other)
    } else {
        first_label(one).eq_ignore_ascii_case(first_label(other))
    }
}

pub(crate) fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// One of the two nodes of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The name after `on`; of a floating host its address and port.
    pub name: String,
    /// 0 or 1. The order of the `node-id`s of the file, else that of the addresses: the smaller
    /// (address, port) is node 0. So both nodes compute the same without asking each other.
    pub node_id: NodeId,
    /// Where it listens for its peer.
    pub address: SocketAddr,
    /// Its volumes, by number. Never empty.
    pub volumes: Vec<Volume>,
}

impl Host {
    /// The address that it is known by, if it has no name.
    pub fn floating(&self) -> Option<SocketAddr> {
        self.name.parse().ok()
    }
}

/// One volume on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its number within the resource.
    pub id: VolumeId,
    /// The path under which clients on this host expect it, for instance `/dev/drbd1`.
    pub device: Option<String>,
    /// The device's minor number, for names that have one.
    pub minor: Option<u32>,
    /// The block device or regular file that holds the copy; `None` if this host has no copy.
    pub disk: Option<PathBuf>,
    /// Where the metadata are.
    pub meta_disk: MetaDisk,
    /// `disk { … }`.
    pub disk_options: DiskOptions,
}

/// Where the metadata of a volume are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaDisk {
    /// At the end of the disk that they describe.
    Internal,
    /// On a device or file of their own, which they may fill.
    External(PathBuf),
}

/// A string that `Debug` does not show. It reads as a `str`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl Deref for Secret {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What one that was remembered by an older release has: the default of the option.
const fn default_congestion_extents() -> u32 {
    1237
}

/// `net { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Net {
    /// When a write is answered.
    pub protocol: Protocol,
    /// Whether both nodes may be Primary at once.
    pub allow_two_primaries: bool,
    /// Both nodes must know it to be let in (HMAC-SHA-256 challenge). None: no authentication.
    pub shared_secret: Option<Secret>,
    /// The peer must have answered a request within this.
    pub timeout: Span,
    /// Idle time after which the peer is asked for a sign of life.
    pub ping_int: Span,
    /// Time within which that sign must come.
    pub ping_timeout: Span,
    /// The longest pause between two attempts to connect.
    pub connect_int: Span,
    /// How often `timeout` may pass over one request before the peer is given up; 0 = never.
    pub ko_count: u32,
    /// Split brain, no Primary.
    pub after_sb_0pri: AfterSb0Pri,
    /// Split brain, one Primary.
    pub after_sb_1pri: AfterSb1Pri,
    /// Split brain, two Primaries.
    pub after_sb_2pri: AfterSb2Pri,
    /// Apply the policies above even where the generations tell more.
    pub always_asbp: bool,
    /// A resync would have a Primary as its target.
    pub rr_conflict: RrConflict,
    /// What a Primary does when it loses its peer.
    pub fencing: Fencing,
    /// Bound of the pages of 4 KiB in flight from the peer.
    pub max_buffers: u32,
    /// Socket send buffer in bytes; 0 = left to the system.
    pub sndbuf_size: u64,
    /// Socket receive buffer in bytes; 0 = left to the system.
    pub rcvbuf_size: u64,
    /// Send bitmaps run-length coded.
    pub use_rle: bool,
    /// The link cannot keep up with the writes.
    #[serde(default)]
    pub on_congestion: OnCongestion,
    /// Bytes in flight at which it counts as congested; 0 = not looked at.
    #[serde(default)]
    pub congestion_fill: u64,
    /// Extents with writes in flight at which it counts as congested.
    #[serde(default = "default_congestion_extents")]
    pub congestion_extents: u32,
    /// How verify compares the copies. None: it is refused.
    #[serde(default)]
    pub verify_alg: Option<Digest>,
    /// `csums-alg`; never [`Digest::Crc32c`].
    pub csums_alg: Option<Digest>,
    /// `csums-after-crash-only`.
    pub csums_after_crash_only: bool,
    /// So long after the last verify of a whole volume the next begins by itself; zero: never.
    #[serde(default)]
    pub verify_interval: Span,
}

words! {
    /// `after-sb-0pri`: what to do about a split brain when nobody is Primary.
    #[derive(Default)]
    pub enum AfterSb0Pri {
        /// Connect no more; the operator decides.
        #[default]
        Disconnect = "disconnect",
        /// The node that became Primary last loses.
        DiscardYoungerPrimary = "discard-younger-primary",
        /// The node that became Primary first loses.
        DiscardOlderPrimary = "discard-older-primary",
        /// The node that changed nothing loses, if there is one.
        DiscardZeroChanges = "discard-zero-changes",
        /// The node with fewer changed blocks loses.
        DiscardLeastChanges = "discard-least-changes",
        /// This node loses.
        DiscardLocal = "discard-local",
        /// The other node loses.
        DiscardRemote = "discard-remote",
    }
}

words! {
    /// `after-sb-1pri`: what to do about a split brain when one node is Primary.
    #[derive(Default)]
    pub enum AfterSb1Pri {
        /// Connect no more; the operator decides.
        #[default]
        Disconnect = "disconnect",
        /// As `after-sb-0pri` says if that makes the Secondary the loser, else disconnect.
        Consensus = "consensus",
        /// As `after-sb-0pri` says, even if the Primary loses.
        ViolentlyAs0p = "violently-as0p",
        /// The Secondary loses.
        DiscardSecondary = "discard-secondary",
        /// As `after-sb-0pri` says; a Primary that loses runs its handler first.
        CallPriLostAfterSb = "call-pri-lost-after-sb",
    }
}

words! {
    /// `after-sb-2pri`: what to do about a split brain when both nodes are Primary.
    #[derive(Default)]
    pub enum AfterSb2Pri {
        /// Connect no more; the operator decides.
        #[default]
        Disconnect = "disconnect",
        /// As `after-sb-0pri` says, even under a mounted file system.
        ViolentlyAs0p = "violently-as0p",
        /// As `after-sb-0pri` says; the Primary that loses runs its handler first.
        CallPriLostAfterSb = "call-pri-lost-after-sb",
    }
}

words! {
    /// `on-congestion`: what to do when the link cannot keep up with the writes.
    #[derive(Default)]
    pub enum OnCongestion {
        /// Writes wait.
        #[default]
        Block = "block",
        /// Writes are answered without the peer, and copied later.
        PullAhead = "pull-ahead",
        /// Leave the peer.
        Disconnect = "disconnect",
    }
}

words! {
    /// `rr-conflict`: what to do when a resync without split brain would have a Primary as target.
    #[derive(Default)]
    pub enum RrConflict {
        /// Connect no more.
        #[default]
        Disconnect = "disconnect",
        /// Resync all the same.
        Violently = "violently",
        /// Run the handler `pri-lost`.
        CallPriLost = "call-pri-lost",
        /// Disconnect, and try again.
        RetryConnect = "retry-connect",
        /// Discard the Primary's changes if it can be done safely.
        AutoDiscard = "auto-discard",
    }
}

words! {
    /// A digest of blocks: of `verify-alg` and `csums-alg`.
    #[derive(Default)]
    pub enum Digest {
        /// CRC-32C.
        Crc32c = "crc32c",
        /// XXH3 with 128 bits.
        Xxh3 = "xxh3",
        /// SHA-256.
        #[default]
        Sha256 = "sha256",
    }
}

impl Digest {
    /// Every digest.
    pub const ALL: [Self; 3] = [Self::Crc32c, Self::Xxh3, Self::Sha256];
    /// Names of DRBD's that stand for SHA-256 here.
    pub const OLD: [&'static str; 5] = ["sha1", "md5", "sha224", "sha384", "sha512"];
}

words! {
    /// `fencing`: what a Primary does when it loses its peer.
    #[derive(Default)]
    pub enum Fencing {
        /// Go on alone.
        #[default]
        DontCare = "dont-care",
        /// Run `fence-peer` and go on meanwhile.
        ResourceOnly = "resource-only",
        /// Freeze I/O until `fence-peer` has told.
        ResourceAndStonith = "resource-and-stonith",
    }
}

words! {
    /// `on-io-error`: what to do about an error of the disk.
    #[derive(Default)]
    pub enum OnIoError {
        /// Report it to the client.
        PassOn = "pass_on",
        /// Run the handler `local-io-error`.
        CallLocalIoError = "call-local-io-error",
        /// Let the disk go, and go on through the peer.
        #[default]
        Detach = "detach",
    }
}

words! {
    /// `on-no-data-accessible`: what happens to requests when no node reached has the data.
    #[derive(Default)]
    pub enum OnNoData {
        /// They fail.
        #[default]
        IoError = "io-error",
        /// They wait.
        SuspendIo = "suspend-io",
    }
}

words! {
    /// `read-balancing`: which of the two copies serves a read, if both can.
    #[derive(Default)]
    pub enum ReadBalancing {
        /// The one here.
        #[default]
        PreferLocal = "prefer-local",
        /// The peer's.
        PreferRemote = "prefer-remote",
        /// In turn.
        RoundRobin = "round-robin",
        /// The one that has fewer requests to do.
        LeastPending = "least-pending",
        /// The peer's, while the disk here has much to do.
        WhenCongestedRemote = "when-congested-remote",
        /// By stripes of 32 KiB.
        Striping32K = "32K-striping",
        /// By stripes of 64 KiB.
        Striping64K = "64K-striping",
        /// By stripes of 128 KiB.
        Striping128K = "128K-striping",
        /// By stripes of 256 KiB.
        Striping256K = "256K-striping",
        /// By stripes of 512 KiB.
        Striping512K = "512K-striping",
        /// By stripes of 1 MiB.
        Striping1M = "1M-striping",
    }
}

/// `disk { … }`, for one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskOptions {
    /// How many extents of 4 MiB may be hot at once.
    pub al_extents: u32,
    /// Keep the activity log. Without it everything is copied after a crash of a Primary.
    pub al_updates: bool,
    /// Use this many bytes of the disk; `None` = as many as the smaller disk has.
    pub size: Option<u64>,
    /// What to do about an error of the disk.
    pub on_io_error: OnIoError,
    /// A disk that does not answer for so long has failed; zero = never.
    #[serde(default)]
    pub disk_timeout: Span,
    /// Which copy serves reads.
    #[serde(default)]
    pub read_balancing: ReadBalancing,
    /// The volume of this host whose resync comes first: its resource, and its number there.
    #[serde(default)]
    pub resync_after: Option<(String, VolumeId)>,
    /// Speed at which a resync starts, in KiB/s; its fixed speed if `c_plan_ahead` is zero.
    pub resync_rate: u64,
    /// How far the resync controller plans ahead; zero = no controller.
    pub c_plan_ahead: Span,
    /// The delay on the path that the controller aims at, if `c_fill_target` is 0.
    pub c_delay_target: Span,
    /// How many bytes the controller aims to keep in flight.
    pub c_fill_target: u64,
    /// Resync never goes faster, in KiB/s; 0 = no bound.
    pub c_max_rate: u64,
    /// Resync may go this fast even under load, in KiB/s; 0 = load is not looked at.
    pub c_min_rate: u64,
}

/// `options { … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceOptions {
    /// Become Primary when a client opens the device. Unlike DRBD 9, off unless asked for.
    pub auto_promote: bool,
    /// What happens to requests when no node reached has the data.
    pub on_no_data_accessible: OnNoData,
    /// What the peer has written is made durable there after at most this time.
    pub durable_interval: Span,
    /// The same after at most so many bytes.
    pub durable_limit: u64,
}

/// `startup { … }`. A waiting time of `None` means for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startup {
    /// How long to wait for the peer.
    pub wfc_timeout: Option<Span>,
    /// The same, if the cluster was degraded before this node went down.
    pub degr_wfc_timeout: Option<Span>,
    /// The same, if the peer is known to be outdated.
    pub outdated_wfc_timeout: Option<Span>,
    /// Keep waiting after a split brain.
    pub wait_after_sb: bool,
    /// Which nodes `service start` makes Primary.
    pub become_primary_on: BecomePrimary,
}

/// `become-primary-on`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BecomePrimary {
    /// None.
    #[default]
    Nobody,
    /// Both.
    Both,
    /// The hosts of these names.
    Hosts(Vec<String>),
}

impl BecomePrimary {
    /// Whether the host of that name is meant.
    pub fn includes(&self, node: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Both => true,
            Self::Hosts(names) => names.iter().any(|name| same_host(name, node)),
        }
    }
}

words! {
    /// Whether NBD clients use TLS.
    #[derive(Default)]
    pub enum NbdTls {
        /// They must, on every socket.
        Require = "require",
        /// They may.
        Allow = "allow",
        /// They cannot.
        #[default]
        Off = "off",
    }
}

/// `nbd { … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NbdSection {
    /// TCP address to serve on.
    pub listen: Option<SocketAddr>,
    /// Path of the Unix socket to serve on.
    pub unix: Option<PathBuf>,
    /// Permission bits of that socket.
    pub unix_mode: u32,
    /// Its user, by name or number; without it, who runs the daemon.
    pub unix_owner: Option<String>,
    /// Its group, likewise.
    pub unix_group: Option<String>,
    /// Whether clients use TLS; with anything but off there are certificates.
    pub tls: NbdTls,
    /// Directory of the certificates.
    pub tls_certificates: Option<PathBuf>,
    /// Whether clients may only read.
    pub read_only: bool,
}

impl Default for NbdSection {
    fn default() -> Self {
        Self {
            listen: None,
            unix: None,
            unix_mode: 0o600,
            unix_owner: None,
            unix_group: None,
            tls: NbdTls::Off,
            tls_certificates: None,
            read_only: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_compare_as_drbd_does() {
        assert!(same_host("Alpha", "alpha.example.org"));
        assert!(same_host("alpha.example.org", "ALPHA.EXAMPLE.ORG"));
        assert!(!same_host("alpha.example.org", "alpha.example.com"));
        assert!(!same_host("alpha", "alpha2"));
    }

    #[test]
    fn addresses_are_names_without_labels() {
        assert!(!same_host("10", "10.0.0.1:7789"));
        assert!(!same_host("[::ffff:1.2.3.4]:7789", "[::ffff:1.2.3.5]:7789"));
        assert!(same_host("[FD00::1]:7789", "[fd00::1]:7789"));
    }

    #[test]
    fn a_node_with_a_name_can_be_any_floating_host() {
        for node in ["alpha", "10.0.0.1", "10.0.0.1:7789", "fe80"] {
            assert!(may_be(node, "10.0.0.1:7789"), "{node}");
        }
        assert!(may_be("[fd00::1]", "[fd00::1]:7789") && may_be("fd00::1", "[fd00::1]:7789"));
        for node in ["10.0.0.2", "10.0.0.1:7790", "fd00::1"] {
            assert!(!may_be(node, "10.0.0.1:7789"), "{node}");
        }
        assert!(may_be("alpha", "ALPHA.example.org") && !may_be("alpha", "beta"));
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert!(!format!("{:?}", Secret("hunter2".into())).contains("hunter2"));
    }
}
