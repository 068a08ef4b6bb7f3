//! `show-gi` and `get-gi`: the identifiers that tell who has the newer data, and their story.

use super::time::utc;
use control::{FlagStatus, GenerationStatus, GenerationsStatus};
use std::fmt::Write as _;
use types::NodeId;

/// The identifiers of one copy, from the daemon or from its disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// `r0/0`.
    pub name: String,
    /// The node that has this copy, if that is known.
    pub node: Option<NodeId>,
    /// Where it was read: a disk, or the running daemon.
    pub source: String,
    /// What it knows.
    pub generations: GenerationsStatus,
    /// Its flags.
    pub flags: FlagStatus,
    /// Whether the peer is connected now.
    pub connected: bool,
    /// Whether its log must be applied before the bitmap tells the truth: it was not let go in
    /// order, and is not in use now.
    pub unclean: bool,
}

const UNSET: &str = "0000000000000000";
/// So many former generations are in the short form, which has a fixed number of fields.
const HISTORY_SHORT: usize = 2;

/// `CURRENT:BITMAP:HISTORY:HISTORY:` and seven flags, as DRBD 8.4 prints them: consistent, was
/// UpToDate, Primary, connected, full sync, peer outdated, crashed Primary.
pub fn short(copy: &Copy) -> String {
    let generations = &copy.generations;
    let history = |at: usize| generations.history.get(at).map_or(UNSET, |former| &former.id);
    let flags = &copy.flags;
    let mut text = format!(
        "{}:{}",
        generations.current.id,
        generations.bitmap.as_ref().map_or(UNSET, |bitmap| &bitmap.id)
    );
    for at in 0..HISTORY_SHORT {
        let _ = write!(text, ":{}", history(at));
    }
    for flag in [
        flags.consistent,
        flags.was_up_to_date,
        flags.primary,
        copy.connected,
        flags.full_sync,
        flags.peer_outdated,
        flags.crashed_primary,
    ] {
        let _ = write!(text, ":{}", u8::from(flag));
    }
    text
}

/// The same, explained.
pub fn explained(copy: &Copy) -> String {
    let node = copy.node.map_or_else(String::new, |node| format!(" on node {node}"));
    let mut text = format!("{}{node}, {}\n", copy.name, copy.source);
    let generations = &copy.generations;
    story(&mut text, "current", &generations.current, "what the data is now");
    match &generations.bitmap {
        Some(bitmap) => {
            story(
                &mut text,
                "bitmap",
                bitmap,
                "what the peer last had in full; the marks are since",
            );
        }
        None => {
            let _ =
                writeln!(text, "  {:<8} {UNSET}  nothing was written without the peer", "bitmap");
        }
    }
    for former in &generations.history {
        story(&mut text, "history", former, "former data");
    }
    flags(&mut text, copy);
    let _ = writeln!(text, "  {}", short(copy));
    text
}

fn story(text: &mut String, label: &str, generation: &GenerationStatus, meaning: &str) {
    const JUST_CREATED: &str = "0000000000000004";
    let meaning =
        if generation.id == JUST_CREATED { "fresh metadata, no data yet" } else { meaning };
    let _ = writeln!(text, "  {label:<8} {}  {meaning}", generation.id);
    let _ = write!(
        text,
        "  {:26} {} at {} by node {}",
        "",
        generation.cause,
        utc(generation.born),
        generation.node
    );
    if let (Some(first), Some(last)) = (generation.first_solo, generation.last_solo) {
        let _ = write!(text, "\n  {:26} written alone {} to {}", "", utc(first), utc(last));
    }
    text.push('\n');
}

fn flags(text: &mut String, copy: &Copy) {
    let flags = &copy.flags;
    let words = [
        (flags.consistent, "consistent"),
        (flags.was_up_to_date, "was-up-to-date"),
        (flags.primary, "primary"),
        (copy.connected, "connected"),
        (flags.full_sync, "full-sync"),
        (flags.peer_outdated, "peer-outdated"),
        (flags.crashed_primary, "crashed-primary"),
        (flags.al_disabled, "no activity log"),
        (copy.unclean, "unclean (its log is applied by attach, or repadm apply-al)"),
    ];
    let set: Vec<&str> = words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
    let set = if set.is_empty() { "none".to_owned() } else { set.join(", ") };
    let _ = writeln!(text, "  {:<8} {set}", "flags");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;
    use control::ResourceStatus;

    fn copy(status: &ResourceStatus) -> Copy {
        let volume = &status.volumes[0];
        Copy {
            name: "r0/0".into(),
            node: Some(status.node_id),
            source: "as the daemon has it".into(),
            generations: volume.generations.clone().expect("has a disk"),
            flags: volume.flags.expect("has a disk"),
            connected: status.peer.established,
            unclean: false,
        }
    }

    #[test]
    fn the_short_form_has_drbds_fields() {
        assert_eq!(
            short(&copy(&samples::connecting())),
            "1C1EAF0D624115FF:5202447251D01101:898C25BEEE067E26:0000000000000000:1:1:1:0:0:0:0"
        );
        assert_eq!(
            short(&copy(&samples::just_created())),
            "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:1:0:0:0"
        );
    }

    #[test]
    fn every_state_in_one_line() {
        let with_a_disk = samples::all().into_iter().filter(|(_, s)| s.volumes[0].flags.is_some());
        let shown: Vec<_> = with_a_disk
            .map(|(name, status)| format!("{name}: {}", short(&copy(&status))))
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn explained_in_many_states() {
        let mut unclean = copy(&samples::both_primary());
        unclean.source = "read from /dev/vda3".into();
        unclean.node = None;
        unclean.connected = false;
        unclean.unclean = true;
        unclean.flags.crashed_primary = true;
        let copies = [copy(&samples::connecting()), copy(&samples::just_created()), unclean];
        insta::assert_snapshot!(copies.map(|copy| explained(&copy)).join("\n"));
    }
}
