//! The oracles find what is planted. No engine runs here: the worlds are set up by hand.

use crate::client::{Asked, Request};
use crate::content::bytes_of_tag;
use crate::disk::sectors;
use crate::plan::Class;
use crate::world::World;
use metadata::Batch;
use types::ByteRange;

const WRITE_AT: ByteRange = ByteRange::new(8192, 4096);

fn world(class: Class) -> World {
    World::new(1, Some(class), false)
}

fn put(world: &mut World, node: usize, tag: u64) {
    let data = bytes_of_tag(tag, WRITE_AT.len).to_vec();
    world.nodes[node].disks[0].preset(&Batch::one(WRITE_AT.offset, data));
    world.coverage_touch(0, [sectors(WRITE_AT)]);
}

fn request(world: &mut World, asked: Asked, fua: bool, invoke: u64, ret: Option<u64>) {
    let range = if asked == Asked::Flush { ByteRange::new(0, 0) } else { WRITE_AT };
    world.requests.push(Request {
        node: 0,
        client: 1,
        volume: 0,
        asked,
        range,
        fua,
        invoke,
        ret,
        over: true,
        incomplete: false,
        seen: Vec::new(),
        sent: None,
        lost: Vec::new(),
    });
}

fn found(world: &mut World) -> Option<&'static str> {
    world.failure().map(|failure| failure.oracle)
}

#[test]
fn a_difference_that_nobody_covers_is_found() {
    let mut world = world(Class::OneDies);
    world.check_always();
    assert_eq!(found(&mut world), None);
    put(&mut world, 0, 5);
    world.check_always();
    assert_eq!(found(&mut world), Some("coverage"));
    assert!(world.failure().unwrap().text.contains("volume 0 block 2"));
}

#[test]
fn a_difference_that_a_dead_nodes_metadata_covers_is_fine() {
    let mut world = world(Class::OneDies);
    let mut marks = world.load(1, 0).unwrap().metadata.bitmap;
    marks.set(WRITE_AT.blocks());
    world.nodes[1].offline[0] = Some(marks);
    put(&mut world, 0, 5);
    world.check_always();
    assert_eq!(found(&mut world), None);
}

#[test]
fn unequal_disks_at_the_end_are_found() {
    let mut world = world(Class::Solo);
    put(&mut world, 1, 5);
    world.check_end(0);
    assert_eq!(found(&mut world), Some("convergence"));
}

#[test]
fn an_answered_write_that_is_on_neither_disk_is_found() {
    let mut world = world(Class::OneDies);
    request(&mut world, Asked::Write(5), false, 10, Some(20));
    world.check_end(1);
    assert_eq!(found(&mut world), Some("linearizability"));
}

#[test]
fn after_both_lost_power_only_what_was_flushed_must_be_there() {
    let end = |flush: Option<(u64, u64)>, fua: bool| {
        let mut world = world(Class::BothPower);
        world.power_era = Some(100);
        request(&mut world, Asked::Write(5), fua, 10, Some(20));
        if let Some((invoke, ret)) = flush {
            request(&mut world, Asked::Flush, false, invoke, Some(ret));
        }
        let first = world.requests.len();
        world.check_end(first);
        found(&mut world)
    };
    assert_eq!(end(None, false), None);
    assert_eq!(end(Some((15, 30)), false), None);
    assert_eq!(end(Some((25, 110)), false), None);
    assert_eq!(end(Some((25, 30)), false), Some("durability"));
    assert_eq!(end(None, true), Some("durability"));
}

#[test]
fn two_that_wrote_alone_must_both_have_found_it() {
    let mut world = world(Class::SplitBrain);
    world.parted_at = Some(1);
    world.went_solo = [[true, false], [true, false]];
    world.check_end(0);
    assert_eq!(found(&mut world), Some("split brain"));
}
