//! Points in time for people: always UTC, so that the logs of two nodes compare.

/// `2026-11-21 03:07:23 UTC`, of milliseconds since the Unix epoch.
pub fn utc(unix_millis: u64) -> String {
    let (date, time) = date_and_time(unix_millis / 1000);
    format!("{date} {time} UTC")
}

/// `2026-11-21T03:07:23.000123+00:00`, of microseconds since the Unix epoch: one word, as DRBD
/// stamps its events.
pub fn iso(unix_micros: u64) -> String {
    const SECOND: u64 = 1_000_000;
    let (date, time) = date_and_time(unix_micros / SECOND);
    format!("{date}T{time}.{:06}+00:00", unix_micros % SECOND)
}

fn date_and_time(unix_seconds: u64) -> (String, String) {
    const DAY: u64 = 24 * 60 * 60;
    let (year, month, day) = civil(unix_seconds / DAY);
    let of_day = unix_seconds % DAY;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}"))
}

/// Year, month and day of a number of days since 1970-01-01. Years are counted from March, so that
/// the leap day is the last of its year and needs no case of its own.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    const ERA_DAYS: u64 = 146_097;
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// `1:02:03`, of seconds.
pub fn clock(seconds: u64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_matter() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(951_868_799_999), "2000-02-29 23:59:59 UTC");
        assert_eq!(utc(1_795_230_443_000), "2026-11-21 03:07:23 UTC");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01 00:00:00 UTC");
        assert_eq!(iso(1_795_230_443_000_123), "2026-11-21T03:07:23.000123+00:00");
        assert_eq!(utc(1_735_689_599_000), "2024-12-31 23:59:59 UTC");
    }

    #[test]
    fn hours_do_not_end() {
        assert_eq!(clock(0), "0:00:00");
        assert_eq!(clock(3_723), "1:02:03");
        assert_eq!(clock(360_000), "100:00:00");
    }
}
