//! The progress of a resync on one line, as `/proc/drbd` shows it.

use super::{blocks_kib, time::clock};
use control::{ResyncProgress, VolumeStatus};
use types::ReplicationState;

/// Cells of the bar.
const CELLS: usize = 20;

/// `[===>................] sync'ed: 18.8% (854972/1048508)K finish: 0:01:48 speed: 7,840 K/sec`.
pub fn line(resync: &ResyncProgress, verify: bool) -> String {
    let left = match resync.seconds_left {
        Some(seconds) => clock(seconds),
        None => "unknown".to_owned(),
    };
    format!(
        "{} {}:{:5.1}% ({}/{})K finish: {left} speed: {} K/sec",
        bar(resync.percent),
        word(verify),
        percent_down(resync.percent, 1),
        blocks_kib(resync.left_blocks),
        blocks_kib(resync.total_blocks),
        thousands(resync.bytes_per_second / 1024),
    )
}

/// The same on two lines, the second with the speed now and, in brackets, the mean: here one number.
/// A verify says so, and what is large is counted in MiB, as there.
pub fn lines(resync: &ResyncProgress, verify: bool) -> [String; 2] {
    /// From that many KiB on.
    const LARGE: u64 = 0x0010_0000 * 4;
    let (left, total) = (blocks_kib(resync.left_blocks), blocks_kib(resync.total_blocks));
    let (unit, left, total) =
        if total > LARGE { ('M', left >> 10, total >> 10) } else { ('K', left, total) };
    let word = word(verify);
    let done = percent_down(resync.percent, 1);
    let finish = clock(resync.seconds_left.unwrap_or_default());
    let speed = thousands(resync.bytes_per_second / 1024);
    [
        format!("{} {word}:{done:5.1}% ({left}/{total}){unit}", bar(resync.percent)),
        format!("finish: {finish} speed: {speed} ({speed}) K/sec"),
    ]
}

const fn word(verify: bool) -> &'static str {
    if verify { "verified" } else { "sync'ed" }
}

/// Whether the progress of a volume is that of a verify.
pub const fn is_verify(volume: &VolumeStatus) -> bool {
    matches!(volume.replication, ReplicationState::VerifyS | ReplicationState::VerifyT)
}

/// A percentage cut, not rounded, to that many decimals: 100 is said of what is done only.
pub fn percent_down(percent: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (percent.clamp(0.0, 100.0) * scale).floor() / scale
}

fn bar(percent: f64) -> String {
    let percent = percent_down(percent, 1);
    // The last cell is filled by the end only.
    let full = (percent / 100.0 * CELLS as f64) as usize;
    let head = if full < CELLS { ">" } else { "" };
    format!("[{}{head}{}]", "=".repeat(full), ".".repeat(CELLS - full - head.len()))
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_and_is_full_at_the_end_only() {
        let shown = |left| line(&ResyncProgress::new(0, 10_000, 1000, left), false);
        insta::assert_snapshot!([1000, 999, 812, 500, 1, 0].map(shown).join("\n"), @r"
        [>...................] sync'ed:  0.0% (4000/4000)K finish: unknown speed: 0 K/sec
        [>...................] sync'ed:  0.1% (3996/4000)K finish: 2:46:45 speed: 0 K/sec
        [===>................] sync'ed: 18.8% (3248/4000)K finish: 0:00:44 speed: 75 K/sec
        [==========>.........] sync'ed: 50.0% (2000/4000)K finish: 0:00:10 speed: 200 K/sec
        [===================>] sync'ed: 99.9% (4/4000)K finish: 0:00:01 speed: 399 K/sec
        [====================] sync'ed:100.0% (0/4000)K finish: 0:00:00 speed: 400 K/sec
        ");
    }

    #[test]
    fn a_large_one_is_counted_in_mib_and_a_verify_says_so() {
        let shown = |total, verify| {
            let [bar, speed] = lines(&ResyncProgress::new(0, 10_000, total, total / 2), verify);
            format!("{bar}\n{speed}")
        };
        insta::assert_snapshot!([shown(1000, false), shown(1 << 21, true)].join("\n"), @r"
        [==========>.........] sync'ed: 50.0% (2000/4000)K
        finish: 0:00:10 speed: 200 (200) K/sec
        [==========>.........] verified: 50.0% (4096/8192)M
        finish: 0:00:11 speed: 419,430 (419,430) K/sec
        ");
    }

    #[test]
    fn every_bar_is_as_wide() {
        for percent in 0..=1000 {
            assert_eq!(bar(f64::from(percent) / 10.0).len(), CELLS + 2);
        }
        assert_eq!(bar(f64::NAN).len(), CELLS + 2);
        assert_eq!(bar(-5.0), bar(0.0));
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn nothing_is_rounded_up_to_done() {
        assert_eq!(percent_down(99.999, 2), 99.99);
        assert_eq!(percent_down(100.0, 2), 100.0);
    }
}
