//! Whatever the bytes: loading ends, its result can be shown, and a dump means what it was made of.

mod support;

use config::{Config, Dump, Effect, Kind, Node, OPTIONS, OptionSpec, Section, fuzz_one};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeMap;
use std::path::Path;
use support::{ACCEPTANCE, FULL, Memory, PAIR, load};

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
        "[0]",
        "floating",
        "10.0.0.2:7789",
        "template-file",
        "ignore-on",
        "connection-mesh",
        "hosts",
        "node-id",
        "options",
        "tiebreaker",
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
    // What does not go with two Primaries, or with fencing, is looked at in `loads`.
    match (spec.name, number % 2) {
        ("protocol", 0) => return "C".to_owned(),
        ("protocol", _) => return "c".to_owned(),
        ("on-congestion", 0) => return "block".to_owned(),
        ("on-congestion", _) => return "disconnect".to_owned(),
        _ => {}
    }
    match (spec.effect, spec.kind) {
        (Effect::Digest | Effect::StrongDigest, _) => {
            one_of(&["crc32c", "xxh3", "sha256", "sha1", "md5"])
        }
        (Effect::Only(words, _), _) => format!("\"{}\"", one_of(words)),
        (_, Kind::Flag) => one_of(&["yes", "no"]),
        (_, Kind::Choice(words) | Kind::ChoiceOrNumber(words, _)) => one_of(words),
        (_, Kind::Number { min, max, .. }) => (min + number % (max - min + 1)).to_string(),
        (_, Kind::Text(_)) => format!("\"t \\\"{number}\\\" \\\\\""),
        (_, Kind::Hosts) => one_of(&["both", "alpha", "alpha BETA.x"]),
        // What names a volume must name one that is there; `loads.rs` has those.
        (_, Kind::ResyncAfter) => one_of(&["-1"]),
        (_, Kind::Address) => format!("127.0.0.1:{}", number % 65535 + 1),
        (_, Kind::Mode) => format!("0{:o}", 0o600 + number % 0o200),
        (_, Kind::Path) => format!("/run/\"nbd {number}\"").replace('"', ""),
    }
}

/// The two hosts of a resource, written in many ways; all have the volume 0 alone, but the last.
const HOSTS: &[&str] = &[
    PAIR,
    "device /dev/drbd0; disk /dev/vdb; meta-disk /dev/vdc [3];
     floating 10.0.0.1:7789; floating ipv4 10.0.0.2:7789 { }",
    "floating ipv6 [fd00::1]:7789 { device minor 3; disk none; options { auto-promote yes; } }
     floating [fd00::2]:7789 { device /dev/drbd3; disk /dev/vdb; meta-disk internal;
                               options { auto-promote yes; } }",
    "on alpha { device /dev/drbd0; disk /dev/vdb; address 10.0.0.1:7789; }
     floating 10.0.0.2:7789 { device /dev/drbd0; disk /dev/vdb; flexible-meta-disk \"/dev/m [x]\"; }
     ignore-on beta \"net\" gamma.example.org;",
    "on alpha \"beta\" { device drbd7; disk /dev/vdb; options { durable-interval 20; } }
     connection \"via the back\" { path { host alpha address 10.0.0.1:7000;
       host beta address ipv4 10.0.0.2:7001; } net { ping-int 3; } disk { c-max-rate 7M; } }",
    "volume 3 { device minor 33; disk { al-extents 77; } }
     volume 0 { disk \"/srv/a b\"; meta-disk \"/dev/x[0]\"; }
     on alpha { node-id 7; address 10.0.0.1:7789; volume 0 { device /dev/drbd1; }
                volume 3 { disk none; } }
     on beta.x { node-id 2; address 10.0.0.2:7789; volume 0 { device /dev/by/name; }
                 volume 3 { disk /dev/vdd; disk { al-extents 77; size 8M; } } }
     connection-mesh { hosts beta.x alpha; net { ko-count 0; } }",
];

type Chosen = BTreeMap<(Section, &'static str), (&'static OptionSpec, u64)>;

/// The options that the numbers stand for.
fn chosen(settings: &[(Index, u64)]) -> Chosen {
    let mut chosen = Chosen::new();
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
    chosen
}

/// The options of that section.
fn in_section(hosts: &str, chosen: &Chosen, section: Section) -> String {
    let mut text = String::new();
    for (spec, number) in chosen.values().filter(|(spec, _)| spec.sections[0] == section) {
        let mut value = value(spec, *number);
        if spec.kind == Kind::Hosts && hosts.contains("floating") {
            "both".clone_into(&mut value);
        }
        let value = if spec.kind == Kind::Path { format!("\"{value}\"") } else { value };
        text.push_str(&format!("{} {value};\n", spec.name));
    }
    text
}

/// The inside of a resource, of `common` or of a template.
fn sections(hosts: &str, chosen: &Chosen) -> String {
    let mut text = String::new();
    // What is not an option of a resource is in syncer alone.
    for section in [
        Section::Net,
        Section::Disk,
        Section::Options,
        Section::Startup,
        Section::Handlers,
        Section::Nbd,
        Section::Syncer,
    ] {
        let inside = in_section(hosts, chosen, section);
        text.push_str(&format!("{} {{\n{inside}}}\n", section.name()));
    }
    text
}

/// A file that sets these options in their sections.
fn file(hosts: &str, settings: &[(Index, u64)]) -> String {
    let chosen = chosen(settings);
    let global = in_section(hosts, &chosen, Section::Global);
    let sections = sections(hosts, &chosen);
    format!("global {{\n{global}}}\nresource r0 {{{hosts}{sections}}}\n")
}

/// What is loaded from these files, whatever the places.
fn meaning(path: &str, files: &[(&str, String)]) -> (config::Loaded, Config) {
    let loaded = match config::load(Path::new(path), &Memory::new(files)) {
        Ok(loaded) => loaded,
        Err(error) => panic!("{error}"),
    };
    let mut config = loaded.config.clone();
    config.resources.iter_mut().for_each(|one| one.defined_at.clear());
    (loaded, config)
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
        ",",
        "'",
        "it's ",
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
        hosts in select(HOSTS),
        settings in proptest::collection::vec((any::<Index>(), any::<u64>()), 0..40),
    ) {
        let text = file(hosts, &settings);
        load(&text);
        fuzz_one(text.as_bytes());
    }

    /// One resource with a template and one without, beside a `common`.
    #[test]
    fn a_dump_with_a_template_means_the_same_from_anywhere(
        hosts in select(HOSTS),
        settings in proptest::collection::vec((any::<Index>(), any::<u64>()), 0..20),
        common in proptest::collection::vec((any::<Index>(), any::<u64>()), 0..20),
        template in proptest::collection::vec((any::<Index>(), any::<u64>()), 0..20),
    ) {
        let inside = |settings: &[(Index, u64)]| sections(hosts, &chosen(settings));
        let common = inside(&common);
        let resource = format!("{hosts} template-file \"../t.conf\"; {}", inside(&settings));
        let text = format!(
            "common {{\n{common}}}\nresource r0 {{ {resource} }}\n\
             resource plain {{
               on a {{ device minor 99; disk /dev/p; address 10.0.0.9:1; }}
               on b {{ device minor 99; disk /dev/p; address 10.0.0.8:1; }}
             }}\n"
        );
        let template = ("etc/t.conf", inside(&template));
        let (loaded, before) = meaning("etc/d/x.conf", &[("etc/d/x.conf", text), template.clone()]);
        for verbose in [false, true] {
            let node = Node { name: "alpha", owns: &|_| false };
            let dump = Dump { node, only: None, verbose }.text(&loaded);
            let files = [("tmp/dump", dump.clone()), template.clone()];
            let (_, after) = meaning("tmp/dump", &files);
            prop_assert_eq!(&before, &after, "after\n{}", dump);
        }
    }
}
