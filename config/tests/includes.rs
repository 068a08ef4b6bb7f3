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
