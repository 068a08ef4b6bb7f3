//! The drbd.conf language: lexer, parser, option table, resolution, diagnostics, dump.
//!
//! ```text
//! bytes ─lexer─▶ tokens ─parser─▶ syntax ─include─▶ syntax of all files
//!                                                     │
//!                     Config ◀─resolve─ tree ◀─lower──┘ (by grammar and options)
//!                               text ◀─dump─┘
//! ```
//! Each step reports what it finds and goes on, so that one run shows several mistakes; a
//! configuration with an error is not used. What an option is, is written in the option table
//! ([`OPTIONS`]) and nowhere else; which word makes structure, in `grammar`.
//!
//! Nothing here touches files but [`FsLoader`].

#![forbid(unsafe_code)]

mod diagnostic;
mod dump;
mod glob;
mod grammar;
mod include;
mod lexer;
mod loader;
mod lower;
mod model;
mod nearest;
mod options;
mod parser;
mod reference;
mod resolve;
mod source;
mod syntax;
mod tree;
mod value;
mod words;

pub use diagnostic::{Diagnostic, Report, Severity};
pub use dump::dump;
pub use loader::{FsLoader, Loader, MAX_FILE_BYTES};
pub use model::*;
pub use options::{Effect, Kind, OPTIONS, OptionSpec, Scale, Section, find, of_section};
pub use reference::reference;
pub use resolve::node_ids;
pub use source::{Source, SourceId, Sources, Span as TextSpan};
pub use tree::Tree;
pub use value::file_mode;

use std::io;
use std::path::{Path, PathBuf};

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What in it does not do what it says; [`Diagnostic::one_line`] shows each in one line.
    pub warnings: Vec<Diagnostic>,
    /// The files, for showing the warnings.
    pub sources: Sources,
    /// What was in the files, for [`dump()`].
    pub tree: Tree,
}

impl Loaded {
    /// Each warning in one line: `warning: FILE:LINE:COLUMN: …`.
    pub fn warning_lines(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|warning| warning.one_line(&self.sources))
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file asked for cannot be read; commands exit with 20.
    #[error("cannot open the configuration `{}`: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is an error in it; commands exit with 10. It prints as all diagnostics in full.
    #[error("{0}")]
    Invalid(Box<Report>),
}

/// Reads a configuration file with all that it includes.
///
/// # Errors
/// If the file cannot be read, or if anything in it is wrong.
pub fn load(path: &Path, loader: &dyn Loader) -> Result<Loaded, LoadError> {
    let mut sources = Sources::default();
    let mut diagnostics = diagnostic::Diagnostics::default();
    let statements = include::read_all(path, loader, &mut sources, &mut diagnostics)
        .map_err(|source| LoadError::Open { path: path.to_path_buf(), source })?;
    let tree = lower::lower(&statements, &mut diagnostics);
    let config = resolve::resolve(&tree, &sources, &mut diagnostics);
    match diagnostics.finish(sources) {
        Ok((warnings, sources)) => Ok(Loaded { config, warnings, sources, tree }),
        Err(report) => Err(LoadError::Invalid(Box::new(report))),
    }
}

/// One file in memory that includes nothing.
#[derive(Clone, Copy, Debug)]
pub struct TextLoader<'a>(pub &'a [u8]);

impl Loader for TextLoader<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }

    fn real_path(&self, _: &Path) -> io::Result<PathBuf> {
        // Every name is the one file, so an `include` of anything is one of what was read already.
        Ok(PathBuf::from("text"))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// The body of the fuzz target: whatever the bytes are, `load` ends and its result can be shown;
/// what loads comes back from its own dump.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_one(bytes: &[u8]) {
    let path = Path::new("fuzz.conf");
    match load(path, &TextLoader(bytes)) {
        Ok(loaded) => {
            let lines: Vec<_> = loaded.warning_lines().collect();
            assert_eq!(lines.len(), loaded.warnings.len());
            let text = dump(&loaded, "alpha");
            match load(path, &TextLoader(text.as_bytes())) {
                Ok(again) => {
                    let strip = |mut config: Config| {
                        config.resources.iter_mut().for_each(|one| one.defined_at.clear());
                        config
                    };
                    assert_eq!(strip(loaded.config), strip(again.config), "after\n{text}");
                }
                Err(error) => panic!("its own dump does not load: {error}\n{text}"),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
