//! Texts and files in memory for the tests of the language.

#![allow(dead_code, reason = "each test binary uses some of it")]

use config::{Loaded, Loader, TextLoader};
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The resource file that must load unchanged, from a how-to of 2010.
pub(crate) const ACCEPTANCE: &str = include_str!("../files/acceptance.res");

/// Uses most of the language.
pub(crate) const FULL: &str = include_str!("full.conf");

/// Two hosts with one volume each.
pub(crate) const PAIR: &str = "
  on alpha {
    device /dev/drbd0;
    disk /dev/vdb;
    address 10.0.0.1:7789;
  }
  on beta {
    device /dev/drbd0;
    disk /dev/vdb;
    address 10.0.0.2:7789;
  }
";

/// Loads a text that is valid.
pub(crate) fn load(text: &str) -> Loaded {
    match config::load(Path::new("drbd.conf"), &TextLoader(text.as_bytes())) {
        Ok(loaded) => loaded,
        Err(error) => panic!("{error}"),
    }
}

/// The warnings of a text that is valid, one in a line.
pub(crate) fn warnings(text: &str) -> String {
    load(text).warning_lines().collect::<Vec<_>>().join("\n")
}

/// What is wrong with a text that is not valid, as the user sees it.
pub(crate) fn mistakes(text: &str) -> String {
    match config::load(Path::new("drbd.conf"), &TextLoader(text.as_bytes())) {
        Ok(_) => panic!("nothing is found wrong with\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// Files in memory, seen by a program that runs in `/`.
#[derive(Debug)]
pub(crate) struct Memory(BTreeMap<PathBuf, String>);

impl Memory {
    pub(crate) fn new(files: &[(&str, String)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), text.clone())).collect())
    }
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir | Component::RootDir => {}
            other => normal.push(other),
        }
    }
    normal
}

impl Loader for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = self.0.get(&normal(path)).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        let path = normal(path);
        let found = self.0.contains_key(&path).then(|| Path::new("/").join(path));
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let directory = normal(directory);
        let inside = self.0.keys().filter(|path| path.parent() == Some(&directory));
        Ok(inside
            .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .collect())
    }
}
