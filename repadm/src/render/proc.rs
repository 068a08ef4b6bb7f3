//! `proc`: what `/proc/drbd` of DRBD 8.4 shows, for scripts that read it.
//!
//! ```text
//!  1: cs:Connected ro:Primary/Primary ds:UpToDate/UpToDate C r-----
//!     ns:1048508 nr:0 dw:0 dr:1048508 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
//! ```
//! Scripts key on the minor number. A device that has none gets a number after all others, so that
//! none is overlooked.

use super::{blocks_kib, kib, pairs, progress};
use control::{ResourceStatus, VolumeStatus};
use std::fmt::Write as _;
use types::ConnectionState;

/// The release of DRBD whose format this is, with the numbers that scripts look for behind it.
const FORMAT: &str = "8.4.11 (api:1/proto:86-101)";

/// A volume of this node.
#[derive(Clone, Copy, Debug)]
pub struct Row<'s> {
    /// The minor number of its device, if it has one.
    pub minor: Option<u32>,
    /// It, if it is up.
    pub up: Option<(&'s ResourceStatus, &'s VolumeStatus)>,
}

/// The whole file.
pub fn text(rows: &[Row<'_>]) -> String {
    let release = env!("CARGO_PKG_VERSION");
    let mut text = format!("version: {FORMAT}\nGIT-hash: repd-{release} build by repadm proc\n");
    let above = rows.iter().filter_map(|row| row.minor).max().map_or(0, |highest| highest + 1);
    let mut numbered: Vec<(u32, Row<'_>)> = Vec::new();
    let mut free = above..;
    for row in rows {
        numbered.extend(row.minor.or_else(|| free.next()).map(|minor| (minor, *row)));
    }
    numbered.sort_by_key(|(minor, _)| *minor);
    let mut next = 0;
    for (minor, row) in numbered {
        // An empty line where numbers are missing, as there.
        if minor > next {
            text.push('\n');
        }
        next = minor + 1;
        match row.up {
            Some((resource, volume)) => device(&mut text, minor, resource, volume),
            None => _ = writeln!(text, "{minor:2}: cs:{}", pairs::UNCONFIGURED),
        }
    }
    text
}

fn device(text: &mut String, minor: u32, resource: &ResourceStatus, volume: &VolumeStatus) {
    let (roles, disks, flags) = (pairs::roles(resource), pairs::disks(volume), flags(volume));
    let cs = pairs::connection(resource, volume);
    let protocol = protocol(resource);
    let _ = writeln!(text, "{minor:2}: cs:{cs} ro:{roles} ds:{disks} {protocol} {flags}");
    let counters = &volume.counters;
    let _ = writeln!(
        text,
        "    ns:{} nr:{} dw:{} dr:{} al:{} bm:{} lo:{} pe:{} ua:{} ap:{} ep:1 wo:f oos:{}",
        kib(counters.sent_bytes),
        kib(counters.received_bytes),
        kib(counters.written_bytes),
        kib(counters.read_bytes),
        counters.al_writes,
        counters.bm_writes,
        counters.lower_pending,
        counters.pending,
        counters.unacked,
        counters.upper_pending,
        blocks_kib(volume.out_of_sync_blocks),
    );
    if let Some(resync) = &volume.resync {
        for line in progress::lines(resync, progress::is_verify(volume)) {
            let _ = writeln!(text, "\t{line}");
        }
    }
}

/// The protocol, or a blank when nobody is sought: `C`.
pub fn protocol(resource: &ResourceStatus) -> &'static str {
    match resource.peer.connection {
        ConnectionState::StandAlone => " ",
        _ => resource.protocol.as_str(),
    }
}

/// Six flags: that I/O stands still; that a resync does, as others come first, by order at the peer,
/// by order here; one that means nothing here; that no activity log is kept. `r-----`.
pub fn flags(volume: &VolumeStatus) -> String {
    let run = if volume.suspended.any() { 's' } else { 'r' };
    let log = if volume.flags.is_some_and(|flags| flags.al_disabled) { 's' } else { '-' };
    let pauses = volume.resync_suspended;
    let causes = [(pauses.dependency, 'a'), (pauses.peer, 'p'), (pauses.user, 'u')];
    let causes: String = causes.map(|(so, flag)| if so { flag } else { '-' }).iter().collect();
    format!("{run}{causes}-{log}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    fn of(status: &ResourceStatus) -> String {
        let rows: Vec<_> = status
            .volumes
            .iter()
            .map(|volume| Row { minor: volume.minor, up: Some((status, volume)) })
            .collect();
        text(&rows)
    }

    #[test]
    fn every_state() {
        let shown: String = samples::all()
            .iter()
            .map(|(name, status)| format!("--- {name}\n{}", of(status)))
            .collect();
        insta::assert_snapshot!(shown.replace(env!("CARGO_PKG_VERSION"), "RELEASE"));
    }

    #[test]
    fn what_is_not_up_and_what_has_no_number() {
        let status = samples::both_primary();
        let volume = &status.volumes[0];
        let rows = [
            Row { minor: None, up: Some((&status, volume)) },
            Row { minor: Some(3), up: None },
            Row { minor: Some(0), up: None },
            Row { minor: None, up: None },
        ];
        let text = text(&rows);
        let states: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("cs:"))
            .map(|line| line.split(" ro:").next().unwrap_or(line))
            .collect();
        let expected = [
            " 0: cs:Unconfigured",
            " 3: cs:Unconfigured",
            " 4: cs:Connected",
            " 5: cs:Unconfigured",
        ];
        assert_eq!(states, expected, "{text}");
        assert!(text.contains("cs:Unconfigured\n\n 3:"), "a gap is an empty line: {text}");
    }

    #[test]
    fn nothing_is_up() {
        assert!(text(&[]).starts_with("version: 8.4.11 (api:1/proto:86-101)\n"));
        assert_eq!(text(&[]).lines().count(), 2);
    }

    /// One number behind a key, as scripts take it out of a line.
    fn number(line: &str, key: &str) -> u64 {
        let at = line.find(key).unwrap_or_else(|| panic!("no {key} in {line}"));
        let digits: String =
            line[at + key.len()..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number behind {key} in {line}"))
    }

    /// What a monitoring script makes of a device: its minor number, its state, both roles, both
    /// disks, what is out of sync and how far a resync is. It panics over what it cannot read.
    fn checked(line: &str, counters: &str, bar: Option<&str>) -> (u32, [String; 5], u64, f64) {
        let (minor, rest) = line.split_once(": ").expect("a minor number and a colon");
        let minor = minor.trim().parse().expect("a number");
        let mut words = rest.split(' ');
        let mut word = |key: &str| {
            let word = words.next().unwrap_or_default();
            word.strip_prefix(key).unwrap_or_else(|| panic!("no {key} in {line}")).to_owned()
        };
        let (state, roles, disks) = (word("cs:"), word("ro:"), word("ds:"));
        let both = |pair: &str| {
            let (one, other) = pair.split_once('/').expect("ours and the peer's");
            [one.to_owned(), other.to_owned()]
        };
        let ([role, peer_role], [disk, peer_disk]) = (both(&roles), both(&disks));
        let done = bar.map_or(100.0, |bar| {
            let (_, rest) = bar.split_once("sync'ed:").expect("a bar says how far it is");
            rest.split('%').next().and_then(|text| text.trim().parse().ok()).expect("a percentage")
        });
        (minor, [state, role, peer_role, disk, peer_disk], number(counters, "oos:"), done)
    }

    #[test]
    fn a_monitoring_script_reads_every_state() {
        const OLD_STATES: &[&str] = &[
            "StandAlone",
            "Disconnecting",
            "Unconnected",
            "Timeout",
            "BrokenPipe",
            "NetworkFailure",
            "ProtocolError",
            "TearDown",
            "Connecting",
            "WFReportParams",
            "Connected",
            "StartingSyncS",
            "StartingSyncT",
            "WFBitMapS",
            "WFBitMapT",
            "WFSyncUUID",
            "SyncSource",
            "SyncTarget",
            "VerifyS",
            "VerifyT",
            "PausedSyncS",
            "PausedSyncT",
            "Ahead",
            "Behind",
        ];
        for (name, status) in samples::all() {
            let shown = of(&status);
            let lines: Vec<&str> = shown.lines().collect();
            let mut seen = 0;
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" cs:")) {
                let bar = lines.get(at + 2).filter(|line| line.starts_with("\t["));
                let (minor, words, oos, done) = checked(line, lines[at + 1], bar.copied());
                let volume = &status.volumes[seen];
                assert_eq!(Some(minor), volume.minor, "{name}");
                assert!(OLD_STATES.contains(&words[0].as_str()), "{name}: {}", words[0]);
                assert_eq!(words[1], status.role.as_str(), "{name}");
                assert_eq!(words[2], status.peer.role.as_str(), "{name}");
                assert_eq!(words[3], volume.disk.as_str(), "{name}");
                assert_eq!(words[4], volume.peer_disk.as_str(), "{name}");
                assert_eq!(oos, blocks_kib(volume.out_of_sync_blocks), "{name}");
                assert_eq!(done < 100.0, volume.resync.is_some(), "{name}");
                seen += 1;
            }
            assert_eq!(seen, status.volumes.len(), "{name}:\n{shown}");
        }
    }
}
