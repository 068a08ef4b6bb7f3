//! Random trouble under load, for a little while; CONTRIBUTING.md tells how to have more of it.

use std::process::Command;
use std::time::Duration;
use tests::process::run;

/// Far more than it takes on a busy machine: the last round is finished when the time is over.
const PATIENCE: Duration = Duration::from_secs(300);

/// As a process of its own: it may have a place for disks that can be full.
fn torture(primaries: &str, seed: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tests"));
    command.args(["torture", "--minutes", "0.15", "--primaries", primaries, "--seed", seed]);
    let ran = run(&mut command, PATIENCE).and_then(|ran| ran.ended_with(0));
    let ran = ran.unwrap_or_else(|error| panic!("{error:#}"));
    print!("{}", ran.out);
    assert!(ran.out.contains("operations verified") && ran.out.contains("no failure"), "{ran}");
}

#[test]
fn cr6_trouble_with_two_primaries_loses_nothing() {
    torture("2", "1");
}

#[test]
fn cr6_trouble_with_one_primary_loses_nothing() {
    torture("1", "1");
}
