use super::*;
use proptest::prelude::*;

const BLOCK: BlockId = BlockId { volume: 0, number: 7 };

fn op(kind: Kind, invoke: u64, ret: Option<u64>) -> Op {
    Op { process: invoke, node: 0, block: BLOCK, kind, invoke, ret }
}

fn write(value: u64, invoke: u64, ret: u64) -> Op {
    op(Kind::Write(value), invoke, Some(ret))
}

fn lost(value: u64, invoke: u64) -> Op {
    op(Kind::Write(value), invoke, None)
}

fn read(value: u64, invoke: u64, ret: u64) -> Op {
    op(Kind::Read(value), invoke, Some(ret))
}

fn verdict(ops: &[Op]) -> Result<(), ViolationKind> {
    check(&ops.iter().copied().collect()).map_err(|violation| violation.kind)
}

#[test]
fn what_one_register_could_have_done_passes() {
    assert_eq!(verdict(&[read(0, 1, 2), write(5, 3, 4), read(5, 5, 6)]), Ok(()));
    // Concurrent writes in either order, and a read that sees the new one early.
    assert_eq!(verdict(&[write(5, 1, 10), write(6, 1, 10), read(5, 11, 12)]), Ok(()));
    assert_eq!(verdict(&[write(5, 1, 10), read(5, 2, 3), read(5, 4, 20)]), Ok(()));
    // A write without an answer happens late, or never.
    assert_eq!(verdict(&[lost(5, 1), read(0, 2, 3), read(5, 4, 5)]), Ok(()));
    assert_eq!(verdict(&[lost(5, 1), write(6, 2, 3), read(6, 4, 5)]), Ok(()));
}

/// What clients of two Primaries see of the bugs that are planted in the engine (`sim mutations`),
/// which the simulator's other oracles may find first.
#[test]
fn what_planted_bugs_show_to_clients_is_found() {
    let found = |ops: &[Op]| matches!(verdict(ops), Err(ViolationKind::Order { .. }));
    // Without Settled a read is answered while the peer still may lose the write.
    assert!(found(&[write(5, 1, 2), write(6, 3, 20), read(6, 4, 5), read(5, 6, 7)]));
    // Each node takes itself for the arbiter: both writes prevail, each on its own node.
    assert!(found(&[
        write(5, 1, 10),
        write(6, 1, 10),
        read(5, 11, 12),
        read(6, 13, 14),
        read(5, 15, 16)
    ]));
    // The loser's copy of a write is not dropped: it comes after the winner's on one node.
    assert!(found(&[write(5, 1, 10), write(6, 1, 10), read(6, 11, 12), read(5, 13, 14)]));
    // A read is served during a write that is unsettled: gone again where that write is dropped.
    assert!(found(&[write(4, 1, 2), lost(5, 3), read(5, 4, 5), read(4, 6, 7)]));
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    assert_eq!(verdict(&[write(5, 1, 2), read(9, 3, 4)]), Err(ViolationKind::NeverWritten));
    assert_eq!(verdict(&[read(5, 1, 2), write(5, 3, 4)]), Err(ViolationKind::FromTheFuture));
}

#[test]
fn a_stale_read_is_found_with_the_operations_that_show_it() {
    let ops = [write(5, 1, 2), write(6, 3, 4), read(5, 5, 6)];
    let violation = check(&ops.iter().copied().collect()).unwrap_err();
    assert!(matches!(violation.kind, ViolationKind::Order { .. }));
    assert_eq!(violation.ops, ops);
    assert!(violation.to_string().contains("client 5 reads 5 of block 0/7 [5 .. 6]"));
    // An acknowledged write that is gone: the same thing.
    let gone = verdict(&[write(5, 1, 2), read(0, 3, 4)]);
    assert!(matches!(gone, Err(ViolationKind::Order { .. })));
}

#[test]
fn a_read_followed_by_an_older_one_is_found() {
    // Both writes are open all the time, but nobody may see 6, then 5, then 6.
    let ops = [write(5, 1, 90), write(6, 1, 90), read(6, 2, 3), read(5, 4, 5), read(6, 6, 7)];
    assert!(matches!(verdict(&ops), Err(ViolationKind::Order { .. })));
    assert_eq!(verdict(&ops[..4]), Ok(()));
}

#[test]
fn a_write_without_an_answer_cannot_come_and_go() {
    let ops = [lost(5, 1), write(6, 2, 3), read(5, 4, 5), read(6, 6, 7)];
    assert!(matches!(verdict(&ops), Err(ViolationKind::Order { .. })));
}

#[test]
fn zeros_are_matched_with_any_zeroing_that_explains_them() {
    let zeroed = [write(5, 1, 2), write(0, 3, 4), write(6, 5, 6), write(0, 7, 8)];
    let with = |read: Op| verdict(&[zeroed.as_slice(), &[read]].concat());
    assert_eq!(with(read(0, 9, 10)), Ok(()));
    assert_eq!(with(read(0, 4, 5)), Ok(()));
    assert!(with(read(5, 9, 10)).is_err());
    let ops = [write(5, 1, 2), write(0, 3, 4), write(6, 5, 6), read(0, 7, 8)];
    assert_eq!(verdict(&ops), Err(ViolationKind::Zeros));
    let ops = [write(5, 1, 2), lost(0, 3), read(0, 4, 5), read(5, 6, 7)];
    assert!(verdict(&ops).is_err());
}

#[test]
fn blocks_are_registers_of_their_own_and_may_begin_with_a_value() {
    let other = BlockId { volume: 1, number: 7 };
    let history: History =
        [write(5, 1, 2), Op { block: other, ..read(0, 3, 4) }].into_iter().collect();
    assert!(check(&history).is_ok());
    let history: History = [read(4, 1, 2), write(5, 3, 4)].into_iter().collect();
    assert!(check_from(&history, |_| 4).is_ok());
    let history: History = [read(0, 1, 2)].into_iter().collect();
    assert!(check_from(&history, |_| 4).is_err());
}

#[test]
#[should_panic(expected = "value 5 is written twice to block 0/7")]
fn a_value_written_twice_is_the_callers_mistake() {
    let _ = verdict(&[write(5, 1, 2), write(5, 3, 4)]);
}

/// Tries every order: the definition, spelled out.
fn linearizable(ops: &[Op], done: u32, value: u64) -> bool {
    let open = (0..ops.len()).filter(|i| done & (1 << i) == 0);
    if open.clone().all(|i| ops[i].ret.is_none()) {
        return true;
    }
    // Next may come whatever was invoked before anything that is open returned.
    let horizon = open.clone().filter_map(|i| ops[i].ret).min().unwrap_or(u64::MAX);
    open.filter(|&i| ops[i].invoke <= horizon).any(|i| match ops[i].kind {
        Kind::Write(new) => linearizable(ops, done | 1 << i, new),
        Kind::Read(seen) => seen == value && linearizable(ops, done | 1 << i, value),
    })
}

/// Histories of up to seven operations; write number i writes i + 1, or zero.
fn histories(zeros: u64) -> impl Strategy<Value = Vec<Op>> {
    let one = (0..12u64, 0..6u64, 0..8u64, 0..10u64, 0..10u64);
    prop::collection::vec(one, 1..8).prop_map(move |raw| {
        let ops = raw.iter().enumerate().map(|(i, &(invoke, length, value, kind, fate))| {
            let ret = (fate > 0).then_some(invoke + length);
            let mine = if kind < zeros { 0 } else { i as u64 + 1 };
            if kind < 5 {
                op(Kind::Write(mine), invoke, ret)
            } else {
                op(Kind::Read(value.min(raw.len() as u64)), invoke, Some(invoke + length))
            }
        });
        ops.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn with_unique_values_the_check_agrees_with_the_definition(ops in histories(0)) {
        prop_assert_eq!(verdict(&ops).is_ok(), linearizable(&ops, 0, 0));
    }

    #[test]
    fn with_zeros_there_is_no_false_alarm(ops in histories(2)) {
        if linearizable(&ops, 0, 0) {
            prop_assert_eq!(verdict(&ops), Ok(()));
        }
    }
}

/// With several zeroings the check is lenient; this counts how lenient, so that nobody makes it
/// blind by accident.
#[test]
fn with_zeros_nearly_every_violation_is_still_found() {
    let mut rng = types::Prng::new(1);
    let (mut wrong, mut found) = (0, 0);
    for _ in 0..20_000 {
        let ops: Vec<Op> = (0..7u64)
            .map(|i| {
                let (invoke, length) = (rng.below(12), rng.below(6));
                match rng.below(10) {
                    0 | 1 => write(0, invoke, invoke + length),
                    2..5 => write(i + 1, invoke, invoke + length),
                    _ => read(
                        if rng.chance(1, 2) { 0 } else { rng.below(8) },
                        invoke,
                        invoke + length,
                    ),
                }
            })
            .collect();
        if !linearizable(&ops, 0, 0) {
            wrong += 1;
            found += u32::from(verdict(&ops).is_err());
        }
    }
    assert!(wrong > 1000, "only {wrong} histories were wrong");
    assert!(found * 100 >= wrong * 98, "found {found} of {wrong}");
}
