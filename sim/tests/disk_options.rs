//! `disk-timeout` and `read-balancing`, told step by step.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use replicator::{ReadBalancing, VolumeOptions};
use sim::script::Script;
use types::{DiskState, Protocol, Span, VolumeId};

const A: usize = 0;
const B: usize = 1;

fn with(of: VolumeOptions) -> Script {
    let mut script = Script::of(true, true, |options| {
        options.volumes.insert(VolumeId(0), of);
    });
    script.start_both();
    script.promote(A).unwrap();
    script
}

/// A disk stops answering, at either node, while its Primary reads and writes: that goes on without
/// it, and once its last operation has come back it may be attached, and gets what it lacks.
#[test]
fn a_disk_that_does_not_answer_is_given_up_and_nothing_waits_for_it() {
    let limit = Span::secs(2);
    for stuck in [A, B] {
        let mut script = with(VolumeOptions { disk_timeout: limit, ..VolumeOptions::default() });
        script.write(A, 1, 11).unwrap();
        script.flush(A).unwrap();
        script.is_stuck(stuck);
        let began = script.now();
        let asked = script.ask_write(A, 2, 22);
        assert_eq!(script.read(A, 1), Ok(11));
        script.wait(asked).unwrap();
        script.flush(A).unwrap();
        assert_eq!(script.read(A, 2), Ok(22));
        let took = script.now().since(began);
        assert!((limit..Span::secs(5)).contains(&took), "{took}");
        assert_eq!(script.status(stuck).volumes[0].disk, DiskState::Diskless);
        script.write(A, 3, 33).unwrap();
        // What it was given before is still written, then.
        script.pass(Span::secs(90));
        script.attach(stuck).unwrap();
        script.in_sync();
        for node in [A, B] {
            for (block, tag) in [(1, 11), (2, 22), (3, 33)] {
                assert_eq!(script.on_disk(node, block), tag, "block {block} of node {node}");
            }
        }
        script.linearizable();
    }
}

/// Without the option it is waited for.
#[test]
fn a_disk_that_does_not_answer_is_waited_for_by_default() {
    let mut script = with(VolumeOptions::default());
    script.is_stuck(B);
    let asked = script.ask_write(A, 2, 22);
    script.pass(Span::secs(20));
    assert_eq!(script.status(B).volumes[0].disk, DiskState::UpToDate);
    assert!(!script.is_over(asked));
    script.wait(asked).unwrap();
}

/// How many of 16 reads of blocks of 32 KiB went to the peer, and how many would have with the peer
/// away.
fn at_the_peer(read_balancing: ReadBalancing) -> u64 {
    const READS: u64 = 16;
    let mut script = with(VolumeOptions { read_balancing, ..VolumeOptions::default() });
    for i in 0..READS {
        script.write(A, i * 8, 100 + i).unwrap();
    }
    let before = [A, B].map(|node| script.status(node).volumes[0].counters.read_bytes);
    for i in 0..READS {
        assert_eq!(script.read(A, i * 8), Ok(100 + i));
    }
    let here = script.status(A).volumes[0].counters.read_bytes - before[A];
    assert_eq!(here % 4096, 0);
    // The peer that is away is not asked.
    script.part();
    script.pass(Span::secs(30));
    assert_eq!(script.read(A, 8), Ok(101));
    READS - here / 4096
}

#[test]
fn reads_are_served_where_read_balancing_says() {
    assert_eq!(at_the_peer(ReadBalancing::PreferLocal), 0);
    assert_eq!(at_the_peer(ReadBalancing::PreferRemote), 16);
    assert_eq!(at_the_peer(ReadBalancing::RoundRobin), 8);
    assert_eq!(at_the_peer(ReadBalancing::Striping(32 << 10)), 8);
    assert_eq!(at_the_peer(ReadBalancing::LeastPending), 0);
    assert_eq!(at_the_peer(ReadBalancing::WhenCongestedRemote), 0);
}

/// What the peer's disk cannot read is read here.
#[test]
fn a_read_that_the_peer_cannot_do_is_done_here() {
    let read_balancing = ReadBalancing::PreferRemote;
    let mut script = with(VolumeOptions { read_balancing, ..VolumeOptions::default() });
    script.write(A, 5, 55).unwrap();
    script.reads_fail(B);
    assert_eq!(script.read(A, 5), Ok(55));
}

/// B is stopped while it reads for A what A is just writing: that is no reason for B to have gone on
/// alone. (Found as seed 500714.)
#[test]
fn a_node_that_leaves_makes_no_generation_for_what_its_peer_reads_there() {
    let read_balancing = ReadBalancing::PreferRemote;
    for events in 0..20 {
        let mut script = with(VolumeOptions { read_balancing, ..VolumeOptions::default() });
        for i in 0..200 {
            script.ask_write(A, 5, 500 + i);
            script.ask_read(A, 5..6);
        }
        (0..events).for_each(|_| script.one_event());
        script.stop(B);
        script.write(A, 5, 99).unwrap();
        script.start(B);
        script.in_sync();
        assert_eq!(script.on_disk(B, 5), 99, "after {events} events");
    }
}

/// With protocol A the peer may not have yet what was answered: all is read here.
#[test]
fn with_protocol_a_reads_are_served_here() {
    let read_balancing = ReadBalancing::PreferRemote;
    let mut script = Script::of(false, true, |options| {
        options.protocol = Protocol::A;
        let of = VolumeOptions { read_balancing, ..VolumeOptions::default() };
        options.volumes.insert(VolumeId(0), of);
    });
    script.start_both();
    script.promote(A).unwrap();
    for i in 0..40 {
        script.write(A, 5, 500 + i).unwrap();
        assert_eq!(script.read(A, 5), Ok(500 + i));
    }
    script.linearizable();
}
