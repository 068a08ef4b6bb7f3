//! What a command is about: `all`, a resource, or one volume of it; or one of these by another name,
//! its device's minor number or the peer that it is shared with.

use std::fmt;
use std::str::FromStr;
use types::VolumeId;

/// A target as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every resource, in the order of the configuration.
    All,
    /// `RESOURCE`.
    Resource(String),
    /// `RESOURCE/VOLUME`.
    Volume(String, VolumeId),
    /// `minor-N`: the volume whose device has that minor number.
    Minor(u32),
    /// `RESOURCE:PEER` or `RESOURCE:PEER/VOLUME`: what is shared with that host. There is one peer,
    /// so that is the resource, or one volume of it.
    Peer {
        /// The resource.
        resource: String,
        /// The other host.
        peer: String,
        /// One volume, or all of them.
        volume: Option<VolumeId>,
    },
}

/// Why a word is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTarget(String);

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadTarget {}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(word: &str) -> Result<Self, BadTarget> {
        let bad = |why: String| Err(BadTarget(why));
        if word.is_empty() {
            return bad("an empty name names nothing; say all, RESOURCE or RESOURCE/VOLUME".into());
        }
        if word == "all" {
            return Ok(Self::All);
        }
        if let Some(Ok(minor)) =
            word.strip_prefix("minor-").filter(|number| is_plain(number)).map(str::parse)
        {
            return Ok(Self::Minor(minor));
        }
        let (name, volume) = match word.split_once('/') {
            None => (word, None),
            Some((name, number)) => match number.parse::<u16>() {
                Ok(id) if id < u16::MAX && !name.is_empty() && is_plain(number) => {
                    (name, Some(VolumeId(id)))
                }
                _ => {
                    return bad(format!(
                        "'{word}': after the slash comes a volume number, 0 to 65534, as in {}/0",
                        if name.is_empty() { "r0" } else { name }
                    ));
                }
            },
        };
        match (name.split_once(':'), volume) {
            (None, None) => Ok(Self::Resource(name.to_owned())),
            (None, Some(volume)) => Ok(Self::Volume(name.to_owned(), volume)),
            (Some((resource, peer)), _) if resource.is_empty() || peer.is_empty() => bad(format!(
                "'{word}': a resource stands before the colon and its other host behind it, as in \
                 r0:beta; a volume is RESOURCE/VOLUME"
            )),
            (Some((resource, peer)), volume) => {
                Ok(Self::Peer { resource: resource.to_owned(), peer: peer.to_owned(), volume })
            }
        }
    }
}

/// Whether that is the one spelling of a number: no sign, no zeros before it.
fn is_plain(number: &str) -> bool {
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits && (number == "0" || !number.starts_with('0'))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Resource(name) => f.write_str(name),
            Self::Volume(name, volume) => write!(f, "{name}/{volume}"),
            Self::Minor(minor) => write!(f, "minor-{minor}"),
            Self::Peer { resource, peer, volume: None } => write!(f, "{resource}:{peer}"),
            Self::Peer { resource, peer, volume: Some(volume) } => {
                write!(f, "{resource}:{peer}/{volume}")
            }
        }
    }
}

/// A resource that a command is about, and which of its volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The resource.
    pub name: String,
    /// One volume, or all of them.
    pub volume: Option<VolumeId>,
}

impl Chosen {
    /// Whether that volume is meant.
    pub fn includes(&self, volume: VolumeId) -> bool {
        self.volume.is_none_or(|only| only == volume)
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.volume {
            Some(volume) => write!(f, "{}/{volume}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The targets in order, each once, with `all` spelled out. `exists` finds names that are not
/// configured but up. Minor numbers mean nothing here: who knows the devices has put volumes in their
/// place.
///
/// # Errors
/// The name of a resource that is neither configured nor up.
pub fn choose(
    targets: &[Target],
    configured: &[&str],
    mut exists: impl FnMut(&str) -> bool,
) -> Result<Vec<Chosen>, String> {
    let mut chosen: Vec<Chosen> = Vec::new();
    let mut add = |name: &str, volume: Option<VolumeId>| {
        let new = Chosen { name: name.to_owned(), volume };
        if !chosen.contains(&new) {
            chosen.push(new);
        }
    };
    for target in targets {
        let (name, volume) = match target {
            Target::All => {
                configured.iter().for_each(|name| add(name, None));
                continue;
            }
            Target::Resource(name) => (name, None),
            Target::Volume(name, volume) => (name, Some(*volume)),
            Target::Peer { resource, volume, .. } => (resource, *volume),
            Target::Minor(_) => return Err(target.to_string()),
        };
        if !configured.contains(&name.as_str()) && !exists(name) {
            return Err(name.clone());
        }
        add(name, volume);
    }
    Ok(chosen)
}

/// The known word most like the one that was typed, if any is like it at all.
pub fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|word| (distance(&typed.to_lowercase(), &word.to_lowercase()), *word))
        .filter(|(distance, word)| *distance <= word.chars().count().max(3) / 3 + 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters to insert, delete or replace to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, against) in other.iter().enumerate() {
            let replace = corner + usize::from(letter != *against);
            corner = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(word: &str) -> Result<Target, String> {
        word.parse().map_err(|bad: BadTarget| bad.to_string())
    }

    #[test]
    fn words_are_targets_or_say_why_not() {
        assert_eq!(parse("all"), Ok(Target::All));
        assert_eq!(parse("r0"), Ok(Target::Resource("r0".into())));
        assert_eq!(parse("r0/17"), Ok(Target::Volume("r0".into(), VolumeId(17))));
        assert_eq!(parse("minor-x"), Ok(Target::Resource("minor-x".into())));
        assert_eq!(parse("minor-7"), Ok(Target::Minor(7)));
        let peer = |volume| Target::Peer { resource: "r0".into(), peer: "beta".into(), volume };
        assert_eq!(parse("r0:beta"), Ok(peer(None)));
        assert_eq!(parse("r0:beta/1"), Ok(peer(Some(VolumeId(1)))));
        for bad in [
            "",
            "r0/+0",
            "r0/00",
            "r0/",
            "/0",
            "r0/65535",
            "r0/-1",
            "r0/0/1",
            "r0:",
            ":beta",
            "r0:beta/x",
        ] {
            let why = parse(bad).expect_err(bad);
            assert!(why.contains("RESOURCE/VOLUME") || why.contains("/0"), "{bad}: {why}");
        }
        for word in ["all", "r0", "r0/17", "minor-7", "r0:beta", "r0:beta/1"] {
            assert_eq!(parse(word).map(|target| target.to_string()), Ok(word.into()));
        }
    }

    #[test]
    fn each_is_chosen_once_in_order() {
        let configured = ["r0", "r1"];
        let names = |words: &[&str]| {
            let targets: Vec<_> = words.iter().map(|word| parse(word).expect("good")).collect();
            choose(&targets, &configured, |name| name == "old")
                .map(|chosen| chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names(&["all"]), Ok("r0 r1".into()));
        assert_eq!(names(&["r1", "all", "r1"]), Ok("r1 r0".into()));
        assert_eq!(names(&["r1/0", "r1/1", "old"]), Ok("r1/0 r1/1 old".into()));
        assert_eq!(names(&["r0:beta", "r0", "r1:alpha/1"]), Ok("r0 r1/1".into()));
        assert_eq!(names(&["r0", "nosuch"]), Err("nosuch".into()));
        assert_eq!(names(&["minor-1"]), Err("minor-1".into()));
    }

    #[test]
    fn a_slip_finds_the_word_and_a_stranger_does_not() {
        let known = ["r0", "data", "mail-spool"];
        assert_eq!(nearest("rO", &known), Some("r0"));
        assert_eq!(nearest("dta", &known), Some("data"));
        assert_eq!(nearest("mailspol", &known), Some("mail-spool"));
        assert_eq!(nearest("unrelated", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn distance_counts_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
