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
    /// One sentence.
    pub(crate) doc: &'static str,
}

/// More words than a statement has.
const MANY: usize = usize::MAX;
const STACKED: &str =
    "not yet: a stacked resource is for a third node, and a resource of repd has two";
const PROXY: &str = "repd has no proxy: the traffic would not go where you want it";
const SHOWN: &str = "it is what `drbdsetup show` prints, not what a configuration says";

const fn block(
    name: &'static str,
    within: &'static [Section],
    words: (usize, usize),
    opens: Section,
    usage: &'static str,
) -> Keyword {
    Keyword { name, within, words, ends: Ends::Block(opens), effect: Effect::Works, usage, doc: "" }
}

const fn line(
    name: &'static str,
    within: &'static [Section],
    words: (usize, usize),
    usage: &'static str,
) -> Keyword {
    Keyword { name, within, words, ends: Ends::Semicolon, effect: Effect::Works, usage, doc: "" }
}

impl Keyword {
    const fn refused(self, why: &'static str) -> Self {
        Self { effect: Effect::Refused(why), ..self }
    }

    const fn no_effect(self, why: &'static str) -> Self {
        Self { effect: Effect::NoEffect(why), ..self }
    }

    const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }
}

use Section as S;

/// Sections where a volume may be described, explicitly or as the implicit volume 0.
const VOLUME_HERE: &[Section] = &[S::Resource, S::On, S::Floating, S::Stacked, S::Volume];
const VERSION: &str = "there is no kernel module whose version could be compared";

/// Every keyword but `skip`, which may stand before any statement: what follows it is not looked at.
pub(crate) const KEYWORDS: &[Keyword] = &[
    block("global", &[S::Top], (0, 0), S::Global, "global { … }")
        .doc("What concerns the whole node; once, before every resource."),
    block("common", &[S::Top, S::Template], (0, 0), S::Common, "common { … }")
        .doc("What every resource inherits; once."),
    block("resource", &[S::Top], (1, 1), S::Resource, "resource NAME { … }")
        .doc("Volumes that two hosts keep alike, with one role and one connection."),
    line("include", &[S::Top], (1, 1), "include \"PATTERN\";").doc(
        "Reads files too; relative to the directory of the file it stands in, each file once.",
    ),
    line(
        "require-drbd-module-version-eq",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-eq X.Y.Z;",
    )
    .no_effect(VERSION)
    .doc("Which versions of DRBD's kernel module the file is for."),
    line(
        "require-drbd-module-version-ne",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-ne X.Y.Z;",
    )
    .no_effect(VERSION)
    .doc("Which versions of DRBD's kernel module the file is for."),
    line(
        "require-drbd-module-version-gt",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-gt X.Y.Z;",
    )
    .no_effect(VERSION)
    .doc("Which versions of DRBD's kernel module the file is for."),
    line(
        "require-drbd-module-version-ge",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-ge X.Y.Z;",
    )
    .no_effect(VERSION)
    .doc("Which versions of DRBD's kernel module the file is for."),
    line(
        "require-drbd-module-version-lt",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-lt X.Y.Z;",
    )
    .no_effect(VERSION)
    .doc("Which versions of DRBD's kernel module the file is for."),
    line(
        "require-drbd-module-version-le",
        &[S::Top],
        (1, 1),
        "require-drbd-module-version-le X.Y.Z;",
    )
    .no_effect(VERSION)
    .doc("Which versions of DRBD's kernel module the file is for."),
    line("protocol", &[S::Resource, S::Common, S::Template], (1, 1), "protocol C;")
        .doc("As of DRBD 8.3: `protocol` of `net { … }`."),
    block("on", &[S::Resource], (1, MANY), S::On, "on HOST { … }")
        .doc("What the host of that name has; several names: hosts with the same data."),
    block("floating", &[S::Resource], (1, 2), S::Floating, "floating ADDRESS:PORT { … }")
        .doc("What the host with that address has, whatever its name."),
    line("floating", &[S::Resource], (1, 2), "floating ADDRESS:PORT;")
        .doc("The host with that address; what it has is said in the resource."),
    block(
        "stacked-on-top-of",
        &[S::Resource],
        (1, 1),
        S::Stacked,
        "stacked-on-top-of RESOURCE { … }",
    )
    .refused(STACKED)
    .doc("A host whose disk is the device of another resource."),
    line("template-file", &[S::Resource], (1, 1), "template-file \"FILE\";")
        .doc("Takes the place of `common` for this resource: the inside of `common`, in a file."),
    line("ignore-on", &[S::Resource], (1, MANY), "ignore-on HOST;")
        .doc("Hosts that have nothing to do with the resource."),
    line("node-id", &[S::On, S::Floating], (1, 1), "node-id N;")
        .doc("Which of the two is node 0; without it the smaller address is."),
    line("address", &[S::On, S::Stacked], (1, 2), "address ADDRESS:PORT;")
        .doc("Where the host listens for its peer."),
    line("alternate-link-address", &[S::On], (1, 2), "alternate-link-address ADDRESS:PORT;")
        .refused(
            "repd has one path between the nodes: with this one left out, the redundancy that you \
             count on would be lost without a word",
        )
        .doc("A second address, for when the first cannot be reached."),
    block(
        "volume",
        &[S::Resource, S::On, S::Floating, S::Stacked, S::Connection],
        (1, 1),
        S::Volume,
        "volume N { … }",
    )
    .doc("Volume N of a host, of both hosts, or on the connection."),
    line("device", VOLUME_HERE, (1, 3), "device /dev/drbdN;")
        .doc("The name, or the minor number, under which clients expect the volume."),
    line("disk", VOLUME_HERE, (1, 1), "disk PATH;")
        .doc("The block device or file with the copy; `none`: no copy on this host."),
    block(
        "disk",
        &[S::Resource, S::Common, S::Template, S::Volume, S::Connection, S::Mesh],
        (0, 0),
        S::Disk,
        "disk { … }",
    )
    .doc("Options of volumes and of their resync."),
    line("meta-disk", VOLUME_HERE, (1, 2), "meta-disk internal;").doc(
        "Where the metadata are: at the end of the disk, or on a device or file of their own.",
    ),
    line("flexible-meta-disk", VOLUME_HERE, (1, 1), "flexible-meta-disk PATH;")
        .doc("The same as `meta-disk PATH;`."),
    line("tiebreaker", &[S::Volume], (1, 1), "tiebreaker yes;")
        .no_effect("there is no quorum to break a tie of")
        .doc("Whether a host without a copy counts in a quorum."),
    block(
        "net",
        &[S::Resource, S::Common, S::Template, S::Connection, S::Mesh],
        (0, 0),
        S::Net,
        "net { … }",
    )
    .doc("Options of the connection."),
    block("tls", &[S::Net], (0, 0), S::Tls, "tls { … }")
        .refused("not yet: TLS between the peers comes later, and the link would be left open")
        .doc("TLS between the nodes."),
    block("options", &[S::Resource, S::Common, S::Template], (0, 0), S::Options, "options { … }")
        .doc("Options of the resource."),
    block("options", &[S::On, S::Floating], (0, 0), S::Options, "options { … }")
        .doc("The same, if both hosts have the same."),
    block("startup", &[S::Resource, S::Common, S::Template], (0, 0), S::Startup, "startup { … }")
        .doc("What `repadm service start` and `repadm wait-connect` do."),
    block(
        "handlers",
        &[S::Resource, S::Common, S::Template],
        (0, 0),
        S::Handlers,
        "handlers { … }",
    )
    .doc("Commands of yours for events."),
    block("syncer", &[S::Resource, S::Common, S::Template], (0, 0), S::Syncer, "syncer { … }")
        .doc("As of DRBD 8.3: options that went to `disk`, `net` and `options`."),
    block(
        "proxy",
        &[S::Resource, S::Common, S::Template, S::On, S::Floating],
        (0, MANY),
        S::Proxy,
        "proxy { … }",
    )
    .refused(PROXY)
    .doc("DRBD Proxy."),
    block("plugin", &[S::Proxy], (0, 0), S::Plugin, "plugin { … }")
        .refused(PROXY)
        .doc("Compression of DRBD Proxy."),
    block("nbd", &[S::Global, S::Common, S::Template, S::Resource], (0, 0), S::Nbd, "nbd { … }")
        .doc("repd's own: where clients connect."),
    block("connection", &[S::Resource], (0, 1), S::Connection, "connection { … }")
        .doc("The connection of the two hosts; its name means nothing."),
    block("connection-mesh", &[S::Resource], (0, 1), S::Mesh, "connection-mesh { … }")
        .doc("The same for hosts that are listed; two are."),
    line("hosts", &[S::Mesh], (1, MANY), "hosts HOST HOST;").doc("The hosts of the mesh."),
    line("host", &[S::Connection, S::Path], (1, MANY), "host HOST address ADDRESS:PORT;")
        .doc("An end of the connection, with an address or a `port` that is not the host's own."),
    block("path", &[S::Connection], (0, 1), S::Path, "path { … }")
        .doc("The one path of the connection; a second one is refused."),
    block("_this_host", &[S::Resource], (0, 0), S::Unknown, "_this_host { … }")
        .refused(SHOWN)
        .doc("What `drbdsetup show` prints."),
    block("_remote_host", &[S::Resource, S::Connection], (0, 0), S::Unknown, "_remote_host { … }")
        .refused(SHOWN)
        .doc("What `drbdsetup show` prints."),
    line("_peer_node_id", &[S::Resource, S::Connection], (0, MANY), "_peer_node_id N;")
        .refused(SHOWN)
        .doc("What `drbdsetup show` prints."),
    line("_cstate", &[S::Resource, S::Connection], (0, MANY), "_cstate STATE;")
        .refused(SHOWN)
        .doc("What `drbdsetup show` prints."),
    line("_unknown", &[S::Resource, S::Connection], (0, MANY), "_unknown …;")
        .refused(SHOWN)
        .doc("What `drbdsetup show` prints."),
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

/// How `name` is written there.
pub(crate) fn usage(section: Section, name: &str) -> Option<&'static str> {
    at(section, name).next().map(|row| row.usage)
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
            assert!(row.doc.ends_with('.'), "{}: doc", row.name);
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
