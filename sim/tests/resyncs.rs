//! Resyncs told step by step: RS1 to RS4, RS10 to RS15. RS5 and what else an operator orders about a
//! resync is in `resync_orders.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use metadata::Rule;
use replicator::{Event, OnIoError};
use sim::script::{MOMENTS, Script, late_mark};
use types::{BLOCK_BYTES, DiskState, Span};

const A: usize = 0;
const B: usize = 1;

/// A is Primary and alone, and has written these blocks, each with 1000 and its number; nothing
/// of it has reached B, which runs.
fn behind(blocks: impl Iterator<Item = u64>) -> Script {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.part();
    for block in blocks {
        script.write(A, block, 1000 + block).unwrap();
    }
    script
}

fn values(script: &mut Script, node: usize, blocks: impl Iterator<Item = u64>) -> Vec<u64> {
    blocks.map(|block| script.read(node, block).unwrap()).collect()
}

/// B becomes Primary, and reads.
fn seen_by_b(script: &mut Script, blocks: impl Iterator<Item = u64>) -> Vec<u64> {
    script.demote(A);
    script.promote(B).unwrap();
    values(script, B, blocks)
}

/// Wherever the link breaks while writes are under way, each answered write is on both disks or
/// marked; the oracle of coverage looks after every event.
#[test]
fn rs1_a_write_is_never_lost_and_unmarked_wherever_the_link_breaks() {
    for events in 0..60 {
        let mut script = Script::new(false);
        script.start_both();
        script.promote(A).unwrap();
        for block in 0..8 {
            script.ask_write(A, block, 500 + block);
        }
        (0..events).for_each(|_| script.one_event());
        script.part();
        script.pass(Span::secs(10));
        assert_eq!(values(&mut script, A, 0..8), (500..508).collect::<Vec<_>>());
        script.heal();
        script.in_sync();
        assert_eq!(seen_by_b(&mut script, 0..8), (500..508).collect::<Vec<_>>());
        script.linearizable();
    }
}

/// The shortest resync, and a write to its only block at every moment of it.
#[test]
fn rs2_a_write_meets_a_brief_resync_at_every_moment() {
    for events in 0..80 {
        let mut script = behind(std::iter::once(7));
        script.heal();
        (0..events).for_each(|_| script.one_event());
        let asked = [script.ask_write(A, 7, 2000), script.ask_write(A, 8, 2001)];
        // And a loss of the peer just then, which marks it late.
        if events % 2 == 0 {
            script.reset();
        }
        for asking in asked {
            script.wait(asking).unwrap();
        }
        script.in_sync();
        assert_eq!(values(&mut script, A, 7..9), [2000, 2001]);
        assert_eq!(seen_by_b(&mut script, 7..9), [2000, 2001]);
        script.linearizable();
    }
}

/// A resync that is cut off after any number of events, the last acknowledgement included, goes on
/// and ends with equal copies.
#[test]
fn rs3_a_resync_is_cut_off_at_every_moment_up_to_the_final_ack() {
    const BLOCKS: u64 = 64;
    let (mut interrupted, mut events) = (0, 0);
    loop {
        let mut script = behind(0..BLOCKS);
        script.heal();
        script.until("a resync runs", |script| script.status(B).volumes[0].resync.is_some());
        let mut left = events;
        while left > 0 && !script.is_in_sync() {
            script.one_event();
            left -= 1;
        }
        let over = script.is_in_sync();
        let copied = script.resync_bytes(B) / BLOCK_BYTES;
        interrupted += u64::from(copied > 0 && copied < BLOCKS);
        // For longer than a session lasts, half of the time.
        match events % 2 {
            0 => script.reset(),
            _ => {
                script.part();
                script.pass(Span::secs(9));
                script.heal();
            }
        }
        script.in_sync();
        assert_eq!(seen_by_b(&mut script, 0..BLOCKS), (1000..1000 + BLOCKS).collect::<Vec<_>>());
        if over {
            break;
        }
        events += 1;
    }
    assert!(events > 50 && interrupted > 10, "{events} events, {interrupted} in the midst");
}

/// A resync ends although its Primary overwrites all of it without a pause.
#[test]
fn rs4_a_resync_under_full_overwrite_load_ends() {
    const BLOCKS: u64 = 128;
    let mut script = behind(0..BLOCKS);
    script.heal();
    script.until("a resync runs", |script| script.status(B).volumes[0].resync.is_some());
    let (mut tag, mut writes) = (10_000, 0);
    let mut asked = Vec::new();
    while script.status(B).volumes[0].resync.is_some() {
        asked.retain(|&asking| !script.is_over(asking));
        while asked.len() < 32 {
            (tag, writes) = (tag + 1, writes + 1);
            asked.push(script.ask_write(A, tag % BLOCKS, tag));
        }
        script.one_event();
        assert!(writes < 100_000, "it does not end");
    }
    for asking in asked {
        script.wait(asking).unwrap();
    }
    script.in_sync();
    let all = values(&mut script, A, 0..BLOCKS);
    assert_eq!(seen_by_b(&mut script, 0..BLOCKS), all);
    script.linearizable();
}

/// Metadata that were copied together with a disk, to a disk that then is not the same.
#[test]
fn rs10_a_copied_disk_is_refused_and_a_blank_one_takes_everything() {
    let mut script = behind(0..4);
    script.stop(B);
    let copied = script.image(A);
    script.put_image(B, &copied);
    let why = script.unusable(B).expect("it is the other node's disk");
    assert!(why.contains("node 0") && why.contains("node 1"), "{why}");
    script.create_metadata(B);
    script.heal();
    script.start(B);
    script.in_sync();
    assert!(script.rules().contains(&Rule::OneJustCreated), "{:?}", script.rules());
    assert_eq!(seen_by_b(&mut script, 0..4), [1000, 1001, 1002, 1003]);
}

/// B's disk is put back from a snapshot: older than what A knows that B had.
#[test]
fn rs11_a_disk_put_back_from_a_snapshot_never_passes_as_in_sync() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 1, 10).unwrap();
    script.stop(B);
    let old = script.image(B);
    // B takes part in a later generation.
    script.write(A, 2, 20).unwrap();
    script.start(B);
    script.in_sync();
    script.write(A, 3, 30).unwrap();
    script.stop(B);
    script.put_image(B, &old);
    script.start(B);
    script.until("a verdict", |script| {
        script.rule(B).is_some_and(|rule| rule != Rule::NothingMarked)
    });
    script.pass(Span::secs(5));
    // Refused, or made good: B never serves without the later writes.
    if script.is_connected(B) {
        script.in_sync();
        assert_eq!(seen_by_b(&mut script, 1..4), [10, 20, 30]);
    } else {
        assert_eq!(values(&mut script, A, 1..4), [10, 20, 30]);
    }
}

/// The source cannot read what it is asked for: that stays marked, everything else is copied, and
/// once it can be read it is copied too.
#[test]
fn rs13_a_read_error_at_the_source_leaves_the_block_marked() {
    // In one of the requests of two blocks.
    let mut script = behind(0..64);
    script.bad_blocks(A, 12..14);
    script.heal();
    script.until("the others are copied", |script| {
        (0..64).all(|block| (12..14).contains(&block) || script.on_disk(B, block) == 1000 + block)
    });
    script.pass(Span::secs(3));
    assert_ne!(script.status(B).volumes[0].disk, DiskState::UpToDate);
    assert!(script.status(A).volumes[0].out_of_sync_blocks >= 2);
    assert_ne!(script.on_disk(B, 12), 1012);
    // Written anew, they can be read again.
    for block in 12..14 {
        script.write(A, block, 2000 + block).unwrap();
    }
    if !script.is_in_sync() {
        script.reset();
    }
    script.in_sync();
    let all: Vec<u64> = (1000..1064).collect();
    assert_eq!(seen_by_b(&mut script, 0..12), all[..12]);
    assert_eq!(values(&mut script, B, 12..14), [2012, 2013]);
    assert_eq!(values(&mut script, B, 14..64), all[14..]);
}

/// The target's disk cannot be written: it is let go, and nothing that was not written counts as
/// in sync.
#[test]
fn rs14_a_write_error_at_the_target_detaches_and_cleans_nothing() {
    let mut script = behind(0..32);
    script.writes_fail(B);
    script.heal();
    script.until("the target's disk is let go", |script| {
        script.status(B).volumes[0].disk == DiskState::Diskless
    });
    script.pass(Span::secs(2));
    assert_eq!(script.status(A).volumes[0].out_of_sync_blocks, 32);
    script.attach(B).unwrap();
    script.in_sync();
    assert_eq!(seen_by_b(&mut script, 0..32), (1000..1032).collect::<Vec<_>>());
    script.linearizable();
}

/// What became of B's copy since its last start, in order.
fn copies_of_b(script: &Script) -> Vec<DiskState> {
    let states = script.events(B).into_iter().filter_map(|event| match event {
        Event::Disk { volume, new, .. } if volume.0 == 0 => Some(*new),
        _ => None,
    });
    let states: Vec<DiskState> = states.collect();
    let start = states.iter().rposition(|state| *state == DiskState::Attaching).unwrap_or(0);
    states[start..].to_vec()
}

/// The order of events of LINBIT/drbd issue 145. B's network fails while its disk is attached, and
/// B is stopped in order; A writes 16 blocks alone; two minutes later B returns. There, a rule of
/// the handshake cleared A's marks, and B served stale data as UpToDate.
#[test]
fn rs15_linbit_drbd_145() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    for block in 0..16 {
        script.write(A, block * 37, block).unwrap();
    }
    script.flush(A).unwrap();
    script.part();
    script.pass(Span::secs(1));
    script.stop(B);
    for block in 0..16 {
        script.write(A, block * 37, 1000 + block).unwrap();
    }
    assert_eq!(script.status(A).volumes[0].out_of_sync_blocks, 16);
    script.pass(Span::secs(120));
    script.heal();
    script.start(B);
    script.in_sync();
    assert_eq!(script.rule(B), Some(Rule::AheadByBitmap));
    assert_eq!([A, B].map(|node| script.resync_bytes(node)), [16 * BLOCK_BYTES; 2]);
    // It was Inconsistent until it had them.
    let resync = [DiskState::Inconsistent, DiskState::UpToDate];
    assert!(copies_of_b(&script).ends_with(&resync), "{:?}", copies_of_b(&script));
    let all = (0..16).map(|block| block * 37);
    assert_eq!(seen_by_b(&mut script, all), (1000..1016).collect::<Vec<_>>());
    script.linearizable();
}

/// The same with a chain of orderly ends of each node on the way: no number of them makes a stale
/// copy good.
#[test]
fn rs15_no_chain_of_clean_shutdowns_makes_a_stale_copy_good() {
    for chain in 0..5 {
        let mut script = Script::new(false);
        script.start_both();
        script.promote(A).unwrap();
        script.part();
        script.pass(Span::secs(1));
        script.stop(B);
        for block in 0..16 {
            script.write(A, block, 1000 + block).unwrap();
        }
        for round in 0..chain {
            // Each node alone, one after the other, with and without a restart of the other.
            script.stop(A);
            script.start(B);
            script.pass(Span::secs(1));
            script.stop(B);
            script.start(A);
            script.promote(A).unwrap();
            script.write(A, 16 + round, 2000 + round).unwrap();
        }
        script.heal();
        script.start(B);
        script.in_sync();
        assert_eq!(script.resync_bytes(B), (16 + chain) * BLOCK_BYTES);
        assert_eq!(seen_by_b(&mut script, 0..16), (1000..1016).collect::<Vec<_>>());
        assert_eq!(
            values(&mut script, B, 16..16 + chain),
            (2000..2000 + chain).collect::<Vec<_>>()
        );
        script.linearizable();
    }
}

/// A write that fails while a resync ends leaves a mark that comes late: its block is copied, too.
#[test]
fn rs2_a_mark_that_comes_while_a_resync_ends_is_copied() {
    let late = (0..MOMENTS).filter(|moment| late_mark(*moment)).count();
    assert!(late > 0, "no mark came late");
}

/// The same at the source: its client is told, and the place is copied from the target when they have
/// met anew.
#[test]
fn rs2_a_write_that_fails_at_the_source_while_a_resync_ends_is_told_and_mended() {
    for events in 0..120 {
        let mut script = Script::of(false, true, |options| options.on_io_error = OnIoError::PassOn);
        script.start_both();
        script.promote(A).unwrap();
        script.slow_link(if events % 2 == 0 { Span::micros(100) } else { Span::millis(5) });
        script.part();
        script.write(A, 7, 70).unwrap();
        script.heal();
        script.until("a resync", |script| script.status(B).volumes[0].resync.is_some());
        (0..events).for_each(|_| script.one_event());
        script.writes_fail(A);
        let asked = script.ask_write(A, 41, 410);
        script
            .until("it has failed", |script| script.status(A).volumes[0].counters.write_errors > 0);
        script.heal_disk(A);
        let _ = script.wait(asked);
        script.write(A, 41, 411).unwrap();
        script.write(A, 42, 412).unwrap();
        if script.disk(A) == DiskState::Inconsistent {
            script.disconnect(B);
            script.connect(B);
        }
        script.in_sync();
        for block in [7, 41, 42] {
            assert_eq!(script.on_disk(A, block), script.on_disk(B, block), "{events}: {block}");
        }
    }
}
