//! Mistakes that concern several files.

mod support;

use config::Loader;
use std::path::Path;
use support::{Memory, PAIR};

fn mistakes(loader: &dyn Loader) -> String {
    config::load(Path::new("etc/repd.conf"), loader).expect_err("it is wrong").to_string()
}

#[test]
fn a_literal_name_must_exist_and_a_pattern_need_not() {
    let text = "include \"none/*.res\";\ninclude \"none/r0.res\";\n".to_owned();
    insta::assert_snapshot!(mistakes(&Memory::new(&[("etc/repd.conf", text)])));
}

#[test]
fn a_clash_across_files_shows_both_places() {
    let loader = Memory::new(&[
        ("etc/repd.conf", "include \"*.res\";\n".into()),
        ("etc/a.res", format!("resource a {{\n{PAIR}\n}}\n")),
        ("etc/b.res", format!("resource b {{\n{PAIR}\n}}\n")),
    ]);
    insta::assert_snapshot!(mistakes(&loader));
}

#[test]
fn nesting_is_bounded() {
    let files: Vec<_> = (0..20)
        .map(|n| (format!("etc/{n}.conf"), format!("include \"{}.conf\";\n", n + 1)))
        .chain([("etc/repd.conf".to_owned(), "include \"0.conf\";\n".to_owned())])
        .collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    insta::assert_snapshot!(mistakes(&Memory::new(&files)));
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let text = "#".repeat(usize::try_from(config::MAX_FILE_BYTES).unwrap() + 1);
    let loader = Memory::new(&[("etc/repd.conf", text)]);
    let error = config::load(Path::new("etc/repd.conf"), &loader).unwrap_err();
    assert!(error.to_string().contains("no configuration file"), "{error}");
}

fn template(text: &str) -> Memory {
    let pair = PAIR.replace("drbd0", "drbd1").replace("vdb", "vdc").replace("7789", "7790");
    Memory::new(&[
        (
            "etc/repd.conf",
            "common { net { timeout 50; ping-int 3; } }\ninclude \"d/*.res\";\n".into(),
        ),
        ("etc/d/a.res", format!("resource a {{ template-file \"../t.conf\"; {PAIR} }}\n")),
        (
            "etc/d/b.res",
            format!("resource b {{ template-file \"../t.conf\"; {pair} net {{ ping-int 9; }} }}\n"),
        ),
        ("etc/t.conf", text.into()),
    ])
}

#[test]
fn a_template_takes_the_place_of_common() {
    for text in [
        "net { timeout 70; }\nhandlers { split-brain x; }\n",
        "common { net { timeout 70; } handlers { split-brain x; } }",
    ] {
        let loader = template(text);
        let loaded = config::load(Path::new("etc/repd.conf"), &loader).unwrap();
        let [a, b] = loaded.config.resources.as_slice() else { panic!("two resources") };
        for resource in [a, b] {
            assert_eq!(resource.net.timeout, types::Span::secs(7));
            assert_eq!(resource.handlers["split-brain"], "x");
        }
        assert_eq!(a.net.ping_int, types::Span::secs(10), "the default, and not that of common");
        assert_eq!(b.net.ping_int, types::Span::secs(9));
        let dump = config::dump(&loaded, "alpha");
        assert!(dump.contains("    template-file /etc/t.conf;\n"), "{dump}");
        let node = config::Node { name: "alpha", owns: &|_| false };
        let xml = config::Dump { node, only: None, verbose: false }.xml(&loaded);
        assert!(xml.contains("<template file=\"/etc/t.conf\"/>\n"), "{xml}");
        // What is printed can be read from anywhere.
        let again = Memory::new(&[("tmp/dump", dump), ("etc/t.conf", text.into())]);
        let again = config::load(Path::new("tmp/dump"), &again).unwrap();
        assert_eq!(again.config.resources[1].net, b.net);
    }
}

#[test]
fn mistakes_of_a_template_are_shown_once() {
    for (name, text) in [
        ("an_option", "net { timeout 7000; }\n"),
        ("a_resource", "resource x { }\n"),
        ("a_brace", "net { timeout 70;\n"),
        ("both_ways", "common { net { timeout 70; } }\ndisk { size 1G; }\n"),
    ] {
        insta::assert_snapshot!(format!("template_{name}"), mistakes(&template(text)));
    }
}

#[test]
fn a_template_that_is_not_there_is_named() {
    let text = format!("resource a {{\n  template-file none.conf;\n{PAIR}}}\n");
    insta::assert_snapshot!(mistakes(&Memory::new(&[("etc/repd.conf", text)])));
}

#[test]
fn hosts_and_ports_are_compared_across_files() {
    let two = PAIR.replace("drbd0", "drbd9").replace("vdb", "vdx");
    let floating =
        "device /dev/drbd0; disk /dev/vdb; floating 10.0.0.1:7001; floating 10.0.0.2:7001;";
    let other = floating.replace("7001", "7002");
    let loader = Memory::new(&[
        ("etc/repd.conf", "include \"*.res\";\n".into()),
        ("etc/a.res", format!("resource a {{\n{PAIR}\n}}\n")),
        ("etc/b.res", format!("resource b {{\n{two}\n}}\n")),
        ("etc/c.res", format!("resource c {{\n  {floating}\n}}\n")),
        ("etc/d.res", format!("resource d {{\n  {other}\n}}\n")),
        ("etc/e.res", format!("resource a {{\n{PAIR}\n}}\n")),
    ]);
    insta::assert_snapshot!(mistakes(&loader));
}

#[test]
fn a_candidate_is_read_too_and_a_file_can_be_left_out() {
    let pair = PAIR.replace("drbd0", "drbd1").replace("vdb", "vdc").replace("7789", "7790");
    let loader = Memory::new(&[
        ("etc/repd.conf", "include \"*.res\";\n".into()),
        ("etc/a.res", format!("resource a {{\n{PAIR}\n}}\n")),
        ("etc/b.res", format!("resource b {{\n{pair}\n}}\n")),
        ("tmp/a.new", format!("resource a {{\n{PAIR}\n net {{ timeout 70; }} }}\n")),
    ]);
    let path = Path::new("etc/repd.conf");
    let (new, old) = (["tmp/a.new".into()], ["etc/a.res".into()]);
    let load = |also: &[std::path::PathBuf], without: &[std::path::PathBuf]| {
        config::load_with(path, config::Candidates { also, without }, &loader)
    };
    let loaded = load(&new, &old).unwrap();
    let names: Vec<_> = loaded.config.resources.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(loaded.config.resources[1].net.timeout, types::Span::secs(7));
    assert!(load(&new, &[]).unwrap_err().to_string().contains("resource `a` twice"));
    let error = load(&["tmp/none".into()], &[]).unwrap_err();
    assert!(matches!(error, config::LoadError::Open { path, .. } if path == Path::new("tmp/none")));
}

/// On the file system: what cannot be a configuration is not even opened.
#[test]
fn only_regular_files_are_included() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = directory.join("only-regular-files.conf");
    let shown = directory.display();
    let text = format!("include \"/dev/zero\";\ninclude \"{shown}\";\n");
    std::fs::write(&path, text).unwrap();
    let said = config::load(&path, &config::FsLoader).expect_err("they are refused").to_string();
    assert!(said.contains("cannot read `/dev/zero`: not a regular file"), "{said}");
    assert!(said.contains(&format!("= help: for the files in it write \"{shown}/*\"")), "{said}");
    assert!(!said.contains("a pattern may match nothing"), "{said}");
}
