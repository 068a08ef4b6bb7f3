//! Sizes for people.

/// `4 KiB`, `1.6 MiB`: with one decimal where it is not whole, rounded up, so that «at most» stays
/// true.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut at = 0;
    let mut unit = 1024_u64;
    // A number of four digits is one unit too low.
    while at + 1 < UNITS.len() && bytes / unit >= 1024 {
        unit <<= 10;
        at += 1;
    }
    let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(unit));
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {}", UNITS[at]),
        (whole, tenth) => format!("{whole}.{tenth} {}", UNITS[at]),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn whole_numbers_are_short_and_others_are_rounded_up() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4 KiB"),
            (4097, "4.1 KiB"),
            (1 << 20, "1 MiB"),
            ((1 << 20) + 1, "1.1 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
