//! Colour for the states in a finished text: what is well, what is under way, what needs somebody.

use std::fmt::Write as _;

const WELL: &str = "32";
const UNDER_WAY: &str = "33";
const TROUBLE: &str = "31";
const STRONG: &str = "1";

/// The colour of a word, if it has one.
fn of(word: &str) -> Option<&'static str> {
    Some(match word {
        "UpToDate" | "Established" | "Connected" => WELL,
        "Primary" => STRONG,
        "SyncSource" | "SyncTarget" | "VerifyS" | "VerifyT" | "PausedSyncS" | "PausedSyncT"
        | "Connecting" | "Consistent" | "Attaching" | "Negotiating" | "Detaching" | "Ahead"
        | "Behind" | "WFBitMapS" | "WFBitMapT" | "Unconnected" => UNDER_WAY,
        "Inconsistent" | "Outdated" | "Failed" | "Diskless" | "DUnknown" | "StandAlone"
        | "Unconfigured" | "NetworkFailure" | "Timeout" | "BrokenPipe" | "ProtocolError" => TROUBLE,
        _ => return None,
    })
}

/// The text with its states in colour.
pub fn painted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        match of(word) {
            Some(color) => _ = write!(out, "\x1b[{color}m{word}\x1b[0m"),
            None => out.push_str(word),
        }
        // What parts the words: it may be more than one byte.
        let parting = behind.chars().next().map_or(0, char::len_utf8);
        out.push_str(&behind[..parting]);
        rest = &behind[parting..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_painted_and_nothing_else_changes() {
        let text = "r0 role:Primary\n  disk:UpToDate «Primary» UpToDateness\n";
        let painted = painted(text);
        assert_eq!(
            painted,
            "r0 role:\x1b[1mPrimary\x1b[0m\n  disk:\x1b[32mUpToDate\x1b[0m \
             «\x1b[1mPrimary\x1b[0m» UpToDateness\n"
        );
        let plain = ["\x1b[1m", "\x1b[32m", "\x1b[0m"]
            .iter()
            .fold(painted, |text, code| text.replace(code, ""));
        assert_eq!(plain, text);
    }
}
