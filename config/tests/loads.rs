//! Files that load, and what they mean.

mod support;

use config::{
    AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, BecomePrimary, Config, Fencing, MetaDisk, NbdSection,
    NbdTls, OnCongestion, OnIoError, OnNoData, dump,
};
use std::path::Path;
use support::{ACCEPTANCE, FULL, Memory, PAIR, load, warnings};
use types::{NodeId, Protocol, Span, VolumeId};

#[test]
fn the_acceptance_file_loads_unchanged() {
    let loaded = load(ACCEPTANCE);
    let [resource] = loaded.config.resources.as_slice() else { panic!("one resource") };
    assert_eq!(resource.name, "r0");
    assert_eq!(resource.defined_at, "drbd.conf:1");
    let (me, peer) = resource.host("LINUX-NAS02.example.org").unwrap();
    assert_eq!((me.name.as_str(), peer.name.as_str()), ("linux-nas02", "linux-nas01"));
    assert_eq!((me.node_id, peer.node_id), (NodeId(1), NodeId(0)));
    assert_eq!(me.address, "192.168.0.19:7789".parse().unwrap());
    let [volume] = me.volumes.as_slice() else { panic!("one volume") };
    assert_eq!(volume.id, VolumeId(0));
    assert_eq!(volume.device.as_deref(), Some("/dev/drbd1"));
    assert_eq!(volume.minor, Some(1));
    assert_eq!(volume.disk.as_deref(), Some(Path::new("/dev/vda3")));
    assert_eq!(volume.meta_disk, MetaDisk::Internal);
    assert!(resource.net.allow_two_primaries);
    assert_eq!(resource.net.after_sb_0pri, AfterSb0Pri::DiscardZeroChanges);
    assert_eq!(resource.net.after_sb_1pri, AfterSb1Pri::DiscardSecondary);
    assert_eq!(resource.net.after_sb_2pri, AfterSb2Pri::Disconnect);
    assert_eq!(resource.startup.become_primary_on, BecomePrimary::Both);
    assert!(resource.host("elsewhere").is_none());
}

#[test]
fn the_acceptance_file_gives_no_warning() {
    assert_eq!(warnings(ACCEPTANCE), "");
}

#[test]
fn fencing_says_what_happens_without_a_handler_also_in_its_old_place() {
    let text = |policy: &str, handlers: &str| {
        format!("resource r0 {{ {PAIR} disk {{ fencing {policy}; }} handlers {{ {handlers} }} }}")
    };
    let said: Vec<_> =
        ["resource-only", "resource-and-stonith"].map(|policy| warnings(&text(policy, ""))).into();
    insta::assert_snapshot!(said.join("\n"));
    let loaded = load(&text("resource-and-stonith", "outdate-peer \"/sbin/fence it\";"));
    let resource = &loaded.config.resources[0];
    assert_eq!(resource.net.fencing, Fencing::ResourceAndStonith);
    assert_eq!(resource.handlers["fence-peer"], "/sbin/fence it");
    assert!(loaded.warnings.is_empty());
}

#[test]
fn policies_for_a_split_brain_load_without_a_word_but_auto_discard() {
    let text = |net: &str| format!("resource r0 {{ {PAIR} net {{ {net} }} }}");
    let all = "after-sb-0pri discard-younger-primary; after-sb-1pri call-pri-lost-after-sb; \
               after-sb-2pri violently-as0p; always-asbp; rr-conflict retry-connect;";
    assert_eq!(warnings(&text(all)), "");
    insta::assert_snapshot!(warnings(&text("rr-conflict auto-discard;")));
}

/// The link of a resource that is not to wait for its peer; one limit of congestion that is too far
/// off to be meant.
#[test]
fn protocols_and_policies_for_a_congested_link_load() {
    let text = |net: &str| format!("resource r0 {{ {PAIR} net {{ {net} }} }}");
    let all = "protocol A; on-congestion pull-ahead; congestion-fill 2M; congestion-extents 500; \
               sndbuf-size 10M; rcvbuf-size 1M;";
    assert_eq!(warnings(&text(all)), "");
    let loaded = load(&text(all));
    let net = &loaded.config.resources[0].net;
    assert_eq!((net.protocol, net.on_congestion), (Protocol::A, OnCongestion::PullAhead));
    assert_eq!((net.congestion_fill, net.congestion_extents), (2 << 20, 500));
    assert_eq!((net.sndbuf_size, net.rcvbuf_size), (10 << 20, 1 << 20));
    assert_eq!(warnings(&text("protocol b; on-congestion disconnect; congestion-fill 2M;")), "");
    let dumped = dump(&load(&text(all)), "alpha");
    assert_eq!(&load(&dumped).config.resources[0].net, net, "{dumped}");
    let said = warnings(&text("protocol A; on-congestion pull-ahead;"));
    assert!(said.contains("without `congestion-fill`"), "{said}");
}

#[test]
fn whatever_has_no_effect_says_so_once() {
    insta::assert_snapshot!(warnings(FULL));
    let text = format!("resource r0 {{ {PAIR} startup {{ become-primary-on alpha beta; }} }}");
    insta::assert_snapshot!(warnings(&text));
}

#[test]
fn hosts_may_share_a_section_or_a_name_for_who_is_ignored() {
    let loaded = load(
        "resource r0 { ignore-on beta gamma;
           on alpha beta { device /dev/drbd0; disk /dev/vdb; options { auto-promote; } }
           connection { host alpha address 10.0.0.1:7789; host beta address 10.0.0.2:7789; } }",
    );
    let resource = &loaded.config.resources[0];
    let [alpha, beta] = &resource.hosts;
    assert_eq!(alpha.volumes, beta.volumes);
    assert!(resource.options.auto_promote);
    assert_eq!(resource.host("alpha"), Some((alpha, beta)));
    assert_eq!(resource.host("BETA.example.org"), None, "it is to ignore the resource");
    assert!(dump(&loaded, "alpha").contains("    on alpha beta {\n"));
    assert!(dump(&loaded, "beta").contains("# resource r0 on beta: ignored, not stacked\n"));
}

#[test]
fn an_index_of_metadata_says_that_it_does_not_share() {
    let text = format!(
        "resource r0 {{ {} }}",
        PAIR.replacen("disk /dev/vdb;", "disk /dev/vdb; meta-disk /dev/vdc[1];", 1).replacen(
            "disk /dev/vdb;\n",
            "disk /dev/vdb; meta-disk /dev/vdc [2];\n",
            1
        )
    );
    insta::assert_snapshot!(warnings(&text));
    let loaded = load(&text);
    for host in &loaded.config.resources[0].hosts {
        assert_eq!(host.volumes[0].meta_disk, MetaDisk::External("/dev/vdc".into()));
    }
    assert!(dump(&loaded, "alpha").contains("meta-disk        /dev/vdc [1];"));
}

#[test]
fn the_reference_tells_the_effect_of_each_option() {
    insta::assert_snapshot!(config::reference());
}

#[test]
fn defaults_are_those_of_the_table() {
    let loaded = load(&format!("resource r0 {{ {PAIR} }}"));
    let resource = &loaded.config.resources[0];
    let net = &resource.net;
    assert_eq!(net.protocol, Protocol::C);
    assert_eq!(net.timeout, Span::secs(6));
    assert_eq!(net.ping_timeout, Span::millis(500));
    assert_eq!((net.ping_int, net.connect_int), (Span::secs(10), Span::secs(10)));
    assert_eq!((net.ko_count, net.max_buffers, net.use_rle), (7, 2048, true));
    assert_eq!(net.fencing, Fencing::DontCare);
    assert_eq!(net.shared_secret, None);
    let disk = &resource.hosts[0].volumes[0].disk_options;
    assert_eq!((disk.al_extents, disk.size), (1237, None));
    assert_eq!(disk.on_io_error, OnIoError::Detach);
    assert_eq!((disk.resync_rate, disk.c_fill_target), (250, 0));
    assert!(!resource.options.auto_promote);
    assert_eq!(resource.startup.wfc_timeout, None);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn an_nbd_section_is_inherited_option_by_option() {
    let loaded = load(&format!(
        "global {{ nbd {{ tls-certificates /etc/repd/tls; unix /run/r.sock; }} }} \
         common {{ nbd {{ tls require; unix-mode 0660; }} }} \
         resource r0 {{ {PAIR} nbd {{ tls allow; unix-group disk; read-only; }} }}"
    ));
    let nbd = &loaded.config.resources[0].nbd;
    assert_eq!(nbd.tls_certificates.as_deref(), Some(Path::new("/etc/repd/tls")));
    assert_eq!((nbd.tls, nbd.unix_mode, nbd.read_only), (NbdTls::Allow, 0o660, true));
    assert_eq!((nbd.unix_owner.as_deref(), nbd.unix_group.as_deref()), (None, Some("disk")));
    let bare = load(&format!("resource r0 {{ {PAIR} nbd {{ tls off; tls-certificates /x; }} }}"));
    assert!(bare.warnings.is_empty());
    let nbd = &bare.config.resources[0].nbd;
    assert_eq!((nbd.tls, nbd.unix_mode, nbd.read_only), (NbdTls::Off, 0o600, false));
    // As an older daemon has kept it.
    let old: NbdSection = serde_json::from_str(r#"{"listen":null,"unix":null}"#).unwrap();
    assert_eq!(old, NbdSection::default());
}

#[test]
fn the_nearer_section_wins() {
    let loaded = load(&format!(
        "common {{ net {{ timeout 50; ping-int 3; }} disk {{ al-extents 200; size 1G; }} \
                  options {{ on-no-data-accessible suspend-io; }} startup {{ wfc-timeout 9; }} }} \
         resource r0 {{ {PAIR} net {{ timeout 70; }} disk {{ al-extents 300; }} }}"
    ));
    let resource = &loaded.config.resources[0];
    assert_eq!(resource.net.timeout, Span::secs(7));
    assert_eq!(resource.net.ping_int, Span::secs(3));
    assert_eq!(resource.options.on_no_data_accessible, OnNoData::SuspendIo);
    assert_eq!(resource.startup.wfc_timeout, Some(Span::secs(9)));
    let disk = &resource.hosts[1].volumes[0].disk_options;
    assert_eq!((disk.al_extents, disk.size), (300, Some(1 << 30)));
}

#[test]
fn legacy_spellings_mean_the_same() {
    let old = load(&format!(
        "resource r0 {{ {PAIR} protocol c; disk {{ fencing dont-care; no-disk-flushes; }} \
         syncer {{ rate 10M; al-extents 257; }} net {{ no-use-rle; allow-two-primaries; }} }}"
    ));
    let new = load(&format!(
        "resource r0 {{ {PAIR} disk {{ disk-flushes no; resync-rate 10240k; al-extents 257; }} \
         net {{ protocol C; fencing dont-care; use-rle no; allow-two-primaries yes; }} }}"
    ));
    assert_eq!(old.config, new.config);
    assert_eq!(old.config.resources[0].hosts[0].volumes[0].disk_options.resync_rate, 10240);
    assert!(!old.config.resources[0].net.use_rle);
}

#[test]
fn volumes_of_the_resource_are_those_of_both_hosts() {
    let loaded = load(
        "resource \"10.1.1.1\" {
           device /dev/drbd7 minor 3; meta-disk internal; disk /dev/vg/a;
           on \"net\" { address ipv6 [fd00::2]:7788; }
           on b { address ipv6 [fd00::1]:7788; }
         }",
    );
    let resource = &loaded.config.resources[0];
    for host in &resource.hosts {
        assert_eq!(host.volumes[0].device.as_deref(), Some("/dev/drbd7"));
        assert_eq!(host.volumes[0].minor, Some(3));
    }
    assert_eq!(resource.hosts[0].node_id, NodeId(1));
}

#[test]
fn two_volumes_and_a_connection_as_drbd_9_writes_them() {
    let loaded = load(
        "resource r0 {
           volume 1 { device minor 12; disk /dev/vg/b; disk { al-extents 99; } }
           volume 0 { device /dev/drbd11; meta-disk /dev/vg/m; }
           on a { node-id 1; volume 0 { disk /dev/vg/a; } }
           on b { node-id 0; volume 0 { disk none; } }
           connection x { host a address 10.0.0.1:7000; host b address ipv4 10.0.0.2:7001;
                          net { ko-count 3; } disk { c-max-rate 1M; } }
         }",
    );
    let [a, b] = &loaded.config.resources[0].hosts;
    assert_eq!((a.node_id, b.node_id), (NodeId(1), NodeId(0)));
    assert_eq!(b.address, "10.0.0.2:7001".parse().unwrap());
    let ids: Vec<_> = a.volumes.iter().map(|volume| volume.id).collect();
    assert_eq!(ids, [VolumeId(0), VolumeId(1)]);
    assert_eq!(a.volumes[0].meta_disk, MetaDisk::External("/dev/vg/m".into()));
    assert_eq!(a.volumes[1].device.as_deref(), Some("/dev/drbd12"));
    assert_eq!(a.volumes[1].disk_options.al_extents, 99);
    assert_eq!(b.volumes[0].disk, None);
    assert_eq!(a.volumes[0].disk_options.c_max_rate, 1024);
    assert_eq!(loaded.config.resources[0].net.ko_count, 3);
}

#[test]
fn nbd_is_inherited_and_handlers_are_kept() {
    let loaded = load(&format!(
        "global {{ usage-count no; disable-ip-verification; nbd {{ unix /run/a; }} }}
         common {{ nbd {{ listen 127.0.0.1:10809; }} }}
         resource r0 {{ {PAIR} handlers {{ split-brain \"echo \\\"x\\\" | mail root\"; }} }}"
    ));
    assert!(loaded.config.global.disable_ip_verification);
    assert_eq!(loaded.config.global.nbd.listen, None);
    let resource = &loaded.config.resources[0];
    assert_eq!(resource.nbd.unix.as_deref(), Some(Path::new("/run/a")));
    assert_eq!(resource.nbd.listen, Some("127.0.0.1:10809".parse().unwrap()));
    assert_eq!(resource.handlers["split-brain"], "echo \"x\" | mail root");
}

#[test]
fn hosts_of_different_clusters_may_have_the_same_private_addresses() {
    let other = PAIR.replace("alpha", "gamma").replace("beta", "delta");
    let loaded = load(&format!("resource r0 {{ {PAIR} }} resource r1 {{ {other} }}"));
    assert_eq!(loaded.config.resources.len(), 2);
}

#[test]
fn what_is_skipped_is_not_looked_at() {
    let loaded = load(&format!(
        "skip resource old {{ nonsense 1 2; on x {{ }} }} resource r0 {{ {PAIR} skip net {{ a b; }} }}"
    ));
    assert_eq!(loaded.config.resources.len(), 1);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn includes_are_relative_sorted_and_read_once() {
    let pair = |minor: u32| {
        PAIR.replace("drbd0", &format!("drbd{minor}"))
            .replace("/dev/vdb", &format!("/dev/vd{minor}"))
            .replace(":7789", &format!(":78{minor:02}"))
    };
    let loader = Memory::new(&[
        ("etc/repd.conf", "include \"repd.d/global.conf\"; include \"repd.d/*.res\";".into()),
        ("etc/repd.d/global.conf", "common { net { timeout 90; } }".into()),
        ("etc/repd.d/b.res", format!("resource b {{ {} }} include \"a.res\";", pair(2))),
        ("etc/repd.d/a.res", format!("resource a {{ {} }} include \"../repd.conf\";", pair(1))),
        ("etc/repd.d/c.res~", "nonsense".into()),
    ]);
    let loaded = config::load(Path::new("etc/repd.conf"), &loader).unwrap();
    let names: Vec<_> = loaded.config.resources.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(loaded.config.resources[1].defined_at, "etc/repd.d/b.res:1");
    assert_eq!(loaded.config.resources[0].net.timeout, Span::secs(9));
}

#[test]
fn files_of_the_file_system_load() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("repd.conf");
    std::fs::create_dir(directory.path().join("repd.d")).unwrap();
    std::fs::write(&path, "include \"repd.d/*.res\";").unwrap();
    std::fs::write(directory.path().join("repd.d/r0.res"), ACCEPTANCE).unwrap();
    let loaded = config::load(&path, &config::FsLoader).unwrap();
    assert_eq!(loaded.config.resources.len(), 1);
    let error = config::load(&directory.path().join("none"), &config::FsLoader).unwrap_err();
    assert!(matches!(error, config::LoadError::Open { .. }), "{error}");
    let error = config::load(directory.path(), &config::FsLoader).unwrap_err();
    assert!(matches!(error, config::LoadError::Open { .. }), "{error}");
}

#[test]
fn the_resolved_form_travels_as_json() {
    let config = load(ACCEPTANCE).config;
    let json = serde_json::to_string(&config).unwrap();
    assert!(json.contains("\"discard-zero-changes\""));
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
}

#[test]
fn dump_lays_out_as_drbdadm_does() {
    insta::assert_snapshot!(dump(&load(ACCEPTANCE), "linux-nas01"));
}

#[test]
fn dump_shows_what_legacy_spellings_mean() {
    let loaded = load(&format!(
        "global {{ usage-count no; }} common {{ protocol C; syncer {{ rate 10M; }} }}
         resource \"net\" {{ {PAIR} net {{ allow-two-primaries; shared-secret \"a b\"; }}
           handlers {{ outdate-peer \"/sbin/x \\\"y\\\"\"; }} startup {{ become-primary-on alpha; }}
           nbd {{ listen 127.0.0.1:1; }} disk {{ no-md-flushes; }} }}"
    ));
    insta::assert_snapshot!(dump(&loaded, "gamma"));
}

#[test]
fn a_resync_waits_for_a_resource_by_its_name_as_in_8_3() {
    let first = "resource r0 { on alpha { device /dev/drbd4; disk /dev/vdd; address 10.0.0.1:7790; }
                               on beta { device /dev/drbd4; disk /dev/vdd; address 10.0.0.2:7790; } }";
    for (written, dumped) in
        [("syncer { after \"r0\"; }", "r0;"), ("disk { resync-after 4; }", "4;")]
    {
        let text = format!("resource r1 {{ {PAIR} {written} }}\n{first}\n");
        let loaded = load(&text);
        let dump = dump(&loaded, "alpha");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(dump.lines().any(|line| words(line) == ["resync-after", dumped]), "{dump}");
        let disk = &loaded.config.resources[0].hosts[0].volumes[0].disk_options;
        assert_eq!(disk.resync_after, Some(("r0".to_owned(), VolumeId(0))), "{written}");
        config::fuzz_one(text.as_bytes());
    }
}
