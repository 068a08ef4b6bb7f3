//! What the unit tests of this crate share.

use crate::daemon::Daemon;
use crate::options::{Options, Paths};
use crate::state_dir::StateDir;
use clap::Parser;
use config::{
    BecomePrimary, DiskOptions, Host, MetaDisk, NbdSection, Net, Resource, ResourceOptions,
    Startup, Volume,
};
use rcgen::{CertificateParams, KeyPair};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use types::{NodeId, Protocol, Span, VolumeId};

/// A daemon on the node `alpha`, with its state in `dir`.
pub(crate) fn daemon(dir: &Path) -> Rc<Daemon> {
    daemon_of(dir, true)
}

/// As [`daemon`]; it serves NBD where its resources ask for it.
pub(crate) fn daemon_that_serves(dir: &Path) -> Rc<Daemon> {
    daemon_of(dir, false)
}

fn daemon_of(dir: &Path, nbd_is_fixed: bool) -> Rc<Daemon> {
    let paths = Paths {
        state_dir: dir.to_owned(),
        control: dir.join("control.sock"),
        nbd: Vec::new(),
        nbd_is_fixed,
    };
    let options = Options::parse_from(["repd", "--node", "alpha"]);
    Daemon::new(&options, paths, StateDir::open(dir).unwrap(), "boot".into())
}

/// A server's certificate and its key, new ones at each call.
pub(crate) fn certificates(directory: &Path) {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("server-cert.pem"), certificate.pem()).unwrap();
    std::fs::write(directory.join("server-key.pem"), key.serialize_pem()).unwrap();
}

/// As [`resource`]; its nodes listen where there is room.
pub(crate) fn resource_on_any_port(name: &str) -> Resource {
    let mut resource = resource(name);
    resource.hosts.iter_mut().for_each(|host| host.address.set_port(0));
    resource
}

/// A resource of one volume on the hosts `alpha` and `beta`.
pub(crate) fn resource(name: &str) -> Resource {
    Resource {
        name: name.to_owned(),
        hosts: [host("alpha", 0), host("beta", 1)],
        net: Net {
            protocol: Protocol::C,
            allow_two_primaries: true,
            shared_secret: None,
            timeout: Span::secs(6),
            ping_int: Span::secs(10),
            ping_timeout: Span::millis(500),
            connect_int: Span::secs(10),
            ko_count: 7,
            after_sb_0pri: Default::default(),
            after_sb_1pri: Default::default(),
            after_sb_2pri: Default::default(),
            always_asbp: false,
            rr_conflict: Default::default(),
            fencing: Default::default(),
            max_buffers: 2048,
            sndbuf_size: 0,
            rcvbuf_size: 0,
            use_rle: true,
            on_congestion: config::OnCongestion::Block,
            congestion_fill: 0,
            congestion_extents: 1237,
            csums_alg: None,
            csums_after_crash_only: false,
            verify_alg: None,
            verify_interval: Span::ZERO,
        },
        options: ResourceOptions {
            auto_promote: false,
            on_no_data_accessible: Default::default(),
            durable_interval: Span::secs(1),
            durable_limit: 64 << 20,
        },
        startup: Startup { become_primary_on: BecomePrimary::Both, ..Startup::default() },
        handlers: BTreeMap::new(),
        nbd: NbdSection::default(),
        ignore_on: Vec::new(),
        defined_at: "test:1".into(),
    }
}

fn host(name: &str, id: u8) -> Host {
    Host {
        name: name.to_owned(),
        node_id: NodeId(id),
        address: format!("127.0.0.1:{}", 7788 + u16::from(id)).parse().unwrap(),
        volumes: vec![Volume {
            id: VolumeId(0),
            device: Some("/dev/drbd1".into()),
            minor: Some(1),
            disk: Some(format!("/nonexistent/{name}").into()),
            meta_disk: MetaDisk::Internal,
            disk_options: DiskOptions {
                disk_timeout: Span::ZERO,
                read_balancing: config::ReadBalancing::default(),
                resync_after: None,
                al_extents: 1237,
                al_updates: true,
                size: None,
                on_io_error: Default::default(),
                resync_rate: 250,
                c_plan_ahead: Span::secs(2),
                c_delay_target: Span::secs(1),
                c_fill_target: 51200,
                c_max_rate: 102_400,
                c_min_rate: 250,
            },
        }],
    }
}
