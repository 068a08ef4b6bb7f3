//! Whatever the bytes: loading ends, its result can be shown, and a dump means what it was made of.

mod support;

use config::{Effect, Kind, OPTIONS, OptionSpec, Section, fuzz_one};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::{ACCEPTANCE, FULL, PAIR, load};

/// Words that mean something, and marks.
fn token() -> impl Strategy<Value = String> {
    let words = [
        "resource",
        "r0",
        "on",
        "alpha",
        "beta",
        "{",
        "}",
        "{",
        "}",
        ";",
        ";",
        ";",
        "\n",
        "device",
        "/dev/drbd1",
        "minor",
        "7",
        "disk",
        "none",
        "address",
        "10.0.0.1:7789",
        "[::1]:7",
        "volume",
        "0",
        "net",
        "protocol",
        "C",
        "connection",
        "host",
        "path",
        "skip",
        "include",
        "\"",
        "\\",
        "#",
        "syncer",
        "common",
        "global",
        "no-",
        "yes",
        "meta-disk",
        "internal",
        "=",
        "//",
        "é",
    ];
    let options = OPTIONS.iter().map(|spec| spec.name);
    select(words.into_iter().chain(options).map(str::to_owned).collect::<Vec<_>>())
}

/// A valid value of an option, from a number.
fn value(spec: &OptionSpec, number: u64) -> String {
    let one_of = |words: &[&str]| words[number as usize % words.len()].to_owned();
    match (spec.effect, spec.kind) {
        (Effect::Only(words, _), _) => format!("\"{}\"", one_of(words)),
        (_, Kind::Flag) => one_of(&["yes", "no"]),
        (_, Kind::Choice(words) | Kind::ChoiceOrNumber(words, _)) => one_of(words),
        (_, Kind::Number { min, max, .. }) => (min + number % (max - min + 1)).to_string(),
        (_, Kind::Text(_)) => format!("\"t \\\"{number}\\\" \\\\\""),
        (_, Kind::Hosts) => one_of(&["both", "alpha", "alpha BETA.x"]),
        (_, Kind::ResyncAfter) => one_of(&["-1", "3", "r1/2"]),
        (_, Kind::Address) => format!("127.0.0.1:{}", number % 65535 + 1),
        (_, Kind::Mode) => format!("0{:o}", 0o600 + number % 0o200),
        (_, Kind::Path) => format!("/run/\"nbd {number}\"").replace('"', ""),
    }
}

/// A file that sets these options in their sections.
fn file(settings: &[(Index, u64)]) -> String {
    let mut text = String::new();
    let mut chosen = std::collections::BTreeMap::new();
    for (index, number) in settings {
        let spec = index.get(OPTIONS);
        if !matches!(spec.effect, Effect::Refused(_)) && spec.name != "cram-hmac-alg" {
            chosen.insert((spec.sections[0], spec.name), (spec, *number));
        }
    }
    // What others of the section are nothing without.
    for name in ["unix", "tls-certificates"] {
        let spec = config::find(Section::Nbd, name).expect("an option of the table");
        chosen.entry((Section::Nbd, name)).or_insert((spec, 0));
    }
    let in_section = |text: &mut String, section: Section| {
        for (spec, number) in chosen.values().filter(|(spec, _)| spec.sections[0] == section) {
            let value = value(spec, *number);
            let value = if spec.kind == Kind::Path { format!("\"{value}\"") } else { value };
            text.push_str(&format!("{} {value};\n", spec.name));
        }
    };
    text.push_str("global {\n");
    in_section(&mut text, Section::Global);
    text.push_str("}\nresource r0 {");
    text.push_str(PAIR);
    for section in [
        Section::Net,
        Section::Disk,
        Section::Options,
        Section::Startup,
        Section::Handlers,
        Section::Nbd,
    ] {
        text.push_str(&format!("{} {{\n", section.name()));
        in_section(&mut text, section);
        text.push_str("}\n");
    }
    // What is not an option of a resource is in syncer alone.
    text.push_str("syncer {\n");
    in_section(&mut text, Section::Syncer);
    text.push_str("}\n}\n");
    text
}

#[test]
fn the_samples_load() {
    assert_eq!(load(FULL).config.resources.len(), 2);
    fuzz_one(FULL.as_bytes());
    fuzz_one(ACCEPTANCE.as_bytes());
}

/// As long as a file may be: no stack overflows, and what is kept is bounded.
#[test]
fn one_thing_over_and_over() {
    let most = usize::try_from(config::MAX_FILE_BYTES).unwrap();
    for part in [
        "{",
        "}",
        ";",
        "\"",
        "#",
        "a ",
        "a{",
        "on a{",
        "net{",
        "*",
        "\"\n",
        "resource r{}",
        "=",
        "//\n",
    ] {
        fuzz_one(part.repeat(most / part.len()).as_bytes());
        let mut inside = format!("resource r0 {{ {PAIR}");
        inside.push_str(&part.repeat((most - inside.len()) / part.len()));
        fuzz_one(inside.as_bytes());
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_one(&bytes);
    }

    #[test]
    fn any_words(words in proptest::collection::vec(token(), 0..120)) {
        fuzz_one(words.join(" ").as_bytes());
    }

    #[test]
    fn a_sample_with_bytes_changed(
        changes in proptest::collection::vec((any::<Index>(), 0..4_u8, any::<u8>()), 1..6),
        acceptance in any::<bool>(),
    ) {
        let mut bytes = if acceptance { ACCEPTANCE } else { FULL }.as_bytes().to_vec();
        for (index, change, byte) in changes {
            let at = index.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes[at] = b"{};\"#\n 0"[usize::from(byte) % 8],
            }
        }
        fuzz_one(&bytes);
    }

    #[test]
    fn a_sample_with_words_moved(
        moves in proptest::collection::vec((any::<Index>(), any::<Index>(), any::<bool>()), 1..4),
    ) {
        let mut words: Vec<&str> = FULL.split_inclusive(char::is_whitespace).collect();
        for (from, to, cut) in moves {
            let word = words[from.index(words.len())];
            if cut {
                words.remove(from.index(words.len()));
            }
            words.insert(to.index(words.len()), word);
        }
        fuzz_one(words.concat().as_bytes());
    }

    #[test]
    fn valid_options_load_and_come_back(
        settings in proptest::collection::vec((any::<Index>(), any::<u64>()), 0..40),
    ) {
        let text = file(&settings);
        load(&text);
        fuzz_one(text.as_bytes());
    }
}
