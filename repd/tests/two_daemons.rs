//! Two daemons as processes, driven over their control sockets: what is remembered across a kill
//! and across an orderly end.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use control::{Answer, Command, Spare};
use metadata::{AL_BLOCKS_DEFAULT, Layout};
use support::{DISK_BYTES, Node, PATIENCE, resource};
use types::{ConnectionState, DiskState, Role};

#[test]
fn a_killed_primary_comes_back_and_an_orderly_end_without_clients_demotes() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = [Node::new("alpha", 0, dir.path()), Node::new("beta", 1, dir.path())];
    let resource = resource(dir.path());
    for node in &mut nodes {
        node.start();
        node.call(Command::Up {
            resource: resource.clone(),
            node: node.name.into(),
            spare: Spare::default(),
        });
    }
    let r0 = || "r0".to_owned();
    let refused = nodes[0].try_call(Command::Primary { resource: r0(), force: false });
    assert_eq!(refused.unwrap_err().exit, control::exit::NO_DATA);
    nodes[0].call(Command::WaitConnect { resource: r0(), patience: PATIENCE });
    nodes[0].call(Command::Primary { resource: r0(), force: true });
    nodes[1].wait_sync();
    nodes[1].call(Command::Primary { resource: r0(), force: false });

    nodes[0].kill();
    nodes[0].start();
    nodes[0].wait_sync();
    nodes[0].wait_primary();
    let status = nodes[0].status();
    assert_eq!(status.peer.role, Role::Primary);
    assert_eq!(status.peer.connection, ConnectionState::Connected);
    assert_eq!(status.volumes[0].disk, DiskState::UpToDate);

    nodes[0].end();
    nodes[0].start();
    nodes[0].wait_sync();
    let status = nodes[0].status();
    assert_eq!((status.role, status.intended_role), (Role::Secondary, Role::Secondary));

    for node in &mut nodes {
        node.call(Command::Down { resource: r0(), force: false });
        node.end();
    }
    nodes[1].start();
    let Answer::Status(all) = nodes[1].call(Command::Status { resource: None }) else {
        panic!("not a status")
    };
    assert_eq!(all, [], "what was taken down stays down");
    let data = |name| {
        let disk = std::fs::read(dir.path().join(name).join("disk")).unwrap();
        let layout = Layout::internal(DISK_BYTES, AL_BLOCKS_DEFAULT).unwrap();
        disk[..usize::try_from(layout.data_bytes()).unwrap()].to_vec()
    };
    assert!(data("alpha") == data("beta"), "the copies differ");
}
