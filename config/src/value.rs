//! Values of options: from the text of a token to a checked value.

use crate::nearest::nearest;
use crate::options::{Kind, OPTIONS, OptionSpec, Scale};
use std::net::SocketAddr;

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// `yes` or `no`.
    Flag(bool),
    /// A number in the option's own units.
    Number(u64),
    /// A word or any other text; words of a choice are in their canonical case.
    Text(String),
    /// An address.
    Address(SocketAddr),
}

/// Why a text is no value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadValue {
    /// What is wrong, to be written under the value.
    pub(crate) problem: String,
    /// The rule: which values are valid.
    pub(crate) rule: String,
    /// The way out, if one can be guessed.
    pub(crate) help: Option<String>,
}

impl BadValue {
    fn new(problem: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { problem: problem.into(), rule: rule.into(), help: None }
    }
}

/// The value that `text` is for that option.
pub(crate) fn parse(spec: &OptionSpec, text: &str) -> Result<Value, BadValue> {
    match spec.kind {
        Kind::Flag => match text {
            "yes" => Ok(Value::Flag(true)),
            "no" => Ok(Value::Flag(false)),
            _ => {
                let rule = format!("`{}` takes `yes` or `no`", spec.name);
                let mut bad = BadValue::new("neither `yes` nor `no`", rule);
                bad.help = flag_meant(text).map(|word| format!("write `{} {word};`", spec.name));
                Err(bad)
            }
        },
        Kind::Choice(words) => choice(spec, words, text).map(Value::Text),
        Kind::Number { min, max, scale } => {
            let value = number(text, scale)?;
            in_range(spec, value, min, max).map(Value::Number).map_err(|mut bad| {
                if text.ends_with('s') {
                    bad.help = Some("`s` stands for sectors of 512 bytes: leave it out".into());
                }
                bad
            })
        }
        Kind::ChoiceOrNumber(words, max) => {
            if words.contains(&text) || matches!(text.parse(), Ok(1_u64..) if fits(text, max)) {
                return Ok(Value::Text(text.into()));
            }
            let rule = format!("valid are {} and 1 to {max}", listed(words));
            Err(BadValue::new(format!("not a value of `{}`", spec.name), rule))
        }
        Kind::Text(most) if text.len() > most => Err(BadValue::new(
            format!("{} bytes long", text.len()),
            format!("`{}` takes at most {most} bytes", spec.name),
        )),
        Kind::Text(_) | Kind::Hosts => Ok(Value::Text(text.into())),
        Kind::ResyncAfter => resync_after(text),
        Kind::Address => address(text).map(Value::Address),
        Kind::Path => absolute_path(text).map(|path| Value::Text(path.into())),
        Kind::Mode => mode(text).map(|bits| Value::Number(bits.into())),
    }
}

/// Which values the option takes, for messages and the reference.
pub(crate) fn describe(spec: &OptionSpec) -> String {
    match spec.kind {
        Kind::Flag => "yes or no".into(),
        Kind::Choice(words) => words.join(", "),
        Kind::Number { min, max, .. } => {
            let unit = if spec.unit.is_empty() {
                String::new()
            } else {
                format!(" (unit: {})", spec.unit)
            };
            format!("{min} to {max}{unit}")
        }
        Kind::ChoiceOrNumber(words, max) => format!("{}, or 1 to {max}", words.join(", ")),
        Kind::Text(most) => format!("text of at most {most} bytes"),
        Kind::Hosts => "names of hosts, or both".into(),
        Kind::ResyncAfter => "a minor number, RESOURCE/VOLUME, or RESOURCE".into(),
        Kind::Address => "ADDRESS:PORT".into(),
        Kind::Path => "an absolute path".into(),
        Kind::Mode => "octal permission bits, 0600 to 0777".into(),
    }
}

fn fits(text: &str, max: u64) -> bool {
    text.parse::<u64>().is_ok_and(|number| number <= max)
}

fn flag_meant(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" | "yes" | "y" => Some("yes"),
        "false" | "off" | "0" | "no" | "n" => Some("no"),
        _ => None,
    }
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

fn choice(spec: &OptionSpec, words: &[&str], text: &str) -> Result<String, BadValue> {
    // Of the words only `protocol`'s are spelled in capitals, and DRBD takes those in any case.
    let exact = words.iter().find(|word| **word == text);
    let upper = || words.iter().find(|word| word.len() == 1 && word.eq_ignore_ascii_case(text));
    if let Some(word) = exact.or_else(upper) {
        return Ok((*word).into());
    }
    let rule = format!("valid values of `{}`: {}", spec.name, listed(words));
    let mut bad = BadValue::new(format!("not a value of `{}`", spec.name), rule);
    let elsewhere: Vec<_> = OPTIONS
        .iter()
        .filter(|other| matches!(other.kind, Kind::Choice(words) if words.contains(&text)))
        .map(|other| format!("`{}`", other.name))
        .collect();
    bad.help = if text.starts_with("discard-node-") {
        Some("name the loser as `discard-local` or `discard-remote`".into())
    } else if !elsewhere.is_empty() {
        Some(format!("`{text}` is a value of {}", elsewhere.join(" and ")))
    } else {
        nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"))
    };
    Err(bad)
}

/// A number in units of `scale`: digits with an optional suffix, rounded up.
pub(crate) fn number(text: &str, scale: Scale) -> Result<u64, BadValue> {
    let rule = "a number is decimal digits, then perhaps one of `s` (sectors of 512 bytes), \
                `K`, `M`, `G` (powers of 1024)";
    let (digits, suffix) = match text.char_indices().next_back() {
        Some((at, last)) if !last.is_ascii_digit() => (&text[..at], Some(last)),
        _ => (text, None),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadValue::new("not a number", rule));
    }
    let too_big = || BadValue::new("too large a number", rule);
    let digits: u64 = digits.parse().map_err(|_| too_big())?;
    let factor = match suffix {
        None => return Ok(digits),
        Some('s') => 512,
        Some('K' | 'k') => 1 << 10,
        Some('M' | 'm') => 1 << 20,
        Some('G' | 'g') => 1 << 30,
        Some(other) => {
            let mut bad = BadValue::new(format!("`{other}` is not a suffix"), rule);
            bad.help = (other == 'T').then(|| "there is no `T`: 1T is 1024G".into());
            return Err(bad);
        }
    };
    digits.checked_mul(factor).map(|units| units.div_ceil(scale.factor())).ok_or_else(too_big)
}

fn in_range(spec: &OptionSpec, value: u64, min: u64, max: u64) -> Result<u64, BadValue> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let problem = if value < min { "too small" } else { "too large" };
    let mut bad =
        BadValue::new(problem, format!("the range of `{}` is {}", spec.name, describe(spec)));
    let bound = if value < min { min } else { max };
    bad.help = Some(format!("the nearest valid value is {bound}"));
    Err(bad)
}

fn resync_after(text: &str) -> Result<Value, BadValue> {
    // In DRBD 8.3 a resource has one volume, and its name is enough.
    let is_name = !text.is_empty() && !text.starts_with('-') && !text.contains('/');
    if is_name && !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Value::Text(format!("{text}/0")));
    }
    let volume = |(name, volume): (&str, &str)| !name.is_empty() && volume.parse::<u16>().is_ok();
    if text == "-1" || text.parse::<u32>().is_ok() || text.rsplit_once('/').is_some_and(volume) {
        return Ok(Value::Text(text.into()));
    }
    Err(BadValue::new(
        "names no volume",
        "valid is a minor number, RESOURCE/VOLUME, or RESOURCE for its volume 0",
    ))
}

fn is_number_above(text: &str, most: u64) -> bool {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number && !fits(text, most)
}

/// An address with a port, IPv6 in brackets.
pub(crate) fn address(text: &str) -> Result<SocketAddr, BadValue> {
    let rule = "an address is IPV4:PORT or [IPV6]:PORT, in digits";
    let address: SocketAddr = text.parse().map_err(|_| {
        let host = text.rsplit_once(':').map(|(host, _)| host);
        let mut bad = match host {
            None => BadValue::new("without a port", rule),
            Some(host) if is_number_above(&text[host.len() + 1..], u16::MAX.into()) => {
                BadValue::new("port too large", "a port is 1 to 65535")
            }
            Some(host) if host.split('.').any(|part| is_number_above(part, u8::MAX.into())) => {
                BadValue::new("number above 255 in the address", rule)
            }
            Some(_) if text.contains('%') => BadValue::new("scope of the address", rule),
            Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                BadValue::new("IPv6 without brackets", rule)
            }
            Some(_) => BadValue::new("not an address with a port", rule),
        };
        bad.help = match host {
            None if text.parse::<std::net::IpAddr>().is_ok() => {
                Some(format!("write the port too, for instance `{text}:7789`"))
            }
            Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                let port = &text[host.len()..];
                Some(format!("write `[{host}]{port}`"))
            }
            _ if text.contains('%') => {
                Some("write the scope as the number of the interface, as `ip link` shows it".into())
            }
            Some(host) if host.contains(|c: char| c.is_ascii_alphabetic()) => {
                Some("names of hosts are not looked up: write the address itself".into())
            }
            _ => None,
        };
        bad
    })?;
    if address.port() == 0 {
        return Err(BadValue::new("port 0", "a port is 1 to 65535"));
    }
    Ok(address)
}

/// A path that does not depend on who reads it where.
pub(crate) fn absolute_path(text: &str) -> Result<&str, BadValue> {
    if text.starts_with('/') {
        return Ok(text);
    }
    let mut bad = BadValue::new("not an absolute path", "the daemon does not know your directory");
    bad.help = Some("write the whole path, from `/`".into());
    Err(bad)
}

/// Permission bits of a socket by the rules of `unix-mode`, for programs that take them elsewhere.
///
/// # Errors
/// With what is wrong and the way out.
pub fn file_mode(text: &str) -> Result<u32, String> {
    mode(text).map_err(|BadValue { problem, rule, help }| {
        let help = help.map_or_else(String::new, |help| format!("; {help}"));
        format!("{problem}: {rule}{help}")
    })
}

/// Permission bits of a socket, whose owner can use it in any case.
pub(crate) fn mode(text: &str) -> Result<u32, BadValue> {
    let rule = "a mode is three octal digits, or four of which the first is 0, as chmod takes it";
    let digits = text.strip_prefix('0').unwrap_or(text);
    let is_octal = digits.len() == 3 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let bits = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal);
    let Some(bits) = bits else {
        let mut bad = BadValue::new("not a mode", rule);
        bad.help = Some("write `0600` for the owner alone, `0660` for a group too".into());
        return Err(bad);
    };
    if bits & 0o600 != 0o600 {
        let mut bad = BadValue::new("the owner could not connect", rule);
        bad.help = Some(format!("write `{:04o}`", bits | 0o600));
        return Err(bad);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_convert_to_the_scale_and_round_up() {
        assert_eq!(number("10", Scale::Kibi), Ok(10));
        assert_eq!(number("10M", Scale::Kibi), Ok(10 * 1024));
        assert_eq!(number("3s", Scale::Kibi), Ok(2));
        assert_eq!(number("1G", Scale::Sector), Ok(2 * 1024 * 1024));
        assert_eq!(number("2k", Scale::One), Ok(2048));
        assert!(number("1T", Scale::One).is_err());
        assert!(number("", Scale::One).is_err());
        assert!(number("K", Scale::One).is_err());
        assert!(number("-1", Scale::One).is_err());
        assert!(number("18446744073709551615G", Scale::One).is_err());
    }

    #[test]
    fn modes_are_octal_and_let_the_owner_in() {
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(mode("777"), Ok(0o777));
        for bad in ["", "0", "66", "0o660", "00660", "1777", "0680", "rw-rw----", "-660", "+660"] {
            assert_eq!(mode(bad).unwrap_err().problem, "not a mode", "{bad}");
        }
        assert_eq!(mode("0060").unwrap_err().help.as_deref(), Some("write `0660`"));
    }

    #[test]
    fn addresses_are_literal() {
        assert!(address("[::1]:7789").is_ok());
        assert!(address("10.0.0.1:7789").is_ok());
        let problem = |text| address(text).unwrap_err().problem;
        assert_eq!(problem("127.0.0.1:277899"), "port too large");
        assert_eq!(problem("[::1]:65536"), "port too large");
        assert_eq!(problem("127.0.0.256:1"), "number above 255 in the address");
        assert_eq!(problem("127.0.0.1.1:1"), "not an address with a port");
        for bad in ["10.0.0.1", "10.0.0.1:0", "10.0.0.1:70000", "alpha:7789", "::1:7789", ""] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
