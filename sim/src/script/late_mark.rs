//! A mark that comes while a resync ends: nothing that a seed draws makes one, so it is a script, of
//! which each number is another moment.

use super::Script;
use metadata::Rule;
use replicator::OnIoError;
use types::{DiskState, Span};

/// How many moments there are.
pub const MOMENTS: u64 = 120;

/// A mirrored write fails at the target after so many events of a resync of two blocks, and the disk
/// is kept (`pass_on`). Returns whether the mark that this leaves on both nodes came while the resync
/// ran.
///
/// # Panics
/// If its block is not copied, too.
pub fn late_mark(moment: u64) -> bool {
    const PRIMARY: usize = 0;
    const TARGET: usize = 1;
    let mut script = Script::of(false, true, |options| options.on_io_error = OnIoError::PassOn);
    script.start_both();
    script.promote(PRIMARY).expect("nothing is in the way of it");
    // Between the target's last word and the source's there is time for a mark, too.
    script.slow_link(if moment.is_multiple_of(2) { Span::micros(100) } else { Span::millis(5) });
    script.part();
    script.write(PRIMARY, 7, 70).expect("the disk is well");
    script.heal();
    script.until("a resync", |script| script.status(TARGET).volumes[0].resync.is_some());
    let before = script.ask_write(PRIMARY, 40, 400);
    (0..moment).for_each(|_| script.one_event());
    let runs = script.status(TARGET).volumes[0].resync.is_some();
    script.writes_fail(TARGET);
    let fails = script.ask_write(PRIMARY, 41, 410);
    script.until("a write has failed", |script| {
        let volume = &script.status(TARGET).volumes[0];
        volume.counters.write_errors > 0 || volume.disk == DiskState::Diskless
    });
    script.heal_disk(TARGET);
    for asking in [fails, before] {
        script.wait(asking).expect("the other disk has it");
    }
    let kept = script.disk(TARGET) != DiskState::Diskless;
    if !kept {
        // What the resync itself writes must not fail.
        script.attach(TARGET).expect("the disk is well");
    } else if script.status(TARGET).volumes[0].resync.is_none()
        && script.disk(TARGET) == DiskState::Inconsistent
    {
        // It was over: a copy that lacks something is mended by the next connection.
        script.disconnect(TARGET);
        script.connect(TARGET);
    }
    script.in_sync();
    for block in [7, 40, 41] {
        let copies = [PRIMARY, TARGET].map(|node| script.on_disk(node, block));
        assert_eq!(copies[0], copies[1], "block {block} after {moment} events");
    }
    // And they know that they have the same.
    script.disconnect(TARGET);
    script.connect(TARGET);
    script.in_sync();
    assert!(!script.rules().contains(&Rule::AheadByHistory), "copied whole after {moment} events");
    runs && kept
}
