//! The traces that were kept: runs of a few requests that reach what is hard to reach, or once
//! failed. Each takes many courses, for any change of the engine gives it another one: all must be
//! well, and some must reach what the trace says.

use sim::replay::Replay;
use sim::run_replay;

const COURSES: u64 = 100;

#[test]
fn every_kept_trace_is_well_and_reaches_what_it_says() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut replay: Replay = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut reached = 0;
        for stir in 0..COURSES {
            replay.stir = stir;
            let outcome = run_replay(&replay, false);
            assert_eq!(outcome.failure, None, "{name}, stir = {stir}");
            reached += u64::from(replay.missed(&outcome.marks).is_empty());
        }
        println!("{name}: {reached} of {COURSES} courses");
        assert!(reached > 0, "{name} does not reach what it says any more: shrink it anew");
        seen += 1;
    }
    assert!(seen >= 5, "{seen} traces");
}
