//! The rows of the option table.

use super::{Kind, Kind::Choice};
use super::{OptionSpec, Scale, Section::*, option};
use crate::model::{
    AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Fencing, NbdTls, OnIoError, OnNoData, ReadBalancing,
    RrConflict,
};

const fn number(min: u64, max: u64, scale: Scale) -> Kind {
    Kind::Number { min, max, scale }
}

const KERNEL_ONLY: &str = "it tunes the kernel module of DRBD, which is not used here";
const ALWAYS_FLUSHES: &str =
    "repd always orders its writes by flushes, in user space there is no safe other way";
const NO_QUORUM: &str =
    "quorum needs three nodes; repd has two, and would stop where you expect it to go on";
const NO_PROXY: &str = "repd has no proxy: the traffic would not go where you want it";

/// Every option that is known.
pub const OPTIONS: &[OptionSpec] = &[
    // global
    option("disable-ip-verification", &[Global], Kind::Flag, "no")
        .doc("Do not check that the local address of a resource is one of this host."),
    option("udev-always-use-vnr", &[Global], Kind::Flag, "no")
        .no_effect(
            "the names of devices are made from the file alone, not by the udev rules of DRBD",
        )
        .doc("Name the volume in the links that udev makes even if there is one only."),
    option("minor-count", &[Global], number(1, 255, Scale::One), "32")
        .no_effect(
            "there is no kernel module that would be told; the number of devices is not \
                 limited",
        )
        .doc("How many devices the kernel module is prepared for."),
    option("dialog-refresh", &[Global], number(0, 600, Scale::One), "1")
        .unit("s")
        .no_effect("nothing here draws a waiting dialogue")
        .doc("How often the dialogue of the init script is redrawn."),
    option("usage-count", &[Global], Choice(&["yes", "no", "ask"]), "ask")
        .acts_as("no", "repd never reports its use to anybody")
        .doc("Whether the use of the software is counted by its makers."),
    option("cmd-timeout-short", &[Global], number(0, 900, Scale::One), "5")
        .unit("s")
        .no_effect(
            "commands go to the daemon, which answers or closes; no helper programs are timed",
        )
        .doc("How long drbdadm waits for a short command; 0 = for ever."),
    option("cmd-timeout-medium", &[Global], number(0, 900, Scale::One), "121")
        .unit("s")
        .no_effect(
            "commands go to the daemon, which answers or closes; no helper programs are timed",
        )
        .doc("How long drbdadm waits for a medium command; 0 = for ever."),
    option("cmd-timeout-long", &[Global], number(0, 900, Scale::One), "600")
        .unit("s")
        .no_effect(
            "commands go to the daemon, which answers or closes; no helper programs are timed",
        )
        .doc("How long drbdadm waits for a long command; 0 = for ever."),
    // net
    option("protocol", &[Net], Choice(&["A", "B", "C"]), "C")
        .doc(
            "When a write is answered, besides being on the disk here: A = queued for the peer, B = \
             received by it, C = written by it. A and B are for one Primary.",
        ),
    option("timeout", &[Net], number(1, 600, Scale::One), "60")
        .unit("0.1 s")
        .doc("Time within which the peer must answer a request."),
    option("ping-int", &[Net], number(1, 120, Scale::One), "10")
        .unit("s")
        .doc("Idle time after which the peer is asked for a sign of life."),
    option("ping-timeout", &[Net], number(1, 300, Scale::One), "5")
        .unit("0.1 s")
        .doc("Time within which that sign must come."),
    option("connect-int", &[Net], number(1, 120, Scale::One), "10")
        .unit("s")
        .doc("The longest pause between two attempts to connect."),
    option("ko-count", &[Net], number(0, 200, Scale::One), "7")
        .doc("How often timeout may pass over one request before the peer is given up; 0 = never."),
    option("max-buffers", &[Net], number(32, 131072, Scale::One), "2048")
        .unit("pages of 4 KiB")
        .doc("What a resync has in flight at most, from asking for it until it is written."),
    option("max-epoch-size", &[Net], number(1, 20000, Scale::One), "2048")
        .no_effect("writes are ordered one by one and not in epochs")
        .doc("The most writes between two barriers."),
    option("unplug-watermark", &[Net], number(1, 131072, Scale::One), "128")
        .no_effect(KERNEL_ONLY)
        .doc("Number of waiting requests at which the disk of the peer is told to start."),
    option("sndbuf-size", &[Net], number(0, 134217728, Scale::One), "0")
        .unit("bytes")
        .doc("Send buffer of the link; 0 = left to the system."),
    option("rcvbuf-size", &[Net], number(0, 134217728, Scale::One), "0")
        .unit("bytes")
        .doc("Receive buffer of the link; 0 = left to the system."),
    option("allow-two-primaries", &[Net], Kind::Flag, "no")
        .doc("Whether both nodes may be Primary at once; both must say so."),
    option("cram-hmac-alg", &[Net], Kind::Text(63), "")
        .only(
            &["sha256", "hmac(sha256)"],
            "the peers authenticate each other by HMAC-SHA-256 and nothing else",
        )
        .doc("Digest of the challenge by which peers prove that they know shared-secret."),
    option("shared-secret", &[Net], Kind::Text(63), "").doc(
        "A secret that both nodes must know; without it, whoever has the address of the peer \
             is let in.",
    ),
    option("data-integrity-alg", &[Net], Kind::Text(63), "")
        .refused("not yet: every frame has a CRC-32C of its own, and other digests come later")
        .doc("Digest that guards the data on the link."),
    option("csums-alg", &[Net, Syncer], Kind::Text(63), "")
        .strong_digest()
        .doc(
            "Digest by which a resync finds out which marked blocks are equal already, and copies \
             the others only. It reads more and sends less.",
        ),
    option("verify-alg", &[Net, Syncer], Kind::Text(63), "")
        .digest()
        .doc("Digest by which verify compares the copies."),
    option("verify-interval", &[Net], number(0, 8760, Scale::One), "0").unit("h").doc(
        "So long after the last verify of a whole volume the next one begins by itself, if \
             verify-alg is set; 0 = never. An option of repd.",
    ),
    option("csums-after-crash-only", &[Net], Kind::Flag, "no")
        .doc("Use csums-alg after the crash of a Primary only."),
    option("use-rle", &[Net, Syncer], Kind::Flag, "yes")
        .acts_as("yes", "bitmaps always travel run-length coded")
        .doc("Send bitmaps run-length coded."),
    option("after-sb-0pri", &[Net], Choice(AfterSb0Pri::WORDS), "disconnect")
        .doc("What to do about a split brain when nobody is Primary."),
    option("after-sb-1pri", &[Net], Choice(AfterSb1Pri::WORDS), "disconnect")
        .doc("What to do about a split brain when one node is Primary."),
    option("after-sb-2pri", &[Net], Choice(AfterSb2Pri::WORDS), "disconnect")
        .doc("What to do about a split brain when both nodes are Primary."),
    option("always-asbp", &[Net], Kind::Flag, "no").doc(
        "Apply the after-sb policies also where the marks do not reach back to the last \
             common generation; then everything is copied.",
    ),
    option("rr-conflict", &[Net], Choice(RrConflict::WORDS), "disconnect")
        .except(
            "auto-discard",
            "disconnect",
            "it rolls back the last writes of a crashed Primary that protocols A and B had not sent; \
             with C there are none, and with A and B an operator decides",
        )
        .doc("What to do when a resync would have a Primary with clients as its target."),
    option("fencing", &[Net, Disk], Choice(Fencing::WORDS), "dont-care").doc(
        "What a Primary does when it loses its peer: go on; go on and run fence-peer; or stand \
         still until fence-peer has said that the peer cannot go on.",
    ),
    option("tcp-cork", &[Net], Kind::Flag, "yes")
        .no_effect("sends are batched by the daemon itself")
        .doc("Let the kernel gather small packets."),
    option("on-congestion", &[Net], Choice(&["block", "pull-ahead", "disconnect"]), "block")
        .doc(
            "What to do when the link cannot keep up: let writes wait; go on without the peer and \
             copy later (protocol A only); or leave the peer.",
        ),
    option("congestion-fill", &[Net], number(0, 20971520, Scale::Sector), "0")
        .unit("sectors")
        .doc("Data in flight at which the link counts as congested; 0 = not looked at."),
    option("congestion-extents", &[Net], number(67, 65534, Scale::One), "1237")
        .doc("Extents with writes in flight at which the link counts as congested."),
    option("socket-check-timeout", &[Net], number(0, 300, Scale::One), "0")
        .unit("0.1 s")
        .no_effect(
            "there is one socket between the peers, and the handshake on it has a time limit",
        )
        .doc("How long a new connection is checked."),
    option("allow-remote-read", &[Net], Kind::Flag, "yes")
        .only(&["yes"], "not yet: reads for want of good data here always go to the peer")
        .doc("Whether reads may be served by the peer."),
    option("tls", &[Net], Kind::Flag, "no")
        .only(
            &["no"],
            "not yet: TLS between the peers comes later, and the link would be left open",
        )
        .doc("Encrypt the link by TLS."),
    option("tls-keyring", &[Net], Kind::Text(255), "")
        .refused("not yet: TLS between the peers comes later")
        .doc("Key ring that holds the keys of TLS."),
    option("tls-privkey", &[Net], Kind::Text(255), "")
        .refused("not yet: TLS between the peers comes later")
        .doc("Key in that ring."),
    option("tls-certificate", &[Net], Kind::Text(255), "")
        .refused("not yet: TLS between the peers comes later")
        .doc("Certificate in that ring."),
    option("transport", &[Net], Kind::Text(63), "tcp")
        .only(&["tcp"], "the peers talk over TCP; there are no other transports")
        .doc("What the peers talk over."),
    option("load-balance-paths", &[Net], Kind::Flag, "no")
        .only(&["no"], "there is one path between the peers")
        .doc("Spread the traffic over all paths."),
    option("rdma-ctrl-sndbuf-size", &[Net], number(0, 134217728, Scale::One), "0")
        .unit("bytes")
        .no_effect("there is no RDMA transport")
        .doc("Send buffer for control messages over RDMA."),
    option("rdma-ctrl-rcvbuf-size", &[Net], number(0, 134217728, Scale::One), "0")
        .unit("bytes")
        .no_effect("there is no RDMA transport")
        .doc("Receive buffer for control messages over RDMA."),
    option("_name", &[Net], Kind::Text(255), "")
        .no_effect("the peer is called by the name of its host")
        .doc("Name of the connection, as drbdsetup shows it."),
    // disk
    option("on-io-error", &[Disk], Choice(OnIoError::WORDS), "detach").doc(
        "What to do about an error of the disk: let it go and serve from the peer; the same, \
             and run the handler local-io-error; or keep it, with the place marked.",
    ),
    option("size", &[Disk], number(0, 2199023255552, Scale::Sector), "0")
        .unit("sectors")
        .doc(
            "Use so much of the disk at most; 0 = as much as the smaller of the two disks has. A \
             volume that has more keeps it; one that has less takes it by `repadm resize`.",
        ),
    option("disk-barrier", &[Disk], Kind::Flag, "no")
        .acts_as("no", ALWAYS_FLUSHES)
        .doc("Order writes by barriers."),
    option("disk-flushes", &[Disk], Kind::Flag, "yes")
        .acts_as("yes", ALWAYS_FLUSHES)
        .doc("Order writes by flushes."),
    option("disk-drain", &[Disk], Kind::Flag, "yes")
        .acts_as("yes", ALWAYS_FLUSHES)
        .doc("Order writes by waiting."),
    option("md-flushes", &[Disk], Kind::Flag, "yes")
        .acts_as("yes", ALWAYS_FLUSHES)
        .doc("Flush after writes of metadata."),
    option("resync-after", &[Disk, Syncer], Kind::ResyncAfter, "-1").doc(
        "The resync waits as long as that of another volume of this host runs, or waits itself; \
             -1 = for none.",
    ),
    option("al-extents", &[Disk, Syncer], number(67, 65534, Scale::One), "1237")
        .unit("extents of 4 MiB")
        .doc(
            "How many extents may be hot at once: more = fewer writes of metadata, longer resync \
             after a crash.",
        ),
    option("al-updates", &[Disk], Kind::Flag, "yes")
        .doc("Keep the activity log; without it a crash of a Primary means a full sync."),
    option("discard-zeroes-if-aligned", &[Disk], Kind::Flag, "yes")
        .no_effect("trim and write-zeroes are passed on as they are asked for")
        .doc("Take aligned discards for zeroing."),
    option("disable-write-same", &[Disk], Kind::Flag, "no")
        .no_effect("NBD knows no write-same")
        .doc("Do not offer write-same."),
    option("disk-timeout", &[Disk], number(0, 6000, Scale::One), "0")
        .unit("0.1 s")
        .doc(
            "Time after which a disk that does not answer counts as failed; what it was given may \
             still be written later; 0 = never.",
        ),
    option("read-balancing", &[Disk], Choice(ReadBalancing::WORDS), "prefer-local")
        .doc("Which of the two disks serves reads."),
    option("rs-discard-granularity", &[Disk], number(0, 1048576, Scale::One), "0")
        .unit("bytes")
        .no_effect("what reads as zeros always travels as a word, and is given back by the target")
        .doc("Let a resync trim what reads as zero, in pieces of this size; 0 = off."),
    option("bitmap", &[Disk], Kind::Flag, "yes")
        .peer_device()
        .only(
            &["yes"],
            "a peer without a bitmap would be one without a disk for ever, which is not built",
        )
        .doc("Keep a bitmap for the peer."),
    option("max-bio-bvecs", &[Disk], number(0, 128, Scale::One), "0")
        .no_effect(KERNEL_ONLY)
        .doc("Bound of the segments of one request to the disk."),
    option("use-bmbv", &[Disk], Kind::Flag, "no")
        .no_effect(KERNEL_ONLY)
        .doc("Use the merge function of the disk."),
    option("max-bio-size", &[Disk], number(512, 1048576, Scale::One), "1M")
        .unit("bytes")
        .no_effect(KERNEL_ONLY)
        .doc("Largest request to the disk."),
    option("block-size", &[Disk], number(512, 4096, Scale::One), "512")
        .unit("bytes")
        .no_effect("not yet: the NBD export tells its clients the sizes that suit the disk")
        .doc("Block size that the device shows."),
    option("discard-granularity", &[Disk], number(0, 134217728, Scale::One), "")
        .unit("bytes")
        .no_effect("not yet: the NBD export tells its clients the sizes that suit the disk")
        .doc("Discard granularity that the device shows."),
    option("diskless", &[Disk], Kind::Flag, "no")
        .only(&["no"], "a host without a copy is written as disk none")
        .doc("The host has no disk on purpose."),
    // resync, in disk
    option("resync-rate", &[Disk, Syncer], number(1, 8388608, Scale::Kibi), "250")
        .unit("KiB/s")
        .peer_device()
        .doc("Speed of a resync without the controller; with it there is no slow start."),
    option("c-plan-ahead", &[Disk, Syncer], number(0, 300, Scale::One), "20")
        .unit("0.1 s")
        .peer_device()
        .doc(
            "The resync controller changes the pace after a fifth of it at the earliest; 0 = no \
             controller.",
        ),
    option("c-delay-target", &[Disk, Syncer], number(1, 100, Scale::One), "10")
        .unit("0.1 s")
        .peer_device()
        .doc("No more is in flight than arrives within this time, if c-fill-target is 0."),
    option("c-fill-target", &[Disk, Syncer], number(0, 1048576, Scale::Sector), "0")
        .unit("sectors")
        .peer_device()
        .doc(
            "Data that the controller keeps in flight at most; 0 = as c-delay-target says, \
             where DRBD's default of 50 KiB makes a resync start slowly.",
        ),
    option("c-max-rate", &[Disk, Syncer], number(0, 4194304, Scale::Kibi), "0")
        .unit("KiB/s")
        .peer_device()
        .doc(
            "Speed that a resync never exceeds; 0 = no bound, where DRBD has 100 MiB/s: clients are \
             protected all the same.",
        ),
    option("c-min-rate", &[Disk, Syncer], number(0, 4194304, Scale::Kibi), "250")
        .unit("KiB/s")
        .peer_device()
        .doc(
            "While clients work a resync gives way until it costs them little, but makes no longer \
             pauses than this speed leaves room for; 0 = load is not looked at.",
        ),
    option("resync-without-replication", &[Disk], Kind::Flag, "yes")
        .peer_device()
        .no_effect("a resync always goes on together with replication")
        .doc("Allow a resync between nodes that do not replicate."),
    option("peer-tiebreaker", &[Disk], Kind::Flag, "yes")
        .peer_device()
        .no_effect("there is no quorum to break a tie of")
        .doc("Whether the peer counts as tie breaker of the quorum."),
    // options
    option("cpu-mask", &[Options, Syncer], Kind::Text(255), "")
        .no_effect("not yet: the threads of a resource run where the system puts them")
        .doc("CPUs that the threads of the resource may use."),
    option("on-no-data-accessible", &[Options, Syncer], Choice(OnNoData::WORDS), "io-error")
        .doc("What happens to requests when no node in reach has the data."),
    option("auto-promote", &[Options], Kind::Flag, "no")
        .doc("Become Primary when a client opens the device; unlike DRBD 9, off unless asked for."),
    option("peer-ack-window", &[Options], number(2048, 204800, Scale::Sector), "4096")
        .unit("sectors")
        .no_effect("there are two nodes, nobody else is told what both have")
        .doc("Data after which third nodes are told what all have."),
    option("peer-ack-delay", &[Options], number(1, 10000, Scale::One), "100")
        .unit("ms")
        .no_effect("there are two nodes, nobody else is told what both have")
        .doc("Idle time after which third nodes are told what all have."),
    option("twopc-timeout", &[Options], number(50, 600, Scale::One), "300")
        .unit("0.1 s")
        .no_effect("two nodes agree on a change of state without a two-phase commit")
        .doc("Time within which a change of state across the cluster must be done."),
    option("twopc-retry-timeout", &[Options], number(1, 50, Scale::One), "1")
        .unit("0.1 s")
        .no_effect("two nodes agree on a change of state without a two-phase commit")
        .doc("Pause before such a change is tried again."),
    option("auto-promote-timeout", &[Options], number(0, 600, Scale::One), "20")
        .unit("0.1 s")
        .no_effect("not yet: an open is answered at once")
        .doc("How long an open waits until it is possible to become Primary."),
    option("max-io-depth", &[Options], number(4, 4294967296, Scale::One), "8000")
        .no_effect("the bounds of the NBD server hold instead")
        .doc("Bound of the requests in flight."),
    option("quorum", &[Options], Kind::ChoiceOrNumber(&["off", "majority", "all"], 32), "off")
        .only(&["off"], NO_QUORUM)
        .doc("How many nodes must be in reach for writes to be served."),
    option("on-no-quorum", &[Options], Choice(&["io-error", "suspend-io"]), "suspend-io")
        .no_effect("there is no quorum to be lost")
        .doc("What happens to requests without quorum."),
    option(
        "quorum-minimum-redundancy",
        &[Options],
        Kind::ChoiceOrNumber(&["off", "majority", "all"], 32),
        "off",
    )
    .only(&["off"], NO_QUORUM)
    .doc("How many nodes with good data must be in reach for writes to be served."),
    option(
        "on-suspended-primary-outdated",
        &[Options],
        Choice(&["disconnect", "force-secondary"]),
        "disconnect",
    )
    .acts_as("disconnect", "there is no quorum, so nothing is suspended for want of it")
    .doc("What a suspended Primary does that finds itself outdated."),
    option("drbd8-api-compatibility", &[Options], Kind::Flag, "no")
        .no_effect("there is no kernel interface; repadm proc prints what old scripts look for")
        .doc("Offer the interface of DRBD 8."),
    // options: additions of repd
    option("durable-interval", &[Options], number(1, 600, Scale::One), "10").unit("0.1 s").doc(
        "repd's own: a node makes the peer's writes durable by itself after at most this time, \
             also if no client flushes.",
    ),
    option("durable-limit", &[Options], number(1 << 20, 1 << 30, Scale::One), "64M")
        .unit("bytes")
        .doc(
            "repd's own: so much of what was written is at most under way to the peer or not known \
             durable there; the peer flushes by itself after half of it.",
        ),
    // startup
    option("wfc-timeout", &[Startup], number(0, 300000, Scale::One), "0")
        .unit("s")
        .doc("How long `service start` and `wait-connect` wait for the peer; 0 = for ever."),
    option("degr-wfc-timeout", &[Startup], number(0, 300000, Scale::One), "0").unit("s").doc(
        "The same, if this node had gone on alone when it went down; no longer than wfc-timeout.",
    ),
    option("outdated-wfc-timeout", &[Startup], number(0, 300000, Scale::One), "0")
        .unit("s")
        .doc("The same, if the peer is known to be Outdated; no longer than degr-wfc-timeout."),
    option("wait-after-sb", &[Startup], Kind::Flag, "no")
        .doc("Keep waiting for the peer after a split brain, until it is settled."),
    option("stacked-timeouts", &[Startup], Kind::Flag, "no")
        .no_effect("there are no stacked resources")
        .doc("Use these times for stacked resources."),
    option("become-primary-on", &[Startup], Kind::Hosts, "")
        .doc("Hosts, or both, that `service start` makes Primary; up alone does not."),
    // handlers
    option("pri-on-incon-degr", &[Handlers], Kind::Text(255), "")
        .doc("This Primary has an Inconsistent disk and no peer with the data."),
    option("pri-lost-after-sb", &[Handlers], Kind::Text(255), "")
        .doc("This Primary is to give way after a split brain, and its clients keep it from that."),
    option("pri-lost", &[Handlers], Kind::Text(255), "")
        .doc("This Primary would become the target of a resync, and rr-conflict is call-pri-lost."),
    option("initial-split-brain", &[Handlers], Kind::Text(255), "")
        .doc("A split brain was seen, before any policy."),
    option("split-brain", &[Handlers], Kind::Text(255), "")
        .doc("A split brain was seen that no policy resolves."),
    option("fence-peer", &[Handlers], Kind::Text(255), "")
        .doc("See that the lost peer cannot go on; the exit code tells what became of it."),
    option("unfence-peer", &[Handlers], Kind::Text(255), "")
        .doc("The peer has what is here again."),
    option("local-io-error", &[Handlers], Kind::Text(255), "")
        .doc("The disk gave an error, and on-io-error is call-local-io-error."),
    option("before-resync-target", &[Handlers], Kind::Text(255), "")
        .doc("A resync to this node is about to begin; an exit code other than 0 forbids it."),
    option("after-resync-target", &[Handlers], Kind::Text(255), "")
        .doc("A resync to this node has ended."),
    option("before-resync-source", &[Handlers], Kind::Text(255), "")
        .doc("A resync from this node begins."),
    option("out-of-sync", &[Handlers], Kind::Text(255), "")
        .doc("Verify has found blocks that differ."),
    option("quorum-lost", &[Handlers], Kind::Text(255), "")
        .no_effect("there is no quorum to be lost")
        .doc("The quorum is lost."),
    option("disconnected", &[Handlers], Kind::Text(255), "").doc("The peer is disconnected."),
    // proxy
    option("memlimit", &[Proxy], number(0, 4611686018427387904, Scale::One), "")
        .unit("bytes")
        .refused(NO_PROXY)
        .doc("Buffer of the proxy."),
    option("read-loops", &[Proxy], number(0, 2147483648, Scale::One), "")
        .refused(NO_PROXY)
        .doc("Read calls for one packet."),
    option("compression", &[Proxy], Choice(&["on", "off"]), "")
        .refused(NO_PROXY)
        .doc("Compress the traffic."),
    option("bwlimit", &[Proxy], number(0, 4611686018427387904, Scale::One), "")
        .unit("bytes/s")
        .refused(NO_PROXY)
        .doc("Bound of the traffic."),
    option("sndbuf-size", &[Proxy], number(0, 134217728, Scale::One), "")
        .unit("bytes")
        .refused(NO_PROXY)
        .doc("Send buffer of the proxy."),
    option("rcvbuf-size", &[Proxy], number(0, 134217728, Scale::One), "")
        .unit("bytes")
        .refused(NO_PROXY)
        .doc("Receive buffer of the proxy."),
    option("ping-timeout", &[Proxy], number(1, 300, Scale::One), "")
        .unit("0.1 s")
        .refused(NO_PROXY)
        .doc("Sign of life of the proxy."),
    // 8.3 only
    option("throttle-threshold", &[Syncer], number(0, 4294967296, Scale::One), "")
        .no_effect("DRBD itself dropped it after 8.3")
        .doc("Delay at which a resync slows down."),
    option("hold-off-threshold", &[Syncer], number(0, 4294967296, Scale::One), "")
        .no_effect("DRBD itself dropped it after 8.3")
        .doc("Delay at which a resync stops."),
    option("delay-probe-volume", &[Syncer], number(0, 4294967296, Scale::One), "")
        .no_effect("DRBD itself dropped it after 8.3")
        .doc("Data between two probes of the delay."),
    option("delay-probe-interval", &[Syncer], number(0, 4294967296, Scale::One), "")
        .no_effect("DRBD itself dropped it after 8.3")
        .doc("Time between two probes of the delay."),
    // nbd: an addition of repd
    option("listen", &[Nbd], Kind::Address, "").doc("Serve NBD on this TCP address too."),
    option("unix", &[Nbd], Kind::Path, "").doc("Serve NBD on this Unix socket."),
    option("unix-mode", &[Nbd], Kind::Mode, "0600")
        .doc("Who may connect to that Unix socket, as bits of chmod; it takes the right to write."),
    option("unix-owner", &[Nbd], Kind::Text(63), "")
        .doc("The user, by name or number, that this Unix socket belongs to."),
    option("unix-group", &[Nbd], Kind::Text(63), "")
        .doc("The group, by name or number, that this Unix socket belongs to."),
    option("tls-certificates", &[Nbd], Kind::Path, "").doc(
        "Directory of server-cert.pem and server-key.pem; with ca-cert.pem in it clients need a \
         certificate of that authority, which ca-crl.pem, if there, must not revoke.",
    ),
    option("tls", &[Nbd], Choice(NbdTls::WORDS), "off").doc(
        "Whether clients must, may or cannot use TLS; require holds on every socket, Unix too.",
    ),
    option("read-only", &[Nbd], Kind::Flag, "no")
        .doc("Whether the clients of this node may only read."),
];
