//! The option table: every option of DRBD 8.4 and 9 by section, type, range, default and effect.
//!
//! This table is the only place that knows an option. The checks, the defaults of the resolved
//! configuration, the suggestions for mistyped words and the reference page are made from it.

mod table;

pub use table::OPTIONS;

/// A section of the language, the place where a statement may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Outside of every section.
    Top,
    /// `global { … }`
    Global,
    /// `common { … }`
    Common,
    /// A file that a resource names as its template: the inside of `common`, or one such section.
    Template,
    /// `resource NAME { … }`
    Resource,
    /// `on HOST { … }`
    On,
    /// `floating ADDRESS { … }`
    Floating,
    /// `stacked-on-top-of RESOURCE { … }`
    Stacked,
    /// `volume N { … }`
    Volume,
    /// `connection { … }`
    Connection,
    /// `path { … }` of a connection
    Path,
    /// `connection-mesh { … }`
    Mesh,
    /// `net { … }`
    Net,
    /// `tls { … }` of `net`
    Tls,
    /// `disk { … }`: options of a volume, and of its resync
    Disk,
    /// `options { … }`
    Options,
    /// `startup { … }`
    Startup,
    /// `handlers { … }`
    Handlers,
    /// `syncer { … }`, as of DRBD 8.3
    Syncer,
    /// `proxy { … }`
    Proxy,
    /// `plugin { … }` of `proxy`
    Plugin,
    /// `nbd { … }`
    Nbd,
    /// A section that is not known; nothing is said of what stands in it.
    Unknown,
}

impl Section {
    /// The word that opens it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Top => "the top level",
            Self::Global => "global",
            Self::Common => "common",
            Self::Template => "a template",
            Self::Resource => "resource",
            Self::On => "on",
            Self::Floating => "floating",
            Self::Stacked => "stacked-on-top-of",
            Self::Volume => "volume",
            Self::Connection => "connection",
            Self::Path => "path",
            Self::Mesh => "connection-mesh",
            Self::Net => "net",
            Self::Tls => "tls",
            Self::Disk => "disk",
            Self::Options => "options",
            Self::Startup => "startup",
            Self::Handlers => "handlers",
            Self::Syncer => "syncer",
            Self::Proxy => "proxy",
            Self::Plugin => "plugin",
            Self::Nbd => "nbd",
            Self::Unknown => "an unknown section",
        }
    }
}

/// What a bare number counts, and what a suffix is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Plain.
    One,
    /// Units of 1024.
    Kibi,
    /// Sectors of 512 bytes.
    Sector,
}

impl Scale {
    /// How many of the smallest unit one is.
    pub const fn factor(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Kibi => 1024,
            Self::Sector => 512,
        }
    }
}

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`; the bare name means yes, `no-NAME` means no.
    Flag,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// A number within these bounds, both in units of `scale`.
    Number {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
        /// What a bare number counts.
        scale: Scale,
    },
    /// One of these words, or a number within 1 and `max`.
    ChoiceOrNumber(&'static [&'static str], u64),
    /// Any text of at most so many bytes.
    Text(usize),
    /// Names of hosts, or `both`.
    Hosts,
    /// A minor number, or `RESOURCE/VOLUME`.
    ResyncAfter,
    /// `ADDRESS:PORT`.
    Address,
    /// An absolute path.
    Path,
    /// Permission bits of a file, in octal.
    Mode,
}

/// What setting an option does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What its doc says.
    Works,
    /// Nothing, and the reason why; setting it gives a warning.
    NoEffect(&'static str),
    /// It is an error to set it, and the reason why.
    Refused(&'static str),
    /// These values do what they say; others are an error for that reason.
    Only(&'static [&'static str], &'static str),
    /// This value does what it says; others are taken for it, with a warning that gives the reason.
    ActsAs(&'static str, &'static str),
    /// The first value is taken for the second, with a warning that gives the reason; the others do
    /// what they say.
    Except(&'static str, &'static str, &'static str),
    /// A digest: one of [`crate::Digest`]; an old one of DRBD's acts as the strongest of these.
    Digest,
    /// The same, for what is not looked at again: the shortest acts as the next one.
    StrongDigest,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name.
    pub name: &'static str,
    /// The sections that it may stand in; the first one is where it belongs and is shown by `dump`.
    pub sections: &'static [Section],
    /// What values it takes.
    pub kind: Kind,
    /// Its default as one would type it; empty = none.
    pub default: &'static str,
    /// What one unit of a number is; empty for a plain count.
    pub unit: &'static str,
    /// What setting it does here.
    pub effect: Effect,
    /// Whether it concerns the resync with one peer, so that a connection may have its own.
    pub peer_device: bool,
    /// One sentence.
    pub doc: &'static str,
}

impl OptionSpec {
    /// Which values it takes, in words.
    pub fn values(&self) -> String {
        crate::value::describe(self)
    }

    /// The section where it belongs.
    pub const fn home(&self) -> Section {
        self.sections[0]
    }
}

/// A row that works and has no unit, to be refined by the methods below.
const fn option(
    name: &'static str,
    sections: &'static [Section],
    kind: Kind,
    default: &'static str,
) -> OptionSpec {
    OptionSpec {
        name,
        sections,
        kind,
        default,
        unit: "",
        effect: Effect::Works,
        peer_device: false,
        doc: "",
    }
}

impl OptionSpec {
    const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    const fn peer_device(self) -> Self {
        Self { peer_device: true, ..self }
    }

    const fn no_effect(self, why: &'static str) -> Self {
        Self { effect: Effect::NoEffect(why), ..self }
    }

    const fn refused(self, why: &'static str) -> Self {
        Self { effect: Effect::Refused(why), ..self }
    }

    const fn only(self, values: &'static [&'static str], why: &'static str) -> Self {
        Self { effect: Effect::Only(values, why), ..self }
    }

    const fn acts_as(self, value: &'static str, why: &'static str) -> Self {
        Self { effect: Effect::ActsAs(value, why), ..self }
    }

    const fn except(self, value: &'static str, acts_as: &'static str, why: &'static str) -> Self {
        Self { effect: Effect::Except(value, acts_as, why), ..self }
    }

    const fn digest(self) -> Self {
        Self { effect: Effect::Digest, ..self }
    }

    const fn strong_digest(self) -> Self {
        Self { effect: Effect::StrongDigest, ..self }
    }

    const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }
}

/// Names of DRBD 8.3 that were changed later: (section, old name, name).
const OLD_NAMES: &[(Section, &str, &str)] = &[
    (Section::Syncer, "rate", "resync-rate"),
    (Section::Syncer, "after", "resync-after"),
    (Section::Disk, "after", "resync-after"),
    (Section::Handlers, "outdate-peer", "fence-peer"),
];

/// The option of that name in that section, old names included; without `no-`.
pub fn find(section: Section, name: &str) -> Option<&'static OptionSpec> {
    let name = OLD_NAMES
        .iter()
        .find(|(within, old, _)| *within == section && *old == name)
        .map_or(name, |(_, _, new)| *new);
    OPTIONS.iter().find(|spec| spec.name == name && spec.sections.contains(&section))
}

/// The names of DRBD 8.3: section, old name, name.
pub(crate) fn old_names() -> impl Iterator<Item = (Section, &'static str, &'static str)> {
    OLD_NAMES.iter().copied()
}

/// The options of a section, in the order of the table.
pub fn of_section(section: Section) -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(move |spec| spec.sections.contains(&section))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Value, parse};

    #[test]
    fn every_option_has_a_doc_and_a_valid_default() {
        for spec in OPTIONS {
            assert!(spec.doc.ends_with('.'), "{}: doc", spec.name);
            assert!(!spec.sections.is_empty(), "{}: sections", spec.name);
            if !spec.default.is_empty() {
                assert!(
                    parse(spec, spec.default).is_ok(),
                    "{}: default {}",
                    spec.name,
                    spec.default
                );
            }
            if let Kind::Number { min, max, .. } = spec.kind {
                assert!(min <= max, "{}", spec.name);
            }
        }
    }

    #[test]
    fn no_section_has_two_options_of_one_name() {
        for (i, spec) in OPTIONS.iter().enumerate() {
            for other in &OPTIONS[i + 1..] {
                let shared = spec.sections.iter().any(|section| other.sections.contains(section));
                assert!(spec.name != other.name || !shared, "{} twice", spec.name);
            }
        }
    }

    #[test]
    fn values_that_effects_name_are_values_of_the_option() {
        for spec in OPTIONS {
            let values: &[&str] = match spec.effect {
                Effect::Only(values, _) => values,
                Effect::ActsAs(ref value, _) => std::slice::from_ref(value),
                Effect::Except(value, acts_as, _) => &[value, acts_as],
                _ => &[],
            };
            for value in values {
                assert!(parse(spec, value).is_ok(), "{}: {value}", spec.name);
            }
        }
    }

    #[test]
    fn old_names_lead_to_options() {
        for (section, old, new) in OLD_NAMES {
            assert_eq!(find(*section, old).map(|spec| spec.name), Some(*new));
        }
        let default = parse(find(Section::Net, "timeout").unwrap(), "60");
        assert_eq!(default, Ok(Value::Number(60)));
    }
}
