//! The reference page of the language, made from the option table and the grammar.

use crate::Digest;
use crate::grammar::{KEYWORDS, Keyword};
use crate::options::{Effect, OPTIONS, Section, of_section};
use std::fmt::Write as _;

/// What precedes the tables.
const INTRODUCTION: &str = "\
# Options

Made from the option table and the grammar of crate `config`; `repadm config explain WORD` shows one
row. The last column says what a setting does here: it *works*; it has *no effect*, or *acts as* a
value, for a reason, which `repadm dump`, `up` and `adjust` say as a warning; or it is
*refused*, because to go on without it could cost data, redundancy or secrecy.

What is set nearest counts: for `net` the connection, the resource, its `template-file` or else
`common`; for `disk` the volume or the connection, the resource, then likewise. One option twice at
one level is an error.
";

/// Every option by section, as Markdown: values, default, meaning, and what it does here; then the
/// words that make structure.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    let mut homes: Vec<Section> = OPTIONS.iter().map(|spec| spec.home()).collect();
    homes.sort_unstable();
    homes.dedup();
    for section in homes {
        let head = "| option | values | default | meaning | here |\n|---|---|---|---|---|\n";
        write!(page, "\n## {}\n\n{head}", section.name()).expect("a string takes everything");
        for spec in of_section(section).filter(|spec| spec.home() == section) {
            let effect = effect(spec.effect);
            let values = spec.values().replace('|', "\\|");
            let row = format!(
                "| `{}` | {values} | {} | {} | {effect} |",
                spec.name, spec.default, spec.doc
            );
            writeln!(page, "{row}").expect("a string takes everything");
        }
    }
    page +=
        "\n## Words that make structure\n\n| written | in | meaning | here |\n|---|---|---|---|\n";
    for row in KEYWORDS {
        let (within, effect) = (within(row), effect(row.effect));
        writeln!(page, "| `{}` | {within} | {} | {effect} |", row.usage, row.doc)
            .expect("a string takes everything");
    }
    page +=
        "| `skip … ;`, `skip … { … }` | every section | What follows is not looked at. | works |\n";
    page
}

/// The sections that a keyword stands in.
pub(crate) fn within(row: &Keyword) -> String {
    let names: Vec<_> = row.within.iter().map(|section| section.name()).collect();
    names.join(", ")
}

fn other_digests() -> String {
    format!("{} act as sha256; others are refused", Digest::OLD.join(", "))
}

/// An effect, in words.
pub(crate) fn effect(effect: Effect) -> String {
    match effect {
        Effect::Works => "works".to_owned(),
        Effect::NoEffect(why) => format!("no effect: {why}"),
        Effect::Refused(why) => format!("refused: {why}"),
        Effect::Only(words, why) => {
            format!("{} only; others are refused: {why}", words.join(", "))
        }
        Effect::ActsAs(word, why) => format!("acts as {word}: {why}"),
        Effect::Digest => format!("crc32c, xxh3 and sha256 work; {}", other_digests()),
        Effect::StrongDigest => {
            format!("xxh3 and sha256 work; crc32c acts as xxh3; {}", other_digests())
        }
        Effect::Except(word, acts_as, why) => {
            format!("works; {word} acts as {acts_as}: {why}")
        }
    }
}
