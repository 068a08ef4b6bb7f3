//! The pages and seeds outside this crate that must fit it.

use std::path::{Path, PathBuf};

fn outside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// With the variable REPD_WRITE_DOCS set, the page is written instead.
#[test]
fn the_page_of_the_options_is_the_option_table() {
    let path = outside("docs/options.md");
    if std::env::var_os("REPD_WRITE_DOCS").is_some() {
        std::fs::write(&path, config::reference()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap();
    let line = page.lines().zip(config::reference().lines()).position(|(one, other)| one != other);
    assert!(
        page == config::reference(),
        "docs/options.md differs from the option table, first in line {line:?}; write it anew with \
         REPD_WRITE_DOCS=1 cargo test -p config --test documentation"
    );
}

/// What fuzzing has found worth keeping.
#[test]
fn the_fuzz_corpus_is_read() {
    let entries: Vec<_> = std::fs::read_dir(outside("fuzz/corpus/config")).unwrap().collect();
    assert!(!entries.is_empty(), "the corpus is empty");
    for entry in entries {
        config::fuzz_one(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}
