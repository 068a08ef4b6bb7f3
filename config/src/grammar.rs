//! The words that make structure: which stand where, and whether a section follows them.
//!
//! Options are not here but in the option table. The parser asks this table where a missing
//! semicolon or brace is most likely; the checks ask it what is valid at a place.

use crate::options::{Effect, OPTIONS, Section, of_section};

/// Whether a keyword is followed by `{ … }` or by `;`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// `;`
    Semicolon,
    /// `{ … }`
    Block(Section),
}

/// One keyword. A word that may end either way has two rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyword {
    pub(crate) name: &'static str,
    /// The sections that it may stand in.
    pub(crate) within: &'static [Section],
    /// How many words follow it, at least and at most.
    pub(crate) words: (usize, usize),
    pub(crate) ends: Ends,
    pub(crate) effect: Effect,
    /// How it is written.
    pub(crate) usage: &'static str,
}

/// More words than a statement has.
const MANY: usize = usize::MAX;
const STACKED: &str = "not yet: stacked resources would need a third node";
const PROXY: &str = "not yet: there is no proxy, and the traffic would not go where you want it";
const SHOWN: &str = "it is what `drbdsetup show` prints, not what a configuration says";

const fn block(
    name: &'static str,
    within: &'static [Section],
    words: (usize, usize),
    opens: Section,
    usage: &'static str,
) -> Keyword {
    Keyword { name, within, words, ends: Ends::Block(opens), effect: Effect::Works, usage }
}

const fn line(
    name: &'static str,
    within: &'static [Section],
    words: (usize, usize),
    usage: &'static str,
) -> Keyword {
    Keyword { name, within, words, ends: Ends::Semicolon, effect: Effect::Works, usage }
}

impl Keyword {
    const fn refused(self, why: &'static str) -> Self {
        Self { effect: Effect::Refused(why), ..self }
    }

    const fn no_effect(self, why: &'static str) -> Self {
        Self { effect: Effect::NoEffect(why), ..self }
    }
}

use Section as S;

/// Sections where a volume may be described, explicitly or as the implicit volume 0.
const VOLUME_HERE: &[Section] = &[S::Resource, S::On, S::Floating, S::Stacked, S::Volume];
const VERSION: &str = "there is no kernel module whose version could be compared";

/// Every keyword.
pub(crate) const KEYWORDS: &[Keyword] = &[
    block("global", &[S::Top], (0, 0), S::Global, "global { … }"),
    block("common", &[S::Top], (0, 0), S::Common, "common { … }"),
    block("resource", &[S::Top], (1, 1), S::Resource, "resource NAME { … }"),
    line("include", &[S::Top], (1, 1), "include \"PATTERN\";"),
    line(
        "require-drbd-module-version-eq",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-eq X.Y.Z;",
    )
    .no_effect(VERSION),
    line(
        "require-drbd-module-version-ne",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-ne X.Y.Z;",
    )
    .no_effect(VERSION),
    line(
        "require-drbd-module-version-gt",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-gt X.Y.Z;",
    )
    .no_effect(VERSION),
    line(
        "require-drbd-module-version-ge",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-ge X.Y.Z;",
    )
    .no_effect(VERSION),
    line(
        "require-drbd-module-version-lt",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-lt X.Y.Z;",
    )
    .no_effect(VERSION),
    line(
        "require-drbd-module-version-le",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-le X.Y.Z;",
    )
    .no_effect(VERSION),
    line("protocol", &[S::Resource, S::Common], (1, 1), "protocol C;"),
    block("on", &[S::Resource], (1, MANY), S::On, "on HOST { … }"),
    block("floating", &[S::Resource], (1, 2), S::Floating, "floating ADDRESS:PORT { … }")
        .refused("not yet: write `on HOST { address …; }`"),
    line("floating", &[S::Resource], (1, 2), "floating ADDRESS:PORT;")
        .refused("not yet: write `on HOST { address …; }`"),
    block(
        "stacked-on-top-of",
        &[S::Resource],
        (1, 1),
        S::Stacked,
        "stacked-on-top-of RESOURCE { … }",
    )
    .refused(STACKED),
    line("template-file", &[S::Resource], (1, 1), "template-file \"FILE\";")
        .refused("not yet: write the options into `common { … }`"),
    line("node-id", &[S::On, S::Floating], (1, 1), "node-id N;"),
    line("address", &[S::On, S::Stacked], (1, 2), "address ADDRESS:PORT;"),
    line("alternate-link-address", &[S::On], (1, 2), "alternate-link-address ADDRESS:PORT;")
        .refused("not yet: there is one path between the peers"),
    block(
        "volume",
        &[S::Resource, S::On, S::Floating, S::Stacked, S::Connection],
        (1, 1),
        S::Volume,
        "volume N { … }",
    ),
    line("device", VOLUME_HERE, (1, 3), "device /dev/drbdN;"),
    line("disk", VOLUME_HERE, (1, 1), "disk PATH;"),
    block(
        "disk",
        &[S::Resource, S::Common, S::Volume, S::Connection, S::Mesh],
        (0, 0),
        S::Disk,
        "disk { … }",
    ),
    line("meta-disk", VOLUME_HERE, (1, 2), "meta-disk internal;"),
    line("flexible-meta-disk", VOLUME_HERE, (1, 1), "flexible-meta-disk PATH;"),
    line("tiebreaker", &[S::Volume], (1, 1), "tiebreaker yes;")
        .no_effect("there is no quorum to break a tie of"),
    line("ignore-on", &[S::Resource], (1, 1), "ignore-on HOST;")
        .refused("not yet: leave the resource out of that host's file"),
    block("net", &[S::Resource, S::Common, S::Connection, S::Mesh], (0, 0), S::Net, "net { … }"),
    block("tls", &[S::Net], (0, 0), S::Tls, "tls { … }")
        .refused("not yet: TLS between the peers comes later, and the link would be left open"),
    block("options", &[S::Resource, S::Common], (0, 0), S::Options, "options { … }"),
    block("options", &[S::On], (0, 0), S::Options, "options { … }")
        .refused("not yet: write them in the resource, for both hosts"),
    block("startup", &[S::Resource, S::Common], (0, 0), S::Startup, "startup { … }"),
    block("handlers", &[S::Resource, S::Common], (0, 0), S::Handlers, "handlers { … }"),
    block("syncer", &[S::Resource, S::Common], (0, 0), S::Syncer, "syncer { … }"),
    block("proxy", &[S::Resource, S::Common, S::On], (0, MANY), S::Proxy, "proxy { … }")
        .refused(PROXY),
    block("plugin", &[S::Proxy], (0, 0), S::Plugin, "plugin { … }").refused(PROXY),
    block("nbd", &[S::Global, S::Common, S::Resource], (0, 0), S::Nbd, "nbd { … }"),
    block("connection", &[S::Resource], (0, 1), S::Connection, "connection { … }"),
    block("connection-mesh", &[S::Resource], (0, 1), S::Mesh, "connection-mesh { … }"),
    line("hosts", &[S::Mesh], (1, MANY), "hosts HOST HOST;"),
    line("host", &[S::Connection, S::Path], (1, MANY), "host HOST address ADDRESS:PORT;"),
    block("path", &[S::Connection], (0, 1), S::Path, "path { … }"),
    block("_this_host", &[S::Resource], (0, 0), S::Unknown, "_this_host { … }").refused(SHOWN),
    block("_remote_host", &[S::Resource, S::Connection], (0, 0), S::Unknown, "_remote_host { … }")
        .refused(SHOWN),
    line("_peer_node_id", &[S::Connection], (1, 1), "_peer_node_id N;").refused(SHOWN),
    line("_cstate", &[S::Connection], (1, 1), "_cstate STATE;").refused(SHOWN),
];

/// The rows of a keyword at a place.
pub(crate) fn at(section: Section, name: &str) -> impl Iterator<Item = &'static Keyword> {
    KEYWORDS.iter().filter(move |row| row.name == name && row.within.contains(&section))
}

/// The section that `name {` opens within `section`.
pub(crate) fn opens(section: Section, name: &str) -> Option<Section> {
    at(section, name).find_map(|row| match row.ends {
        Ends::Block(opened) => Some(opened),
        Ends::Semicolon => None,
    })
}

/// Whether `name` is never followed by anything but a section.
pub(crate) fn always_opens(section: Section, name: &str) -> bool {
    opens(section, name).is_some()
        && at(section, name).all(|row| matches!(row.ends, Ends::Block(_)))
        && !OPTIONS.iter().any(|spec| spec.name == name && spec.sections.contains(&section))
}

/// Whether a statement can begin with that word in that section.
pub(crate) fn begins_statement(section: Section, name: &str) -> bool {
    at(section, name).next().is_some()
        || name == "skip"
        || of_section(section).any(|spec| {
            spec.name == name || name.strip_prefix("no-").is_some_and(|name| spec.name == name)
        })
}

/// How many words may follow that word in that section; more mean that a `;` is missing.
pub(crate) fn most_words(section: Section, name: &str) -> usize {
    let keyword = at(section, name).map(|row| row.words.1).max();
    let option = of_section(section).find(|spec| spec.name == name).map(|spec| match spec.kind {
        crate::options::Kind::Hosts => MANY,
        _ => 1,
    });
    keyword.max(option).unwrap_or(MANY)
}

/// Every word that may begin a statement in that section and is not refused, sections first.
pub(crate) fn valid_words(section: Section) -> impl Iterator<Item = &'static str> {
    let usable = |effect| !matches!(effect, Effect::Refused(_));
    let keywords = KEYWORDS
        .iter()
        .filter(move |row| row.within.contains(&section) && usable(row.effect))
        .map(|row| row.name);
    let options = of_section(section).filter(move |spec| usable(spec.effect)).map(|spec| spec.name);
    keywords.chain(options)
}

/// Words that DRBD does not take as names unless they are quoted.
pub(crate) fn is_reserved(word: &str) -> bool {
    const VALUES: &[&str] =
        &["yes", "no", "port", "minor", "via", "ipv4", "ipv6", "sdp", "ssocks", "sci", "skip"];
    VALUES.contains(&word) || KEYWORDS.iter().any(|row| row.name == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_that_is_opened_can_hold_something() {
        for row in KEYWORDS {
            if let Ends::Block(section) = row.ends {
                let refused = matches!(row.effect, Effect::Refused(_));
                assert!(refused || valid_words(section).next().is_some(), "{}", row.name);
            }
            assert!(row.words.0 <= row.words.1, "{}", row.name);
            assert!(row.usage.starts_with(row.name), "{}", row.usage);
        }
    }

    #[test]
    fn a_word_that_is_section_and_option_is_not_taken_for_a_section() {
        assert!(always_opens(Section::Resource, "on"));
        assert!(!always_opens(Section::Resource, "disk"));
        assert!(!always_opens(Section::Net, "tls"));
        assert_eq!(opens(Section::Net, "tls"), Some(Section::Tls));
    }
}
