//! `top`: what each volume did since the last look, below the overview.

use super::overview::{Row, text as overview};
use super::size::size;
use control::{ResourceStatus, VolumeStatus};
use std::fmt::Write as _;
use std::time::Duration;

/// A volume's numbers at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    requests: u64,
    read: u64,
    written: u64,
    sent: u64,
    received: u64,
}

impl Counted {
    fn of(volume: &VolumeStatus) -> Self {
        let counters = &volume.counters;
        Self {
            requests: volume.clients.iter().map(|client| client.requests).sum(),
            read: counters.read_bytes,
            written: counters.written_bytes,
            sent: counters.sent_bytes,
            received: counters.received_bytes,
        }
    }

    /// What came since `before`; a client that has gone takes its requests with it.
    const fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            read: self.read.saturating_sub(before.read),
            written: self.written.saturating_sub(before.written),
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
        }
    }
}

const HEAD: [&str; 9] = [
    "VOLUME",
    "IOPS",
    "READ/s",
    "WRITTEN/s",
    "SENT/s",
    "RECEIVED/s",
    "IN FLIGHT",
    "CONFLICTS",
    "OUT-OF-SYNC",
];

/// One frame: the overview, then a line of numbers for each volume that is up. What was not there
/// before has done nothing so far.
pub fn frame(
    rows: &[Row],
    before: &[ResourceStatus],
    now: &[ResourceStatus],
    elapsed: Duration,
) -> String {
    let mut table = vec![HEAD.map(ToOwned::to_owned)];
    for resource in now {
        let earlier = before.iter().find(|earlier| earlier.name == resource.name);
        for volume in &resource.volumes {
            let earlier = earlier.and_then(|earlier| {
                earlier.volumes.iter().find(|earlier| earlier.volume == volume.volume)
            });
            table.push(line(resource, volume, earlier.unwrap_or(volume), elapsed));
        }
    }
    let mut text = overview(rows);
    if table.len() > 1 {
        text.push('\n');
        text += &columns(&table);
    }
    text
}

fn line(
    resource: &ResourceStatus,
    volume: &VolumeStatus,
    earlier: &VolumeStatus,
    elapsed: Duration,
) -> [String; 9] {
    let done = Counted::of(volume).since(Counted::of(earlier));
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = |count: u64| count.saturating_mul(1000) / millis;
    let rate = |bytes: u64| size(per_second(bytes));
    let counters = &volume.counters;
    [
        format!("{}/{}", resource.name, volume.volume),
        per_second(done.requests).to_string(),
        rate(done.read),
        rate(done.written),
        rate(done.sent),
        rate(done.received),
        counters.upper_pending.to_string(),
        (counters.conflicts_won.total() + counters.conflicts_lost.total()).to_string(),
        size(volume.out_of_sync_blocks * types::BLOCK_BYTES),
    ]
}

/// Each column as wide as its widest word; the first to the left, numbers to the right.
fn columns(table: &[[String; 9]]) -> String {
    let width = |at: usize| table.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for line in table {
        let _ = write!(text, " {:<w$}", line[0], w = width(0));
        for (at, word) in line.iter().enumerate().skip(1) {
            let _ = write!(text, "  {word:>w$}", w = width(at));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn what_was_done_in_two_seconds() {
        let (before, mut now) = (samples::two_volumes(), samples::two_volumes());
        now.volumes[1].clients[0].requests += 2000;
        now.volumes[1].counters.written_bytes += 8 << 20;
        now.volumes[1].counters.sent_bytes += 8 << 20;
        now.volumes[1].counters.upper_pending = 32;
        now.volumes[0].out_of_sync_blocks = 5;
        // Its client has gone.
        now.volumes[0].clients.clear();
        let mut new = samples::connecting();
        new.name = "new".into();
        let shown = frame(&[], &[before], &[now, new], Duration::from_secs(2));
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn no_time_and_no_volumes_are_no_trouble() {
        let status = [samples::both_primary()];
        assert!(frame(&[], &status, &status, Duration::ZERO).contains("r0/0"));
        assert_eq!(frame(&[], &[], &[], Duration::ZERO), "");
    }
}
