//! The reference page of the options, made from the option table.

use crate::options::{Effect, OPTIONS, Section, of_section};
use std::fmt::Write as _;

/// Every option by section, as Markdown: values, default, meaning, and what it does here.
pub fn reference() -> String {
    let mut page = String::from("# Options\n");
    let mut homes: Vec<Section> = OPTIONS.iter().map(|spec| spec.home()).collect();
    homes.sort_unstable();
    homes.dedup();
    for section in homes {
        let head = "| option | values | default | meaning | here |\n|---|---|---|---|---|\n";
        write!(page, "\n## {}\n\n{head}", section.name()).expect("a string takes everything");
        for spec in of_section(section).filter(|spec| spec.home() == section) {
            let effect = match spec.effect {
                Effect::Works => "works".to_owned(),
                Effect::NoEffect(why) => format!("no effect: {why}"),
                Effect::Refused(why) => format!("refused: {why}"),
                Effect::Only(words, why) => {
                    format!("{} only; others are refused: {why}", words.join(", "))
                }
                Effect::ActsAs(word, why) => format!("acts as {word}: {why}"),
                Effect::Except(word, acts_as, why) => {
                    format!("works; {word} acts as {acts_as}: {why}")
                }
            };
            let values = spec.values().replace('|', "\\|");
            let row = format!(
                "| `{}` | {values} | {} | {} | {effect} |",
                spec.name, spec.default, spec.doc
            );
            writeln!(page, "{row}").expect("a string takes everything");
        }
    }
    page
}
