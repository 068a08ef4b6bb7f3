//! What one word of the language means: an option, or a word that makes structure.

use crate::grammar::KEYWORDS;
use crate::nearest::nearest;
use crate::options::{self, Kind, OPTIONS, OptionSpec, Section};
use crate::reference::{effect, within};

/// What the word means, once for each of its meanings, with a newline after each line.
///
/// # Errors
/// If it is no word of the language: with the nearest one, if there is one.
pub fn explain(word: &str) -> Result<String, Option<&'static str>> {
    let positive = word.strip_prefix("no-").unwrap_or(word);
    let mut text = String::new();
    let known = |spec: &OptionSpec, name: &str| {
        spec.name == name
            || spec.sections.iter().any(|section| {
                options::find(*section, name).is_some_and(|found| found.name == spec.name)
            })
    };
    for spec in OPTIONS {
        if known(spec, word) {
            text += &option(spec, word);
        } else if spec.kind == Kind::Flag && word != positive && known(spec, positive) {
            text += &format!("{word}: the same as `{} no`.\n\n", spec.name);
            text += &option(spec, positive);
        }
    }
    for row in KEYWORDS.iter().filter(|row| row.name == word) {
        text += &format!(
            "{word}: {}\n  written  {}\n  in       {}\n  here     {}\n\n",
            row.doc,
            row.usage,
            within(row),
            effect(row.effect)
        );
    }
    if word == "skip" {
        text += "skip: Before any statement: what follows is not looked at.\n\n";
    }
    if text.is_empty() {
        for spec in OPTIONS.iter().filter(|spec| takes(spec, word)) {
            text += &format!("{word}: a value of `{}`.\n\n", spec.name);
            text += &option(spec, spec.name);
        }
    }
    if text.is_empty() {
        return Err(nearest(positive, known_words()));
    }
    text.truncate(text.trim_end().len() + 1);
    Ok(text)
}

/// Whether the option has a list of values with that word in it.
fn takes(spec: &OptionSpec, word: &str) -> bool {
    match spec.kind {
        Kind::Choice(words) | Kind::ChoiceOrNumber(words, _) => words.contains(&word),
        Kind::Hosts => word == "both",
        _ => false,
    }
}

/// Every word that can be explained.
pub fn known_words() -> impl Iterator<Item = &'static str> {
    let names = OPTIONS.iter().map(|spec| spec.name);
    let old = options::old_names().map(|(_, old, _)| old);
    names.chain(old).chain(KEYWORDS.iter().map(|row| row.name)).chain(["skip"])
}

fn option(spec: &OptionSpec, word: &str) -> String {
    let sections: Vec<_> = spec.sections.iter().map(|section| section.name()).collect();
    let mut text = format!("{}: {}\n", spec.name, spec.doc);
    let mut line = |name: &str, value: &str| text += &format!("  {name:<8} {value}\n");
    if word != spec.name {
        line("was", word);
    }
    line("in", &sections.join(", "));
    line("values", &spec.values());
    line("default", if spec.default.is_empty() { "none" } else { spec.default });
    if !spec.unit.is_empty() {
        line("unit", spec.unit);
    }
    match (spec.home(), spec.peer_device) {
        (Section::Disk, true) => {
            line("also in", "disk of a volume, of a connection, of its volumes")
        }
        (Section::Disk, false) => line("also in", "disk of a volume"),
        (Section::Net, _) => line("also in", "net of a connection"),
        _ => {}
    }
    line("here", &effect(spec.effect));
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_explained() {
        for word in known_words() {
            let text = explain(word).unwrap_or_else(|_| panic!("{word}"));
            assert!(text.contains(": ") && text.ends_with('\n'), "{text}");
        }
    }

    #[test]
    fn an_option_a_section_a_negation_an_old_name() {
        let text = explain("timeout").unwrap();
        for part in ["in       net\n", "1 to 600", "default  60\n", "0.1 s", "here     works\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(explain("disk").unwrap().matches("written").count(), 2);
        assert!(explain("no-disk-flushes").unwrap().starts_with("no-disk-flushes: the same as"));
        assert!(explain("rate").unwrap().contains("resync-rate: "));
        assert!(explain("both").unwrap().starts_with("both: a value of `become-primary-on`.\n\n"));
        assert!(explain("discard-secondary").unwrap().contains("after-sb-1pri: "));
        // In two sections it has two meanings.
        assert_eq!(explain("sndbuf-size").unwrap().matches("values").count(), 2);
    }

    #[test]
    fn a_typing_error_leads_to_the_nearest_word() {
        assert_eq!(explain("timoeut"), Err(Some("timeout")));
        assert_eq!(explain("resorce"), Err(Some("resource")));
        assert_eq!(explain("wibble-wobble-wubble"), Err(None));
    }
}
