//! `top`: what each volume did since the last look, and where the time of its requests went, below the
//! overview.

use super::overview::{Row, text as overview};
use super::size::size;
use control::{ResourceStatus, VolumeStatus};
use std::fmt::Write as _;
use std::time::Duration;
use types::{Histogram, Stage};

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

/// One frame: the overview, then a line of numbers for each volume that is up, and one of latencies for
/// each that has answered anything. What was not there before has done nothing so far.
pub fn frame(
    rows: &[Row],
    before: &[ResourceStatus],
    now: &[ResourceStatus],
    elapsed: Duration,
) -> String {
    let mut table = vec![HEAD.map(ToOwned::to_owned).to_vec()];
    let mut latencies = vec![latency_head()];
    for resource in now {
        let earlier = before.iter().find(|earlier| earlier.name == resource.name);
        for volume in &resource.volumes {
            let earlier = earlier.and_then(|earlier| {
                earlier.volumes.iter().find(|earlier| earlier.volume == volume.volume)
            });
            let earlier = earlier.unwrap_or(volume);
            table.push(line(resource, volume, earlier, elapsed));
            latencies.extend(latency(resource, volume, earlier));
        }
    }
    let mut text = overview(rows);
    for table in [table, latencies] {
        if table.len() > 1 {
            text.push('\n');
            text += &columns(&table);
        }
    }
    text
}

fn line(
    resource: &ResourceStatus,
    volume: &VolumeStatus,
    earlier: &VolumeStatus,
    elapsed: Duration,
) -> Vec<String> {
    let done = Counted::of(volume).since(Counted::of(earlier));
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = |count: u64| count.saturating_mul(1000) / millis;
    let rate = |bytes: u64| size(per_second(bytes));
    let counters = &volume.counters;
    vec![
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

fn latency_head() -> Vec<String> {
    let stages = Stage::ALL.into_iter().map(|stage| stage.as_str().to_uppercase());
    ["50%/99% in µs".to_owned()].into_iter().chain(stages).collect()
}

/// Of each stage the median and what 99 % did not exceed; nothing if nothing was answered.
fn latency(
    resource: &ResourceStatus,
    volume: &VolumeStatus,
    earlier: &VolumeStatus,
) -> Option<Vec<String>> {
    let since = |stage| volume.ledger.of(stage).since(earlier.ledger.of(stage));
    let all: Vec<Histogram> = Stage::ALL.into_iter().map(since).collect();
    all.iter().any(|histogram| histogram.count() > 0).then(|| {
        let name = format!("{}/{}", resource.name, volume.volume);
        let words = all.iter().map(|histogram| {
            let percent = |percent| histogram.percentile_micros(percent);
            match percent(50).zip(percent(99)) {
                Some((half, most)) => format!("{half}/{most}"),
                None => "-".to_owned(),
            }
        });
        [name].into_iter().chain(words).collect()
    })
}

/// Each column as wide as its widest word; the first to the left, numbers to the right.
fn columns(table: &[Vec<String>]) -> String {
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
    use types::Span;

    #[test]
    fn what_was_done_in_two_seconds() {
        let (before, mut now) = (samples::two_volumes(), samples::two_volumes());
        now.volumes[1].clients[0].requests += 2000;
        now.volumes[1].counters.written_bytes += 8 << 20;
        now.volumes[1].counters.sent_bytes += 8 << 20;
        now.volumes[1].counters.upper_pending = 32;
        now.volumes[0].out_of_sync_blocks = 5;
        for micros in 1..=100 {
            now.volumes[1].ledger.record(Stage::Write, Span::micros(10 * micros));
            now.volumes[1].ledger.record(Stage::Peer, Span::micros(9 * micros));
        }
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
