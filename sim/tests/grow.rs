//! Growing: scenarios by name, and a hundred worlds of it.

use replicator::{RefusalKind, Resize, VolumeOptions};
use sim::plan::Class;
use sim::script::Script;
use sim::{replay_command, run};
use types::{DiskState, Span, VolumeId};

const MIB: u64 = 1 << 20;

/// Why a resize was refused.
fn refused(script: &mut Script, node: usize, change: impl FnOnce(&mut Resize)) -> String {
    let refusal = script.resize(node, change).expect_err("it is refused");
    assert_eq!(refusal.kind, RefusalKind::State, "{}", refusal.text);
    refusal.text
}

fn as_it_is(_: &mut Resize) {}

fn alone(order: &mut Resize) {
    order.assume_peer_has_space = true;
}

/// Disks grow and lose power while a volume grows, both nodes write, and an operator tries again and
/// again: nothing is lost, and the copies are equal in the end.
#[test]
fn op4_a_hundred_worlds_of_growing_and_power_cuts() {
    let failures: Vec<String> = (1..=100)
        .filter_map(|seed| run(seed, Some(Class::Grow), false).failure.map(|f| (seed, f)))
        .map(|(seed, f)| format!("{f}\n    {}", replay_command(seed, Some(Class::Grow))))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Two Primaries under load: no request fails, both see the new size, and what is new is copied.
#[test]
fn op4_two_primaries_grow_under_load() {
    let mut script = Script::two_primaries();
    let old = script.blocks();
    script.enlarge(0, 16 * MIB);
    script.enlarge(1, 16 * MIB);
    let asked: Vec<_> =
        (0..40u64).map(|i| script.ask_write((i % 2) as usize, i, 100 + i)).collect();
    script.resize(0, as_it_is).unwrap();
    for asking in asked {
        script.wait(asking).expect("nobody notices");
    }
    assert_eq!(script.size(0), script.size(1));
    let new = script.size(0) / 4096;
    assert!(new >= old + 4000, "{old} {new}");
    // Where the metadata were, and the last block.
    for (node, block) in [(0, old), (1, old + 3), (0, new - 1), (1, new - 2)] {
        assert_eq!(script.read(node, block), Ok(0), "block {block}");
        script.write(node, block, 7000 + block).unwrap();
    }
    script.in_sync();
    for block in [old, old + 3, new - 1, new - 2] {
        assert_eq!(script.read(0, block), Ok(7000 + block));
        assert_eq!(script.read(1, block), Ok(7000 + block));
    }
    script.linearizable();
}

/// Only one disk has grown: both sizes are told, and nothing changes. Then the other has, too.
#[test]
fn op4_a_peer_that_has_no_room_is_named_with_both_sizes() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(0).unwrap();
    let old = script.size(0);
    script.resize(0, as_it_is).expect("there is nothing to do");
    script.enlarge(0, 4 * MIB);
    let text = refused(&mut script, 0, as_it_is);
    assert!(text.contains("beta is too small") && text.contains(&old.to_string()), "{text}");
    // From the other side it is the same.
    let text = refused(&mut script, 1, as_it_is);
    assert!(text.contains("beta is too small") && text.contains("at alpha"), "{text}");
    script.enlarge(1, 2 * MIB);
    let text = refused(&mut script, 0, |order| order.size = Some(old + 3 * MIB));
    assert!(text.contains("beta is too small"), "{text}");
    let text = refused(&mut script, 0, |order| order.size = Some(old + 30 * MIB));
    assert!(text.contains("alpha has room for"), "{text}");
    let text = refused(&mut script, 0, |order| order.size = Some(old - MIB));
    assert!(text.contains("shrinking is not done"), "{text}");
    assert_eq!((script.size(0), script.size(1)), (old, old));
    script.resize(0, |order| order.size = Some(old + MIB)).unwrap();
    assert_eq!((script.size(0), script.size(1)), (old + MIB, old + MIB));
    script.in_sync();
    // A Secondary may say so, too; what is new comes from the Primary all the same.
    script.resize(1, as_it_is).unwrap();
    assert_eq!(script.size(0), old + 2 * MIB);
    script.in_sync();
    script.linearizable();
}

/// The disk of a node that is down grows; it starts, finds its metadata where they were, and the
/// volume can grow.
#[test]
fn op4_a_disk_grows_while_its_node_is_down() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(0).unwrap();
    script.write(0, 5, 55).unwrap();
    script.enlarge(0, 8 * MIB);
    script.stop(1);
    script.enlarge(1, 8 * MIB);
    let text = refused(&mut script, 0, as_it_is);
    assert!(text.contains("--assume-peer-has-space"), "{text}");
    script.start(1);
    script.connected();
    script.resize(0, as_it_is).unwrap();
    script.in_sync();
    assert_eq!(script.size(1), script.size(0));
    // It is found there again.
    script.cut_power(1);
    script.start(1);
    script.connected();
    script.in_sync();
    assert_eq!(script.on_disk(1, 5), 55);
}

/// Grown alone: the peer comes back and takes the size, with what was written there.
#[test]
fn op4_grown_alone_the_peer_takes_the_size_when_it_is_back() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(0).unwrap();
    let old = script.size(0);
    script.stop(1);
    script.enlarge(0, 4 * MIB);
    script.resize(0, alone).unwrap();
    let new = script.size(0);
    assert!(new > old);
    script.write(0, new / 4096 - 1, 9).unwrap();
    script.enlarge(1, 6 * MIB);
    script.start(1);
    script.connected();
    script.in_sync();
    assert_eq!(script.size(1), new);
    assert_eq!(script.on_disk(1, new / 4096 - 1), 9);
    script.linearizable();
}

/// The same with a peer whose disk is too small: it is not joined, both sizes are told, and once its
/// disk is larger all is well.
#[test]
fn op4_a_peer_that_comes_back_too_small_is_refused_with_both_sizes() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(0).unwrap();
    let old = script.size(0);
    script.stop(1);
    script.enlarge(0, 4 * MIB);
    script.resize(0, alone).unwrap();
    let new = script.size(0);
    script.write(0, new / 4096 - 1, 9).unwrap();
    script.start(1);
    let refusal = script.refusal("enlarge");
    for words in [old.to_string(), new.to_string(), "enlarge that disk".to_owned()] {
        assert!(refusal.contains(&words), "{refusal}");
    }
    assert_eq!(script.disk(0), DiskState::UpToDate);
    assert_eq!(script.read(0, new / 4096 - 1), Ok(9));
    script.stop(1);
    script.enlarge(1, 4 * MIB);
    script.start(1);
    script.connect(0);
    script.connect(1);
    script.connected();
    script.in_sync();
    assert_eq!((script.size(1), script.on_disk(1, new / 4096 - 1)), (new, 9));
}

/// An operator knows that what is new is equal: it is not copied, and where metadata were both read
/// zeros.
#[test]
fn op4_what_is_known_to_be_clean_is_not_copied() {
    let mut script = Script::two_primaries();
    let old = script.size(0);
    // Nothing is on these disks behind their metadata.
    script.enlarge_clean(0, 8 * MIB);
    script.enlarge_clean(1, 8 * MIB);
    script.resize(1, |order| order.assume_clean = true).unwrap();
    assert!(script.size(0) > old);
    for node in 0..2 {
        assert_eq!(script.disk(node), DiskState::UpToDate);
        assert_eq!(script.read(node, old / 4096 + 2), Ok(0));
    }
    let copied = script.resync_bytes(0) + script.resync_bytes(1);
    assert_eq!(copied, 0);
    script.in_sync();
}

/// The link is lost at every moment of it: what was held goes on, and the nodes come to one size.
#[test]
fn op4_a_link_that_is_lost_meanwhile_holds_nothing_up() {
    for micros in (0..60).map(|i| i * 150) {
        let mut script = Script::two_primaries();
        script.enlarge(0, 2 * MIB);
        script.enlarge(1, 2 * MIB);
        let asking = [script.ask_write(0, 1, 11), script.ask_write(1, 2, 12)];
        let order = script.ask_resize(0);
        script.pass(Span::micros(micros));
        script.reset();
        let result = script.answer(order);
        for asking in asking {
            script.wait(asking).expect("the session goes on");
        }
        script.connected();
        if let Err(refusal) = result {
            assert!(!refusal.text.is_empty());
            script.resize(1, as_it_is).unwrap();
        }
        script.in_sync();
        assert_eq!(script.size(0), script.size(1), "{micros}");
        script.write(0, script.size(0) / 4096 - 1, 3).unwrap();
        script.linearizable();
    }
}

/// A disk that is away while its volume grows comes back as Outdated or worse, and is not taken if it
/// is too small.
#[test]
fn op4_a_disk_that_was_away_while_the_volume_grew() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(0).unwrap();
    script.enlarge(0, 2 * MIB);
    script.detach(1).unwrap();
    let text = refused(&mut script, 0, as_it_is);
    assert!(text.contains("the peer has no disk"), "{text}");
    script.resize(0, alone).unwrap();
    script.until("the peer knows the size", |script| script.size(1) == script.size(0));
    let refusal = script.attach(1).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Disk, "{}", refusal.text);
    script.enlarge(1, 2 * MIB);
    script.attach(1).unwrap();
    script.in_sync();
    assert_eq!(script.size(0), script.size(1));
}

/// `size`: so much of a disk is used and no more; what a volume has it keeps, and with a larger one it
/// grows. The node with the smaller one decides, and says what is in the way.
#[test]
fn op4_a_volume_has_what_size_leaves_of_its_disks() {
    let of = |size: u64| VolumeOptions { size, ..VolumeOptions::default() };
    let mut script = Script::of(false, false, |options| {
        options.volumes.insert(VolumeId(0), of(6 * MIB + 100));
    });
    script.start_both();
    script.force(0).unwrap();
    script.in_sync();
    assert_eq!((script.size(0), script.size(1)), (6 * MIB, 6 * MIB));
    script.resize(0, as_it_is).expect("there is nothing to do");
    assert_eq!(script.size(0), 6 * MIB);
    let sized = |script: &mut Script, node: usize, size: u64| {
        script.reconfigure(node, |options| {
            options.volumes.insert(VolumeId(0), of(size));
        })
    };
    // Less is never taken away.
    sized(&mut script, 0, MIB).unwrap();
    script.resize(0, as_it_is).expect("there is nothing to do");
    assert_eq!(script.size(0), 6 * MIB);
    sized(&mut script, 0, 9 * MIB).unwrap();
    let text = refused(&mut script, 0, as_it_is);
    assert!(text.contains("beta is too small"), "{text}");
    sized(&mut script, 1, 8 * MIB).unwrap();
    script.resize(0, as_it_is).unwrap();
    assert_eq!((script.size(0), script.size(1)), (8 * MIB, 8 * MIB));
    script.until("the new part is copied", |script| script.status(0).volumes[0].resync.is_none());
    let text = refused(&mut script, 0, |order| order.size = Some(12 * MIB));
    assert!(text.contains("`size`"), "{text}");
}

/// The handshake in which both take the size is cut off when only one of the two Primaries has begun
/// the next session: the other takes the new part all the same. (Found as seed 1912.)
#[test]
fn op4_a_handshake_that_is_cut_off_when_both_have_room_keeps_nobody_apart() {
    for events in 0..120 {
        let mut script = Script::two_primaries();
        script.slow_link(Span::millis(3));
        script.enlarge(0, 4 * MIB);
        script.enlarge(1, 4 * MIB);
        let order = script.ask_resize(0);
        (0..events).for_each(|_| script.one_event());
        script.reconfigure(1, |options| options.ping_int = Span::secs(9)).unwrap();
        let _ = script.answer(order);
        script.in_sync();
        assert_eq!(script.size(0), script.size(1), "after {events} events");
    }
}

/// A `size` of less than a block is a block, and not no disk at all.
#[test]
fn op4_the_smallest_size_is_a_block() {
    let mut script = Script::of(false, false, |options| {
        let of = VolumeOptions { size: 512, ..VolumeOptions::default() };
        options.volumes.insert(VolumeId(0), of);
    });
    script.start_both();
    script.force(0).unwrap();
    script.until("both have it", |script| (0..2).all(|node| script.size(node) == 4096));
}
