use super::*;
use control::{GenerationStatus, PolicyReport, VerdictReport};
use types::{DiskState, NodeId};

/// 2026-11-21 03:07:23 UTC.
const THEN: u64 = 1_795_230_443_000;
const MIB: u64 = 1 << 20;

fn generation(id: &str, cause: &str, minutes: u64) -> GenerationStatus {
    GenerationStatus {
        id: id.into(),
        born: THEN + minutes * 60_000,
        cause: cause.into(),
        node: NodeId(0),
        first_solo: None,
        last_solo: None,
    }
}

fn marks(ranges: &[(u64, u64)], more_ranges: u64, more_bytes: u64) -> MarksReport {
    let bytes = ranges.iter().map(|(_, bytes)| bytes).sum::<u64>() + more_bytes;
    MarksReport {
        blocks: bytes / 4096,
        bytes,
        ranges: ranges.iter().map(|&(offset, bytes)| RangeReport { offset, bytes }).collect(),
        more_ranges,
    }
}

fn copy(id: &str, minutes: u64, marks: MarksReport) -> CopyReport {
    CopyReport {
        disk: DiskState::UpToDate,
        current: generation(id, "peer lost", minutes),
        first_solo: Some(THEN + minutes * 60_000 + 5_000),
        last_solo: Some(THEN + minutes * 60_000 + 65_000),
        rounded_up: false,
        everything: false,
        marks,
    }
}

fn verdict(outcome: Outcome, rule: &str, why: &str) -> Option<VerdictReport> {
    Some(VerdictReport { outcome, rule: rule.into(), why: why.into() })
}

/// Both wrote, the same place too; beta crashed meanwhile, and wrote in many places.
fn both_wrote() -> Picture {
    let here = copy("1C1EAF0D624115FF", 3, marks(&[(0, MIB), (8 * MIB, 4096)], 0, 0));
    let many: Vec<_> = (0..10).map(|n| (n * 8 * MIB, 4 * MIB)).collect();
    let mut there = copy("77F00BA77F00BA76", 4, marks(&many, 32, 32 * 4 * MIB));
    there.rounded_up = true;
    let why = "Both nodes went on alone from the same generation: split brain.";
    Picture {
        connected: false,
        found: Some("split brain on r0/0".into()),
        sizes: vec![(VolumeId(0), 1024 * MIB)],
        report: SplitBrainReport {
            resource: "r0".into(),
            node: "alpha".into(),
            peer: "beta".into(),
            role: Role::Primary,
            peer_role: Role::Secondary,
            peer_silent: None,
            split_brain: true,
            volumes: vec![VolumeReport {
                volume: VolumeId(0),
                verdict: verdict(Outcome::SplitBrain, "both-ahead-of-one", why),
                common: Some(generation("5202447251D01101", "forced Primary", 0)),
                here: Some(here),
                there: Some(there),
                overlap: marks(&[(0, MIB), (8 * MIB, 4096)], 0, 0),
                union_bytes: 168 * MIB,
                policy: Some(PolicyReport {
                    discards: None,
                    why: "after-sb-1pri leaves it to the operator".into(),
                }),
            }],
        },
    }
}

/// A second volume whose marks do not reach back, and a policy for the first.
fn too_old() -> Picture {
    let mut picture = both_wrote();
    let mut second = picture.report.volumes[0].clone();
    second.volume = VolumeId(1);
    second.verdict = verdict(
        Outcome::SplitBrain,
        "common-ancestor",
        "Both nodes went on alone, from a generation too old for the marks: split brain.",
    );
    second.overlap = MarksReport::default();
    second.there = Some(copy("77F00BA77F00BA76", 4, MarksReport::default()));
    let policy = picture.report.volumes[0].policy.as_mut().expect("it is split");
    policy.discards = Some("beta".into());
    policy.why = "after-sb-1pri discards the changes of beta".into();
    picture.report.volumes.push(second);
    picture.sizes.push((VolumeId(1), 64 * MIB));
    picture
}

/// The peer cannot be reached.
fn peer_silent() -> Picture {
    let mut picture = both_wrote();
    let report = &mut picture.report;
    report.peer_role = Role::Unknown;
    report.peer_silent = Some("no connection within 6 s".into());
    report.split_brain = false;
    let volume = &mut report.volumes[0];
    (volume.verdict, volume.policy, volume.common, volume.there) = (None, None, None, None);
    volume.overlap = MarksReport::default();
    picture
}

/// This node is merely ahead.
fn no_split_brain() -> Picture {
    let mut picture = both_wrote();
    picture.found = None;
    picture.report.split_brain = false;
    let volume = &mut picture.report.volumes[0];
    volume.verdict = verdict(
        Outcome::SourceOfMarks,
        "ahead-by-bitmap",
        "One node went on alone from what the other has, and has marked what it wrote.",
    );
    volume.policy = None;
    volume.union_bytes = MIB + 4096;
    picture
}

#[test]
fn both_nodes_wrote_and_the_same_place_too() {
    insta::assert_snapshot!(text(&both_wrote()));
}

#[test]
fn marks_that_do_not_reach_back() {
    insta::assert_snapshot!(text(&too_old()));
}

#[test]
fn a_peer_that_is_silent() {
    insta::assert_snapshot!(text(&peer_silent()));
    let unknown = Picture { found: None, ..peer_silent() };
    assert!(text(&unknown).starts_with("r0: whether there is a split brain is not known.\n"));
    assert!(!unknown.is_split() && !unknown.is_sound() && peer_silent().is_split());
}

#[test]
fn no_split_brain_at_all() {
    insta::assert_snapshot!(text(&no_split_brain()));
    let connected = Picture { connected: true, ..no_split_brain() };
    assert!(connected.is_sound());
    assert_eq!(text(&connected), "r0: no split brain: alpha and beta are connected\n\n");
}

#[test]
fn what_a_handshake_would_decide() {
    let mut overrun = no_split_brain();
    overrun.report.peer_role = Role::Primary;
    let pictures = [both_wrote(), too_old(), no_split_brain(), overrun];
    assert_eq!(pictures.each_ref().map(Picture::stays_split), [true, true, false, false]);
    insta::assert_snapshot!(pictures.map(|picture| tentative(&picture)).join("---\n"));
}

#[test]
fn the_json_is_the_report_and_what_each_choice_costs() {
    let value = json(&both_wrote());
    assert_eq!(value["discard-here-bytes"], MIB + 4096);
    assert_eq!(value["discard-there-bytes"], 168 * MIB);
    assert_eq!(value["volumes"][0]["there"]["rounded-up"], true);
    assert_eq!(value["volumes"][0]["there"]["marks"]["more-ranges"], 32);
    // What the marks do not tell counts whole.
    assert_eq!(json(&too_old())["discard-here-bytes"], MIB + 4096 + 64 * MIB);
    assert_eq!(json(&peer_silent())["discard-here-bytes"], Value::Null);
    insta::assert_snapshot!(format!("{:#}", json(&no_split_brain())));
}
