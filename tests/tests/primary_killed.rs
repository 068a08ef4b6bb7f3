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
