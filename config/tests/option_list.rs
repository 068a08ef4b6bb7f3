//! Whether the option table has every option of DRBD 8.4 and 9, by a list that was written from
//! their documentation and not from the table.

use config::Section::{Disk, Global, Handlers, Nbd, Net, Options, Proxy, Startup, Syncer};
use config::{Effect, Kind, OPTIONS, Section, find, of_section};

/// What values an option must take.
#[derive(Clone, Copy)]
enum Takes {
    Flag,
    Words(&'static str),
    Range(u64, u64),
    Text,
    Other,
}
use Takes::{Flag, Other, Range, Text, Words};

type Row = (&'static str, Takes, &'static str);

const GLOBAL: &[Row] = &[
    ("disable-ip-verification", Flag, "no"),
    ("udev-always-use-vnr", Flag, "no"),
    ("minor-count", Range(1, 255), "32"),
    ("dialog-refresh", Range(0, 600), "1"),
    ("usage-count", Words("yes no ask"), "ask"),
    ("cmd-timeout-short", Range(0, 900), "5"),
    ("cmd-timeout-medium", Range(0, 900), "121"),
    ("cmd-timeout-long", Range(0, 900), "600"),
];

const DISK: &[Row] = &[
    ("on-io-error", Words("pass_on call-local-io-error detach"), "detach"),
    ("size", Range(0, 1 << 41), "0"),
    ("fencing", Words("dont-care resource-only resource-and-stonith"), "dont-care"),
    ("disk-barrier", Flag, "no"),
    ("disk-flushes", Flag, "yes"),
    ("disk-drain", Flag, "yes"),
    ("md-flushes", Flag, "yes"),
    ("resync-after", Other, "-1"),
    ("al-extents", Range(67, 65534), "1237"),
    ("al-updates", Flag, "yes"),
    ("discard-zeroes-if-aligned", Flag, "yes"),
    ("disable-write-same", Flag, "no"),
    ("disk-timeout", Range(0, 6000), "0"),
    (
        "read-balancing",
        Words(
            "prefer-local prefer-remote round-robin least-pending when-congested-remote \
             32K-striping 64K-striping 128K-striping 256K-striping 512K-striping 1M-striping",
        ),
        "prefer-local",
    ),
    ("rs-discard-granularity", Range(0, 1 << 20), "0"),
    ("bitmap", Flag, "yes"),
    ("max-bio-bvecs", Range(0, 128), "0"),
    ("use-bmbv", Flag, "no"),
    ("max-bio-size", Range(512, 1 << 20), "1M"),
    ("block-size", Range(512, 4096), "512"),
    ("discard-granularity", Range(0, 128 << 20), ""),
    ("diskless", Flag, "no"),
    // Of the resync with a peer.
    ("resync-rate", Range(1, 8_388_608), "250"),
    ("c-plan-ahead", Range(0, 300), "20"),
    ("c-delay-target", Range(1, 100), "10"),
    ("c-fill-target", Range(0, 1_048_576), "0"),
    ("c-max-rate", Range(0, 4_194_304), "0"),
    ("c-min-rate", Range(0, 4_194_304), "250"),
    ("resync-without-replication", Flag, "yes"),
    ("peer-tiebreaker", Flag, "yes"),
];

const NET: &[Row] = &[
    ("protocol", Words("A B C"), "C"),
    ("timeout", Range(1, 600), "60"),
    ("max-epoch-size", Range(1, 20000), "2048"),
    ("max-buffers", Range(32, 131_072), "2048"),
    ("unplug-watermark", Range(1, 131_072), "128"),
    ("connect-int", Range(1, 120), "10"),
    ("ping-int", Range(1, 120), "10"),
    ("ping-timeout", Range(1, 300), "5"),
    ("sndbuf-size", Range(0, 128 << 20), "0"),
    ("rcvbuf-size", Range(0, 128 << 20), "0"),
    ("ko-count", Range(0, 200), "7"),
    ("allow-two-primaries", Flag, "no"),
    ("cram-hmac-alg", Text, ""),
    ("shared-secret", Text, ""),
    ("data-integrity-alg", Text, ""),
    ("csums-alg", Text, ""),
    ("verify-alg", Text, ""),
    ("csums-after-crash-only", Flag, "no"),
    ("use-rle", Flag, "yes"),
    (
        "after-sb-0pri",
        Words(
            "disconnect discard-younger-primary discard-older-primary discard-zero-changes \
             discard-least-changes discard-local discard-remote",
        ),
        "disconnect",
    ),
    (
        "after-sb-1pri",
        Words("disconnect consensus violently-as0p discard-secondary call-pri-lost-after-sb"),
        "disconnect",
    ),
    ("after-sb-2pri", Words("disconnect violently-as0p call-pri-lost-after-sb"), "disconnect"),
    ("always-asbp", Flag, "no"),
    (
        "rr-conflict",
        Words("disconnect violently call-pri-lost retry-connect auto-discard"),
        "disconnect",
    ),
    ("tcp-cork", Flag, "yes"),
    ("on-congestion", Words("block pull-ahead disconnect"), "block"),
    ("congestion-fill", Range(0, 10 << 21), "0"),
    ("congestion-extents", Range(67, 65534), "1237"),
    ("socket-check-timeout", Range(0, 300), "0"),
    ("fencing", Words("dont-care resource-only resource-and-stonith"), "dont-care"),
    ("allow-remote-read", Flag, "yes"),
    ("tls", Flag, "no"),
    ("tls-keyring", Other, ""),
    ("tls-privkey", Other, ""),
    ("tls-certificate", Other, ""),
    ("transport", Text, "tcp"),
    ("load-balance-paths", Flag, "no"),
    ("rdma-ctrl-sndbuf-size", Other, "0"),
    ("rdma-ctrl-rcvbuf-size", Other, "0"),
    ("_name", Text, ""),
];

const RESOURCE_OPTIONS: &[Row] = &[
    ("cpu-mask", Text, ""),
    ("on-no-data-accessible", Words("io-error suspend-io"), "io-error"),
    // DRBD 9 has yes: here it is off unless asked for, see docs/manual.md.
    ("auto-promote", Flag, "no"),
    ("peer-ack-window", Range(2048, 204_800), "4096"),
    ("peer-ack-delay", Range(1, 10000), "100"),
    ("twopc-timeout", Range(50, 600), "300"),
    ("twopc-retry-timeout", Range(1, 50), "1"),
    ("auto-promote-timeout", Range(0, 600), "20"),
    ("max-io-depth", Range(4, 1 << 32), "8000"),
    ("quorum", Other, "off"),
    ("on-no-quorum", Words("io-error suspend-io"), "suspend-io"),
    ("quorum-minimum-redundancy", Other, "off"),
    ("on-suspended-primary-outdated", Words("disconnect force-secondary"), "disconnect"),
    ("drbd8-api-compatibility", Flag, "no"),
];

const STARTUP: &[Row] = &[
    ("wfc-timeout", Range(0, 300_000), "0"),
    ("degr-wfc-timeout", Range(0, 300_000), "0"),
    ("outdated-wfc-timeout", Range(0, 300_000), "0"),
    ("wait-after-sb", Flag, "no"),
    ("stacked-timeouts", Flag, "no"),
    ("become-primary-on", Other, ""),
];

const HANDLERS: &[Row] = &[
    ("pri-on-incon-degr", Text, ""),
    ("pri-lost-after-sb", Text, ""),
    ("pri-lost", Text, ""),
    ("initial-split-brain", Text, ""),
    ("split-brain", Text, ""),
    ("fence-peer", Text, ""),
    ("unfence-peer", Text, ""),
    ("local-io-error", Text, ""),
    ("before-resync-target", Text, ""),
    ("after-resync-target", Text, ""),
    ("before-resync-source", Text, ""),
    ("out-of-sync", Text, ""),
    ("quorum-lost", Text, ""),
    ("disconnected", Text, ""),
];

const PROXY: &[Row] = &[
    ("memlimit", Other, ""),
    ("read-loops", Other, ""),
    ("compression", Other, ""),
    ("bwlimit", Other, ""),
    ("sndbuf-size", Other, ""),
    ("rcvbuf-size", Other, ""),
    ("ping-timeout", Other, ""),
];

/// Options of 8.3's `syncer` that went nowhere else.
const SYNCER: &[Row] = &[
    ("throttle-threshold", Other, ""),
    ("hold-off-threshold", Other, ""),
    ("delay-probe-volume", Other, ""),
    ("delay-probe-interval", Other, ""),
];

const LISTS: &[(Section, &[Row])] = &[
    (Global, GLOBAL),
    (Disk, DISK),
    (Net, NET),
    (Options, RESOURCE_OPTIONS),
    (Startup, STARTUP),
    (Handlers, HANDLERS),
    (Proxy, PROXY),
    (Syncer, SYNCER),
];

/// What syncer took, under the names that it had there.
const IN_SYNCER: &[&str] = &[
    "rate",
    "after",
    "al-extents",
    "verify-alg",
    "csums-alg",
    "use-rle",
    "cpu-mask",
    "on-no-data-accessible",
    "c-plan-ahead",
    "c-delay-target",
    "c-fill-target",
    "c-max-rate",
    "c-min-rate",
];

/// repd's own, besides the section `nbd`.
const OURS: &[(Section, &str)] =
    &[(Options, "durable-interval"), (Options, "durable-limit"), (Net, "verify-interval")];

#[test]
fn every_option_of_drbd_is_in_the_table_with_its_values_and_default() {
    for (section, rows) in LISTS {
        for (name, takes, default) in *rows {
            let spec = find(*section, name)
                .unwrap_or_else(|| panic!("`{name}` is not in `{}`", section.name()));
            assert_eq!(spec.name, *name, "its own name, and no old one");
            assert_eq!(spec.default, *default, "default of `{name}`");
            match (takes, spec.kind) {
                (Flag, Kind::Flag) | (Text, Kind::Text(_)) | (Other, _) => {}
                (Words(words), Kind::Choice(choice)) => {
                    let words: Vec<_> = words.split_whitespace().collect();
                    assert_eq!(choice, words, "`{name}`");
                }
                (Range(least, most), Kind::Number { min, max, .. }) => {
                    assert_eq!((min, max), (*least, *most), "range of `{name}`");
                }
                (_, kind) => panic!("`{name}` takes {kind:?}"),
            }
        }
    }
    for name in IN_SYNCER {
        assert!(find(Syncer, name).is_some(), "`{name}` is not in `syncer`");
    }
}

#[test]
fn the_table_has_nothing_that_no_list_names() {
    for spec in OPTIONS.iter().filter(|spec| spec.home() != Nbd) {
        let home = spec.home();
        let listed = LISTS
            .iter()
            .filter(|(section, _)| *section == home)
            .any(|(_, rows)| rows.iter().any(|(name, ..)| *name == spec.name));
        assert!(listed || OURS.contains(&(home, spec.name)), "{} of {}", spec.name, home.name());
    }
}

/// Each option is of one of three kinds; how many of each there are is written down, so that none
/// goes from one kind to another unseen.
#[test]
fn each_option_works_or_says_why_not() {
    let mut counts = String::new();
    let mut sum = 0;
    for (section, rows) in LISTS {
        let (mut works, mut no_effect, mut refused) = (0, 0, 0);
        for (name, ..) in *rows {
            let spec = find(*section, name).expect("the test above finds it");
            match spec.effect {
                Effect::Works | Effect::Except(..) => works += 1,
                Effect::Digest | Effect::StrongDigest => works += 1,
                Effect::NoEffect(why) | Effect::ActsAs(_, why) => {
                    assert!(why.len() > 10, "{name}");
                    no_effect += 1;
                }
                Effect::Refused(why) | Effect::Only(_, why) => {
                    assert!(why.len() > 10, "{name}");
                    refused += 1;
                }
            }
        }
        let all = rows.len();
        sum += all;
        assert_eq!(all, works + no_effect + refused);
        counts += &format!(
            "{}: {all} options: {works} work, {no_effect} have no effect, {refused} are refused \
             or have refused values\n",
            section.name()
        );
    }
    let sections = of_section(Nbd).count();
    counts += &format!("{sum} options of DRBD, {sections} of `nbd`, {} more of ours\n", OURS.len());
    insta::assert_snapshot!(counts);
}
