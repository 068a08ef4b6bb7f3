//! Sizes on the command line.

use std::str::FromStr;
use types::VolumeId;

/// Bytes, said with their unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = "a size is decimal digits and one of B (bytes), s (sectors of 512 bytes), K, M, \
                    G, T (powers of 1024), as 20G";
        let unit = match text.chars().last() {
            Some('B') => 1,
            Some('s') => 512,
            Some('K' | 'k') => 1 << 10,
            Some('M' | 'm') => 1 << 20,
            Some('G' | 'g') => 1 << 30,
            Some('T' | 't') => 1u64 << 40,
            _ => return Err(format!("its unit is missing: {rule}")),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(rule.to_owned());
        }
        let number: u64 = digits.parse().map_err(|_| rule.to_owned())?;
        number.checked_mul(unit).map(Self).ok_or_else(|| format!("it is too large; {rule}"))
    }
}

/// How large the disk of a volume was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WasSize {
    /// The volume.
    pub volume: VolumeId,
    /// Bytes of its disk.
    pub size: Size,
}

impl FromStr for WasSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (volume, size) = text.split_once('=').unwrap_or(("0", text));
        let volume = volume.parse().map_err(|_| format!("`{volume}` is no volume"))?;
        Ok(Self { volume: VolumeId(volume), size: size.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        for (text, bytes) in [("20G", 20 << 30), ("8s", 4096), ("7B", 7), ("1t", 1 << 40)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "G", "20", "1.5G", "-1G", "99999999999T", "20GiB", "é"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        let was: WasSize = "3=10G".parse().unwrap();
        assert_eq!((was.volume, was.size), (VolumeId(3), Size(10 << 30)));
        assert_eq!("10G".parse::<WasSize>().unwrap().volume, VolumeId(0));
        assert!("x=10G".parse::<WasSize>().is_err());
    }
}
