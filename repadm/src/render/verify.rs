//! What verifies have found, and how to repair it.

use super::time::utc;
use control::{VerifyOutcome, VolumeVerify};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// For people.
pub fn text(resource: &str, volumes: &[VolumeVerify]) -> String {
    let mut text = String::new();
    for verify in volumes {
        volume(&mut text, resource, verify);
    }
    let repairs: String = (volumes.iter().filter(|verify| verify.out_of_sync_blocks > 0))
        .map(|it| format!("    repadm invalidate --reset-bitmap=no {resource}/{}\n", it.volume))
        .collect();
    if !repairs.is_empty() {
        let _ = write!(
            text,
            "\nWhich of the two copies is right, verify cannot know. Decide, and on the node whose \
             copy is to be\noverwritten there run\n\n{repairs}\nwhich copies the marked blocks \
             from the other node and nothing else. Until then they stay as they\nare; should a \
             daemon be restarted before, they are copied when the nodes meet again: from the \
             Primary,\nor, if that leaves a choice, from the node with the lower id.\n",
        );
    }
    text
}

fn volume(text: &mut String, resource: &str, verify: &VolumeVerify) {
    let name = format!("{resource}/{}", verify.volume);
    let running = if verify.running { "; one runs now" } else { "" };
    match &verify.outcome {
        Some(outcome) => {
            let _ = writeln!(text, "{name}: {}{running}", ended(outcome));
        }
        None => {
            let _ = writeln!(text, "{name}: no verify has ended since it came up{running}");
        }
    }
    match verify.last_whole {
        Some(at) => {
            let _ = writeln!(text, "  last verified whole: {}", utc(at));
        }
        None => text.push_str("  never verified whole\n"),
    }
    let _ = writeln!(text, "  out-of-sync: {} blocks of 4 KiB", verify.out_of_sync_blocks);
    for (start, sectors) in &verify.ranges {
        let _ = writeln!(text, "    sectors {start} to {} ({sectors})", start + sectors - 1);
    }
    if verify.more_ranges {
        text.push_str("    and more\n");
    }
}

fn ended(outcome: &VerifyOutcome) -> String {
    let VerifyOutcome { complete, compared_blocks, found_blocks, text, .. } = outcome;
    let what = if *complete { "verified" } else { "verify did not finish" };
    let mut line = format!(
        "{what} {}: {compared_blocks} blocks compared, {found_blocks} differ",
        utc(outcome.ended)
    );
    if !text.is_empty() {
        let _ = write!(line, "; {text}");
    }
    if let Some(sector) = outcome.position_sector.filter(|_| !complete) {
        let _ = write!(line, "; go on with --start {sector}");
    }
    line
}

/// For programs.
pub fn json(resource: &str, volumes: &[VolumeVerify]) -> Value {
    json!({ "resource": resource, "volumes": volumes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::VolumeId;

    fn found(ranges: Vec<(u64, u64)>, outcome: Option<VerifyOutcome>) -> VolumeVerify {
        VolumeVerify {
            volume: VolumeId(0),
            running: false,
            last_whole: Some(1_700_000_000_000),
            outcome,
            out_of_sync_blocks: ranges.iter().map(|(_, sectors)| sectors / 8).sum(),
            ranges,
            more_ranges: false,
        }
    }

    fn outcome(complete: bool, found_blocks: u64, text: &str) -> VerifyOutcome {
        VerifyOutcome {
            requester: true,
            started: 1_700_000_000_000,
            ended: 1_700_000_060_000,
            complete,
            position_sector: Some(4096),
            compared_blocks: 512,
            found_blocks,
            text: text.to_owned(),
        }
    }

    #[test]
    fn what_differs_is_listed_with_the_way_to_repair_it() {
        let found = found(vec![(8, 8), (800, 16)], Some(outcome(true, 3, "")));
        insta::assert_snapshot!(text("r0", &[found]), @r"
        r0/0: verified 2023-11-14 22:14:20 UTC: 512 blocks compared, 3 differ
          last verified whole: 2023-11-14 22:13:20 UTC
          out-of-sync: 3 blocks of 4 KiB
            sectors 8 to 15 (8)
            sectors 800 to 815 (16)

        Which of the two copies is right, verify cannot know. Decide, and on the node whose copy is to be
        overwritten there run

            repadm invalidate --reset-bitmap=no r0/0

        which copies the marked blocks from the other node and nothing else. Until then they stay as they
        are; should a daemon be restarted before, they are copied when the nodes meet again: from the Primary,
        or, if that leaves a choice, from the node with the lower id.
        ");
    }

    #[test]
    fn a_verify_that_did_not_finish_says_where_to_go_on() {
        let stopped = found(Vec::new(), Some(outcome(false, 0, "the peer was lost")));
        let none = VolumeVerify { running: true, last_whole: None, ..found(Vec::new(), None) };
        insta::assert_snapshot!(text("r0", &[stopped, none]), @r"
        r0/0: verify did not finish 2023-11-14 22:14:20 UTC: 512 blocks compared, 0 differ; the peer was lost; go on with --start 4096
          last verified whole: 2023-11-14 22:13:20 UTC
          out-of-sync: 0 blocks of 4 KiB
        r0/0: no verify has ended since it came up; one runs now
          never verified whole
          out-of-sync: 0 blocks of 4 KiB
        ");
    }
}
