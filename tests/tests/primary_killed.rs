//! Primaries' daemons are killed under load.

#[test]
fn nothing_answered_is_lost() {
    tests::scenario::check("primary-killed");
}

#[test]
fn nothing_answered_is_lost_when_both_die_cr2() {
    tests::scenario::check("both-killed");
}

#[test]
fn cr6_kills_in_a_row_are_pauses_and_no_errors() {
    tests::scenario::check("cr6-killed-again");
}

#[test]
fn histories_stay_linearizable_across_the_loss_of_one_of_two_primaries() {
    tests::scenario::check("one-lost-in-conflicts");
}
