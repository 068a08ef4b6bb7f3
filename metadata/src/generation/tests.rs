use super::*;

const HERE: NodeId = NodeId(0);
const THERE: NodeId = NodeId(1);

fn id(n: u64) -> GenerationId {
    GenerationId(n << 8)
}

fn ids(generations: &Generations) -> (GenerationId, GenerationId, Vec<GenerationId>) {
    let history = generations.history.iter().map(|record| record.id).collect();
    (generations.current.id, generations.bitmap.id, history)
}

/// A set with the current generation 1.
fn one() -> Generations {
    let mut generations = Generations::just_created(HERE, Time(0));
    generations.force(id(1), HERE, Time(1));
    generations.settled_with_peer();
    generations
}

#[test]
fn names_compare_without_the_mark_of_a_primary() {
    let name = GenerationId(0xab12);
    assert!(name.same(name.with_primary(true)) && name.with_primary(true).was_primary());
    assert_eq!(name.with_primary(true).with_primary(false), name);
    assert!(!GenerationId(1).is_set() && !GenerationId(5).is_real() && GenerationId(6).is_real());
    assert_eq!(name.to_string(), "000000000000AB12");
    for bits in 0..100 {
        let name = GenerationId::from_random(bits);
        assert!(name.is_real() && !name.was_primary(), "{bits}");
    }
}

/// The marks stay relative to what the peer has, however often the node goes solo.
#[test]
fn going_solo_again_keeps_the_bitmap_id() {
    let mut generations = one();
    assert_eq!(ids(&generations), (id(1), GenerationId::UNSET, vec![]));
    generations.go_solo(id(2), Cause::PeerLost, HERE, Time(2));
    assert_eq!(ids(&generations), (id(2), id(1), vec![]));
    generations.go_solo(id(3), Cause::PromotedAlone, HERE, Time(3));
    assert_eq!(ids(&generations), (id(3), id(1), vec![id(2)]));
    generations.settled_with_peer();
    assert_eq!(ids(&generations), (id(3), GenerationId::UNSET, vec![id(1), id(2)]));
    generations.settled_with_peer();
    assert_eq!(ids(&generations).2.len(), 2);
}

#[test]
fn force_remembers_what_was_there() {
    let mut generations = one();
    generations.go_solo(id(2), Cause::PeerLost, HERE, Time(2));
    generations.force(id(3), HERE, Time(3));
    assert_eq!(ids(&generations), (id(3), id(2), vec![id(1)]));
    assert_eq!(generations.current.cause, Cause::Forced);
    let mut fresh = Generations::just_created(HERE, Time(0));
    fresh.force(id(1), HERE, Time(1));
    assert_eq!(ids(&fresh), (id(1), GenerationId::JUST_CREATED, vec![]));
    // What is just created is no generation to remember.
    fresh.settled_with_peer();
    assert_eq!(ids(&fresh), (id(1), GenerationId::UNSET, vec![]));
}

#[test]
fn the_target_takes_over_the_source_and_keeps_its_own_memory() {
    let mut source = one();
    source.go_solo(id(2), Cause::PeerLost, THERE, Time(2));
    let mut target = one();
    target.go_solo(id(7), Cause::PeerLost, HERE, Time(2));
    target.adopt(&source, HERE, Time(9));
    assert_eq!(ids(&target), (id(2), GenerationId::UNSET, vec![id(1), id(7)]));
    let current = target.current;
    assert_eq!((current.cause, current.node, current.born), (Cause::Adopted, HERE, Time(9)));
    // Taking over what is here already changes nothing but the bitmap id.
    let before = target.clone();
    target.adopt(&before, HERE, Time(10));
    assert_eq!(target, before);
}

#[test]
fn the_history_is_bounded_and_newest_first() {
    let mut generations = one();
    for n in 2..100 {
        generations.go_solo(id(n), Cause::PeerLost, HERE, Time(n));
    }
    assert_eq!(generations.history.len(), HISTORY);
    assert_eq!(generations.history[0].id, id(98));
    assert_eq!(generations.bitmap.id, id(1));
    let mut target = one();
    target.go_solo(id(1000), Cause::PeerLost, HERE, Time(0));
    target.adopt(&generations, HERE, Time(0));
    assert_eq!(target.history.len(), HISTORY);
    assert_eq!(target.history[..2].iter().map(|r| r.id).collect::<Vec<_>>(), [id(1), id(98)]);
}

#[test]
fn a_full_resync_names_where_the_target_began() {
    let mut source = one();
    source.go_solo(id(2), Cause::PeerLost, THERE, Time(2));
    source.begin_full_resync_as_source(id(5), THERE, Time(3));
    assert_eq!(ids(&source), (id(2), id(5), vec![id(1)]));
    let mut target = one();
    target.go_solo(id(7), Cause::PeerLost, HERE, Time(2));
    target.begin_full_resync_as_target(id(5), HERE, Time(3));
    assert_eq!(ids(&target), (id(5), GenerationId::UNSET, vec![id(7), id(1)]));
    assert_eq!(target.current.cause, Cause::Resync);
}

#[test]
fn solo_writes_leave_their_times() {
    let mut generations = one();
    generations.note_solo_write(Time(5));
    generations.note_solo_write(Time(8));
    let current = generations.current;
    assert_eq!((current.first_solo, current.last_solo), (Some(Time(5)), Some(Time(8))));
    generations.go_solo(id(2), Cause::PeerLost, HERE, Time(9));
    assert_eq!(generations.current.first_solo, None);
    assert_eq!(generations.bitmap, current);
}

#[test]
#[should_panic(expected = "not new")]
fn a_name_is_used_once() {
    one().go_solo(id(1), Cause::PeerLost, HERE, Time(0));
}

#[test]
fn causes_have_numbers() {
    for cause in Cause::ALL {
        assert_eq!(Cause::from_u8(cause.to_u8()), Some(cause));
    }
    assert_eq!(Cause::from_u8(7), None);
}
