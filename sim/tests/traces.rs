//! The traces that were kept: runs of a few requests that reach what is hard to reach, or once
//! failed. Each must be well, and still be the run that it says it is.

use sim::replay::Replay;
use sim::run_replay;

#[test]
fn every_kept_trace_is_well_and_reaches_what_it_says() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let replay: Replay = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let outcome = run_replay(&replay, false);
        assert_eq!(outcome.failure, None, "{name}");
        let missed = replay.missed(&outcome.marks);
        assert!(missed.is_empty(), "{name} does not reach {missed:?} any more: shrink it anew");
        seen += 1;
    }
    assert!(seen >= 5, "{seen} traces");
}
